"""The loader of the fallback app: configured by a module named in the environment, or ``celeryconfig``."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import NotConfigured
from celeriac.loaders.base import BaseLoader

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_CONFIG_MODULE", "Loader"]

DEFAULT_CONFIG_MODULE = "celeryconfig"


class Loader(BaseLoader):
    """Reads the configuration module if there is one."""

    def setup_settings(self, settingsdict: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings as they are."""
        return settingsdict

    def read_configuration(self, env: str | None = None, fail_silently: bool = True) -> Mapping[str, Any]:
        """The module named by the environment, else ``celeryconfig``, else nothing.

        Raises:
            ImportError: the module is missing and `fail_silently` is off.
        """
        named = os.environ.get(env) if env else self.config_module_name()
        try:
            found = self._import_config_module(named or DEFAULT_CONFIG_MODULE)
        except ImportError:
            if not fail_silently:
                raise
            if os.environ.get("C_WNOCONF"):
                warnings.warn(
                    NotConfigured(f"no configuration module {named or DEFAULT_CONFIG_MODULE!r} on the Python path"),
                    stacklevel=2,
                )
            return {}
        self.configured = True
        return self.setup_settings(found)
