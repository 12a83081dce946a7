"""Redis as a broker when something fails: workers die, connections break, servers restart, are full, or say no."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac._bridge.broker import Broker, open_broker
from celeriac.exceptions import BrokerFull, BrokerUnavailable, ImproperlyConfigured
from tests.support import raw
from tests.support.apps.tasks import build
from tests.support.certificate import certificate
from tests.support.journal import Journal
from tests.support.node import Node, envelope
from tests.support.proxy import Proxy
from tests.support.redis_server import HOST, RedisServer, free_port
from tests.support.waiting import wait_until
from tests.support.worker import Worker

Start = Callable[..., Worker]
SHORT = {"T_CONF": json.dumps({"broker_transport_options": {"lease": 1}})}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop and configure; it keeps what it was told."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer.start(folder, args=["--appendonly", "yes", "--appendfsync", "always"]) as started:
        yield started


def client(server: RedisServer) -> Any:
    """Any: the library's types leave open whether replies are bytes."""
    return redis.Redis(host=HOST, port=server.port)


def entry(tag: str, **headers: object) -> bytes:
    """A message as Kombu writes it, of a task that nobody knows."""
    info = {"exchange": "", "routing_key": "jobs"}
    envelope = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"id": str(uuid.uuid4()), "task": "t.nobody", **headers},
        "properties": {"delivery_info": info, "priority": 0, "body_encoding": "base64", "delivery_tag": tag},
    }
    return json.dumps(envelope).encode()


def started(server: RedisServer) -> list[bytes]:
    """Workers with a task that has begun."""
    with client(server) as line:
        return list(line.keys("celeriac.started.*"))


def claims(server: RedisServer) -> tuple[int, int]:
    """How many claims are recorded, in the hash and in the index."""
    with client(server) as line:
        return line.hlen("unacked"), line.zcard("unacked_index")


# --- workers that die -------------------------------------------------------------------------------------------


def test_task_of_a_killed_worker_runs_again_and_nothing_else_twice(
    server: RedisServer, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app = build(server.url)
    gate = tmp_path / "gate"
    first = start_worker(server.url, backend=None, env=SHORT, concurrency=1)
    app.tasks["t.start_then_end"].delay(str(journal.path), "a", str(gate))
    wait_until(lambda: journal.lines() == ["start a"], timeout=10, what="the start")
    for number in range(20):
        app.tasks["t.note_late"].delay(str(journal.path), str(number))
    first.kill(signal.SIGKILL)
    gate.touch()
    start_worker(server.url, backend=None, env=SHORT)
    wait_until(lambda: len(journal.lines()) == 23, timeout=20, what="all lines")
    assert sorted(journal.lines()) == sorted(["start a", "start a", "end a", *map(str, range(20))])
    wait_until(lambda: claims(server) == (0, 0), timeout=10, what="end of all claims")


def test_frozen_workers_task_runs_elsewhere_and_its_own_end_is_refused(
    server: RedisServer, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app = build(server.url)
    gate = tmp_path / "gate"
    frozen = start_worker(server.url, backend=None, env=SHORT, concurrency=1)
    app.tasks["t.start_then_end"].delay(str(journal.path), "a", str(gate))
    journal.wait_for(lines=1, timeout=10)
    frozen.kill(signal.SIGSTOP)
    start_worker(server.url, backend=None, env=SHORT, concurrency=1)
    journal.wait_for(lines=2, timeout=20)
    frozen.kill(signal.SIGCONT)
    wait_until(lambda: claims(server) == (1, 1), timeout=10, what="one claim")
    gate.touch()
    journal.wait_for(lines=4, timeout=10)
    wait_until(lambda: claims(server) == (0, 0), timeout=10, what="end of all claims")
    app.tasks["t.note_late"].delay(str(journal.path), "b")
    journal.wait_for(lines=5, timeout=10)
    assert journal.lines() == ["start a", "start a", "end a", "end a", "b"]
    assert frozen.returncode is None


def test_worker_that_stops_gives_back_at_once(
    server: RedisServer, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app = build(server.url)
    gate = tmp_path / "gate"
    first = start_worker(server.url, backend=None, concurrency=1)  # a lease of 60 s
    app.tasks["t.start_then_end"].delay(str(journal.path), "a", str(gate))
    wait_until(lambda: journal.lines() == ["start a"], timeout=10, what="the start")
    app.tasks["t.note_late"].delay(str(journal.path), "b")
    wait_until(lambda: claims(server)[0] == 2, timeout=10, what="the second claim")
    first.kill(signal.SIGTERM)
    gate.touch()
    assert first.wait() == 0
    with client(server) as line:
        assert claims(server) == (0, 0)
        assert line.zcard("celeriac.workers") == 0
        left = [json.loads(raw) for raw in line.lrange("celery", 0, -1)]
    assert len(left) + len(journal.lines()) == 3
    assert all(message["headers"]["redelivered"] for message in left)


def test_task_that_kills_its_workers_becomes_a_dead_letter(
    server: RedisServer, start_worker: Start, tmp_path: Path
) -> None:
    broker = open_broker(server.url)
    journal = Journal(tmp_path / "deaths.txt")
    build(server.url).tasks["t.start_then_end"].delay(str(journal.path), "x", str(tmp_path / "never"))
    for deaths in range(1, 4):
        worker = start_worker(server.url, backend=None, env=SHORT, concurrency=1)
        journal.wait_for(lines=deaths, timeout=15)
        assert len(wait_until(lambda: started(server), timeout=10, what="note of the start")) == 1
        worker.kill(signal.SIGKILL)
        worker.wait()
    start_worker(server.url, backend=None, env=SHORT, concurrency=1)
    letters = wait_until(broker.dead_list, timeout=15, what="dead letter")
    assert [letter.reason for letter in letters] == ["crashed"]
    assert len(journal.lines()) == 3


def test_parked_task_outlives_its_worker(server: RedisServer, start_worker: Start, journal: Journal) -> None:
    broker = open_broker(server.url)
    first = start_worker(server.url, backend=None, env=SHORT)
    build(server.url).tasks["t.note_late"].apply_async((str(journal.path), "later"), countdown=3)
    wait_until(lambda: broker.depths()[0].delayed == 1, timeout=10, what="parked message")
    assert claims(server) == (0, 0)
    first.kill(signal.SIGKILL)
    start_worker(server.url, backend=None, env=SHORT)
    wait_until(lambda: journal.lines() == ["later"], timeout=15, what="its line")


def test_undecodable_messages_become_dead_letters_byte_for_byte(server: RedisServer, start_worker: Start) -> None:
    broker = open_broker(server.url)
    bad = [b"no json", b"\xff\x00\n", b"{}", b"[1, 2", b""]
    with client(server) as line:
        for raw in bad:
            line.lpush("celery", raw)
    start_worker(server.url, backend=None)
    wait_until(lambda: len(broker.dead_list()) == len(bad), timeout=10, what="letters")
    letters = broker.dead_list()
    assert sorted(letter.envelope for letter in letters) == sorted(bad)
    assert claims(server) == (0, 0)
    assert broker.dead_replay([letters[0].id]) == 1
    wait_until(lambda: len(broker.dead_list()) == len(bad), timeout=10, what="its return")
    assert broker.dead_purge() == len(bad)


# --- connections and servers that break -------------------------------------------------------------------------


def test_broken_connections_and_forgotten_scripts_lose_nothing_and_double_nothing(
    server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    app = build(server.url)
    start_worker(server.url, backend=None)
    with client(server) as line:
        for number in range(300):
            app.tasks["t.note_late"].delay(str(journal.path), str(number))
            if number % 20 == 0:
                line.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            if number % 30 == 0:
                line.script_flush()
    wait_until(lambda: len(set(journal.lines())) == 300, timeout=30, what="all lines")
    wait_until(lambda: claims(server) == (0, 0), timeout=10, what="end of all claims")
    # A publisher whose connection breaks before the answer sends again: that is the one way to a second copy.
    assert len(journal.lines()) <= 300 + 15


def test_idle_worker_with_half_open_connections_takes_the_next_task_within_seconds(
    server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    app = build(server.url)
    with Proxy.start(server.port) as proxy:
        start_worker(proxy.url_of(server.url), backend=None)
        with client(server) as line:
            waits = wait_until(
                lambda: [one for one in line.client_list() if one["cmd"] == "blmove"], timeout=10, what="a wait"
            )
        assert waits
        assert proxy.cut_now("hang")
        app.tasks["t.note_late"].delay(str(journal.path), "a")
        # The server gave it to a connection that is no more: it is found and put back.
        journal.wait_for(lines=1, timeout=8)


def test_server_that_restarts_is_found_again(server: RedisServer, start_worker: Start, journal: Journal) -> None:
    app = build(server.url)
    worker = start_worker(server.url, backend=None)
    for number in range(20):
        app.tasks["t.note_late"].delay(str(journal.path), str(number))
    wait_until(lambda: len(journal.lines()) == 20, timeout=10, what="the first half")
    server.kill()
    with pytest.raises(BrokerUnavailable):
        open_broker(server.url, timeout=1).publish("", "celery", 0, None, b"x")
    server.resume()
    for number in range(20, 40):
        app.tasks["t.note_late"].delay(str(journal.path), str(number))
    wait_until(lambda: len(journal.lines()) == 40, timeout=20, what="the second half")
    assert worker.returncode is None
    assert sorted(map(int, journal.lines())) == list(range(40))


def test_connections_of_a_server_that_was_there_before_are_not_ended_in_the_next_ones(
    server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    """Connections are known by numbers, which begin anew with each server: those that workers still want to end, their
    own and a dead worker's, are strangers' now."""
    app = build(server.url)
    for _ in range(20):
        client(server).ping()  # the workers' numbers are none that the next server gives out as it starts
    with Proxy.start(server.port) as proxy:
        cut_off = start_worker(proxy.url_of(server.url), backend=None, env=SHORT)
        dead = start_worker(server.url, backend=None, env=SHORT, name="dead")
        with client(server) as line:
            waits = 2  # a connection of each that blocks for the queue
            wait_until(lambda: line.info("clients")["blocked_clients"] >= waits, timeout=10, what="idle workers")
        proxy.refuse()
        dead.kill(signal.SIGKILL)
        server.kill()
        server.resume()
        strangers = [redis.Redis(HOST, server.port, single_connection_client=True) for _ in range(40)]
        numbers = [stranger.client_id() for stranger in strangers]
        proxy.accept()
        app.tasks["t.note_late"].delay(str(journal.path), "done")
        journal.wait_for(lines=1, timeout=20)
        wait_until(lambda: "is gone" in cut_off.output(), timeout=20, what="return of what the dead one held")
        assert [stranger.client_id() for stranger in strangers] == numbers
        for stranger in strangers:
            stranger.close()
        assert cut_off.stop() == 0


def test_next_server_of_a_list_is_used(server: RedisServer) -> None:
    dead = f"redis://{HOST}:{free_port()}/0"
    with open_broker(f"{dead};{server.url}") as broker:
        assert broker.publish("", "jobs", 0, None, b"x") == 1
    with client(server) as line:
        assert line.llen("jobs") == 1


# --- servers that say no ----------------------------------------------------------------------------------------


def refusal(url: str) -> str:
    with open_broker(url, timeout=5) as broker, pytest.raises(ImproperlyConfigured) as caught:
        broker.publish("", "jobs", 0, None, b"x")
    return str(caught.value)


def test_wrong_password_and_missing_rights_name_the_user_and_never_the_password(
    server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    with client(server) as line:
        line.execute_command("ACL", "SETUSER", "limited", "on", ">s3cret", "~none:*", "+@all")
        line.execute_command("ACL", "SETUSER", "worker", "on", ">s3cret", "~*", "&*", "+@all", "-@admin", "-@dangerous")
        line.config_set("requirepass", "topsecret")
    place = f"{HOST}:{server.port}/0"
    for url, user in [
        (f"redis://{place}", "default"),
        (f"redis://:wr0ng@{place}", "default"),
        (f"redis://limited:wr0ng@{place}", "limited"),
        (f"redis://limited:s3cret@{place}", "limited"),
    ]:
        text = refusal(url)
        assert f"'{user}'" in text
        assert not any(word in text for word in ["wr0ng", "s3cret", "topsecret"]), text
    allowed = f"redis://worker:s3cret@{place}"
    build(allowed).tasks["t.note_late"].delay(str(journal.path), "a")
    start_worker(allowed, backend=None)
    journal.wait_for(lines=1, timeout=10)


def test_full_server_says_so_and_goes_on_when_there_is_room(server: RedisServer) -> None:
    with client(server) as line, open_broker(server.url) as broker:
        line.config_set("maxmemory", "1kb")
        with pytest.raises(BrokerFull, match="maxmemory"):
            broker.publish("", "jobs", 0, None, bytes(1000))
        line.config_set("maxmemory", "0")
        assert broker.publish("", "jobs", 0, None, bytes(1000)) == 1


def test_worker_of_a_full_server_goes_on_when_there_is_room(
    server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    app = build(server.url)
    worker = start_worker(server.url, backend=None)
    for number in range(5):
        app.tasks["t.note_late"].delay(str(journal.path), str(number), 0.3)
    journal.wait_for(lines=1, timeout=10)
    with client(server) as line:
        line.config_set("maxmemory", "1kb")
        wait_until(lambda: len(journal.lines()) >= 2, timeout=10, what="a task that ends meanwhile")
        with pytest.raises(BrokerFull):
            app.tasks["t.note_late"].apply_async((str(journal.path), "x"), retry=False)
        line.config_set("maxmemory", "0")
    app.tasks["t.note_late"].delay(str(journal.path), "last")
    wait_until(lambda: len(journal.lines()) == 6, timeout=20, what="all lines")
    wait_until(lambda: claims(server) == (0, 0), timeout=10, what="end of all claims")
    assert sorted(journal.lines()) == sorted([*map(str, range(5)), "last"])
    assert worker.returncode is None


@pytest.mark.parametrize("results", [False, True])
def test_worker_that_starts_at_a_full_server_makes_room(
    server: RedisServer, start_worker: Start, journal: Journal, results: bool
) -> None:
    """One worker has died before, with messages of which one had begun."""
    backend = server.url if results else None
    app = build(server.url, backend)
    dead = start_worker(server.url, backend=backend, env=SHORT, concurrency=1)
    sent = [app.tasks["t.note_late"].delay(str(journal.path), "first", 60)]
    wait_until(lambda: started(server), timeout=10, what="a task that has begun")
    sent += [app.tasks["t.note_late"].delay(str(journal.path), str(number), 0.002) for number in range(300)]
    with client(server) as line:
        line.config_set("maxmemory", "1kb")
        dead.kill(signal.SIGKILL)
        start_worker(server.url, backend=backend, env=SHORT, concurrency=2)
        wait_until(lambda: len(set(journal.lines())) == 300, timeout=20, what="all but the first, which goes on again")
        wait_until(lambda: claims(server) == (1, 1), timeout=10, what="the claim of the first")
        wait_until(lambda: line.zcard("celeriac.workers") == 1, timeout=10, what="end of all that the dead one had")
        with pytest.raises(BrokerFull):
            app.tasks["t.note_late"].apply_async((str(journal.path), "x"), retry=False)
        if results:
            assert [result.get(timeout=5) for result in sent[1:]] == [str(number) for number in range(300)]


def test_more_new_queues_than_a_script_takes_words_are_named_in_one_end(server: RedisServer) -> None:
    names = [f"queue-{number}" for number in range(9000)]
    with open_broker(server.url) as broker:
        worker = Node(server.url)
        try:
            broker.publish("", "jobs", 0, None, envelope("many"))
            job = worker.jobs(1)[0]
            worker.run(job, publish=[("", name, 0, None, envelope(name)) for name in names])
            wait_until(lambda: claims(server) == (0, 0), timeout=20, what="the end")
        finally:
            worker.stop(cold=True)
        assert {depth.name for depth in broker.depths() if depth.ready == 1} == set(names)


def test_what_is_no_redis_is_told(server: RedisServer, tmp_path: Path) -> None:
    import socketserver
    import threading

    class Web(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer((HOST, 0), Web) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        assert "does not speak Redis' protocol" in refusal(f"redis://{HOST}:{web.server_address[1]}/0")
        web.shutdown()


def test_key_of_another_type_is_told(server: RedisServer) -> None:
    from celeriac.exceptions import BrokerRefused

    with client(server) as line, open_broker(server.url) as broker:
        line.set("jobs", "mine")
        with pytest.raises(BrokerRefused, match="global_keyprefix"):
            broker.publish("", "jobs", 0, None, b"x")


def test_end_that_the_server_refuses_harms_no_other(server: RedisServer, start_worker: Start, journal: Journal) -> None:
    """The keys of some results hold lists. Those messages are kept as dead letters that say so; what ends beside them,
    in the same calls, ends once."""
    app = build(server.url, server.url)
    retry, fail = app.tasks["t.retry"], app.tasks["t.fail"]
    good, failed = [], []
    with client(server) as line:
        for bad in range(5):
            line.rpush(f"celery-task-meta-bad{bad}", "mine")
            good += [retry.delay(str(journal.path), f"{bad}.{number}", 1) for number in range(40)]
            fail.apply_async(("no",), task_id=f"bad{bad}")
            failed += [fail.delay("yes") for number in range(10)]
        worker = start_worker(server.url, backend=server.url, concurrency=1)
        assert [result.get(timeout=20) for result in good] == [1] * 200
        assert [str(result.get(timeout=20, propagate=False)) for result in failed] == ["yes"] * 50
        wait_until(lambda: claims(server) == (0, 0), timeout=10, what="end of all claims")
        assert [line.lrange(f"celery-task-meta-bad{bad}", 0, -1) for bad in range(5)] == [[b"mine"]] * 5
    assert len(journal.counts()) == 400
    assert max(journal.counts().values()) == 1
    letters = sorted(raw.dead(app))
    assert {letter.reason for letter in letters} == {"rejected"}
    assert [f"'celery-task-meta-bad{bad}': a key of Redis" in letters[bad].detail for bad in range(5)] == [True] * 5
    assert worker.output().count("celery-task-meta-bad") == 5
    assert "not stored" not in worker.output()


def test_message_that_the_server_refuses_becomes_a_dead_letter(
    server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    """The next attempt of a task that was acked as it began: its own message is gone, nothing else holds the task."""
    app = build(server.url, server.url)
    app.tasks["t.retry_early"].apply_async((str(journal.path), "a"), queue="celery")
    with client(server) as line:
        line.set("jobs", "mine")
        worker = start_worker(server.url, backend=server.url, concurrency=1)
        wait_until(lambda: len(raw.dead(app)) == 1, timeout=20, what="the dead letter")
        line.delete("jobs")
        assert app.tasks["t.add"].delay(1, 2).get(timeout=10) == 3
    (letter,) = raw.dead(app)
    assert (letter.queue, letter.reason) == ("jobs", "rejected")
    assert "'jobs': a key of Redis" in letter.detail
    assert app.broker.dead_replay(None) == 1
    start_worker(server.url, backend=server.url, concurrency=1, args=["-Q", "jobs"])
    journal.wait_for(lines=2, timeout=10)
    assert journal.lines() == ["a 0", "a 1"]
    assert "refused by the broker: a message for 'jobs', kept as a dead letter" in worker.output()


# --- ways to a server -------------------------------------------------------------------------------------------


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with (
        RedisServer.start(tmp_path, args=["--unixsocket", str(path)]) as server,
        open_broker(f"redis+socket://{path}?virtual_host=2") as broker,
        redis.Redis(host=HOST, port=server.port, db=2) as line,
    ):
        assert broker.publish("", "jobs", 0, None, b"x") == 1
        assert line.llen("jobs") == 1


def test_tls_checks_certificates_unless_told_not_to(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(crt), "--tls-key-file", str(key)]
    with RedisServer.start(tmp_path, args=[*tls, "--tls-ca-cert-file", str(crt), "--tls-auth-clients", "no"]):
        place = f"rediss://{HOST}:{port}/0"
        with open_broker(f"{place}?ssl_ca_certs={crt}") as broker:
            assert broker.publish("", "jobs", 0, None, b"x") == 1
        other = f"rediss://localhost:{port}/0?ssl_ca_certs={crt}"
        for relaxed in [f"{other}&ssl_check_hostname=no", f"{place}?ssl_cert_reqs=none"]:
            with open_broker(relaxed) as broker:
                assert broker.publish("", "jobs", 0, None, b"x") == 1
        for unchecked in [place, other]:
            assert "certificate" in refusal(unchecked)


def test_the_setting_for_tls_holds_for_client_and_worker(tmp_path: Path, start_worker: Start, journal: Journal) -> None:
    """The URL asks for none."""
    crt, key = certificate(tmp_path)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(crt), "--tls-key-file", str(key)]
    with RedisServer.start(tmp_path, args=[*tls, "--tls-ca-cert-file", str(crt), "--tls-auth-clients", "no"]):
        url = f"redis://{HOST}:{port}/0"
        conf = {"broker_use_ssl": {"ssl_ca_certs": str(crt), "ssl_cert_reqs": "required"}}
        build(url, None, conf).tasks["t.note_late"].delay(str(journal.path), "a")
        start_worker(url, backend=None, env={"T_CONF": json.dumps(conf)})
        journal.wait_for(lines=1, timeout=10)
        with pytest.raises(ImproperlyConfigured, match="certificate"):
            build(url, None, {"broker_use_ssl": True}).tasks["t.noop"].apply_async(retry=False)


def test_sentinels_lead_to_the_new_master(tmp_path: Path, start_worker: Start, journal: Journal) -> None:
    folders = [tmp_path / name for name in ("one", "two", "watch")]
    for folder in folders:
        folder.mkdir()
    with RedisServer.start(folders[0]) as one:
        with RedisServer.start(
            folders[1], args=["--replicaof", HOST, str(one.port), "--repl-diskless-sync-delay", "0"]
        ) as two:
            with client(two) as line:
                wait_until(lambda: line.info("replication")["master_link_status"] == "up", timeout=20, what="replica")
            port = free_port()
            conf = folders[2] / "sentinel.conf"
            conf.write_text(
                f"port {port}\nbind {HOST}\ndir {folders[2]}\nsentinel monitor jobs {HOST} {one.port} 1\n"
                "sentinel down-after-milliseconds jobs 1000\nsentinel failover-timeout jobs 5000\n"
            )
            watch = subprocess.Popen(["redis-sentinel", str(conf)], stdout=subprocess.DEVNULL)
            try:
                options: dict[str, Any] = {"master_name": "jobs", "lease": 2}
                url = f"sentinel://{HOST}:{free_port()};sentinel://{HOST}:{port}"
                app = build(url, None, {"broker_transport_options": options})
                sentinel = redis.Redis(host=HOST, port=port)
                wait_until(lambda: knows_replica(sentinel), timeout=20, what="sentinel that knows the replica")
                start_worker(url, backend=None, env={"T_CONF": json.dumps({"broker_transport_options": options})})
                app.tasks["t.note_late"].delay(str(journal.path), "before")
                wait_until(lambda: journal.lines() == ["before"], timeout=10, what="first line")
                one.kill()
                wait_until(
                    lambda: send(app, str(journal.path), "after"),
                    timeout=40,
                    what="a master that takes tasks",
                    every=0.2,
                )
                wait_until(lambda: "after" in journal.lines(), timeout=20, what="line after the fail-over")
            finally:
                watch.kill()
                watch.wait(10)


def knows_replica(sentinel: Any) -> bool:
    try:
        return any(row.get("master-link-status") == "ok" for row in sentinel.sentinel_slaves("jobs"))
    except redis.ConnectionError:
        return False


def send(app: Any, path: str, line: str) -> bool:
    try:
        app.tasks["t.note_late"].apply_async((path, line), retry=False)
    except BrokerUnavailable:
        return False
    return True


# --- Celery beside us -------------------------------------------------------------------------------------------


def test_claims_of_celery_are_restored_by_its_own_rule(server: RedisServer, start_worker: Start) -> None:
    conf = {"T_CONF": json.dumps({"broker_transport_options": {"visibility_timeout": 5}})}
    old, young = entry("old"), entry("young")
    with client(server) as line:
        now = line.time()[0]
        for tag, raw, age in [("old", old, 10), ("young", young, 0)]:
            line.zadd("unacked_index", {tag: now + 3600 - 3600 - age})
            line.hset("unacked", tag, b"[" + raw + b', "", "jobs"]')
        start_worker(server.url, backend=None, env=conf)
        restored = wait_until(lambda: line.lrange("jobs", 0, -1), timeout=10, what="restored message")
        assert [json.loads(raw)["properties"]["delivery_tag"] for raw in restored] == ["old"]
        message = json.loads(restored[0])
        assert message["headers"]["redelivered"]
        assert message["properties"]["delivery_info"] == {"exchange": "", "routing_key": "jobs", "redelivered": True}
        assert not line.hexists("unacked", "old")
        # Nothing is restored twice, and in its own time the other one is.
        wait_until(lambda: line.llen("jobs") == 2, timeout=20, what="the younger one")
        assert claims(server) == (0, 0)


def test_claims_that_lead_nowhere_do_not_hold_up_the_others(server: RedisServer, start_worker: Start) -> None:
    conf = {"T_CONF": json.dumps({"broker_transport_options": {"visibility_timeout": 5}})}
    with client(server) as line:
        now = line.time()[0]
        for number in range(250):
            line.zadd("unacked_index", {f"lost-{number}": now - 1000 + number})
            line.hset("unacked", f"lost-{number}", b"[" + entry(f"lost-{number}") + b', "no-such-exchange", "jobs"]')
        line.zadd("unacked_index", {"old": now - 10})
        line.hset("unacked", "old", b"[" + entry("old") + b', "", "jobs"]')
        start_worker(server.url, backend=None, env=conf)
        wait_until(lambda: line.llen("jobs") == 1, timeout=20, what="restored message")
        assert claims(server) == (250, 250)
        # Their exchange comes back, and with it they do.
        line.sadd("_kombu.binding.no-such-exchange", b"jobs\x06\x16\x06\x16jobs")
        wait_until(lambda: line.llen("jobs") == 251, timeout=30, what="the others")
        assert claims(server) == (0, 0)


def test_purge_and_depths_count_all_priorities(server: RedisServer) -> None:
    with open_broker(server.url) as broker:
        fill(broker)
        assert [(depth.name, depth.ready) for depth in broker.depths()] == [("jobs", 10)]
        with client(server) as line:
            assert sorted(line.keys("jobs*")) == [b"jobs", b"jobs\x06\x163", b"jobs\x06\x166", b"jobs\x06\x169"]
        assert broker.purge("jobs") == 10


def fill(broker: Broker) -> None:
    broker.publish_many([("", "jobs", priority, None, entry(str(priority))) for priority in range(10)])
