"""Workers whose processes are fresh interpreters: where these find the application, and what they are told if not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from tests.support.waiting import wait_until
from tests.support.worker import Process, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pool of processes there")

TASKS = """
import multiprocessing
import os

from celeriac import Celery

app = Celery("shop", broker=os.environ["T_BROKER"], backend=os.environ["T_BACKEND"])
SPAWNED = multiprocessing.current_process().name.startswith("SpawnPoolWorker-")


class OutOfStock(Exception):
    pass


@app.task
def where():
    return [multiprocessing.current_process().name, __name__, os.getcwd()]


@app.task
def setting(name):
    return app.conf[name]


@app.task
def fail():
    raise OutOfStock("beans")


@app.task
def say(text):
    print(text)
"""


class Shop:
    """A folder with a program, run as a worker."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder, self.broker = folder, broker
        self.client = Celery("shop", broker=broker, backend=broker, set_as_current=False)
        self.processes: list[Process] = []

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run(self, *words: str, env: dict[str, str] | None = None) -> Process:
        environ = environment(self.broker, self.broker, env)
        argv = [sys.executable, *words]
        process = Process(argv, folder=self.folder, env=environ, name=f"shop{len(self.processes)}")
        self.processes.append(process)
        return process

    def cli(self, *words: str, app: str = "jobs", env: dict[str, str] | None = None) -> Process:
        return self.run("-m", "celeriac", "-A", app, "worker", "-P", "prefork", "-c", "1", *words, env=env)

    def ask(self, name: str, *args: object) -> Any:
        return self.client.send_task(name, args).get(timeout=20)


@pytest.fixture
def shop(tmp_path: Path, broker_url: str) -> Iterator[Shop]:
    made = Shop(tmp_path, broker_url)
    yield made
    for process in made.processes:
        process.reap()
    made.client.close()


def ended(process: Process) -> str:
    """Waits for a worker that gives up; what it said."""
    process.wait(30)
    return process.output()


def test_an_app_of_a_module_is_imported_by_name(shop: Shop) -> None:
    shop.write("jobs.py", TASKS)
    worker = shop.cli("--pool-start-method", "spawn")
    assert shop.ask("jobs.where") == ["SpawnPoolWorker-1", "jobs", str(shop.folder)]
    assert "1 (prefork, spawn)" in worker.output()
    worker.kill(15)
    assert worker.wait() == 0


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--pool-start-method", "spawn"], {}),
        (["--", "worker_pool_start_method=spawn"], {}),
        ([], {"CELERIAC_WORKER_POOL_START_METHOD": "spawn"}),
        ([], {"CELERY_CONFIG_MODULE": "settings"}),
    ],
)
def test_the_start_method_is_chosen_like_any_setting(shop: Shop, words: list[str], env: dict[str, str]) -> None:
    shop.write("jobs.py", TASKS)
    shop.write("settings.py", "worker_pool_start_method = 'spawn'\n")
    shop.cli(*words, env=env)
    assert str(shop.ask("jobs.where")[0]).startswith("SpawnPoolWorker-")


def test_an_unknown_start_method_is_refused(shop: Shop) -> None:
    shop.write("jobs.py", TASKS)
    assert "expected 'fork'" in ended(shop.cli("--", "worker_pool_start_method=forkserver"))


@pytest.mark.parametrize("main", ["shop", None])
def test_an_app_of_the_main_program_is_found_there(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, main: str | None
) -> None:
    """Configured where only the worker comes to; tasks keep their names although the module has another one then."""
    shop.write(
        "program.py",
        TASKS.replace('"shop"', repr(main))
        + """

if __name__ == "__main__":
    app.conf.worker_pool_start_method = "spawn"
    app.conf.result_expires = 1234
    app.worker_main(["worker", "-P", "prefork", "-c", "1"])
""",
    )
    shop.run("program.py")
    prefix = main or "__main__"
    assert shop.ask(f"{prefix}.where")[:2] == ["SpawnPoolWorker-1", "__mp_main__"]
    assert shop.ask(f"{prefix}.setting", "result_expires") == 1234
    own = type("OutOfStock", (Exception,), {})  # of the main module here, as of the worker's
    monkeypatch.setattr(sys.modules["__main__"], "OutOfStock", own, raising=False)
    with pytest.raises(own, match="beans"):
        shop.ask(f"{prefix}.fail")


def test_an_app_that_a_program_lends_to_a_module_is_found_where_it_is_made(shop: Shop) -> None:
    shop.write("desk.py", "lent = None\n")
    shop.write("jobs.py", TASKS)
    shop.write(
        "program.py",
        """import desk
import jobs

desk.lent = jobs.app
if __name__ == "__main__":
    desk.other = jobs.app
    jobs.app.worker_main(["worker", "-P", "prefork", "-c", "1", "--pool-start-method", "spawn"])
""",
    )
    shop.run("program.py")
    assert shop.ask("jobs.where")[:2] == ["SpawnPoolWorker-1", "jobs"]


def test_an_app_that_only_the_worker_comes_to_is_refused_with_the_remedy(shop: Shop) -> None:
    shop.write("jobs.py", TASKS)
    shop.write(
        "program.py",
        """from celeriac import Celery

if __name__ == "__main__":
    app = Celery("late")
    app.worker_main(["worker", "-P", "prefork", "-c", "1", "--pool-start-method", "spawn"])
""",
    )
    assert "does not find it there. Bind it to a name at the top of a module" in ended(shop.run("program.py"))


def test_an_unguarded_main_program_is_told_what_to_do(shop: Shop) -> None:
    worker = '\napp.worker_main(["worker", "-P", "prefork", "-c", "1", "--pool-start-method", "spawn"])\n'
    shop.write("program.py", TASKS + worker)
    text = ended(shop.run("program.py"))
    assert "if __name__ == '__main__':" in text
    assert text.count("[queues]") == 1  # one banner: no child has become a worker


def test_settings_of_the_command_line_count_in_every_process(shop: Shop) -> None:
    shop.write("jobs.py", TASKS)
    shop.cli("--pool-start-method", "spawn", "--", "result_cache_max=77")
    assert shop.ask("jobs.setting", "result_cache_max") == 77


def test_an_app_without_a_name_is_refused_with_the_remedy(shop: Shop) -> None:
    inside = "\n".join("    " + line if line else "" for line in TASKS.splitlines())
    shop.write(
        "program.py",
        f"""def build():
{inside}
    return app

if __name__ == "__main__":
    build().worker_main(["worker", "-P", "prefork", "--pool-start-method", "spawn"])
""",
    )
    text = ended(shop.run("program.py"))
    assert "Bind it to a name at the top of a module" in text
    assert "Traceback" not in text


def test_a_setting_that_no_process_can_get_is_named(shop: Shop) -> None:
    shop.write("jobs.py", TASKS)
    shop.write(
        "program.py",
        """from jobs import app

if __name__ == "__main__":
    app.conf.update(worker_pool_start_method="spawn", task_routes=lambda *args, **kwargs: None)
    app.worker_main(["worker", "-P", "prefork", "-c", "1"])
""",
    )
    text = ended(shop.run("program.py"))
    assert "the setting(s) task_routes cannot be pickled" in text
    assert "set them at the top of the module" in text


def test_a_setting_that_an_imported_module_makes_needs_no_pickle(shop: Shop) -> None:
    """What the command line has set before stays as that module leaves it in the worker, too."""
    shop.write("jobs.py", TASKS + "\napp.conf.imports = ('rules',)\n")
    rules = "app.conf.task_routes = lambda *args, **kwargs: None\napp.conf.result_cache_max = 5\n"
    shop.write("rules.py", "from jobs import app\n\n" + rules)
    shop.cli("--pool-start-method", "spawn", "--", "result_cache_max=77")
    assert shop.ask("jobs.setting", "result_cache_max") == 5


def test_what_a_receiver_in_the_worker_sets_counts_in_every_process(shop: Shop) -> None:
    shop.write("rules.py", "from jobs import app\n\napp.conf.result_cache_max = 5\n")
    receiver = """
from celeriac.signals import worker_init

@worker_init.connect
def adapt(**_):
    app.conf.result_cache_max = 6
"""
    shop.write("jobs.py", TASKS + "\napp.conf.imports = ('rules',)\n" + receiver)
    shop.cli("--pool-start-method", "spawn")
    assert shop.ask("jobs.setting", "result_cache_max") == 6


def test_an_import_that_fails_is_in_the_log_and_ends_the_worker(shop: Shop) -> None:
    shop.write("jobs.py", TASKS + "\nif SPAWNED:\n    raise RuntimeError('no stock list')\n")
    ended(shop.cli("--pool-start-method", "spawn", "-f", "work.log"))
    text = (shop.folder / "work.log").read_text()
    assert "cannot import the application: RuntimeError('no stock list')" in text
    assert "Traceback" in text
    assert "6 child processes in a row" in text


def test_what_a_task_logs_and_prints_is_in_the_worker_s_log(shop: Shop) -> None:
    shop.write("jobs.py", TASKS)
    shop.cli("--pool-start-method", "spawn", "-f", "work.log", "-l", "INFO")
    shop.ask("jobs.say", "ten beans")
    text = wait_until(
        lambda: found if "succeeded" in (found := (shop.folder / "work.log").read_text()) else "",
        timeout=10,
        what="log",
    )
    assert re.search(r"WARNING/SpawnPoolWorker-1\] ten beans", text)
    assert re.search(r"INFO/SpawnPoolWorker-1\] Task jobs.say\S* succeeded", text)
