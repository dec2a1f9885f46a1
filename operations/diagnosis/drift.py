"""Causes in what stands in Docker: somebody else's container, a stray one, a difference that a repair will end."""

from datetime import datetime

from operations.diagnosis import remedies
from operations.diagnosis.facts import Facts
from operations.diagnosis.servers import next_relist
from operations.diagnosis.verdicts import Cause, NextAutomatic, Severity, Verdict
from operations.diagnosis.words import moment, short, span
from runtimes.containers.base import ContainerState
from runtimes.states import RuntimeStatus

RECONCILE = "python manage.py reconcile"


def foreign_container(facts: Facts, _now: datetime) -> Verdict | None:
    """Somebody else's container holds the name, and the game has none of its own."""
    foreign = facts.sight.foreign
    if foreign is None or facts.sight.own is not None:
        return None
    wanted = facts.desired is not None and facts.desired.status == RuntimeStatus.RUNNING
    aside = f"{foreign.name}-foreign"
    return Verdict(
        cause=Cause.FOREIGN_CONTAINER,
        severity=Severity.CRITICAL if wanted or facts.last_asked else Severity.WARNING,
        headline=(
            f"Game {facts.game_id} cannot start: its name {foreign.name} is held by container {short(foreign.id)} "
            f"(image {foreign.image_ref}, {foreign.state}), which is not of this installation"
        ),
        detail=f"RTM never touches containers without its labels and those of stack {facts.rules.stack}.",
        step=remedies.look(
            "Find out whose container it is, then rename it, which lets it go on; start the game after that",
            facts.rules.docker("rename", short(foreign.id), aside),
        ),
        automatic=NextAutomatic("Nothing: it is left to people"),
    )


def stray_container(facts: Facts, _now: datetime) -> Verdict | None:
    """A live container of a game that is on record as removed: only a start may lead out of that."""
    own = facts.sight.own
    if facts.status != RuntimeStatus.REMOVED or own is None or not own.is_alive:
        return None
    return Verdict(
        cause=Cause.STRAY_CONTAINER,
        severity=Severity.WARNING,
        headline=f"{facts.name} is removed, yet its container {short(own.id)} runs; nobody here started it",
        step=remedies.look(
            "If the game should not run, stop that container; if it should, start the game, which replaces it",
            facts.rules.docker("stop", short(own.id)),
        ),
        automatic=NextAutomatic("Nothing: a removed game is only brought back by a start"),
    )


def drift_pending(facts: Facts, now: datetime) -> Verdict | None:
    """Record and Docker differ in a way that the reconciler mends by itself."""
    difference = _difference(facts)
    if not difference:
        return None
    return Verdict(
        cause=Cause.DRIFT_PENDING,
        severity=Severity.WARNING,
        headline=f"{facts.name} is {facts.status or 'not'} on record, but {difference}",
        step=remedies.look("Wait, or have records and Docker compared now", RECONCILE),
        automatic=repair(facts, now),
    )


def container_disappeared(facts: Facts, now: datetime) -> Verdict | None:
    """The container of a game that should run is not there any more, and it was not RTM that removed it."""
    is_missing = facts.status == RuntimeStatus.RUNNING and _recorded_is_missing(facts)
    is_recorded = (
        facts.status == RuntimeStatus.REMOVED
        and facts.desired is not None
        and facts.desired.status == RuntimeStatus.RUNNING
    )
    record = facts.record
    if record is None or not (is_missing or is_recorded):
        return None
    when = f", found at {moment(record.removed_at, now=now)}" if record.removed_at and is_recorded else ""
    container = short(record.current_container_id or (facts.snapshot.container_id if facts.snapshot else ""))
    return Verdict(
        cause=Cause.CONTAINER_DISAPPEARED,
        severity=Severity.CRITICAL,
        headline=f"The container {container} of game {facts.game_id} has disappeared: it was removed outside of "
        f"Runtime Manager{when}".replace("  ", " "),
        detail="The game's state directory is kept.",
        step=remedies.start(facts, "Start the game again; it goes on from its state directory"),
        automatic=repair(facts, now) if is_missing else nothing(),
    )


def repair(facts: Facts, now: datetime) -> NextAutomatic:
    """The record is brought in line with Docker: at once by the watcher, by the next relist at the latest."""
    interval = span(facts.rules.reconcile_interval)
    text = f"The record is brought in line within seconds, by the periodic reconcile (every {interval}) at the latest"
    return NextAutomatic(text, next_relist(facts, now))


def nothing() -> NextAutomatic:
    """RTM waits for a person."""
    return NextAutomatic("Nothing: Runtime Manager does not start a game again by itself")


def _recorded_is_missing(facts: Facts) -> bool:
    own, record = facts.sight.own, facts.record
    if own is None or record is None:
        return own is None
    return own.id != record.current_container_id and not own.is_alive


def _difference(facts: Facts) -> str:
    own, record, status = facts.sight.own, facts.record, facts.status
    if own is not None and own.state == ContainerState.REMOVING:
        return f"Docker is removing its container {short(own.id)}"
    if own is not None and own.is_alive and status is None:
        return f"container {short(own.id)} of it runs"
    if own is not None and own.is_alive and status == RuntimeStatus.STOPPED:
        return f"its container {short(own.id)} runs"
    if own is not None and own.is_alive and record is not None and own.id != record.current_container_id:
        return f"another container runs than the recorded one: {short(own.id)}"
    if status == RuntimeStatus.STOPPED and own is None:
        return "Docker has no container of it any more"
    return ""
