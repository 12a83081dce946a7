"""The tree of exceptions is Celery's; those with fields survive pickling."""

from __future__ import annotations

import datetime as dt
import pickle

import click
import pytest

from celeriac import exceptions as ex

TREE = {
    "CeleryError": Exception,
    "ImproperlyConfigured": ex.CeleryError,
    "SecurityError": ex.CeleryError,
    "TaskPredicate": ex.CeleryError,
    "Ignore": ex.TaskPredicate,
    "Reject": ex.TaskPredicate,
    "Retry": ex.TaskPredicate,
    "TaskError": ex.CeleryError,
    "IncompleteStream": ex.TaskError,
    "AlreadyRegistered": ex.TaskError,
    "TimeoutError": ex.TaskError,
    "MaxRetriesExceededError": ex.TaskError,
    "TaskRevokedError": ex.TaskError,
    "InvalidTaskError": ex.TaskError,
    "ChordError": ex.TaskError,
    "BackendError": Exception,
    "BackendGetMetaError": ex.BackendError,
    "BackendStoreError": ex.BackendError,
    "OperationalError": ex.KombuError,
    "AlwaysEagerIgnored": ex.CeleryWarning,
    "CeleryWarning": UserWarning,
    "CPendingDeprecationWarning": PendingDeprecationWarning,
    "CDeprecationWarning": DeprecationWarning,
    "WorkerTerminate": SystemExit,
    "WorkerShutdown": SystemExit,
}


@pytest.mark.parametrize("name", TREE)
def test_each_exception_has_celerys_base(name: str) -> None:
    assert getattr(ex, name).__bases__ == (TREE[name],)


@pytest.mark.parametrize("name", ["QueueNotFound", "NotRegistered"])
def test_lookups_are_key_errors_too(name: str) -> None:
    assert issubclass(getattr(ex, name), KeyError)
    assert issubclass(getattr(ex, name), ex.TaskError)


def test_a_backend_error_is_no_celery_error() -> None:
    assert not issubclass(ex.BackendError, ex.CeleryError)


def test_the_timeout_is_not_the_builtin() -> None:
    assert not issubclass(ex.TimeoutError, TimeoutError)


def test_the_command_exception_is_clicks() -> None:
    error = ex.CeleryCommandException("no", 3)
    assert isinstance(error, click.ClickException)
    assert error.exit_code == 3


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = ex.NoSuchError


@pytest.mark.parametrize(
    ("when", "text"),
    [(3, "Retry in 3s: ValueError('no')"), (dt.datetime(2030, 1, 2), "Retry at 2030-01-02 00:00:00: ValueError('no')")],  # noqa: DTZ001
)
def test_a_retry_says_when_and_why(when: object, text: str) -> None:
    assert str(ex.Retry(exc=ValueError("no"), when=when)) == text  # type: ignore[arg-type]


def test_a_retry_prefers_its_message() -> None:
    assert str(ex.Retry("later", ValueError("no"), 3)) == "later"


def test_a_retry_survives_an_exception_whose_repr_fails() -> None:
    class Broken(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    assert "unrepresentable Broken" in str(ex.Retry(exc=Broken(), when=1))


def test_a_retry_is_pickled_with_its_exception() -> None:
    copy = pickle.loads(pickle.dumps(ex.Retry("m", ValueError("no"), 3)))
    assert (copy.message, repr(copy.exc), copy.when) == ("m", "ValueError('no')", 3)


def test_a_reject_says_whether_it_requeues() -> None:
    error = ex.Reject("why", requeue=True)
    assert (error.reason, error.requeue) == ("why", True)
    assert "requeue=True" in repr(error)


def test_not_registered_says_that_the_task_was_never_registered() -> None:
    assert "never registered" in repr(ex.NotRegistered("proj.add"))


def test_reraise_keeps_the_traceback() -> None:
    try:
        raise ValueError("first")
    except ValueError as exc:
        error, tb = exc, exc.__traceback__
    with pytest.raises(ValueError, match="first") as caught:
        ex.reraise(ValueError, error, tb)
    assert tb in list(_tracebacks(caught.value))


def _tracebacks(error: BaseException) -> list[object]:
    found: list[object] = []
    tb = error.__traceback__
    while tb is not None:
        found.append(tb)
        tb = tb.tb_next
    return found
