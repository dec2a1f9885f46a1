"""The operations that the reconciler asks for. Each looks again, under its lease, before it believes the finding."""

from datetime import datetime

from django.utils import timezone

from operations.attempts import Attempt, Result
from operations.events import HealthEvent, HealthEventType, epoch_ms
from runtimes.containers.base import Container
from runtimes.models import Runtime
from runtimes.specs import ENGINE_PORT, LABEL_IMAGE_REF, state_path
from runtimes.states import RuntimeStatus


def adopt(attempt: Attempt) -> Result:
    """Take a live container of ours that is on no record, or not on the right one, into the record as running."""
    record, seen = attempt.runtime, _look(attempt)
    if not _is_still_so(attempt) or seen is None or not seen.is_alive or _is_removed(record):
        return Result()
    image_ref = seen.labels.get(LABEL_IMAGE_REF) or seen.image_ref
    now = timezone.now()
    return Result(
        status=RuntimeStatus.RUNNING,
        changes={
            "current_container_id": seen.id,
            "current_image_ref": image_ref,
            "image_id": seen.image_id,
            # Its own name, whoever gave it: that is where the engine answers.
            "engine_endpoint": f"http://{seen.name}:{ENGINE_PORT}",
            "state_path": state_path(attempt.policy.state_root, attempt.game_id),
            "docker_network": attempt.policy.network,
            "started_at": seen.started_at or now,
            "stopped_at": None,
            "removed_at": None,
        },
        container_id=seen.id,
        image_ref=image_ref,
        note=_image_note(attempt, seen, image_ref=image_ref),
        health=_loss(record, instead=seen, at=now),
    )


def dispose(attempt: Attempt) -> Result:
    """Record that a container is gone, or remove one that an ended operation left behind."""
    if attempt.operation.arguments["is_leftover"]:
        return _remove_leftover(attempt)
    record = attempt.runtime
    if record is None or _is_removed(record) or not _is_still_so(attempt) or _look(attempt) is not None:
        return Result()
    now = timezone.now()
    return Result(
        status=RuntimeStatus.REMOVED,
        changes={"removed_at": now, "current_container_id": None},
        image_ref=record.current_image_ref or "",
        health=_loss(record, instead=None, at=now),
    )


def observe_exit(attempt: Attempt) -> Result:
    """Record that a container has stopped running by itself, with how it ended."""
    record, seen = attempt.runtime, _look(attempt)
    if record is None or record.status != RuntimeStatus.RUNNING or not _is_still_so(attempt):
        return Result()
    if seen is None or seen.is_alive:
        return Result()
    ended_at = seen.finished_at or timezone.now()
    return Result(
        status=RuntimeStatus.STOPPED,
        changes={"stopped_at": ended_at, "current_container_id": seen.id},
        container_id=seen.id,
        image_ref=record.current_image_ref or "",
        health=end_of(seen, at=ended_at),
    )


def _look(attempt: Attempt) -> Container | None:
    """The container of the finding, if it is still there and ours."""
    with attempt.step("observe"):
        container_id = attempt.operation.arguments["container_id"]
        seen = attempt.containers.find(container_id) if container_id else None
    return seen if attempt.owns(seen) else None


def _is_still_so(attempt: Attempt) -> bool:
    """Whether nobody has written the record since the finding: a newer record is never overwritten."""
    fence = attempt.runtime.fence if attempt.runtime else 0
    return bool(fence == attempt.operation.arguments["record_fence"])


def _is_removed(record: Runtime | None) -> bool:
    # Only a start leads out of it.
    return record is not None and record.status == RuntimeStatus.REMOVED


def _remove_leftover(attempt: Attempt) -> Result:
    seen = _look(attempt)
    is_the_games_own = (
        attempt.runtime is not None and seen is not None and attempt.runtime.current_container_id == seen.id
    )
    if seen is None or is_the_games_own:
        return Result()
    with attempt.mutation("remove"):
        attempt.containers.remove(seen.id)
    return Result(acted=True, note=f"removed container {seen.id[:12]}, left behind by operation {seen.operation_id}")


def _image_note(attempt: Attempt, seen: Container, *, image_ref: str) -> str:
    with attempt.step("inspect_image"):
        image = attempt.containers.find_image(image_ref)
    if image is None:
        return f"adopted, but image {image_ref} is not on this host, so it cannot be compared with the container's"
    if image.id != seen.image_id:
        return f"adopted, but the container runs {seen.image_id}, which is not what {image_ref} is now ({image.id})"
    return ""


def _loss(record: Runtime | None, *, instead: Container | None, at: datetime) -> tuple[HealthEvent, ...]:
    """The recorded container that has gone, if the record said that it was running."""
    if record is None or record.status != RuntimeStatus.RUNNING or not record.current_container_id:
        return ()
    if instead is not None and instead.id == record.current_container_id:
        return ()
    return (HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, record.current_container_id, at),)


def end_of(seen: Container, *, at: datetime) -> tuple[HealthEvent, ...]:
    """What is told of a container that has ended by itself. Whoever tells it, its dedupe keys make it be told once."""
    # One container may be started by hand and end again: each end is an occurrence of its own.
    occurrence = str(epoch_ms(at))
    details = {"exit_code": seen.exit_code, "oom": seen.oom_killed}
    exited = HealthEvent(HealthEventType.CONTAINER_EXITED, seen.id, at, details, occurrence)
    if not seen.oom_killed:
        return (exited,)
    oom = HealthEvent(HealthEventType.CONTAINER_OOM, seen.id, at, {"exit_code": seen.exit_code}, occurrence)
    return (oom, exited)
