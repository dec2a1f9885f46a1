"""Builds the exact container specification of a game. No Docker, no disk, no database."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings

from runtimes.storage.image_volumes import VolumeMount

OWNER = "rtmanager"
KIND = "game-engine"
ENGINE_PORT = 8080

LABEL_OWNER = "com.galaxy.owner"
LABEL_STACK = "com.galaxy.stack"
LABEL_KIND = "com.galaxy.kind"
LABEL_GAME_ID = "com.galaxy.game_id"
LABEL_IMAGE_REF = "com.galaxy.engine_image_ref"
LABEL_STARTED_AT_MS = "com.galaxy.started_at_ms"
LABEL_OPERATION_ID = "com.galaxy.operation_id"
LABEL_FENCE = "com.galaxy.fence"
LABEL_JOB_KEY = "com.galaxy.job_key"

LABEL_CPU_QUOTA = "com.galaxy.cpu_quota"
LABEL_MEMORY = "com.galaxy.memory"
LABEL_PIDS_LIMIT = "com.galaxy.pids_limit"

# Docker and the kernel reject lower CPU and memory limits. The two processes are the container's init and the game
# engine: with a limit of one, the init cannot start the engine (measured on Docker 20.10 and 28.5).
MIN_CPU_QUOTA = 0.01
MIN_MEMORY_BYTES = 6 * 1024**2
MIN_PIDS_LIMIT = 2
# The largest limit that a 64-bit kernel accepts.
MAX_PIDS = 4_194_304

STORAGE_PATH_ENV = "STORAGE_PATH"

# The log drivers with a size limit for each container. ``auto`` is the first of them that the engine has.
LOG_DRIVERS = ("local", "json-file", "k8s-file")
AUTO_LOG_DRIVER = "auto"

_MEMORY = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?) ?(?P<unit>[kmgt]?)(?:i?b)?", re.IGNORECASE)
_MEMORY_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass(frozen=True, slots=True)
class Limits:
    """The resource limits of a game: CPUs (1.0 is one core), bytes of memory (without swap), processes."""

    cpu_quota: float
    memory_bytes: int
    pids_limit: int


@dataclass(frozen=True, slots=True)
class MaxLimits:
    """The configured maximum for limits in image labels; None: the capacity of the Docker host is the maximum."""

    cpu_quota: float | None = None
    memory_bytes: int | None = None
    pids_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerPolicy:
    """The settings of the installation that apply to every game container."""

    stack: str
    network: str
    state_root: str
    state_mount_path: str
    state_env_name: str
    default_limits: Limits
    read_only: bool
    user: str
    stop_grace_seconds: int
    max_limits: MaxLimits = MaxLimits()
    image_volumes: str = "state"
    log_driver: str = AUTO_LOG_DRIVER


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to create. The adapter adds the hardening that is the same for all.

    ``image`` is the reference or image id that Docker uses; ``image_ref`` is the reference in its label and in the
    record. ``log_driver`` is one of LOG_DRIVERS, or ``auto``: then the adapter chooses at the creation.
    """

    name: str
    image: str
    image_ref: str
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    network: str
    state_path: str
    state_mount_path: str
    limits: Limits
    read_only: bool
    user: str
    stop_grace_seconds: int
    volumes: tuple[VolumeMount, ...] = ()
    log_driver: str = AUTO_LOG_DRIVER


def container_name(game_id: str) -> str:
    """The unique name of the game's container, which is also its host name in the network."""
    return f"galaxy-game-{game_id}"


def engine_endpoint(game_id: str) -> str:
    """The URL of the game's engine inside the game network."""
    return endpoint_of(container_name(game_id))


def endpoint_of(name: str) -> str:
    """The URL of the engine in the container with this name."""
    return f"http://{name}:{ENGINE_PORT}"


def endpoint_host(endpoint: str) -> str:
    """The container name in an endpoint; empty if the text is not an endpoint of RTM."""
    scheme, port = "http://", f":{ENGINE_PORT}"
    is_ours = endpoint.startswith(scheme) and endpoint.endswith(port)
    # A URL parser would change the host name to lower case.
    return endpoint.removeprefix(scheme).removesuffix(port) if is_ours else ""


def is_misnamed(endpoint: str, *, name: str) -> bool:
    """Whether the endpoint does not match the container's name, because the container was renamed.

    Docker still resolves the host name with which the container was created. If another container takes that name,
    the endpoint may lead to either of them.
    """
    return endpoint_host(endpoint) not in {"", name}


def state_path(state_root: str, game_id: str) -> str:
    """The host directory of the game's state. RTM creates it and never deletes it."""
    return f"{state_root.rstrip('/')}/{game_id}"


def parse_memory(text: str) -> int:
    """Parse ``512m``, ``1.5g``, ``64MiB`` or ``1048576`` into bytes; units are powers of 1024.

    Raises ValueError with a message unless the result is positive.
    """
    match = _MEMORY.fullmatch(text.strip())
    amount = int(Decimal(match["number"]) * _MEMORY_UNITS[match["unit"].lower()]) if match else 0
    if amount <= 0:
        raise ValueError(f"{text[:64]!r} is not an amount of memory; write for example 512m")
    return amount


def build_spec(  # noqa: PLR0913 (all keyword-only, all different in kind)
    policy: ContainerPolicy,
    *,
    game_id: str,
    image_ref: str,
    limits: Limits,
    operation_id: int | str,
    job_key: str = "",
    fence: int,
    started_at_ms: int,
    image: str = "",
    volumes: tuple[VolumeMount, ...] = (),
) -> ContainerSpec:
    """The container of a game for one operation; its labels name that operation.

    ``job_key`` identifies the operation permanently; its id does not, because a restored database reuses ids.
    ``image`` is an image id for Docker if the reference does not name that image; empty: use the reference.
    """
    labels = {
        LABEL_OWNER: OWNER,
        LABEL_STACK: policy.stack,
        LABEL_KIND: KIND,
        LABEL_GAME_ID: game_id,
        LABEL_IMAGE_REF: image_ref,
        LABEL_STARTED_AT_MS: str(started_at_ms),
        LABEL_OPERATION_ID: str(operation_id),
        LABEL_JOB_KEY: job_key,
        LABEL_FENCE: str(fence),
    }
    return ContainerSpec(
        name=container_name(game_id),
        image=image or image_ref,
        image_ref=image_ref,
        labels=labels,
        environment={STORAGE_PATH_ENV: policy.state_mount_path, policy.state_env_name: policy.state_mount_path},
        network=policy.network,
        state_path=state_path(policy.state_root, game_id),
        state_mount_path=policy.state_mount_path,
        limits=limits,
        read_only=policy.read_only,
        user=policy.user,
        stop_grace_seconds=policy.stop_grace_seconds,
        volumes=volumes,
        log_driver=policy.log_driver,
    )


def choose_log_driver(wanted: str, known: Sequence[str]) -> str:
    """The log driver for this setting on an engine with these drivers; none: the engine did not report them."""
    if wanted != AUTO_LOG_DRIVER:
        return wanted
    return next((driver for driver in LOG_DRIVERS if driver in known), LOG_DRIVERS[0])


def current_policy() -> ContainerPolicy:
    """Build the policy from the current settings. Not cached: it is cheap, and tests override settings."""
    config = settings.RTMANAGER
    return ContainerPolicy(
        stack=config.stack,
        network=config.docker_network,
        state_root=config.game_state_root,
        state_mount_path=config.engine_state_mount_path,
        state_env_name=config.engine_state_env_name,
        default_limits=Limits(config.default_cpu_quota, parse_memory(config.default_memory), config.default_pids_limit),
        max_limits=MaxLimits(
            config.max_cpu_quota, parse_memory(config.max_memory) if config.max_memory else None, config.max_pids_limit
        ),
        read_only=config.container_read_only,
        user=config.container_user,
        stop_grace_seconds=config.container_stop_timeout_seconds,
        image_volumes=config.image_volumes,
        log_driver=config.container_log_driver,
    )
