"""Start: bring a game up on the requested image."""

from operations.actions.results import running, unreported_exit
from operations.execution.attempt import Attempt, Result
from operations.execution.containers import (
    StartPlan,
    check_network,
    prepare_state,
    prepare_volumes,
    start_container,
    validate,
)
from operations.execution.image_choice import choose_requested
from operations.execution.lobby_client import query_lobby
from operations.execution.observation import (
    Observation,
    check_host_name,
    is_renamed,
    name_restored,
    observe_for_start,
    reject_name_conflict,
    restore_name,
)
from runtimes.containers.base import ContainerStartFailedError
from runtimes.exceptions import ConflictError
from runtimes.states import RuntimeStatus

# A start disturbs no game, so it may rely on a network that existed this recently. If Docker then refuses the start,
# the network is checked again.
_NETWORK_FRESH_SECONDS = 10.0


def start(attempt: Attempt) -> Result:
    """Return the running container, or a no-op if the game already runs the requested image.

    A running container that was renamed gets the name in its endpoint back. With ``no_start`` the container is created
    and stays stopped. Raises ConflictError if the game runs another image.
    """
    image_ref: str = attempt.operation.arguments["image_ref"]
    run = not attempt.operation.arguments.get("no_start", False)
    check_host_name(attempt)
    observed = observe_for_start(attempt)
    if not attempt.has_created(observed.own):
        already_done = _no_op_or_conflict(attempt, observed, image_ref=image_ref, run=run)
        if already_done is not None:
            return already_done

    query_lobby(attempt.game_id, operation_id=attempt.operation.pk)
    validate(attempt, image_ref, fresh_seconds=_NETWORK_FRESH_SECONDS)
    note = prepare_state(attempt)
    reject_name_conflict(attempt, observed)

    image = choose_requested(attempt, image_ref)
    plan = StartPlan(image, volumes=prepare_volumes(attempt, image), run=run)

    earlier = unreported_exit(attempt, observed.own)
    try:
        container_id = start_container(attempt, observed.own, plan)
    except ContainerStartFailedError:
        check_network(attempt)
        raise
    return running(attempt, container_id, plan, earlier=earlier, note=note)


def _no_op_or_conflict(attempt: Attempt, observed: Observation, *, image_ref: str, run: bool) -> Result | None:
    """Return a result if the game already runs the image; None if there is something to do."""
    record, own = attempt.runtime, observed.own
    if record is None:
        return None
    if not run:
        message = f"game {attempt.game_id} exists already ({record.status}); no_start only makes a first container"
        raise ConflictError(message)
    if record.status != RuntimeStatus.RUNNING or own is None or not own.is_alive:
        return None
    if record.current_image_ref != image_ref:
        message = (
            f"game {attempt.game_id} is running {record.current_image_ref}, not {image_ref}; "
            f"patch it, or stop it before starting the other image"
        )
        raise ConflictError(message)
    if record.current_container_id != own.id:
        return None
    if is_renamed(record, own):
        return restore_name(attempt, record, own)
    return name_restored(record, own) if attempt.timeline.has("rename") else Result.no_op(record)
