"""The version of the compiled core, which is that of the package."""

from celeriac._core import __version__

__all__ = ["__version__"]
