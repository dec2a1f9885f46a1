import itertools

import pytest

from runtimes.states import INITIAL_STATUSES, TRANSITIONS, RuntimeStatus, can_transition

RUNNING, STOPPED, REMOVED = RuntimeStatus.RUNNING, RuntimeStatus.STOPPED, RuntimeStatus.REMOVED

ALLOWED = {(RUNNING, STOPPED), (RUNNING, REMOVED), (STOPPED, RUNNING), (STOPPED, REMOVED), (REMOVED, RUNNING)}
STAYING = {(status, status) for status in RuntimeStatus}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RuntimeStatus, repeat=2)))
def test_a_runtime_may_make_the_steps_of_the_contract_or_stay_and_no_others(
    old: RuntimeStatus, new: RuntimeStatus
) -> None:
    assert can_transition(old, new) == ((old, new) in ALLOWED | STAYING)


def test_the_statuses_are_those_of_the_contract() -> None:
    assert RuntimeStatus.values == ["running", "stopped", "removed"]


def test_every_status_has_its_transitions_written_down() -> None:
    assert set(TRANSITIONS) == set(RuntimeStatus)


def test_no_first_record_is_of_a_removed_game() -> None:
    assert set(INITIAL_STATUSES) == {RUNNING, STOPPED}
