"""URLs as they may be shown."""

from __future__ import annotations

import re

__all__ = ["sanitize_url"]

# A password may have '@', '/', '?' and '#' in it, which should be written %40 and so on, but often are not: all up to
# the last '@' is hidden, if no other URL begins before that.
_LOGIN = re.compile(r"(?<=://)([^:/@\s]*):(?:(?!://).)*@", re.DOTALL)
_OPTION = re.compile(r"([?&][^=&;\s]*(?:password|passwd|secret|token)[^=&;\s]*=)[^&;]*", re.IGNORECASE)


def sanitize_url(url: str) -> str:
    """`url`, or several in one text, without passwords: ``redis://:**@host/0``."""
    return _LOGIN.sub(r"\1:**@", _OPTION.sub(r"\1**", url))
