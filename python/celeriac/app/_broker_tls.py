"""`broker_use_ssl`: TLS for a Redis broker whose URL does not ask for it. What the URL says itself is stronger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celeriac.exceptions import ImproperlyConfigured

__all__ = ["with_tls"]

_NAMES = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_WITH_TLS = {"redis": "rediss", "redis+cluster": "rediss+cluster"}
_HAS_TLS = frozenset({*_WITH_TLS.values(), "sentinel"})


def with_tls(url: str, use_ssl: Any, options: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """`url` and the transport's `options`, both with what `use_ssl` says: True, or a dict of redis-py's TLS options.

    Brokers in a file or in memory have no connection to protect: the setting means nothing to them.

    Raises:
        ImproperlyConfigured: the setting has another form or an unknown option, or the broker cannot do what it says.
    """
    table = dict(options or {})
    parts = url.split(";")
    schemes = {part.partition("://")[0] for part in parts}
    if not use_ssl or not any(scheme.startswith(("redis", "sentinel")) for scheme in schemes):
        return url, table
    given = {} if use_ssl is True else use_ssl
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"broker_use_ssl must be True or a dict of {', '.join(_NAMES)}, got {use_ssl!r}")
    unknown = [name for name in given if name not in _NAMES]
    if unknown:
        raise ImproperlyConfigured(
            f"unknown option {unknown[0]!r} in broker_use_ssl\nhint: there are {', '.join(_NAMES)}"
        )
    if not schemes <= _HAS_TLS | _WITH_TLS.keys():
        raise ImproperlyConfigured(
            "broker_use_ssl is set, and the broker is a Unix socket, which has no TLS\nhint: leave the setting out"
        )
    tls = {name: _plain(name, value) for name, value in given.items() if value is not None or name == "ssl_cert_reqs"}
    if "sentinel" in schemes and not (tls.get("ssl_ca_certs") or tls.get("ssl_cert_reqs") == "none"):
        raise ImproperlyConfigured(
            "broker_use_ssl with sentinel:// needs the authorities of the servers' certificates\n"
            'hint: broker_use_ssl = {"ssl_ca_certs": "/path/ca.pem"}'
        )
    pairs = [part.partition("://") for part in parts]
    return ";".join(f"{_WITH_TLS.get(scheme, scheme)}://{rest}" for scheme, _, rest in pairs), {**table, **tls}


def _plain(name: str, value: Any) -> Any:
    """As the core reads it. `ssl.CERT_NONE` and the like come by their name; None is redis-py's CERT_NONE."""
    if name == "ssl_cert_reqs":
        text = str(getattr(value, "name", value)).lower()
        return text.removeprefix("cert_")
    return value if isinstance(value, bool) else str(value)
