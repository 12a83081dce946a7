"""The program: global options, exit codes, what each command asks of the app and prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import click
import pytest

from celeriac import signals
from celeriac.bin.base import CeleryOption
from celeriac.bin.celery import celery, main
from celeriac.exceptions import BrokerUnavailable, ImproperlyConfigured
from tests.unit.bin.fakes import FakeApp

Run = Callable[..., Any]


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture
def run(app: FakeApp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("call", "t")` -> exit code, output, errors; the environment is as before afterwards."""
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def run_it(*argv: str, given: Any = app) -> Any:
        code = main(list(argv), app=given)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run_it


class TestGlobalOptions:
    def test_without_a_command_it_shows_help(self, run: Run) -> None:
        done = run(given=None)
        assert done.code == 0
        assert "worker" in done.out

    def test_version(self, run: Run) -> None:
        done = run("--version")
        assert done.code == 0
        assert done.out.startswith("celeriac ")

    @pytest.mark.parametrize(("word", "hint"), [("wroker", "worker"), ("purg", "purge"), ("reslut", "result")])
    def test_a_misspelt_command_is_answered_with_the_nearest(self, run: Run, word: str, hint: str) -> None:
        done = run(word)
        assert done.code == 2
        assert f"Did you mean {hint}" in done.err

    def test_a_command_of_celery_that_is_missing_is_said_to_be(self, run: Run) -> None:
        done = run("inspect", "active")
        assert done.code == 2
        assert "does not have yet" in done.err

    def test_app_after_the_command_is_explained(self, run: Run) -> None:
        done = run("purge", "-A", "proj")
        assert done.code == 2
        assert "before the command" in done.err

    def test_urls_reach_the_app_through_the_environment(self, run: Run) -> None:
        run("-b", "memory://b", "--result-backend", "memory://r", "--config", "conf", "--loader", "l", "queues")
        names = ("BROKER_URL", "RESULT_BACKEND", "CONFIG_MODULE", "LOADER")
        assert [os.environ[f"CELERY_{name}"] for name in names] == ["memory://b", "memory://r", "conf", "l"]

    def test_workdir_is_entered_first(self, run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(os.getcwd())
        assert run("--workdir", str(tmp_path), "queues").code == 0
        assert os.getcwd() == str(tmp_path)
        assert run("--workdir", "/nowhere/at/all", "queues").code == 2

    @pytest.mark.parametrize("name", ["CELERY_CALL_ARGS", "CELERIAC_CALL_ARGS"])
    def test_options_may_come_from_variables(
        self, run: Run, app: FakeApp, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(os.environ, name, "[5]")
        run("call", "t")
        assert app.sent[0][1]["args"] == [5]

    def test_our_variables_win_over_celery_s(self, run: Run, app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environ, "CELERY_CALL_QUEUE", "theirs")
        monkeypatch.setitem(os.environ, "CELERIAC_CALL_QUEUE", "ours")
        run("call", "t")
        assert app.sent[0][1]["queue"] == "ours"


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [(BrokerUnavailable("no broker here"), 69), (ImproperlyConfigured("bad url"), 78), (OSError("disk"), 1)],
    )
    def test_an_error_is_one_line_with_its_exit_code(self, run: Run, app: FakeApp, error: Exception, code: int) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        app.send_task = fail  # type: ignore[method-assign]
        done = run("call", "t")
        assert done.code == code
        assert done.err == f"Error: {type(error).__name__}: {error}\n"

    def test_a_traceback_is_shown_when_asked_for(self, run: Run, app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise BrokerUnavailable("no broker here")

        app.send_task = fail  # type: ignore[method-assign]
        with pytest.raises(BrokerUnavailable):
            run("--traceback", "call", "t")
        monkeypatch.delitem(os.environ, "CELERIAC_TRACEBACK")
        monkeypatch.setitem(os.environ, "CELERIAC_TRACEBACK", "1")
        with pytest.raises(BrokerUnavailable):
            run("call", "t")

    def test_a_bug_keeps_its_traceback(self, run: Run, app: FakeApp) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        app.send_task = fail  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            run("call", "t")


class TestCall:
    def test_the_id_is_printed(self, run: Run, app: FakeApp) -> None:
        done = run("call", "proj.add", "-a", "[1, 2]", "-k", '{"z": 3}', "--countdown", "2.5", "--queue", "fast")
        assert done.code == 0
        assert done.out == "id-1\n"
        name, options = app.sent[0]
        assert name == "proj.add"
        assert (options["args"], options["kwargs"], options["countdown"], options["queue"]) == (
            [1, 2], {"z": 3}, 2.5, "fast",
        )  # fmt: skip

    def test_dates_are_passed_as_dates(self, run: Run, app: FakeApp) -> None:
        run("call", "t", "--eta", "2030-01-01", "--expires", "2030-02-01")
        assert (app.sent[0][1]["eta"], app.sent[0][1]["expires"]) == (datetime(2030, 1, 1), datetime(2030, 2, 1))  # noqa: DTZ001

    def test_json(self, run: Run) -> None:
        assert json.loads(run("call", "t", "--json").out) == {"id": "id-1", "task": "t"}

    def test_bad_arguments_are_usage_errors(self, run: Run) -> None:
        done = run("call", "t", "-a", "{}")
        assert done.code == 2
        assert "not an array" in done.err


class TestResult:
    def test_a_value_is_printed(self, run: Run, app: FakeApp) -> None:
        app.results["a"] = {"x": 1}
        assert run("result", "a").out == "{'x': 1}\n"
        assert json.loads(run("result", "a", "--json").out) == {
            "id": "a", "state": "SUCCESS", "result": {"x": 1}, "error": None,
        }  # fmt: skip

    def test_a_failure_ends_with_1(self, run: Run, app: FakeApp) -> None:
        app.results["a"] = ValueError("boom")
        done = run("result", "a")
        assert (done.code, done.out) == (1, "")
        assert "ValueError: boom" in done.err
        shown = run("result", "a", "--json")
        assert shown.code == 1
        assert json.loads(shown.out)["error"] == {"type": "ValueError", "message": "boom"}

    def test_a_traceback_is_printed_without_waiting(self, run: Run, app: FakeApp) -> None:
        app.results["a"] = ValueError("boom")
        assert run("result", "a", "--traceback").out == "Traceback ...\n"


class TestPurge:
    def test_all_known_queues_are_purged(self, run: Run) -> None:
        assert run("purge", "-f").out == "Purged 4 messages from 2 queues.\n"

    def test_queues_are_chosen_and_excluded(self, run: Run, app: FakeApp) -> None:
        done = run("purge", "-f", "-Q", "celery,nothing", "-X", "nothing", "--json")
        assert json.loads(done.out) == {"purged": 3, "queues": {"celery": 3}}
        assert app.broker.waiting == {"other": 1}

    def test_no_answer_means_no(self, run: Run, app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _: "n")
        assert run("purge").code == 1
        assert app.broker.waiting == {"celery": 3, "other": 1}


class TestQueuesAndDead:
    def test_depths(self, run: Run) -> None:
        assert run("queues").out.splitlines()[1].split() == ["celery", "3", "0", "1"]
        rows = json.loads(run("queues", "--json").out)
        assert rows[1] == {"queue": "other", "ready": 1, "delayed": 0, "held": 1}


class TestOptionsOfTheApp:
    def test_preload_options_are_sent_as_a_signal(self, run: Run, app: FakeApp) -> None:
        app.user_options["preload"].add(CeleryOption(("--colour",), default="red"))
        seen: list[Any] = []

        @signals.user_preload_options.connect(weak=False, dispatch_uid="test")
        def note(options: dict[str, Any], **_: Any) -> None:
            seen.append(options)

        try:
            assert run("queues", "--colour", "blue").code == 0
        finally:
            signals.user_preload_options.disconnect(dispatch_uid="test")
        assert seen == [{"colour": "blue"}]


class TestPlugins:
    def test_a_plugin_is_a_command(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        @click.command()
        def flower() -> None:
            click.echo("in bloom")

        monkeypatch.setattr("celeriac.bin.celery._plugins", lambda: {"flower": SimpleNamespace(load=lambda: flower)})
        assert run("flower").out == "in bloom\n"
        assert "flower" in run("--help").out

    def test_a_broken_plugin_says_why_and_leaves_the_others_alone(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load() -> None:
            raise ImportError("no petals")

        monkeypatch.setattr("celeriac.bin.celery._plugins", lambda: {"flower": SimpleNamespace(load=load)})
        done = run("flower", "--port", "1")
        assert done.code == 1
        assert "no petals" in done.err
        assert run("queues").code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(run: Run, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None, raising=False)
    done = run("completion", shell)
    assert done.code == 0
    assert "_CELERIAC_COMPLETE" in done.out


def test_every_command_has_help(run: Run) -> None:
    context = click.Context(celery)
    for name in celery.list_commands(context):
        command = celery.get_command(context, name)
        assert command is not None
        assert command.help, name
