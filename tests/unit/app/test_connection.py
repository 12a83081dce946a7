"""Which broker is meant when several are named."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Celery
from celeriac.app import _connection
from celeriac.worker import _hub_config

SEVERAL = ["memory://one", "memory://u:secret@two"]


@pytest.mark.parametrize("url", [SEVERAL, tuple(SEVERAL), ";".join(SEVERAL), " ; ".join(SEVERAL)])
def test_of_several_brokers_producer_and_worker_use_the_first_and_say_so_once(
    url: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_warned", set())
    with Celery("several", broker=url, set_as_current=False) as app:
        assert app.broker.url == "memory://one"
        assert app.connection_for_write().url == "memory://one"
        assert app.connection_for_write().broker is app.broker
        assert _hub_config.shown_broker_url(app) == "memory://one"
    (line,) = caplog.messages
    assert "memory://one is used, not memory://u:**@two" in line


def test_one_broker_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert _connection.first_url("memory://one") == "memory://one"
    assert _connection.first_url("memory://one;") == "memory://one"
    assert _connection.first_url([]) == ""
    assert caplog.messages == []
