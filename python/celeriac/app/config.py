"""`Settings`: the configuration of an app, in layers, read when first needed.

From strongest to weakest: direct changes, the configuration source, values given before loading, the table's defaults,
layers of `add_defaults`. Every layer holds new lower-case names only: names are translated when they come in
(`_names.py`), so that a read is one or two dict look-ups.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from celeriac.app._names import canonical, canonical_dict
from celeriac.app._settings import SETTINGS

__all__ = ["DEFAULT_BROKER_URL", "Settings"]

DEFAULT_BROKER_URL = "sqlite:///celeriac.db"
"""Broker, and then result store, of an app that names none: one file in the working directory."""

_ENVIRONMENT = {
    "broker_url": "BROKER_URL",
    "broker_read_url": "BROKER_READ_URL",
    "broker_write_url": "BROKER_WRITE_URL",
    "result_backend": "RESULT_BACKEND",
}

_MISSING: Any = object()


def environment(name: str) -> str | None:
    """The variable ``CELERIAC_<name>``, else ``CELERY_<name>``; empty counts as unset."""
    return os.environ.get(f"CELERIAC_{name}") or os.environ.get(f"CELERY_{name}") or None


class Settings(MutableMapping[str, Any]):
    """Attributes and items, by new or old names.

    Args:
        load: called once, at the first read, to fill the layers below the direct changes.
        changes: direct changes to begin with.
    """

    changes: dict[str, Any]
    version: int
    """Goes up with each change; what is derived from settings compares it."""

    def __init__(
        self, load: Callable[[Settings], None] | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        own = self.__dict__
        own["changes"] = {} if changes is None else canonical_dict(changes)
        own["version"] = 0
        own["_load"] = load
        own["_source"] = {}
        own["_preconf"] = {}
        # Each app has its own: people change a dict in place (conf.beat_schedule["x"] = …).
        own["_defaults"] = {**_DEFAULTS, **{name: dict(value) for name, value in _DICT_DEFAULTS.items()}}
        own["_low_defaults"] = []
        own["_observers"] = []
        own["deprecated_settings"] = None
        own["_cache"] = {}

    # --- loading

    @property
    def loaded(self) -> bool:
        """False until the first read."""
        return self.__dict__["_load"] is None

    def finalize(self) -> Settings:
        """Loads now."""
        own = self.__dict__
        load = own["_load"]
        if load is not None:
            own["_load"] = None
            try:
                load(self)
            except BaseException:
                own["_load"] = load
                raise
            self._changed()
        return self

    def _changed(self) -> None:
        own = self.__dict__
        own["version"] += 1
        own["_cache"] = {}

    # --- reading

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __getitem__(self, key: str) -> Any:
        own = self.__dict__
        if own["_load"] is not None:
            self.finalize()
        cache = own["_cache"]
        try:
            return cache[key]
        except KeyError:
            pass
        name = canonical(key)
        computed = _COMPUTED.get(name)
        if computed is not None:
            value = computed(self)
            if name not in _ENVIRONMENT:  # the environment may change
                cache[key] = value
            return value
        value = cache[key] = self.stored(name)
        return value

    def stored(self, name: str, default: Any = _MISSING) -> Any:
        """The value in the strongest layer that has `name`, before anything is computed.

        Raises:
            KeyError: no layer has it and there is no `default`.
        """
        for layer in self.maps:
            if name in layer:
                return layer[name]
        if default is not _MISSING:
            return default
        raise KeyError(name)

    @property
    def maps(self) -> list[Mapping[str, Any]]:
        """The layers, strongest first."""
        own = self.__dict__
        return [own["changes"], own["_source"], own["_preconf"], own["_defaults"], *own["_low_defaults"]]

    def __iter__(self) -> Iterator[str]:
        self.finalize()
        seen: dict[str, None] = {}
        for layer in reversed(self.maps):
            seen.update(dict.fromkeys(layer))
        return iter(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        own = self.__dict__
        name = canonical(str(key))
        if own["_load"] is not None:
            return name in own["changes"] or name in own["_preconf"]
        return any(name in layer for layer in self.maps)

    def __bool__(self) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """The setting, or `default` if no layer has it."""
        try:
            return self[key]
        except KeyError:
            return default

    def first(self, *keys: str) -> Any:
        """The first of `keys` whose value is not None."""
        return next((value for value in map(self.get, keys) if value is not None), None)

    def get_by_parts(self, *parts: str) -> Any:
        """``get_by_parts("task", "acks_late")`` is ``task_acks_late``."""
        return self["_".join(part for part in parts if part)]

    def value_set_for(self, key: str) -> Any:
        """The value that somebody set for `key`; None if it has its default."""
        self.finalize()
        return self.without_defaults().get(canonical(key))

    def without_defaults(self) -> dict[str, Any]:
        """Only what somebody set."""
        self.finalize()
        own = self.__dict__
        return {**own["_preconf"], **own["_source"], **own["changes"]}

    def find_option(self, name: str, namespace: str = "") -> Any:
        """``(namespace, key, option)`` of a setting given without its prefix."""
        from celeriac.app.defaults import find

        return find(name, namespace)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Value of a setting given without its prefix."""
        found = self.find_option(name, namespace=namespace)
        return self.get_by_parts(*found[:-1])

    # --- writing

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __setitem__(self, key: str, value: Any) -> None:
        name = canonical(key, check=True)
        self.__dict__["changes"][name] = value
        self._changed()
        for observer in self.__dict__["_observers"]:
            observer(name, value)

    def __delitem__(self, key: str) -> None:
        del self.__dict__["changes"][canonical(key)]
        self._changed()

    def __delattr__(self, name: str) -> None:
        del self[name]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Changes several settings; all names are checked first."""
        for name, value in canonical_dict(dict(*args, **kwargs)).items():
            self[name] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Sets `key` if nobody has. Before loading only direct changes count, as in Celery."""
        if key in self if self.loaded else canonical(key) in self.__dict__["changes"]:
            return self[key]
        self[key] = default
        return default

    def clear(self) -> None:
        """Takes direct changes back."""
        self.__dict__["changes"].clear()
        self._changed()

    def add_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Adds a layer below all others but those added before it."""
        self.__dict__["_low_defaults"].insert(0, canonical_dict(defaults))
        self._changed()

    def set_source(self, source: Mapping[str, Any]) -> None:
        """Replaces the layer of the configuration source (new names only)."""
        self.__dict__["_source"] = dict(source)
        self._changed()

    def set_preconf(self, values: Mapping[str, Any]) -> None:
        """Replaces the layer between the source and the defaults."""
        self.__dict__["_preconf"] = canonical_dict(values)
        self._changed()

    def bind_to(self, callback: Callable[[str, Any], Any]) -> None:
        """Calls `callback(name, value)` after each direct change."""
        self.__dict__["_observers"].append(callback)

    def maybe_warn_deprecated_settings(self) -> bool:
        """Warns of upper-case names in the source; True if there were any."""
        old: Iterable[str] = self.__dict__["deprecated_settings"] or ()
        if not old:
            return False
        import warnings

        from celeriac.exceptions import CDeprecationWarning

        names = ", ".join(sorted(old))
        warnings.warn(CDeprecationWarning(f"settings with old upper-case names: {names}"), stacklevel=2)
        return True

    # --- showing

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Name -> value; secrets as asterisks and URLs without passwords when `censored`."""
        from celeriac.app._censor import censor

        values = {name: self[name] for name in self} if with_defaults else self.without_defaults()
        values = {name: value for name, value in values.items() if not name.startswith("_")}
        return censor(values) if censored else values

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """`table` as lines of text."""
        return "\n".join(f"{key}: {value!r}" for key, value in sorted(self.table(with_defaults, censored).items()))

    def __repr__(self) -> str:
        if not self.loaded:
            return f"<Settings: not loaded, changes {sorted(self.__dict__['changes'])}>"
        return f"<Settings: {sorted(self.table())}>"

    def __reduce__(self) -> Any:
        return _rebuild, (self.without_defaults(),)


def _rebuild(changes: dict[str, Any]) -> Settings:
    return Settings(changes=changes)


_DEFAULTS: dict[str, Any] = {name: row.default for name, row in SETTINGS.items()}
_DICT_DEFAULTS: dict[str, dict[str, Any]] = {k: v for k, v in _DEFAULTS.items() if isinstance(v, dict)}


def _broker_url(conf: Settings) -> Any:
    found = environment("BROKER_URL") or conf.stored("broker_url", None)
    if found:
        return found
    return _url_of_pieces(conf) or DEFAULT_BROKER_URL


def _url_of_pieces(conf: Settings) -> str | None:
    """A URL from ``broker_transport``, ``broker_host`` and so on; None if no piece is set."""
    names = ("transport", "user", "password", "host", "port", "vhost")
    pieces = {name: conf.stored(f"broker_{name}", None) for name in names}
    if not any(value not in (None, "") for value in pieces.values()):
        return None
    from urllib.parse import quote

    login = quote(str(pieces["user"] or ""), safe="")
    if pieces["password"] is not None:
        login += ":" + quote(str(pieces["password"]), safe="")
    port = f":{pieces['port']}" if pieces["port"] else ""
    vhost = str(pieces["vhost"] or "").lstrip("/")
    at = "@" if login else ""
    return f"{pieces['transport'] or 'amqp'}://{login}{at}{pieces['host'] or ''}{port}/{vhost}"


def _side_url(name: str) -> Callable[[Settings], Any]:
    def read(conf: Settings) -> Any:
        return environment(_ENVIRONMENT[name]) or conf.stored(name, None) or _broker_url(conf)

    return read


def _result_backend(conf: Settings) -> Any:
    found = environment("RESULT_BACKEND") or conf.stored("result_backend", None)
    if found is not None:
        return found
    # Nothing is configured at all: results go into the file that is the broker (docs/compatibility.md).
    urls = {_broker_url(conf), _side_url("broker_read_url")(conf), _side_url("broker_write_url")(conf)}
    return DEFAULT_BROKER_URL if urls == {DEFAULT_BROKER_URL} and not _names_default(conf) else None


def _names_default(conf: Settings) -> bool:
    """True if somebody wrote the default broker's URL himself: then results are as configured, that is: off."""
    return bool(environment("BROKER_URL") or conf.stored("broker_url", None))


def _default_exchange(conf: Settings) -> Any:
    return conf.stored("task_default_exchange", None) or conf["task_default_queue"]


def _default_routing_key(conf: Settings) -> Any:
    return conf.stored("task_default_routing_key", None) or conf["task_default_queue"]


_COMPUTED: dict[str, Callable[[Settings], Any]] = {
    "broker_url": _broker_url,
    "broker_read_url": _side_url("broker_read_url"),
    "broker_write_url": _side_url("broker_write_url"),
    "result_backend": _result_backend,
    "task_default_exchange": _default_exchange,
    "task_default_routing_key": _default_routing_key,
}
