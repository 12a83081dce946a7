"""Which signal leads from which stage of a shutdown to which."""

from __future__ import annotations

import pytest

from celeriac.worker._shutdown import Plan, Stage, exit_code, next_stage

PLAIN = Plan()
SOFT = Plan(soft_timeout=3.0)


def path(*signals: str, plan: Plan = PLAIN, busy: bool = True) -> list[Stage]:
    stage = Stage.RUNNING
    stages = []
    for name in signals:
        stage = next_stage(stage, name, busy=busy, plan=plan)
        stages.append(stage)
    return stages


@pytest.mark.parametrize(
    ("signals", "plan", "stages"),
    [
        (["SIGTERM"], PLAIN, [Stage.WARM]),
        (["SIGTERM", "SIGTERM"], PLAIN, [Stage.WARM, Stage.WARM]),
        (["SIGINT", "SIGINT", "SIGINT"], PLAIN, [Stage.WARM, Stage.COLD, Stage.HARD]),
        (["SIGTERM", "SIGINT"], PLAIN, [Stage.WARM, Stage.COLD]),
        (["SIGQUIT", "SIGQUIT"], PLAIN, [Stage.COLD, Stage.HARD]),
        (["SIGINT", "SIGINT", "SIGINT", "SIGINT"], SOFT, [Stage.WARM, Stage.SOFT, Stage.COLD, Stage.HARD]),
        (["SIGQUIT", "SIGQUIT"], SOFT, [Stage.SOFT, Stage.COLD]),
        (["SIGTERM"], Plan(term_is_quit=True), [Stage.COLD]),
        (["SIGTERM", "SIGTERM"], Plan(term_is_quit=True, soft_timeout=1), [Stage.SOFT, Stage.COLD]),
        (["SIGQUIT", "SIGTERM"], PLAIN, [Stage.COLD, Stage.COLD]),
    ],
)
def test_signals_lead_through_the_stages(signals: list[str], plan: Plan, stages: list[Stage]) -> None:
    assert path(*signals, plan=plan) == stages


def test_an_idle_worker_skips_the_soft_stage_unless_told_otherwise() -> None:
    assert path("SIGQUIT", plan=SOFT, busy=False) == [Stage.COLD]
    assert path("SIGQUIT", plan=Plan(soft_timeout=3.0, soft_on_idle=True), busy=False) == [Stage.SOFT]


@pytest.mark.parametrize(
    ("stage", "signal", "plan", "code"),
    [
        (Stage.WARM, "SIGTERM", PLAIN, 0),
        (Stage.WARM, "SIGINT", PLAIN, 1),
        (Stage.COLD, "SIGQUIT", PLAIN, 1),
        (Stage.COLD, "SIGTERM", Plan(term_is_quit=True), 1),
    ],
)
def test_only_a_warm_shutdown_by_term_ends_well(stage: Stage, signal: str, plan: Plan, code: int) -> None:
    assert exit_code(stage, signal, plan) == code
