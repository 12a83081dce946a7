"""What only a real Redis can do to those who wait for results: go away, come back, hang, refuse."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac import Celery
from celeriac.backends._subscription import Subscription
from celeriac.exceptions import (
    BackendGetMetaError,
    BackendStoreError,
    BrokerRefused,
    BrokerUnavailable,
    OperationalError,
    TimeoutError,
)
from celeriac.result import ResultSet
from tests.support.certificate import certificate
from tests.support.getting import Waiting
from tests.support.needs import missing
from tests.support.redis_server import HOST, RedisServer, free_port
from tests.support.waiting import wait_until

MakeApp = Callable[..., Celery]


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    made: list[Celery] = []

    def make(url: str, **settings: Any) -> Celery:
        app = Celery("redis-results", broker="memory://redis-results", backend=url, set_as_current=False)
        app.conf.update(settings)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(redis_server: RedisServer, make_app: MakeApp) -> Celery:
    return make_app(redis_server.url)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path) as server:
        yield server


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port) as client:
        yield client


def subscribed(client: Any, *task_ids: str) -> bool:
    return all(count for _, count in client.pubsub_numsub(*(f"celery-task-meta-{each}" for each in task_ids)))


# --- lost connections ------------------------------------------------------------------------------------------------


def test_a_wait_survives_that_its_connection_is_killed(app: Celery, admin: Any) -> None:
    for number in range(20):
        waiting = Waiting(app, f"id-{number}")
        wait_until(lambda: subscribed(admin, f"id-{number}"), timeout=10, what="subscription")
        admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        app.backend.mark_as_done(f"id-{number}", number)  # perhaps while nobody is subscribed
        assert waiting.end() == number


def test_a_wait_survives_that_the_server_is_killed_and_comes_back(own_server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(own_server.url)
    threads = [Waiting(app, f"id-{number}") for number in range(5)]
    with redis.Redis(port=own_server.port) as client:
        wait_until(
            lambda: subscribed(client, *(f"id-{number}" for number in range(5))), timeout=10, what="subscription"
        )
    told: list[Any] = []
    app.AsyncResult("id-0").then(lambda result: told.append(result.result))
    own_server.kill()
    own_server.resume()
    for number in range(5):
        app.backend.mark_as_done(f"id-{number}", number)
    assert [thread.end() for thread in threads] == list(range(5))
    wait_until(lambda: told == [0], timeout=20, what="call of the callback")


def test_patience_has_an_end(own_server: RedisServer, make_app: MakeApp) -> None:
    policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0.01}
    app = make_app(own_server.url, result_backend_transport_options={"retry_policy": policy})
    threads = [Waiting(app, "id"), Waiting(app, "other")]
    with redis.Redis(port=own_server.port) as client:
        wait_until(lambda: subscribed(client, "id", "other"), timeout=10, what="subscription")
    errors: list[Any] = []
    app.AsyncResult("id").then(lambda _: None, on_error=errors.append)
    own_server.kill()
    for thread in threads:
        outcome = thread.end()
        assert isinstance(outcome, RuntimeError)
        assert "Retry limit exceeded" in str(outcome)
        assert "hint:" in str(outcome)
    wait_until(lambda: errors, timeout=20, what="call of on_error")
    assert isinstance(errors[0], RuntimeError)
    with pytest.raises(BrokerUnavailable, match="cannot be reached") as caught:
        app.backend.get_task_meta("id")
    assert f"redis://{HOST}:{own_server.port}/0" in str(caught.value)
    with pytest.raises(BrokerUnavailable):
        app.backend.mark_as_done("id", 1)
    own_server.resume()
    app.backend.mark_as_done("id", 1)
    assert app.AsyncResult("id").get(timeout=10) == 1


def test_settings_say_whether_all_is_tried_again(own_server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(
        own_server.url,
        result_backend_always_retry=True,
        result_backend_max_retries=2,
        result_backend_base_sleep_between_retries_ms=1,
        result_backend_transport_options={"retry_policy": {"max_retries": 0}},
    )
    app.backend.mark_as_done("id", 1)
    own_server.kill()
    with pytest.raises(BackendGetMetaError):
        app.backend.get_task_meta("id")
    with pytest.raises(BackendStoreError):
        app.backend.mark_as_done("id", 1)
    app.conf.result_backend_max_retries = 1_000
    app.backend = app._get_backend()
    timer = threading.Timer(0.2, own_server.resume)
    timer.start()
    assert app.backend.get_task_meta("id") == {"status": "PENDING", "result": None}  # it keeps nothing over a restart
    timer.join()


def test_waits_last_as_long_as_all_is_tried_again(own_server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(
        own_server.url,
        result_backend_always_retry=True,
        result_backend_transport_options={"retry_policy": {"max_retries": 1, "interval_step": 0.01}},
    )
    waiting = Waiting(app, "id")
    with redis.Redis(port=own_server.port) as client:
        wait_until(lambda: subscribed(client, "id"), timeout=10, what="subscription")
    own_server.kill()
    wait_until(lambda: app.backend.subscription._attempts > 2, timeout=10, what="third try")
    own_server.resume()
    app.backend.mark_as_done("id", 1)
    assert waiting.end() == 1


def test_a_pooled_connection_that_died_does_not_fail_the_next_command(app: Celery, admin: Any) -> None:
    app.backend.mark_as_done("id", 1)
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert app.AsyncResult("id").state == "SUCCESS"
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    app.backend.mark_as_done("id2", 1)


# --- a server that hangs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connected", [True, False])
def test_time_outs_hold_when_the_server_hangs(own_server: RedisServer, make_app: MakeApp, connected: bool) -> None:
    app = make_app(own_server.url)
    app.backend.mark_as_done("known", 1)
    if connected:
        assert app.AsyncResult("known").get(timeout=5) == 1
    own_server.signal(signal.SIGSTOP)
    try:
        for timeout in (0, 0.3, 1.5):
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                app.AsyncResult("id").get(timeout=timeout)
            # A first look takes up to a second whatever the time-out is.
            assert max(timeout, 1.0) - 0.05 <= time.monotonic() - began < timeout + 2.5

        async def main() -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(app.AsyncResult("id"), 0.3)

        began = time.monotonic()
        asyncio.run(main())
        assert time.monotonic() - began < 3
    finally:
        own_server.signal(signal.SIGCONT)
    waiting = Waiting(app, "id")
    app.backend.mark_as_done("id", 7)
    assert waiting.end() == 7


def test_a_server_that_does_not_answer_is_left_for_a_new_connection(own_server: RedisServer, make_app: MakeApp) -> None:
    app = make_app(own_server.url, redis_socket_timeout=0.3)
    app.backend.mark_as_done("known", 1)
    assert app.AsyncResult("known").get(timeout=5) == 1
    own_server.signal(signal.SIGSTOP)
    waiting = Waiting(app, "id")
    first = app.backend.subscription._line
    wait_until(lambda: app.backend.subscription._line is not first, timeout=10, what="end of the connection")
    own_server.signal(signal.SIGCONT)
    app.backend.mark_as_done("id", 7)
    assert waiting.end() == 7


def test_an_interrupt_gets_through_and_leaves_the_others_waiting(app: Celery, admin: Any) -> None:
    interrupted = False

    def interrupt() -> None:
        wait_until(lambda: subscribed(admin, "id"), timeout=10, what="subscription")
        other.append(Waiting(app, "other"))
        wait_until(lambda: subscribed(admin, "other"), timeout=10, what="subscription")
        os.kill(os.getpid(), signal.SIGINT)

    other: list[Waiting] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        app.AsyncResult("id").get(timeout=30)
    except KeyboardInterrupt:
        interrupted = True
    thread.join()
    assert interrupted
    app.backend.mark_as_done("other", 1)
    assert other[0].end() == 1
    app.backend.mark_as_done("id", 2)
    assert app.AsyncResult("id").get(timeout=10) == 2


def test_an_interrupt_that_another_thread_took_gets_through_all_the_same(app: Celery, admin: Any) -> None:
    """Then the main thread's sleep is not ended by the signal."""

    def take_it() -> None:
        wait_until(lambda: subscribed(admin, "id"), timeout=10, what="subscription")
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=take_it)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        app.AsyncResult("id").get(timeout=30)
    thread.join()
    assert time.monotonic() - began < 15


# --- forks -----------------------------------------------------------------------------------------------------------


def _in_child(app: Celery) -> None:
    assert app.AsyncResult("known").get(timeout=10) == 1
    waiting = Waiting(app, "for the child")
    app.backend.mark_as_done("from the child", os.getpid())
    assert waiting.end() == "hello"


def test_a_fork_in_the_middle_of_waits(app: Celery, admin: Any) -> None:
    app.backend.mark_as_done("known", 1)
    threads = [Waiting(app, f"id-{number}") for number in range(3)]
    wait_until(lambda: subscribed(admin, "id-0", "id-1", "id-2"), timeout=10, what="subscription")
    process = multiprocessing.get_context("fork").Process(target=_in_child, args=(app,))
    process.start()
    assert app.AsyncResult("from the child").get(timeout=20) == process.pid
    app.backend.mark_as_done("for the child", "hello")
    process.join(30)
    assert process.exitcode == 0
    for number in range(3):
        app.backend.mark_as_done(f"id-{number}", number)
    assert [thread.end() for thread in threads] == [0, 1, 2]  # the child's end did not close what the parent uses


def test_a_child_goes_on_with_the_wait_in_which_it_was_forked(app: Celery) -> None:
    children: list[int] = []

    def fork() -> None:
        if not children:
            children.append(os.fork())

    value = None
    try:
        timer = threading.Timer(0.3, lambda: app.backend.mark_as_done("id", 7))
        timer.start()
        value = app.AsyncResult("id").get(timeout=20, interval=0.05, on_interval=fork)
    finally:
        if children == [0]:
            os._exit(0 if value == 7 else 1)
    timer.join()
    assert value == 7
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


# --- many at once ----------------------------------------------------------------------------------------------------


def test_threads_loops_and_callbacks_share_one_connection(app: Celery, admin: Any) -> None:
    outcomes: list[Any] = []
    before = admin.info("clients")["connected_clients"]

    def loop(number: int) -> None:
        async def main() -> None:
            waits = [app.AsyncResult(f"loop-{number}-{index}") for index in range(20)]
            outcomes.append(await asyncio.wait_for(asyncio.gather(*waits), 30))

        asyncio.run(main())

    told: list[Any] = []
    threads = [Waiting(app, f"thread-{number}") for number in range(16)]
    loops = [threading.Thread(target=loop, args=(number,)) for number in range(4)]
    for each in loops:
        each.start()
    for number in range(20):
        app.AsyncResult(f"then-{number}").then(lambda result: told.append(result.result))
    ids = [f"thread-{n}" for n in range(16)] + [f"loop-{n}-{i}" for n in range(4) for i in range(20)]
    wait_until(lambda: subscribed(admin, *ids, "then-19"), timeout=20, what="subscriptions")
    assert sum(int(client["sub"]) > 0 for client in admin.client_list()) == 1
    for task_id in ids:
        app.backend.mark_as_done(task_id, task_id)
    for number in range(20):
        app.backend.mark_as_done(f"then-{number}", number)
    assert [thread.end() for thread in threads] == [f"thread-{number}" for number in range(16)]
    for each in loops:
        each.join(30)
    assert sorted(outcomes) == [[f"loop-{n}-{i}" for i in range(20)] for n in range(4)]
    wait_until(lambda: len(told) == 20, timeout=20, what="callbacks")
    # One to wait on, and pooled ones for the commands of threads that ran at once.
    assert admin.info("clients")["connected_clients"] - before <= 22


def test_who_reads_for_all_may_leave_at_any_time(app: Celery) -> None:
    """Each wait ends by itself, so whoever leads hands over to the next all the time."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for index in range(40):
                task_id = f"{number}-{index}"
                if index % 4 == 3:
                    with pytest.raises(TimeoutError):
                        list(app.backend.get_many(["nobody"], timeout=0.001, max_iterations=1))
                sender = threading.Thread(target=app.backend.mark_as_done, args=(task_id, index))
                sender.start()
                assert app.AsyncResult(task_id).get(timeout=20) == index
                sender.join()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def calls(admin: Any) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in admin.info("commandstats").items()}


def test_joining_ten_thousand_asks_few_questions(app: Celery, admin: Any) -> None:
    count = 10_000
    members = ResultSet([app.AsyncResult(f"id-{number}") for number in range(count)], app=app)
    admin.config_resetstat()

    def write() -> None:
        wait_until(lambda: subscribed(admin, f"id-{count - 1}"), timeout=20, what="subscription")
        for at in range(0, count, 500):
            with admin.pipeline(transaction=False) as pipe:
                for number in range(at, at + 500):
                    key, value, _, _ = app.backend.encode_write(f"id-{number}", "SUCCESS", number)
                    pipe.set(key, value)
                    pipe.publish(key, value)
                pipe.execute()

    thread = threading.Thread(target=write)
    thread.start()
    assert members.get(timeout=50) == list(range(count))
    thread.join()
    asked = calls(admin)
    assert asked["subscribe"] == asked["mget"] == 10
    assert asked["unsubscribe"] <= 50
    assert "get" not in asked
    assert ResultSet([app.AsyncResult(f"id-{number}") for number in range(count)], app=app).get(timeout=50) == list(
        range(count)
    )
    assert calls(admin)["mget"] == 20


def test_what_is_published_is_not_read_again(app: Celery, admin: Any) -> None:
    admin.config_resetstat()
    waiting = Waiting(app, "id")
    wait_until(lambda: subscribed(admin, "id"), timeout=10, what="subscription")
    key, value, _, _ = app.backend.encode_write("id", "SUCCESS", 7)
    admin.publish(key, value)
    assert waiting.end() == 7
    assert calls(admin)["get"] == 1  # with the subscription, before anything had come


@pytest.mark.skipif(sys.platform != "linux", reason="poll heeds SO_RCVLOWAT on Linux")
def test_a_wait_is_woken_by_its_result_alone(app: Celery, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """That nothing is stored yet is no news to who waits for long."""
    app.backend.store_result("first", 1, "SUCCESS")
    assert app.AsyncResult("first").get(timeout=10) == 1  # the connection is there
    reads: list[float] = []
    read = Subscription._read

    def counted(self: Subscription, line: Any) -> None:
        reads.append(time.monotonic())
        read(self, line)

    monkeypatch.setattr(Subscription, "_read", counted)
    waiting = Waiting(app, "id")
    wait_until(lambda: subscribed(admin, "id"), timeout=10, what="subscription")
    key, value, _, _ = app.backend.encode_write("id", "SUCCESS", 7)
    admin.publish(key, value)
    assert waiting.end() == 7
    assert len(reads) == 1


def test_nobody_stays_subscribed(app: Celery, admin: Any) -> None:
    with pytest.raises(TimeoutError):
        app.AsyncResult("nobody").get(timeout=0.05)
    wait_until(lambda: not subscribed(admin, "nobody"), timeout=10, what="end of the subscription")

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app.AsyncResult("nobody"), 0.1)

    asyncio.run(give_up())
    wait_until(lambda: not subscribed(admin, "nobody"), timeout=10, what="end of the subscription")
    for number in range(1000):
        app.backend.mark_as_done(f"id-{number}", number)
        assert app.AsyncResult(f"id-{number}").get(timeout=10) == number
    # Those whose last state has come are silent; they leave with the next write or in company.
    wait_until(lambda: len(admin.pubsub_channels()) <= 256, timeout=10, what="end of most subscriptions")


# --- what is refused -------------------------------------------------------------------------------------------------


def refusals(app: Celery) -> Iterator[Exception]:
    async def main() -> None:
        await app.AsyncResult("id")

    for attempt in (
        lambda: app.AsyncResult("id").state,
        lambda: app.AsyncResult("id").get(timeout=20),
        lambda: app.backend.mark_as_done("id", 1),
        lambda: asyncio.run(main()),
    ):
        with pytest.raises(OperationalError) as caught:
            attempt()
        yield caught.value


def test_password(tmp_path: Path, make_app: MakeApp) -> None:
    with RedisServer.start(tmp_path, args=["--requirepass", "secret"]) as server:
        for url in (server.url, f"redis://:wrong@{HOST}:{server.port}/0"):
            for error in refusals(make_app(url)):
                assert isinstance(error, BrokerRefused), error
                assert "does not accept the login" in str(error)
                assert "wrong@" not in str(error)
        for app in (
            make_app(f"redis://:secret@{HOST}:{server.port}/0"),
            make_app(f"redis://default:secret@{HOST}:{server.port}/0"),
            make_app(server.url, redis_password="secret"),
        ):
            waiting = Waiting(app, "id")
            app.backend.mark_as_done("id", 1)
            assert waiting.end() == 1
            app.backend.forget("id")


def test_databases(redis_server: RedisServer, make_app: MakeApp, admin: Any) -> None:
    app = make_app(redis_server.url_of(3))
    app.backend.mark_as_done("id", 1)
    assert app.AsyncResult("id").get(timeout=10) == 1
    assert make_app(redis_server.url_of(0)).AsyncResult("id").state == "PENDING"
    with redis.Redis(port=redis_server.port, db=3) as client:
        assert client.keys() == [b"celery-task-meta-id"]
    for error in refusals(make_app(redis_server.url_of(99))):
        assert "has no such database" in str(error)


def test_users_without_permission_are_told_which(tmp_path: Path, make_app: MakeApp) -> None:
    with RedisServer.start(tmp_path) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "resetchannels", "+@all")
        app = make_app(f"redis://reader:pw@{HOST}:{server.port}/0")
        with pytest.raises(BrokerRefused, match="forbids a command or key"):
            app.AsyncResult("id").get(timeout=20)
        assert app.AsyncResult("id").state == "PENDING"


def test_a_user_with_the_commands_of_the_hint_lacks_nothing(tmp_path: Path, make_app: MakeApp) -> None:
    with RedisServer.start(tmp_path) as server, redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "-@all")
        app = make_app(f"redis://few:pw@{HOST}:{server.port}/1", redis_backend_health_check_interval=1)
        with pytest.raises(BrokerRefused, match="forbids a command or key") as caught:
            app.backend.mark_as_done("id", 1)
        hint = str(caught.value).partition("the user needs")[2].partition("in a cluster")[0]
        allowed = re.findall(r"\b[A-Z]{3,}\b", hint)
        client.execute_command("ACL", "SETUSER", "few", *(f"+{name.lower()}" for name in allowed))
        app.close()
        waiting = Waiting(app, "late")
        pinged = lambda: client.info("commandstats").get("cmdstat_ping", {}).get("calls", 0)  # noqa: E731 - one line
        before = pinged()
        wait_until(lambda: pinged() > before, timeout=10, what="PING of the connection that waits")
        app.backend.mark_as_done("late", 1)
        assert waiting.end() == 1
        members = ResultSet([app.AsyncResult("late"), app.AsyncResult("nobody")], app=app)
        with pytest.raises(TimeoutError):
            members.get(timeout=0)
        assert app.backend.incr("number") == 1
        app.backend.expire("number", 10)
        app.AsyncResult("late").forget()
        assert app.AsyncResult("late").state == "PENDING"


def test_what_is_no_record_fails_one_wait_alone(app: Celery, admin: Any) -> None:
    admin.lpush("celery-task-meta-list", "x")
    waiting = Waiting(app, "id")
    with pytest.raises(OperationalError, match="not a string"):
        app.AsyncResult("list").get(timeout=10)
    app.backend.mark_as_done("id", 1)
    assert waiting.end() == 1


def test_values_that_are_too_large(app: Celery, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(app.backend), "max_value_bytes", 1000)
    with pytest.raises(BackendStoreError, match="value too large for Redis backend"):
        app.backend.mark_as_done("id", "x" * 1000)


# --- what is stored --------------------------------------------------------------------------------------------------


def test_keys_and_expiry(make_app: MakeApp, redis_server: RedisServer, admin: Any) -> None:
    app = make_app(
        redis_server.url,
        result_expires=60,
        result_failure_expires=10,
        result_backend_transport_options={"global_keyprefix": "team"},
    )
    backend = app.backend
    backend.mark_as_done("good", 1)
    backend.mark_as_failure("bad", ValueError("x"))
    backend.save_group("g", app.GroupResult("g", []))
    assert sorted(admin.keys()) == [
        b"team_celery-task-meta-bad",
        b"team_celery-task-meta-good",
        b"team_celery-taskset-meta-g",
    ]
    assert admin.ttl("team_celery-task-meta-good") in (59, 60)
    assert admin.ttl("team_celery-task-meta-bad") in (9, 10)
    assert app.AsyncResult("good").get(timeout=10) == 1
    forever = make_app(redis_server.url, result_expires=None)
    forever.conf.result_expires = 0
    forever.backend.mark_as_done("kept", 1)
    assert admin.ttl("celery-task-meta-kept") == -1
    assert backend.incr(backend.get_key_for_chord("g")) == 1
    backend.expire(backend.get_key_for_chord("g"), 5)
    assert admin.ttl("team_chord-unlock-g") in (4, 5)
    backend.delete(backend.get_key_for_chord("g"))
    assert not admin.exists("team_chord-unlock-g")


def test_many_keys_are_read_in_pieces(app: Celery, admin: Any) -> None:
    app.backend.mark_as_done("id-2400", 1)
    admin.config_resetstat()
    metas = app.backend.get_task_metas([f"id-{number}" for number in range(2500)])
    assert [task_id for task_id, meta in metas.items() if meta["status"] == "SUCCESS"] == ["id-2400"]
    assert calls(admin)["mget"] == 3


def test_the_connection_says_whose_it_is(make_app: MakeApp, redis_server: RedisServer, admin: Any) -> None:
    app = make_app(redis_server.url, redis_client_name="billing")
    app.AsyncResult("id").ready()
    with pytest.raises(TimeoutError):
        app.AsyncResult("id").get(timeout=0.01)
    assert [client["name"] for client in admin.client_list()].count("billing") == 2


class Provider(redis.CredentialProvider):
    def get_credentials(self) -> Any:
        return ("default", "secret")


def test_credential_provider(tmp_path: Path, make_app: MakeApp) -> None:
    with RedisServer.start(tmp_path, args=["--requirepass", "secret"]) as server:
        app = make_app(server.url, redis_backend_credential_provider=Provider)
        waiting = Waiting(app, "id")
        app.backend.mark_as_done("id", 1)
        assert waiting.end() == 1


# --- other ways to a server ------------------------------------------------------------------------------------------


def test_unix_socket(tmp_path: Path, make_app: MakeApp) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer.start(tmp_path, args=["--unixsocket", str(path)]):
        app = make_app(f"redis+socket://{path}?virtual_host=2")
        waiting = Waiting(app, "id")
        app.backend.mark_as_done("id", 1)
        assert waiting.end() == 1
        assert make_app(f"unix://{path}?db=2").AsyncResult("id").get(timeout=10) == 1


def test_tls(tmp_path: Path, make_app: MakeApp) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    args = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    with RedisServer.start(
        tmp_path, args=[*args, "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"]
    ) as server:
        files = f"ssl_ca_certs={cert}"
        for app in (
            make_app(f"rediss://{HOST}:{port}/0?ssl_cert_reqs=CERT_REQUIRED&{files}"),
            make_app(f"redis://{HOST}:{port}/0", redis_backend_use_ssl={"ssl_ca_certs": str(cert)}),
            make_app(f"rediss://{HOST}:{port}/0?ssl_cert_reqs=none"),
        ):
            large = "x" * 3_000_000  # many TLS records: the socket holds bytes that poll does not know of
            waiting = [Waiting(app, f"id-{number}") for number in range(8)]
            for number in range(8):
                app.backend.mark_as_done(f"id-{number}", large if number % 2 else number)
            assert [thread.end() for thread in waiting] == [large if n % 2 else n for n in range(8)]
            with redis.Redis(port=server.port) as client:
                client.flushall()
        policy = {"retry_policy": {"max_retries": 0}}
        app = make_app(f"rediss://{HOST}:{port}/0", result_backend_transport_options=policy)
        with pytest.raises(Exception, match=r"(?i)certificate"):
            app.AsyncResult("id").get(timeout=10)


class Sentinel(RedisServer):
    """Watches a master called `mymaster`."""

    program = "redis-sentinel"

    def __init__(self, folder: Path, master: int) -> None:
        super().__init__(folder)
        self._config = folder / f"sentinel-{self.port}.conf"
        self._config.write_text(
            f"port {self.port}\nbind {HOST}\ndir {folder}\nsentinel monitor mymaster {HOST} {master} 1\n"
        )

    def resume(self) -> None:
        import shutil

        program = shutil.which(self.program) or missing(self.program, "run `make servers`")
        self._process = subprocess.Popen(
            [program, str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.answers, timeout=20, what="answer of the sentinel")


def test_sentinel(own_server: RedisServer, tmp_path: Path, make_app: MakeApp) -> None:
    gone = free_port()
    with Sentinel(tmp_path, own_server.port) as sentinel:
        sentinel.resume()
        url = f"sentinel://{HOST}:{gone}/1;sentinel://{HOST}:{sentinel.port}/1"
        app = make_app(url, result_backend_transport_options={"master_name": "mymaster"})
        waiting = Waiting(app, "id")
        app.backend.mark_as_done("id", 1)
        assert waiting.end() == 1
        with redis.Redis(port=own_server.port, db=1) as client:
            assert client.exists("celery-task-meta-id")
        other = make_app(
            url, result_backend_transport_options={"master_name": "nobody", "retry_policy": {"max_retries": 0}}
        )
        with pytest.raises(BrokerUnavailable, match="nobody"):
            other.AsyncResult("id").ready()
