"""Runs in the environment that has Celery: one end of a queue on Redis, as Kombu plays it.

`sweep URL SECONDS TIMEOUT`: consumes a queue of its own for that long, and restores what others left, as every consumer does.
`hold URL QUEUE`: takes one message, says its delivery tag, and never answers.
`take URL QUEUE COUNT`: takes and acknowledges; says each as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from kombu import Connection, Queue


def main(order: str, url: str, *rest: str) -> None:
    options: dict[str, Any] = {"unacked_restore_throttle": 1}
    if order == "sweep":
        options["visibility_timeout"] = float(rest[1])
    with Connection(url, transport_options=options) as connection:
        name = "celeriac-nobody" if order == "sweep" else rest[0]
        with connection.channel() as channel:
            got = []

            def taken(body: object, message: Any) -> None:
                got.append(message)
                if order == "take":
                    message.ack()
                    print(json.dumps([message.headers, message.properties["delivery_tag"]]), flush=True)
                else:
                    print(message.delivery_tag, flush=True)

            queue = Queue(name, exchange="", routing_key=name, channel=channel)
            queue.no_declare = True
            consumer = connection.Consumer([queue], channel=channel, on_message=None, callbacks=[taken])
            consumer.qos(prefetch_count=1 if order == "hold" else 0)
            with consumer:
                end = time.monotonic() + (float(rest[0]) if order == "sweep" else 60)
                while time.monotonic() < end and not (order == "take" and len(got) >= int(rest[1])):
                    try:
                        connection.drain_events(timeout=0.2)
                    except TimeoutError:
                        if order == "sweep":
                            channel.qos.restore_visible(interval=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
