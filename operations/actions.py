"""What each operation does, step by step. Every action may be entered again after a crash at any point:
it looks first and goes on from what it sees. Containers are created by name and touched only by id.
"""

from collections.abc import Callable

import structlog
from django.conf import settings
from django.utils import timezone

from operations.attempts import Attempt, Result
from operations.events import HealthEvent, HealthEventType, epoch_ms
from operations.states import OpKind
from runtimes.containers.base import (
    Container,
    ContainerStartFailedError,
    ContainerState,
    Image,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.exceptions import ConflictError, RuntimeManagerError, RuntimeNotFoundError, StartConfigInvalidError
from runtimes.images import check_image_ref
from runtimes.models import Runtime
from runtimes.specs import Limits, build_spec, engine_endpoint, limits_from_labels, state_path
from runtimes.state_dirs import ensure_state_dir
from runtimes.states import RuntimeStatus

log = structlog.get_logger(__name__)

# How often a name may be taken under our hands before the start gives up.
_NAME_ATTEMPTS = 3


def start(attempt: Attempt) -> Result:
    """Bring the game up on the image asked for; a game already up on it is a replay."""
    image_ref: str = attempt.operation.arguments["image_ref"]
    no_start = bool(attempt.operation.arguments.get("no_start", False))
    with attempt.step("observe"):
        seen = attempt.containers.find(attempt.container_name)
    replay = None if attempt.made(seen) else _replay_or_refuse(attempt, seen, image_ref=image_ref, no_start=no_start)
    if replay is not None:
        return replay
    _validate(attempt, image_ref)
    _prepare_state(attempt)
    image = _obtain_image(attempt, image_ref)
    container = _launch(attempt, seen, image_ref=image_ref, image=image, run=not no_start)
    health = _loss_of_former(attempt, seen)
    if no_start:
        return _created(attempt, container, image_ref=image_ref, image=image)
    return _running(attempt, container, image_ref=image_ref, image=image, health=health)


def stop(attempt: Attempt) -> Result:
    """Bring the game down, gracefully, then by force; its container is kept. A game already down is a replay."""
    record = _record(attempt)
    if record.status != RuntimeStatus.RUNNING:
        return Result(container_id=record.current_container_id or "", image_ref=record.current_image_ref or "")
    with attempt.step("observe"):
        seen = attempt.containers.find(attempt.container_name)
    if seen is None or not attempt.owns(seen) or not _stopped(attempt, seen):
        return _gone(record)
    return Result(
        status=RuntimeStatus.STOPPED,
        changes={"stopped_at": timezone.now(), "current_container_id": seen.id},
        container_id=seen.id,
        image_ref=record.current_image_ref or "",
    )


def abandon(attempt: Attempt) -> None:
    """Take back what a start that is given up has left in Docker; other operations leave nothing half made."""
    if attempt.operation.op_kind != OpKind.START:
        return
    with attempt.step("observe"):
        seen = attempt.containers.find(attempt.container_name)
    if seen is not None and attempt.made(seen):
        with attempt.mutation("remove"):
            attempt.containers.remove(seen.id)


ACTIONS: dict[OpKind, Callable[[Attempt], Result]] = {OpKind.START: start, OpKind.STOP: stop}


def _record(attempt: Attempt) -> Runtime:
    if attempt.runtime is None:
        message = f"game {attempt.game_id} has no record: it was never started here; start it first"
        raise RuntimeNotFoundError(message)
    return attempt.runtime


def _replay_or_refuse(attempt: Attempt, seen: Container | None, *, image_ref: str, no_start: bool) -> Result | None:
    record = attempt.runtime
    if record is None:
        return None
    if no_start:
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
    if record.current_container_id == seen.id:
        return Result(container_id=seen.id, image_ref=image_ref)
    return None


def _validate(attempt: Attempt, image_ref: str) -> None:
    network = attempt.policy.network
    with attempt.step("validate"):
        check_image_ref(image_ref)
        if not attempt.containers.network_exists(network):
            message = f"the Docker network {network} does not exist; create it with: docker network create {network}"
            raise StartConfigInvalidError(message)


def _prepare_state(attempt: Attempt) -> None:
    config = settings.RTMANAGER
    with attempt.step("prepare_state"):
        ensure_state_dir(
            state_path(attempt.policy.state_root, attempt.game_id),
            root=attempt.policy.state_root,
            mode=config.game_state_dir_mode,
            owner_uid=config.game_state_owner_uid,
            owner_gid=config.game_state_owner_gid,
        )


def _obtain_image(attempt: Attempt, image_ref: str) -> Image:
    policy = settings.RTMANAGER.image_pull_policy
    with attempt.step("inspect_image"):
        image = attempt.containers.find_image(image_ref)
    if policy == "always" or (policy == "if_missing" and image is None):
        with attempt.mutation("pull"):
            attempt.containers.pull(image_ref)
        with attempt.step("inspect_image"):
            image = attempt.containers.find_image(image_ref)
    if image is None:
        message = f"image {image_ref} is not on this Docker host" + (
            " and the pull policy is never; load it or change RTMANAGER_IMAGE_PULL_POLICY" if policy == "never" else ""
        )
        raise ImagePullFailedError(message)
    return image


def _limits(attempt: Attempt, image: Image) -> Limits:
    limits, warnings = limits_from_labels(image.labels, attempt.policy.default_limits)
    for warning in warnings:
        log.warning("image_limit_ignored", game_id=attempt.game_id, reason=warning)
    return limits


def _launch(attempt: Attempt, seen: Container | None, *, image_ref: str, image: Image, run: bool) -> str:
    """Create the container, or take up the one an earlier attempt made, and run it. Returns its id.

    A refusal takes the container away again before it is reported: a failed start leaves nothing behind.
    """
    container_id = _create(attempt, seen, image_ref=image_ref, limits=_limits(attempt, image))
    try:
        if run:
            _run(attempt, container_id)
    except RuntimeManagerError as error:
        if not error.transient:
            with attempt.mutation("remove"):
                attempt.containers.remove(container_id)
        raise
    return container_id


def _create(attempt: Attempt, seen: Container | None, *, image_ref: str, limits: Limits) -> str:
    for _ in range(_NAME_ATTEMPTS):
        if seen is not None and attempt.made(seen) and (seen.is_alive or seen.state == ContainerState.CREATED):
            return seen.id
        if seen is not None:
            _clear_name(attempt, seen)
        spec = build_spec(
            attempt.policy,
            game_id=attempt.game_id,
            image_ref=image_ref,
            limits=limits,
            operation_id=str(attempt.operation.pk),
            fence=attempt.claim.fence,
            started_at_ms=epoch_ms(timezone.now()),
        )
        try:
            with attempt.mutation("create"):
                return attempt.containers.create(spec)
        except NameTakenError:
            # Somebody, perhaps a call of ours that had timed out, was faster: look again and go on from there.
            with attempt.step("observe"):
                seen = attempt.containers.find(attempt.container_name)
    message = f"the container name {attempt.container_name} is taken again and again by somebody else"
    raise ContainerStartFailedError(message)


def _clear_name(attempt: Attempt, seen: Container) -> None:
    """Take the game's former container away; somebody else's is never touched."""
    if not attempt.owns(seen):
        message = (
            f"the name {seen.name} is held by container {seen.id[:12]}, which this installation (stack "
            f"{attempt.policy.stack}) does not own; remove or rename that container, then start the game again"
        )
        raise ContainerStartFailedError(message)
    _stopped(attempt, seen)
    with attempt.mutation("remove"):
        attempt.containers.remove(seen.id)


def _run(attempt: Attempt, container_id: str) -> None:
    try:
        with attempt.mutation("start"):
            attempt.containers.start(container_id)
    except NoSuchContainerError:
        message = f"container {container_id[:12]} was removed by somebody else while it was being started"
        raise ContainerStartFailedError(message) from None
    with attempt.step("settle"):
        died = attempt.containers.wait_exit(container_id, settings.RTMANAGER.start_settle.total_seconds())
        if died:
            raise ContainerStartFailedError(_cause_of_death(attempt, container_id))


def _cause_of_death(attempt: Attempt, container_id: str) -> str:
    dead = attempt.containers.find(container_id)
    if dead is None:
        return f"container {container_id[:12]} disappeared right after its start"
    cause = "out of memory" if dead.oom_killed else f"exit code {dead.exit_code}"
    return f"the engine died at once ({cause}); run the image by hand to see why"


def _stopped(attempt: Attempt, seen: Container) -> bool:
    """Stop the container if it is alive; False when it is gone."""
    if not seen.is_alive:
        return True
    try:
        with attempt.mutation("stop"):
            attempt.containers.stop(seen.id, grace_seconds=attempt.policy.stop_grace_seconds)
    except NoSuchContainerError:
        return False
    return True


def _loss_of_former(attempt: Attempt, seen: Container | None) -> tuple[HealthEvent, ...]:
    """A record that said running while its container was gone: the loss is reported by whoever finds it."""
    record = attempt.runtime
    if record is None or record.status != RuntimeStatus.RUNNING or seen is not None:
        return ()
    return (_disappeared(record),)


def _disappeared(record: Runtime) -> HealthEvent:
    return HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, record.current_container_id or "", timezone.now())


def _gone(record: Runtime) -> Result:
    return Result(
        status=RuntimeStatus.REMOVED,
        changes={"removed_at": timezone.now(), "current_container_id": None},
        image_ref=record.current_image_ref or "",
        health=(_disappeared(record),),
    )


def _placement(attempt: Attempt, *, container_id: str, image_ref: str, image: Image) -> dict[str, object]:
    return {
        "current_container_id": container_id,
        "current_image_ref": image_ref,
        "image_id": image.id,
        "engine_endpoint": engine_endpoint(attempt.game_id),
        "state_path": state_path(attempt.policy.state_root, attempt.game_id),
        "docker_network": attempt.policy.network,
    }


def _running(
    attempt: Attempt, container_id: str, *, image_ref: str, image: Image, health: tuple[HealthEvent, ...]
) -> Result:
    now = timezone.now()
    placement = _placement(attempt, container_id=container_id, image_ref=image_ref, image=image)
    started = HealthEvent(HealthEventType.CONTAINER_STARTED, container_id, now, {"image_ref": image_ref})
    return Result(
        status=RuntimeStatus.RUNNING,
        changes={**placement, "started_at": now, "stopped_at": None, "removed_at": None},
        container_id=container_id,
        image_ref=image_ref,
        health=(*health, started),
    )


def _created(attempt: Attempt, container_id: str, *, image_ref: str, image: Image) -> Result:
    return Result(
        status=RuntimeStatus.STOPPED,
        changes=_placement(attempt, container_id=container_id, image_ref=image_ref, image=image),
        container_id=container_id,
        image_ref=image_ref,
    )
