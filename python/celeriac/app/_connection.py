"""The app's broker, with those calls of a Kombu connection or producer that people use."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celeriac.utils.url import sanitize_url

if TYPE_CHECKING:
    from typing_extensions import Self

    from celeriac.app.base import Celery

__all__ = ["Connection", "Producer", "first_url"]

logger = logging.getLogger("celeriac.app")

_warned: set[str] = set()


def first_url(url: Any) -> str:
    """The URL as the core wants it, of a setting that may be a list, or one text with semicolons.

    The transports of Redis and RabbitMQ take several servers and go to the next one where one is away. Others have one
    place; that more are named is told in one warning.
    """
    urls = [text for part in (url.split(";") if isinstance(url, str) else url) if (text := str(part).strip())]
    if len(urls) > 1 and all(text.partition("://")[0] in _FAIL_OVER for text in urls):
        return ";".join(urls)
    if len(urls) > 1:
        others = sanitize_url(", ".join(urls[1:]))
        if others not in _warned:
            _warned.add(others)
            used = sanitize_url(urls[0])
            logger.warning("There is no fail-over between these brokers: %s is used, not %s", used, others)
    return urls[0] if urls else ""


_FAIL_OVER = frozenset({"amqp", "amqps", "pyamqp", "redis", "rediss", "redis+socket", "sentinel"})


class Connection:
    """A broker's URL and, once it is needed, the broker. Not Kombu's object: it has no channels.

    Args:
        app: whose settings count.
        url: of the broker; the first of several is used.
        **options: accepted for Celery's sake; ``transport_options`` counts.
    """

    def __init__(self, app: Celery, url: Any, **options: Any) -> None:
        self.app = app
        self.url = first_url(url)
        self.transport_options = options.get("transport_options") or app.conf.broker_transport_options
        self._broker: Any = None

    @property
    def broker(self) -> Any:
        """The broker; the app's own where the URL is the same."""
        if self._broker is None:
            if self.url == first_url(self.app.conf.broker_write_url):
                return self.app.broker
            self._broker = self.app._open_broker(self.url)
        return self._broker

    @property
    def transport_cls(self) -> str:
        """Kind of broker: the URL's scheme."""
        return self.url.partition("://")[0]

    @property
    def connected(self) -> bool:
        """True if the broker answers."""
        from celeriac.exceptions import OperationalError

        try:
            self.connect()
        except OperationalError:
            return False
        return True

    def connect(self) -> Self:
        """Asks the broker something.

        Raises:
            OperationalError: it does not answer.
        """
        self.broker.depths()
        return self

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Self:
        """`connect`, with the retries of the app's settings."""
        self.app.amqp._with_retries(self.connect, None, {k: v for k, v in kwargs.items() if k in _POLICY})
        return self

    def as_uri(self, include_password: bool = False) -> str:
        """The URL, without its password unless asked for."""
        return self.url if include_password else sanitize_url(self.url)

    def close(self) -> None:
        """Closes what it opened itself."""
        if self._broker is not None:
            self._broker.close()

    release = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


_POLICY = frozenset({"max_retries", "interval_start", "interval_step", "interval_max", "errback"})


class Producer:
    """Accepted as ``producer=`` of calls; there is one way to the broker, which needs no producer."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    @property
    def connection(self) -> Connection:
        """The producers' broker."""
        return self.app.connection_for_write()  # type: ignore[no-any-return]  # lazily imported there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None
