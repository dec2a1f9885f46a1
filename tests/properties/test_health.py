"""Properties of the verdicts on health, and of the state machine of a runtime."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

from hypothesis import strategies as st

from runtimes.containers.base import ContainerState
from runtimes.health import (
    Inspection,
    ProbeRecord,
    Transition,
    inspect_transition,
    probe_failure,
    probe_response,
    probe_transition,
)
from runtimes.states import RuntimeStatus, can_transition
from tests.properties.cases import every, holds_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD, BAD = probe_response(200, at=NOW), probe_failure("refused", at=NOW)
# Fifteen probes as the bits of a number; another number says which reports could not be written.
rows = st.integers(0, 2**15 - 1).map(lambda bits: [bool(bits >> place & 1) for place in range(15)])
thresholds = st.integers(1, 6)


def judged(row: Sequence[bool], *, threshold: int, written: Sequence[bool]) -> list[Transition]:
    """The reports that a row of probes leads to; one that is not written is asked for again."""
    record = ProbeRecord()
    transitions: list[Transition] = []
    for is_good, is_written in zip(row, written, strict=True):
        record, transition = probe_transition(record, GOOD if is_good else BAD, threshold=threshold)
        if transition != Transition.NONE and is_written:
            record = ProbeRecord(record.failures, transition == Transition.FAILED)
            transitions.append(transition)
    return transitions


@holds_for(rows, thresholds, rows, cases=8_000)
def test_failing_and_recovery_are_reported_in_turn(row: list[bool], threshold: int, written: list[bool]) -> None:
    transitions = judged(row, threshold=threshold, written=written)

    assert transitions == [Transition.FAILED, Transition.RECOVERED] * (len(transitions) // 2) + [Transition.FAILED] * (
        len(transitions) % 2
    )


@holds_for(rows, thresholds, cases=8_000)
def test_a_failing_engine_is_reported_once_and_only_after_enough_failures_in_a_row(
    row: list[bool], threshold: int
) -> None:
    transitions = judged(row, threshold=threshold, written=[True] * len(row))

    text = "".join("+" if is_good else "-" for is_good in row)
    long_enough = [part for part in text.split("+") if len(part) >= threshold]
    assert transitions.count(Transition.FAILED) == len(long_enough)


def test_an_observation_is_news_only_when_good_becomes_bad_or_bad_good() -> None:
    looks = [
        Inspection(state, health)
        for state, health in product(["", *ContainerState], ["", "starting", "healthy", "unhealthy"])
    ]
    for before, now in every(product(looks, looks), of="a check is reported only when the status changes"):
        transition = inspect_transition(before, now)
        assert (transition == Transition.NONE) == (before.is_unhealthy == now.is_unhealthy)
        assert (transition == Transition.FAILED) == (now.is_unhealthy and not before.is_unhealthy)


def test_only_a_2xx_is_an_answer_that_counts() -> None:
    for status in every(range(1000), of="only a 2xx counts"):
        assert probe_response(status, at=NOW).is_success == (200 <= status <= 299)


@holds_for(st.text(max_size=12), cases=2_000)
def test_no_reason_of_an_engine_makes_silence_a_success(reason: str) -> None:
    answer = probe_failure(reason, at=NOW)

    assert not answer.is_success
    assert answer.error.isprintable()


def test_a_record_moves_only_along_the_five_ways_of_the_contract() -> None:
    ways = {
        ("running", "stopped"),
        ("running", "removed"),
        ("stopped", "running"),
        ("stopped", "removed"),
        ("removed", "running"),
    }
    for old, new in every(product(RuntimeStatus, RuntimeStatus), of="a record moves only along the five ways"):
        assert can_transition(old, new) == (old == new or (old.value, new.value) in ways)
