"""From a game and an image to the exact container RTM asks for. Pure: no Docker, no disk, no database."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

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

# The engine refuses less, and the kernel counts in 64 bits.
MIN_CPU_QUOTA = 0.01
MIN_MEMORY_BYTES = 6 * 1024**2
MAX_CPU_QUOTA = 9_000_000_000
MAX_LIMIT = 2**63 - 1

STORAGE_PATH_ENV = "STORAGE_PATH"

_MEMORY = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?) ?(?P<unit>[kmgt]?)(?:i?b)?", re.IGNORECASE)
_MEMORY_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_Limit = TypeVar("_Limit", int, float)


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


def parse_memory(text: str) -> int:
    """Bytes meant by ``512m``, ``1.5g``, ``64MiB`` or ``1048576``; units are powers of 1024.

    Raises ValueError with a sentence when the text means no positive amount.
    """
    found = _MEMORY.fullmatch(text.strip())
    amount = int(Decimal(found["number"]) * _MEMORY_UNITS[found["unit"].lower()]) if found else 0
    if amount <= 0:
        message = f"{text[:64]!r} is not an amount of memory; write for example 512m"
        raise ValueError(message)
    return amount


def limits_from_labels(labels: Mapping[str, str], defaults: Limits) -> tuple[Limits, list[str]]:
    """The limits an image asks for by its labels, each replaced by its default when missing or unusable.

    The second value holds one sentence per unusable label: a bad label must not keep a game from starting,
    and must not go unnoticed either.
    """
    warnings: list[str] = []

    def limit(label: str, *, parse: Callable[[str], _Limit], default: _Limit) -> _Limit:
        text = labels.get(label)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            warnings.append(f"image label {label}={text[:64]!r} is ignored, the limit is {default}: {error}")
            return default

    limits = Limits(
        cpu_quota=limit(LABEL_CPU_QUOTA, parse=_cpu_limit, default=defaults.cpu_quota),
        memory_bytes=limit(LABEL_MEMORY, parse=_memory_limit, default=defaults.memory_bytes),
        pids_limit=limit(LABEL_PIDS_LIMIT, parse=_pids_limit, default=defaults.pids_limit),
    )
    return limits, warnings


def build_spec(  # noqa: PLR0913 (all keyword-only, all different in kind)
    policy: ContainerPolicy,
    *,
    game_id: str,
    image_ref: str,
    limits: Limits,
    operation_id: int | str,
    fence: int,
    started_at_ms: int,
) -> ContainerSpec:
    """The container of one game as one operation wants it; the labels say which operation, for whoever finds it."""
    labels = {
        LABEL_OWNER: OWNER,
        LABEL_STACK: policy.stack,
        LABEL_KIND: KIND,
        LABEL_GAME_ID: game_id,
        LABEL_IMAGE_REF: image_ref,
        LABEL_STARTED_AT_MS: str(started_at_ms),
        LABEL_OPERATION_ID: str(operation_id),
        LABEL_FENCE: str(fence),
    }
    return ContainerSpec(
        name=container_name(game_id),
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
    )


def _cpu_limit(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", text.strip()):
        message = "not a number of CPUs like 1.5"
        raise ValueError(message)
    return _within(float(text), low=MIN_CPU_QUOTA, high=MAX_CPU_QUOTA)


def _memory_limit(text: str) -> int:
    return _within(parse_memory(text), low=MIN_MEMORY_BYTES, high=MAX_LIMIT)


def _pids_limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text.strip()):
        message = "not a whole number of processes"
        raise ValueError(message)
    return _within(int(text), low=1, high=MAX_LIMIT)


def _within(value: _Limit, *, low: _Limit, high: _Limit) -> _Limit:
    if not low <= value <= high:
        message = f"must be between {low} and {high}"
        raise ValueError(message)
    return value
