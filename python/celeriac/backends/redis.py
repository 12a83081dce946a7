"""Results in Redis, under Celery's keys, published as they are stored.

`redis://[user:password@]host:port/db`, `rediss://`, `redis+socket:///path?virtual_host=db`, and with Sentinel
`sentinel://host:26379/db;sentinel://host2:26379/db`. Commands go through redis-py's pool; who waits, waits on one
connection of the process (`_subscription`). In a worker the hub writes.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac import states
from celeriac._version import __version__
from celeriac.app._censor import sanitize_url
from celeriac.backends import _redis_url
from celeriac.backends._redis_waiting import PushedWaiting
from celeriac.backends._subscription import Lost, RetryPolicy, Subscription
from celeriac.backends.base import KeyValueStoreBackend
from celeriac.exceptions import (
    BackendStoreError,
    BrokerFull,
    BrokerRefused,
    BrokerUnavailable,
    ImproperlyConfigured,
    OperationalError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.app.context import Context

__all__ = ["RedisBackend", "SentinelBackend"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_KEYS = 1_000  # in one MGET: the server does nothing else meanwhile
_IDLE_S = 30.0
_SENTINEL_TIMEOUT_S = 5.0
# Options of `result_backend_transport_options` that are for this side only; the keys in records have their prefix.
_NOT_FOR_THE_HUB = frozenset(
    {"global_keyprefix", "retry_policy", "result_chord_ordered", "additional_connection_errors"}
)


class RedisBackend(PushedWaiting, KeyValueStoreBackend):
    """A Redis server of version 6 or newer. Opens at first use; threads may share it, and forked children open anew.

    Chords are not completed here yet: `apply_chord`, `set_chord_size`, `on_chord_part_return` are those of `Backend`.

    Raises:
        ImproperlyConfigured: redis-py is not installed, or the URL or a setting cannot be used.
    """

    supports_native_join = True
    supports_autoexpire = True
    implements_incr = True
    thread_safe = True

    _sharded = False

    max_value_bytes = 536_870_912
    """Redis takes no longer string."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._driver = _redis_url.driver()
        self.url = self._given_url(self.url)
        self._options: dict[str, Any] = dict(self.app.conf.get("result_backend_transport_options") or {})
        self.retry_policy = {**self.retry_policy, **(self._options.get("retry_policy") or {})}
        self.place = _redis_url.parse(self.url, self.app.conf)
        self.hub_url = self.place.hub_url()
        self.hub_options = {name: value for name, value in self._options.items() if name not in _NOT_FOR_THE_HUB}
        self._passing = self._passing_errors()
        self._client: Any = None
        self._subscription: Subscription | None = None
        self._opening = threading.Lock()

    def _given_url(self, url: str | None) -> str:
        return url if url and "://" in url else "redis://"

    def as_uri(self, include_password: bool = False) -> str:
        """The URL, without its password unless asked for."""
        url = self.url or ""
        if url.startswith(("socket:", "unix:")):
            url = "redis+socket:" + url.partition(":")[2]
        return url if include_password else sanitize_url(url)

    # --- connections -------------------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The `redis.Redis` that commands go through."""
        if self._client is None:
            with self._opening:
                if self._client is None:
                    self._client = self._create_client()
        return self._client

    @property
    def subscription(self) -> Subscription:
        """The connection on which this process waits."""
        if self._subscription is None:
            with self._opening:
                if self._subscription is None:
                    self._subscription = self._create_subscription()
        return self._subscription

    def _create_client(self) -> Any:
        return self._driver.Redis(connection_pool=self._driver.ConnectionPool(**self._params()))

    def _params(self) -> dict[str, Any]:
        driver = self._driver
        params = dict(self.place.params)
        # Answers are the same in both protocols, and RESP3 needs two more round trips for each connection.
        params.setdefault("protocol", 2)
        params.update(_calling_card())
        if "path" in params:
            params["connection_class"] = driver.UnixDomainSocketConnection
            params.pop("socket_keepalive", None)
        elif self.place.tls:
            params["connection_class"] = driver.SSLConnection
        return params

    def _create_subscription(self) -> Subscription:
        params = self.place.params
        timeout = params.get("socket_timeout")
        policy = RetryPolicy(self.retry_policy)
        if self.always_retry:
            policy.max_retries = max(policy.max_retries, self.max_retries)
        return Subscription(
            self._connect,
            policy,
            connect_s=params.get("socket_connect_timeout") or timeout or math.inf,
            idle_s=params.get("health_check_interval") or _IDLE_S,
            answer_s=timeout or math.inf,
            exhausted=self._exhausted,
            refused=self._translated,
            sharded=self._sharded,
        )

    def _connect(self, budget: float) -> Any:
        """A connection of redis-py that speaks RESP3, in `budget` seconds; see `Subscription`."""
        pool = self.client.connection_pool
        bound = None if math.isinf(budget) else max(budget, 0.001)
        more = {"protocol": 3, "socket_timeout": bound, "socket_connect_timeout": bound, "health_check_interval": 0}
        connection = pool.connection_class(**{**pool.connection_kwargs, **more})
        try:
            connection.connect()
        except self._driver.TimeoutError as exc:
            raise Lost(str(exc)) from TimeoutError(str(exc))
        except (self._driver.RedisError, OSError) as exc:
            error = self._translated(exc)
            if isinstance(error, BrokerUnavailable):
                raise Lost(str(exc)) from exc
            raise error from exc
        return connection

    def _exhausted(self, why: BaseException) -> Exception:
        return RuntimeError(
            f"Retry limit exceeded while trying to reconnect to the result backend {self.as_uri()}: {why}\n"
            "hint: is the server running, and is result_backend right? How long to try is said by retry_policy in "
            "result_backend_transport_options"
        )

    def close(self) -> None:
        """Gives the connections back; the next use opens them again."""
        with self._opening:
            client, self._client = self._client, None
        if self._subscription is not None:
            self._subscription.close()
        if client is not None:
            client.connection_pool.disconnect()

    # --- the store ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        return self._reading(lambda: self.client.get(key))

    def mget(self, keys: list[str]) -> list[Any]:
        if len(keys) <= _KEYS:
            return list(self._reading(lambda: self.client.mget(keys))) if keys else []

        def ask() -> Any:
            with self.client.pipeline(transaction=False) as pipe:
                for at in range(0, len(keys), _KEYS):
                    pipe.mget(keys[at : at + _KEYS])
                return [value for values in pipe.execute() for value in values]

        values: list[Any] = self._reading(ask)
        return values

    def set(self, key: str, value: bytes) -> Any:
        """Stores and publishes. Raises BackendStoreError for a value that is too large for the server."""
        self._set_for(key, value, self.expires)

    def _set_with_state(self, key: str, value: bytes, state: str) -> Any:
        failure = self.failure_expires if state == states.FAILURE else None
        self._set_for(key, value, self.expires if failure is None else failure)

    def _set_for(self, key: str, value: bytes, expires: float | None) -> None:
        if len(value) > self.max_value_bytes:
            raise BackendStoreError(
                f"value too large for Redis backend: {len(value)} bytes under {key}, the server takes "
                f"{self.max_value_bytes}\nhint: store large results elsewhere and return where they are"
            )

        def write() -> None:
            with self.client.pipeline() as pipe:
                if expires:
                    pipe.execute_command("SETEX", key, max(math.ceil(expires), 1), value)
                else:
                    pipe.set(key, value)
                pipe.execute_command("SPUBLISH" if self._sharded else "PUBLISH", key, value)
                pipe.execute()

        self._ensured(write)

    def delete(self, key: str) -> Any:
        return self._ensured(lambda: self.client.delete(key))

    def incr(self, key: str) -> int:
        # Not tried again: the server may have counted and only its answer be lost.
        return int(self._translating(lambda: self.client.incr(key)))

    def expire(self, key: str, value: float) -> Any:
        return self._ensured(lambda: self.client.expire(key, max(math.ceil(value), 1)))

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Context | None = None,
        **kwargs: Any,
    ) -> Any:
        job = request._job if request is not None else None
        if job is not None and self.hub_url is not None and self is self.app.backend:
            # Through the hub like the task's final state, so that it cannot arrive after it.
            job.progress([self.encode_write(task_id, state, result, request, traceback)])
            return result
        return super()._store_result(task_id, result, state, traceback, request, **kwargs)

    # --- errors ------------------------------------------------------------------------------------------------

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """The server was not reached, did not answer, or is about to be ready."""
        return isinstance(exc, (BrokerUnavailable, *self._passing))

    def _passing_errors(self) -> tuple[type[Exception], ...]:
        exceptions = self._driver.exceptions
        more = self._options.get("additional_connection_errors") or ()
        return (
            exceptions.ConnectionError,
            exceptions.TimeoutError,
            exceptions.ReadOnlyError,
            OSError,
            *(_class(each) for each in more),
        )

    def _translated(self, exc: BaseException) -> OperationalError:
        """`exc` of redis-py as one of ours that says what to do."""
        where, text = self.as_uri(), str(exc)
        code = text.partition(" ")[0]
        exceptions = self._driver.exceptions
        if isinstance(exc, exceptions.AuthenticationError) or code in {"NOAUTH", "WRONGPASS"} or "AUTH" in text[:24]:
            return BrokerRefused(
                f"result backend {where} does not accept the login: {text}\n"
                "hint: write it as redis://user:password@host:6379/0, or set redis_username and redis_password"
            )
        if code == "NOPERM" or isinstance(exc, exceptions.NoPermissionError):
            return BrokerRefused(
                f"result backend {where} forbids a command or key: {text}\nhint: the user needs GET, MGET, SET, SETEX, "
                "DEL, EXPIRE, INCR, PUBLISH, SUBSCRIBE and UNSUBSCRIBE for keys and channels of results; in a cluster "
                "SPUBLISH, SSUBSCRIBE, SUNSUBSCRIBE and CLUSTER SLOTS"
            )
        if "DB index" in text or "Invalid Database" in text:
            return BrokerRefused(
                f"result backend {where} has no such database: {text}\n"
                "hint: the number at the end of the URL must be below the server's setting databases, which is 16"
            )
        if isinstance(exc, exceptions.AskError) or code in {"MOVED", "ASK"}:
            return BrokerRefused(
                f"result backend {where} is part of a cluster: {text}\n"
                "hint: write redis+cluster://host:port/ for results in a Redis Cluster"
            )
        if "cluster support disabled" in text:
            return BrokerRefused(f"result backend {where} is no cluster: {text}\nhint: write redis://host:6379/0")
        if "HELLO" in text or "NOPROTO" in text or "unknown command" in text:
            return BrokerRefused(
                f"result backend {where} is too old: Redis 6.0 or newer is needed, 7.0 for results in a cluster: {text}"
            )
        if code == "OOM" or isinstance(exc, getattr(exceptions, "OutOfMemoryError", ())):
            return BrokerFull(
                f"result backend {where} has no memory left: {text}\n"
                "hint: raise maxmemory, or let results expire sooner (result_expires)"
            )
        if isinstance(exc, self._passing):
            return BrokerUnavailable(f"result backend {where} cannot be reached: {text}\nhint: is the server running?")
        return BrokerRefused(f"result backend {where} refused: {text}")

    def _translating(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except (self._driver.RedisError, OSError, *self._passing) as exc:
            raise self._translated(exc) from exc

    def _reading(self, operation: Callable[[], T]) -> T:
        """`operation`, twice if the connection turns out to be dead: it may have lain in the pool for hours."""
        try:
            return operation()
        except self._driver.TimeoutError as exc:
            raise self._translated(exc) from exc
        except (self._driver.ConnectionError, OSError):
            return self._translating(operation)
        except self._driver.RedisError as exc:
            raise self._translated(exc) from exc

    def _ensured(self, operation: Callable[[], T]) -> T:
        """`operation` until it succeeds, as often as `retry_policy` allows. For what may be done twice."""
        policy = RetryPolicy(self.retry_policy)
        attempt = 0
        while True:
            try:
                return self._translating(operation)
            except BrokerUnavailable as exc:
                attempt += 1
                if attempt > policy.max_retries:
                    raise
                pause = policy.pause(attempt)
                logger.warning(
                    "Connection to Redis lost: Retry (%d/%s) in %.2f seconds: %s",
                    attempt,
                    policy.max_retries,
                    pause,
                    exc.__cause__,
                )
                time.sleep(pause * random.uniform(0.9, 1.0))  # noqa: S311 - so that clients do not come all at once


class SentinelBackend(RedisBackend):
    """The server that Sentinel calls the master of ``master_name`` (in ``result_backend_transport_options``)."""

    def _given_url(self, url: str | None) -> str:
        if not url or not url.startswith("sentinel://"):
            raise ImproperlyConfigured(
                f"the Sentinel backend needs URLs of sentinels, got {sanitize_url(url or '')!r}\n"
                "hint: sentinel://host:26379/0;sentinel://other:26379/0"
            )
        return url

    def _create_client(self) -> Any:
        from redis import sentinel

        name = self._options.get("master_name")
        if not name:
            raise ImproperlyConfigured(
                "sentinel:// needs the name of the master\n"
                'hint: result_backend_transport_options = {"master_name": "mymaster"}'
            )
        params = self._params()
        params.pop("connection_class", None)
        bound = {"socket_timeout": _SENTINEL_TIMEOUT_S, "socket_connect_timeout": _SENTINEL_TIMEOUT_S}
        maker: Any = sentinel.Sentinel
        manager = maker(
            self.place.sentinels,
            min_other_sentinels=int(self._options.get("min_other_sentinels") or 0),
            sentinel_kwargs={**bound, **(self._options.get("sentinel_kwargs") or {})},
        )
        return manager.master_for(name, ssl=self.place.tls, **params)


def _calling_card() -> dict[str, Any]:
    """How the server's CLIENT LIST shows us."""
    try:
        from redis import DriverInfo
    except ImportError:  # redis-py before 7.1
        return {"lib_name": f"redis-py(celeriac_v{__version__})"}
    return {"driver_info": DriverInfo().add_upstream_driver("celeriac", __version__)}


def _class(given: Any) -> type[Exception]:
    import importlib

    found = given
    if isinstance(given, str):
        module, _, name = given.replace(":", ".").rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as exc:
            raise ImproperlyConfigured(f"additional_connection_errors: {given!r} cannot be loaded: {exc}") from exc
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise ImproperlyConfigured(f"additional_connection_errors: {given!r} is not an exception class")
    return found
