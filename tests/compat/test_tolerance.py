"""Odd messages that were pushed at a live Celery worker: what it ran we run, and nothing stops us."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac._bridge import codec
from celeriac.exceptions import ContentDisallowed, DecodeError
from tests.compat.vectors_reader import load

TABLE = load("reading", "tolerance")
# Read without complaint although Celery's run ended otherwise: that is for the tracer, the engine or nobody to judge.
READ = {
    "header eta year 9999",
    "header expires in the past",
    "header ignore_result true",
    "header task unknown",
    "property delivery_tag missing",
    "property delivery_info missing",
    "property delivery_info empty",
    "body: args null",
    "body: kwargs null",
    "body: kwargs list",
    "body: callbacks signature minimal {task}",
}
REFUSED_TYPE = {
    "content-type unknown",
    "content-type not accepted (msgpack label)",
    "content-type pickle (not accepted)",
}


@pytest.mark.parametrize(
    ("raw", "row"), [*zip(TABLE["raw"], TABLE["decoded"], strict=True)], ids=[row["case"] for row in TABLE["decoded"]]
)
def test_odd_message_is_run_or_refused_with_a_reason(raw: str, row: dict[str, Any]) -> None:
    accept = codec.accept_types(["json"])

    def read() -> tuple[Any, Any, Any]:
        return codec.payload(codec.Message.scan(raw.encode()), accept)

    if row["state"] == "SUCCESS":
        args, kwargs, _ = read()
        assert list(args) == row["result"]["args"]
        assert kwargs == row["result"]["kwargs"]
    elif row["case"] in READ:
        read()
    elif row["case"] in REFUSED_TYPE:
        with pytest.raises(ContentDisallowed, match="accept_content"):
            read()
    else:
        with pytest.raises(DecodeError) as caught:
            read()
        assert len(str(caught.value)) > 10
