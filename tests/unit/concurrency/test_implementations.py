"""Names of pools, and the loop of a child."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac._bridge.codec import Message
from celeriac._bridge.hub import OUTCOME_LOST
from celeriac.concurrency import get_available_pool_names, get_implementation, get_start_method
from celeriac.concurrency.base import BasePool
from celeriac.concurrency.prefork import TaskPool as Prefork
from celeriac.concurrency.solo import TaskPool as Solo
from celeriac.concurrency.thread import TaskPool as Threads
from celeriac.exceptions import ImproperlyConfigured, WorkerTerminate
from tests.unit.worker.fake_hub import FakeJob, envelope


class Mine(Solo):
    pass


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (None, Prefork),
        ("prefork", Prefork),
        ("processes", Prefork),
        ("threads", Threads),
        ("solo", Solo),
        (Mine, Mine),
        ("celeriac.concurrency.solo:TaskPool", Solo),
    ],
)
def test_a_pool_is_found_by_name_path_or_class(name: Any, kind: type[BasePool]) -> None:
    assert get_implementation(name) is kind


@pytest.mark.parametrize(
    ("name", "says"),
    [("eventlet", "-P prefork"), ("gevent", "-P threads"), ("thread", "threads"), ("nowhere:Pool", "nowhere")],
)
def test_other_names_are_refused_with_what_there_is(name: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        get_implementation(name)


def test_a_custom_pool_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_CUSTOM_WORKER_POOL", "celeriac.concurrency.solo:TaskPool")
    assert get_implementation("custom") is Solo
    assert get_available_pool_names() == ("prefork", "processes", "solo", "threads", "custom")


@pytest.mark.parametrize("name", ["forkserver", "Spawn", "1"])
def test_a_start_method_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'fork' .* 'spawn'"):
        get_start_method(name)


def test_fork_is_refused_where_it_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_start_method(None) == "fork"
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ImproperlyConfigured, match="use 'spawn'"):
        get_start_method("fork")
    assert get_start_method("spawn") == "spawn"


@pytest.mark.parametrize(
    ("method", "patience", "starts_ms"),
    [("fork", None, 4_000), ("fork", 1.5, 1_500), ("spawn", None, 60_000), ("spawn", 1.5, 1_500)],
)
def test_a_spawned_child_has_time_for_its_import(method: str, patience: float | None, starts_ms: int) -> None:
    options = Prefork(1, start_method=method, proc_alive_timeout=patience).hub_options()
    assert options is not None
    assert options["start_patience_ms"] == starts_ms
    assert options["patience_ms"] == int((patience or 4) * 1000)


def jobs(*ids: str) -> list[Any]:
    return [FakeJob(Message.scan(envelope("t", task_id))) for task_id in ids]


def connected(execute: Any) -> Solo:
    pool = Solo()
    pool.connect([object()], execute)  # type: ignore[list-item]
    return pool


def test_a_tracer_that_fails_does_not_stop_the_jobs_after_it(caplog: pytest.LogCaptureFixture) -> None:
    def execute(job: Any) -> None:
        if job.message.id == "bad":
            raise MemoryError("no room")
        job.finish(0, [], [])

    batch = jobs("a", "bad", "c")
    pool = connected(execute)
    pool._run_batch(0, batch)
    assert [job.ended[0] for job in batch] == [0, OUTCOME_LOST, 0]
    assert "no room" in caplog.text
    assert pool.running_jobs() == []


def test_a_cold_shutdown_gets_out_of_a_batch_and_leaves_the_job_to_the_hub() -> None:
    def execute(job: Any) -> None:
        raise WorkerTerminate(1)

    batch = jobs("a", "b")
    pool = connected(execute)
    with pytest.raises(WorkerTerminate):
        pool._run_batch(0, batch)
    assert [job.ended for job in batch] == [None, None]
    assert pool.running_jobs() == []


def test_the_job_that_runs_is_shown_while_it_runs() -> None:
    seen: list[Any] = []
    pool: Solo = connected(lambda job: seen.append(list(pool.running_jobs())))
    batch = jobs("a", "b")
    pool._run_batch(0, batch)
    assert seen == [[batch[0]], [batch[1]]]
