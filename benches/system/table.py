"""Measured figures as Markdown: a row a figure, a column a peer; median (lowest–highest round)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Measured = dict[str, Any]


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_ROWS: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("send", "tasks_per_s", "`delay()` one by one, tasks/s", _thousands),
    ("send", "producer_cpu_us", "– producer's CPU, µs a task", _short),
    ("bulk", "tasks_per_s", "bulk call, tasks/s", _thousands),
    ("bulk", "producer_cpu_us", "– producer's CPU, µs a task", _short),
    ("drain", "tasks_per_s", "drain of no-ops, results stored, tasks/s", _thousands),
    ("drain", "worker_cpu_us", "– worker's CPU, µs a task", _short),
    ("drain", "pss_mib", "– worker's memory (PSS) at the end, MiB", _short),
    ("latency", "p50_ms", "submit → result, idle worker, p50, ms", _short),
    ("latency", "p99_ms", "– p99", _short),
    ("latency", "p999_ms", "– p99.9", _short),
    ("loaded-latency", "p50_ms", "submit → result, 200 tasks/s beside it, p50, ms", _short),
    ("loaded-latency", "p99_ms", "– p99", _short),
    ("loaded-latency", "p999_ms", "– p99.9", _short),
    ("start", "first_task_ms", "worker start to first task, ms", _thousands),
    ("start", "pss_mib", "– worker's memory (PSS) then, MiB", _short),
    ("import", "import_ms", "import, beyond a bare interpreter, ms", _short),
    ("import", "first_use_ms", "– with the app class", _short),
)

_ALONE: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("memory", "tasks", "tasks run by one worker", _thousands),
    ("memory", "pss_first_mib", "memory (PSS) after the first 50,000, MiB", _short),
    ("memory", "pss_last_mib", "after the last, MiB", _short),
    ("memory", "own_mib_10_percent", "of it not files, after a tenth, MiB", _short),
    ("memory", "own_mib_100_percent", "of it not files, after the last, MiB", _short),
    ("memory", "slope_kib_per_100k", "slope of that, KiB for 100,000 tasks", _short),
    ("memory", "tasks_per_s", "tasks/s, sent and run", _thousands),
    ("future", "future_tasks", "tasks due tomorrow, in the file", _thousands),
    ("future", "pss_without_mib", "memory (PSS) without them, MiB", _short),
    ("future", "pss_with_mib", "with them, MiB", _short),
    ("future", "rate_without_per_s", "tasks/s, sent and run, without them", _thousands),
    ("future", "rate_with_per_s", "with them", _thousands),
    ("future", "worker_cpu_without_us", "worker's CPU without them, µs a task", _short),
    ("future", "worker_cpu_with_us", "with them", _short),
    ("future", "first_task_ms", "worker start to first task with them, ms", _thousands),
    ("future", "idle_cpu_percent", "CPU of the idle worker with them, % of a core", _short),
)


def _cell(figures: Measured | None, key: str, show: Callable[[float], str]) -> str:
    if figures is None:
        return "–"
    if "error" in figures:
        return "failed"
    spread = figures["spread"][key]
    text = show(spread["median"])
    if len(figures["rounds"]) > 1:
        text += f" <small>({show(spread['low'])}–{show(spread['high'])})</small>"
    return text


def compared(measured: Measured) -> str:
    """Jobs that several peers do."""
    jobs = measured["jobs"]
    peers = [name for name in measured["peers"] if any(name in jobs.get(row[0], {}) for row in _ROWS)]
    if not peers:
        return ""
    lines = ["| | " + " | ".join(peers) + " |", "|---|" + "---:|" * len(peers)]
    for job, key, heading, show in _ROWS:
        if jobs.get(job):
            cells = (_cell(jobs[job].get(peer), key, show) for peer in peers)
            lines.append(f"| {heading} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def alone(measured: Measured) -> str:
    """Jobs that only celeriac does."""
    jobs = measured["jobs"]
    rows = [row for row in _ALONE if jobs.get(row[0], {}).get("celeriac")]
    if not rows:
        return ""
    lines = ["| celeriac | |", "|---|---:|"]
    lines += [f"| {heading} | {_cell(jobs[job]['celeriac'], key, show)} |" for job, key, heading, show in rows]
    return "\n".join(lines)


def setups(measured: Measured) -> str:
    """Who took part, in which version, set up how."""
    lines = []
    for name, about in measured["peers"].items():
        versions = ", ".join(f"{what} {version}" for what, version in about["versions"].items())
        lines.append(f"- **{name}**: {about['setup']} ({versions})")
    return "\n".join(lines)


def noise(measured: Measured) -> str:
    """The most that other processes of the machine used during a round."""
    used = [
        turn["others_cores"]
        for job in measured["jobs"].values()
        for figures in job.values()
        for turn in figures.get("rounds", ())
    ]
    if not used:
        return ""
    return f"Others used {sum(used) / len(used):.2f} cores on average, {max(used):.2f} at most, while it ran."


def whole(measured: Measured) -> str:
    """All of it."""
    parts = [compared(measured), alone(measured), setups(measured), noise(measured)]
    return "\n\n".join(part for part in parts if part)
