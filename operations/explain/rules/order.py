"""The rules in the order in which they are tried; the first that applies is the diagnosis."""

from dataclasses import replace
from datetime import datetime

from operations.explain.diagnosis import Diagnosis, Rule
from operations.explain.facts import Facts
from operations.explain.rules import (
    container_exits,
    dependencies,
    drift,
    failed_operations,
    idle,
    in_progress,
    running,
)

# A server that is down hides the state of the game.
SERVERS: tuple[Rule, ...] = (
    dependencies.database_unreachable,
    dependencies.docker_unreachable,
    dependencies.docker_refuses,
    dependencies.redis_down,
)
GAME: tuple[Rule, ...] = (
    in_progress.open_operation,
    dependencies.workers_silent,
    dependencies.docker_not_observed,
    drift.foreign_container,
    drift.not_removable,
    drift.stray_container,
    drift.drift_pending,
    failed_operations.network_missing,
    failed_operations.failed_start,
    failed_operations.refused_start,
    container_exits.ended_before_restore,
    drift.container_disappeared,
    container_exits.ended_with_docker,
    container_exits.exited,
    running.wrong_network,
    running.endpoint_dead,
    running.docker_unhealthy,
    running.probe_failing,
    container_exits.child_oom_killed,
    failed_operations.patch_reverted,
    running.configuration_drift,
    running.healthy,
    idle.removed,
    idle.prepared,
    idle.stopped_on_request,
)


def diagnose(facts: Facts, *, now: datetime) -> Diagnosis:
    """The most important cause of the game's state. There is always one."""
    results = (rule(facts, now) for rule in (*SERVERS, *GAME))
    first = next((diagnosis for diagnosis in results if diagnosis is not None), None)
    return first or idle.never_started(facts, now)


def diagnosis_without_redis(facts: Facts, *, now: datetime) -> Diagnosis | None:
    """The diagnosis if Redis answered; None if Redis does answer, or PostgreSQL or Docker does not."""
    if facts.database_reason or not facts.docker_state.is_known or not facts.redis_reason:
        return None
    return diagnose(replace(facts, redis_reason=""), now=now)
