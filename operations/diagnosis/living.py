"""Causes in an engine that runs: not reachable, not well, or all is as it should be."""

from datetime import datetime

from operations.diagnosis import remedies
from operations.diagnosis.drift import nothing
from operations.diagnosis.facts import Facts
from operations.diagnosis.verdicts import Cause, NextAutomatic, Severity, Verdict
from operations.diagnosis.words import moment, one_line, short, span
from runtimes.containers.base import ContainerState
from runtimes.health import ODD_STATES, UNHEALTHY


def wrong_network(facts: Facts, _now: datetime) -> Verdict | None:
    """The engine runs where nobody can reach it."""
    own, wanted = facts.sight.own, facts.rules.network
    if own is None or not facts.sight.is_up or wanted in own.addresses or own.state == ContainerState.RESTARTING:
        return None
    where = ", ".join(sorted(own.addresses)) or "no network at all"
    return Verdict(
        cause=Cause.WRONG_NETWORK,
        severity=Severity.CRITICAL,
        headline=f'{facts.name} runs but cannot be reached: its container is in {where}, not in "{wanted}"',
        step=remedies.restart(
            facts, "Restart the game, which gives it a new container in the right network; or join that without "
            "disturbing it: " + facts.rules.docker("network", "connect", wanted, short(own.id)),
        ),
        automatic=nothing(),
    )  # fmt: skip


def docker_unhealthy(facts: Facts, now: datetime) -> Verdict | None:
    """Docker itself says that something is wrong with the container."""
    own = facts.sight.own
    if own is None or (own.health != UNHEALTHY and own.state not in ODD_STATES):
        return None
    inspected = facts.health.inspected_at if facts.health else None
    since = f", seen at {moment(inspected, now=now)}" if inspected else ""
    if own.state == ContainerState.PAUSED:
        what, text = "is paused", "Let it go on if nobody paused it on purpose"
        step = remedies.look(text, facts.rules.docker("unpause", short(own.id)))
    else:
        what = f"fails Docker's health check ({own.state}, {own.restart_count} restarts)"
        step = remedies.restart(facts, f"{remedies.last_words(facts)}; if it does not recover, restart the game")
    return Verdict(
        cause=Cause.DOCKER_UNHEALTHY,
        severity=Severity.CRITICAL,
        headline=f"{facts.name} {what}: container {short(own.id)}{since}",
        step=step,
        automatic=NextAutomatic(
            f"It is looked at every {span(facts.rules.inspect_interval)} and its recovery noted; "
            "Runtime Manager does not restart it by itself"
        ),
    )


def probe_failing(facts: Facts, now: datetime) -> Verdict | None:
    """The engine runs but does not answer for itself."""
    seen = facts.health
    if seen is None or not facts.sight.is_up or not seen.probe_failures:
        return None
    since = f" since {moment(seen.probed_at, now=now)}" if seen.probed_at else ""
    interval, threshold = span(facts.rules.probe_interval), facts.rules.probe_failures_threshold
    return Verdict(
        cause=Cause.PROBE_FAILING,
        severity=Severity.CRITICAL,
        headline=f"{facts.name} runs but its engine does not answer /healthz{since}: "
        + (one_line(seen.probe_last_error, longest=120) or f"status {seen.probe_last_status}"),
        detail=f"Reported after {threshold} failures in a row.",
        step=remedies.restart(facts, f"{remedies.last_words(facts)}; if it does not recover, restart the game"),
        automatic=NextAutomatic(
            f"It is asked every {interval}; the first good answer is reported as probe_recovered. "
            "Runtime Manager does not restart it by itself"
        ),
    )


def healthy(facts: Facts, now: datetime) -> Verdict | None:
    """Recorded as running, seen running, and nothing speaks against it."""
    own = facts.sight.own
    if own is None or not facts.sight.is_up:
        return None
    started = own.started_at or (facts.record.started_at if facts.record else None)
    since = f" since {moment(started, now=now)}" if started else ""
    is_young = own.health == "starting"
    return Verdict(
        cause=Cause.HEALTHY,
        severity=Severity.OK,
        headline=f"{facts.name} is up{since} on image {facts.image_ref}",
        detail="Docker's health check has not judged it yet." if is_young else "",
        step=remedies.look("Nothing to do"),
        automatic=NextAutomatic(
            f"It is probed every {span(facts.rules.probe_interval)} and looked at every "
            f"{span(facts.rules.inspect_interval)}"
        ),
    )
