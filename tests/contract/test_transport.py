"""What every transport promises a producer, an operator and a result backend; run against each of them."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable

import pytest

from celeriac._bridge.broker import Broker, QueueDepth, ResultStore, open_broker, open_results
from celeriac.exceptions import BrokerRefused, BrokerUnavailable, ImproperlyConfigured
from tests.support.waiting import wait_until

NOW, LATER = None, 4_102_444_800_000  # the year 2100


@pytest.fixture
def is_redis(url: str) -> bool:
    """Redis keeps to Kombu's rules where they differ from AMQP's, and lets readers of results subscribe."""
    return url.startswith("redis")


@pytest.fixture
def waited_for(is_redis: bool) -> None:
    """For tests of waiting in the store: who waits on Redis subscribes instead."""
    if is_redis:
        pytest.skip("results on Redis are waited for by subscription")


@pytest.fixture
def store(url: str) -> ResultStore:
    return open_results(url)


@pytest.fixture
def k(url: str) -> str:
    """A key of a result; in a cluster one of the store's slot."""
    return "{celeriac}k" if url.startswith("redis+cluster") else "k"


def depth(broker: Broker, queue: str) -> tuple[int, int, int]:
    """`(ready, delayed, held)`."""
    found = [depth for depth in broker.depths() if depth.name == queue]
    return found[0][1:] if found else (0, 0, 0)


def test_message_to_the_default_exchange_makes_its_queue(broker: Broker) -> None:
    assert broker.depths() == []
    assert broker.publish("", "jobs", 0, NOW, b"one") == 1
    assert broker.depths() == [QueueDepth("jobs", 1, 0, 0)]


def test_batch_is_stored_whole_or_not_at_all(broker: Broker) -> None:
    good = ("", "jobs", 0, NOW, b"x")
    assert broker.publish_many([good] * 700) == 700
    assert broker.publish_many([]) == 0
    with pytest.raises(BrokerRefused, match="routing key"):
        broker.publish_many([good, good, ("", "", 0, NOW, b"no queue")])
    assert depth(broker, "jobs") == (700, 0, 0)


def test_future_messages_are_delayed_and_past_ones_ready(broker: Broker, is_redis: bool) -> None:
    broker.publish("", "jobs", 0, LATER, b"x")
    broker.publish("", "jobs", 0, 1, b"x")
    # On Redis a worker of Celery may be the one to take it, so it goes into the list; a worker of ours parks it.
    assert depth(broker, "jobs") == ((2, 0, 0) if is_redis else (1, 1, 0))


def test_purge_empties_one_queue(broker: Broker) -> None:
    broker.publish_many([("", "jobs", 0, NOW, b"x")] * 3000 + [("", "jobs", 0, LATER, b"x")] * 2500)
    broker.publish("", "others", 0, NOW, b"x")
    assert broker.purge("jobs") == 5500
    assert broker.purge("jobs") == broker.purge("unknown") == 0
    assert depth(broker, "others") == (1, 0, 0)


@pytest.mark.parametrize(
    ("kind", "pattern", "key", "matched"),
    [
        ("direct", "a.b", "a.b", 1),
        ("direct", "a.*", "a.b", 0),
        ("topic", "a.*", "a.b", 1),
        ("topic", "a.*", "a.b.c", 0),
        ("topic", "a.#", "a.b.c", 1),
        ("topic", "#.c", "c", 1),
        ("fanout", "", "whatever", 1),
    ],
)
def test_bindings_decide_by_the_type_of_their_exchange(
    broker: Broker, is_redis: bool, kind: str, pattern: str, key: str, matched: int
) -> None:
    if is_redis and (kind == "fanout" or pattern == "#.c"):
        # Fanout is publish and subscribe, nobody listens here; and Kombu's '#' leaves the dots beside it standing.
        matched = 0
    broker.declare("jobs", "ex", kind, pattern)
    broker.declare("jobs", "ex", kind, pattern)  # again: no second binding
    assert broker.publish("ex", key, 0, NOW, b"x") == matched
    assert depth(broker, "jobs") == (matched, 0, 0)


def test_every_bound_queue_gets_a_copy_and_an_unbound_exchange_leads_nowhere(broker: Broker) -> None:
    for name in ["a", "b", "c"]:
        broker.declare(name, "news", "topic", "*")
    assert broker.publish("news", "today", 0, NOW, b"x") == 3
    assert broker.publish("nobody", "key", 0, NOW, b"x") == 0
    assert [depth.ready for depth in broker.depths()] == [1, 1, 1]


def test_exchange_keeps_its_type(broker: Broker) -> None:
    broker.declare("a", "ex", "direct", "k")
    with pytest.raises(BrokerRefused, match="'direct'.*'topic'"):
        broker.declare("b", "ex", "topic", "k")
    with pytest.raises(BrokerRefused, match="headers"):
        broker.declare("b", "other", "headers", "k")


def test_two_handles_see_one_store(url: str, broker: Broker) -> None:
    with open_broker(url) as second:
        second.publish("", "jobs", 0, NOW, b"x")
    assert depth(broker, "jobs") == (1, 0, 0)
    with pytest.raises(BrokerUnavailable, match="closed"):
        second.publish("", "jobs", 0, NOW, b"x")
    assert depth(broker, "jobs") == (1, 0, 0)


def test_too_large_a_message_is_refused_by_name_of_the_limit(url: str) -> None:
    broker = open_broker(url, {"max_message_bytes": 100})
    broker.publish("", "jobs", 0, NOW, bytes(100))
    with pytest.raises(BrokerRefused, match="max_message_bytes"):
        broker.publish("", "jobs", 0, NOW, bytes(101))


def test_many_threads_publish_and_nothing_is_lost(broker: Broker) -> None:
    def send() -> None:
        for _ in range(300):
            broker.publish("", "jobs", 0, NOW, b"x")

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert depth(broker, "jobs") == (2400, 0, 0)


def test_one_threads_bad_message_does_not_fail_another_threads(broker: Broker) -> None:
    refused: list[int] = []

    def send_bad() -> None:
        for _ in range(200):
            with pytest.raises(BrokerRefused):
                broker.publish("", "", 0, NOW, b"x")
            refused.append(1)

    def send_good() -> None:
        for _ in range(200):
            assert broker.publish("", "jobs", 0, NOW, b"x") == 1

    threads = [threading.Thread(target=target) for target in [send_bad, send_good] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(refused), depth(broker, "jobs")[0]) == (800, 800)


def test_results_are_kept_by_key_and_successes_stay(store: ResultStore, k: str) -> None:
    assert store.get(k) is None
    started, done, late = (b'{"status": "%s", "result": null}' % state for state in (b"STARTED", b"SUCCESS", b"RETRY"))
    assert store.put(k, started, None, False)
    assert store.put(k, done, None, True)
    assert not store.put(k, late, None, False)
    assert store.get_many([k, k + "none", k]) == [done, None, done]
    assert store.delete(k, k + "none") == 1
    assert store.get(k) is None


def test_expired_results_are_gone_and_cleaned_up(store: ResultStore, k: str, is_redis: bool) -> None:
    now = time.time_ns() // 1_000_000
    store.put(k + "old", b"v", now - 1, True)
    store.put(k + "young", b"v", now + 60_000, True)
    assert store.get_many([k + "old", k + "young"]) == [None, b"v"]
    assert store.cleanup() == (0 if is_redis else 1)  # Redis does it by itself
    assert store.put(k + "old", b"again", None, False)


@pytest.mark.parametrize("key", ["", "celery-task-meta-", "schlüssel 🥕", "a" * 5000, "celery-task-meta-" + "0" * 36])
def test_any_text_is_a_key(store: ResultStore, k: str, key: str) -> None:
    key = k.removesuffix("k") + key
    store.put(key, b"\0\xff", None, True)
    assert store.get(key) == b"\0\xff"
    assert store.get(key + " ") is None


@pytest.mark.usefixtures("waited_for")
def test_waiting_ends_when_a_result_comes(url: str, store: ResultStore, k: str) -> None:
    seen = store.generation()
    writer = threading.Timer(0.05, open_results(url).put, [k, b"v", None, True])
    writer.start()
    begin = time.monotonic()
    assert store.wait_change(seen, 20) != seen
    assert time.monotonic() - begin < 10
    assert store.get(k) == b"v"
    writer.join()


@pytest.mark.usefixtures("waited_for")
def test_what_was_stored_before_the_wait_ends_it_at_once(store: ResultStore, k: str) -> None:
    seen = store.generation()
    store.put(k, b"v", None, True)
    assert store.wait_change(seen, 20) != seen


@pytest.mark.usefixtures("waited_for")
def test_waiting_ends_with_its_time(store: ResultStore) -> None:
    seen = store.generation()
    begin = time.monotonic()
    assert store.wait_change(seen, 0.3) == seen
    assert 0.29 < time.monotonic() - begin < 5


@pytest.mark.usefixtures("waited_for")
def test_a_signal_gets_through_while_waiting(store: ResultStore) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
        timer.start()
        begin = time.monotonic()
        with pytest.raises(Interrupted):
            store.wait_change(store.generation(), 30)
        assert time.monotonic() - begin < 5
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def in_child(work: Callable[[], None]) -> None:
    """Runs `work` in a forked child and fails if it failed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    ended: list[int] = []

    def has_ended() -> bool:
        done, status = os.waitpid(pid, os.WNOHANG)
        ended.extend([status] if done else [])
        return bool(done)

    try:
        wait_until(has_ended, timeout=30, what="end of the child")
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert ended == [0]


def test_forked_child_has_the_same_file_and_a_memory_of_its_own(
    request: pytest.FixtureRequest, url: str, broker: Broker, store: ResultStore, k: str
) -> None:
    broker.publish("", "jobs", 0, NOW, b"parent")
    waits = not url.startswith("redis")
    seen = store.generation() if waits else 0
    on_file = not url.startswith("memory")

    def work() -> None:
        assert depth(broker, "jobs") == ((1, 0, 0) if on_file else (0, 0, 0))
        for _ in range(20):
            broker.publish("", "jobs", 0, NOW, b"child")
        store.put(k, b"child", None, True)
        assert store.get(k) == b"child"
        if waits:
            assert store.wait_change(store.generation(), 0.01) >= 0

    in_child(work)
    assert depth(broker, "jobs") == ((21, 0, 0) if on_file else (1, 0, 0))
    assert store.get(k) == (b"child" if on_file else None)
    if on_file and waits:
        assert store.wait_change(seen, 10) != seen
    broker.publish("", "jobs", 0, NOW, b"parent")


def test_fork_while_other_threads_publish_and_wait(broker: Broker, store: ResultStore, k: str, is_redis: bool) -> None:
    stop = threading.Event()
    sent = [0]

    def publish() -> None:
        while not stop.is_set():
            broker.publish("", "jobs", 0, NOW, b"x")
            sent[0] += 1

    def wait() -> None:
        while not stop.is_set():
            if is_redis:
                store.get(k)
            else:
                store.wait_change(store.generation(), 0.05)

    threads = [threading.Thread(target=target) for target in [publish, wait, wait]]
    for thread in threads:
        thread.start()

    def work() -> None:
        for number in range(5):
            broker.publish("", "children", 0, NOW, b"x")
            store.put(k + str(number), b"v", None, True)
        if not is_redis:
            store.wait_change(store.generation(), 0.01)

    for _ in range(20):
        in_child(work)
    stop.set()
    for thread in threads:
        thread.join()
    assert depth(broker, "jobs")[0] == sent[0]


@pytest.mark.parametrize(
    "url",
    [
        "sqs://me:qwe{}rty@host//",
        "amqp://me:qwe{}rty@host:x//",
        "redis://:qwe{}rty@host:6379/x",
        "redis://:qwe{}rty@host:x/0",
        "redis://me:qwe{}rty@host:6379/0?nonsense=1",
        "redis://host:6379/x?password=qwe{}rty",
        "redis+socket://:qwe{}rty@nowhere",
    ],
)
@pytest.mark.parametrize("character", ["_", "@", "/", "?", "#", "%", ":", " ", "?#/@"])
def test_passwords_are_hidden_however_they_are_written(url: str, character: str) -> None:
    """Also where part of one is taken for a port, a path or an option, as it is not percent-encoded."""
    text = repr_of_refusal(url.format(character))
    assert "qwe" not in text
    assert "rty" not in text


def repr_of_refusal(url: str) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        open_broker(url)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "hint"),
    [
        ("sqlite://queue.db", {}, "sqlite:///queue.db"),
        ("sqlite:///", {}, "names no file"),
        ("sqlite:///:memory:", {}, "memory://"),
        ("memory://a/b", {}, "memory://name"),
        ("redis://host/jobs", {}, "redis://host:6379/0"),
        ("redis://host", {"visibility_timeuot": 3}, "unknown option 'visibility_timeuot'"),
        ("sentinel://host", {}, "master_name"),
        ("sqlite:///q.db?sync=full", {}, "unknown option 'sync'"),
        ("sqlite:///q.db?synchronous=off", {}, "'normal' or 'full'"),
        ("sqlite:///q.db", {"lease": "soon"}, "number of seconds"),
        ("sqlite:///q.db", {"synchronus": "full"}, "unknown option 'synchronus'"),
        ("carrier-pigeon://loft", {}, "sqlite:///"),
        ("", {}, "sqlite:///"),
    ],
)
def test_wrong_url_or_option_says_what_to_write(url: str, options: dict[str, object], hint: str) -> None:
    for opened in (open_broker, open_results):
        with pytest.raises(ImproperlyConfigured) as caught:
            opened(url, options)
        assert hint in str(caught.value)


def test_options_of_other_brokers_are_ignored() -> None:
    options = {"max_retries": 3, "visibility_timeout": 30, "polling_interval": None, "priority_steps": [0, 3]}
    open_broker(f"memory://{uuid.uuid4().hex}", options).publish("", "jobs", 0, NOW, b"x")
