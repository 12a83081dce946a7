"""The message that a retry sends, against what Celery's worker sent for the same message."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest

from celeriac import Celery
from celeriac._bridge.codec import Message
from celeriac.app.context import Context, pop_request, push_request
from celeriac.exceptions import Retry
from celeriac.utils.time import maybe_iso8601
from tests.compat.vectors_reader import messages


@pytest.mark.parametrize("name", ["retry", "retry-options", "retry-stamped"])
def test_a_retry_sends_what_celery_sends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, wanted = (json.loads(captured.raw) for captured in messages("task-worker", name))
    app: Any = Celery("capture", set_as_current=False, broker="memory://vectors", backend="disabled://")
    task = app.task(bind=True, name="app.retry_me", shared=False)(lambda self, n: None)
    sent_at = maybe_iso8601(wanted["headers"]["eta"]) - dt.timedelta(seconds=1)
    monkeypatch.setattr(app, "now", lambda: sent_at, raising=False)
    args, kwargs, embed = json.loads(base64.b64decode(before["body"]))
    outbox: list[Any] = []
    message = Message.scan(json.dumps(before).encode())
    request = Context.for_message(message, args, kwargs, embed, "w@host", None, outbox)
    token = push_request(task._get_current_object(), request)
    try:
        with pytest.raises(Retry):
            task.retry(countdown=1)
    finally:
        pop_request(token)
    ((exchange, routing_key, priority, due_ms, envelope),) = outbox
    sent = json.loads(envelope)
    for envelope in (sent, wanted):
        envelope["properties"].pop("delivery_tag")
        envelope["properties"].pop("origin", None)  # an option that leaks into Celery's properties
        envelope["properties"].pop("expiration", None)  # what is left of it when the message is sent
        envelope["headers"]["stamped_headers"] = sorted(envelope["headers"]["stamped_headers"] or ())  # a set's order
    assert sent == wanted
    assert (exchange, routing_key, priority) == ("", "celery", wanted["properties"]["priority"])
    assert due_ms == int(maybe_iso8601(wanted["headers"]["eta"]).timestamp() * 1000)
