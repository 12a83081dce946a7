"""The compiled core. Only `celeriac._bridge` may import it; `mypy.stubtest` compares this file with the binary.

Times called `*_ms` with the word `due`, `expires` or `until` are wall clock, milliseconds since the Unix epoch.
Timeouts are milliseconds. Calls that can wait release the GIL; those of `Broker`, `ResultStore`, `Hub` and `Port`
raise the classes of `celeriac.exceptions` named in each docstring.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

__version__: str

# --- codec -------------------------------------------------------------------------------------------------------

def json_dumps(value: object, /) -> bytes:
    """`value` as Kombu's JSON dialect: ASCII, `", "` and `": "`, tagged types (docs/protocol.md).

    Raises:
        EncodeError: a value that JSON cannot hold; the text names the type.
    """

def json_loads(data: bytes | str, /) -> Any:
    """The value of a JSON text, tagged types rebuilt at any depth. Where in doubt, the standard library's answer.

    Raises:
        DecodeError: not JSON, or a tag that is not registered.
    """

def json_register(
    kind: type, marker: str | None, encode: Callable[[object], object], decode: Callable[[object], object], /
) -> None:
    """Adds a tagged type, for encoding by isinstance and decoding by marker; replaces one of `kind` or marker.

    Kinds are tried in the order of their first registration, the built-in ones before: so a subclass of `datetime` is
    a datetime. With `marker` None the encoder's value is written without a tag, and `decode` is not used.
    """

def json_unregister(marker: str | None, /) -> bool:
    """Removes a type added with `json_register`."""

def msgpack_dumps(value: object, /) -> bytes:
    """As `msgpack.packb(value, use_bin_type=True)`.

    Raises:
        EncodeError
    """

def msgpack_loads(data: bytes, /) -> Any:
    """As `msgpack.unpackb(data, raw=False)`.

    Raises:
        DecodeError
    """

def compress(data: bytes, method: str, /) -> bytes:
    """`method` is a content type or alias: zlib (called gzip), bzip2, zstd. ValueError for others."""

def decompress(data: bytes, method: str, max_bytes: int, /) -> bytes:
    """Raises DecodeError when damaged, or when the output would be longer than `max_bytes`."""

def bounded_repr(value: object, max_chars: int = 1024, max_levels: int = 3) -> str:
    """The text for `argsrepr`, `kwargsrepr` and logs; as `celery.utils.saferepr` within its documented rules."""

def new_id() -> str:
    """A UUID text of version 7: 48 bits of wall clock in ms, then 74 random bits."""

def new_ids(count: int) -> list[str]:
    """`count` ids as `new_id` makes them, for a fraction of what as many calls cost."""

def encode_envelope(
    headers: Mapping[str, object],
    properties: Mapping[str, object],
    body: bytes,
    content_type: str,
    content_encoding: str,
    /,
) -> bytes:
    """A whole message as it stands on Redis and SQLite. `body` is put in base64; `properties["body_encoding"]` says so.

    Raises:
        EncodeError: a header or property that JSON cannot hold.
    """

def encode_content(
    headers: Mapping[str, object],
    properties: Mapping[str, object],
    body: bytes,
    content_type: str,
    content_encoding: str,
    mandatory: bool = False,
    /,
) -> bytes:
    """A whole message as AMQP carries it: what `encode_envelope` is for other brokers. `Message.scan` reads both.

    Properties that AMQP has no place for are left out; `delivery_info` says where it is published to. `mandatory`: it
    is an error if no queue takes it.

    Raises:
        EncodeError: a header that no table of AMQP holds, or a property that is too long or out of range.
    """

@final
class EnvelopeModel:
    """Whole messages that differ in little, with JSON bodies; what they share is encoded once.

    `headers` and `properties` are those of any one of them: `id`, `correlation_id` and `delivery_tag` are another one's
    own, and `root_id` too if it is equal to `id` there. Representations of arguments have at most so many characters;
    None leaves the model's in all of them.

    Raises:
        EncodeError: a part that JSON cannot hold.
    """

    def __new__(
        cls,
        headers: dict[str, object],
        properties: dict[str, object],
        embed: object,
        args_chars: int | None,
        kwargs_chars: int | None,
        /,
    ) -> EnvelopeModel: ...
    def one(self, id: str, tag: str, args: object, kwargs: object, /) -> bytes:
        """The message of one call."""

    def many(self, ids: list[str], tags: list[str], calls: list[tuple[object, object]], /) -> list[bytes]:
        """The messages of many calls. Raises ValueError if the lists differ in length."""

@final
class Message:
    """A scanned message: bytes and spans; objects are made when asked for."""

    @staticmethod
    def scan(envelope: bytes, /) -> Message:
        """Raises DecodeError if it is not a task message; the text says where and why."""
    @property
    def id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def protocol(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def eta_ms(self) -> int | None: ...
    @property
    def expires_ms(self) -> int | None: ...
    @property
    def ignore_result(self) -> bool | None: ...
    @property
    def group(self) -> str | None:
        """Group that the task belongs to; None also if the header is not text."""
    @property
    def parent_id(self) -> str | None:
        """Task that sent this one; None also if the header is not text."""
    @property
    def content_type(self) -> str: ...
    @property
    def content_encoding(self) -> str: ...
    @property
    def compression(self) -> str | None: ...
    @property
    def raw(self) -> bytes: ...
    def headers(self) -> dict[str, object]:
        """Every header, as sent. Protocol 1: the fields of the body, under their protocol 2 names."""
    def properties(self) -> dict[str, object]: ...
    def body(self) -> bytes:
        """The body's bytes: base64 undone, still compressed and serialised."""
    def json_payload(self) -> tuple[Any, Any, Any]:
        """`(args, kwargs, embed)` of an uncompressed JSON body, in one crossing. Raises DecodeError."""

# --- broker ------------------------------------------------------------------------------------------------------

_Queue = tuple[str, str, str, str] | Mapping[str, object]
"""A `celeriac._bridge.topology.QueueTable`; or `(name, exchange, exchange_type, routing_key)` of a durable queue with
one binding, or with none if the exchange is empty."""

_Publication = tuple[str, str, int, int | None, bytes]
"""`(exchange, routing_key, priority, due_ms, envelope)`."""

def is_amqp(url: str, /) -> bool:
    """Whether messages for this broker are made by `encode_content`; else by `encode_envelope`."""

@final
class Broker:
    """The producer's and operator's side of a transport. Opens at first use; reopens by itself after a fork.

    Any thread may use it. Every method raises BrokerUnavailable (not within `timeout_ms`), BrokerFull, BrokerCorrupt,
    BrokerRefused or ImproperlyConfigured; then nothing was stored.
    """

    def __new__(cls, url: str, options: Mapping[str, object], timeout_ms: int) -> Broker: ...
    def publish(self, exchange: str, routing_key: str, priority: int, due_ms: int | None, envelope: bytes) -> int:
        """Stores one message. Returns how many queues got it."""
    def publish_many(self, batch: Sequence[_Publication]) -> int:
        """Stores all or none, in one step."""
    def declare(self, queue: _Queue) -> None: ...
    def broadcast(self, exchange: str, routing_key: str, envelope: bytes) -> None: ...
    def purge(self, queue: str) -> int: ...
    def depths(self) -> list[tuple[str, int, int, int]]:
        """`(queue, ready, delayed, held)` for each queue that is declared or holds a message."""
    def dead_list(self, limit: int, before: int | None = None) -> list[tuple[int, str, str, str, int, bytes]]:
        """`(id, queue, reason, detail, died_ms, envelope)`, newest first."""
    def dead_get(self, id: int) -> tuple[int, str, str, str, int, bytes] | None: ...
    def dead_replay(self, ids: Sequence[int] | None) -> int: ...
    def dead_purge(self, ids: Sequence[int] | None) -> int: ...
    def close(self) -> None: ...

@final
class ResultStore:
    """Results on Redis, SQLite or in memory. Opens at first use, and again after a fork; any thread may use it."""

    def __new__(cls, url: str, options: Mapping[str, object], timeout_ms: int) -> ResultStore: ...
    def get(self, key: str) -> bytes | None: ...
    def get_many(self, keys: Sequence[str]) -> list[bytes | None]: ...
    def put(self, key: str, value: bytes, expires_ms: int | None, success: bool) -> bool:
        """False if the stored value is a success, which nothing overwrites."""
    def delete(self, keys: Sequence[str]) -> int: ...
    def cleanup(self) -> int: ...
    def generation(self) -> int: ...
    def wait_change(self, seen: int, timeout_ms: int) -> int:
        """Waits until `generation()` is no longer `seen`, in slices that let signals through; returns it."""
    def close(self) -> None: ...

# --- hub ---------------------------------------------------------------------------------------------------------

@final
class Hub:
    """The worker's I/O thread: fetches, holds, hands to the pool, stores results, settles. Never runs Python.

    `config`: url, options, timeout_ms, node, queues (list of tables, or of tuples, see `_Queue`), children (number of
    ports), prefetch (0 unlimited, None adaptive), result_url (None: Python stores results itself),
    result_options (of that store), tasks (name -> dict of acks_late, acks_on_failure, reject_on_worker_lost,
    max_crashes, and of soft_limit_us and hard_limit_us, which only child processes keep), accept (list of content
    types), timezone_offset_ms (for naive dates), max_message_bytes, max_held_bytes (64 MiB), notify (list of notice
    kinds wanted), processes (None: children are ports of this process; else a dict of zygotes: descriptors of sockets
    that it owns from now on, and pids, max_tasks, max_memory_kib, patience_ms).
    """

    def __new__(cls, config: Mapping[str, object]) -> Hub: ...
    def start(self) -> None: ...
    def port(self, child: int) -> Port: ...
    def notices(self, timeout_ms: int) -> list[tuple[str, object]]:
        """What happened since the last call, oldest first: `(kind, data)`. Waits up to `timeout_ms`; signals pass.

        Kinds: log (level number, text) · up · down (text) · received (Message) · unknown (Message) · dead (id, task,
        reason, detail) · child (number, pid, whether it came, wait status or None) · revoked (Message, reason) ·
        broadcast (exchange, routing_key, envelope) · ready · stopped
        (None, or text why). Only those in `notify`, and always ready and stopped.
        """
    def revoke(self, task_ids: Sequence[str]) -> None: ...
    def set_consuming(self, queue: _Queue, on: bool) -> None: ...
    def running(self, timeout_ms: int) -> list[tuple[int, int | None, Message, float]]:
        """What runs: `(child, pid or None, message, seconds)`."""
    def resize(self, width: int) -> None:
        """So many child processes from now on."""
    def restart_children(self) -> None:
        """New child processes in the place of all, each when its task has ended."""
    def stop(self, cold: bool) -> None:
        """Warm: no more fetches, unstarted deliveries go back, running ones end. Cold: running ones go back, too."""
    def join(self, timeout_ms: int) -> bool: ...
    def stats(self) -> dict[str, int]: ...
    def _panic(self) -> None:
        """For tests of what follows when the hub's thread fails."""

@final
class Port:
    """One child's end of the hub. Used by one thread at a time."""

    def next_batch(self, timeout_ms: int) -> list[Job] | None:
        """Jobs to run in order, `[]` after `timeout_ms`, `None` when the pool must end. Flushes what was finished.

        On the main thread it waits in slices and runs signal handlers between them.
        """
    def flush(self) -> None:
        """Shows the hub what was finished. `next_batch`, the end of a batch and an age of 1 ms do it by themselves."""
    def take_limit(self) -> bool:
        """Whether the soft time limit of the job that runs is over; true once. For the handler of SIGUSR1."""
    def disown(self) -> None:
        """In a process that was forked from the child: nothing that it does with port and jobs reaches the hub."""

def child_port(socket: int, page: int, measure: bool) -> Port:
    """The port of a child process, from the descriptors that the hub sent to its zygote; owns them. Linux only."""

@final
class Job:
    """One attempt of one task."""

    @property
    def message(self) -> Message: ...
    @property
    def queue(self) -> str: ...
    @property
    def redelivered(self) -> bool: ...
    @property
    def crashes(self) -> int: ...
    @property
    def verdict(self) -> str | None:
        """None: run it. Else it must not run: give its end as `results` to `finish(OUTCOME_IGNORE, ...)`, no `start`.

        unknown: FAILURE NotRegistered · expired, revoked: REVOKED with TaskRevokedError(verdict) · crashed: FAILURE
        WorkerLostError (it took down `task_max_crashes` processes) · lost: FAILURE WorkerLostError(cause), its process
        died · timelimit: FAILURE TimeLimitExceeded(cause), its process was killed. Whatever the outcome, the hub
        settles by the verdict: unknown and crashed go to the dead-letter store, expired and revoked are acked.
        """
    @property
    def cause(self) -> str | None:
        """With the verdicts lost and timelimit: how its process died, the limit in seconds."""
    def start(self) -> bool:
        """Marks it as running; early acknowledgement counts from here. Call it once the body is decoded.

        False if the hub has taken it back (recall, cold stop): skip it and do not finish it.
        """
    def finish(
        self,
        outcome: int,
        results: Sequence[tuple[str, bytes, int | None, bool]],
        publish: Sequence[_Publication],
        detail: str | None = None,
    ) -> None:
        """Ends it. `outcome`: one of OUTCOME_*. `results`: `(key, value, expires_ms, success)` for the hub to store."""
    def progress(self, results: Sequence[tuple[str, bytes, int | None, bool]]) -> None:
        """States of a task that goes on (STARTED, update_state)."""

OUTCOME_SUCCESS: int
OUTCOME_FAILURE: int
OUTCOME_RETRY: int
OUTCOME_IGNORE: int
OUTCOME_REJECT: int
OUTCOME_REQUEUE: int
OUTCOME_UNDECODABLE: int
"""The body cannot be decoded: to the dead-letter store, with `detail`."""
OUTCOME_LOST: int
"""The child that ran it died."""
