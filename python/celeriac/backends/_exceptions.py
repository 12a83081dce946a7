"""Exceptions as they are stored in results, and back.

Stored is structure, never code: type, module and arguments. Rebuilding imports nothing: a class is only used if its
module is loaded already, and whatever is wrong with a stored exception, an exception comes out.
"""

from __future__ import annotations

import io
import pickle
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from celeriac import exceptions as own
from celeriac.exceptions import DecodeError, SecurityError
from celeriac.utils.serialization import UnpickleableExceptionWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OWN_MODULE = own.__name__

# Where Celery has the classes that all of ours live together with: stored are Celery's names, so that either side can
# read the other's results.
_KOMBU = {"ContentDisallowed", "DecodeError", "EncodeError", "KombuError", "OperationalError", "SerializationError"}
_BILLIARD = {"SoftTimeLimitExceeded", "Terminated", "TimeLimitExceeded", "WorkerLostError"}
_NOT_IN_CELERY = {"BrokerCorrupt", "BrokerFull", "BrokerRefused", "BrokerUnavailable", "ForkedProcessError"}
_FOREIGN_MODULES = {"celery.exceptions", "kombu.exceptions", "billiard.exceptions", "celery.backends.base"}

_MAX_ARG_REPR = 64 * 1024


def wire_module(cls: type) -> str:
    """The module name that is stored for exception class `cls`."""
    module, name = str(cls.__module__), cls.__qualname__
    if module == "__mp_main__":  # of a process that was spawned; those who wait know their main module as this
        return "__main__"
    if module != _OWN_MODULE or name in _NOT_IN_CELERY:
        return module
    if name in _KOMBU:
        return "kombu.exceptions"
    return "billiard.exceptions" if name in _BILLIARD else "celery.exceptions"


def safe_repr(value: object) -> str:
    """`repr(value)`, or a text that says that it has none. Never raises."""
    try:
        text = repr(value).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"<unrepresentable {type(value).__name__} object>"
    return text if len(text) <= _MAX_ARG_REPR else text[:_MAX_ARG_REPR] + "..."


def exception_args(exc: BaseException) -> tuple[Any, ...]:
    """The arguments of `exc`, also when its class hides or breaks `args`."""
    try:
        args: Any = exc.args
        return args if isinstance(args, tuple) else (args,)
    except Exception:
        return ()


def exception_document(exc: BaseException, encode: Callable[[Any], object]) -> dict[str, Any]:
    """`{"exc_type", "exc_message", "exc_module"}`: what is stored for `exc`.

    Arguments that `encode`, the backend's serializer, refuses are replaced by their repr.
    """
    message: list[Any] = []
    for arg in exception_args(exc):
        try:
            encode(arg)
        except Exception:
            arg = safe_repr(arg)
        message.append(arg)
    cls = type(exc)
    return {"exc_type": cls.__qualname__, "exc_message": message, "exc_module": wire_module(cls)}


class _Unpickler(pickle.Unpickler):
    """Finds classes of Celery's exception modules here when Celery itself is not installed."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            if module == "celery.utils.serialization" and name == "UnpickleableExceptionWrapper":
                return UnpickleableExceptionWrapper
            found = getattr(own, name, None) if module in _FOREIGN_MODULES else None
            if found is None:
                raise
            return found


def unpickle(data: bytes) -> Any:
    """A pickled meta, also one that Celery wrote. Only for stores whose accept list names pickle.

    Raises DecodeError.
    """
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except Exception as exc:
        raise DecodeError(str(exc) or type(exc).__name__) from exc


def restored(wrapper: UnpickleableExceptionWrapper) -> BaseException:
    """The exception that a wrapper stands for."""
    return rebuild(
        {
            "exc_type": wrapper.exc_cls_name,
            "exc_message": list(wrapper.exc_args or ()),
            "exc_module": wrapper.exc_module,
        }
    )


def picklable_exception(exc: BaseException) -> BaseException:
    """`exc` if it survives pickling, else a stand-in that does."""
    try:
        again = pickle.loads(pickle.dumps(exc))  # noqa: S301 - our own bytes of a moment ago
        if type(again) is type(exc):
            return exc
    except Exception:
        pass  # whatever its class does
    return UnpickleableExceptionWrapper(
        wire_module(type(exc)), type(exc).__qualname__, exception_args(exc), safe_repr(exc)
    )


@lru_cache(maxsize=256)
def fabricated(name: str, module: str) -> type[Exception]:
    """An exception class of that name, for one that is not loaded here. The same class for the same name."""
    return type(name, (Exception,), {"__module__": module, "__doc__": f"Stands for {name}, which is not loaded here."})


def rebuild(document: Mapping[str, Any]) -> BaseException:
    """The exception of a stored document.

    Returns:
        An instance of the named class if its module is loaded, else of a fabricated class of that name; a plain
        `Exception` with the facts as text if the class cannot be called with the stored arguments.

    Raises:
        ValueError: the document does not say which type.
        SecurityError: the type names something that is not an exception class.
    """
    name = document.get("exc_type")
    if not isinstance(name, str) or not name:
        raise ValueError(f"stored exception has no exc_type: {safe_repr(dict(document))}")
    module, message = document.get("exc_module"), document.get("exc_message", ())
    args = tuple(message) if isinstance(message, (list, tuple)) else (message,)
    cls = _find_class(name, module)
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        raise SecurityError(f"Expected an exception class, got {module}.{name} with payload {message!r}")
    if issubclass(cls, Exception):
        try:
            exc = cls(*args)
            if isinstance(exc, BaseException):
                return exc
        except Exception:
            pass  # any constructor may refuse any argument; the text below keeps the facts
    # SystemExit, KeyboardInterrupt and CancelledError end up here too: raised by get() they would stop the reader.
    return Exception(f"{cls}({message})")


def _find_class(name: str, module: Any) -> Any:
    if not isinstance(module, str) or not module:
        return fabricated(name, "celeriac.backends.base")
    # Classes that Celery has and we have are ours, whether or not Celery is loaded beside us.
    places = [_OWN_MODULE, module] if module in _FOREIGN_MODULES else [module]
    for place in places:
        found: Any = sys.modules.get(place)
        if found is None:
            continue
        try:
            for part in name.split("."):
                found = getattr(found, part)
        except AttributeError:
            continue
        return found
    return fabricated(name, _OWN_MODULE)
