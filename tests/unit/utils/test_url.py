"""What of a URL may be shown."""

from __future__ import annotations

import pytest

from celeriac.utils.url import sanitize_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cret@cache:6379/0", "redis://:**@cache:6379/0"),
        ("redis://me:p@ss@h/0", "redis://me:**@h/0"),
        ("redis://me:p/a?s#s w@h/0", "redis://me:**@h/0"),
        ("sentinel://:a@x;sentinel://u:b@y/1", "sentinel://:**@x;sentinel://u:**@y/1"),
        ("redis://h:1/0, redis://:pw@h:2/0", "redis://h:1/0, redis://:**@h:2/0"),
        (
            "redis+socket:///r.sock?virtual_host=1&password=pw&x=y",
            "redis+socket:///r.sock?virtual_host=1&password=**&x=y",
        ),
        ("rediss://h/0?ssl_password=pw", "rediss://h/0?ssl_password=**"),
        ("sqlite:////var/lib/a@b:c.db", "sqlite:////var/lib/a@b:c.db"),
        ("redis://me@h:1/0", "redis://me@h:1/0"),
        ("nonsense", "nonsense"),
    ],
)
def test_passwords_are_hidden_and_everything_else_stays(url: str, shown: str) -> None:
    assert sanitize_url(url) == shown
