"""What several actions share: results, and the health events of exits and removals that RTM did not cause.

The first operation that notices such an exit must report it, because the container is replaced afterwards.
"""

from datetime import datetime

from operations.execution.attempt import Attempt, Result
from operations.execution.containers import StartPlan
from operations.execution.observation import observe
from operations.exit_reports import capture
from operations.health.exits import exit_events
from operations.messages import HealthEvent, HealthEventType
from operations.states import ExitCause
from runtimes.container_spec import LABEL_IMAGE_REF, endpoint_of, engine_endpoint, state_path
from runtimes.containers.base import Container, ContainerState
from runtimes.image_refs import is_id_of
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

# A container that has run. A removal that Docker could not finish leaves the container dead.
_ENDED_STATES = frozenset({ContainerState.EXITED, ContainerState.DEAD})


def running(
    attempt: Attempt, container_id: str, plan: StartPlan, *, earlier: tuple[HealthEvent, ...] = (), note: str = ""
) -> Result:
    """The result of an operation that created this container; stopped if the plan did not start it.

    ``earlier``: health events of the container that was replaced.
    """
    now = attempt.claim.now()
    placement = {
        "current_container_id": container_id,
        "current_image_ref": plan.choice.image_ref,
        "image_id": plan.choice.image.id,
        "engine_endpoint": engine_endpoint(attempt.game_id),
        "state_path": state_path(attempt.policy.state_root, attempt.game_id),
        "docker_network": attempt.policy.network,
    }
    # A new container that is not started does not change why the game is down.
    kept = {"ended_by": attempt.runtime.ended_by if attempt.runtime else ""}
    times = {"started_at": now, "stopped_at": None, "removed_at": None} if plan.run else kept
    started = (started_event(container_id, plan.choice.image_ref, at=now),) if plan.run else ()
    return Result(
        status=RuntimeStatus.RUNNING if plan.run else RuntimeStatus.STOPPED,
        changes={**placement, **times},
        note="; ".join(filter(None, [note, plan.choice.note])),
        container_id=container_id,
        image_ref=plan.choice.image_ref,
        health=(*earlier, *started),
    )


def adopted(
    attempt: Attempt, container: Container, *, note: str = "", health: tuple[HealthEvent, ...] = ()
) -> Result:  # fmt: skip
    """The result that records a live container as the running one of its game."""
    return Result(
        status=RuntimeStatus.RUNNING,
        changes={
            "current_container_id": container.id,
            "current_image_ref": requested_image(container),
            "image_id": container.image_id,
            # The name of the container itself, even if an operator chose it: the engine is reached under this name.
            "engine_endpoint": endpoint_of(container.name),
            "state_path": state_path(attempt.policy.state_root, attempt.game_id),
            "docker_network": attempt.policy.network,
            "started_at": container.started_at or attempt.claim.now(),
            "stopped_at": None,
            "removed_at": None,
        },
        container_id=container.id,
        image_ref=requested_image(container),
        note=note,
        health=health,
    )


def requested_image(container: Container) -> str:
    """The image reference of a container; the whole image id if it was created by an id."""
    image_ref = container.labels.get(LABEL_IMAGE_REF) or container.image_ref
    return container.image_id if is_id_of(image_ref, container.image_id) else image_ref


def state_after_failure(attempt: Attempt, record: Runtime, *, earlier: tuple[HealthEvent, ...] = ()) -> Result:
    """The resulting state of a game whose replacement failed, according to Docker.

    The record stays as it is while its container lives. It becomes stopped if only an exited container is left, and
    removed if no container is left. ``earlier``: health events from before the failure.
    """
    own = observe(attempt).own
    if own is None:
        return Result.removed(record, at=attempt.claim.now(), health=earlier)
    if own.is_alive or record.status != RuntimeStatus.RUNNING:
        return Result(health=earlier)
    stopped = {"stopped_at": own.finished_at or attempt.claim.now(), "current_container_id": own.id}
    return Result(status=RuntimeStatus.STOPPED, changes=stopped, health=earlier)


def started_event(container_id: str, image_ref: str, *, at: datetime) -> HealthEvent:
    """The health event of a container that was started."""
    return HealthEvent(HealthEventType.CONTAINER_STARTED, container_id, at, {"image_ref": image_ref})


def unreported_exit(attempt: Attempt, container: Container | None) -> tuple[HealthEvent, ...]:
    """The health events of a running game whose container has exited, or is missing (None), without a request."""
    record = attempt.runtime
    # After this operation began to stop or remove, it may have caused the exit or the removal itself.
    is_own_doing = attempt.timeline.has("stop", "remove")
    if record is None or record.status != RuntimeStatus.RUNNING or is_own_doing:
        return ()
    if container is None:
        return missing_events(attempt, record)
    if container.id == record.current_container_id and container.state in _ENDED_STATES:
        capture.capture(attempt, container.id, ExitCause.EXITED, seen=container)
        return unreported_exit_events(attempt, record, container)
    return ()


def missing_events(attempt: Attempt, record: Runtime) -> tuple[HealthEvent, ...]:
    """The health events of a recorded container that is gone; none if the record is from a restored backup."""
    if attempt.restored_at(record) is not None:
        return ()
    capture.capture_missing(attempt, record)
    container_id = record.current_container_id or ""
    return (HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, container_id, attempt.claim.now()),)


def unreported_exit_events(attempt: Attempt, record: Runtime, container: Container) -> tuple[HealthEvent, ...]:
    """The health events of an exit; none if it happened before the backup in use was restored."""
    at, restored = container.finished_at or attempt.claim.now(), attempt.restored_at(record)
    return () if restored is not None and at < restored else exit_events(container, at=at)
