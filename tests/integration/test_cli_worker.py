"""A worker as a process: what it says, what signals do to it, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from celeriac import Celery
from tests.support.cli import Cli
from tests.support.journal import Journal
from tests.support.waiting import wait_until
from tests.support.worker import Worker, environment

Start = Callable[..., Worker]

POOLS = ["threads", "solo", "prefork"]


def depths(app: Celery) -> tuple[int, int, int]:
    """Ready, delayed, held in the queue `celery`."""
    rows = {row[0]: row[1:] for row in app.broker.depths()}
    return rows.get("celery", (0, 0, 0))


def said(worker: Worker, text: str, timeout: float = 10) -> None:
    wait_until(lambda: text in worker.output(), timeout=timeout, what=f"{text!r} in the worker's output")


@pytest.fixture
def cli(broker_url: str, tmp_path: Path) -> Cli:
    return Cli(broker_url, tmp_path)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Does not exist until the test touches it; `t.start_then_end` waits for it."""
    return tmp_path / "gate"


class TestFace:
    def test_the_banner_says_what_runs_where(self, start_worker: Start, broker_url: str) -> None:
        worker = start_worker(args=["-Q", "celery,mail"])
        said(worker, "worker0@test ready.")
        text = worker.output()
        for part in ("celeriac v", broker_url, "2 (threads)", ".> celery", ".> mail", "[tasks]", ". t.add"):
            assert part in text, part
        assert "celery.backend_cleanup" not in text
        assert "no broker is configured" not in text

    def test_quiet_and_the_default_level_say_nothing(self, cli: Cli, start_worker: Start, app: Celery) -> None:
        worker = start_worker(args=["-l", "WARNING"], env={"CELERIAC_QUIET": "1"})
        assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
        assert worker.stop() == 0
        lines = [line for line in worker.output().splitlines() if line and "privileges of root" not in line]
        assert lines == ["worker: Warm shutdown (MainProcess)"]

    def test_without_a_broker_it_names_the_file(self, tmp_path: Path, start_worker: Start) -> None:
        (tmp_path / "tiny.py").write_text(
            "import os\nfrom pathlib import Path\n"
            "from celeriac import Celery\nfrom celeriac.signals import worker_ready\n"
            "app = Celery('tiny')\n"
            "@worker_ready.connect(weak=False)\n"
            "def tell(**_):\n    Path(os.environ['T_READY']).touch()\n"
        )
        worker = start_worker(app="tiny")
        said(worker, "sqlite:///celeriac.db")
        assert "no broker is configured" in worker.output()
        assert (tmp_path / "celeriac.db").exists()

    def test_options_without_effect_are_named_in_one_line(self, start_worker: Start) -> None:
        worker = start_worker(args=["--autoscale", "4,1", "-B", "-E", "--time-limit", "5"])
        said(worker, "No effect in this version")
        line = next(line for line in worker.output().splitlines() if "No effect" in line)
        assert line.endswith("celeriac: --autoscale, --beat, --task-events, --time-limit")

    def test_the_log_goes_to_a_file_of_the_node(self, start_worker: Start, app: Celery, tmp_path: Path) -> None:
        worker = start_worker(args=["-f", str(tmp_path / "%n%I.log")])
        assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
        assert worker.stop() == 0
        log = (tmp_path / "worker0.log").read_text()
        assert "worker0@test ready." in log
        assert "Task t.add" in log
        assert "\033[" not in log

    def test_each_process_of_the_pool_has_its_name_and_its_log(
        self, start_worker: Start, app: Celery, tmp_path: Path
    ) -> None:
        worker = start_worker(pool="prefork", concurrency=1, args=["-f", str(tmp_path / "%n%I.log")])
        assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
        assert worker.stop() == 0
        assert "worker0@test ready." in (tmp_path / "worker0.log").read_text()
        log = (tmp_path / "worker0-1.log").read_text()
        assert "INFO/ForkPoolWorker-1] Task t.add" in log
        assert log.count("succeeded") == 1

    def test_processes_are_what_a_worker_has_if_nothing_is_said(self, start_worker: Start) -> None:
        worker = start_worker(pool="default")
        said(worker, "2 (prefork)" if sys.platform == "linux" else "2 (threads)")

    def test_settings_after_two_dashes_are_used(self, start_worker: Start, app: Celery) -> None:
        worker = start_worker(concurrency=0, args=["--", ".concurrency=3"])
        said(worker, "3 (threads)")

    def test_what_a_task_prints_is_logged(self, start_worker: Start, app: Celery, tmp_path: Path) -> None:
        (tmp_path / "loud.py").write_text(
            "import sys\nfrom tests.support.apps.main import app\n"
            "@app.task(name='t.print')\n"
            "def show():\n    print('to the world')\n    print('in trouble', file=sys.stderr)\n"
        )
        worker = start_worker(app="loud:app")
        app.send_task("t.print").get(timeout=10)
        said(worker, "WARNING/MainProcess] to the world")
        said(worker, "WARNING/MainProcess] in trouble")

    @pytest.mark.parametrize("pool", ["threads", "solo"])  # elsewhere two processes write, each in its own time
    def test_the_log_tells_of_each_task_in_order(self, start_worker: Start, app: Celery, pool: str) -> None:
        worker = start_worker(args=["-P", pool, "-c", "2" if pool == "threads" else "1"])
        sent = [app.send_task("t.add", args=(1, number)) for number in range(20)]
        assert [result.get(timeout=10) for result in sent] == list(range(1, 21))
        worker.stop()
        text = worker.output()
        for result in sent:
            assert text.count(f"t.add[{result.id}]") == 2, text
            assert text.index(f"[{result.id}] received") < text.index(f"[{result.id}] succeeded")


class TestSelection:
    def test_queues_are_excluded_and_modules_included(
        self, start_worker: Start, app: Celery, journal: Journal, tmp_path: Path
    ) -> None:
        (tmp_path / "more.py").write_text(
            "from tests.support.apps.main import app\n@app.task(name='t.more')\ndef more():\n    return 'more'\n"
        )
        conf: dict[str, object] = {"task_queues": {"celery": {}, "left": {}, "out": {}}}
        start_worker(args=["-X", "out", "-I", "more"], env={"T_CONF": json.dumps(conf)})
        app.send_task("t.note", args=(str(journal), "never"), queue="out")
        assert app.send_task("t.more", queue="left").get(timeout=10) == "more"
        assert journal.lines() == []
        assert {row[0]: row[1] for row in app.broker.depths()}["out"] == 1

    def test_purge_empties_the_chosen_queues_first(self, start_worker: Start, app: Celery, journal: Journal) -> None:
        for name in ("celery", "other"):
            app.send_task("t.note", args=(str(journal), name), queue=name)
        start_worker(args=["--purge", "-Q", "celery"])
        assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
        assert journal.lines() == []
        assert {row[0]: row[1] for row in app.broker.depths()}["other"] == 1

    def test_a_node_may_have_a_queue_of_its_own(self, start_worker: Start, app: Celery) -> None:
        from celeriac.utils import worker_direct

        start_worker(args=["-Q", "other"], env={"T_CONF": json.dumps({"worker_direct": True})})
        sent = app.tasks["t.add"].apply_async((1, 2), queue=worker_direct("worker0@test"))
        assert sent.get(timeout=10) == 3

    def test_an_unknown_queue_is_refused_if_none_may_be_made_up(self, cli: Cli) -> None:
        done = cli("worker", "-Q", "typo", env={"T_CONF": json.dumps({"task_create_missing_queues": False})})
        assert done.returncode == 78
        assert "'typo'" in done.stderr


@pytest.mark.parametrize("pool", POOLS)
class TestShutdown:
    def test_term_waits_for_the_running_task_and_ends_with_0(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path, pool: str
    ) -> None:
        worker = start_worker(pool=pool, concurrency=1)
        first = app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        for number in range(5):
            app.send_task("t.note", args=(str(journal), f"later {number}"))
        worker.kill(signal.SIGTERM)
        said(worker, "worker: Warm shutdown (MainProcess)")
        assert worker.returncode is None
        gate.touch()
        assert worker.wait(10) == 0
        assert journal.lines() == ["start a", "end a"]
        assert first.get(timeout=5) == "a"
        assert depths(app) == (5, 0, 0)

    def test_int_twice_gives_up_the_task_which_runs_again_elsewhere(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path, pool: str
    ) -> None:
        worker = start_worker(pool=pool, concurrency=1)
        app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGINT)
        said(worker, "Warm shutdown")
        worker.kill(signal.SIGINT)
        said(worker, "Cold shutdown")
        assert worker.wait(10) == 1
        assert journal.lines() == ["start a"]
        assert depths(app) == (1, 0, 0)
        gate.touch()
        start_worker(pool=pool)
        assert journal.wait_for(lines=3, timeout=10) == ["start a", "start a", "end a"]

    def test_quit_is_cold_at_once(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path, pool: str
    ) -> None:
        worker = start_worker(pool=pool, concurrency=1)
        app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGQUIT)
        assert worker.wait(10) == 1
        assert "Warm" not in worker.output()
        assert depths(app) == (1, 0, 0)

    def test_int_on_an_idle_worker_ends_with_1(self, start_worker: Start, pool: str) -> None:
        worker = start_worker(pool=pool)
        worker.kill(signal.SIGINT)
        assert worker.wait(10) == 1

    def test_a_soft_shutdown_lets_tasks_end_in_time(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path, pool: str
    ) -> None:
        worker = start_worker(
            pool=pool, concurrency=1, env={"T_CONF": json.dumps({"worker_soft_shutdown_timeout": 30.0})}
        )
        app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGQUIT)
        said(worker, "Soft shutdown")
        gate.touch()
        assert worker.wait(10) == 1
        assert journal.lines() == ["start a", "end a"]
        assert depths(app) == (0, 0, 0)

    def test_a_soft_shutdown_turns_cold_when_its_time_is_up(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path, pool: str
    ) -> None:
        worker = start_worker(
            pool=pool, concurrency=1, env={"T_CONF": json.dumps({"worker_soft_shutdown_timeout": 0.2})}
        )
        app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGQUIT)
        assert worker.wait(10) == 1
        assert journal.lines() == ["start a"]
        assert depths(app) == (1, 0, 0)

    def test_term_may_be_remapped_to_quit(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path, pool: str
    ) -> None:
        worker = start_worker(pool=pool, concurrency=1, env={"REMAP_SIGTERM": "SIGQUIT"})
        app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGTERM)
        said(worker, "Cold shutdown")
        assert worker.wait(10) == 1
        assert depths(app) == (1, 0, 0)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("task", ["t.note", "t.note_late"])
def test_a_shutdown_under_load_accounts_for_every_task(
    start_worker: Start, app: Celery, journal: Journal, pool: str, number: int, task: str
) -> None:
    """Warm: each task has run once or waits. Cold: a late-acked one may run again, an early-acked one may be lost."""
    total = 1500
    app.tasks[task].apply_many([((str(journal), str(index)), {}) for index in range(total)])
    worker = start_worker(pool=pool, concurrency=2, args=["-l", "WARNING"])
    journal.wait_for(lines=100, timeout=20)
    worker.kill(number)
    assert worker.wait(20) == (0 if number == signal.SIGTERM else 1)
    counts = journal.counts()
    ready, delayed, held = depths(app)
    assert (delayed, held, set(counts.values())) == (0, 0, {1})
    if number == signal.SIGTERM:
        assert len(counts) + ready == total
    elif task == "t.note_late":
        assert total <= len(counts) + ready <= total + 2  # as many as run at once
    else:
        assert total - 2 <= len(counts) + ready <= total


class TestOtherSignals:
    def test_hup_runs_the_same_command_again(self, start_worker: Start, app: Celery) -> None:
        worker = start_worker()
        before = worker.pid
        worker.ready.unlink()
        worker.kill(signal.SIGHUP)
        worker.wait_ready()
        assert worker.pid == before
        assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
        assert worker.output().count("[queues]") == 2

    def test_usr1_dumps_the_stacks(self, start_worker: Start) -> None:
        worker = start_worker()
        worker.kill(signal.SIGUSR1)
        said(worker, "most recent call first")
        assert worker.stop() == 0

    def test_a_killed_worker_s_task_runs_again(
        self, start_worker: Start, app: Celery, journal: Journal, gate: Path
    ) -> None:
        worker = start_worker(concurrency=1)
        sent = app.send_task("t.start_then_end", args=(str(journal), "a", str(gate)))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGKILL)
        worker.wait(5)
        gate.touch()
        start_worker()
        assert sent.get(timeout=20) == "a"
        assert journal.lines() == ["start a", "start a", "end a"]


class TestEarlyAck:
    def test_a_task_given_up_after_its_ack_is_stored_as_retry(
        self, start_worker: Start, app: Celery, journal: Journal, tmp_path: Path
    ) -> None:
        (tmp_path / "early.py").write_text(
            "import time\nfrom tests.support.apps.main import app\nfrom tests.support.journal import note\n"
            "@app.task(name='t.hang')\n"
            "def hang(path):\n    note(path, 'start')\n    time.sleep(60)\n"
        )
        worker = start_worker(app="early:app", concurrency=1)
        sent = app.send_task("t.hang", args=(str(journal),))
        journal.wait_for(lines=1, timeout=10)
        worker.kill(signal.SIGQUIT)
        assert worker.wait(10) == 1
        assert sent.state == "RETRY"
        assert depths(app) == (0, 0, 0)


class TestPidfileAndDetach:
    def test_a_pidfile_keeps_a_second_worker_out(self, start_worker: Start, cli: Cli, tmp_path: Path) -> None:
        pidfile = tmp_path / "w.pid"
        worker = start_worker(args=["--pidfile", str(pidfile)])
        assert pidfile.read_text() == f"{worker.pid}\n"
        second = cli("worker", "--pidfile", str(pidfile))
        assert second.returncode == 73
        assert str(worker.pid) in second.stderr
        assert worker.stop() == 0
        assert not pidfile.exists()

    def test_a_detached_worker_lives_on_its_own(self, app: Celery, broker_url: str, tmp_path: Path, cli: Cli) -> None:
        pidfile, log, ready = tmp_path / "d.pid", tmp_path / "d.log", tmp_path / "d.ready"
        (tmp_path / "deep").mkdir()
        started = cli(
            "--workdir", "deep", "worker", "-D", "-P", "threads", "-c", "1", "-l", "INFO", "-n", "d@test",
            "--pidfile", str(pidfile), "-f", str(log), env={"T_READY": str(ready), "CELERY_WORKER_DETACH": "1"},
        )  # fmt: skip
        assert (started.returncode, started.stdout) == (0, ""), started.stderr
        wait_until(ready.exists, timeout=20, what="ready worker")
        pid = int(pidfile.read_text())
        try:
            assert os.getsid(pid) != os.getsid(0)
            assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path / "deep")
            assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not pidfile.exists(), timeout=10, what="removed pidfile")
        finally:
            if pidfile.exists():
                os.kill(pid, signal.SIGKILL)
        assert "d@test ready." in log.read_text()

    def test_an_unwritable_log_file_is_said_before_detaching(self, cli: Cli) -> None:
        done = cli("worker", "-D", "-f", "/nowhere/at/all.log")
        assert done.returncode == 1
        assert "/nowhere/at/all.log" in done.stderr


def test_two_apps_share_one_file(
    broker_url: str, tmp_path: Path, start_worker: Start, app: Celery, journal: Journal
) -> None:
    """Each app's worker consumes its own queue; neither takes or loses the other's."""
    (tmp_path / "second.py").write_text(
        "from tests.support.apps.main import app\nfrom tests.support.journal import note\n"
        "@app.task(name='s.mine')\n"
        "def mine(path):\n    note(path, 'mine')\n    return 'second'\n"
    )
    start_worker(args=["-Q", "celery"])
    start_worker(app="second:app", args=["-Q", "second"])
    other = app.send_task("s.mine", args=(str(journal),), queue="second")
    own = app.send_task("t.add", args=(3, 4))
    assert (other.get(timeout=10), own.get(timeout=10)) == ("second", 7)
    assert journal.lines() == ["mine"]


def test_root_with_pickle_is_refused(cli: Cli) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    done = cli("worker", "-c", "1", env={"T_CONF": json.dumps({"accept_content": ["pickle", "json"]})})
    assert done.returncode == 1
    assert "C_FORCE_ROOT" in done.stderr


def test_worker_main_runs_from_a_program(app: Celery, broker_url: str, tmp_path: Path, journal: Journal) -> None:
    ready = tmp_path / "ready"
    program = "import sys; from tests.support.apps.main import app; sys.exit(app.worker_main(['worker', '-c', '1']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(broker_url, broker_url, {"T_READY": str(ready)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(ready.exists, timeout=20, what="ready worker")
        assert app.send_task("t.add", args=(1, 2)).get(timeout=10) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
