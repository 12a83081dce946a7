"""What a child that is a fresh interpreter is made of: how to get the application, and what the worker decided.

The worker writes it once, into a file without a name that the launcher hands on; each child reads it. As
`multiprocessing` does it, in two steps: first what prepares the interpreter (path, working directory, main module), and
then, in a pickle of its own, what needs the modules of the application.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from celeriac.concurrency.prefork import TaskPool

_APP = "the application"
_MISSING = object()


class Recipe(NamedTuple):
    preparation: dict[str, Any]
    """For `multiprocessing.spawn.prepare`."""
    name: str | None
    """The application's `main`."""
    places: list[str]
    """Where it may be, as `module:attribute`."""
    settings: dict[str, bytes]
    """What somebody set, each value pickled."""
    unsent: list[str]
    """Settings that cannot be pickled: the child must come to them by itself."""
    log: dict[str, Any] | None
    """As `app.log.setup_again` takes it; None: the worker has not set logging up."""
    pool: bytes
    """Class, size and options of the pool, and what runs a job; the application is left out."""


def write(pool: TaskPool) -> IO[bytes]:
    """The recipe for children of `pool`, as a file.

    Raises:
        ImproperlyConfigured: the application cannot be imported, or the pool cannot be pickled.
    """
    app: Any = pool.app
    settings, unsent = _settings(app)
    # What belongs to the application comes by its import, not by pickle.
    made = _pickled((type(pool), pool.limit, pool.options, pool._execute, pool._child_ends), app)
    recipe = Recipe(_preparation(), app.main, places_of(app), settings, unsent, app.log.how(), made)
    file = _file()
    pickle.dump(tuple(recipe), file)
    file.flush()
    return file


def load(fd: int) -> Recipe:
    """What `write` has written into the file of that descriptor, whose offset is shared with others and not used."""
    return Recipe(*pickle.loads(os.pread(fd, os.fstat(fd).st_size, 0)))  # noqa: S301 - of the worker itself


def follow(recipe: Recipe, name: str) -> TaskPool:
    """Makes this fresh process, called `name`, what a forked child would be; returns its pool.

    Raises:
        ImproperlyConfigured: the application is not there, or has not the settings that it had in the worker.
        Exception: whatever its modules raise.
    """
    from multiprocessing import process, spawn

    current: Any = process.current_process()
    current._inheriting = True  # as in children of multiprocessing: whoever starts processes in the main module is told
    try:
        spawn.prepare({**recipe.preparation, "name": name})
        app = _found(recipe)
        _configure(app, recipe)  # it says which modules have tasks
        app.set_current()
        app.set_default()
        app.loader.init_worker()
        app.finalize()
        _configure(app, recipe)  # a module that was imported may have set what the worker has changed since
        _refuse_lost(app, recipe)
        if recipe.log is not None:
            app.log.setup_again(**recipe.log)
        cls, limit, options, execute, child_ends = _Unpickler(io.BytesIO(recipe.pool), app).load()
    finally:
        del current._inheriting
    pool: TaskPool = cls(limit, app=app, **options)
    pool.run_by(execute, child_ends)
    return pool


def places_of(app: Any) -> list[str]:
    """Where a fresh process may find `app`: `module:attribute`, the likeliest first.

    Raises:
        ImproperlyConfigured: no module that can be imported has it.
    """
    found = []
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name.partition(".")[0] == "celeriac":
            continue  # in our own modules it is the current app, which it is not yet in a fresh process
        found += [(name, attribute) for attribute, value in list(vars(module).items()) if value is app]
    # The main module is run in any case. What follows has the app in the order in which the worker imported it.
    found.sort(key=lambda one: one[0] not in _MAIN)
    places = [f"{name}:{attribute}" for name, attribute in found if _can_be_imported(name)]
    if not places:
        hint = " but the main one, which is no file that can be imported" if found else ""
        raise ImproperlyConfigured(
            f"the processes of the pool are fresh interpreters (start method 'spawn'), which import the application; "
            f"but no module has {app!r}{hint}. {_REMEDY}, or set worker_pool_start_method = 'fork', or use -P threads"
        )
    return places


_REMEDY = (
    "Bind it to a name at the top of a module that can be imported (app = ...), not only inside a function, an object "
    "or a condition"
)
_MAIN = ("__main__", "__mp_main__")


def _can_be_imported(name: str) -> bool:
    module = sys.modules[name]
    spec = getattr(module, "__spec__", None)
    if name not in _MAIN:
        return spec is not None
    if spec is None:
        return os.path.isfile(getattr(module, "__file__", None) or "")
    # `multiprocessing` leaves alone the main module of a package, a folder or an archive, which runs without condition.
    return not spec.name.endswith("__main__")


def _file() -> IO[bytes]:
    """A file without a name; where there is the means it never touches a disk, as settings have passwords."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("celeriac-recipe"), "r+b")
    import tempfile

    return tempfile.TemporaryFile()


def _preparation() -> dict[str, Any]:
    from multiprocessing import get_start_method, spawn

    chosen = get_start_method(allow_none=True)
    found = spawn.get_preparation_data("")
    found["authkey"] = bytes(found["authkey"])  # its own class refuses to be pickled
    if chosen is None:
        del found["start_method"]  # then nobody has chosen one here, and an application may do so there
    return found


def _settings(app: Any) -> tuple[dict[str, bytes], list[str]]:
    sent: dict[str, bytes] = {}
    unsent: list[str] = []
    for name, value in app.conf.without_defaults().items():
        try:
            sent[name] = _pickled(value, app)
        except ImproperlyConfigured:
            unsent.append(name)
    return sent, unsent


def _configure(app: Any, recipe: Recipe) -> None:
    """What the worker's program has set, after the import or by its options, counts here, too."""
    own = app.conf.without_defaults()
    for name, pickled in recipe.settings.items():
        value = _Unpickler(io.BytesIO(pickled), app).load()
        if not _same(own.get(name, _MISSING), value):
            app.conf[name] = value


def _refuse_lost(app: Any, recipe: Recipe) -> None:
    own = app.conf.without_defaults()
    lost = sorted(name for name in recipe.unsent if name not in own)
    if lost:
        raise ImproperlyConfigured(
            f"the setting(s) {', '.join(lost)} cannot be pickled, so a fresh process does not get them from the "
            "worker: set them at the top of the module that makes the application, not in what only the worker runs"
        )


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # objects of others; set once more, it is the same
        return False


def _found(recipe: Recipe) -> Any:
    import importlib

    for place in recipe.places:
        name, _, attribute = place.partition(":")
        try:
            module = sys.modules["__main__"] if name in _MAIN else importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name != name:
                raise
            continue  # made by a program, not by an import
        app: Any = getattr(module, attribute, None)
        if hasattr(app, "send_task") and app.main == recipe.name:
            return app
    raise ImproperlyConfigured(
        f"the application is {', '.join(recipe.places)} in the worker, but a fresh process does not find it there. "
        f"{_REMEDY}"
    )


class _Pickler(pickle.Pickler):
    """Pickles all but the application, which each process has its own of."""

    def __init__(self, file: IO[bytes], app: Any) -> None:
        super().__init__(file)
        self._app = app

    def persistent_id(self, obj: Any) -> str | None:
        return _APP if obj is self._app else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], app: Any) -> None:
        super().__init__(file)
        self._app = app

    def persistent_load(self, pid: Any) -> Any:
        if pid != _APP:
            raise pickle.UnpicklingError(f"unknown id {pid!r}")
        return self._app


def _pickled(value: Any, app: Any) -> bytes:
    file = io.BytesIO()
    try:
        _Pickler(file, app).dump(value)
    except Exception as exc:  # pickling runs code of others, which fails in its own ways
        raise ImproperlyConfigured(f"cannot be given to a process that is spawned: {value!r}: {exc}") from exc
    return file.getvalue()
