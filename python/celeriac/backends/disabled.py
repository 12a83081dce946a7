"""The backend that keeps nothing: `disabled://`, and the default when a broker but no result backend is configured."""

from celeriac.backends.base import DisabledBackend

__all__ = ["DisabledBackend"]
