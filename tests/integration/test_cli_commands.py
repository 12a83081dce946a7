"""Commands against a real file: what they print, what they change, how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from celeriac import Celery
from tests.support.cli import Cli
from tests.support.worker import Worker


@pytest.fixture
def cli(broker_url: str, tmp_path: Path) -> Cli:
    return Cli(broker_url, tmp_path)


def test_call_queues_purge(cli: Cli, app: Celery) -> None:
    sent = cli("call", "t.add", "-a", "[1, 2]")
    assert (sent.returncode, sent.stderr) == (0, "")
    assert len(sent.stdout.strip()) == 36
    cli("call", "t.noop", "--countdown", "1000")
    cli("call", "t.noop", "--queue", "other")
    rows = {row["queue"]: row for row in json.loads(cli("queues", "--json").stdout)}
    assert (rows["celery"]["ready"], rows["celery"]["delayed"], rows["other"]["ready"]) == (1, 1, 1)
    done = cli("purge", "-f", "-Q", "celery,other", "--json")
    assert json.loads(done.stdout) == {"purged": 3, "queues": {"celery": 2, "other": 1}}


def test_purge_asks_first(cli: Cli) -> None:
    cli("call", "t.noop")
    asked = cli("purge", text="n\n")
    assert asked.returncode == 1
    assert json.loads(cli("queues", "--json").stdout)[0]["ready"] == 1
    agreed = cli("purge", text="y\n")
    assert (agreed.returncode, agreed.stdout) == (0, "Purged 1 message from 1 queue.\n")


def test_result_of_another_process(cli: Cli, start_worker: Callable[..., Worker]) -> None:
    start_worker()
    task_id = cli("call", "t.add", "-k", '{"x": 2, "y": 3}').stdout.strip()
    found = cli("result", task_id)
    assert (found.returncode, found.stdout) == (0, "5\n")
    failed = cli("call", "t.fail", "-a", '["oh no"]').stdout.strip()
    shown = cli("result", failed, "--json")
    assert shown.returncode == 1
    assert json.loads(shown.stdout) == {
        "id": failed, "state": "FAILURE", "result": None, "error": {"type": "ValueError", "message": "oh no"},
    }  # fmt: skip
    plain = cli("result", failed)
    assert (plain.returncode, plain.stdout, plain.stderr) == (1, "", "Error: ValueError: oh no\n")
    assert "raise ValueError(text)" in cli("result", failed, "--traceback").stdout
    assert "Traceback" in cli("--traceback", "result", failed).stderr


def test_a_result_that_never_comes_is_given_up(cli: Cli) -> None:
    waited = cli("result", "no-such-id", "--timeout", "0.05")
    assert waited.returncode == 1
    assert "Error: TimeoutError" in waited.stderr


def test_dead_letters_are_listed_shown_replayed_and_purged(
    cli: Cli, app: Celery, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker()
    ids = [app.send_task("proj.unknown", args=(number,)).id for number in range(3)]
    for task_id in ids:
        with pytest.raises(Exception, match=r"proj\.unknown"):
            app.AsyncResult(task_id).get(timeout=10)
    worker.stop()
    rows = json.loads(cli("dead", "list", "--json").stdout)
    assert {(row["task"], row["reason"], row["queue"]) for row in rows} == {("proj.unknown", "unknown-task", "celery")}
    assert len(rows) == 3
    assert {row["task_id"] for row in rows} == set(ids)
    first = str(rows[0]["id"])
    shown = json.loads(cli("dead", "show", first, "--json").stdout)
    assert json.loads(shown["envelope"])["headers"]["id"] == rows[0]["task_id"]
    assert "proj.unknown" in cli("dead", "list").stdout
    assert cli("dead", "replay", first).stdout == "Replayed 1.\n"
    assert {row["queue"]: row["ready"] for row in json.loads(cli("queues", "--json").stdout)}["celery"] == 1
    assert cli("dead", "purge", "--all", text="n\n").returncode == 1
    assert cli("dead", "purge", "--all", "-f").stdout == "Deleted 2.\n"
    assert cli("dead", "list").stdout == "- empty -\n"
    assert cli("dead", "show", first).returncode == 1
    assert cli("dead", "replay").returncode == 2


def test_report_masks_secrets(cli: Cli) -> None:
    env = {"T_CONF": json.dumps({"security_key": "hush-hush"})}
    done = cli("report", env=env)
    assert done.returncode == 0, done.stderr
    assert "celeriac" in done.stdout
    assert "hush-hush" not in done.stdout
    found = json.loads(cli("report", "--json", env=env).stdout)
    assert found["broker"] == cli.broker
    assert found["settings"]["security_key"] == "********"


def test_shell_has_the_app_and_its_tasks(cli: Cli) -> None:
    done = cli("shell", "--python", text="print(app.main, add.name, celery is app)\n")
    assert done.returncode == 0, done.stderr
    assert "t t.add True" in done.stdout


def test_a_shell_completes_commands_and_options(cli: Cli) -> None:
    def complete(*words: str) -> list[str]:
        env = {"_CELERIAC_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return [line.partition(",")[2] for line in cli(app=None, env=env).stdout.splitlines()]

    assert complete("celeriac", "wor") == ["worker"]
    assert "--concurrency" in complete("celeriac", "worker", "--con")
    assert complete("celeriac", "dead", "") == ["list", "purge", "replay", "show"]


class TestErrors:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "broken.py").write_text("import json\n1 / 0\n")
        (tmp_path / "lacking.py").write_text("import a_module_that_is_missing\n")
        (tmp_path / "plain.py").write_text("value = 1\n")
        (tmp_path / "pack").mkdir()
        (tmp_path / "pack" / "__init__.py").touch()
        (tmp_path / "pack" / "celery.py").write_text("from celeriac import Celery\nanything = Celery('pack')\n")
        (tmp_path / "proj.py").write_text(
            "from celeriac import Celery\nqueue = Celery('proj', broker='memory://')\nother = 5\n"
        )
        return tmp_path

    @pytest.mark.parametrize(
        ("name", "says", "traceback"),
        [
            ("nowhere", "no module named 'nowhere'", False),
            ("nowhere.deep:app", "no module named 'nowhere'", False),
            ("broken", "ZeroDivisionError", True),
            ("lacking", "a_module_that_is_missing", True),
            ("plain", "neither `app` nor `celery`", False),
            ("plain:app", "no attribute 'app'", False),
            ("proj:other", "not a celeriac app", False),
        ],
    )
    def test_an_app_that_cannot_be_loaded(self, cli: Cli, folder: Path, name: str, says: str, traceback: bool) -> None:
        done = cli("queues", app=name)
        assert done.returncode == 2
        assert says in done.stderr
        assert ("Traceback" in done.stderr) is traceback

    @pytest.mark.parametrize(
        "name", ["proj", "proj:queue", "proj.queue", "pack", "pack.celery", "pack.celery:anything"]
    )
    def test_an_app_is_found(self, cli: Cli, folder: Path, name: str) -> None:
        done = cli("queues", "--json", app=name)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("args", "code", "says"),
        [
            (["-b", "carrier-pigeon://roof", "queues"], 78, "carrier-pigeon"),
            (["-b", "sqlite:////proc/no/such/folder/x.db", "queues"], None, "/proc/no/such"),
            (["worker", "-P", "gevent"], 2, "-P threads"),
            (["worker", "-l", "loud"], 2, "loud"),
            (["worker", "--", "worker_no_such_thing=1"], 2, "worker_no_such_thing"),
            (["worker", "--", "worker_concurrency=many"], 2, "many"),
            (["worker", "-A", "proj"], 2, "before the command"),
            (["wroker"], 2, "Did you mean worker"),
        ],
    )
    def test_an_error_is_short_and_has_its_exit_code(
        self, cli: Cli, args: list[str], code: int | None, says: str
    ) -> None:
        done = cli(*args)
        assert done.returncode == code if code is not None else done.returncode in (69, 78)
        assert says in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("store", "code", "says"),
        [
            ("sqlite:///text.db", (69, 78), "text.db"),
            ("carrier-pigeon://roof", (78,), "carrier-pigeon"),
            ("disabled://", (78,), "no result backend"),
        ],
    )
    def test_a_result_store_that_cannot_be_used_is_no_failed_task(
        self, cli: Cli, tmp_path: Path, store: str, code: tuple[int, ...], says: str
    ) -> None:
        (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as such " * 40)
        for option in ([], ["--traceback"], ["--json"]):
            done = cli("--result-backend", store, "result", "an-id", "--timeout", "1", *option)
            assert done.returncode in code, (option, done.stdout, done.stderr)
            assert says in done.stderr.lower()
            assert "Traceback" not in done.stderr
            assert done.stdout == ""

    @pytest.mark.parametrize("where", ["config_from_object('not_there')", "conf.include = ['not_there']"])
    @pytest.mark.parametrize("command", ["worker", "report"])
    def test_a_module_that_a_setting_names_in_vain_is_one_line(
        self, cli: Cli, tmp_path: Path, where: str, command: str
    ) -> None:
        (tmp_path / "vain.py").write_text(f"from celeriac import Celery\napp = Celery('vain')\napp.{where}\n")
        done = cli(command, app="vain")
        assert done.returncode == 78, done.stderr
        assert "No module named 'not_there'" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Traceback" in cli("--traceback", command, app="vain").stderr

    def test_a_module_of_the_app_that_lacks_another_one_shows_where(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "part.py").write_text("import a_module_that_is_missing\n")
        (tmp_path / "vain.py").write_text(
            "from celeriac import Celery\napp = Celery('vain')\napp.conf.include = ['part']\n"
        )
        done = cli("worker", app="vain")
        assert done.returncode != 0
        assert "part.py" in done.stderr

    def test_a_worker_on_an_unusable_file_ends_with_69_or_78(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as such " * 40)
        done = cli("-b", f"sqlite:///{tmp_path / 'text.db'}", "worker", "-c", "1")
        assert done.returncode in (69, 78), done.stderr
        assert "text.db" in done.stderr
        assert "Traceback" not in done.stderr
