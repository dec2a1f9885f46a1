"""The repairs that the reconciler requests. Each checks its finding again, under its lease, before it acts."""

from dataclasses import replace

from operations.actions.results import adopted, missing_events, requested_image, unreported_exit_events
from operations.execution.attempt import Attempt, Result
from operations.execution.containers import stop_container
from operations.execution.observation import check_host_name, is_renamed, name_restored, restore_name
from operations.exit_reports import capture
from operations.health import docker_starts
from operations.messages import HealthEvent
from operations.states import ExitCause
from runtimes.container_spec import endpoint_host
from runtimes.containers.base import Container, ContainerStartFailedError
from runtimes.formatting import short_id
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus


def adopt(attempt: Attempt) -> Result:
    """Record a live container of this installation that has no record, or not the right one, as running.

    A recorded container that was renamed gets its name back.
    """
    record, container = attempt.runtime, _find_container(attempt)
    if not _is_record_unchanged(attempt) or container is None or not container.is_alive or _is_removed(record):
        return Result()
    if record is not None and record.status == RuntimeStatus.RUNNING and container.id == record.current_container_id:
        if is_renamed(record, container):
            return restore_name(attempt, record, container)
        return name_restored(record, container) if attempt.timeline.has("rename") else Result()

    former = _find_former(attempt, container)
    if former is not None and former.is_alive:
        return Result()
    check_host_name(attempt)
    if record is not None and is_renamed(record, container):
        container = _restore_name_if_free(attempt, record, container)
    note = _image_note(attempt, container, image_ref=requested_image(container))
    return adopted(attempt, container, note=note, health=_loss_events(attempt, former=former, successor=container))


def dispose(attempt: Attempt) -> Result:
    """Record that a container is gone, or remove a container that a failed operation left behind."""
    if attempt.operation.arguments["is_leftover"]:
        return _remove_leftover(attempt)

    record = attempt.runtime
    if record is None or _is_removed(record) or not _is_record_unchanged(attempt):
        return Result()
    if _find_container(attempt) is not None:
        return Result()
    successor = attempt.containers.find(attempt.container_name)
    if successor is not None and attempt.owns(successor) and successor.is_alive:
        if _should_adopt(attempt, successor):
            return _adopt_leftover(attempt, successor)
        creator = attempt.creator_of(successor)
        if creator is None or not creator.left_behind(successor):
            # An operator has recreated the container meanwhile: the next reconcile adopts it.
            return Result()
    return Result.removed(record, at=attempt.claim.now(), health=_loss_events(attempt, former=None, successor=None))


def observe_exit(attempt: Attempt) -> Result:
    """Record that a container has exited without a request, with its cause."""
    record, container = attempt.runtime, _find_container(attempt)
    if record is None or record.status != RuntimeStatus.RUNNING or not _is_record_unchanged(attempt):
        return Result()
    if container is None or container.is_alive:
        return Result()
    with attempt.step("observe_engine"):
        grace = attempt.policy.stop_grace_seconds
        ended_by = docker_starts.find_cause(attempt.containers, container, stop_grace_seconds=grace)
    capture.capture(attempt, container.id, ExitCause.EXITED, seen=container)
    ended_at = container.finished_at or attempt.claim.now()
    return Result(
        status=RuntimeStatus.STOPPED,
        changes={"stopped_at": ended_at, "current_container_id": container.id, "ended_by": ended_by},
        container_id=container.id,
        image_ref=record.current_image_ref or "",
        health=unreported_exit_events(attempt, record, container),
    )


def has_lost_its_container(attempt: Attempt) -> bool:
    """Whether the record names a container that Docker does not have."""
    record = attempt.runtime
    if record is None or _is_removed(record):
        return False
    with attempt.step("observe"):
        return attempt.containers.find(record.current_container_id or "") is None


def _find_container(attempt: Attempt) -> Container | None:
    """The container of the finding, if it still exists and belongs to this installation."""
    with attempt.step("observe"):
        container_id = attempt.operation.arguments["container_id"]
        container = attempt.containers.find(container_id) if container_id else None
    return container if attempt.owns(container) else None


def _find_former(attempt: Attempt, container: Container) -> Container | None:
    """The recorded container, if it is another one than ``container`` and still exists."""
    record = attempt.runtime
    if record is None or record.current_container_id in {None, container.id}:
        return None
    return attempt.containers.find(record.current_container_id or "")


def _is_record_unchanged(attempt: Attempt) -> bool:
    """Whether the record is as old as the finding: a repair never overwrites a newer record."""
    fence = attempt.runtime.fence if attempt.runtime else 0
    return bool(fence == attempt.operation.arguments["record_fence"])


def _is_removed(record: Runtime | None) -> bool:
    """Whether the game is removed. Only a start leaves this status."""
    return record is not None and record.status == RuntimeStatus.REMOVED


def _restore_name_if_free(attempt: Attempt, record: Runtime, container: Container) -> Container:
    try:
        restore_name(attempt, record, container)
    except ContainerStartFailedError:
        # Another container has the name now: the record gets the endpoint under which the game can be reached.
        return container
    return replace(container, name=endpoint_host(record.engine_endpoint))


def _remove_leftover(attempt: Attempt) -> Result:
    container = _find_container(attempt)
    if container is None:
        # If an earlier attempt began to remove it, this operation has removed it.
        return Result(changed_something=attempt.timeline.has("remove"))
    is_recorded = attempt.runtime is not None and attempt.runtime.current_container_id == container.id
    creator = attempt.creator_of(container)
    if is_recorded or creator is None or not creator.left_behind(container):
        return Result()
    if _should_adopt(attempt, container):
        return _adopt_leftover(attempt, container)
    stop_container(attempt, container)
    capture.capture(attempt, container.id, ExitCause.REMOVED, seen=container)
    with attempt.write_step("remove"):
        attempt.containers.remove(container.id, grace_seconds=attempt.policy.stop_grace_seconds)
    note = f"removed container {short_id(container.id)}, left behind by operation {creator.operation_id}"
    return Result(changed_something=True, note=note)


def _should_adopt(attempt: Attempt, container: Container) -> bool:
    """Whether a leftover is the only container that the game has: it lives, and the recorded one is gone.

    This happens when a restart or a patch was given up after it had removed the old container. The leftover of a
    failed start is always removed.
    """
    if not container.is_alive or not has_lost_its_container(attempt):
        return False
    creator = attempt.creator_of(container)
    return creator is not None and creator.is_replacement(container)


def _adopt_leftover(attempt: Attempt, container: Container) -> Result:
    note = f"kept the container of operation {container.operation_id}: the game has no other"
    return adopted(attempt, container, note=note)


def _image_note(attempt: Attempt, container: Container, *, image_ref: str) -> str:
    with attempt.step("inspect_image"):
        image = attempt.containers.find_image(image_ref)
    if image is None:
        return f"adopted, but image {image_ref} is not on this host, so it cannot be compared with the container's"
    if image.id != container.image_id:
        return (
            f"adopted, but the container runs {container.image_id}, which is not what {image_ref} is now ({image.id})"
        )
    return ""


def _loss_events(attempt: Attempt, *, former: Container | None, successor: Container | None) -> tuple[HealthEvent, ...]:
    """The health events of the recorded container, if the record says that it runs: it has exited or is missing."""
    record = attempt.runtime
    if record is None or record.status != RuntimeStatus.RUNNING or not record.current_container_id:
        return ()
    if successor is not None and successor.id == record.current_container_id:
        return ()
    if former is not None:
        capture.capture(attempt, former.id, ExitCause.EXITED, seen=former)
        return unreported_exit_events(attempt, record, former)
    return missing_events(attempt, record)
