"""What each operation does, step by step. Every action may be entered again after a crash at any point:
it looks first and goes on from what it sees.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.conf import settings

from operations import black_boxes
from operations.attempts import Attempt, FailedWithAftermathError, Result
from operations.clock import database_now
from operations.events import HealthEvent, HealthEventType
from operations.launching import (
    Launch,
    check_network,
    launch,
    observe,
    observe_for_start,
    obtain_image,
    prepare_state,
    refuse_foreign,
    remove_container,
    stop_container,
    validate,
)
from operations.lobby import ask_lobby
from operations.repairs import end_of, has_lost_its_container, on_record
from operations.states import BoxCause, OpKind
from runtimes.containers.base import Container, ContainerStartFailedError, ContainerState
from runtimes.exceptions import ConflictError, RuntimeManagerError, RuntimeNotFoundError
from runtimes.models import Runtime
from runtimes.specs import engine_endpoint, state_path
from runtimes.states import RuntimeStatus
from runtimes.versions import check_patch

# A start disturbs no game, so it may trust that its network is still there; if Docker then refuses, it looks again.
_NETWORK_FRESH_SECONDS = 10.0


def start(attempt: Attempt) -> Result:
    """Bring the game up on the image asked for; a game already up on it is a replay."""
    image_ref: str = attempt.operation.arguments["image_ref"]
    run = not attempt.operation.arguments.get("no_start", False)
    seen = observe_for_start(attempt)
    replay = None if attempt.made(seen) else _replay_or_refuse(attempt, seen, image_ref=image_ref, run=run)
    if replay is not None:
        return replay
    ask_lobby(attempt.game_id, operation_id=attempt.operation.pk)
    validate(attempt, image_ref, fresh_seconds=_NETWORK_FRESH_SECONDS)
    prepare_state(attempt)
    refuse_foreign(attempt, seen)
    wanted = Launch(
        image_ref, obtain_image(attempt, image_ref), run=run, settle_seconds=_start_settle_seconds()
    )  # fmt: skip
    earlier = _before_us(attempt, seen)
    try:
        container_id = launch(attempt, seen, wanted)
    except ContainerStartFailedError:
        check_network(attempt)
        raise
    return _up(attempt, container_id, wanted, earlier=earlier)


def stop(attempt: Attempt) -> Result:
    """Bring the game down, gracefully, then by force; its container is kept. A game already down is a replay."""
    record = _record(attempt)
    if record.status != RuntimeStatus.RUNNING:
        return _replay(record)
    seen = observe(attempt)
    if seen is None or not attempt.owns(seen):
        return _gone(record, health=(_disappeared(attempt, record),))
    earlier = _before_us(attempt, seen)
    if not stop_container(attempt, seen):
        return _gone(record, health=(_disappeared(attempt, record),))
    return Result(
        status=RuntimeStatus.STOPPED,
        changes={"stopped_at": attempt.claim.now(), "current_container_id": seen.id},
        container_id=seen.id,
        image_ref=record.current_image_ref or "",
        health=earlier,
    )


def restart(attempt: Attempt) -> Result:
    """Put a new container of the same image in the place of the old one, whether that runs or not."""
    record = _recreatable(attempt)
    image_ref = record.current_image_ref or ""
    validate(attempt, image_ref)
    prepare_state(attempt)
    seen = observe(attempt)
    refuse_foreign(attempt, seen)
    earlier = _before_us(attempt, seen)
    wanted = Launch(image_ref, obtain_image(attempt, image_ref), settle_seconds=_start_settle_seconds())
    try:
        container_id = launch(attempt, seen, wanted)
    except ContainerStartFailedError as error:
        raise FailedWithAftermathError(error, _what_is_left(attempt, record)) from error
    return _up(attempt, container_id, wanted, earlier=earlier)


def patch(attempt: Attempt) -> Result:
    """Replace the image by another patch release of it; if that does not come up and stay up, put the old one back.

    Everything that can be refused is refused, and the new image is on the host, before the game is disturbed.
    """
    record = _recreatable(attempt)
    old, new = record.current_image_ref or "", attempt.operation.arguments["image_ref"]
    if attempt.timeline.has("revert"):
        return _put_back(attempt, record, attempt.timeline.last_error_before("revert"))
    validate(attempt, new)
    check_patch(old_image_ref=old, new_image_ref=new)
    if old == new:
        return _replay(record)
    prepare_state(attempt)
    image = obtain_image(attempt, new)
    seen = observe(attempt)
    refuse_foreign(attempt, seen)
    earlier = _before_us(attempt, seen)
    wanted = Launch(new, image, settle_seconds=settings.RTMANAGER.patch_settle_seconds)
    try:
        container_id = launch(attempt, seen, wanted)
    except ContainerStartFailedError as error:
        return _put_back(attempt, record, error.message)
    return _up(attempt, container_id, wanted, earlier=earlier)


def cleanup(attempt: Attempt) -> Result:
    """Remove the container of a game that does not run. The state directory always stays."""
    record = _record(attempt)
    if record.status == RuntimeStatus.REMOVED:
        return _replay(record)
    if record.status == RuntimeStatus.RUNNING:
        message = f"game {attempt.game_id} is running; stop it before its container can be removed"
        raise ConflictError(message)
    seen = observe(attempt)
    if seen is not None and attempt.owns(seen):
        if seen.is_alive:
            message = f"game {attempt.game_id} is recorded as stopped but its container runs; the next reconcile tells"
            raise ConflictError(message)
        remove_container(attempt, seen)
    return _gone(record)


def abandon(attempt: Attempt) -> Result:
    """Leave the game whole when the operation is given up; returns what its record must become.

    What a start made is taken back. What a restart or a patch made is the game's when it is alive and the container
    on record is gone, for they have removed that one themselves; else it is taken back too.
    """
    if attempt.operation.op_kind not in _MAKERS:
        return Result()
    seen = observe(attempt)
    if seen is None or not attempt.made(seen):
        return Result()
    is_lost = attempt.operation.op_kind != OpKind.START and has_lost_its_container(attempt)
    if is_lost and seen.is_alive:
        kept = on_record(attempt, seen)
        return replace(kept, health=(_started(seen.id, kept.image_ref, at=database_now()),))
    remove_container(attempt, seen)
    return _gone(_record(attempt)) if is_lost else Result()


def take_back(attempt: Attempt) -> Result:
    """Undo what came up but cannot be put on record; returns what the record must become.

    A patch puts the old image back. Raises FailedWithAftermathError when it has.
    """
    if attempt.operation.op_kind == OpKind.PATCH and attempt.runtime is not None:
        return _put_back(attempt, attempt.runtime, "its record could not be stored")
    if attempt.operation.op_kind not in _MAKERS:
        return Result()
    seen = observe(attempt)
    if seen is not None and attempt.made(seen):
        remove_container(attempt, seen)
    return _gone(_record(attempt)) if attempt.operation.op_kind == OpKind.RESTART else Result()


_MAKERS = (OpKind.START, OpKind.RESTART, OpKind.PATCH)
ACTIONS: dict[OpKind, Callable[[Attempt], Result]] = {
    OpKind.START: start,
    OpKind.STOP: stop,
    OpKind.RESTART: restart,
    OpKind.PATCH: patch,
    OpKind.CLEANUP_CONTAINER: cleanup,
}


def _record(attempt: Attempt) -> Runtime:
    if attempt.runtime is None:
        message = f"game {attempt.game_id} has no record: it was never started here; start it first"
        raise RuntimeNotFoundError(message)
    return attempt.runtime


def _recreatable(attempt: Attempt) -> Runtime:
    record = _record(attempt)
    if record.status == RuntimeStatus.REMOVED:
        message = f"game {attempt.game_id} is removed; start it to have a container again"
        raise ConflictError(message)
    return record


def _replay_or_refuse(attempt: Attempt, seen: Container | None, *, image_ref: str, run: bool) -> Result | None:
    record = attempt.runtime
    if record is None:
        return None
    if not run:
        message = f"game {attempt.game_id} exists already ({record.status}); no_start only makes a first container"
        raise ConflictError(message)
    if record.status != RuntimeStatus.RUNNING or seen is None or not attempt.owns(seen) or not seen.is_alive:
        return None
    if record.current_image_ref != image_ref:
        message = (
            f"game {attempt.game_id} is running {record.current_image_ref}, not {image_ref}; "
            f"patch it, or stop it before starting the other image"
        )
        raise ConflictError(message)
    return _replay(record) if record.current_container_id == seen.id else None


def _put_back(attempt: Attempt, record: Runtime, reason: str) -> Result:
    """Bring the old image up again, as it was before the patch. Always raises: the patch has failed."""
    old, new = record.current_image_ref or "", attempt.operation.arguments["image_ref"]
    with attempt.mutation("revert"):
        aftermath, outcome = _old_image_up(attempt, record)
    message = f"image {new} did not come up ({reason}); {outcome.format(image=old)}"
    raise FailedWithAftermathError(ContainerStartFailedError(message), aftermath)


def _old_image_up(attempt: Attempt, record: Runtime) -> tuple[Result, str]:
    was_running = record.status == RuntimeStatus.RUNNING
    try:
        image = obtain_image(attempt, record.current_image_ref or "")
        wanted = Launch(
            record.current_image_ref or "", image, run=was_running, settle_seconds=_start_settle_seconds()
        )  # fmt: skip
        container_id = launch(attempt, observe(attempt), wanted)
    except RuntimeManagerError as error:
        if error.transient:
            raise
        return _what_is_left(attempt, record), f"the old image {{image}} could not be put back either: {error.message}"
    again = "the game is running on it again" if was_running else "the game is stopped on it again"
    return _up(attempt, container_id, wanted), f"the old image {{image}} was put back, {again}"


def _what_is_left(attempt: Attempt, record: Runtime) -> Result:
    """The record of a game whose replacement failed: as it was if its container still stands, else removed."""
    return Result() if attempt.owns(observe(attempt)) else _gone(record)


def _up(attempt: Attempt, container_id: str, wanted: Launch, *, earlier: tuple[HealthEvent, ...] = ()) -> Result:
    now = attempt.claim.now()
    placement = {
        "current_container_id": container_id,
        "current_image_ref": wanted.image_ref,
        "image_id": wanted.image.id,
        "engine_endpoint": engine_endpoint(attempt.game_id),
        "state_path": state_path(attempt.policy.state_root, attempt.game_id),
        "docker_network": attempt.policy.network,
    }
    times = {"started_at": now, "stopped_at": None, "removed_at": None} if wanted.run else {}
    return Result(
        status=RuntimeStatus.RUNNING if wanted.run else RuntimeStatus.STOPPED,
        changes={**placement, **times},
        container_id=container_id,
        image_ref=wanted.image_ref,
        health=(*earlier, _started(container_id, wanted.image_ref, at=now)) if wanted.run else earlier,
    )


def _started(container_id: str, image_ref: str, *, at: datetime) -> HealthEvent:
    return HealthEvent(HealthEventType.CONTAINER_STARTED, container_id, at, {"image_ref": image_ref})


def _before_us(attempt: Attempt, seen: Container | None) -> tuple[HealthEvent, ...]:
    """What became of a running game's container by itself: whoever finds it first tells it, for it is gone after."""
    record = attempt.runtime
    # Once we have begun to stop or to remove, an end or an absence may well be our own doing.
    is_ours = attempt.timeline.has("stop") or attempt.timeline.has("remove")
    if record is None or record.status != RuntimeStatus.RUNNING or is_ours:
        return ()
    if seen is None:
        return (_disappeared(attempt, record),)
    if seen.id == record.current_container_id and seen.state == ContainerState.EXITED:
        black_boxes.capture(attempt, seen.id, BoxCause.EXITED, seen=seen)
        return end_of(seen, at=seen.finished_at or database_now())
    return ()


def _disappeared(attempt: Attempt, record: Runtime) -> HealthEvent:
    black_boxes.capture_lost(attempt, record)
    return HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, record.current_container_id or "", database_now())


def _replay(record: Runtime) -> Result:
    return Result(container_id=record.current_container_id or "", image_ref=record.current_image_ref or "")


def _gone(record: Runtime, *, health: tuple[HealthEvent, ...] = ()) -> Result:
    return Result(
        status=RuntimeStatus.REMOVED,
        changes={"removed_at": database_now(), "current_container_id": None},
        image_ref=record.current_image_ref or "",
        health=health,
    )


def _start_settle_seconds() -> float:
    return float(settings.RTMANAGER.start_settle.total_seconds())
