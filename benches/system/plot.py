"""The comparison as a picture: rates, latencies and CPU by peer, as hand-made SVG; light, readable in print."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from benches.system.table import OURS, RIVAL, Measured, Row, value

_WIDTH, _LEFT, _RIGHT = 860, 150, 90
_BAR, _GAP, _HEAD = 15, 5, 26
_OTHERS = "#b4bcc8"
_COLORS = {OURS: "#0f766e", "celeriac-threads": "#5bb5a8", RIVAL: "#64748b"}
_PARTS = (("parent_cpu_us", "worker's parent", "#334155"), ("children_cpu_us", "its children", "#94a3b8"))
_SERVER = ("store_cpu_us", "redis-server", "#d97706")
_INK, _FAINT, _RULE = "#1f2937", "#6b7280", "#e5e7eb"

_RATES = (
    ("send", "tasks_per_s", "delay() one by one"),
    ("bulk", "tasks_per_s", "bulk call"),
    ("drain-bare", "tasks_per_s", "drain of no-ops, no results"),
    ("drain", "tasks_per_s", "drain of no-ops, results stored"),
)
_LATENCIES = (("latency", "idle worker"), ("loaded-latency", "200 tasks/s beside it"))
_PERCENTILES = ("p50_ms", "p99_ms", "p999_ms")


def _figure(measured: Measured, peer: str, job: str, key: str) -> float | None:
    return value(measured, peer, Row(job, key, ""))


def _text(x: float, y: float, words: str, **style: Any) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{what}"' for name, what in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(words)}</text>'


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _log(low: float, high: float) -> Callable[[float], float]:
    """From a value to x, powers of ten equally far apart."""
    width = _WIDTH - _LEFT - _RIGHT
    return lambda number: _LEFT + width * math.log10(max(number, low) / low) / math.log10(high / low)


def _decades(low: float, high: float) -> Iterator[float]:
    power = math.ceil(math.log10(low) - 1e-9)
    while 10**power <= high * 1.0001:
        yield 10.0**power
        power += 1


class _Sheet:
    """What is drawn so far, from top to bottom."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 16.0

    def heading(self, words: str, aside: str) -> None:
        self.y += 22
        self.parts.append(_text(16, self.y, words, font_size=16, font_weight=600, fill=_INK))
        self.parts.append(_text(_WIDTH - 16, self.y, aside, font_size=12, fill=_FAINT, text_anchor="end"))
        self.y += 10

    def ticks(self, top: float, at: list[tuple[float, str]]) -> None:
        """Lines behind what is between `top` and here, so they are put in front of it in the list."""
        lines = []
        for x, words in at:
            lines.append(f'<path d="M{x:.1f} {top:.1f}V{self.y:.1f}" stroke="{_RULE}"/>')
            lines.append(_text(x, self.y + 14, words, font_size=11, fill=_FAINT, text_anchor="middle"))
        self.parts = lines + self.parts
        self.y += 20

    def label(self, peer: str) -> None:
        weight = 600 if peer == OURS else 400
        self.parts.append(
            _text(_LEFT - 8, self.y + 12, peer, font_size=12, font_weight=weight, fill=_INK, text_anchor="end")
        )

    def bar(self, start: float, end: float, color: str) -> None:
        width = max(1.0, end - start)
        box = f'x="{start:.1f}" y="{self.y:.1f}" width="{width:.1f}" height="{_BAR}"'
        self.parts.append(f'<rect {box} rx="2" fill="{color}"/>')

    def next(self) -> None:
        self.y += _BAR + _GAP


def _rates(sheet: _Sheet, measured: Measured, peers: list[str]) -> None:
    found = [figure for peer in peers for job, key, _ in _RATES if (figure := _figure(measured, peer, job, key))]
    if not found:
        return
    low, high = 10 ** math.floor(math.log10(min(found) * 0.9)), max(found) * 1.1
    x = _log(low, high)
    sheet.heading("Tasks a second", "more is better; logarithmic scale")
    top = sheet.y
    for job, key, words in _RATES:
        rows = [(peer, figure) for peer in peers if (figure := _figure(measured, peer, job, key))]
        if not rows:
            continue
        sheet.parts.append(_text(_LEFT, sheet.y + 16, words, font_size=13, font_weight=600, fill=_INK))
        sheet.y += _HEAD
        for peer, figure in sorted(rows, key=lambda row: -row[1]):
            sheet.label(peer)
            sheet.bar(x(low), x(figure), _COLORS.get(peer, _OTHERS))
            sheet.parts.append(_text(x(figure) + 6, sheet.y + 12, _shown(figure), font_size=12, fill=_INK))
            sheet.next()
        sheet.y += 4
    sheet.ticks(top, [(x(power), _shown(power)) for power in _decades(low, high)])


def _latencies(sheet: _Sheet, measured: Measured, peers: list[str]) -> None:
    found = [
        figure for peer in peers for job, _ in _LATENCIES for key in _PERCENTILES
        if (figure := _figure(measured, peer, job, key))
    ]  # fmt: skip
    if not found:
        return
    low, high = 10 ** math.floor(math.log10(min(found))), max(found) * 1.2
    x = _log(low, high)
    sheet.heading("Submit → result, milliseconds", "p50 – p99 – p99.9; less is better; logarithmic scale")
    top = sheet.y
    for job, words in _LATENCIES:
        rows = [(peer, figure) for peer in peers if (figure := _figure(measured, peer, job, "p50_ms"))]
        if not rows:
            continue
        sheet.parts.append(_text(_LEFT, sheet.y + 16, words, font_size=13, font_weight=600, fill=_INK))
        sheet.y += _HEAD
        for peer, _ in sorted(rows, key=lambda row: row[1]):
            p50, p99, p999 = (_figure(measured, peer, job, key) or low for key in _PERCENTILES)
            color, middle = _COLORS.get(peer, _OTHERS), sheet.y + _BAR / 2
            sheet.label(peer)
            for start, end, thick in ((p50, p99, 5), (p99, p999, 1.5)):
                line = f"M{x(start):.1f} {middle:.1f}H{x(end):.1f}"
                sheet.parts.append(f'<path d="{line}" stroke="{color}" stroke-width="{thick}"/>')
            sheet.parts.append(f'<circle cx="{x(p50):.1f}" cy="{middle:.1f}" r="5.5" fill="{color}"/>')
            sheet.parts.append(f'<path d="M{x(p999):.1f} {middle - 5:.1f}v10" stroke="{color}" stroke-width="1.5"/>')
            shown = " – ".join(_shown(figure) for figure in (p50, p99))
            sheet.parts.append(_text(x(p999) + 6, sheet.y + 12, shown, font_size=12, fill=_INK))
            sheet.next()
        sheet.y += 4
    sheet.ticks(top, [(x(power), f"{power:g}") for power in _decades(low, high)])


def _cpu(sheet: _Sheet, measured: Measured, peers: list[str]) -> None:
    keys = (*_PARTS, _SERVER)
    rows = [
        (peer, [_figure(measured, peer, "drain", key) or 0.0 for key, _, _ in keys])
        for peer in peers
        if _figure(measured, peer, "drain", "worker_cpu_us")
    ]
    if not rows:
        return
    most = max(sum(parts) for _, parts in rows)
    per_us = (_WIDTH - _LEFT - _RIGHT) / most
    sheet.heading("CPU a task, microseconds", "drain with results stored; less is better")
    at = float(_LEFT)
    for _, words, color in keys:
        sheet.parts.append(f'<rect x="{at:.1f}" y="{sheet.y + 6:.1f}" width="11" height="11" rx="2" fill="{color}"/>')
        sheet.parts.append(_text(at + 16, sheet.y + 16, words, font_size=12, fill=_INK))
        at += 32 + 7 * len(words)
    sheet.y += _HEAD
    top = sheet.y
    for peer, parts in sorted(rows, key=lambda row: sum(row[1])):
        sheet.label(peer)
        start = float(_LEFT)
        for part, (_, _, color) in zip(parts, keys, strict=True):
            if part:
                sheet.bar(start, start + part * per_us, color)
            start += part * per_us
        sheet.parts.append(_text(start + 6, sheet.y + 12, _shown(sum(parts)), font_size=12, fill=_INK))
        sheet.next()
    step = 10 ** math.floor(math.log10(most))
    step = step if most / step > 3 else step / 2
    marks = [step * number for number in range(int(most / step) + 1)]
    sheet.ticks(top, [(_LEFT + mark * per_us, _shown(mark)) for mark in marks])


def svg(measured: Measured) -> str:
    """The picture; empty when nothing of it was measured."""
    peers = [name for name, about in measured["peers"].items() if "unavailable" not in about]
    sheet = _Sheet()
    for panel in (_rates, _latencies, _cpu):
        panel(sheet, measured, peers)
    if not sheet.parts:
        return ""
    height = sheet.y + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}" font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif" '
        'role="img" aria-label="Throughput, latency and CPU of each peer">'
    )
    ground = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    return "\n".join([head, ground, *sheet.parts, "</svg>"]) + "\n"
