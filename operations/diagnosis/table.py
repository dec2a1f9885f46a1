"""The decision table: causes in the order in which they tell, the first that holds is the one."""

from dataclasses import replace
from datetime import datetime

from operations.diagnosis import drift, endings, failures, living, quiet, servers, work
from operations.diagnosis.facts import Facts
from operations.diagnosis.verdicts import Rule, Verdict

# What is outside of the game, and hides what is in it.
SERVERS: tuple[Rule, ...] = (
    servers.database_unreachable,
    servers.docker_unreachable,
    servers.redis_down,
)
GAME: tuple[Rule, ...] = (
    work.work_at_hand,
    servers.workers_silent,
    drift.foreign_container,
    drift.stray_container,
    drift.drift_pending,
    failures.network_missing,
    failures.failed_start,
    drift.container_disappeared,
    endings.ended,
    living.wrong_network,
    living.docker_unhealthy,
    living.probe_failing,
    endings.starving,
    failures.refused,
    living.healthy,
    quiet.removed,
    quiet.prepared,
    quiet.stopped_as_asked,
)


def diagnose(facts: Facts, *, now: datetime) -> Verdict:
    """The one cause that tells most of the game as it is. Always one."""
    found = (rule(facts, now) for rule in (*SERVERS, *GAME))
    first = next((verdict for verdict in found if verdict is not None), None)
    return first or quiet.never_started(facts, now)


def apart_from_servers(facts: Facts, *, now: datetime) -> Verdict | None:
    """What would be said of the game if Redis answered; None when Docker or PostgreSQL hide it."""
    if facts.database_reason or not facts.sight.is_known or not facts.redis_reason:
        return None
    return diagnose(replace(facts, redis_reason=""), now=now)
