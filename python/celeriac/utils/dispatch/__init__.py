"""Signals: see `celeriac.utils.dispatch.signal`."""

from celeriac.utils.dispatch.signal import Signal

__all__ = ["Signal"]
