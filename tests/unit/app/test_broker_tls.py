"""`broker_use_ssl` into URL and options of the transport."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from celeriac.app._broker_tls import with_tls
from celeriac.exceptions import ImproperlyConfigured


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://me:p%40w@h:1/2?lease=5", "rediss://me:p%40w@h:1/2?lease=5"),
        ("redis://a;rediss://b", "rediss://a;rediss://b"),
        ("redis+cluster://a:1,b:2/", "rediss+cluster://a:1,b:2/"),
        ("sentinel://a;sentinel://b", "sentinel://a;sentinel://b"),
    ],
)
def test_urls_of_servers_ask_for_tls(url: str, expected: str) -> None:
    options = {"master_name": "m"}
    assert with_tls(url, {"ssl_ca_certs": "/ca"}, options) == (expected, {"master_name": "m", "ssl_ca_certs": "/ca"})
    assert options == {"master_name": "m"}
    assert with_tls(url, False, options) == (url, options)
    assert with_tls(url, None, None) == (url, {})


def test_true_has_no_options() -> None:
    assert with_tls("redis://h", True, None) == ("rediss://h", {})


@pytest.mark.parametrize(
    ("given", "text"),
    [("CERT_NONE", "none"), (None, "none"), ("optional", "optional"), (ssl.CERT_REQUIRED, "required")],
)
def test_values_as_redis_py_takes_them(given: Any, text: str) -> None:
    tls = {"ssl_cert_reqs": given, "ssl_keyfile": None, "ssl_check_hostname": False}
    assert with_tls("redis://h", tls, None)[1] == {"ssl_cert_reqs": text, "ssl_check_hostname": False}


@pytest.mark.parametrize("url", ["sqlite:///x.db", "memory://"])
def test_a_broker_without_connection_has_nothing_to_protect(url: str) -> None:
    assert with_tls(url, {"anything": 1}, None) == (url, {})


@pytest.mark.parametrize(
    ("url", "use_ssl", "text"),
    [
        ("redis://h", "yes", "must be True or a dict of ssl_ca_certs"),
        ("redis://h", {"ca_certs": "/ca"}, "unknown option 'ca_certs' in broker_use_ssl"),
        ("redis+socket:///run/redis.sock", True, "a Unix socket, which has no TLS"),
        ("sentinel://h", True, "needs the authorities"),
    ],
)
def test_what_cannot_be_done_is_refused(url: str, use_ssl: Any, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        with_tls(url, use_ssl, None)
