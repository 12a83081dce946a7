"""The codec beside real Kombu and Celery, thousands of values in one subprocess.

Needs an environment with Celery 5.7 and its extras: `make venvs`, or its interpreter in `KOMBU_PYTHON`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pickle
import random
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from celeriac._bridge import codec
from celeriac.exceptions import DecodeError, EncodeError

ROOT = Path(__file__).parents[2]
KOMBU = Path(__file__).with_name("kombu_side.py")
ACCEPT = codec.accept_types(["json", "msgpack", "yaml", "pickle"])
SEED = 20261121


def celery_python() -> str:
    chosen = os.environ.get("KOMBU_PYTHON") or str(ROOT / ".venvs" / "celery" / "bin" / "python")
    if not Path(chosen).exists():
        text = f"no Celery at {chosen}: run `make venvs` or set KOMBU_PYTHON"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return chosen


def ask(questions: list[tuple[str, tuple[Any, ...]]]) -> list[tuple[bool, Any]]:
    """Kombu's answers: `(it worked, value or error)`."""
    done = subprocess.run(
        [celery_python(), str(KOMBU)], input=pickle.dumps(questions), stdout=subprocess.PIPE, check=True, timeout=120
    )
    answers: list[tuple[bool, Any]] = pickle.loads(done.stdout)
    assert len(answers) == len(questions)
    return answers


class Values:
    """Random values of the kinds that people send."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def text(self) -> str:
        alphabet = "ab 'é☃𝄞\"\\/\n\t\x00\x7f\u2028\ud800"
        return "".join(self.draw.choices(alphabet, k=self.draw.randrange(9)))

    def number(self) -> Any:
        draw = self.draw
        return draw.choice(
            [draw.randrange(-9, 9), draw.randrange(-(2**70), 2**70), draw.random() * 10 ** draw.randrange(-320, 300)]
            + [float("inf"), float("nan"), -0.0, 10.0 ** draw.randrange(-20, 20), True, None]
        )

    def scalar(self, tagged: bool) -> Any:
        draw = self.draw
        kinds: list[Any] = [self.text(), self.text(), self.number(), self.number()]
        if tagged:
            zone = draw.choice([None, dt.timezone.utc, dt.timezone(dt.timedelta(minutes=draw.randrange(-700, 700)))])
            when = dt.datetime(draw.randrange(1, 9999), 12, 28, 23, 59, 59, draw.choice([0, 1, 120000]), zone)
            kinds += [when, when.date(), when.timetz(), decimal.Decimal(draw.randrange(10**6)).scaleb(-3)]
            kinds += [uuid.UUID(int=draw.getrandbits(128)), draw.randbytes(3), b"text", {1, 2}, 1j, object]
        return draw.choice(kinds)

    def tree(self, tagged: bool, depth: int = 0) -> Any:
        if depth > 4 or self.draw.random() < 0.4:
            return self.scalar(tagged)
        inner = [self.tree(tagged, depth + 1) for _ in range(self.draw.randrange(4))]
        kind = self.draw.randrange(3)
        if kind == 0:
            return inner
        if kind == 1:
            return tuple(inner)
        key = self.text if self.draw.random() < 0.8 else self.number
        return {key(): value for value in inner}


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_values_are_written_as_kombu_writes_them(serializer: str) -> None:
    values = Values(SEED)
    given = [values.tree(tagged=serializer != "msgpack") for _ in range(1500 if serializer != "yaml" else 150)]
    refused = 0
    for value, (worked, theirs) in zip(given, ask([("write", (v, serializer)) for v in given]), strict=True):
        if worked:
            assert codec.dumps(value, serializer) == theirs, value
        else:
            refused += 1
            with pytest.raises(EncodeError):
                codec.dumps(value, serializer)
    if serializer != "pickle":
        assert 0 < refused < len(given) * 0.9


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_bytes_are_read_as_kombu_reads_them(serializer: str) -> None:
    values = Values(SEED + 1)
    given: list[tuple[bytes, str, str]] = []
    while len(given) < 600:
        try:
            content_type, encoding, data = codec.dumps(values.tree(tagged=True), serializer)
        except EncodeError:
            continue
        if values.draw.random() < 0.4 and len(data) > 1:  # damaged
            at = values.draw.randrange(len(data))
            data = data[:at] + values.draw.choice([b"", b"\xff", b"\\", b'"', b"0", b"\xc1"]) + data[at + 1 :]
        given.append((data, content_type, encoding))
        if serializer == "yaml" and len(given) == 150:
            break
    for arguments, (worked, theirs) in zip(given, ask([("read", a) for a in given]), strict=True):
        if worked:
            assert repr(codec.loads(*arguments, ACCEPT)) == repr(theirs), arguments
        else:
            with pytest.raises(DecodeError):
                codec.loads(*arguments, ACCEPT)


def test_representations_are_celerys() -> None:
    values = Values(SEED + 2)
    given = []
    for _ in range(3000):
        value = values.tree(tagged=True)
        if "\\ud800" not in repr(value) and "object" not in repr(value):
            given.append((value, values.draw.choice([1, 5, 10, 20, 40, 80, 1024]), values.draw.choice([1, 2, 3])))
    for arguments, (worked, theirs) in zip(given, ask([("represent", a) for a in given]), strict=True):
        assert worked, theirs
        assert codec.bounded_repr(*arguments) == theirs, arguments


def dates() -> list[str]:
    draw = random.Random(SEED)
    days = ["2030", "2030-02", "203002", "2030-02-29", "2028-02-29", "20280229", "2030-W01", "2030W537", "2026-W53-7"]
    days += ["2030-366", "2028366", "2030-001", "0001-01-01", "9999-12-31", "0000-01-01", "2030-13-01", "2030-1-1"]
    days += ["203001-02", "2030W01-1", "2030-W011", "2030-W00", "2030-W54-1", "2030-000", "12345"]
    times = ["", "12", "12:34", "1234", "12:34:56", "123456", "12:34:56.7", "12:34:56,789012345", "24:00", "24:00:01"]
    times += ["24", "25", "12:60", "12:34:60", "12:34:56.", "12.5", "12:3456", "1234:56"]
    zones = ["", "Z", "z", "+05:30", "-0530", "+05", "-5", "+24:00", "+05:60", "UTC", "+00:00", "-00:00", "+05:30:10"]
    made = [
        f"{day}T{time}{zone}" if time else f"{day}{zone}"
        for day in days
        for time in times
        for zone in zones
        if not (time or zone) or ("W01" not in day and (time or day != "2030"))  # see the test below
    ]
    made = draw.sample(made, 2500)
    made += [f"2030-01-02{separator}03:04:05Z" for separator in " T_t-x☃:"]
    return [*made, "", "tomorrow", "2030-01-02T", "T12:00", "2030-01-02T03:04:05Z ", " 2030-01-02"]


def test_dates_are_read_as_celery_reads_them() -> None:
    given = dates()
    read = 0
    for text, (worked, theirs) in zip(given, ask([("date", (text,)) for text in given]), strict=True):
        envelope = codec.encode_envelope({"task": "t", "id": "i", "eta": text}, {}, b"[]", "application/json", "utf-8")
        if not worked:
            with pytest.raises(DecodeError, match="eta"):
                codec.Message.scan(envelope)
            continue
        read += 1
        when = dt.datetime.fromisoformat(theirs)
        if when.tzinfo is None:
            when = when.replace(tzinfo=dt.timezone.utc)
        since = when - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
        assert codec.Message.scan(envelope).eta_ms == since // dt.timedelta(milliseconds=1), text
    assert read > 200


def test_dates_that_only_one_of_us_reads() -> None:
    """Forms that nobody writes; the choice is ours (docs/protocol.md, "Dates")."""
    for text, read in {"2030-01-02T1:02": False, "2030-01-02T12:3": False, "2030-W01T12:00": True}.items():
        envelope = codec.encode_envelope({"task": "t", "id": "i", "eta": text}, {}, b"[]", "application/json", "utf-8")
        if read:
            assert codec.Message.scan(envelope).eta_ms is not None
        else:
            with pytest.raises(DecodeError, match="eta"):
                codec.Message.scan(envelope)
