"""Where URL and settings say that results are, without a server."""

from __future__ import annotations

import logging
import ssl
import sys
from typing import Any

import pytest
import redis

from celeriac import Celery
from celeriac._bridge.broker import open_broker
from celeriac.backends import _redis_url
from celeriac.backends._slot_connection import owner
from celeriac.backends.redis import RedisBackend, SentinelBackend
from celeriac.exceptions import ImproperlyConfigured


def place(url: str, **settings: Any) -> _redis_url.Place:
    app = Celery("a", broker="memory://a", set_as_current=False)
    app.conf.update(settings)
    return _redis_url.parse(url, app.conf)


class Provider(redis.CredentialProvider):
    def get_credentials(self) -> Any:
        return ("someone", "secret")


DEFAULTS = {
    "host": "localhost",
    "port": 6379,
    "db": 0,
    "socket_timeout": 120.0,
    "socket_keepalive": False,
    "retry_on_timeout": False,
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {}),
        ("redis://h", {"host": "h"}),
        ("redis://h:1/2", {"host": "h", "port": 1, "db": 2}),
        ("redis://:p%40ss@h", {"host": "h", "password": "p@ss"}),
        ("redis://me:pw@[::1]:7/3", {"host": "::1", "port": 7, "db": 3, "username": "me", "password": "pw"}),
        ("redis://h/1?db=4&socket_timeout=2.5", {"host": "h", "db": 4, "socket_timeout": 2.5}),
        ("redis://h?virtual_host=/5&max_connections=3", {"host": "h", "db": 5, "max_connections": 3}),
        ("redis://h?socket_keepalive=yes&client_name=c", {"host": "h", "socket_keepalive": True, "client_name": "c"}),
    ],
)
def test_tcp(url: str, expected: dict[str, Any]) -> None:
    found = place(url)
    assert found.params == {**DEFAULTS, **expected}
    assert not found.tls


def test_settings_fill_what_the_url_leaves_out() -> None:
    found = place(
        "redis://",
        redis_host="h",
        redis_port=1,
        redis_db=2,
        redis_username="me",
        redis_password="pw",
        redis_max_connections=3,
        redis_socket_timeout=4,
        redis_socket_connect_timeout=5,
        redis_socket_keepalive=True,
        redis_retry_on_timeout=True,
        redis_client_name="c",
        redis_backend_health_check_interval=6,
    )
    assert found.params == {
        "host": "h",
        "port": 1,
        "db": 2,
        "username": "me",
        "password": "pw",
        "max_connections": 3,
        "socket_timeout": 4.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
        "retry_on_timeout": True,
        "client_name": "c",
        "health_check_interval": 6,
    }
    assert place("redis://other:9/8", redis_host="h", redis_port=1, redis_db=2).params["port"] == 9


@pytest.mark.parametrize("scheme", ["socket", "unix", "redis+socket"])
def test_unix_sockets(scheme: str) -> None:
    found = place(f"{scheme}:///run/redis%20x.sock?virtual_host=3&password=pw")
    assert (found.params["path"], found.params["db"], found.params["password"]) == ("/run/redis x.sock", 3, "pw")
    assert "host" not in found.params
    assert found.hub_url() == "redis+socket://:pw@/run/redis%20x.sock?virtual_host=3"


def test_sentinels() -> None:
    found = place("sentinel://:pw@a:1/2;sentinel://b/2")
    assert found.sentinels == [("a", 1), ("b", 26379)]
    assert (found.params["password"], found.params["db"]) == ("pw", 2)
    assert found.hub_url() == "sentinel://:pw@a:1/2;sentinel://:pw@b:26379/2"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("CERT_REQUIRED", "required"),
        ("required", "required"),
        ("CERT_NONE", "none"),
        (ssl.CERT_OPTIONAL, "optional"),
    ],
)
def test_tls(given: Any, text: str, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        by_setting = place("redis://h/1", redis_backend_use_ssl={"ssl_cert_reqs": given, "ssl_ca_certs": "/ca"})
    assert by_setting.tls
    assert (by_setting.params["ssl_cert_reqs"], by_setting.params["ssl_ca_certs"]) == (text, "/ca")
    assert ("is not insisted on" in caplog.text) == (text != "required")
    if isinstance(given, str):
        by_url = place(f"rediss://h/1?ssl_cert_reqs={given}&ssl_ca_certs=%2Fca")
        assert by_url.tls
        assert by_url.params == by_setting.params
        assert by_url.hub_url() == f"rediss://h:6379/1?ssl_cert_reqs={text}&ssl_ca_certs=%2Fca"


def test_certificates_are_required_unless_said_otherwise() -> None:
    assert place("rediss://h").params["ssl_cert_reqs"] == "required"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://h/abc", "database must be a number"),
        ("redis://h?db=x", "'db' must be a number"),
        ("redis://h:port", "the port must be a number"),
        ("redis://h?ssl_cert_reqs=none", "needs TLS; write rediss://"),
        ("rediss://h?ssl_cert_reqs=sometimes", "must be CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE"),
        ("redis://a;redis://b", "several URLs are understood of sentinel:// only"),
        ("redis+socket://", "has no path of a socket"),
        ("http://h", "unknown scheme 'http'"),
        ("redis://me:secret@h?credential_provider=os.path", "leave one of them out"),
        ("redis://h?credential_provider=no.such.Thing", "'no.such.Thing' cannot be loaded"),
        ("redis://h?credential_provider=os.getcwd", "must be a redis.CredentialProvider"),
        ("redis://h?socket_timeuot=5", "unknown option 'socket_timeuot'; did you mean 'socket_timeout'?"),
        ("redis://h?qwertyuiop=5", "unknown option 'qwertyuiop'; there are client_name, credential_provider, "),
        ("redis://h?visibility_timeuot=5", "did you mean 'visibility_timeout'?"),
        ("sentinel://h?master_name=m", "result_backend_transport_options = {'master_name': …}"),
        ("redis://h?global_keyprefix=p", "result_backend_transport_options = {'global_keyprefix': …}"),
    ],
)
def test_what_is_wrong_is_said(url: str, text: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        place(url)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(_redis_url.BROKERS_ONLY))
def test_options_of_brokers_are_passed_over(name: str) -> None:
    """One URL may serve for both."""
    assert place(f"redis://h/1?{name}=30") == place("redis://h/1")
    value = "full" if name == "synchronous" else "30"
    assert open_broker("memory://", {name: value}) is not None  # a transport refuses what none of them knows


def test_what_redis_py_takes_is_left_to_it() -> None:
    found = backend("redis://h?socket_read_size=1000&encoding=ascii&max_connections=7")
    assert (found.place.params["socket_read_size"], found.place.params["encoding"]) == (1000, "ascii")
    assert found.client.connection_pool.make_connection() is not None


@pytest.mark.parametrize("given", [Provider, Provider(), f"{__name__}.Provider"])
def test_credential_providers(given: Any) -> None:
    found = place("redis://h", redis_backend_credential_provider=given)
    assert type(found.params["credential_provider"]).__name__ == "Provider"
    assert found.hub_url() is None  # only redis-py can call it: results are stored by Python


def test_a_hub_gets_login_and_database() -> None:
    assert place("redis://h", redis_username="m:e", redis_password="p@w", redis_db=3).hub_url() == (
        "redis://m%3Ae:p%40w@h:6379/3"
    )


def backend(url: str, **settings: Any) -> Any:
    app = Celery("a", broker="memory://a", backend=url, set_as_current=False)
    app.conf.update(settings)
    return app.backend


def test_options_of_the_hub_are_without_those_of_this_side() -> None:
    options = {"global_keyprefix": "team", "master_name": "m", "retry_policy": {"max_retries": 1}}
    made = backend("sentinel://a/0", result_backend_transport_options=options)
    assert type(made) is SentinelBackend
    assert made.hub_options == {"master_name": "m"}
    assert made.get_key_for_task("x") == "team_celery-task-meta-x"
    assert made.retry_policy == {"max_retries": 1, "interval_start": 0, "interval_step": 1, "interval_max": 1}


def test_sentinel_needs_the_name_of_the_master() -> None:
    with pytest.raises(ImproperlyConfigured, match="master_name"):
        backend("sentinel://a/0").get("key")


def test_the_uri_has_no_password() -> None:
    assert backend("redis://me:secret@h/1").as_uri() == "redis://me:**@h/1"
    assert backend("redis://me:secret@h/1").as_uri(include_password=True) == "redis://me:secret@h/1"
    assert backend("redis+socket:///run/x.sock").as_uri() == "redis+socket:///run/x.sock"
    both = backend("sentinel://:secret@a/0;sentinel://:secret@b/0")
    assert both.as_uri() == "sentinel://:**@a/0;sentinel://:**@b/0"


def test_a_missing_client_library_is_named_with_its_remedy(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install celeriac\[redis\]"):
        backend("redis://h")


def test_additional_errors_are_worth_another_try() -> None:
    class Odd(Exception):
        pass

    made = backend("redis://h", result_backend_transport_options={"additional_connection_errors": [Odd]})
    assert isinstance(made, RedisBackend)
    assert made.exception_safe_to_retry(Odd())
    assert made.exception_safe_to_retry(redis.ConnectionError())
    assert not made.exception_safe_to_retry(KeyError())


@pytest.mark.parametrize(
    "url", ["redis://:qwe{}rty@host:6379/0", "redis://:12{}rty@host/0", "redis://me:qwe{}rty@host:x/0"]
)
@pytest.mark.parametrize("character", ["/", "?", "#", "?#/@"])
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(url: str, character: str) -> None:
    """Part of it would be taken for the address of the server."""
    with pytest.raises(ImproperlyConfigured, match="%2F") as caught:
        place(url.format(character))
    assert "qwe" not in str(caught.value)
    assert "rty" not in str(caught.value)


def test_a_place_that_only_redis_py_reaches_has_no_url_for_the_hub() -> None:
    assert place("rediss://h?ssl_ca_certs=/ca&ssl_check_hostname=no").hub_url() is not None
    assert place("rediss://h?ssl_ca_path=/etc/ssl/certs").hub_url() is None
    assert place("rediss://h?ssl_certfile=/c&ssl_keyfile=/k&ssl_password=pw").hub_url() is None


def test_an_at_sign_elsewhere_is_welcome() -> None:
    assert place("redis://me:p@ss@h/1?client_name=a@b").params["password"] == "p@ss"
    assert place("redis://h:1/1?client_name=a@b").params["client_name"] == "a@b"
    assert place("redis+socket:///run/a@b.sock").params["path"] == "/run/a@b.sock"


def test_places_and_backends_do_not_show_passwords() -> None:
    found = place("redis://me:s3cret@h/1?ssl_password=s3cret", redis_backend_use_ssl={"ssl_password": "s3cret"})
    assert "s3cret" not in repr(found)
    app = Celery("a", broker="memory://a", backend="redis://me:s3cret@h/1?password=s3cret", set_as_current=False)
    assert app.backend.as_uri() == "redis://me:**@h/1?password=**"
    assert "s3cret" not in repr(app.backend)


# --- a cluster -------------------------------------------------------------------------------------------------------


def test_cluster_names_several_nodes() -> None:
    found = place("rediss+cluster://me:p%40ss@a:7000,[::1],b/?ssl_ca_certs=%2Fca")
    assert found.nodes == [("a", 7000), ("::1", 6379), ("b", 6379)]
    assert (found.tls, found.params["username"], found.params["password"]) == (True, "me", "p@ss")
    assert not {"host", "port", "db"} & set(found.params)
    assert found.hub_url() == (
        "rediss+cluster://me:p%40ss@a:7000,[::1]:6379,b:6379/"
        "?global_keyprefix=%7Bceleriac%7D&ssl_ca_certs=%2Fca&ssl_cert_reqs=required"
    )


@pytest.mark.parametrize(
    ("prefix", "tagged"), [("", "{celeriac}"), ("shop:", "{shop:}"), ("eu-{shop}:", "eu-{shop}:"), ("{a}{}", "{a}{}")]
)
def test_cluster_prefix_has_a_hash_tag(prefix: str, tagged: str) -> None:
    assert place("redis+cluster://h", result_backend_transport_options={"global_keyprefix": prefix}).keyprefix == tagged


@pytest.mark.parametrize("prefix", ["{}", "{}{a}", "{shop", "shop}"])
def test_cluster_prefix_without_a_hash_tag_says_what_to_write(prefix: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"\{shop\}:"):
        place("redis+cluster://h", result_backend_transport_options={"global_keyprefix": prefix})


@pytest.mark.parametrize(
    ("url", "settings", "text"),
    [
        ("redis+cluster://h/1", {}, "database 0"),
        ("redis+cluster://h", {"redis_db": 2}, "redis_db"),
        ("redis+cluster://me:s3cret@h;redis+cluster://i", {}, "host1:port,host2:port"),
        ("redis+cluster://h?ssl_ca_certs=x", {}, "rediss"),
    ],
)
def test_wrong_cluster_url_says_what_to_write(url: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text) as caught:
        place(url, **settings)
    assert "s3cret" not in str(caught.value)


def test_cluster_backend_without_a_url_says_what_to_write() -> None:
    app = Celery("a", broker="memory://a", backend="redis+cluster", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="redis\\+cluster://host:port"):
        _ = app.backend


def test_owner_of_a_slot_is_the_first_node_of_its_range() -> None:
    ranges = [
        [0, 99, [b"a", 1, b"id", []], [b"b", 2, b"id", []]],
        [100, 200, [b"", 3, b"id", []]],
        [201, 300, [None, 4, b"id", []]],
    ]
    found = [owner(ranges, slot, "seed") for slot in (0, 99, 100, 300, 301)]
    assert found == [("a", 1), ("a", 1), ("seed", 3), ("seed", 4), None]
