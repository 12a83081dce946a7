"""Measured figures as Markdown: a row a figure, a column a peer, median (lowest–highest round), ratios to celeriac."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Measured = dict[str, Any]
OURS = "celeriac"
"""The peer that ratios are about."""
RIVAL = "celery"


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Row(NamedTuple):
    """A figure of a job. `better`: 1 when more is better, -1 when less is, 0 when it is neither.

    A heading may name other figures of the job: `{many:,.0f} waiting`.
    """

    job: str
    key: str
    heading: str
    show: Callable[[float], str] = _short
    better: int = -1


ROWS = (
    Row("send", "tasks_per_s", "`delay()` one by one, tasks/s", _thousands, 1),
    Row("send", "producer_cpu_us", "– producer's CPU, µs a task"),
    Row("send", "store_cpu_us", "– server's CPU, µs a task"),
    Row("send", "bytes_per_task", "– bytes in the store a task"),
    Row("bulk", "tasks_per_s", "bulk call, tasks/s", _thousands, 1),
    Row("bulk", "producer_cpu_us", "– producer's CPU, µs a task"),
    Row("bulk", "store_cpu_us", "– server's CPU, µs a task"),
    Row("drain-bare", "tasks_per_s", "drain of no-ops, no results, tasks/s", _thousands, 1),
    Row("drain-bare", "worker_cpu_us", "– worker's CPU, µs a task"),
    Row("drain-bare", "parent_cpu_us", "– of it the parent's", _short, 0),
    Row("drain-bare", "children_cpu_us", "– of it the children's", _short, 0),
    Row("drain-bare", "store_cpu_us", "– server's CPU, µs a task"),
    Row("drain", "tasks_per_s", "drain of no-ops, results stored, tasks/s", _thousands, 1),
    Row("drain", "worker_cpu_us", "– worker's CPU, µs a task"),
    Row("drain", "parent_cpu_us", "– of it the parent's", _short, 0),
    Row("drain", "children_cpu_us", "– of it the children's", _short, 0),
    Row("drain", "store_cpu_us", "– server's CPU, µs a task"),
    Row("drain", "pss_mib", "– worker's memory (PSS) at the end, MiB"),
    Row("backlog", "rate_few_per_s", "drain, no results, {few:,.0f} more waiting, tasks/s", _thousands, 1),
    Row("backlog", "rate_many_per_s", "– {many:,.0f} more waiting", _thousands, 1),
    Row("backlog", "pss_many_mib", "– worker's memory (PSS) then, MiB"),
    Row("latency", "p50_ms", "submit → result, idle worker, p50, ms"),
    Row("latency", "p99_ms", "– p99"),
    Row("latency", "p999_ms", "– p99.9"),
    Row("loaded-latency", "p50_ms", "submit → result, 200 tasks/s beside it, p50, ms"),
    Row("loaded-latency", "p99_ms", "– p99"),
    Row("loaded-latency", "p999_ms", "– p99.9"),
    Row("start", "first_task_ms", "worker start to first task, ms", _thousands),
    Row("start", "pss_mib", "– worker's memory (PSS) then, MiB"),
    Row("start", "idle_cpu_percent", "– worker's CPU without work, % of a core", _short, 0),
    Row("start", "idle_store_cpu_percent", "– server's CPU then, % of a core", _short, 0),
    Row("import", "import_ms", "import, beyond a bare interpreter, ms"),
    Row("import", "first_use_ms", "– with the app class"),
)

ALONE = (
    Row("memory", "tasks", "tasks run by one worker", _thousands),
    Row("memory", "pss_first_mib", "memory (PSS) after the first 50,000, MiB"),
    Row("memory", "pss_last_mib", "after the last, MiB"),
    Row("memory", "own_mib_10_percent", "of it not files, after a tenth, MiB"),
    Row("memory", "own_mib_100_percent", "of it not files, after the last, MiB"),
    Row("memory", "slope_kib_per_100k", "slope of that, KiB for 100,000 tasks"),
    Row("memory", "tasks_per_s", "tasks/s, sent and run", _thousands),
    Row("future", "future_tasks", "tasks due tomorrow", _thousands),
    Row("future", "pss_without_mib", "memory (PSS) without them, MiB"),
    Row("future", "pss_with_mib", "with them, MiB"),
    Row("future", "rate_without_per_s", "tasks/s, sent and run, without them", _thousands),
    Row("future", "rate_with_per_s", "with them", _thousands),
    Row("future", "worker_cpu_without_us", "worker's CPU without them, µs a task"),
    Row("future", "worker_cpu_with_us", "with them"),
    Row("future", "first_task_ms", "worker start to first task with them, ms", _thousands),
    Row("future", "idle_cpu_percent", "CPU of the idle worker with them, % of a core"),
)


def value(measured: Measured, peer: str, row: Row) -> float | None:
    """The median of a figure; None where there is none."""
    figures = measured["jobs"].get(row.job, {}).get(peer, {})
    found: float | None = figures.get("spread", {}).get(row.key, {}).get("median")
    return found


def heading(measured: Measured, row: Row) -> str:
    """A row's heading with the figures that it names."""
    for figures in measured["jobs"].get(row.job, {}).values():
        if "spread" in figures:
            return row.heading.format(**{key: found["median"] for key, found in figures["spread"].items()})
    return row.heading


def _cell(measured: Measured, peer: str, row: Row) -> str:
    if "unavailable" in measured["peers"][peer]:
        return "not available"
    figures = measured["jobs"][row.job].get(peer)
    if figures and "error" in figures:
        return "failed"
    if not figures or row.key not in figures["spread"]:
        return "–"
    spread = figures["spread"][row.key]
    text = row.show(spread["median"])
    if len(figures["rounds"]) > 1:
        text += f" <small>({row.show(spread['low'])}–{row.show(spread['high'])})</small>"
    return text


def times_better(measured: Measured, row: Row, others: list[str]) -> float | None:
    """How many times better celeriac does than the best of `others`; below 1: it does worse."""
    ours = value(measured, OURS, row)
    theirs = [found for other in others if (found := value(measured, other, row)) is not None]
    if not ours or ours < 0 or not theirs or not row.better or min(theirs) <= 0:  # a difference may be noise
        return None
    return ours / max(theirs) if row.better > 0 else min(theirs) / ours


def _ratio(found: float | None) -> str:
    if found is None:
        return "–"
    text = f"{found:,.0f}" if found >= 10 else f"{found:.2g}"
    return f"**{text}**" if found < 1 else text


def _rivals(measured: Measured) -> list[str]:
    return [name for name in measured["peers"] if not name.startswith(OURS)]


def _has(measured: Measured, row: Row) -> bool:
    return any(value(measured, peer, row) is not None for peer in measured["peers"])


def compared(measured: Measured) -> str:
    """Jobs that several peers do; with ratios when celeriac is one of them."""
    jobs = measured["jobs"]
    peers = list(measured["peers"])
    rows = [row for row in ROWS if jobs.get(row.job) and _has(measured, row)]
    if not rows:
        return ""
    heads = list(peers)
    rivals = _rivals(measured)
    best, celery = bool(rivals and OURS in peers), RIVAL in peers and OURS in peers
    heads += ["× Celery"] * celery + ["× best peer"] * best
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for row in rows:
        cells = [_cell(measured, peer, row) for peer in peers]
        cells += [_ratio(times_better(measured, row, [RIVAL]))] * celery
        cells += [_ratio(times_better(measured, row, rivals))] * best
        lines.append(f"| {heading(measured, row)} | " + " | ".join(cells) + " |")
    if best:
        lines += [
            "",
            "×: how many times better celeriac does (more a second, or less of what is spent); **below 1: worse**.",
        ]
    return "\n".join(lines)


def losses(measured: Measured) -> str:
    """What celeriac does worse than some peer, in words."""
    rivals = _rivals(measured)
    found = []
    above = ""
    for row in ROWS:
        words = heading(measured, row)
        above = above if words.startswith("– ") else words
        ratio = times_better(measured, row, rivals)
        if ratio is not None and ratio < 1:
            name = words if words == above else f"{above} {words}"
            best = min(rivals, key=lambda other: _rank(measured, other, row))
            found.append(f"- {name}: {ratio:.2g} of {best}'s")
    return "\n".join(["What celeriac loses:", "", *found]) if found else ""


def _rank(measured: Measured, peer: str, row: Row) -> float:
    found = value(measured, peer, row)
    return float("inf") if found is None else -row.better * found


def alone(measured: Measured) -> str:
    """Jobs that only celeriac does."""
    rows = [row for row in ALONE if value(measured, OURS, row) is not None]
    if not rows:
        return ""
    lines = ["| celeriac | |", "|---|---:|"]
    lines += [f"| {row.heading} | {_cell(measured, OURS, row)} |" for row in rows]
    return "\n".join(lines)


def setups(measured: Measured) -> str:
    """Who took part, in which version, set up how."""
    lines = []
    for name, about in measured["peers"].items():
        versions = ", ".join(f"{what} {version}" for what, version in about["versions"].items())
        missing = f" – **not available**: {about['unavailable']}" if "unavailable" in about else ""
        lines.append(f"- **{name}**: {about['setup']} ({versions}){missing}")
    if store := measured.get("store"):
        names = ", ".join(f"{what} {version}" for what, version in store.items())
        lines.append(f'- all on {names} of the run\'s own, in memory only (`--save ""`), on the same cores')
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
    parts = [compared(measured), losses(measured), alone(measured), setups(measured), noise(measured)]
    return "\n\n".join(part for part in parts if part)
