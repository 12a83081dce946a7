"""The stages of a shutdown: which signal leads from which stage to which. Pure: it does nothing but decide.

    running --TERM--> warm (exit 0)      running --INT--> warm (exit 1)      running --QUIT--> soft or cold
    warm --INT or QUIT--> soft or cold   soft --INT or QUIT--> cold          cold --INT or QUIT--> hard

Soft is taken instead of cold if a timeout is set and there is something to wait for. `REMAP_SIGTERM=SIGQUIT` makes
TERM a QUIT.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from celeriac.platforms import EX_FAILURE, EX_OK


class Stage(enum.IntEnum):
    """How far a shutdown has come; it never goes back."""

    RUNNING = 0
    WARM = 1
    SOFT = 2
    COLD = 3
    HARD = 4


@dataclass(frozen=True)
class Plan:
    """What the settings and the environment say about shutdowns."""

    soft_timeout: float = 0.0
    """Seconds that a soft shutdown waits for tasks; 0: there is none."""
    soft_on_idle: bool = False
    """Wait also when no task runs."""
    term_is_quit: bool = False


def next_stage(stage: Stage, signal: str, *, busy: bool, plan: Plan) -> Stage:
    """The stage after `signal` (`SIGTERM`, `SIGINT`, `SIGQUIT`). `busy`: a task runs."""
    if signal == "SIGTERM" and plan.term_is_quit:
        signal = "SIGQUIT"
    if signal == "SIGTERM":
        return max(stage, Stage.WARM)
    if stage is Stage.RUNNING and signal == "SIGINT":
        return Stage.WARM
    if stage >= Stage.COLD:
        return Stage.HARD
    soft = stage < Stage.SOFT and plan.soft_timeout > 0 and (busy or plan.soft_on_idle)
    return Stage.SOFT if soft else Stage.COLD


def exit_code(stage: Stage, signal: str, plan: Plan) -> int:
    """How the process ends when `signal` led to `stage`."""
    graceful = stage is Stage.WARM and signal == "SIGTERM" and not plan.term_is_quit
    return EX_OK if graceful else EX_FAILURE
