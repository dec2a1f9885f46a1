"""Causes in the containers that Docker has: foreign or stray ones, and differences that a reconcile repairs."""

from datetime import datetime, timedelta

from operations.explain import next_step
from operations.explain.diagnosis import NOTHING, AutomaticAction, Cause, Diagnosis, NextStep, Severity
from operations.explain.facts import Facts
from operations.explain.rules.dependencies import at_full_reconcile
from runtimes.containers.base import Container, ContainerState
from runtimes.formatting import format_duration, format_image, format_time, short_id, single_line
from runtimes.states import RuntimeStatus

# Docker removes a container within seconds, also a large one on a slow disk.
_LONG_REMOVAL = timedelta(minutes=1)
_USUAL_OBSTACLES = "A file in the directory of the container is immutable or in use, or its file system has an error."


def foreign_container(facts: Facts, _now: datetime) -> Diagnosis | None:
    """An unmanaged container has the game's container name, and the game has no container."""
    foreign = facts.docker_state.foreign
    if foreign is None or facts.docker_state.own is not None:
        return None
    severity = Severity.CRITICAL if facts.should_run or facts.last_requested else Severity.WARNING
    headline = (
        f"{facts.game_id} cannot start: foreign container {short_id(foreign.id)} "
        f"({format_image(foreign.image_ref)}, {foreign.state}) has its name {foreign.name}"
    )
    detail = f"RTM never touches containers without its labels and those of stack {facts.config.stack}."
    text = "Find the owner of that container and rename it, which does not interrupt it. Then start the game"
    step, automatic = rename_foreign(facts, foreign, text), AutomaticAction("Nothing: an operator must solve this")
    return Diagnosis(Cause.FOREIGN_CONTAINER, severity, headline, detail, step, automatic)


def rename_foreign(facts: Facts, foreign: Container, text: str) -> NextStep:
    """Take the name of the game from a foreign container."""
    return NextStep(text, command=facts.config.docker("rename", short_id(foreign.id), f"{foreign.name}-foreign"))


def not_removable(facts: Facts, now: datetime) -> Diagnosis | None:
    """Docker failed to remove the game's container: it is down and keeps the name."""
    own = facts.docker_state.own
    if own is None or not _is_stuck(own, now):
        return None
    is_running = facts.status == RuntimeStatus.RUNNING
    severity = Severity.CRITICAL if is_running or facts.should_run else Severity.WARNING
    headline = (
        f"{facts.game_id} is down: Docker cannot remove its container {short_id(own.id)} ({own.state}), which keeps "
        f"the name {own.name}"
    )
    error = single_line(facts.docker_state.engine_error)
    detail = f"Docker says: {error}." if error else _USUAL_OBSTACLES
    text = (
        "Read Docker's error when it tries again. Check the named file with lsattr (chattr -i unlocks it), mounts in "
        "use (grep the id in /proc/*/mountinfo) and disk errors (dmesg). If you find no obstacle, restart dockerd. "
        "Then start the game"
    )
    step = NextStep(text, command=facts.config.docker("rm", "--force", short_id(own.id)))
    automatic = repair(facts, now) if is_running else NOTHING
    return Diagnosis(Cause.CONTAINER_NOT_REMOVABLE, severity, headline, detail, step, automatic)


def stray_container(facts: Facts, _now: datetime) -> Diagnosis | None:
    """A game recorded as removed has a live container. Only a start changes the status "removed"."""
    own = facts.docker_state.own
    if facts.status != RuntimeStatus.REMOVED or own is None or not own.is_alive:
        return None
    headline = f"{facts.game_id} is removed, but its container {short_id(own.id)} runs. RTM did not start it"
    text = "If the game should not run, stop that container. If it should run, start the game, which replaces it"
    step = NextStep(text, command=facts.config.docker("stop", short_id(own.id)))
    automatic = AutomaticAction("Nothing: only a start brings back a removed game")
    return Diagnosis(Cause.STRAY_CONTAINER, Severity.WARNING, headline, "", step, automatic)


def drift_pending(facts: Facts, now: datetime) -> Diagnosis | None:
    """Record and Docker differ in a way that a reconcile repairs automatically."""
    own, difference = facts.docker_state.own, _difference(facts)
    if not difference:
        return None
    if facts.namesake and facts.status is None and own is not None and own.is_alive:
        return _not_adoptable(facts, own)
    recorded = f"is recorded as {facts.status}" if facts.status else "has no record"
    step = NextStep("Wait, or reconcile records and Docker now", command="python manage.py reconcile")
    headline = f"{facts.game_id} {recorded}, but {difference}"
    return Diagnosis(Cause.DRIFT_PENDING, Severity.WARNING, headline, "", step, repair(facts, now))


def container_disappeared(facts: Facts, now: datetime) -> Diagnosis | None:
    """The container of a game that should run no longer exists, and RTM did not remove it."""
    record = facts.record
    is_missing = facts.status == RuntimeStatus.RUNNING and is_container_missing(facts)
    is_recorded = facts.status == RuntimeStatus.REMOVED and facts.should_run
    if record is None or not (is_missing or is_recorded):
        return None
    when = f", noticed at {format_time(record.removed_at, now=now)}" if record.removed_at and is_recorded else ""
    container_id = record.current_container_id or (facts.snapshot.container_id if facts.snapshot else "")
    container = f"container {short_id(container_id)}" if container_id else "container"
    headline = f"{facts.game_id} is down: its {container} has disappeared. It was removed outside of RTM{when}"
    detail = "The game's state directory is kept."
    step = next_step.start(facts, "Start the game again; it continues with its state directory")
    automatic = repair(facts, now) if is_missing else NOTHING
    return Diagnosis(Cause.CONTAINER_DISAPPEARED, Severity.CRITICAL, headline, detail, step, automatic)


def repair(facts: Facts, now: datetime) -> AutomaticAction:
    """The record is corrected: usually at once, after an event of Docker; at the latest by the next full reconcile."""
    interval = format_duration(facts.config.reconcile_interval)
    text = f"The record is corrected within seconds, by the periodic reconcile (every {interval}) at the latest"
    return at_full_reconcile(text, facts, now)


def is_container_missing(facts: Facts) -> bool:
    """Whether the recorded container no longer exists, and no other container of the game is alive."""
    own, record = facts.docker_state.own, facts.record
    if own is None or record is None:
        return own is None
    return own.id != record.current_container_id and not own.is_alive


def _not_adoptable(facts: Facts, own: Container) -> Diagnosis:
    """A live container that a reconcile does not adopt: another game has the host name."""
    headline = (
        f"{facts.game_id} has no record, but its container {short_id(own.id)} runs. It is not adopted, because game "
        f"{facts.namesake} has a container, and host names ignore case"
    )
    text = f"Remove this container, or clean up game {facts.namesake}. Callers may reach either of the two now"
    step = NextStep(text, command=facts.config.docker("rm", "--force", short_id(own.id)))
    automatic = AutomaticAction(f"Nothing as long as game {facts.namesake} has a container")
    return Diagnosis(Cause.STRAY_CONTAINER, Severity.WARNING, headline, "", step, automatic)


def _is_stuck(own: Container, now: datetime) -> bool:
    if own.state == ContainerState.REMOVING:
        return own.finished_at is not None and now - own.finished_at > _LONG_REMOVAL
    return own.state == ContainerState.DEAD


def _difference(facts: Facts) -> str:
    own, record, status = facts.docker_state.own, facts.record, facts.status
    if own is None:
        return "Docker no longer has its container" if status == RuntimeStatus.STOPPED else ""
    if own.state == ContainerState.REMOVING:
        return f"Docker is removing its container {short_id(own.id)}"
    if own.is_alive and status in {None, RuntimeStatus.STOPPED}:
        return f"its container {short_id(own.id)} runs"
    if own.is_alive and record is not None and own.id != record.current_container_id:
        return f"another container than the recorded one runs: {short_id(own.id)}"
    return ""
