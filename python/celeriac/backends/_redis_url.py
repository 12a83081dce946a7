"""Where a Redis result store is: URL and settings into parameters of redis-py, and into the URL for a worker's hub.

What stands in the query of a URL is stronger than the rest of the URL, and the URL is stronger than the settings.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from celeriac.exceptions import ImproperlyConfigured
from celeriac.utils.url import sanitize_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

__all__ = ["DEFAULT_PORT", "SENTINEL_PORT", "Place", "cluster_prefix", "driver", "parse"]

logger = logging.getLogger(__name__)

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
_UNIX = frozenset({"socket", "unix", "redis+socket"})
_TCP = frozenset({"redis", "rediss"})
_CLUSTER = frozenset({"redis+cluster", "rediss+cluster"})
_CERT_REQS = {
    "CERT_REQUIRED": "required",
    "CERT_OPTIONAL": "optional",
    "CERT_NONE": "none",
    "required": "required",
    "optional": "optional",
    "none": "none",
}
_NUMBERS: dict[str, Any] = {
    "db": int,
    "virtual_host": int,
    "max_connections": int,
    "health_check_interval": int,
    "protocol": int,
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "socket_read_size": int,
}
_FLAGS = frozenset({"retry_on_timeout", "socket_keepalive", "ssl_check_hostname"})
_TEXTS = frozenset(
    {
        "client_name",
        "credential_provider",
        "encoding",
        "encoding_errors",
        "password",
        "ssl_ca_certs",
        "ssl_ca_data",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_ciphers",
        "ssl_keyfile",
        "ssl_min_version",
        "ssl_password",
        "username",
    }
)
BROKERS_ONLY = frozenset(
    {
        "ack_emulation",
        "body_encoding",
        "confirm_publish",
        "confirm_timeout",
        "deadletter_queue",
        "fanout_patterns",
        "fanout_prefix",
        "lease",
        "max_message_bytes",
        "polling_interval",
        "priority_steps",
        "queue_order_strategy",
        "sentinel_fanout_compat",
        "sep",
        "synchronous",
        "unacked_index_key",
        "unacked_key",
        "unacked_mutex_expire",
        "unacked_mutex_key",
        "unacked_restore_interval",
        "unacked_restore_limit",
        "unacked_restore_throttle",
        "visibility_timeout",
        "wait_for_interval",
    }
)
"""Options that may stand in a URL which serves as the broker's, too, and mean nothing here."""
_OF_SETTINGS = frozenset({"global_keyprefix", "master_name", "min_other_sentinels", "retry_policy", "sentinel_kwargs"})
_ENCODE = "in a user name or password write %2F for '/', %3F for '?' and %23 for '#'"
_TLS_OF_THE_HUB = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"})


@dataclass
class Place:
    """A store: parameters of redis-py's connections, and the addresses of Sentinels or nodes that know where it is."""

    params: dict[str, Any] = field(default_factory=dict, repr=False)  # with the password
    tls: bool = False
    sentinels: list[tuple[str, int]] = field(default_factory=list)
    nodes: list[tuple[str, int]] = field(default_factory=list)
    keyprefix: str | None = None
    """Of a cluster: what all keys begin with, hash tag included."""

    def hub_url(self) -> str | None:
        """The place in one URL, as the core reads it; None if only redis-py can get there."""
        params = self.params
        if "credential_provider" in params or (self.sentinels and self.tls):
            return None
        certificates = {name: value for name, value in params.items() if name.startswith("ssl_") and value is not None}
        if self.tls and not certificates.keys() <= _TLS_OF_THE_HUB:
            return None
        login = ""
        if params.get("password") or params.get("username"):
            login = f"{_quoted(params.get('username'))}:{_quoted(params.get('password'))}@"
        db = params.get("db", 0)
        if self.nodes:
            hosts = ",".join(f"{_bracketed(host)}:{port}" for host, port in self.nodes)
            scheme = "rediss+cluster" if self.tls else "redis+cluster"
            query = urlencode({"global_keyprefix": self.keyprefix, **certificates})
            return f"{scheme}://{login}{hosts}/?{query}"
        if self.sentinels:
            return ";".join(f"sentinel://{login}{_bracketed(host)}:{port}/{db}" for host, port in self.sentinels)
        if "path" in params:
            return f"redis+socket://{login}{quote(params['path'])}?virtual_host={db}"
        query = f"?{urlencode(certificates)}" if self.tls else ""
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{login}{_bracketed(params['host'])}:{params['port']}/{db}{query}"


def driver() -> Any:
    """redis-py. Raises ImproperlyConfigured when it is not installed."""
    try:
        import redis  # costs 60 ms, and only those pay who keep results there
    except ImportError as exc:
        raise ImproperlyConfigured(
            "the Redis result backend needs the package redis, which is missing\nhint: pip install celeriac[redis]"
        ) from exc
    return redis


def parse(url: str, conf: Any) -> Place:
    """The place that URL and settings name. Raises ImproperlyConfigured; the text has no password."""
    try:
        place = _parse(url, conf)
    except ValueError as exc:
        raise ImproperlyConfigured(f"result backend {sanitize_url(url)!r} cannot be used: {exc}") from None
    provider = place.params.get("credential_provider")
    if provider is not None:
        place.params["credential_provider"] = _provider(provider)
    if place.tls:
        _check_certificates(place.params)
    return place


def _parse(url: str, conf: Any) -> Place:
    place = Place(params=_settings(conf))
    params = place.params
    first, *others = [part for each in url.split(";") if (part := each.strip())] or ["redis://"]
    scheme = first.partition("://")[0]
    parts = urlsplit(first)
    if scheme in _TCP or scheme == "sentinel":
        for each in (first, *others):
            _check_login(urlsplit(each))
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if scheme == "sentinel":
        place.sentinels = [_address(urlsplit(each), SENTINEL_PORT) for each in (first, *others)]
        params.pop("host"), params.pop("port")
    elif others:
        hint = "; write redis+cluster://host1:port,host2:port/" if scheme in _CLUSTER else ""
        raise ValueError(f"several URLs are understood of sentinel:// only; give the URL of one server{hint}")
    elif scheme in _CLUSTER:
        params.pop("host"), params.pop("port")
        login, at, hosts = parts.netloc.rpartition("@")
        place.nodes = [_address(urlsplit(f"//{host}"), DEFAULT_PORT) for host in hosts.split(",")]
        parts = parts._replace(netloc=f"{login}{at}")  # of several hosts nothing can be read
    elif scheme in _UNIX:
        params.pop("host"), params.pop("port")
        params["path"] = unquote(parts.path)
        if not params["path"].strip("/"):
            raise ValueError("it has no path of a socket; write redis+socket:///path/to/redis.sock")
    elif scheme in _TCP:
        if parts.hostname:
            params["host"], params["port"] = _address(parts, int(params["port"]))
    else:
        raise ValueError(
            f"unknown scheme {scheme!r}; there are redis, rediss, redis+socket, unix, sentinel, redis+cluster and "
            "rediss+cluster"
        )
    if parts.username:
        params["username"] = unquote(parts.username)
    if parts.password:
        params["password"] = unquote(parts.password)
    if scheme not in _UNIX and parts.path.strip("/"):
        params["db"] = _database(unquote(parts.path).strip("/"))
    use_ssl = conf.get("redis_backend_use_ssl")
    place.tls = scheme.startswith("rediss") or bool(use_ssl)
    if isinstance(use_ssl, dict):
        params.update(use_ssl)
    prefix = query.pop("global_keyprefix", _conf_prefix(conf)) if place.nodes else ""
    _apply_query(params, query, tls=place.tls or scheme == "sentinel")
    if place.nodes:
        place.keyprefix = cluster_prefix(prefix)
        if params.pop("db"):
            raise ValueError(
                "a cluster has database 0 only; leave the number out, also of redis_db: global_keyprefix tells "
                "applications apart"
            )
    if "credential_provider" in params and (params.get("password") or params.get("username")):
        raise ValueError("it has a user name or password and a credential_provider, too; leave one of them out")
    return place


def _conf_prefix(conf: Any) -> str:
    """What the settings put in front of every key."""
    return str((conf.get("result_backend_transport_options") or {}).get("global_keyprefix") or "")


def cluster_prefix(prefix: str) -> str:
    """`prefix` with a hash tag, by the rule of the core's `redis/cluster.rs`: records share the slot of the queues."""
    if re.match(r"[^{]*{[^}]+}", prefix):  # between the first brace and the next closing one
        return prefix
    if "{" in prefix or "}" in prefix:
        raise ValueError(
            f"global_keyprefix {prefix!r} has braces but no hash tag; write it without braces, or with one pair around "
            "a text, for example '{shop}:'"
        )
    return f"{{{prefix or 'celeriac'}}}"


def _settings(conf: Any) -> dict[str, Any]:
    names = ("username", "password", "max_connections", "socket_connect_timeout", "client_name")
    values = {name: conf.get(f"redis_{name}") for name in names}
    values["health_check_interval"] = conf.get("redis_backend_health_check_interval")
    values["credential_provider"] = conf.get("redis_backend_credential_provider")
    params = {name: value for name, value in values.items() if value is not None}
    timeout = conf.get("redis_socket_timeout")
    params["socket_timeout"] = float(timeout) if timeout else None
    params["socket_keepalive"] = bool(conf.get("redis_socket_keepalive"))
    params["retry_on_timeout"] = bool(conf.get("redis_retry_on_timeout"))
    params["host"] = conf.get("redis_host") or "localhost"
    params["port"] = int(conf.get("redis_port") or DEFAULT_PORT)
    params["db"] = int(conf.get("redis_db") or 0)
    return params


def _apply_query(params: dict[str, Any], query: Mapping[str, str], *, tls: bool) -> None:
    for name, text in query.items():
        if name.startswith("ssl_") and not tls:
            raise ValueError(f"parameter {name!r} needs TLS; write rediss:// instead of redis://")
        if name in _NUMBERS:
            try:
                params["db" if name == "virtual_host" else name] = _NUMBERS[name](text.strip("/"))
            except ValueError:
                raise ValueError(f"parameter {name!r} must be a number, got {text!r}")
        elif name in _FLAGS:
            params[name] = text.lower() not in {"", "0", "f", "false", "n", "no"}
        elif name in _TEXTS:
            params[name] = text
        elif name in _OF_SETTINGS:
            raise ValueError(
                f"{name!r} is no option of a URL for results; write result_backend_transport_options = {{{name!r}: …}}"
            )
        elif name not in BROKERS_ONLY:
            accepted = sorted(_FLAGS | _NUMBERS.keys() | _TEXTS)
            near = difflib.get_close_matches(name, [*accepted, *BROKERS_ONLY], n=1, cutoff=0.75)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(accepted)}"
            raise ValueError(f"unknown option {name!r}; {hint}")


def _check_login(parts: SplitResult) -> None:
    """A password that is not percent-encoded ends where the address seems to. The error must not show the pieces."""
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"the port must be a number from 0 to 65535; {_ENCODE}") from None
    names = (pair.partition("=")[0] for pair in parts.query.split("&"))
    if "@" in parts.path + parts.fragment or any("@" in name for name in names):
        raise ValueError(f"it has an '@' after its address; {_ENCODE}")


def _address(parts: SplitResult, port: int) -> tuple[str, int]:
    host = parts.hostname or "localhost"
    return unquote(host), parts.port or port


def _database(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"database must be a number like redis://host:6379/0, got {text!r}")


def _check_certificates(params: dict[str, Any]) -> None:
    given = params.get("ssl_cert_reqs", "required")
    name = getattr(given, "name", None) or str(given)
    if given is None or name not in _CERT_REQS:
        raise ImproperlyConfigured(
            "ssl_cert_reqs must be CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE (or required, optional, none), "
            f"got {given!r}"
        )
    params["ssl_cert_reqs"] = _CERT_REQS[name]
    if params["ssl_cert_reqs"] != "required":
        logger.warning(
            "ssl_cert_reqs=%s: the certificate of the Redis server is not insisted on, so anybody in between can read "
            "and forge results; use CERT_REQUIRED",
            given,
        )


def _provider(given: Any) -> Any:
    """The credential provider that a setting names: an instance, a class, or the path of a class."""
    base = driver().CredentialProvider
    found = given
    if isinstance(found, str):
        module, _, name = found.replace(":", ".").rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as exc:
            raise ImproperlyConfigured(f"credential_provider {given!r} cannot be loaded: {exc}") from exc
    if isinstance(found, type):
        found = found()
    if not isinstance(found, base):
        raise ImproperlyConfigured(f"credential_provider must be a redis.CredentialProvider, got {given!r}")
    return found


def _quoted(text: Any) -> str:
    return quote(str(text or ""), safe="")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
