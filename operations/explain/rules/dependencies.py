"""Causes outside of the game: a server or all workers are down."""

from datetime import datetime

from operations.explain.diagnosis import AutomaticAction, Cause, Diagnosis, NextStep, Severity
from operations.explain.facts import Facts
from operations.monitoring.heartbeats import HeartbeatName
from operations.runner import LONGEST_BACKOFF_SECONDS
from operations.states import OperationState
from runtimes.formatting import format_duration, format_time, short_id, single_line

START_WORKERS = NextStep(
    "Check that worker and scheduler run, then their logs. Start them", command="python manage.py doctor"
)


def database_unreachable(facts: Facts, now: datetime) -> Diagnosis | None:
    """Without PostgreSQL there is no record."""
    if not facts.database_reason:
        return None
    headline = f"PostgreSQL does not answer. Only Docker's state of {facts.game_id} is known"
    detail = f"{single_line(facts.database_reason)}. {docker_state_text(facts, now)}"
    text = "Start PostgreSQL. Do not touch the containers of games: they run without it"
    step = NextStep(text, command="python manage.py check --database default")
    automatic = AutomaticAction("Every process reconnects, trying at least every 5 s, and continues where it was")
    return Diagnosis(Cause.DATABASE_UNREACHABLE, Severity.CRITICAL, headline, detail, step, automatic)


def docker_unreachable(facts: Facts, now: datetime) -> Diagnosis | None:
    """Without Docker it is unknown what runs. Nothing is reported as missing."""
    state = facts.docker_state
    if state.is_known or state.is_refused or not state.is_asked or not _is_known_here(facts):
        return None
    host = facts.config.docker_host
    headline = f"Docker at {host} does not answer. The state of {facts.game_id} is unknown"
    detail = f"{single_line(facts.docker_state.reason)}. {_last_known(facts, now)}"
    text = f"Check the Docker daemon at {host}, and start it if it is down. Do not change the game"
    step, automatic = NextStep(text, command=facts.config.docker("version")), _when_docker_answers(facts, now)
    return Diagnosis(Cause.DOCKER_UNREACHABLE, Severity.CRITICAL, headline, detail, step, automatic)


def docker_refuses(facts: Facts, now: datetime) -> Diagnosis | None:
    """Docker answers and refuses: it is unknown what runs, but the daemon is up."""
    if not facts.docker_state.is_refused or not _is_known_here(facts):
        return None
    headline = f"Docker at {facts.config.docker_host} answers and refuses. The state of {facts.game_id} is unknown"
    detail = f"{single_line(facts.docker_state.reason)}. {_last_known(facts, now)}"
    cause = "Usually an authorization plugin, or a proxy before Docker, must allow this service"
    step = NextStep(f"Do what the message says. {cause}", command=facts.config.docker("version"))
    return Diagnosis(Cause.DOCKER_REFUSES, Severity.CRITICAL, headline, detail, step, _when_docker_answers(facts, now))


def docker_not_observed(facts: Facts, now: datetime) -> Diagnosis | None:
    """No worker answered, so Docker was not asked. Docker and the game may be fine."""
    if facts.docker_state.is_asked or not _is_known_here(facts):
        return None
    headline = f"The state of {facts.game_id} is not observed: no worker answers"
    detail = f"{single_line(facts.docker_state.reason)}. {_last_known(facts, now)}"
    automatic = AutomaticAction("The next worker that is free answers; the game is not affected")
    return Diagnosis(Cause.DOCKER_NOT_OBSERVED, Severity.WARNING, headline, detail, START_WORKERS, automatic)


def redis_down(facts: Facts, _now: datetime) -> Diagnosis | None:
    """Without Redis no job arrives, no result is published, and REST refuses every verb."""
    if not facts.redis_reason:
        return None
    operation = facts.next_operation
    headline = f"Redis does not answer: no job for {facts.game_id} arrives, and no result is published"
    if operation is not None and operation.state == OperationState.ACCEPTED:
        headline += f"; operation {operation.pk} ({operation.op_kind}) waits for it"
    step = NextStep("Start Redis. Until then verbs are refused, and nothing is lost")
    automatic = AutomaticAction("All processes reconnect within seconds, then do and publish in order what waits")
    detail = f"{single_line(facts.redis_reason)}."
    return Diagnosis(Cause.REDIS_DOWN, Severity.CRITICAL, headline, detail, step, automatic)


def workers_silent(facts: Facts, now: datetime) -> Diagnosis | None:
    """No operation is open, but a new one would wait: no worker has answered the canary."""
    if facts.next_operation is not None or not is_canary_late(facts, now):
        return None
    last = format_time(facts.heartbeats[HeartbeatName.CANARY], now=now)
    headline = f"No worker has answered since {last}. A new operation of {facts.game_id} would wait"
    automatic = AutomaticAction("The first worker that starts takes the waiting operations within 4 s")
    detail = docker_state_text(facts, now)
    return Diagnosis(Cause.WORKER_DOWN, Severity.WARNING, headline, detail, START_WORKERS, automatic)


def is_canary_late(facts: Facts, now: datetime) -> bool:
    """Whether no message has passed through Redis and a worker for too long; False if none ever has."""
    return HeartbeatName.CANARY in silent_components(facts, now)


def silent_components(facts: Facts, now: datetime) -> list[str]:
    """The components that operations need and that sent no heartbeat for too long."""
    names = (HeartbeatName.CANARY, HeartbeatName.BRIDGE, HeartbeatName.SWEEPER)
    return [name.value for name in names if now - facts.heartbeats.get(name, now) > facts.config.silence_limit]


def docker_state_text(facts: Facts, now: datetime) -> str:
    """One sentence about the container, for causes outside of the game."""
    if not facts.docker_state.is_known:
        return f"{facts.docker_state.silence}, so it is unknown what runs."
    own = facts.docker_state.own
    if own is None:
        return f"Docker has no container of {facts.game_id}."
    since = f" since {format_time(own.started_at, now=now)}" if own.is_alive and own.started_at else ""
    return f"Docker shows container {short_id(own.id)} of {facts.game_id} as {own.state}{since}."


def at_full_reconcile(text: str, facts: Facts, now: datetime) -> AutomaticAction:
    """What the next full reconcile does, and when; without a time if that of the last one is unknown."""
    last = facts.heartbeats.get(HeartbeatName.FULL_RECONCILE)
    return AutomaticAction(text, max(last + facts.config.reconcile_interval, now) if last else None)


def _is_known_here(facts: Facts) -> bool:
    return bool(facts.record or facts.last_requested or facts.last_operations or facts.next_operation)


def _last_known(facts: Facts, now: datetime) -> str:
    if facts.record is None:
        return f"{facts.game_id} has no record."
    last = format_time(facts.record.last_op_at, now=now)
    return f"Its record says {facts.record.status}, written at {last}, and does not change until Docker answers."


def _when_docker_answers(facts: Facts, now: datetime) -> AutomaticAction:
    operation = facts.next_operation
    if operation is None:
        interval = format_duration(facts.config.reconcile_interval)
        return at_full_reconcile(f"Docker is queried every {interval} and compared with all records", facts, now)
    name = f"Operation {operation.pk} ({operation.op_kind})"
    if operation.not_before is not None and operation.not_before > now:
        delay = f"growing delays of at most {LONGEST_BACKOFF_SECONDS:g} s"
        return AutomaticAction(f"{name} is retried, after {delay}", operation.not_before)
    return AutomaticAction(f"{name} continues when Docker answers")
