"""Decides when inspections and probes of a container are reported as health events. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runtimes.containers.base import Container, ContainerState

UNHEALTHY = "unhealthy"
# The path of the request to an engine, part of the contract with the images.
PROBE_PATH = "/healthz"

# The container exists but does not work. An exited container is not a health problem.
UNHEALTHY_STATES = frozenset({ContainerState.PAUSED, ContainerState.RESTARTING, ContainerState.DEAD})

LONGEST_ERROR = 200
_SUCCESS = range(200, 300)


class Transition(StrEnum):
    """How an observation changes the health status."""

    NONE = "none"
    FAILED = "failed"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Inspection:
    """The state of a container and the status of its health check, empty without one."""

    state: str = ""
    health: str = ""

    @property
    def is_unhealthy(self) -> bool:
        """Whether an operator should check it."""
        return self.health == UNHEALTHY or self.state in UNHEALTHY_STATES


def inspection_of(container: Container) -> Inspection:
    """The part of an observed container that decides its health."""
    return Inspection(state=container.state.value, health=container.health)


def is_inspectable(container: Container) -> bool:
    """Whether the periodic inspection evaluates it: the container runs, or is paused, restarting or dead."""
    return container.is_alive or container.state in UNHEALTHY_STATES


def inspect_transition(before: Inspection, now: Inspection) -> Transition:
    """The change between two inspections. A change from one unhealthy state to another is none."""
    if now.is_unhealthy == before.is_unhealthy:
        return Transition.NONE
    return Transition.FAILED if now.is_unhealthy else Transition.RECOVERED


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one probe: the HTTP status, 0 without a response, and the error, empty on success."""

    at: datetime
    status: int = 0
    error: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx. A redirect is not a success: another server would respond."""
        return self.status in _SUCCESS and not self.error


def probe_response(status: int, *, at: datetime) -> ProbeResult:
    """The result of a probe with an HTTP response."""
    return ProbeResult(at, status, "" if status in _SUCCESS else f"answered {status}")


def probe_failure(reason: str, *, at: datetime) -> ProbeResult:
    """The result of a probe without an HTTP response."""
    printable = "".join(character if character.isprintable() else " " for character in reason)
    return ProbeResult(at, 0, printable[:LONGEST_ERROR] or "no answer")


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """The number of consecutive failures of one container, and whether they were reported."""

    failures: int = 0
    is_reported: bool = False


def probe_transition(before: ProbeRecord, result: ProbeResult, *, threshold: int) -> tuple[ProbeRecord, Transition]:
    """Return the record after one more probe, and the transition to report.

    ``threshold`` consecutive failures are reported once, and so is the first success afterwards. The caller sets
    ``is_reported`` after it has written the report; until then, each probe requests the report again.
    """
    if result.is_success:
        transition = Transition.RECOVERED if before.is_reported else Transition.NONE
        return ProbeRecord(0, before.is_reported), transition
    after = ProbeRecord(before.failures + 1, before.is_reported)
    is_new = after.failures >= threshold and not before.is_reported
    return after, Transition.FAILED if is_new else Transition.NONE
