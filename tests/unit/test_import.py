"""What importing celeriac brings along, and Celery's module paths."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import celeriac

HEAVY = {"click", "asyncio", "inspect", "dataclasses", "multiprocessing", "concurrent.futures", "logging.config"}

PATHS = {
    "celeriac.app": ["Celery", "app_or_default", "bugreport", "enable_trace", "shared_task", "push_current_task"],
    "celeriac.app.task": ["Task", "Context", "TaskType", "BaseTask"],
    "celeriac.app.base": ["Celery", "App"],
    "celeriac.app.registry": ["TaskRegistry"],
    "celeriac.app.defaults": ["NAMESPACES", "DEFAULTS", "SETTING_KEYS", "Option", "Namespace", "find", "flatten"],
    "celeriac.app.amqp": ["AMQP", "Queues"],
    "celeriac.app.routes": ["MapRoute", "Router"],
    "celeriac.app.autoretry": ["add_autoretry_behaviour"],
    "celeriac.app.annotations": ["MapAnnotation", "prepare", "resolve_all"],
    "celeriac.app.utils": ["Settings", "appstr", "bugreport", "filter_hidden_settings", "find_app"],
    "celeriac.canvas": ["Signature", "signature", "maybe_signature", "subtask", "chain", "group", "chord"],
    "celeriac.loaders.base": ["BaseLoader"],
    "celeriac.loaders.app": ["AppLoader"],
    "celeriac.loaders.default": ["Loader"],
    "celeriac.fixups.django": ["fixup"],
    "celeriac.local": ["Proxy", "PromiseProxy"],
    "celeriac.utils": ["uuid", "gen_unique_id", "cached_property", "chunks", "worker_direct"],
    "celeriac.utils.abstract": ["CallableTask", "CallableSignature"],
    "celeriac.utils.collections": ["AttributeDict", "ChainMap", "LimitedSet", "force_mapping"],
    "celeriac.utils.dispatch": ["Signal"],
    "celeriac.utils.functional": ["LRUCache", "maybe_list", "regen", "head_from_fun"],
    "celeriac.utils.imports": ["symbol_by_name", "instantiate", "qualname", "gen_task_name"],
    "celeriac.utils.nodenames": ["nodename", "default_nodename", "gethostname"],
    "celeriac.utils.saferepr": ["saferepr"],
    "celeriac.utils.serialization": ["UnpickleableExceptionWrapper", "raise_with_context", "strtobool"],
    "celeriac.utils.text": ["indent", "truncate", "pluralize"],
    "celeriac.utils.time": ["maybe_iso8601", "rate", "get_exponential_backoff_interval"],
}


@pytest.mark.parametrize("module", PATHS)
def test_celerys_module_paths(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PATHS[module] if not hasattr(found, name)] == []


def test_schedules_that_are_not_there_yet_say_so() -> None:
    with pytest.raises(ModuleNotFoundError, match="periodic tasks come with a later version"):
        importlib.import_module("celeriac.schedules")


@pytest.mark.parametrize("name", celeriac.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(celeriac, name) is not None


def test_all_is_sorted() -> None:
    assert sorted(celeriac.__all__) == celeriac.__all__


def test_version_info_has_celerys_form() -> None:
    assert celeriac.__version__.startswith(".".join(map(str, celeriac.VERSION[:3])))
    assert f"{celeriac.__version__} ({celeriac.SERIES})" == celeriac.VERSION_BANNER


@pytest.mark.parametrize(
    "code",
    ["import celeriac", "from celeriac import Celery; app = Celery('x')\n@app.task\ndef f(): ...\napp.tasks"],
    ids=["package", "app with a task"],
)
def test_importing_brings_no_heavy_modules(code: str) -> None:
    """Each of these costs 3 to 20 ms; a producer needs none of them."""
    program = f"import sys\n{code}\nimport json; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(json.loads(out))
