"""Results in an SQLite file, or in memory: the core's result store behind Celery's interface."""

from __future__ import annotations

from typing import Any

from celeriac import states
from celeriac._bridge.broker import ResultStore, open_results
from celeriac.backends.base import KeyValueStoreBackend, Write
from celeriac.exceptions import BrokerUnavailable

__all__ = ["SQLiteBackend"]


class SQLiteBackend(KeyValueStoreBackend):
    """`sqlite:///path`. Opens at first use; any thread may use it, and a forked child too.

    A worker on the same kind of store has its hub write results; this class is then only read from.
    """

    supports_native_join = True
    supports_autoexpire = False
    thread_safe = True
    polling = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._url: str = self.url or "sqlite:///celeriac.db"
        self.url = self.hub_url = self._url
        self._options = dict(self.app.conf.get("result_backend_transport_options") or {})
        self._store: ResultStore | None = None

    @property
    def store(self) -> ResultStore:
        """The core's `ResultStore`."""
        if self._store is None:
            self._store = open_results(self._url, self._options)
        return self._store

    # --- the store ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        return self.store.get(key)

    def mget(self, keys: list[str]) -> list[bytes | None]:
        return self.store.get_many(keys)

    def set(self, key: str, value: bytes) -> Any:
        return self.store.put(key, value, self.expires_ms(states.SUCCESS), False)

    def delete(self, key: str) -> Any:
        return self.store.delete(key)

    def cleanup(self) -> int:
        """Removes expired records; returns how many."""
        return self.store.cleanup()

    def _put_state(self, task_id: str, state: str, write: Write) -> None:
        del task_id, state  # the store itself sees to it that nothing unmakes a success
        self.store.put(*write)

    # --- waiting -----------------------------------------------------------------------------------------------

    def generation(self) -> int:
        return self.store.generation()

    def wait_change(self, seen: int, timeout: float) -> int:
        return self.store.wait_change(seen, max(timeout, 0.001))

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """A locked or busy file is worth another try."""
        return isinstance(exc, BrokerUnavailable)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None
