"""Causes in how an engine ended: it was up, and nobody here stopped it."""

from dataclasses import dataclass
from datetime import datetime

from operations.diagnosis import remedies
from operations.diagnosis.drift import nothing, repair
from operations.diagnosis.facts import Facts
from operations.diagnosis.verdicts import Cause, NextStep, Severity, Verdict
from operations.diagnosis.words import moment
from operations.events import HealthEventType
from runtimes.health import ran_out_of_memory
from runtimes.states import RuntimeStatus

_KILLED = 128 + 9
_TERMINATED = 128 + 15
_MIB = 1024**2
_AFTER_SIGKILL = (
    "Restart the game, and find out who stopped it; if nobody did, ask the kernel (dmesg) whether memory ran out: "
    "a busy Docker can miss it"
)
_MORE_MEMORY = "Give it more memory (image label com.galaxy.memory, or RTMANAGER_DEFAULT_MEMORY)"


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended; ``exit_code`` None: nobody knows."""

    exit_code: int | None
    oom: bool
    at: datetime | None


def ended(facts: Facts, now: datetime) -> Verdict | None:
    """The engine of a game that should run has ended, by memory, by a signal or by itself."""
    end = _end(facts)
    if end is None:
        return None
    cause, what, step = _told(facts, end)
    when = f", at {moment(end.at, now=now)}" if end.at else ""
    is_pending = facts.status == RuntimeStatus.RUNNING
    return Verdict(
        cause=cause,
        severity=Severity.CRITICAL,
        headline=f"{facts.name} does not run: {what}{when}",
        detail="The game's container and its state directory are kept.",
        step=step,
        automatic=repair(facts, now) if is_pending else nothing(),
    )


def starving(facts: Facts, now: datetime) -> Verdict | None:
    """The kernel killed a process of a container that lives on."""
    seen = facts.health
    if seen is None or not facts.sight.is_up or seen.event_type != HealthEventType.CONTAINER_OOM:
        return None
    return Verdict(
        cause=Cause.OUT_OF_MEMORY,
        severity=Severity.WARNING,
        headline=f"{facts.name} runs, but lacks memory: one of its processes was killed for it at "
        + moment(seen.occurred_at, now=now),
        detail=_limit(facts),
        step=remedies.restart(facts, f"{_MORE_MEMORY}; a restart gives the engine all its processes back"),
        automatic=nothing(),
    )


def _end(facts: Facts) -> End | None:
    """The end of the recorded container, if it is over and was not asked for."""
    own, record = facts.sight.own, facts.record
    if own is None or own.is_alive or record is None or facts.status == RuntimeStatus.REMOVED:
        return None
    if facts.status == RuntimeStatus.STOPPED and not _was_unasked(facts):
        return None
    return End(own.exit_code, ran_out_of_memory(own), own.finished_at or record.stopped_at)


def _was_unasked(facts: Facts) -> bool:
    desired = facts.desired
    if desired is None:
        return facts.health is not None and facts.health.event_type == HealthEventType.CONTAINER_EXITED
    return desired.status == RuntimeStatus.RUNNING


def _told(facts: Facts, end: End) -> tuple[Cause, str, NextStep]:
    if end.oom:
        step = remedies.restart(facts, f"{_MORE_MEMORY}, then restart the game; with the same limit it may die again")
        return Cause.OUT_OF_MEMORY, f"the kernel killed its engine for lack of memory{_limit(facts, before=' (')}", step
    words = remedies.last_words(facts)
    if end.exit_code == _TERMINATED:
        what = f"its engine was ended from outside (SIGTERM, exit code {end.exit_code})"
        return Cause.KILLED_OUTSIDE, what, remedies.restart(facts, "Restart the game, and find out who stopped it")
    if end.exit_code == _KILLED:
        # A busy Docker loses the kernel's word now and then, for good: that is no proof that memory was enough.
        what = f"its engine was ended from outside (SIGKILL, exit code {end.exit_code}; Docker saw no lack of memory)"
        return Cause.KILLED_OUTSIDE, what, remedies.restart(facts, _AFTER_SIGKILL)
    what = f"its engine ended by itself with exit code {end.exit_code}"
    return Cause.EXITED_BY_ITSELF, what, remedies.restart(facts, f"{words}, then restart the game")


def _limit(facts: Facts, *, before: str = "") -> str:
    memory = facts.sight.limits.get("memory_bytes")
    if not memory:
        return ""
    told = f"limit {memory / _MIB:.0f} MiB"
    return f"{before}{told})" if before else f"Its {told}."
