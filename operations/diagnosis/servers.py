"""Causes outside of any game: a server or all workers are away. Each also tells what would be said without it."""

from datetime import datetime

from operations.diagnosis.facts import Facts
from operations.diagnosis.verdicts import Cause, NextAutomatic, NextStep, Severity, Verdict
from operations.diagnosis.words import moment, one_line, short, span
from operations.pulses import PulseName
from operations.states import OpState

WORKER_COMMAND = "celery -A rtmanager inspect ping"


def database_unreachable(facts: Facts, now: datetime) -> Verdict | None:
    """Without PostgreSQL there is no record to compare anything with."""
    if not facts.database_reason:
        return None
    return Verdict(
        cause=Cause.DATABASE_UNREACHABLE,
        severity=Severity.CRITICAL,
        headline=f"PostgreSQL does not answer, so nothing is known of game {facts.game_id} but what Docker shows",
        detail=f"{one_line(facts.database_reason)}. {what_docker_shows(facts, now)}",
        step=NextStep(
            "Bring PostgreSQL back; containers of games go on without it, so leave them alone",
            command="python manage.py check --database default",
        ),
        automatic=NextAutomatic("Every process tries to reconnect, at least every 5 s, and goes on where it was"),
    )


def docker_unreachable(facts: Facts, now: datetime) -> Verdict | None:
    """Without Docker it is unknown what runs. It is never said to be gone."""
    is_known_here = facts.record or facts.last_asked or facts.last_operations or facts.head
    if facts.sight.is_known or not is_known_here:
        return None
    host = facts.rules.docker_host
    return Verdict(
        cause=Cause.DOCKER_UNREACHABLE,
        severity=Severity.CRITICAL,
        headline=f"Docker at {host} does not answer, so nobody can see what game {facts.game_id} is doing",
        detail=f"{one_line(facts.sight.reason)}. {_last_known(facts, now)}",
        step=NextStep(
            f"Look at the Docker daemon behind {host} and start it if it is down; do nothing to the game",
            command=facts.rules.docker("version"),
        ),
        automatic=_when_docker_is_back(facts, now),
    )


def redis_down(facts: Facts, _now: datetime) -> Verdict | None:
    """Without Redis no job comes in, no result goes out, and REST takes no verb."""
    if not facts.redis_reason:
        return None
    head = facts.head
    waits = head is not None and head.state == OpState.ACCEPTED
    has_work = f"; operation {head.pk} ({head.op_kind}) waits for it" if head and waits else ""
    return Verdict(
        cause=Cause.REDIS_DOWN,
        severity=Severity.CRITICAL,
        headline=f"Redis does not answer: no job reaches game {facts.game_id} and no result goes out{has_work}",
        detail=f"{one_line(facts.redis_reason)}.",
        step=NextStep("Bring Redis back; verbs are refused until then, and nothing is lost meanwhile"),
        automatic=NextAutomatic("All processes reconnect within seconds; what waits is then done and told, in order"),
    )


def workers_silent(facts: Facts, now: datetime) -> Verdict | None:
    """Nothing is open, but whatever is asked for would wait: the canary has not come through."""
    if facts.head is not None or not is_canary_late(facts, now):
        return None
    last = moment(facts.pulses[PulseName.CANARY], now=now)
    return Verdict(
        cause=Cause.WORKER_DOWN,
        severity=Severity.WARNING,
        headline=f"No worker has shown itself since {last}: whatever is asked of game {facts.game_id} would wait",
        detail=what_docker_shows(facts, now),
        step=start_workers(),
        automatic=NextAutomatic("The first worker that is up takes over whatever waits, within 4 s"),
    )


def start_workers() -> NextStep:
    """The way out when nobody works."""
    return NextStep(
        "See whether worker and clock run and what their logs say; start them", command=WORKER_COMMAND
    )  # fmt: skip


def is_canary_late(facts: Facts, now: datetime) -> bool:
    """Whether no message has come through Redis and a worker for too long; one that never came says nothing."""
    return PulseName.CANARY in silent_parts(facts, now)


def silent_parts(facts: Facts, now: datetime) -> list[str]:
    """The parts of RTM that keep anything going and have shown no sign of life for too long."""
    parts = (PulseName.CANARY, PulseName.BRIDGE, PulseName.SWEEPER)
    seen = {name: facts.pulses[name] for name in parts if name in facts.pulses}
    return [name.value for name, at in seen.items() if now - at > facts.rules.silence_limit]


def what_docker_shows(facts: Facts, now: datetime) -> str:
    """One sentence on the container, for causes that lie elsewhere."""
    if not facts.sight.is_known:
        return "Docker does not answer either, so it is unknown what runs."
    own = facts.sight.own
    if own is None:
        return f"Docker shows no container of game {facts.game_id}."
    since = f" since {moment(own.started_at, now=now)}" if own.is_alive and own.started_at else ""
    return f"Docker shows container {short(own.id)} of game {facts.game_id} {own.state}{since}."


def next_relist(facts: Facts, now: datetime) -> datetime | None:
    """When everything is compared with Docker next; None when it is not known when that was done last."""
    last = facts.pulses.get(PulseName.RELIST)
    return max(last + facts.rules.reconcile_interval, now) if last else None


def _last_known(facts: Facts, now: datetime) -> str:
    if facts.record is None:
        return f"{facts.name} has no record."
    last = moment(facts.record.last_op_at, now=now)
    return f"Its record says {facts.record.status}, written at {last}, and stays so until Docker answers."


def _when_docker_is_back(facts: Facts, now: datetime) -> NextAutomatic:
    head = facts.head
    if head is not None and head.not_before is not None and head.not_before > now:
        return NextAutomatic(f"Operation {head.pk} ({head.op_kind}) is tried again, then ever more seldom, "
                             "every 30 s at most", head.not_before)  # fmt: skip
    if head is not None:
        return NextAutomatic(f"Operation {head.pk} ({head.op_kind}) goes on as soon as Docker answers")
    interval = span(facts.rules.reconcile_interval)
    text = f"Docker is asked again every {interval} and compared with all records"
    return NextAutomatic(text, next_relist(facts, now))
