"""The version, in Celery's forms."""

from __future__ import annotations

import re
from typing import NamedTuple

from celeriac._bridge.version import __version__

__all__ = ["SERIES", "VERSION", "VERSION_BANNER", "__version__", "version_info", "version_info_t"]


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name
    """The version in parts."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


SERIES = "first"
_found = re.match(r"(\d+)\.(\d+)\.(\d+)(.*)", __version__)
_parts = _found.groups() if _found else ("0", "0", "0", "")
VERSION = version_info = version_info_t(int(_parts[0]), int(_parts[1]), int(_parts[2]), _parts[3], "")
VERSION_BANNER = f"{__version__} ({SERIES})"
