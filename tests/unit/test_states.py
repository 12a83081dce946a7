"""States and their precedence."""

from __future__ import annotations

from celeriac import states


def test_success_is_the_strongest_and_pending_the_weakest() -> None:
    ordered = ["SUCCESS", "FAILURE", "INVENTED", "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"]
    assert sorted(ordered, key=states.precedence) == ordered
    assert len({states.precedence(name) for name in ordered}) == len(ordered)


def test_state_texts_compare_by_precedence() -> None:
    assert states.state("PENDING") < states.state("SUCCESS")
    assert states.state("FAILURE") > states.state("STARTED")
    assert states.state("PROGRESS") >= states.state("REVOKED")
    assert states.state("RETRY") <= states.state("RETRY")
    assert states.state("RETRY") == "RETRY"


def test_ready_and_unready_states_are_disjoint() -> None:
    assert not states.READY_STATES & states.UNREADY_STATES
    assert states.PROPAGATE_STATES < states.EXCEPTION_STATES
    assert states.IGNORED not in states.ALL_STATES
