"""From a game and an image to the exact container RTM asks for. Pure: no Docker, no disk, no database."""

from collections.abc import Mapping
from dataclasses import dataclass

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

LABEL_CPU_QUOTA = "com.galaxy.cpu_quota"
LABEL_MEMORY = "com.galaxy.memory"
LABEL_PIDS_LIMIT = "com.galaxy.pids_limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a game may use: CPUs (1.0 is one core), bytes of memory (no swap on top), processes."""

    cpu_quota: float
    memory_bytes: int
    pids_limit: int


@dataclass(frozen=True, slots=True)
class ContainerPolicy:
    """What the installation's settings say about every game container."""

    stack: str
    network: str
    state_root: str
    state_mount_path: str
    state_env_name: str
    default_limits: Limits
    read_only: bool
    user: str
    stop_grace_seconds: int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to create; the hardening that never varies is the adapter's."""

    name: str
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


def container_name(game_id: str) -> str:
    """The unique name of the game's container, which is its host name in the network too."""
    return f"galaxy-game-{game_id}"


def engine_endpoint(game_id: str) -> str:
    """Where the engine answers inside the game network."""
    return f"http://{container_name(game_id)}:{ENGINE_PORT}"


def state_path(state_root: str, game_id: str) -> str:
    """The host directory of the game's state. RTM makes it and never deletes it."""
    return f"{state_root.rstrip('/')}/{game_id}"
