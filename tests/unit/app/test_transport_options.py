"""Which settings reach a transport, and as what."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from celeriac._bridge.broker import open_broker
from celeriac.app._connection import first_url
from celeriac.app._transport import transport_options
from celeriac.exceptions import ImproperlyConfigured
from celeriac.worker import _hub_config

RABBIT = "amqp://me:secret@one//"


def test_redis_and_sqlite_get_their_options_alone(app: Any) -> None:
    app.conf.update(broker_use_ssl=True, broker_login_method="EXTERNAL", broker_transport_options={"lease": 5})
    for url in ("redis://", "memory://", "sqlite:///x.db"):
        assert transport_options(app.conf, url) == {"lease": 5}


def test_rabbitmq_gets_the_settings_that_have_names_of_their_own(app: Any) -> None:
    assert transport_options(app.conf, RABBIT) == {
        "connect_timeout": 4,
        "delayed_queue_type": "quorum",
        "heartbeat": 0,
        "max_connections": 10,
    }
    assert transport_options(app.conf, RABBIT, worker=True)["heartbeat"] == 120
    app.conf.update(
        broker_connection_timeout=2.5,
        broker_failover_strategy="shuffle",
        broker_heartbeat=None,
        broker_login_method="AMQPLAIN",
        broker_native_delayed_delivery_queue_type="classic",
        broker_pool_limit=None,
        broker_transport_options={"confirm_timeout": 7, "connect_timeout": 1},
        broker_use_ssl={"ca_certs": "/ca.pem", "cert_reqs": ssl.CERT_NONE},
    )
    assert transport_options(app.conf, RABBIT, worker=True) == {
        "confirm_timeout": 7,
        "connect_timeout": 1,
        "delayed_queue_type": "classic",
        "failover_strategy": "shuffle",
        "heartbeat": 0,
        "login_method": "AMQPLAIN",
        "ssl": {"ca_certs": "/ca.pem", "cert_reqs": "none"},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"broker_use_ssl": True, "broker_login_method": "plain"},
        {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/ca.pem"}},
        {"broker_failover_strategy": "shuffle", "broker_native_delayed_delivery_queue_type": "classic"},
    ],
)
def test_the_core_takes_them(app: Any, changes: dict[str, Any]) -> None:
    app.conf.update(changes)
    open_broker(RABBIT, transport_options(app.conf, RABBIT)).close()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"broker_use_ssl": "yes"}, "broker_use_ssl"),
        ({"broker_failover_strategy": lambda urls: urls}, "broker_failover_strategy"),
        ({"broker_failover_strategy": "next"}, "shuffle"),
        ({"broker_login_method": "GSSAPI"}, "EXTERNAL"),
        ({"broker_native_delayed_delivery_queue_type": "stream"}, "quorum"),
    ],
)
def test_a_wrong_one_says_what_to_write(app: Any, changes: dict[str, Any], told: str) -> None:
    app.conf.update(changes)
    with pytest.raises(ImproperlyConfigured, match=told):
        open_broker(RABBIT, transport_options(app.conf, RABBIT))


def test_several_servers_of_rabbitmq_are_one_url(app: Any) -> None:
    assert first_url(["amqp://a", "amqps://b"]) == "amqp://a;amqps://b"


def test_a_worker_has_the_options_of_its_broker(app: Any) -> None:
    app.conf.broker_read_url = RABBIT
    worker: Any = type("Worker", (), {})()
    worker.__dict__.update(
        app=app, hostname="w@h", prefetch_multiplier=4, disable_prefetch=False, soft_time_limit=None, time_limit=None
    )
    assert _hub_config.build(worker, children=1, notify=[])["options"]["heartbeat"] == 120
