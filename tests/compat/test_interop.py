"""celeriac and real Celery on one Redis: either sends, runs or reads. Needs `make venvs`."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.interop import Client, Library, StartWorker, start_worker
from tests.support.journal import Journal
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.worker import Worker

pytestmark = [pytest.mark.celery_peer, pytest.mark.timeout(180)]

OTHER: dict[Library, Library] = {"celery": "celeriac", "celeriac": "celery"}
SERIALIZERS = ["json", "msgpack", "yaml", "pickle"]
COMPRESSIONS = [None, "zlib", "bzip2", "zstd", "lzma", "brotli"]


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def client(url: str) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(library: Library, conf: dict[str, Any] | None = None) -> Client:
        made.append(Client(library, url, conf))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def worker(url: str, tmp_path: Path) -> Iterator[StartWorker]:
    started: list[Worker] = []

    def start(library: Library, **options: Any) -> Worker:
        name = options.pop("name", f"{library}{len(started)}")
        started.append(start_worker(library, url, tmp_path, name=name, **options))
        return started[-1]

    yield start
    for one in started:
        one.reap()


# --- one sends, the other runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_every_serializer_and_compression_is_understood(
    runs: Library, client: Callable[..., Client], worker: StartWorker
) -> None:
    """The other library sends every combination, this one runs it, and the sender reads the result."""
    worker(runs)
    sender = client(OTHER[runs])
    sent = {}
    for serializer in SERIALIZERS:
        for compression in COMPRESSIONS:
            options = {"serializer": serializer, "compression": compression}
            sent[serializer, compression] = sender.send(
                "i.echo", 1, "ünï", [None, 1.5], kwargs={"a": {"b": 2}}, **options
            )
    for combination, id in sent.items():
        expected = {"args": [1, "ünï", [None, 1.5]], "kwargs": {"a": {"b": 2}}}
        assert sender.outcome(id) == {"state": "SUCCESS", "value": expected}, combination


@pytest.mark.parametrize("result_serializer", SERIALIZERS)
@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_results_of_every_serializer_are_read_by_both(
    runs: Library, result_serializer: str, client: Callable[..., Client], worker: StartWorker
) -> None:
    conf = {"result_serializer": result_serializer}
    worker(runs, conf=conf)
    clients = [client("celery", conf), client("celeriac", conf)]
    wanted = ["plain", "large"] if result_serializer == "msgpack" else ["plain", "large", "dates", "bytes"]
    if result_serializer == "msgpack":
        sets = [("large", clients[0])]  # 2**65 does not fit msgpack
    else:
        sets = [(name, sender) for name in wanted for sender in clients]
    for name, sender in sets:
        options = {"serializer": "pickle"}
        (id,) = sender.ask("send", task="i.same", options=options, values_of=name)
        for reader in clients:
            outcome = reader.ask("outcome", id=id, values_of=name)
            if result_serializer == "yaml" and name in ("dates", "bytes") and outcome["state"] == "FAILURE":
                continue  # a type that yaml cannot hold is a failure on both sides alike
            assert outcome.get("same"), (runs, name, reader.library, outcome)


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_failures_arrive_as_exceptions(runs: Library, client: Callable[..., Client], worker: StartWorker) -> None:
    worker(runs)
    clients = [client("celery"), client("celeriac")]
    for kind, name, args in [
        ("key", "KeyError", ["'key failed'"]),
        ("value", "ValueError", ["'value failed'"]),
        ("os", "OSError", ["'os failed'"]),
        ("own", "TooBig", ["'file.txt'", "12"]),
        ("library", "ImproperlyConfigured", ["'no such option'"]),
    ]:
        for sender in clients:
            id = sender.send("i.fail", kind)
            for reader in clients:
                outcome = reader.outcome(id)
                assert outcome["state"] == "FAILURE"
                assert outcome["error"] == name, (kind, runs, reader.library, outcome)
                assert outcome["args"] == args
                assert outcome["traceback"]
    id = clients[0].send("i.fail", "unserialisable")
    for reader in clients:
        outcome = reader.outcome(id)
        assert outcome["state"] == "FAILURE"
        assert "object object" in str(outcome["args"]), outcome


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_wrong_arguments_are_a_type_error_to_both(
    runs: Library, client: Callable[..., Client], worker: StartWorker
) -> None:
    worker(runs)
    sender = client(OTHER[runs])
    id = sender.ask("send", task="i.noop", args=[], options={"argsrepr": "()"})[0]
    assert sender.outcome(id) == {"state": "SUCCESS", "value": None}
    id = sender.send("i.fail", "value", ignore_result=False, shadow="renamed")
    assert sender.outcome(id)["error"] == "ValueError"


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_a_task_sees_the_same_facts_whoever_sent_it(
    runs: Library, client: Callable[..., Client], worker: StartWorker
) -> None:
    """Request attributes differ between the two senders only where they must."""
    worker(runs)
    facts = {}
    for library in ("celery", "celeriac"):
        sender = client(library)
        id = sender.send(
            "i.request",
            1,
            "two",
            priority=5,
            headers={"colour": "red"},
            shadow="nick",
            time_limit=50,
            soft_time_limit=40,
        )
        value = sender.outcome(id)["value"]
        assert value.pop("id") == id
        assert value.pop("root_id") == id
        assert value.pop("correlation_id") == id
        facts[library] = value
    assert facts["celery"] == facts["celeriac"]
    assert facts["celery"]["priority"] == 5
    assert facts["celery"]["timelimit"] == [50, 40]
    assert facts["celery"]["shadow"] == "nick"


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_etas_are_kept(runs: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal) -> None:
    worker(runs)
    sender = client(OTHER[runs])
    before = time.time()
    sender.send("i.note", str(journal), "late", countdown=2.0)
    sender.send("i.note", str(journal), "later", eta_in=3.0)
    sender.send("i.note", str(journal), "now")
    lines = [line.split() for line in journal.wait_for(lines=3, timeout=20)]
    assert [line[0] for line in lines] == ["now", "late", "later"]
    assert float(lines[1][1]) - before >= 2.0
    assert float(lines[2][1]) - before >= 3.0
    assert float(lines[2][1]) - before < 8.0


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_expired_tasks_are_revoked(
    runs: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    sender = client(OTHER[runs])
    gone = sender.send("i.note", str(journal), "gone", expires_in=0.2)
    kept = sender.send("i.note", str(journal), "kept", expires=60)
    wait_until(lambda: time.time() > expiry, timeout=5, what="expiry") if (expiry := time.time() + 0.5) else None
    worker(runs)
    assert sender.outcome(kept) == {"state": "SUCCESS", "value": "kept"}
    outcome = sender.outcome(gone)
    assert (outcome["state"], outcome["error"]) == ("REVOKED", "TaskRevokedError")
    assert [line.split()[0] for line in journal.lines()] == ["kept"]


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_priorities_decide_the_order(
    runs: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    """0 is the most urgent on Redis, in steps of three."""
    sender = client(OTHER[runs])
    for priority in [9, 6, 3, 0]:
        for number in range(3):
            sender.send("i.note", str(journal), f"{priority}.{number}", priority=priority)
    worker(runs, concurrency=1, conf={"worker_prefetch_multiplier": 1})
    lines = [line.split()[0] for line in journal.wait_for(lines=12, timeout=30)]
    assert lines == [f"{priority}.{number}" for priority in [0, 3, 6, 9] for number in range(3)]


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_links_and_error_links_run(
    runs: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    worker(runs)
    sender = client(OTHER[runs])
    link = [{"task": "i.note", "args": [str(journal), "linked"], "immutable": True}]
    sender.send("i.add", 2, 3, link=link)
    failing = sender.send("i.fail", "value", link_error=[{"task": "i.noted_error", "args": [str(journal)]}])
    journal.wait_for(lines=2, timeout=20)
    assert {line.split()[0] for line in journal.lines()} == {"linked", "error"}
    assert any(line.startswith(f"error {failing}") for line in journal.lines())


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_progress_and_ignored_results_look_the_same(
    runs: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal, tmp_path: Path
) -> None:
    conf = {"result_extended": True, "task_track_started": True}
    worker(runs, conf=conf)
    clients = [client("celery", conf), client("celeriac", conf)]
    gate = tmp_path / "gate"
    id = clients[0].send("i.progress", str(gate))
    expected = {"state": "PROGRESS", "info": {"done": 7, "of": 9}}
    for reader in clients:
        wait_until(lambda: reader.ask("state", id=id) == expected, timeout=20, what=f"progress for {reader.library}")  # noqa: B023
    gate.touch()
    metas = []
    for reader in clients:
        assert reader.outcome(id)["value"] == "done"
        metas.append(reader.ask("meta", id=id))
    assert metas[0] == metas[1]
    assert metas[0]["name"] == "i.progress"
    assert metas[0]["worker"].endswith("@test")
    ignored = clients[1].send("i.ignored", str(journal))
    journal.wait_for(lines=1, timeout=20)
    assert clients[0].ask("state", id=ignored)["state"] == "PENDING"


@pytest.mark.parametrize("runs", ["celery", "celeriac"])
def test_a_child_task_knows_its_root(runs: Library, client: Callable[..., Client], worker: StartWorker) -> None:
    worker(runs)
    sender = client(OTHER[runs])
    id = sender.send("i.parent", 4)
    value = sender.outcome(id)["value"]
    assert value["root"] == id
    assert sender.outcome(value["child"])["value"] == 5


# --- both in one fleet --------------------------------------------------------------------------------------------


def test_retries_are_picked_up_by_either(client: Callable[..., Client], worker: StartWorker, journal: Journal) -> None:
    for library in ("celery", "celeriac"):
        worker(library)
    sender = client("celery")
    sent = [sender.send("i.retry", str(journal), f"{number}", 3) for number in range(40)]
    for id in sent:
        assert sender.outcome(id)["value"] == 3
    lines = [line.split() for line in journal.lines()]
    assert Counter((line[0], line[1]) for line in lines) == Counter(
        (str(number), str(attempt)) for number in range(40) for attempt in range(4)
    )
    assert {line[2] for line in lines} == {"celery", "celeriac"}


@pytest.mark.parametrize("sends", ["celery", "celeriac"])
def test_a_mixed_fleet_shares_the_work(
    sends: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    """Each takes some of a backlog, and every task runs once.

    The first tasks wait until both libraries run one, and are more than one worker holds: none gets past them alone.
    """
    sender = client(sends)
    ids = sender.send_many(40, "i.meet", str(journal)) + sender.send_many(560, "i.library")
    for library in ("celery", "celeriac"):
        worker(library, conf={"worker_prefetch_multiplier": 1})
    reader = client(OTHER[sends])
    ran = Counter(reader.outcome(id)["value"] for id in ids)
    assert set(ran) == {"celery", "celeriac"}
    assert ran.total() == 600


@pytest.mark.parametrize("victim", ["celery", "celeriac"])
def test_late_acked_tasks_survive_the_death_of_either(
    victim: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    """Whoever is killed, what it held comes back and is done by the other."""
    conf = {"broker_transport_options": {"visibility_timeout": 4}, "worker_prefetch_multiplier": 4}
    sweep = {"visibility_timeout": 4, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    confs = {"celeriac": conf, "celery": {**conf, "broker_transport_options": sweep}}  # else it looks every 100 s
    sender = client("celeriac", conf)
    count = 200
    for number in range(count):
        sender.send("i.note_late", str(journal), f"{number}", 0.02)
    doomed = worker(victim, conf=confs[victim])
    journal.wait_for(lines=10, timeout=30)
    worker(OTHER[victim], conf=confs[OTHER[victim]])
    doomed.kill(signal.SIGKILL)
    wait_until(lambda: len(journal.counts()) == count, timeout=120, what="every task done", every=0.1)


def test_a_celery_sweep_never_takes_a_long_task_of_ours(
    client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    """A Celery worker restores what is older than 3 s, each second; our tasks run for 9 s and are not given twice."""
    options = {"visibility_timeout": 3, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    ours = worker("celeriac", conf={"broker_transport_options": {"visibility_timeout": 3}})
    sender = client("celery")
    sent = [sender.send("i.long", str(journal), f"{number}", 9.0) for number in range(2)]
    journal.wait_for(lines=2, timeout=20)
    worker("celery", conf={"broker_transport_options": options})
    for id in sent:
        assert sender.outcome(id, timeout=40)["state"] == "SUCCESS"
    starts = [line for line in journal.lines() if line.startswith("start")]
    assert len(starts) == 2
    assert {line.split()[2] for line in starts} == {"celeriac"}
    assert ours.stop() == 0


@pytest.mark.parametrize("leaves", ["celery", "celeriac"])
def test_a_warm_shutdown_leaves_the_rest_to_the_other(
    leaves: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    sender = client("celery")
    for number in range(300):
        sender.send("i.note_late", str(journal), f"{number}", 0.01)
    first = worker(leaves)
    journal.wait_for(lines=20, timeout=30)
    second = worker(OTHER[leaves])
    assert first.stop(40) == 0
    wait_until(lambda: len(journal.counts()) == 300, timeout=60, what="every task done", every=0.05)
    assert journal.counts().total() == 300
    assert second.stop(40) == 0


@pytest.mark.stress
def test_a_mixed_fleet_under_random_kills_loses_nothing(
    client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    """Only celeriac's workers are killed: Celery's own loss window between pop and record is not ours to test."""
    conf = {"broker_transport_options": {"visibility_timeout": 3600, "lease": 3}}
    sender = client("celeriac")
    count = 1500
    for number in range(count):
        sender.send("i.note_late", str(journal), f"{number}", 0.004)
    worker("celery", conf={"worker_prefetch_multiplier": 1})
    chance = random.Random(11)
    mine = [worker("celeriac", conf=conf), worker("celeriac", conf=conf)]
    for cycle in range(12):
        if len(journal.counts()) == count:
            break
        time.sleep(chance.uniform(0, 0.6))  # the moment of death is the experiment
        mine[cycle % 2].kill(signal.SIGKILL)
        mine[cycle % 2].wait()
        mine[cycle % 2] = worker("celeriac", conf=conf)
    wait_until(lambda: len(journal.counts()) == count, timeout=90, what="every task done", every=0.1)
