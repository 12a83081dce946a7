"""The options of a call: which there are, and a misspelt one refused. Their values: `_option_values.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CALL_OPTIONS", "PLAIN_OPTIONS", "check_option_names"]

CALL_OPTIONS = frozenset(
    [
        "add_to_parent",
        "args",
        "argsrepr",
        "chain",
        "chord",
        "compression",
        "confirm_timeout",
        "connection",
        "countdown",
        "declare",
        "delivery_mode",
        "eta",
        "event_dispatcher",
        "exchange",
        "exchange_type",
        "expires",
        "group_id",
        "group_index",
        "headers",
        "ignore_result",
        "immediate",
        "kwargs",
        "kwargsrepr",
        "link",
        "link_error",
        "mandatory",
        "origin",
        "parent_id",
        "priority",
        "producer",
        "publisher",
        "queue",
        "replaced_task_nesting",
        "reply_to",
        "result_cls",
        "retries",
        "retry",
        "retry_policy",
        "root_id",
        "route_name",
        "router",
        "routing_key",
        "serializer",
        "shadow",
        "soft_time_limit",
        "stamped_headers",
        "task_id",
        "task_type",
        "time_limit",
        "timeout",
    ]
)
"""Every option that means something; others become message properties."""

PLAIN_OPTIONS = frozenset(
    {"add_to_parent", "ignore_result", "parent_id", "result_cls", "root_id", "serializer", "task_id"}
)
"""Options that change nothing in a message but the obvious: calls with others take the long way."""

# AMQP's properties, and those that broker services read: never taken for misspelt options.
_PROPERTIES = frozenset(
    [
        "app_id",
        "cluster_id",
        "content_encoding",
        "content_type",
        "correlation_id",
        "delivery_tag",
        "expiration",
        "message_id",
        "timestamp",
        "type",
        "user_id",
        "MessageGroupId",
        "MessageDeduplicationId",
        "DelaySeconds",
        "MessageAttributes",
    ]
)

_accepted: set[str] = set(_PROPERTIES)


def check_option_names(names: Iterable[str]) -> None:
    """Lets properties pass.

    Raises:
        TypeError: a name that is nearly an option: ``count_down``. Celery would send it as a property, unnoticed.
    """
    for name in names:
        if name in _accepted:
            continue
        import difflib

        near = difflib.get_close_matches(name, CALL_OPTIONS, n=1, cutoff=0.8)
        if near:
            raise TypeError(f"unknown option {name!r}: did you mean {near[0]!r}?")
        if len(_accepted) < 1000:  # names come from code, but a program may make them up
            _accepted.add(name)
