"""Loaders: sources, modules with tasks, autodiscovery."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery, signals
from celeriac.loaders import get_loader_cls
from celeriac.loaders.app import AppLoader
from celeriac.loaders.base import BaseLoader, find_related_module
from celeriac.loaders.default import Loader


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is first on the path; modules imported from it are forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def package(root: Path, name: str, **modules: str) -> None:
    folder = root / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)


def test_aliases() -> None:
    assert get_loader_cls("app") is AppLoader
    assert get_loader_cls("default") is Loader
    assert get_loader_cls("celery.loaders.app:AppLoader") is AppLoader
    assert get_loader_cls(BaseLoader) is BaseLoader


def test_autodiscovery_waits_for_the_worker(project: Path) -> None:
    package(project, "disc_a", tasks="LOADED = True")
    package(project, "disc_b")
    app = Celery("d", set_as_current=False)
    app.autodiscover_tasks(lambda: ["disc_a", "disc_b"])
    assert "disc_a.tasks" not in sys.modules
    app.loader.import_default_modules()
    assert "disc_a.tasks" in sys.modules
    assert app.loader.task_modules >= {"disc_a.tasks"}


def test_autodiscovery_of_another_app_is_not_run(project: Path) -> None:
    package(project, "disc_c", tasks="")
    Celery("d", set_as_current=False).autodiscover_tasks(["disc_c"])
    Celery("e", set_as_current=False).loader.import_default_modules()
    assert "disc_c.tasks" not in sys.modules


def test_an_error_inside_a_task_module_comes_out(project: Path) -> None:
    package(project, "disc_d", tasks="import no_such_module_at_all")
    app = Celery("d", set_as_current=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        app.autodiscover_tasks(["disc_d"], force=True)
    app.autodiscover_tasks(["disc_d"])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        app.loader.import_default_modules()


def test_related_modules(project: Path) -> None:
    package(project, "disc_e", jobs="", apps="class Config: ...")
    assert find_related_module("disc_e", "jobs") is sys.modules["disc_e.jobs"]
    assert find_related_module("disc_e", "none") is None
    assert find_related_module("disc_e", None) is sys.modules["disc_e"]
    assert find_related_module("disc_e.Config", "jobs") is sys.modules["disc_e.jobs"]
    with pytest.raises(ModuleNotFoundError):
        find_related_module("no_such_package", "tasks")


def test_imports_and_include_are_imported_in_order(project: Path) -> None:
    for name in ("one", "two", "three"):
        (project / f"mod_{name}.py").write_text("")
    app = Celery("i", set_as_current=False, imports=("mod_one", "mod_two"), include="mod_three")
    assert app.loader.default_modules == ("mod_one", "mod_two", "mod_three")
    seen: list[Any] = []

    def receiver(sender: Any, **kw: Any) -> None:
        seen.append(sender)

    signals.import_modules.connect(receiver)
    app.loader.init_worker()
    app.loader.init_worker()
    assert seen == [app]
    assert [name for name in ("mod_one", "mod_two", "mod_three") if name not in sys.modules] == []


def test_the_fallback_app_reads_celeryconfig_if_it_is_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery("f", set_as_current=False, loader="default")
    assert app.conf.task_serializer == "json"
    (project / "celeryconfig.py").write_text("task_serializer = 'yaml'\n")
    assert Celery("f", set_as_current=False, loader="default").conf.task_serializer == "yaml"
    (project / "other.py").write_text("task_serializer = 'pickle'\n")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "other")
    assert Celery("f", set_as_current=False, loader="default").conf.task_serializer == "pickle"
    assert Celery("f", set_as_current=False).conf.task_serializer == "pickle"


def test_a_module_that_is_missing() -> None:
    app = Celery("m", set_as_current=False)
    assert app.config_from_object("no.such.config", silent=True, force=True) is False
    with pytest.raises(ImportError):
        app.config_from_object("no.such.config", force=True)


def test_hooks_of_a_loader_of_ones_own() -> None:
    class Mine(BaseLoader):
        def read_configuration(self, env: str | None = None) -> dict[str, Any]:
            return {"task_serializer": "yaml"}

    assert Celery("m", set_as_current=False, loader=Mine).conf.task_serializer == "yaml"


def test_fixups_may_find_packages(project: Path) -> None:
    package(project, "disc_f", tasks="")
    (project / "my_fixup.py").write_text(
        "class Fixup:\n    def autodiscover_tasks(self): return ['disc_f']\ndef fixup(app): return Fixup()\n"
    )
    app = Celery("x", set_as_current=False, fixups=["my_fixup:fixup"])
    app.autodiscover_tasks(force=True)
    assert "disc_f.tasks" in sys.modules
