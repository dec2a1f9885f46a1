"""From observations to verdicts: when a look at a container, or a row of probes, is worth an event. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runtimes.containers.base import Container, ContainerState

UNHEALTHY = "unhealthy"
# The exit code of what was ended by SIGKILL.
_KILLED = 128 + 9

# Alive, but not doing what it should. A container that has ended is no matter of health.
ODD_STATES = frozenset({ContainerState.PAUSED, ContainerState.RESTARTING, ContainerState.DEAD})

LONGEST_ERROR = 200
_SUCCESS = range(200, 300)


class Transition(StrEnum):
    """What an observation changes in the verdict."""

    NONE = "none"
    FAILED = "failed"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What Docker says of a container: its state and its health check's verdict, empty without one."""

    state: str = ""
    health: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.health == UNHEALTHY or self.state in ODD_STATES


def inspection_of(container: Container) -> Inspection:
    """The part of a look at a container that the verdict is made from."""
    return Inspection(state=container.state.value, health=container.health)


def is_judged(container: Container) -> bool:
    """Whether the periodic inspection has a say: the container lives, or hangs between life and death."""
    return container.is_alive or container.state in ODD_STATES


def ran_out_of_memory(container: Container) -> bool:
    """Whether the kernel ended it for its memory. Docker's mark alone does not say so: it stays once any process of the
    container was killed for that, even if the container lived on and ended later by itself.
    """
    return container.oom_killed and container.exit_code == _KILLED


def after_inspection(before: Inspection, now: Inspection) -> Transition:
    """The change of the verdict between two looks. Staying bad, in whatever way, is no change."""
    if now.is_bad == before.is_bad:
        return Transition.NONE
    return Transition.FAILED if now.is_bad else Transition.RECOVERED


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What came of one probe: the HTTP status, 0 when there was none, and what went wrong, empty on success."""

    at: datetime
    status: int = 0
    error: str = ""

    @property
    def is_success(self) -> bool:
        """Only 2xx counts: an engine that sends us elsewhere does not answer for itself."""
        return self.status in _SUCCESS and not self.error


def answered(status: int, *, at: datetime) -> ProbeAnswer:
    """The engine gave an answer."""
    return ProbeAnswer(at, status, "" if status in _SUCCESS else f"answered {status}")


def unanswered(reason: str, *, at: datetime) -> ProbeAnswer:
    """The engine gave none."""
    printable = "".join(character if character.isprintable() else " " for character in reason)
    return ProbeAnswer(at, 0, printable[:LONGEST_ERROR] or "no answer")


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """The probes of one container so far: consecutive failures, and whether their failing was reported."""

    failures: int = 0
    is_reported: bool = False


def after_probe(before: ProbeRecord, answer: ProbeAnswer, *, threshold: int) -> tuple[ProbeRecord, Transition]:
    """The record after one more probe, and whether it must be reported.

    ``threshold`` consecutive failures are reported once, and so is the first success after that. ``is_reported``
    stays as it was, for it is true only once the report is written: one that was not is asked for again by the
    next probe.
    """
    if answer.is_success:
        transition = Transition.RECOVERED if before.is_reported else Transition.NONE
        return ProbeRecord(0, before.is_reported), transition
    after = ProbeRecord(before.failures + 1, before.is_reported)
    is_new = after.failures >= threshold and not before.is_reported
    return after, Transition.FAILED if is_new else Transition.NONE
