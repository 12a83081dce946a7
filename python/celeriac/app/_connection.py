"""The app's broker, with those calls of a Kombu connection or producer that people use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app._censor import sanitize_url

if TYPE_CHECKING:
    from typing_extensions import Self

    from celeriac.app.base import Celery

__all__ = ["Connection", "Producer"]


class Connection:
    """A broker's URL and, once it is needed, the broker. Not Kombu's object: it has no channels.

    Args:
        app: whose settings count.
        url: of the broker; one of a list of them is used.
        **options: accepted for Celery's sake; ``transport_options`` counts.
    """

    def __init__(self, app: Celery, url: Any, **options: Any) -> None:
        self.app = app
        self.url: str = url[0] if isinstance(url, (list, tuple)) else url
        self.transport_options = options.get("transport_options") or app.conf.broker_transport_options
        self._broker: Any = None

    @property
    def broker(self) -> Any:
        """The broker; the app's own where the URL is the same."""
        if self._broker is None:
            if self.url == self.app.conf.broker_write_url:
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
