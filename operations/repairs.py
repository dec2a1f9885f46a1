"""The operations that the reconciler asks for. Each looks again, under its lease, before it believes the finding."""

from datetime import datetime

from operations import black_boxes
from operations.attempts import Attempt, Result
from operations.clock import database_now
from operations.events import HealthEvent, HealthEventType, epoch_ms
from operations.states import BoxCause, OpKind
from runtimes.containers.base import Container
from runtimes.health import ran_out_of_memory
from runtimes.models import Runtime
from runtimes.specs import ENGINE_PORT, LABEL_IMAGE_REF, state_path
from runtimes.states import RuntimeStatus


def adopt(attempt: Attempt) -> Result:
    """Take a live container of ours that is on no record, or not on the right one, into the record as running."""
    record, seen = attempt.runtime, _look(attempt)
    if not _is_still_so(attempt) or seen is None or not seen.is_alive or _is_removed(record):
        return Result()
    now = database_now()
    return on_record(
        attempt,
        seen,
        note=_image_note(attempt, seen, image_ref=_image_ref(seen)),
        health=_loss(attempt, instead=seen, at=now),
    )


def on_record(
    attempt: Attempt, seen: Container, *, note: str = "", health: tuple[HealthEvent, ...] = ()
) -> Result:  # fmt: skip
    """The result that puts a live container on the record of its game, as running."""
    return Result(
        status=RuntimeStatus.RUNNING,
        changes={
            "current_container_id": seen.id,
            "current_image_ref": _image_ref(seen),
            "image_id": seen.image_id,
            # Its own name, whoever gave it: that is where the engine answers.
            "engine_endpoint": f"http://{seen.name}:{ENGINE_PORT}",
            "state_path": state_path(attempt.policy.state_root, attempt.game_id),
            "docker_network": attempt.policy.network,
            "started_at": seen.started_at or database_now(),
            "stopped_at": None,
            "removed_at": None,
        },
        container_id=seen.id,
        image_ref=_image_ref(seen),
        note=note,
        health=health,
    )


def has_lost_its_container(attempt: Attempt) -> bool:
    """Whether the record names a container that a healthy Docker does not have."""
    record = attempt.runtime
    if record is None or _is_removed(record):
        return False
    with attempt.step("observe"):
        return attempt.containers.find(record.current_container_id or "") is None


def dispose(attempt: Attempt) -> Result:
    """Record that a container is gone, or remove one that an ended operation left behind."""
    if attempt.operation.arguments["is_leftover"]:
        return _remove_leftover(attempt)
    record = attempt.runtime
    if record is None or _is_removed(record) or not _is_still_so(attempt) or _look(attempt) is not None:
        return Result()
    successor = attempt.containers.find(attempt.container_name)
    if successor is not None and attempt.owns(successor) and _is_kept(attempt, successor):
        return _kept(attempt, successor)
    now = database_now()
    return Result(
        status=RuntimeStatus.REMOVED,
        changes={"removed_at": now, "current_container_id": None},
        image_ref=record.current_image_ref or "",
        health=_loss(attempt, instead=None, at=now),
    )


def observe_exit(attempt: Attempt) -> Result:
    """Record that a container has stopped running by itself, with how it ended."""
    record, seen = attempt.runtime, _look(attempt)
    if record is None or record.status != RuntimeStatus.RUNNING or not _is_still_so(attempt):
        return Result()
    if seen is None or seen.is_alive:
        return Result()
    black_boxes.capture(attempt, seen.id, BoxCause.EXITED, seen=seen)
    ended_at = seen.finished_at or database_now()
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
    if seen is None:
        # By our own hand, if an attempt that died had begun to remove it.
        return Result(acted=attempt.timeline.has("remove"))
    if is_the_games_own:
        return Result()
    if _is_kept(attempt, seen):
        return _kept(attempt, seen)
    black_boxes.capture(attempt, seen.id, BoxCause.REMOVED, seen=seen)
    with attempt.mutation("remove"):
        attempt.containers.remove(seen.id)
    return Result(acted=True, note=f"removed container {seen.id[:12]}, left behind by operation {seen.operation_id}")


def _is_kept(attempt: Attempt, seen: Container) -> bool:
    """Whether what an ended operation left is what the game has left: alive, while the container on record is gone.

    So it is when a restart or a patch was given up after it had removed the old container. What a failed start leaves
    behind always goes.
    """
    if not seen.is_alive or not has_lost_its_container(attempt):
        return False
    return attempt.maker_of(seen) in {OpKind.RESTART, OpKind.PATCH}


def _kept(attempt: Attempt, seen: Container) -> Result:
    return on_record(attempt, seen, note=f"kept what operation {seen.operation_id} had made: the game has no other")


def _image_ref(seen: Container) -> str:
    return seen.labels.get(LABEL_IMAGE_REF) or seen.image_ref


def _image_note(attempt: Attempt, seen: Container, *, image_ref: str) -> str:
    with attempt.step("inspect_image"):
        image = attempt.containers.find_image(image_ref)
    if image is None:
        return f"adopted, but image {image_ref} is not on this host, so it cannot be compared with the container's"
    if image.id != seen.image_id:
        return f"adopted, but the container runs {seen.image_id}, which is not what {image_ref} is now ({image.id})"
    return ""


def _loss(attempt: Attempt, *, instead: Container | None, at: datetime) -> tuple[HealthEvent, ...]:
    """The recorded container that has gone, if the record said that it was running."""
    record = attempt.runtime
    if record is None or record.status != RuntimeStatus.RUNNING or not record.current_container_id:
        return ()
    if instead is not None and instead.id == record.current_container_id:
        return ()
    black_boxes.capture_lost(attempt, record)
    return (HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, record.current_container_id, at),)


def end_of(seen: Container, *, at: datetime) -> tuple[HealthEvent, ...]:
    """What is told of a container that has ended by itself. Whoever tells it, its dedupe keys make it be told once."""
    # One container may be started by hand and end again: each end is an occurrence of its own.
    occurrence = str(epoch_ms(at))
    details = {"exit_code": seen.exit_code, "oom": ran_out_of_memory(seen)}
    exited = HealthEvent(HealthEventType.CONTAINER_EXITED, seen.id, at, details, occurrence)
    if not ran_out_of_memory(seen):
        return (exited,)
    oom = HealthEvent(HealthEventType.CONTAINER_OOM, seen.id, at, {"exit_code": seen.exit_code}, occurrence)
    return (oom, exited)
