"""An attempt may change only the containers of its game and its installation."""

from dataclasses import replace

import pytest

from operations.execution.attempt import Attempt, Result
from operations.models import Operation
from operations.queue.claims import Claim
from operations.states import OperationKind
from runtimes.container_spec import LABEL_GAME_ID, LABEL_JOB_KEY, LABEL_OWNER, LABEL_STACK, OWNER, current_policy
from runtimes.containers.base import Container, ContainerState
from runtimes.containers.fake.adapter import FakeAdapter, FakeDocker
from runtimes.states import RuntimeStatus

OPERATION_ID = 17
JOB_KEY = "stream:start:17-0"
STACK = "blue"


@pytest.fixture
def attempt() -> Attempt:
    operation = Operation(
        pk=OPERATION_ID,
        game_id="g1",
        op_kind=OperationKind.START,
        job_key=JOB_KEY,
        steps=[{"name": "of the last attempt"}],
    )
    policy = replace(current_policy(), stack=STACK)
    return Attempt(Claim(operation), runtime=None, containers=FakeAdapter(FakeDocker()), policy=policy)


def container(**labels: str) -> Container:
    own = {LABEL_OWNER: OWNER, LABEL_STACK: STACK, LABEL_GAME_ID: "g1", LABEL_JOB_KEY: JOB_KEY}
    return Container("c1", "galaxy-game-g1", ContainerState.RUNNING, labels={**own, **labels})


def test_an_attempt_knows_its_game_and_the_name_of_its_container(attempt: Attempt) -> None:
    assert (attempt.game_id, attempt.container_name) == ("g1", "galaxy-game-g1")


def test_looking_adds_a_step_after_those_of_earlier_attempts_and_changes_nothing(attempt: Attempt) -> None:
    with attempt.step("look"):
        pass

    assert [step["name"] for step in attempt.timeline.steps] == ["of the last attempt", "look"]
    assert not attempt.has_written


def test_a_container_with_all_our_labels_is_ours_and_made_by_this_operation(attempt: Attempt) -> None:
    assert attempt.owns(container())
    assert attempt.has_created(container())


def test_a_container_made_by_an_earlier_operation_is_ours_but_not_made_by_this_one(attempt: Attempt) -> None:
    earlier = container(**{LABEL_JOB_KEY: "stream:start:16-0"})

    assert attempt.owns(earlier)
    assert not attempt.has_created(earlier)


@pytest.mark.parametrize(
    ("label", "value"),
    [(LABEL_OWNER, "another"), (LABEL_STACK, "green"), (LABEL_GAME_ID, "g2"), (LABEL_STACK, ""), (LABEL_OWNER, "")],
)
def test_one_different_label_makes_it_foreign(attempt: Attempt, *, label: str, value: str) -> None:
    theirs = container(**{label: value})

    assert not attempt.owns(theirs)
    assert not attempt.has_created(theirs)


def test_a_container_without_labels_is_not_owned(attempt: Attempt) -> None:
    assert not attempt.owns(replace(container(), labels={}))


def test_no_container_is_not_ours(attempt: Attempt) -> None:
    assert not attempt.owns(None)
    assert not attempt.has_created(None)


def test_a_result_that_leaves_the_record_as_it_is_is_a_replay() -> None:
    assert Result().is_no_op
    assert not Result(status=RuntimeStatus.RUNNING).is_no_op
