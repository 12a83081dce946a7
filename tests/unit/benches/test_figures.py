"""The benches' own sums: a wrong percentile would be believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benches import crates, record, report
from benches.system import table
from benches.system.counter import Counter
from benches.system.jobs import JOBS
from benches.system.peers import PEERS
from benches.system.stats import percentile, slope, spread


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


def test_table_has_median_spread_and_failures() -> None:
    text = table.whole(_measured())
    assert "| `delay()` one by one, tasks/s | 1,000 <small>(900–1,100)</small> | failed |" in text
    assert "Others used 0.50 cores on average" in text


def test_rows_name_jobs_that_exist() -> None:
    assert {row[0] for row in (*table._ROWS, *table._ALONE)} <= set(JOBS)
    assert {job for peer in PEERS.values() for job in peer.jobs} <= set(JOBS)


def test_a_part_is_not_taken_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert record.latest("system") is None
    whole = record.write("system", _measured())
    later = tmp_path / whole.name.replace("-system-", "-system-part-").replace("20", "21", 1)
    later.write_text(json.dumps({"kind": "system-part"}))
    found = record.latest("system")
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
