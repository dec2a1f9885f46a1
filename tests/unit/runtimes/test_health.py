"""Verdicts from observations: any row of them, checked against what the contract promises."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.containers.base import Container, ContainerState
from runtimes.health import (
    Inspection,
    ProbeRecord,
    ProbeResult,
    Transition,
    inspect_transition,
    is_inspectable,
    probe_failure,
    probe_response,
    probe_transition,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOD, BAD = probe_response(200, at=NOW), probe_response(503, at=NOW)

inspections = st.builds(
    Inspection,
    state=st.sampled_from([*ContainerState]),
    health=st.sampled_from(["", "starting", "healthy", "unhealthy"]),
)


def probe(successes: list[bool], *, threshold: int) -> list[tuple[int, Transition]]:
    """Probe again and again, each report written; (failures before, transition) of every probe."""
    record, seen = ProbeRecord(), []
    for success in successes:
        after, transition = probe_transition(record, GOOD if success else BAD, threshold=threshold)
        seen.append((record.failures, transition))
        is_reported = {Transition.FAILED: True, Transition.RECOVERED: False}.get(transition, record.is_reported)
        record = ProbeRecord(after.failures, is_reported)
    return seen


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_failing_and_recovering_are_reported_in_turns_and_failing_comes_first(
    successes: list[bool], threshold: int
) -> None:
    reported = [
        transition for _before, transition in probe(successes, threshold=threshold) if transition != Transition.NONE
    ]

    assert reported[:1] in ([], [Transition.FAILED])
    assert all(one != other for one, other in pairwise(reported))


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_failing_is_reported_at_the_threshold_and_recovery_by_the_first_success(
    successes: list[bool], threshold: int
) -> None:
    seen = probe(successes, threshold=threshold)

    in_a_row, is_failing = 0, False
    for success, (before, transition) in zip(successes, seen, strict=True):
        in_a_row = 0 if success else in_a_row + 1
        assert (transition == Transition.FAILED) == (in_a_row == threshold)
        assert (transition == Transition.RECOVERED) == (success and is_failing)
        if transition == Transition.RECOVERED:
            assert before >= threshold
        is_failing = in_a_row >= threshold


@given(st.integers(2, 5), st.integers(0, 50))
def test_an_engine_that_fails_now_and_then_is_never_reported(threshold: int, rounds: int) -> None:
    flapping = ([False] * (threshold - 1) + [True]) * rounds

    assert {transition for _before, transition in probe(flapping, threshold=threshold)} <= {Transition.NONE}


@given(st.integers(1, 5), st.integers(0, 20))
def test_a_report_that_could_not_be_written_is_asked_for_again(threshold: int, more: int) -> None:
    record = ProbeRecord()
    transitions = []
    for _ in range(threshold + more):
        record, transition = probe_transition(record, BAD, threshold=threshold)
        transitions.append(transition)

    assert transitions == [Transition.NONE] * (threshold - 1) + [Transition.FAILED] * (more + 1)
    assert record == ProbeRecord(threshold + more)


@pytest.mark.parametrize(
    ("answer", "is_success"),
    [
        (probe_response(200, at=NOW), True),
        (probe_response(204, at=NOW), True),
        (probe_response(301, at=NOW), False),
        (probe_response(404, at=NOW), False),
        (probe_response(500, at=NOW), False),
        (probe_failure("refused", at=NOW), False),
        (probe_failure("", at=NOW), False),
    ],
)
def test_only_a_2xx_is_success(answer: ProbeResult, *, is_success: bool) -> None:
    assert answer.is_success is is_success
    assert bool(answer.error) is not is_success


def test_a_probe_error_is_short_and_printable() -> None:
    answer = probe_failure("bad\x00 line\n" + "x" * 500, at=NOW)

    assert answer.error.startswith("bad  line x")
    assert len(answer.error) == 200


@given(st.lists(inspections, max_size=40))
def test_a_container_is_reported_once_for_each_time_it_turns_bad(looks: list[Inspection]) -> None:
    transitions = [inspect_transition(before, now) for before, now in pairwise([Inspection(), *looks])]

    reported = [one for one in transitions if one != Transition.NONE]
    assert reported[:1] in ([], [Transition.FAILED])
    assert all(one != other for one, other in pairwise(reported))
    assert all((one == Transition.FAILED) <= now.is_unhealthy for one, now in zip(transitions, looks, strict=True))


@pytest.mark.parametrize(
    ("inspection", "is_unhealthy"),
    [
        (Inspection(), False),
        (Inspection("running", ""), False),
        (Inspection("running", "starting"), False),
        (Inspection("running", "healthy"), False),
        (Inspection("running", "unhealthy"), True),
        (Inspection("paused", "healthy"), True),
        (Inspection("restarting", ""), True),
        (Inspection("dead", ""), True),
        (Inspection("exited", ""), False),
    ],
)
def test_unhealthy_inspections(inspection: Inspection, *, is_unhealthy: bool) -> None:
    assert inspection.is_unhealthy is is_unhealthy


@pytest.mark.parametrize("state", [ContainerState.CREATED, ContainerState.EXITED, ContainerState.REMOVING])
def test_a_container_that_has_ended_is_no_matter_of_health(state: ContainerState) -> None:
    assert not is_inspectable(Container(id="c", name="n", state=state))
