"""celeriac's side: the application and the client. Broker and results are in the same store."""

from __future__ import annotations

from collections.abc import Sequence

from benches.system.client import COUNTER, RESULTS, STORE, Client
from benches.system.counter import Counter
from celeriac import Celeriac
from celeriac.result import AsyncResult

_URL = STORE if "://" in STORE else f"sqlite:///{STORE}"
app = Celeriac("bench", broker=_URL, backend=_URL if RESULTS else None)
app.conf.task_ignore_result = not RESULTS
_counter = Counter(COUNTER)


@app.task(name="hit")
def hit(number: int) -> int:
    return _counter.hit(number)


class Celeriacs(Client):
    def send(self, number: int) -> str:
        return hit.delay(number).id

    def wait(self, key: str) -> object:
        result: AsyncResult[int] = AsyncResult(key, app=app)
        return result.get()

    def send_many(self, numbers: Sequence[int]) -> list[str]:
        return [result.id for result in hit.apply_many([(number,) for number in numbers])]

    def send_later(self, numbers: range) -> None:
        hit.apply_many([(number,) for number in numbers], countdown=86_400)

    def waiting(self) -> int:
        return sum(ready + delayed + held for _, ready, delayed, held in app.broker.depths())

    def has_result(self, key: str, number: int) -> bool:
        result: AsyncResult[int] = AsyncResult(key, app=app)
        return result.state == "SUCCESS" and result.result == number


client = Celeriacs()
