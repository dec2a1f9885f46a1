"""Logs, resource usage, and facts about the daemon and its host. Types only, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, Protocol, TypeVar

from runtimes.exceptions import ErrorCode, RuntimeManagerError

# Limits in characters for one line and for a whole log, so that a faulty game cannot fill our memory.
MAX_LINE_CHARACTERS = 4096
MAX_LOG_CHARACTERS = 1024 * 1024
CUT = "…"
Item = TypeVar("Item")


class LogsNotAvailableError(RuntimeManagerError):
    """The container exists, but its log driver stores nothing that can be read."""

    code = ErrorCode.CONFLICT


class LogEndedError(RuntimeManagerError):
    """End of the log: the container does not run or no longer exists, and all lines were returned."""

    code = ErrorCode.NOT_FOUND


class NotRunningError(RuntimeManagerError):
    """The container exists but does not run, so it has no resource usage."""

    code = ErrorCode.CONFLICT


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the game engine wrote, without its line end.

    ``at`` is Docker's clock, None if the log has no time; ``stream`` is ``stdout`` or ``stderr``. Invalid UTF-8 becomes
    U+FFFD, NUL is removed, and a line longer than MAX_LINE_CHARACTERS is truncated with ``…``.
    """

    at: datetime | None
    stream: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStats:
    """The resource usage of a running container. ``cpu_percent`` is of one core, over the second before ``at``.

    ``memory_bytes`` excludes the reclaimable page cache, like ``docker stats``. Network bytes are the sum over its
    networks since the start.
    """

    at: datetime
    cpu_percent: float
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    network_rx_bytes: int
    network_tx_bytes: int


class Feed(Protocol[Item]):
    """The items of one subscription, such as events or log lines, in Docker's order."""

    def read(self, timeout_seconds: float) -> list[Item]:
        """Wait up to the timeout for the first item, then return all received items; empty after a timeout.

        When the feed has ended and all received items were returned, raises LogEndedError at the end of a log, else
        ContainersUnavailableError.
        """

    def close(self) -> None:
        """End the subscription. Idempotent; callable from any thread."""


def truncate_to_last(lines: Iterable[LogLine], *, characters: int) -> list[LogLine]:
    """The last lines that together have at most this many characters, in their order."""
    newest_first = list(lines)[::-1]
    sizes = accumulate(len(line.line) for line in newest_first)
    kept = sum(size <= characters for size in sizes)
    return newest_first[:kept][::-1]


# Limited resource → field of ``GET /info`` that says whether this host enforces the limit.
_LIMITS = {"memory": "MemoryLimit", "swap": "SwapLimit", "processor": "CpuCfsQuota", "processes": "PidsLimit"}


@dataclass(frozen=True, slots=True)
class HostCapacity:
    """The resources of the Docker host, for all its containers."""

    cpus: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class DockerInfo:
    """Facts about a daemon that responds. ``limits``: whether the host enforces each limit.

    ``now`` and ``capacity`` are None if the daemon does not report them; ``log_drivers`` is then empty.
    """

    version: str
    api_version: str
    os_type: str = "linux"
    live_restore: bool = False
    limits: Mapping[str, bool] = field(default_factory=dict)
    now: datetime | None = None
    capacity: HostCapacity | None = None
    log_drivers: tuple[str, ...] = ()
    product: str = "Docker"


def docker_info_from_json(info: Mapping[str, Any], version: Mapping[str, Any]) -> DockerInfo:
    """Parse the responses to ``GET /info`` and ``GET /version``."""
    components = [str(component.get("Name")) for component in version.get("Components") or []]
    system_time = str(info.get("SystemTime", ""))
    return DockerInfo(
        version=str(info["ServerVersion"]),
        api_version=str(version["ApiVersion"]),
        os_type=str(info.get("OSType", "linux")),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        limits={name: bool(info.get(key)) for name, key in _LIMITS.items()},
        # Docker reports nanoseconds; Python keeps microseconds.
        now=datetime.fromisoformat(system_time) if system_time else None,
        capacity=capacity_from_info(info),
        log_drivers=log_drivers_from_info(info),
        product="Podman" if any(name.startswith("Podman") for name in components) else "Docker",
    )


def capacity_from_info(info: Mapping[str, Any]) -> HostCapacity | None:
    """CPUs and memory of the host; None if the daemon does not report them."""
    cpus, memory = info.get("NCPU"), info.get("MemTotal")
    return HostCapacity(int(cpus), int(memory)) if cpus and memory else None


def log_drivers_from_info(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The log drivers that the daemon has; empty if it does not report them."""
    return tuple((info.get("Plugins") or {}).get("Log") or ())
