"""Takes secrets out of a configuration that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from celeriac.utils.url import sanitize_url

__all__ = ["censor"]

_SECRET = re.compile("API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI", re.IGNORECASE)
_STARS = "********"


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
