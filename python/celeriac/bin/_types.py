"""Types of option values. Each turns text into a value, or says what is wrong with it and what is accepted."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

import click
from click import Context, Parameter, ParamType

from celeriac.utils.log import mlevel


class CommaSeparatedList(ParamType):  # type: ignore[type-arg,unused-ignore]
    """`a,b,c` becomes a list; an empty text an empty list."""

    name = "comma separated list"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> list[str]:
        """The parts without the blanks around them."""
        if not isinstance(value, str):
            return list(value)
        return [part.strip() for part in value.split(",") if part.strip()]


class _Json(ParamType):  # type: ignore[type-arg,unused-ignore]
    kind: type
    word: str

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> Any:
        """The value of a JSON text of the right kind."""
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as exc:
            self.fail(f"{value!r} is not JSON: {exc}", param, ctx)
        if not isinstance(found, self.kind):
            self.fail(f"{value!r} is JSON, but not {self.word}", param, ctx)
        return found


class JsonArray(_Json):
    """A JSON array."""

    name, kind, word = "json array", list, "an array: write '[1, 2]'"


class JsonObject(_Json):
    """A JSON object."""

    name, kind, word = "json object", dict, "an object: write '{\"key\": 1}'"


class ISO8601DateTime(ParamType):  # type: ignore[type-arg,unused-ignore]
    """A date, or a date and time, with or without an offset."""

    name = "iso-8601"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> datetime:
        """The moment; naive if there is no offset."""
        if isinstance(value, datetime):
            return value
        try:
            # Python 3.10 knows neither the letter Z nor short forms.
            return datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value)
        except ValueError as exc:
            self.fail(f"{value!r} is no ISO 8601 date: {exc}; write '2030-01-31T12:00:00+00:00'", param, ctx)


class ISO8601DateTimeOrFloat(ISO8601DateTime):
    """Seconds as a number, or a date."""

    name = "iso-8601 or float"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> Any:
        """A float or a datetime."""
        try:
            return float(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)


class LogLevel(click.Choice):  # type: ignore[type-arg,unused-ignore]
    """A level's name in any case, or its number."""

    def __init__(self) -> None:
        super().__init__(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"), case_sensitive=False)

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> int:
        """The level as a number."""
        if isinstance(value, int):
            return value
        if value.isdigit():
            return int(value)
        return mlevel(super().convert(value, param, ctx))


class Autoscale(ParamType):  # type: ignore[type-arg,unused-ignore]
    """`max,min` in any order, or one number: `(n, 0)`."""

    name = "<min workers>, <max workers>"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> tuple[int, int]:
        """`(max, min)`."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = sorted((int(part) for part in str(value).split(",")), reverse=True)
        except ValueError:
            self.fail(f"{value!r} is not 'max,min' or one integer", param, ctx)
        if len(numbers) > 2:
            self.fail(f"{value!r} has {len(numbers)} numbers: expected 'max,min' or one integer", param, ctx)
        return numbers[0], numbers[1] if len(numbers) == 2 else 0


class WorkersPool(click.Choice):  # type: ignore[type-arg,unused-ignore]
    """Name of a pool. Names of pools that do not exist yet are accepted here and explained by the worker."""

    def __init__(self) -> None:
        names = ["prefork", "eventlet", "gevent", "solo", "processes", "threads"]
        if os.environ.get("CELERY_CUSTOM_WORKER_POOL"):
            names.append("custom")
        super().__init__(names)

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> Any:
        """The name; a class passes."""
        return value if isinstance(value, type) else super().convert(value, param, ctx)


class Hostname(ParamType):  # type: ignore[type-arg,unused-ignore]
    """A node name, its codes expanded."""

    name = "hostname"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> str:
        """`name@host`."""
        from celeriac.utils.nodenames import default_nodename, host_format

        return host_format(default_nodename(value))


COMMA_SEPARATED_LIST = CommaSeparatedList()
JSON_ARRAY = JsonArray()
JSON_OBJECT = JsonObject()
ISO8601 = ISO8601DateTime()
ISO8601_OR_FLOAT = ISO8601DateTimeOrFloat()
LOG_LEVEL = LogLevel()
AUTOSCALE = Autoscale()
WORKERS_POOL = WorkersPool()
HOSTNAME = Hostname()
