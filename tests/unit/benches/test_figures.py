"""The benches' own sums: a wrong percentile would be believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benches import crates, record, report
from benches.system import __main__ as main
from benches.system import plot, table
from benches.system.counter import Counter
from benches.system.jobs import JOBS
from benches.system.jobs.throughput import MOST, paced
from benches.system.peers import PEERS, Peer
from benches.system.processes import Cpu
from benches.system.stage import Scope
from benches.system.stats import percentile, slope, spread
from benches.system.stores import Store


def test_percentiles_are_values_that_occurred() -> None:
    values = list(range(1000, 0, -1))
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [500, 990, 999, 1000]
    assert percentile([7.0], 0.99) == 7.0


def test_slope_and_spread() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(1, 4)]) == 0
    assert spread([3, 1, 2]) == {"median": 2, "low": 1, "high": 3}


def test_counter_sees_what_another_handle_hits(tmp_path: Path) -> None:
    counter = Counter(tmp_path / "counter", 10)
    other = Counter(tmp_path / "counter")
    for number in (1, 3, 3):
        assert other.hit(number) == number
    assert (counter.done(), counter.twice(), counter.done(0, 3)) == (2, 1, 1)
    assert counter.ran(3)
    assert not counter.ran(2)
    counter.clear()
    assert other.done() == 0
    for _ in range(300):  # tasks that are only there to wait all have one number
        counter.hit(7)
    assert counter.twice() == 1


def test_a_peer_gets_as_many_tasks_as_it_does_in_the_time() -> None:
    """The first guess is far too low, the second is right."""
    given: list[int] = []

    class Guessed(Peer):
        expected = {"drain": 100}

    def run(count: int) -> dict[str, float]:
        given.append(count)
        return {"tasks_per_s": 5000.0, "seconds": count / 5000}

    peer = Guessed()
    assert paced(peer, Scope(Store(), seconds=2.0), "drain", run)["seconds"] == 2.0
    assert given == [200, 10_000]
    paced(peer, Scope(Store(), seconds=2.0), "drain", run)
    assert given == [200, 10_000, 10_000]
    peer.paces["drain"] = 1e9
    paced(peer, Scope(Store(), seconds=2.0), "drain", run)
    assert given[-1] == MOST


def test_cpu_is_told_apart_by_who_used_it() -> None:
    used = Cpu(3.0, 5.0, 7.0).since(Cpu(1.0, 2.0, 3.0))
    assert (used, used.worker) == (Cpu(2.0, 3.0, 4.0), 5.0)


def _measured() -> dict[str, Any]:
    turns = [{"tasks_per_s": rate, "producer_cpu_us": 10.0, "others_cores": 0.5} for rate in (900.0, 1000.0, 1100.0)]
    figures = {"rounds": turns, "spread": {key: spread([turn[key] for turn in turns]) for key in turns[0]}}
    return {
        "peers": {
            "celeriac": {"setup": "as it comes", "versions": {"celeriac": "1"}},
            "other": {"setup": "", "versions": {}},
        },
        "jobs": {"send": {"celeriac": figures, "other": {"error": "it broke", "rounds": []}}},
    }


def _figures(**values: float) -> dict[str, Any]:
    return {
        "rounds": [{**values, "others_cores": 0.0}],
        "spread": {key: spread([value]) for key, value in values.items()},
    }


def _beside_others() -> dict[str, Any]:
    """celeriac is four times as fast as Celery and half as fast as rq, which needs more memory; huey cannot run."""
    about = {"setup": "", "versions": {}}
    rates = {"celeriac": 4000.0, "celery": 1000.0, "rq": 8000.0}
    return {
        "peers": dict.fromkeys(rates, about) | {"huey": {**about, "unavailable": "no <such> pool"}},
        "jobs": {
            "drain": {
                name: _figures(tasks_per_s=rate, pss_mib=rate / 100, worker_cpu_us=5.0, parent_cpu_us=2.0)
                for name, rate in rates.items()
            },
            "latency": {name: _figures(p50_ms=1000 / rate, p99_ms=2.0, p999_ms=9.0) for name, rate in rates.items()},
            "backlog": {"celeriac": _figures(few=500, many=50_000, rate_few_per_s=9.0, rate_many_per_s=8.0)},
        },
    }


def test_ratios_say_what_celeriac_wins_and_loses() -> None:
    measured = _beside_others()
    text = table.whole(measured)
    assert "| | celeriac | celery | rq | huey | × Celery | × best peer |" in text
    assert "| drain of no-ops, results stored, tasks/s | 4,000 | 1,000 | 8,000 | not available | 4 | **0.5** |" in text
    assert "| – worker's memory (PSS) at the end, MiB | 40 | 10 | 80 | not available | **0.25** | **0.25** |" in text
    assert "| – of it the parent's | 2 | 2 | 2 | not available | – | – |" in text
    assert "- drain of no-ops, results stored, tasks/s: 0.5 of rq's" in text
    assert (
        "- drain of no-ops, results stored, tasks/s – worker's memory (PSS) at the end, MiB: 0.25 of celery's" in text
    )
    assert "**not available**: no <such> pool" in text


def test_reason_is_the_error_at_the_end_of_a_log() -> None:
    log = "x: worker ended with 1\nTraceback:\n  File a\na.b.ImproperlyConfigured: no pool 'p'\nhint: pip install x\n"
    assert main.reason(log) == "a.b.ImproperlyConfigured: no pool 'p'"
    assert main.reason("x: 0 of 3, no more in 20 s\n") == "x: 0 of 3, no more in 20 s"


def test_headings_say_how_much_was_really_waiting() -> None:
    assert "| – 50,000 more waiting | 8 |" in table.compared(_beside_others())


def test_picture_is_well_formed_and_has_who_was_measured() -> None:
    picture = plot.svg(_beside_others())
    words = [element.text for element in ET.fromstring(picture).iter() if element.text]
    assert {"celeriac", "celery", "rq", "8,000", "0.25 – 2"} <= set(words)
    assert "huey" not in words
    assert plot.svg({"peers": {"celeriac": {}}, "jobs": {}}) == ""


def test_table_has_median_spread_and_failures() -> None:
    text = table.whole(_measured())
    assert "| `delay()` one by one, tasks/s | 1,000 <small>(900–1,100)</small> | failed |" in text
    assert "Others used 0.50 cores on average" in text


def test_rows_name_jobs_that_exist() -> None:
    assert {row.job for row in (*table.ROWS, *table.ALONE)} <= set(JOBS)
    peers = [peer for known in PEERS.values() for peer in known.values()]
    assert {job for peer in peers for job in peer.jobs} <= set(JOBS)
    assert all(peer.imports[0] for peer in peers if "import" in peer.jobs)


def test_a_part_is_not_taken_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert record.latest("system-redis") is None
    whole = record.write("system-redis", _measured())
    later = tmp_path / whole.name.replace("-system-redis-", "-system-redis-part-").replace("20", "21", 1)
    later.write_text(json.dumps({"kind": "system-redis-part"}))
    found = record.latest("system-redis")
    assert found is not None
    assert found["file"] == whole.name
    assert whole.name in report.page()


def test_only_new_estimates_are_read(tmp_path: Path) -> None:
    for name, age in (("old", 100), ("new", 0)):
        folder = tmp_path / "group" / name / "new"
        folder.mkdir(parents=True)
        (folder / "benchmark.json").write_text(json.dumps({"full_id": f"group/{name}"}))
        (folder / "estimates.json").write_text(json.dumps({"median": {"point_estimate": 5.0}}))
        os.utime(folder / "estimates.json", (1000 - age, 1000 - age))
    assert crates._medians(tmp_path, since=950) == {"group/new": {"median_ns": 5.0}}
    assert crates._printed('text\n{"measure": "drain"}\n') == [{"measure": "drain"}]


def test_a_program_may_print_words_among_its_figures() -> None:
    measured = {
        "criterion": {},
        "programs": [{"store": "file", "measure": "publish", "count": 20_000, "ids": "random"}],
    }
    assert "| file | publish | count 20,000, ids random |" in report._crates(measured)
