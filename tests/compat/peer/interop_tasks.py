"""The application of both sides of the interop tests: the same lines under Celery and under celeriac.

`INTEROP_LIBRARY` names the package; `INTEROP_CONF` is JSON for `app.conf.update`.
"""

import importlib
import json
import os
import time
from decimal import Decimal

library = importlib.import_module(os.environ["INTEROP_LIBRARY"])
exceptions = importlib.import_module(os.environ["INTEROP_LIBRARY"] + ".exceptions")
signals = importlib.import_module(os.environ["INTEROP_LIBRARY"] + ".signals")

app = library.Celery("interop", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_BACKEND"])
app.conf.update(
    accept_content=["json", "msgpack", "yaml", "pickle"],
    result_accept_content=["json", "msgpack", "yaml", "pickle"],
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
app.conf.update(json.loads(os.environ.get("INTEROP_CONF", "{}")))


class TooBig(Exception):
    """An error with facts, as applications have them."""

    def __init__(self, name, size):
        super().__init__(name, size)
        self.name = name
        self.size = size


def note(path, line):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@signals.worker_ready.connect(weak=False)
def tell_ready(**_):
    if path := os.environ.get("T_READY"):
        note(path, "ready")


@app.task(name="i.library")
def which_library():
    return library.__name__


@app.task(name="i.meet")
def meet(journal):
    note(journal, library.__name__)
    end = time.monotonic() + 60
    while True:
        with open(journal) as lines:
            if {line.strip() for line in lines} == {"celery", "celeriac"}:
                return library.__name__
        if time.monotonic() > end:
            raise TimeoutError("the other library runs nothing")
        time.sleep(0.01)


@app.task(name="i.echo")
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task(name="i.same")
def same(value):
    return value


@app.task(name="i.add")
def add(x, y):
    return x + y


@app.task(name="i.noop")
def noop():
    return None


@app.task(name="i.fail")
def fail(kind):
    if kind == "own":
        raise TooBig("file.txt", 12)
    if kind == "library":
        raise exceptions.ImproperlyConfigured("no such option")
    if kind == "decimal":
        raise ValueError("not a number", Decimal("1.5"))
    if kind == "unserialisable":
        raise RuntimeError(object())
    raise {"key": KeyError, "value": ValueError, "os": OSError}[kind](f"{kind} failed")


@app.task(name="i.retry", bind=True, max_retries=5)
def retry(self, journal, line, times):
    note(journal, f"{line} {self.request.retries} {library.__name__}")
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task(name="i.auto", bind=True, autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0,
          max_retries=2)  # fmt: skip
def auto(self, journal, line):
    note(journal, f"{line} {self.request.retries}")
    raise ConnectionError("still away")


@app.task(name="i.note")
def note_line(journal, line):
    note(journal, f"{line} {time.time()} {library.__name__}")
    return line


@app.task(name="i.note_late", acks_late=True, reject_on_worker_lost=True)
def note_late(journal, line, seconds=0.0):
    time.sleep(seconds)
    note(journal, line)
    return line


@app.task(name="i.long", acks_late=True)
def long_running(journal, line, seconds):
    note(journal, f"start {line} {library.__name__}")
    time.sleep(seconds)
    note(journal, f"end {line} {library.__name__}")
    return line


@app.task(name="i.progress", bind=True)
def progress(self, gate):
    self.update_state(state="PROGRESS", meta={"done": 7, "of": 9})
    deadline = time.monotonic() + 20
    while not os.path.exists(gate) and time.monotonic() < deadline:
        time.sleep(0.005)
    return "done"


@app.task(name="i.request", bind=True)
def request_facts(self, *args):
    request = self.request
    info = request.delivery_info
    return {
        "id": request.id,
        "task": request.task,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "correlation_id": request.correlation_id,
        "reply_to": bool(request.reply_to),
        "retries": request.retries,
        "eta": request.eta,
        "expires": request.expires,
        "origin": bool(request.origin),
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
        "exchange": info["exchange"],
        "routing_key": info["routing_key"],
        "priority": info["priority"],
        "redelivered": bool(info["redelivered"]),
        "timelimit": list(request.timelimit or []),
        "ignore_result": request.ignore_result,
        "shadow": request.shadow,
        "colour": (request.headers or {}).get("colour"),
        "is_eager": request.is_eager,
    }


@app.task(name="i.parent", bind=True)
def parent(self, x):
    sent = add.delay(x, 1)
    return {"child": sent.id, "root": self.request.root_id}


@app.task(name="i.noted_error")
def noted_error(request, exc, traceback, journal):
    note(journal, f"error {request.id} {type(exc).__name__}")


@app.task(name="i.ignored", ignore_result=True)
def ignored(journal):
    note(journal, "ignored")
    return "nobody reads this"
