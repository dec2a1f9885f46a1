"""What a container tells of itself while it lives and after: its log, and what it uses. Types only, no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from runtimes.exceptions import ErrorCode, RuntimeManagerError

# What a line or a whole answer may hold, in characters; an engine that writes garbage must not fill our memory.
MAX_LINE_CHARACTERS = 4096
MAX_LOG_CHARACTERS = 1024 * 1024
CUT = "…"


class LogNotKeptError(RuntimeManagerError):
    """The container exists, but its log driver keeps nothing that could be read back."""

    code = ErrorCode.CONFLICT


class LogEndedError(RuntimeManagerError):
    """The log is at its end: the container does not run, or is gone, and everything it wrote was handed out."""

    code = ErrorCode.NOT_FOUND


class NotRunningError(RuntimeManagerError):
    """The container exists but does not run, so there is nothing to measure."""

    code = ErrorCode.CONFLICT


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line as the engine program wrote it, without its line end.

    ``at`` is the engine's clock, None when the log does not say; ``stream`` is ``stdout`` or ``stderr``. Bytes that
    are no UTF-8 became U+FFFD, NUL is left out, and a line longer than MAX_LINE_CHARACTERS ends in ``…``.
    """

    at: datetime | None
    stream: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStats:
    """What a running container used at one moment. ``cpu_percent`` is of one core, over the second before ``at``.

    ``memory_bytes`` is without the page cache that the kernel can take back, as ``docker stats`` counts it.
    Network bytes are the sum over its networks since the start.
    """

    at: datetime
    cpu_percent: float
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    network_rx_bytes: int
    network_tx_bytes: int


class LogFeed(Protocol):
    """The lines of one container as they are written, in the order of the engine."""

    def read(self, timeout_seconds: float) -> list[LogLine]:
        """Wait up to the timeout for the first line, then take all that are there; empty when there was none.
        After everything received was handed out: LogEndedError when the log has ended,
        ContainersUnavailableError when it broke off.
        """

    def close(self) -> None:
        """End the subscription. Idempotent, from any thread."""


def newest_within(lines: Iterable[LogLine], *, characters: int) -> list[LogLine]:
    """The last lines whose texts together are no longer than this, in their order."""
    kept: list[LogLine] = []
    for line in reversed(list(lines)):
        characters -= len(line.line)
        if characters < 0:
            break
        kept.append(line)
    return kept[::-1]
