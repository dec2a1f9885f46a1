"""What is undone when an operation is given up, or when its result cannot be stored."""

from dataclasses import replace

from operations.actions.reconcile import has_lost_its_container
from operations.actions.replace import revert
from operations.actions.results import adopted, started_event
from operations.execution.attempt import Attempt, Result
from operations.execution.containers import remove_container
from operations.execution.observation import observe
from operations.kinds import CREATES_CONTAINER
from operations.states import OperationKind


def clean_up_after_give_up(attempt: Attempt) -> Result:
    """Bring the game into a defined state when the operation is given up; returns the resulting state of the record.

    A container that a start created is removed. A container that a restart or a patch created becomes the game's if it
    runs and the recorded container is gone, because they removed that one themselves; else it is removed too.
    """
    if attempt.operation.op_kind not in CREATES_CONTAINER:
        return Result()
    container = observe(attempt).own
    if container is None or not attempt.has_created(container):
        return Result()
    is_lost = attempt.operation.op_kind != OperationKind.START and has_lost_its_container(attempt)
    if is_lost and container.is_alive:
        result = adopted(attempt, container)
        return replace(result, health=(started_event(container.id, result.image_ref, at=attempt.claim.now()),))
    remove_container(attempt, container)
    return Result.removed(attempt.require_record(), at=attempt.claim.now()) if is_lost else Result()


def rollback(attempt: Attempt) -> Result:
    """Undo what the operation has started if it cannot be recorded; returns the resulting state of the record.

    A patch brings the old image up again and raises FailedWithStateError.
    """
    if attempt.operation.op_kind == OperationKind.PATCH and attempt.runtime is not None:
        revert(attempt, attempt.runtime, "its record could not be stored")
    if attempt.operation.op_kind not in CREATES_CONTAINER:
        return Result()
    container = observe(attempt).own
    if container is not None and attempt.has_created(container):
        remove_container(attempt, container)
    is_restart = attempt.operation.op_kind == OperationKind.RESTART
    return Result.removed(attempt.require_record(), at=attempt.claim.now()) if is_restart else Result()
