"""The driver of the fault tests: sends journalled tasks, runs workers, and settles accounts after a fault.

    with Trial(broker, folder, stock, pool="threads") as trial:
        trial.send(500)
        worker = trial.worker()
        trial.wait_done(100)
        worker.kill()                 # the fault
        trial.worker()
        trial.settle()
        repeats = trial.account()     # raises when anything was lost or made up

The account rests on the journal, which no queue has a hand in, and on a count of what the broker holds, taken past the
workers and past any proxy. A call that raised is in doubt: its task may have been stored or not, and may run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.stock import RedisStock, Stock, Stocktaker
from tests.support.waiting import wait_until
from tests.support.worker import Worker

if TYPE_CHECKING:
    from celeriac import Celery
    from tests.support.proxy import Proxy
    from tests.support.redis_server import RedisServer


class Trial:
    """One broker, one journal, its workers; everything is reaped at the end of the block.

    `broker` is what producer and workers are told, so a proxy's URL puts the proxy between them and the server;
    `producer_broker` is for a producer that goes another way.
    """

    def __init__(
        self,
        broker: str,
        folder: Path,
        stock: Stocktaker,
        *,
        producer_broker: str | None = None,
        backend: str | None = None,
        pool: str = "threads",
        concurrency: int = 2,
        conf: Mapping[str, Any] | None = None,
    ) -> None:
        self.broker, self.backend, self.folder, self.stock = broker, backend, folder, stock
        self.pool, self.concurrency, self.conf = pool, concurrency, dict(conf or {})
        self.journal = Journal(folder / "trial-journal.txt")
        self.app: Celery = build(producer_broker or broker, backend, self.conf)
        self.accepted: list[str] = []
        self.doubtful: list[str] = []
        self._workers: list[Worker] = []

    # --- what happens ---------------------------------------------------------------------------------------------

    def send(self, count: int, *more: Any, task: str = "t.note_late", **options: Any) -> None:
        """Publishes `count` tasks one by one; each notes its name.

        `more` are arguments after journal and name, `options` are `apply_async`'s.

        Errors of the broker are what is being tested: such a call's task goes to `doubtful`.
        """
        from celeriac.exceptions import OperationalError

        sender = self.app.tasks[task]
        for _ in range(count):
            name = f"n{len(self.accepted) + len(self.doubtful)}"
            try:
                sender.apply_async((str(self.journal), name, *more), **options)
            except (OperationalError, OSError):
                self.doubtful.append(name)
            else:
                self.accepted.append(name)

    def worker(self, **options: Any) -> Worker:
        """Starts a worker of the trial's pool; `options` as for `Worker.start`."""
        options.setdefault("pool", self.pool)
        options.setdefault("concurrency", self.concurrency)
        options.setdefault("name", f"trial{len(self._workers)}")
        options.setdefault("env", {"T_CONF": json.dumps(self.conf)})
        worker = Worker.start(self.broker, folder=self.folder, backend=self.backend, **options)
        self._workers.append(worker)
        return worker

    def wait_done(self, tasks: int, timeout: float = 30) -> None:
        """Returns when `tasks` different tasks have run."""
        try:
            wait_until(lambda: len(self.journal.counts()) >= tasks, timeout=timeout, what=f"{tasks} tasks done")
        except TimeoutError as error:
            facts = f"{len(self.accepted)} accepted, {len(self.doubtful)} in doubt, {len(self.journal.counts())} done"
            raise TimeoutError(f"{error}: {facts}; {self.stock()}; {self._outputs()}") from None

    def settle(self, timeout: float = 60) -> Stock:
        """Returns the stock once nothing waits any more, at two looks: all is done or dead."""

        def settled() -> Stock | None:
            # Two, for what moves from one key to another between the parts of one look is seen in neither.
            return None if self.stock().waiting or (stock := self.stock()).waiting else stock

        try:
            stock = wait_until(settled, timeout=timeout, what="empty broker", every=0.05)
        except TimeoutError:
            raise TimeoutError(f"not settled after {timeout} s: {self.stock()}; {self._outputs()}") from None
        assert stock is not None
        return stock

    # --- the account ----------------------------------------------------------------------------------------------

    def account(self) -> int:
        """sent = done + dead + waiting. Returns how many runs were repeats, for the test to bound.

        Raises:
            AssertionError: a task was lost, or one ran that was never sent. A repeat still waiting cannot hide a loss
                when the trial has settled; before that, it can.
        """
        stock = self.stock()
        counts = self.journal.counts()
        sent = set(self.accepted)
        made_up = set(counts) - sent - set(self.doubtful)
        assert not made_up, f"ran and were never sent: {sorted(made_up)[:5]}"
        missing = sent - set(counts)
        kept = stock.waiting + stock.dead
        assert len(missing) <= kept, (
            f"{len(missing) - kept} lost: {len(sent)} sent, {len(sent) - len(missing)} of them done, {stock}; "
            f"not done are {sorted(missing)[:5]}; {self._outputs()}"
        )
        assert kept <= len(sent) + len(self.doubtful), f"more is kept than was ever sent: {len(sent)} sent, {stock}"
        return counts.total() - len(counts)

    def _outputs(self) -> str:
        return "; ".join(f"{worker.log.name}: {worker.output()[-1500:]}" for worker in self._workers)

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.reap()
        with contextlib.suppress(Exception):  # the broker may be gone; that is a fault test's affair
            self.app.close()


@contextlib.contextmanager
def redis_trial(
    server: RedisServer, folder: Path, *, proxy: Proxy | None = None, pool: str = "prefork", **options: Any
) -> Iterator[Trial]:
    """A trial on `server`, broker and results; with `proxy`, workers reach it through that, and the producer does not.

    Skips the test while this build has no transport for Redis, or no such pool.
    """
    import pytest

    from celeriac.concurrency import get_implementation
    from celeriac.exceptions import ImproperlyConfigured

    stock = RedisStock(server.url)
    way = proxy.url_of(server.url) if proxy else server.url
    with Trial(way, folder, stock, producer_broker=server.url, backend=way, pool=pool, **options) as trial:
        try:
            trial.app.broker.depths()
            assert trial.app.backend is not None
            get_implementation(pool)
        except ImproperlyConfigured as error:
            pytest.skip(f"not in this build: {error}")
        yield trial
    stock.close()
