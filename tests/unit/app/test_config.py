"""Configuration in all its forms, and names that are refused."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from celeriac import Celery
from celeriac.app import _names
from celeriac.app.config import DEFAULT_BROKER_URL, Settings
from celeriac.app.defaults import declare
from celeriac.exceptions import CDeprecationWarning, ImproperlyConfigured, UnknownSettingWarning


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("", "READ_", "WRITE_"):
        for brand in ("CELERY", "CELERIAC"):
            monkeypatch.delenv(f"{brand}_BROKER_{side}URL", raising=False)
            monkeypatch.delenv(f"{brand}_RESULT_BACKEND", raising=False)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made = types.ModuleType("unit_settings")
    monkeypatch.setitem(sys.modules, "unit_settings", made)
    return made


def fresh(**kwargs: Any) -> Any:
    return Celery("c", set_as_current=False, **kwargs)


# --- forms


def test_keywords_of_the_constructor() -> None:
    app = fresh(task_acks_late=True, broker="memory://", timezone=None)
    assert app.conf.task_acks_late is True
    assert app.conf.broker_url == "memory://"
    assert app.conf.without_defaults() == {"task_acks_late": True, "broker_url": "memory://"}


def test_attributes_items_and_update() -> None:
    app = fresh()
    app.conf.task_serializer = "pickle"
    app.conf["CELERY_TASK_RESULT_EXPIRES"] = 3
    app.conf.update(task_acks_late=True, worker_concurrency=2)
    app.conf.update({"task_ignore_result": True})
    assert (app.conf.task_serializer, app.conf.result_expires, app.conf.CELERY_ACKS_LATE) == ("pickle", 3, True)
    assert app.conf["worker_concurrency"] == 2
    assert app.conf.value_set_for("task_serializer") == "pickle"
    del app.conf.task_serializer
    assert app.conf.task_serializer == "json"


def test_a_module_by_name(module: Any) -> None:
    module.task_serializer = "yaml"
    app = fresh()
    app.config_from_object("unit_settings")
    assert app.conf.task_serializer == "yaml"


def test_an_attribute_of_a_module_by_both_notations(module: Any) -> None:
    class Config:
        task_serializer = "yaml"

    module.Config = Config
    for path in ("unit_settings:Config", "unit_settings.Config"):
        app = fresh()
        app.config_from_object(path)
        assert app.conf.task_serializer == "yaml"


@pytest.mark.parametrize("kind", ["object", "dict", "constructor"])
def test_objects_and_dicts(kind: str) -> None:
    values = {"task_serializer": "yaml", "worker_concurrency": 3}
    source = values if kind != "object" else types.SimpleNamespace(**values)
    app = fresh(config_source=source) if kind == "constructor" else fresh()
    if kind != "constructor":
        app.config_from_object(source)
    assert (app.conf.task_serializer, app.conf.worker_concurrency) == ("yaml", 3)


def test_an_environment_variable_names_a_module(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module.task_serializer = "yaml"
    app = fresh()
    with pytest.raises(ImproperlyConfigured, match="UNIT_CONFIG"):
        app.config_from_envvar("UNIT_CONFIG")
    assert app.config_from_envvar("UNIT_CONFIG", silent=True) is False
    monkeypatch.setenv("UNIT_CONFIG", "unit_settings")
    app.config_from_envvar("UNIT_CONFIG", force=True)
    assert app.configured
    assert app.conf.task_serializer == "yaml"


@pytest.mark.parametrize(("namespace", "prefix"), [("CELERY", "CELERY_"), ("celery", "celery_"), ("MY_", "MY_")])
def test_a_namespace(namespace: str, prefix: str) -> None:
    name = "TASK_SERIALIZER" if prefix.isupper() else "task_serializer"
    source = types.SimpleNamespace(**{prefix + name: "yaml", "TIME_ZONE": "Europe/Paris", "task_acks_late": True})
    app = fresh()
    app.config_from_object(source, namespace=namespace)
    assert app.conf.task_serializer == "yaml"
    assert app.conf.task_acks_late is True


def test_old_names() -> None:
    app = fresh()
    app.config_from_object({"CELERY_TASK_SERIALIZER": "yaml", "CELERYD_CONCURRENCY": 2, "BROKER_URL": "memory://"})
    assert (app.conf.task_serializer, app.conf.worker_concurrency, app.conf.broker_url) == ("yaml", 2, "memory://")
    with pytest.warns(CDeprecationWarning, match="CELERYD_CONCURRENCY"):
        assert app.conf.maybe_warn_deprecated_settings()


def test_old_and_new_names_do_not_mix() -> None:
    app = fresh()
    app.config_from_object({"task_serializer": "yaml", "worker_concurrency": 2, "CELERY_ACKS_LATE": True})
    with pytest.raises(ImproperlyConfigured, match="CELERY_ACKS_LATE -> task_acks_late"):
        _ = app.conf.task_serializer


def test_mixing_is_allowed_where_the_other_name_is_there_too() -> None:
    app = fresh()
    app.config_from_object({"task_serializer": "yaml", "CELERY_TASK_SERIALIZER": "yaml", "worker_concurrency": 2})
    assert app.conf.task_serializer == "yaml"


@pytest.mark.parametrize("brand", ["CELERY", "CELERIAC"])
def test_the_environment_wins_for_broker_and_backend(brand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fresh(broker="memory://given", backend="disabled://")
    monkeypatch.setenv(f"{brand}_BROKER_URL", "memory://env")
    monkeypatch.setenv(f"{brand}_BROKER_READ_URL", "memory://read")
    monkeypatch.setenv(f"{brand}_RESULT_BACKEND", "cache+memory://")
    assert app.conf.broker_url == app.conf["broker_write_url"] == "memory://env"
    assert app.conf.broker_read_url == "memory://read"
    assert app.conf.result_backend == "cache+memory://"


def test_the_command_line() -> None:
    app = fresh()
    app.config_from_cmdline(
        ["worker.concurrency=3", "task_acks_late=yes", ".timezone=Europe/Paris", 'TASK.ROUTES=(json){"a": "b"}']
    )
    assert (app.conf.worker_concurrency, app.conf.task_acks_late) == (3, True)
    assert (app.conf.timezone, app.conf.task_routes) == ("Europe/Paris", {"a": "b"})
    worker = app.loader.cmdline_config_parser([".prefetch_multiplier=1", "_direct=on"], namespace="worker")
    assert worker == {"worker_prefetch_multiplier": 1, "worker_direct": True}


@pytest.mark.parametrize(
    ("text", "told"),
    [("task_acks_late", "key=value"), ("task_aks_late=1", "task_acks_late"), ("worker_concurrency=x", "as int")],
)
def test_bad_texts_on_the_command_line(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fresh().config_from_cmdline([text])


# --- layers


def test_precedence() -> None:
    app = fresh(task_serializer="from keyword")
    app.config_from_object({"task_serializer": "from source", "result_serializer": "from source", "timezone": "UTC"})
    app.add_defaults(lambda: {"result_serializer": "low"})
    assert app.conf.task_serializer == "from keyword"
    assert app.conf.result_serializer == "from source"
    app.conf.result_serializer = "direct"
    assert app.conf.result_serializer == "direct"


def test_defaults_added_count_below_the_tables() -> None:
    declare("unit_own_setting")
    app = fresh()
    app.add_defaults({"unit_own_setting": 1, "task_serializer": "low"})
    assert app.conf.unit_own_setting == 1
    assert app.conf.task_serializer == "json"
    app.add_defaults({"unit_own_setting": 2})
    assert app.conf.unit_own_setting == 2


def test_nothing_is_read_before_it_is_needed() -> None:
    app = fresh()
    app.config_from_object("no.such.module")
    app.conf.task_serializer = "yaml"
    assert not app.configured
    assert "task_serializer" in app.conf
    with pytest.raises(ModuleNotFoundError):
        _ = app.conf.timezone
    assert not app.conf.loaded, "a failed load is tried again"


def test_signals_around_loading() -> None:
    app = fresh()
    seen: list[Any] = []
    app.on_configure.connect(lambda **kw: seen.append("configure"), weak=False)
    app.on_after_configure.connect(lambda source, **kw: seen.append(source), weak=False)
    _ = app.conf.timezone
    _ = app.conf.task_serializer
    assert seen == ["configure", app.conf]


def test_a_sub_classs_on_configure() -> None:
    class Sub(Celery):
        def on_configure(self) -> None:
            self.conf.task_serializer = "yaml"

    assert Sub("s", set_as_current=False).conf.task_serializer == "yaml"


def test_prepare_config_may_change_the_source() -> None:
    class Sub(Celery):
        def prepare_config(self, c: Any) -> Any:
            return {**c, "task_serializer": c["task_serializer"].upper()}

    app = Sub("s", set_as_current=False, config_source={"task_serializer": "yaml"})
    assert app.conf.task_serializer == "YAML"


# --- names


@pytest.mark.parametrize(
    "give",
    [
        lambda: fresh(task_ack_late=True),
        lambda: setattr(fresh().conf, "task_ack_late", True),
        lambda: fresh().conf.update(task_ack_late=True),
        lambda: fresh().conf.__setitem__("task_ack_late", True),
        lambda: fresh(changes={"task_ack_late": True}),
        lambda: fresh(config_source={"task_ack_late": True}).conf.timezone,
        lambda: fresh(config_source=types.SimpleNamespace(task_ack_late=True)).conf.timezone,
    ],
    ids=["keyword", "attribute", "update", "item", "changes", "dict", "object"],
)
def test_a_misspelt_name_is_refused_with_a_suggestion(give: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"unknown setting 'task_ack_late'\nhint: did you mean 'task_acks_late'"
    ):
        give()


def test_another_package_s_name_with_our_namespace_says_how_to_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Django project's settings begin with CELERY_, and so do those of packages around Celery."""
    source = types.SimpleNamespace(CELERY_EMAIL_CHUNK_SIZE=5)
    app = fresh()
    app.config_from_object(source, namespace="CELERY")
    with pytest.raises(ImproperlyConfigured, match=r"declare\('email_chunk_size'\)"):
        _ = app.conf.timezone
    monkeypatch.setattr(_names, "_declared", set())
    declare("email_*")
    assert app.conf.timezone is None


def test_a_misspelt_name_with_a_namespace() -> None:
    app = fresh()
    app.config_from_object(types.SimpleNamespace(CELERY_TASK_SERIALISER="x"), namespace="CELERY")
    with pytest.raises(ImproperlyConfigured, match="did you mean 'CELERY_TASK_SERIALIZER'"):
        _ = app.conf.timezone


def test_a_misspelt_old_name() -> None:
    app = fresh()
    app.config_from_object({"CELERY_TASK_SERIALISER": "x"})
    with pytest.raises(ImproperlyConfigured, match="did you mean 'CELERY_TASK_SERIALIZER'"):
        _ = app.conf.timezone


def test_update_with_a_bad_name_changes_nothing() -> None:
    app = fresh()
    with pytest.raises(ImproperlyConfigured):
        app.conf.update(task_serializer="yaml", no_such_thing_at_all=1)
    assert app.conf.task_serializer == "json"


def test_ordinary_globals_of_a_module_are_left_alone(module: Any) -> None:
    module.os = sys
    module.redis_url = "redis://"
    module.names = ["a"]
    module.task_helper = lambda: None
    module.DEBUG = True
    module.timezones = ["UTC"]
    module.worker_concurrency = 2
    app = fresh()
    app.config_from_object("unit_settings")
    assert app.conf.worker_concurrency == 2
    assert app.conf.without_defaults() == {"worker_concurrency": 2}


def test_another_name_with_a_settings_prefix_is_warned_of(module: Any) -> None:
    module.task_list_of_mine = ["a"]
    app = fresh()
    app.config_from_object("unit_settings")
    with pytest.warns(UnknownSettingWarning, match="task_list_of_mine"):
        _ = app.conf.timezone


@pytest.mark.parametrize("name", ["redbeat_redis_url", "_private", "ONCE"])
def test_settings_of_known_packages_pass(name: str) -> None:
    app = fresh()
    app.conf[name] = "x"
    assert app.conf[name] == "x"


def test_declared_names_pass() -> None:
    declare("unit_mine", "unit_family_*")
    app = fresh(unit_mine=1)
    app.conf.unit_family_a = 2
    assert (app.conf.unit_mine, app.conf.unit_family_a) == (1, 2)


def test_reading_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = fresh().conf.no_such_setting
    with pytest.raises(KeyError):
        _ = fresh().conf["no_such_setting"]
    assert fresh().conf.get("no_such_setting", 3) == 3


# --- computed


def test_nothing_configured_means_one_file_for_everything() -> None:
    app = fresh()
    assert app.conf.broker_url == app.conf.broker_read_url == app.conf.result_backend == DEFAULT_BROKER_URL


def test_a_broker_that_was_named_has_no_results_by_itself() -> None:
    assert fresh(broker="sqlite:///other.db").conf.result_backend is None
    assert fresh(broker=DEFAULT_BROKER_URL).conf.result_backend is None


def test_a_url_of_pieces() -> None:
    app = fresh(broker_transport="redis", broker_host="h", broker_port=1, broker_password="p/w", broker_vhost="/0")
    assert app.conf.broker_url == "redis://:p%2Fw@h:1/0"


def test_names_that_follow_the_default_queue() -> None:
    app = fresh(task_default_queue="q")
    assert (app.conf.task_default_exchange, app.conf.task_default_routing_key) == ("q", "q")
    app.conf.task_default_exchange = "e"
    assert app.conf.task_default_exchange == "e"


# --- showing


def test_secrets_are_not_shown() -> None:
    app = fresh(
        broker="redis://user:secret@h/0;redis://:other@h",
        redis_password="secret",
        broker_transport_options={"sentinel_kwargs": {"password": "secret"}},
        security_key="secret",
    )
    text = app.conf.humanize()
    assert "secret" not in text
    assert "other" not in text
    assert "user:**@h" in text
    assert app.conf.table(censored=False)["redis_password"] == "secret"
    assert "worker_concurrency" in app.conf.table(with_defaults=True)


def test_it_is_a_mapping() -> None:
    conf = Settings(changes={"task_serializer": "yaml"})
    assert conf.first("timezone", "task_serializer") == "yaml"
    assert dict(conf)["task_serializer"] == "yaml"
    assert conf.get_by_parts("task", "serializer") == "yaml"
    assert conf.find_value_for_key("serializer", "task") == "yaml"
    assert len(conf) == len(list(conf)) == len(set(conf))


def test_a_default_that_is_changed_in_place_stays_with_its_app() -> None:
    one, other = fresh(), fresh()
    one.conf.beat_schedule["x"] = {"task": "t"}
    one.conf.broker_transport_options["a"] = 1
    assert one.conf.beat_schedule == {"x": {"task": "t"}}
    assert other.conf.beat_schedule == {}
    assert fresh().conf.broker_transport_options == {}
