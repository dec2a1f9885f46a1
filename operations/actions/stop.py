"""Stop: bring a game down and keep its container. Cleanup: remove the container of a game that does not run."""

from dataclasses import replace

from operations.actions.results import missing_events, unreported_exit
from operations.execution.attempt import Attempt, Result
from operations.execution.containers import remove_container, stop_container
from operations.execution.observation import Observation, is_renamed, observe
from runtimes.exceptions import ConflictError
from runtimes.formatting import short_id
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus


def stop(attempt: Attempt) -> Result:
    """Stop the container gracefully, then by force. A no-op if the game does not run.

    If the container is gone, the game is recorded as removed.
    """
    record = attempt.require_record()
    if record.status != RuntimeStatus.RUNNING:
        return _already_stopped(record)

    container = observe(attempt).own
    earlier = unreported_exit(attempt, container) if container else ()
    if container is None or not stop_container(attempt, container):
        return Result.removed(record, at=attempt.claim.now(), health=missing_events(attempt, record))
    return Result(
        status=RuntimeStatus.STOPPED,
        changes={"stopped_at": attempt.claim.now(), "current_container_id": container.id},
        container_id=container.id,
        image_ref=record.current_image_ref or "",
        health=earlier,
    )


def cleanup(attempt: Attempt) -> Result:
    """Remove the container and keep the state directory. A no-op if the game is removed already.

    Raises ConflictError if the game runs.
    """
    record = attempt.require_record()
    if record.status == RuntimeStatus.REMOVED:
        return Result.no_op(record)
    if record.status == RuntimeStatus.RUNNING:
        message = f"game {attempt.game_id} is running; stop it before its container can be removed"
        raise ConflictError(message)

    observed = observe(attempt)
    if observed.own is not None:
        if observed.own.is_alive:
            message = (
                f"game {attempt.game_id} is recorded as stopped but its container runs; "
                "the next reconcile corrects the record"
            )
            raise ConflictError(message)
        _reject_renamed_with_rival(attempt, record, observed)
        remove_container(attempt, observed.own)
    return Result.removed(record, at=attempt.claim.now())


def _already_stopped(record: Runtime) -> Result:
    """A no-op. A game that had exited without a request counts as stopped on request from now on."""
    no_op = Result.no_op(record)
    if not record.ended_by:
        return no_op
    return replace(no_op, status=RuntimeStatus(record.status), changes={"ended_by": ""}, is_noted=True)


def _reject_renamed_with_rival(attempt: Attempt, record: Runtime, observed: Observation) -> None:
    """Raise ConflictError if the container was renamed and another container has its name."""
    rival, own = observed.rival, observed.own
    if rival is None or own is None or not is_renamed(record, own):
        return
    message = (
        f"game {attempt.game_id}: its container {short_id(own.id)} was renamed to {own.name}, and container "
        f"{short_id(rival.id)} holds its name {rival.name}; remove or rename one of them, then clean up again"
    )
    raise ConflictError(message)
