"""The loader of an app that was constructed: configured by the app itself."""

from celeriac.loaders.base import BaseLoader

__all__ = ["AppLoader"]


class AppLoader(BaseLoader):
    """Nothing of its own."""
