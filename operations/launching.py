"""Getting a container up, and out of the way. Every function looks before it acts, so it may be entered again
after a crash at any point: containers are created by name, which Docker keeps unique, and touched only by id.
"""

from dataclasses import dataclass

import structlog
from django.conf import settings

from operations import black_boxes
from operations.attempts import Attempt
from operations.events import epoch_ms
from operations.pulls import pull
from operations.states import BoxCause
from runtimes.containers.base import (
    Container,
    ContainerStartFailedError,
    ContainerState,
    Image,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.exceptions import RuntimeManagerError, StartConfigInvalidError
from runtimes.health import ran_out_of_memory
from runtimes.images import check_image_ref
from runtimes.specs import LABEL_IMAGE_REF, ContainerSpec, build_spec, limits_from_labels, state_path
from runtimes.state_dirs import ensure_state_dir

log = structlog.get_logger(__name__)

# How often a name may be taken under our hands before the start gives up.
_NAME_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to come up: the image, whether it is to run, and how long it must stay up to count as up."""

    image_ref: str
    image: Image
    run: bool = True
    settle_seconds: float = 0.0


def observe_for_start(attempt: Attempt) -> Container | None:
    """As ``observe``, but not where nothing of the game is known: to create by name is to look as well."""
    is_new = attempt.runtime is None and attempt.operation.attempt == 1
    return None if is_new else observe(attempt)


def observe(attempt: Attempt) -> Container | None:
    """The game's container right now: what stands under its name, else the recorded one (adopted under another)."""
    recorded = attempt.runtime.current_container_id if attempt.runtime else None
    with attempt.step("observe"):
        seen = attempt.containers.find(attempt.container_name)
        if recorded and not attempt.owns(seen):
            seen = attempt.containers.find(recorded) or seen
        return seen


def validate(attempt: Attempt, image_ref: str, *, fresh_seconds: float = 0.0) -> None:
    """Check what can be checked without touching anything. Raises StartConfigInvalidError.

    With ``fresh_seconds``, a network that was there so long ago counts; call ``check_network`` when a start fails then.
    """
    with attempt.step("validate"):
        check_image_ref(image_ref)
        check_network(attempt, fresh_seconds=fresh_seconds)


def check_network(attempt: Attempt, *, fresh_seconds: float = 0.0) -> None:
    """Raise StartConfigInvalidError when the games' network is not there."""
    network = attempt.policy.network
    if not attempt.containers.network_exists(network, fresh_seconds=fresh_seconds):
        message = f"the Docker network {network} does not exist; create it with: docker network create {network}"
        raise StartConfigInvalidError(message)


def prepare_state(attempt: Attempt) -> None:
    """Make the game's state directory. Idempotent. Raises StartConfigInvalidError when it cannot be used."""
    config = settings.RTMANAGER
    with attempt.step("prepare_state"):
        ensure_state_dir(
            state_path(attempt.policy.state_root, attempt.game_id),
            root=attempt.policy.state_root,
            mode=config.game_state_dir_mode,
            owner_uid=config.game_state_owner_uid,
            owner_gid=config.game_state_owner_gid,
        )


def obtain_image(attempt: Attempt, image_ref: str) -> Image:
    """The image on this host, pulled if the policy says so. Raises ImagePullFailedError, and PullAwaitedError when
    the operation must come back later.
    """
    policy = settings.RTMANAGER.image_pull_policy
    with attempt.step("inspect_image"):
        image = attempt.containers.find_image(image_ref)
    if policy == "always" or (policy == "if_missing" and image is None):
        pull(attempt, image_ref, is_here=image is not None)
        with attempt.step("inspect_image"):
            image = attempt.containers.find_image(image_ref)
    if image is None:
        message = f"image {image_ref} is not on this Docker host" + (
            " and the pull policy is never; load it or change RTMANAGER_IMAGE_PULL_POLICY" if policy == "never" else ""
        )
        raise ImagePullFailedError(message)
    return image


def launch(attempt: Attempt, seen: Container | None, wanted: Launch) -> str:
    """Create the container, or take up the one an earlier attempt made, and run it. Returns its id.

    ``seen`` is what stood under the name at the last look. A refusal takes the new container away again before it
    is raised: a failed start leaves nothing behind.
    """
    container_id = _create(attempt, seen, wanted)
    try:
        if wanted.run:
            _run(attempt, container_id, settle_seconds=wanted.settle_seconds)
    except RuntimeManagerError as error:
        if not error.transient:
            black_boxes.capture(attempt, container_id, BoxCause.CRASH_AT_START)
            with attempt.mutation("remove"):
                attempt.containers.remove(container_id)
        raise
    return container_id


def refuse_foreign(attempt: Attempt, seen: Container | None) -> None:
    """Raise ContainerStartFailedError when somebody else's container holds the name: it is never touched."""
    if seen is not None and not attempt.owns(seen):
        message = (
            f"the name {seen.name} is held by container {seen.id[:12]}, which this installation (stack "
            f"{attempt.policy.stack}) does not own; remove or rename that container, then try again"
        )
        raise ContainerStartFailedError(message)


def stop_container(attempt: Attempt, seen: Container) -> bool:
    """Stop the container if it is alive; False when it is gone."""
    if not seen.is_alive:
        return True
    try:
        with attempt.mutation("stop"):
            attempt.containers.stop(seen.id, grace_seconds=attempt.policy.stop_grace_seconds)
    except NoSuchContainerError:
        return False
    return True


def remove_container(attempt: Attempt, seen: Container) -> None:
    """Stop and remove a container of the game. Idempotent. Raises ContainerStartFailedError for a foreign one."""
    refuse_foreign(attempt, seen)
    stop_container(attempt, seen)
    black_boxes.capture_before_removal(attempt, seen)
    with attempt.mutation("remove"):
        attempt.containers.remove(seen.id)


def _create(attempt: Attempt, seen: Container | None, wanted: Launch) -> str:
    for _ in range(_NAME_ATTEMPTS):
        if seen is not None and _is_what_we_want(attempt, seen, image_ref=wanted.image_ref):
            return seen.id
        if seen is not None:
            remove_container(attempt, seen)
        try:
            with attempt.creation():
                return attempt.containers.create(_spec(attempt, wanted))
        except NameTakenError:
            # Somebody, perhaps a call of ours that had timed out, was faster: look again and go on from there.
            seen = observe(attempt)
    message = f"the container name {attempt.container_name} is taken again and again by somebody else"
    raise ContainerStartFailedError(message)


def _is_what_we_want(attempt: Attempt, seen: Container, *, image_ref: str) -> bool:
    """Whether this very operation made it, of this image, and it lives, or was made just now and waits for its start.

    What an earlier attempt has made and not seen started is replaced: its start may still be on the way and take
    effect at any time, even after a later stop. That start then finds no such container.
    """
    usable = seen.is_alive or (seen.state == ContainerState.CREATED and seen.fence == attempt.claim.fence)
    return attempt.made(seen) and seen.labels.get(LABEL_IMAGE_REF) == image_ref and usable


def _spec(attempt: Attempt, wanted: Launch) -> ContainerSpec:
    limits, warnings = limits_from_labels(wanted.image.labels, attempt.policy.default_limits)
    for warning in warnings:
        log.warning("image_limit_ignored", reason=warning)
    return build_spec(
        attempt.policy,
        game_id=attempt.game_id,
        image_ref=wanted.image_ref,
        limits=limits,
        operation_id=attempt.operation.pk,
        fence=attempt.claim.fence,
        # Reconcile compares it with the times of the operation, which are the database's as well.
        started_at_ms=epoch_ms(attempt.claim.now()),
    )


def _run(attempt: Attempt, container_id: str, *, settle_seconds: float) -> None:
    try:
        with attempt.mutation("start"):
            attempt.containers.start(container_id)
    except NoSuchContainerError:
        message = f"container {container_id[:12]} was removed by somebody else while it was being started"
        raise ContainerStartFailedError(message) from None
    if not settle_seconds:
        return
    with attempt.step("settle"):
        if attempt.containers.wait_exit(container_id, settle_seconds):
            raise ContainerStartFailedError(_cause_of_death(attempt, container_id))


def _cause_of_death(attempt: Attempt, container_id: str) -> str:
    dead = attempt.containers.find(container_id)
    if dead is None:
        return f"container {container_id[:12]} disappeared right after its start"
    cause = "out of memory" if ran_out_of_memory(dead) else f"exit code {dead.exit_code}"
    return f"the engine died at once ({cause}); its black box holds its last lines"
