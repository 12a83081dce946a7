"""Takes secrets out of a configuration that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["censor", "sanitize_url"]

_SECRET = re.compile("API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI", re.IGNORECASE)
_STARS = "********"
_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*://)(?P<user>[^:/@\s]*):(?P<password>[^@\s]*)@", re.IGNORECASE)


def sanitize_url(url: str) -> str:
    """`url`, or several in one text, without passwords: ``redis://:**@host/0``."""
    return _LOGIN.sub(lambda m: f"{m['scheme']}{m['user']}:**@", url)


def censor(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """`values` with secrets as asterisks; nested mappings too."""
    return {key: _censored(key, value) for key, value in values.items()}


def _censored(key: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return censor(value)
    if not isinstance(key, str):
        return value
    if _SECRET.search(key):
        return _STARS
    if "broker_url" in key.lower() or "backend" in key.lower() or key.lower().endswith("_url"):
        if isinstance(value, str):
            return sanitize_url(value)
        if isinstance(value, (list, tuple)):
            return type(value)(sanitize_url(item) if isinstance(item, str) else item for item in value)
    return value
