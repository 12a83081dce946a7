"""Every exception that celeriac raises. Names and bases are Celery's where Celery has the class; the rest says so.

The compiled core raises these classes too, by name (`rust/celeriac-py/src/errors.rs`).
"""

from __future__ import annotations


class CeleryError(Exception):
    """Base of all but the backend and broker errors, as in Celery."""


class ImproperlyConfigured(CeleryError):
    """A setting, URL or option cannot be used, or a library it needs is missing."""


class KombuError(Exception):
    """Base of the messaging errors; in Celery it is `kombu.exceptions.KombuError`."""


class OperationalError(KombuError):
    """The broker could not be used; in Celery it is `kombu.exceptions.OperationalError`."""


class BrokerUnavailable(OperationalError):
    """The broker was not reached, or did not answer in time. Nothing was stored. Not in Celery, which may hang."""


class BrokerFull(OperationalError):
    """The broker has no room: disk full, quota, memory limit. Nothing was stored. Not in Celery."""


class BrokerCorrupt(OperationalError):
    """The broker's store is damaged or of an unknown version; it is left untouched. Not in Celery."""


class BrokerRefused(OperationalError):
    """The broker cannot carry out this request (message too large, exchange of another type). Not in Celery."""


class ForkedProcessError(CeleryError):
    """A core object was used in a process other than the one that opened it. Not in Celery."""


class SerializationError(KombuError):
    """Base of the two below; in Celery they are `kombu.exceptions`."""


class EncodeError(SerializationError):
    """A value that the serializer cannot hold."""


class DecodeError(SerializationError):
    """Bytes that the serializer cannot read."""


class ContentDisallowed(DecodeError):
    """The content type is not in the accept list."""
