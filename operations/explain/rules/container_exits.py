"""Causes in the exit of a container: it ran, and RTM did not stop it."""

from dataclasses import replace
from datetime import datetime

from operations.explain import next_step
from operations.explain.diagnosis import NOTHING, Cause, Diagnosis, NextStep, Severity
from operations.explain.facts import Facts
from operations.explain.rules.drift import is_container_missing, repair
from operations.explain.rules.permissions import denied_access
from operations.messages import HealthEventType
from runtimes.container_limits import origin_of, raise_advice
from runtimes.containers.base import Container
from runtimes.containers.exit_causes import exit_cause, was_oom_killed
from runtimes.formatting import format_memory, format_time
from runtimes.states import EndedBy, RuntimeStatus

_KILLED = 128 + 9
_TERMINATED = 128 + 15


def ended_before_restore(facts: Facts, now: datetime) -> Diagnosis | None:
    """The backup says that the game runs. Its container was stopped or removed between backup and restore."""
    own, restored = facts.docker_state.own, facts.restore_after_end
    if restored is None or not facts.docker_state.is_known or facts.docker_state.is_up:
        return None
    is_pending = facts.status == RuntimeStatus.RUNNING
    if is_pending and own is None and not is_container_missing(facts):
        return None
    headline = (
        f"{facts.game_id} is down: probably {'removed' if own is None else 'stopped'} by Runtime Manager after the "
        f"backup from which the database was restored at {format_time(restored, now=now)}"
    )
    end = "Its container no longer exists"
    if own is not None:
        when = f" at {format_time(own.finished_at, now=now)}" if own.finished_at else ""
        end = f"Its container exited with code {own.exit_code}{when}"
    detail = f"{end}. The backup is older than that, so the record does not show who did it."
    step = next_step.restart(facts, "If the game should run, restart it. Otherwise there is nothing to do")
    automatic = repair(facts, now) if is_pending else NOTHING
    return Diagnosis(Cause.DATABASE_RESTORED, Severity.WARNING, headline, detail, step, automatic)


def ended_with_docker(facts: Facts, now: datetime) -> Diagnosis | None:
    """The game ran when Docker or its host went down. The record shows that already, or will in a moment."""
    own, record = facts.docker_state.own, facts.record
    is_recorded = record is not None and record.ended_by == EndedBy.DOCKER_RESTARTED
    if not is_recorded and not _has_ended_with_docker(facts):
        return None
    ended_at = (own.finished_at if own else None) or (record.stopped_at if record else None)
    when = f" at {format_time(ended_at, now=now)}" if ended_at else ""
    headline = f"{facts.game_id} is down: it ended when Docker or its host was restarted{when}"
    detail = (
        "Every running game ended with it. The container and the state directory are kept. With live-restore, games "
        "survive a restart of Docker, but not of the host; docs/runbook.md shows how to set it."
    )
    step = next_step.restart(facts, "Restart this game, or with this command all games that ended with Docker")
    if step.verb == "restart":
        step = replace(step, command="rtm restart --ended-by docker_restarted")
    automatic = NOTHING if is_recorded else repair(facts, now)
    return Diagnosis(Cause.DOCKER_RESTARTED, Severity.CRITICAL, headline, detail, step, automatic)


def exited(facts: Facts, now: datetime) -> Diagnosis | None:
    """The engine of a game that should run has exited: out of memory, by a signal, or on its own decision."""
    own, record = facts.docker_state.own, facts.record
    if own is None or own.is_alive or record is None or facts.status == RuntimeStatus.REMOVED:
        return None
    if facts.status == RuntimeStatus.STOPPED and not _was_unrequested(facts):
        return None
    at = own.finished_at or record.stopped_at
    cause, problem, step = _explained(facts, own, f" at {format_time(at, now=now)}" if at else "")
    detail = "The game's container and its state directory are kept."
    automatic = repair(facts, now) if facts.status == RuntimeStatus.RUNNING else NOTHING
    return Diagnosis(cause, Severity.CRITICAL, f"{facts.game_id} is down: {problem}", detail, step, automatic)


def child_oom_killed(facts: Facts, now: datetime) -> Diagnosis | None:
    """The kernel killed a process of a container that still runs."""
    snapshot = facts.health
    if snapshot is None or not facts.docker_state.is_up or snapshot.event_type != HealthEventType.CONTAINER_OOM:
        return None
    when, limit = format_time(snapshot.occurred_at, now=now), _limit(facts)
    headline = f"{facts.game_id} runs, but is out of memory. The kernel killed one of its processes at {when}"
    step = next_step.restart(facts, f"{_more_memory(facts)}. A restart starts all processes of the engine again")
    return Diagnosis(Cause.OUT_OF_MEMORY, Severity.WARNING, headline, f"Memory {limit}." if limit else "", step)


def _has_ended_with_docker(facts: Facts) -> bool:
    """Whether a container that ended with Docker is still recorded as running."""
    own, record = facts.docker_state.own, facts.record
    if own is None or own.is_alive or record is None or facts.status != RuntimeStatus.RUNNING:
        return False
    cause = exit_cause(own, facts.engine_starts, stop_grace=facts.config.stop_grace)
    return own.id == record.current_container_id and cause == EndedBy.DOCKER_RESTARTED


def _was_unrequested(facts: Facts) -> bool:
    if facts.desired_by is None:
        return facts.health is not None and facts.health.event_type == HealthEventType.CONTAINER_EXITED
    return facts.should_run


def _explained(facts: Facts, own: Container, when: str) -> tuple[Cause, str, NextStep]:
    """The cause of the exit, the headline without the game, and the next step."""
    code = own.exit_code
    if was_oom_killed(own):
        limit = _limit(facts)
        cause, problem = Cause.OUT_OF_MEMORY, "out of memory. The kernel killed the engine" + when
        problem += f" ({limit})" if limit else ""
        text = f"{_more_memory(facts)}, then restart the game. With the same limit it can be killed again"
    elif code == _TERMINATED:
        cause, problem = Cause.KILLED_OUTSIDE, f"killed from outside. The engine got SIGTERM{when} (exit code {code})"
        text = "Restart the game, and find out who stopped it"
    elif code == _KILLED:
        # A busy Docker sometimes loses the kernel's OOM event, so the missing event proves nothing.
        cause = Cause.KILLED_OUTSIDE
        problem = f"killed from outside. The engine got SIGKILL{when} (exit code {code}; Docker reported no OOM)"
        text = (
            "Restart the game, and find out who killed it. If no operator did, check the kernel log (dmesg) for OOM: "
            "a busy Docker can miss it"
        )
    elif code and (denial := denied_access(facts)) is not None:
        cause, problem = denial.cause, f"{denial.what}. The engine exited{when} (exit code {code})"
        if not denial.is_fixed:
            return cause, problem, NextStep(f"{denial.advice}; then restart the game")
        text = "The present settings allow it: restart the game"
    else:
        cause, problem = Cause.EXITED_BY_ITSELF, f"the engine exited{when} with exit code {code}"
        text = f"{next_step.where_to_read_log(facts)}, then restart the game"
    return cause, problem, next_step.restart(facts, text)


def _limit(facts: Facts) -> str:
    memory, own = facts.docker_state.limits.get("memory_bytes"), facts.docker_state.own
    if not memory:
        return ""
    origin = f" from {origin_of('memory_bytes', own.labels, memory)}" if own else ""
    return f"limit {format_memory(memory)}{origin}"


def _more_memory(facts: Facts) -> str:
    memory, own = facts.docker_state.limits.get("memory_bytes"), facts.docker_state.own
    if own is None or not memory:
        return "Give the game more memory: raise RTMANAGER_DEFAULT_MEMORY, or the image label com.galaxy.memory"
    return f"Give the game more memory: {raise_advice('memory_bytes', own.labels, memory)}"
