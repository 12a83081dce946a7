"""Every exception that celeriac raises. Names and bases are Celery's where Celery has the class; the rest says so.

The compiled core raises these classes too, by name (`rust/celeriac-py/src/errors.rs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import datetime as dt


class CeleryError(Exception):
    """Base of all but the backend and broker errors, as in Celery."""


class ImproperlyConfigured(CeleryError):
    """A setting, URL or option cannot be used, or a library it needs is missing."""


class KombuError(Exception):
    """Base of the messaging errors; in Celery it is `kombu.exceptions.KombuError`."""


class OperationalError(KombuError):
    """The broker could not be used; in Celery it is `kombu.exceptions.OperationalError`."""


class BrokerUnavailable(OperationalError):
    """The broker was not reached, or did not answer in time. Nothing was stored. Not in Celery, which may hang."""


class BrokerFull(OperationalError):
    """The broker has no room: disk full, quota, memory limit. Nothing was stored. Not in Celery."""


class BrokerCorrupt(OperationalError):
    """The broker's store is damaged or of an unknown version; it is left untouched. Not in Celery."""


class BrokerRefused(OperationalError):
    """The broker cannot carry out this request (message too large, exchange of another type). Not in Celery."""


class ForkedProcessError(CeleryError):
    """A core object was used in a process other than the one that opened it. Not in Celery."""


class SerializerNotInstalled(KombuError):
    """A serializer that is not registered, or whose library is missing; in Celery it is in `kombu.exceptions`."""


class SerializationError(KombuError):
    """Base of the two below; in Celery they are `kombu.exceptions`."""


class EncodeError(SerializationError):
    """A value that the serializer cannot hold."""


class DecodeError(SerializationError):
    """Bytes that the serializer cannot read."""


class ContentDisallowed(DecodeError):
    """The content type is not in the accept list."""


# --- tasks that end without a result -----------------------------------------------------------------------------


class TaskPredicate(CeleryError):
    """Base of what a task raises to end in another way than with a result or a failure."""


class Ignore(TaskPredicate):
    """A task raises it so that no state is stored."""


class Reject(TaskPredicate):
    """A task raises it to have its message rejected, or put back with ``requeue=True`` (late ack only).

    Args:
        reason: anything; kept for the log and the dead-letter store.
        requeue: put the message back into its queue.
    """

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Retry(TaskPredicate):
    """What `Task.retry` raises: the task will run again.

    Args:
        message: text for people.
        exc: the exception that made the task retry, or its text.
        when: seconds from now, or the datetime of the next attempt.
        is_eager: raised by a task that runs in the caller's process.
        sig: the signature of the next attempt (eager tasks run it themselves).
    """

    message: str | None = None
    exc: BaseException | None = None
    excs: str | None = None
    when: float | dt.datetime | None = None

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | dt.datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: object,
    ) -> None:
        self.message = message
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        else:
            self.exc, self.excs = exc, _safe_repr(exc) if exc is not None else None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """``in 3s`` or ``at 2030-01-02 03:04:05``."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.message, self.exc or self.excs, self.when)


RetryTaskError = Retry


# --- tasks and results -------------------------------------------------------------------------------------------


class TaskError(CeleryError):
    """Base of the errors about tasks."""


class QueueNotFound(KeyError, TaskError):
    """A task was routed to a queue that ``task_queues`` does not have, and missing queues are not created."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class IncompleteStream(TaskError):
    """The graph of results is not complete yet."""


class NotRegistered(KeyError, TaskError):
    """No task of this name is registered."""

    def __repr__(self) -> str:
        return f"Task of kind {self} never registered, please make sure it's imported."


class AlreadyRegistered(TaskError):
    """Kept for the name's sake; never raised, as in Celery."""


class TimeoutError(TaskError):
    """The result was not there in time."""


class MaxRetriesExceededError(TaskError):
    """`Task.retry` was called more often than ``max_retries``."""

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.task_args: Any = kwargs.pop("task_args", [])
        self.task_kwargs: Any = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked, has expired, or was terminated; the text says which."""


class InvalidTaskError(TaskError):
    """A message or object that is not a usable task."""


class ChordError(TaskError):
    """A member of a chord failed, or its body could not be sent."""


class SecurityError(CeleryError):
    """A signature that does not verify, missing privileges, or an exception type that must not be rebuilt."""


# --- result backends (not CeleryError, as in Celery) -------------------------------------------------------------


class BackendError(Exception):
    """The result backend failed."""


class BackendGetMetaError(BackendError):
    """The state of `task_id` could not be read."""

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.task_id: str = kwargs.pop("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """`state` of `task_id` could not be stored."""

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.state: str = kwargs.pop("state", "")
        self.task_id: str = kwargs.pop("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} state:{self.state} task_id:{self.task_id}"


# --- the process that runs a task (billiard's, in Celery) --------------------------------------------------------


class SoftTimeLimitExceeded(Exception):
    """Raised in a task when its soft time limit has passed."""


class TimeLimitExceeded(Exception):
    """The hard time limit has passed; the process was killed."""


class WorkerLostError(Exception):
    """The process that ran the task vanished."""

    exitcode: int | None = None


class Terminated(Exception):
    """The task was terminated by request."""


# --- warnings ----------------------------------------------------------------------------------------------------


class CeleryWarning(UserWarning):
    """Base of the warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """`send_task` publishes although ``task_always_eager`` is on."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two functions were declared as tasks of the same name."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers have the same node name."""


class FixupWarning(CeleryWarning):
    """A fixup could not be applied."""


class NotConfigured(CeleryWarning):
    """No configuration module was found."""


class SecurityWarning(CeleryWarning):
    """Something may be unsafe."""


class UnknownSettingWarning(CeleryWarning):
    """A name in a configuration module has the prefix of a setting but is none. Not in Celery."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """A use that will be deprecated."""


class CDeprecationWarning(DeprecationWarning):
    """A deprecated use."""


# --- end of a worker ---------------------------------------------------------------------------------------------


class WorkerTerminate(SystemExit):
    """Stop the worker at once (cold)."""


SystemTerminate = WorkerTerminate


class WorkerShutdown(SystemExit):
    """Stop the worker once its tasks have ended (warm)."""


def reraise(tp: type[BaseException], value: BaseException, tb: Any = None) -> NoReturn:
    """Raises `value` with traceback `tb`."""
    del tp
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


def _safe_repr(value: object) -> str:
    """``repr`` that survives a broken ``__repr__``."""
    try:
        return repr(value)
    except Exception as exc:  # a user's __repr__ may raise anything
        return f"<unrepresentable {type(value).__name__}: {type(exc).__name__}>"


def __getattr__(name: str) -> Any:
    # A click.ClickException; click takes 15 ms to import, so only those who name it pay.
    if name == "CeleryCommandException":
        from celeriac._command_error import CeleryCommandException

        return CeleryCommandException
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
