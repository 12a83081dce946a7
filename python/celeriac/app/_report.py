"""What a bug report should say of an app and its machine; secrets are masked."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from celeriac import __version__
from celeriac.utils.url import sanitize_url

if TYPE_CHECKING:
    from celeriac.app.base import Celery


def facts(app: Celery) -> dict[str, Any]:
    """Versions, platform, broker, backend, loader, and settings that are not the defaults."""
    conf = app.conf
    loader = type(app.loader)
    return {
        "celeriac": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "architecture": ", ".join(filter(None, platform.architecture())),
        "kernel": platform.release(),
        "loader": f"{loader.__module__}.{loader.__qualname__}",
        "broker": sanitize_url(str(conf.broker_url)),
        "results": sanitize_url(str(conf.result_backend or "disabled")),
        "settings": conf.table(with_defaults=False, censored=True),
    }
