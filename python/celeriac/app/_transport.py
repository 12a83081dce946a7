"""Settings of the broker that are options of its transport: one table of them, for producers and workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celeriac._bridge.broker import is_amqp
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["transport_options"]

_CERTIFICATES = {0: "none", 1: "optional", 2: "required"}
"""`ssl.VerifyMode`, which is a number to others."""

# Setting -> option of the AMQP transport.
_AMQP = {
    "broker_connection_timeout": "connect_timeout",
    "broker_failover_strategy": "failover_strategy",
    "broker_login_method": "login_method",
    "broker_native_delayed_delivery_queue_type": "delayed_queue_type",
}


def transport_options(conf: Any, url: str, *, worker: bool = False) -> dict[str, Any]:
    """``broker_transport_options``, and for RabbitMQ the settings that have names of their own; the former win.

    Args:
        conf: the app's settings.
        url: of the broker.
        worker: a worker's connection, which has a heartbeat; producers have none, as in Celery.

    Raises:
        ImproperlyConfigured: a ``broker_use_ssl`` or ``broker_failover_strategy`` that is none.
    """
    given = dict(conf.broker_transport_options or {})
    if not is_amqp(url):
        return given
    options: dict[str, Any] = {"heartbeat": (conf.broker_heartbeat or 0) if worker else 0}
    for setting, option in _AMQP.items():
        value = conf[setting]
        if value is not None:
            if not isinstance(value, (str, int, float)):
                raise ImproperlyConfigured(f"{setting} {value!r}: expected a name or a number, not an object")
            options[option] = value
    if conf.broker_pool_limit:
        options["max_connections"] = conf.broker_pool_limit
    if conf.broker_use_ssl:
        options["ssl"] = _ssl(conf.broker_use_ssl)
    return options | given


def _ssl(value: Any) -> Any:
    if value is True:
        return True
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"broker_use_ssl {value!r}: expected True, or a dict such as {{'ca_certs': path}}")
    return {
        name: _CERTIFICATES.get(member, member) if str(name).endswith("cert_reqs") else member
        for name, member in value.items()
    }
