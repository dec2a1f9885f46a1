"""Start, stop and remove the container of a game.

Every function observes before it acts, so it can run again after a crash at any line. Containers are created by name,
which Docker keeps unique, and changed only by id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog
from django.conf import settings

from operations.execution.attempt import Attempt
from operations.execution.image_choice import ImageChoice, check_reference
from operations.execution.observation import observe, reject_name_conflict
from operations.exit_reports import capture
from operations.installation import state_root
from operations.messages import epoch_ms
from operations.states import ExitCause
from runtimes.container_limits import ceilings_of, describe_limit, exceeds_defaults, limits_from_labels
from runtimes.container_spec import LABEL_IMAGE_REF, ContainerSpec, Limits, build_spec, state_path
from runtimes.containers.base import (
    Container,
    ContainerStartFailedError,
    ContainerState,
    DockerRefusedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.containers.exit_causes import was_oom_killed
from runtimes.containers.refusals import Refusal
from runtimes.containers.types import HostCapacity
from runtimes.exceptions import RuntimeManagerError, StartConfigInvalidError
from runtimes.formatting import short_id
from runtimes.storage.image_volumes import VolumeMount, declared_outside, plan_volumes
from runtimes.storage.state_dirs import ensure_state_dir, ensure_volume_dirs

log = structlog.get_logger(__name__)

# The start gives up if the name of the container is taken this many times in a row.
_NAME_ATTEMPTS = 3
_LIMIT_OF = {
    Refusal.CPU_LIMIT: "cpu_quota", Refusal.MEMORY_LIMIT: "memory_bytes", Refusal.PIDS_LIMIT: "pids_limit",
}  # fmt: skip


def _start_settle() -> float:
    return float(settings.RTMANAGER.start_settle.total_seconds())


@dataclass(frozen=True, slots=True)
class StartPlan:
    """The container to create. ``run``: whether to start it. ``settle_seconds``: how long it must then stay up."""

    choice: ImageChoice
    volumes: tuple[VolumeMount, ...]
    run: bool = True
    settle_seconds: float = field(default_factory=_start_settle)


def validate(attempt: Attempt, image_ref: str, *, fresh_seconds: float = 0.0) -> None:
    """Check the image reference and the network. Raises StartConfigInvalidError.

    With ``fresh_seconds``, a network that existed at most that long ago counts as present. If the start then fails,
    call ``check_network``.
    """
    with attempt.step("validate"):
        check_reference(image_ref)
        check_network(attempt, fresh_seconds=fresh_seconds)


def check_network(attempt: Attempt, *, fresh_seconds: float = 0.0) -> None:
    """Raise StartConfigInvalidError if the Docker network of the games does not exist."""
    network = attempt.policy.network
    if not attempt.containers.network_exists(network, fresh_seconds=fresh_seconds):
        message = f"the Docker network {network} does not exist; create it with: docker network create {network}"
        raise StartConfigInvalidError(message)


def prepare_state(attempt: Attempt) -> str:
    """Create the state directory of the game. Idempotent. Returns a note for the operation, usually empty.

    Raises StartConfigInvalidError if the directory cannot be used, or if it is missing although the game has run.
    """
    config, root = settings.RTMANAGER, attempt.policy.state_root
    path = state_path(root, attempt.game_id)
    with attempt.step("prepare_state"):
        is_new = ensure_state_dir(
            path,
            root=root,
            guard=state_root.RecordedRoot(root),
            refuse_new=partial(state_root.refuse_missing_directory, attempt, path),
            mode=config.game_state_dir_mode,
            owner_uid=config.game_state_owner_uid,
            owner_gid=config.game_state_owner_gid,
        )
    return state_root.note_of(attempt, path) if is_new else ""


def prepare_volumes(attempt: Attempt, choice: ImageChoice, *, is_revert: bool = False) -> tuple[VolumeMount, ...]:
    """Create the directories of the volumes that the image declares. Idempotent.

    Raises StartConfigInvalidError if the volumes cannot be used, or if the settings refuse an image with volumes
    outside the state mount. The latter never applies to the image that a patch reverts to.
    """
    declared, mount_path = choice.image.volumes, attempt.policy.state_mount_path
    unwanted = declared_outside(declared, mount_path=mount_path)
    if unwanted and attempt.policy.image_volumes == "refuse" and not is_revert:
        message = (
            f"game {attempt.game_id}: image {choice.image_ref} declares the volumes {', '.join(unwanted)}, and "
            f"RTMANAGER_IMAGE_VOLUMES is refuse; use an image that keeps its data in {mount_path}, or set it to state"
        )
        raise StartConfigInvalidError(message)
    volumes = plan_volumes(declared, mount_path=mount_path)
    _ensure_volume_dirs(attempt, volumes)
    return volumes


def start_container(attempt: Attempt, own: Container | None, plan: StartPlan) -> str:
    """Create the container, or reuse the one that an earlier attempt created, and start it. Returns its id.

    ``own``: the observed container of the game, if there is one. A failed start removes the new container again before
    it raises ContainerStartFailedError; so does a refusal by Docker.
    """
    # Before any change: this may ask Docker for the capacity of its host.
    spec = _spec(attempt, plan)
    try:
        container_id, is_running = _create(attempt, own, plan, spec)
        if plan.run:
            _run(attempt, container_id, plan, spec, is_running=is_running)
    except (DockerRefusedError, ContainerStartFailedError) as error:
        raise ContainerStartFailedError(error.message + _limit_behind(error, plan, spec), error.refusal) from error
    return container_id


def stop_container(attempt: Attempt, container: Container) -> bool:
    """Stop the container if it runs; False if it is gone."""
    if not container.is_alive:
        return True
    try:
        with attempt.write_step("stop"):
            attempt.containers.stop(container.id, grace_seconds=attempt.policy.stop_grace_seconds)
    except NoSuchContainerError:
        return False
    return True


def remove_container(attempt: Attempt, container: Container) -> None:
    """Stop and remove a container of the game. Idempotent."""
    stop_container(attempt, container)
    capture.capture_before_removal(attempt, container)
    with attempt.write_step("remove"):
        attempt.containers.remove(container.id, grace_seconds=attempt.policy.stop_grace_seconds)


def _ensure_volume_dirs(attempt: Attempt, volumes: tuple[VolumeMount, ...]) -> None:
    if not volumes:
        return
    config = settings.RTMANAGER
    with attempt.step("prepare_state"):
        ensure_volume_dirs(
            state_path(attempt.policy.state_root, attempt.game_id),
            [volume.subdirectory for volume in volumes],
            mode=config.game_state_dir_mode,
            owner_uid=config.game_state_owner_uid,
            owner_gid=config.game_state_owner_gid,
        )


def _create(attempt: Attempt, own: Container | None, plan: StartPlan, spec: ContainerSpec) -> tuple[str, bool]:
    """Return the id of the container, and whether an earlier attempt has started it already."""
    for _ in range(_NAME_ATTEMPTS):
        if own is not None and _is_reusable(attempt, own, plan.choice):
            attempt.operation.container_id = own.id
            return own.id, own.is_alive
        if own is not None:
            remove_container(attempt, own)
        try:
            # The game has no live container now, so Docker will mount the directories that are checked here.
            _ensure_volume_dirs(attempt, plan.volumes)
            with attempt.create_step():
                container_id = attempt.containers.create(spec)
        except NameTakenError:
            # Another container got the name first, perhaps by a call of ours that had timed out: observe again.
            observed = observe(attempt)
            reject_name_conflict(attempt, observed)
            own = observed.own
        else:
            # The next write step, before the start, stores it.
            attempt.operation.container_id = container_id
            return container_id, False
    message = (
        f"game {attempt.game_id} cannot get a container: the name {attempt.container_name} was taken by another "
        f"container {_NAME_ATTEMPTS} times; find out what creates it, then try again"
    )
    raise ContainerStartFailedError(message)


def _is_reusable(attempt: Attempt, container: Container, choice: ImageChoice) -> bool:
    """Whether this operation created the container from this image, and it runs or was created by this attempt.

    The fence only distinguishes attempts of one operation: in a restored database fences begin again. A container that
    was renamed since is replaced, because its endpoint does not reach it.

    A container that an earlier attempt created and did not see running is replaced. Its start may still be on the way
    and take effect at any time, even after a later stop; after the replacement it finds no such container.
    """
    usable = container.is_alive or (
        container.state == ContainerState.CREATED and container.fence == attempt.claim.fence
    )  # fmt: skip
    # The reference may name another image since the earlier attempt: the record must name what runs.
    is_of_image = (
        container.labels.get(LABEL_IMAGE_REF) == choice.image_ref and container.image_id == choice.image.id
    )  # fmt: skip
    return attempt.has_created(container) and is_of_image and usable and container.name == attempt.container_name


def _spec(attempt: Attempt, plan: StartPlan) -> ContainerSpec:
    return build_spec(
        attempt.policy,
        game_id=attempt.game_id,
        image_ref=plan.choice.image_ref,
        image=plan.choice.create_from,
        limits=_limits(attempt, plan.choice.image.labels),
        volumes=plan.volumes,
        operation_id=attempt.operation.pk,
        job_key=attempt.operation.job_key,
        fence=attempt.claim.fence,
        started_at_ms=epoch_ms(attempt.claim.now()),
    )


def _limits(attempt: Attempt, labels: Mapping[str, str]) -> Limits:
    """The limits of a container of an image with these labels. Ignored labels become notes of the operation."""
    policy = attempt.policy
    # Labels within the defaults need no call to Docker.
    host = _host_capacity(attempt) if exceeds_defaults(labels, policy.default_limits) else None
    ceilings = ceilings_of(policy.max_limits, policy.default_limits, host)
    limits, warnings = limits_from_labels(labels, policy.default_limits, ceilings)
    for warning in warnings:
        log.warning("image_limit_not_followed", reason=warning)
        attempt.note(warning)
    return limits


def _host_capacity(attempt: Attempt) -> HostCapacity | None:
    with attempt.step("inspect_host"):
        try:
            return attempt.containers.host_capacity()
        except DockerRefusedError as refused:
            # A proxy may refuse this call. Then only the configured ceilings apply, and Docker refuses the rest.
            log.warning("host_capacity_unknown", reason=refused.message)
            return None


def _limit_behind(
    error: DockerRefusedError | ContainerStartFailedError, plan: StartPlan, spec: ContainerSpec
) -> str:  # fmt: skip
    """The limit that caused a refusal, with the label or setting that it came from; empty for other refusals."""
    field = _LIMIT_OF.get(error.refusal) if error.refusal else None
    if field is None:
        return ""
    limit = describe_limit(field, plan.choice.image.labels, getattr(spec.limits, field))
    return f"; the container would have had the {limit}"


def _run(attempt: Attempt, container_id: str, plan: StartPlan, spec: ContainerSpec, *, is_running: bool) -> None:
    """Start the container and wait until it has settled; if it does not stay up, remove it again."""
    try:
        # A running container is not started again. This worker could be suspended right before the call, and the call
        # would start the game after a later stop.
        if not is_running:
            with attempt.write_step("start"):
                attempt.containers.start(container_id)
        if plan.settle_seconds:
            with attempt.step("settle"):
                if attempt.containers.wait_until_exited(container_id, plan.settle_seconds):
                    raise ContainerStartFailedError(_exit_reason(attempt, container_id, spec))
    except RuntimeManagerError as error:
        if not error.transient:
            capture.capture(attempt, container_id, ExitCause.CRASH_AT_START)
            _remove_failed(attempt, container_id)
        if isinstance(error, NoSuchContainerError):
            message = f"container {short_id(container_id)} was removed from outside while it was being started"
            raise ContainerStartFailedError(message) from None
        raise


def _remove_failed(attempt: Attempt, container_id: str) -> None:
    """Remove a container that did not come up. If Docker refuses, reconcile finds it as a leftover."""
    try:
        with attempt.write_step("remove"):
            attempt.containers.remove(container_id, grace_seconds=attempt.policy.stop_grace_seconds)
    except DockerRefusedError as refused:
        log.warning("failed_container_not_removed", container_id=container_id, reason=refused.message)


def _exit_reason(attempt: Attempt, container_id: str, spec: ContainerSpec) -> str:
    container = attempt.containers.find(container_id)
    if container is None:
        return f"container {short_id(container_id)} disappeared right after its start"
    # A container has the labels of its image.
    memory = describe_limit("memory_bytes", container.labels, spec.limits.memory_bytes)
    cause = f"out of memory, {memory}" if was_oom_killed(container) else f"exit code {container.exit_code}"
    return f"the engine exited right after its start ({cause}); its exit report holds its last lines"
