"""Serializers of your own, and types that JSON shall know: what `kombu.serialization` is to Celery.

Both sides need the registration, so it belongs into a module that producers and workers import. Names go into
``task_serializer``, ``result_serializer`` and ``accept_content``.
"""

from __future__ import annotations

from celeriac._bridge.codec import dumps, loads, register, register_type, unregister, unregister_type

__all__ = ["dumps", "loads", "register", "register_type", "unregister", "unregister_type"]
