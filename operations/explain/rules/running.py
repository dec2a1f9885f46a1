"""Causes in a running engine: not reachable, unhealthy, configured differently, or healthy."""

from datetime import datetime

from operations.explain import next_step
from operations.explain.diagnosis import AutomaticAction, Cause, Diagnosis, NextStep, Severity
from operations.explain.facts import Facts
from operations.explain.rules.dependencies import at_full_reconcile
from operations.explain.rules.drift import rename_foreign
from operations.explain.rules.failed_operations import recent_failure
from operations.states import OperationKind
from runtimes.container_spec import endpoint_host, is_misnamed
from runtimes.containers.base import Container, ContainerState
from runtimes.containers.configuration import ConfigurationKind
from runtimes.exceptions import ErrorCode
from runtimes.formatting import format_duration, format_image, format_time, short_id, short_image_id, single_line
from runtimes.health import PROBE_PATH, UNHEALTHY, UNHEALTHY_STATES
from runtimes.states import RuntimeStatus

_DIFFERENCES_SHOWN = 3
_NO_RESTART = "Runtime Manager does not restart it automatically"


def wrong_network(facts: Facts, _now: datetime) -> Diagnosis | None:
    """The engine runs in a network where no caller can reach it."""
    own, network = facts.docker_state.own, facts.config.docker_network
    if own is None or not facts.docker_state.is_up or network in own.addresses:
        return None
    if own.state == ContainerState.RESTARTING:
        return None
    networks = ", ".join(sorted(own.addresses)) or "no network"
    headline = f"{facts.game_id} runs but cannot be reached: its container is in {networks}, not in {network}"
    join = facts.config.docker("network", "connect", network, short_id(own.id))
    text = f"Restart the game; its new container joins the right network. Or join it without interruption: {join}"
    return Diagnosis(Cause.WRONG_NETWORK, Severity.CRITICAL, headline, "", next_step.restart(facts, text))


def endpoint_dead(facts: Facts, now: datetime) -> Diagnosis | None:
    """The recorded container runs, but was renamed: its name is not the one in the endpoint."""
    own, record, foreign = facts.docker_state.own, facts.record, facts.docker_state.foreign
    if own is None or record is None or not facts.docker_state.is_up or facts.status != RuntimeStatus.RUNNING:
        return None
    if own.id != record.current_container_id or not is_misnamed(record.engine_endpoint, name=own.name):
        return None
    name = endpoint_host(record.engine_endpoint)
    if foreign is None:
        target = "may lead nowhere"
        text = f"Start the game: it is not interrupted, and its container gets the name {name} back"
        step, interval = next_step.start(facts, text), format_duration(facts.config.reconcile_interval)
        automatic = at_full_reconcile(f"The periodic reconcile (every {interval}) restores the name", facts, now)
    else:
        target = f"may lead to container {short_id(foreign.id)}, which has that name now"
        text = f"Find the owner of container {short_id(foreign.id)} and rename it; then the game gets its name back"
        step = rename_foreign(facts, foreign, text)
        automatic = AutomaticAction("Nothing while another container has the name")
    headline = (
        f"{facts.game_id} runs, but may not be reachable: its container {short_id(own.id)} was renamed to {own.name}, "
        f"and its endpoint {record.engine_endpoint} {target}"
    )
    detail = f"The endpoint needs a container with the name {name}."
    return Diagnosis(Cause.ENDPOINT_DEAD, Severity.CRITICAL, headline, detail, step, automatic)


def docker_unhealthy(facts: Facts, now: datetime) -> Diagnosis | None:
    """Docker reports that the container is paused, restarts again and again, or fails its health check."""
    own = facts.docker_state.own
    if own is None or (own.health != UNHEALTHY and own.state not in UNHEALTHY_STATES):
        return None
    if own.state == ContainerState.PAUSED:
        problem, command = "is paused", facts.config.docker("unpause", short_id(own.id))
        step = NextStep("Unpause the container, unless it was paused on purpose", command=command)
    else:
        problem = f"fails Docker's health check ({own.state}, {own.restart_count} restarts)"
        step = _restart_if_it_stays(facts)
    inspected = facts.health.inspected_at if facts.health else None
    since = f", since {format_time(inspected, now=now)}" if inspected else ""
    headline = f"{facts.game_id} {problem}: container {short_id(own.id)}{since}"
    interval = format_duration(facts.config.inspect_interval)
    text = f"The container is inspected every {interval}, and its recovery is recorded. {_NO_RESTART}"
    return Diagnosis(Cause.DOCKER_UNHEALTHY, Severity.CRITICAL, headline, "", step, AutomaticAction(text))


def probe_failing(facts: Facts, now: datetime) -> Diagnosis | None:
    """The engine runs but does not answer its health probe."""
    snapshot = facts.health
    if snapshot is None or not facts.docker_state.is_up or not snapshot.probe_failures:
        return None
    since = f" since {format_time(snapshot.probed_at, now=now)}" if snapshot.probed_at else ""
    error = single_line(snapshot.probe_last_error, longest=120) or f"status {snapshot.probe_last_status}"
    headline = f"{facts.game_id} runs, but its engine fails the probe of {PROBE_PATH}{since}: {error}"
    detail = f"Reported after {facts.config.probe_failures_threshold} failures in a row."
    interval = format_duration(facts.config.probe_interval)
    text = f"The engine is probed every {interval}; the first success is reported as probe_recovered. {_NO_RESTART}"
    step, automatic = _restart_if_it_stays(facts), AutomaticAction(text)
    return Diagnosis(Cause.PROBE_FAILING, Severity.CRITICAL, headline, detail, step, automatic)


def configuration_drift(facts: Facts, _now: datetime) -> Diagnosis | None:
    """The game is up, in a container that RTM would create differently."""
    own, differences = facts.docker_state.own, facts.docker_state.configuration
    if own is None or not facts.docker_state.is_up or not differences:
        return None
    kinds = ", ".join(dict.fromkeys(_spaced(difference.kind) for difference in differences))
    shown = "; ".join(
        f"{_spaced(difference.field)}: {difference.in_force} instead of {difference.wanted}"
        for difference in differences[:_DIFFERENCES_SHOWN]
    )
    left = len(differences) - _DIFFERENCES_SHOWN
    more = f"; and {left} more difference{'s' if left > 1 else ''}" if left > 0 else ""
    headline = (
        f"{facts.game_id} is up, but its container differs from what Runtime Manager would create ({kinds}): "
        f"{shown}{more}"
    )
    detail = "It was created or changed outside of Runtime Manager, or settings have changed since its creation."
    automatic = AutomaticAction("Nothing until the next restart or patch, which creates a correct container")
    step = _correct_configuration(facts, own)
    return Diagnosis(Cause.CONFIGURATION_DRIFT, Severity.WARNING, headline, detail, step, automatic)


def healthy(facts: Facts, now: datetime) -> Diagnosis | None:
    """The game runs, and no other rule applies."""
    own = facts.docker_state.own
    if own is None or not facts.docker_state.is_up:
        return None
    started = own.started_at or (facts.record.started_at if facts.record else None)
    since = f" since {format_time(started, now=now)}" if started else ""
    image = format_image(facts.image_ref)
    step, is_pull_failed = NextStep("Nothing to do"), _is_pull_of_restart_failed(facts, now)
    if is_pull_failed:
        text = f"The game keeps running. Make sure that {image} can be pulled before the next restart"
        step = NextStep(text, command=facts.config.docker("pull", facts.image_ref) if facts.image_ref else "")
    health_check = "Docker's health check has no result yet." if own.health == "starting" else ""
    image_text = _image_text(facts, own, is_pull_failed=is_pull_failed)
    detail = " ".join(filter(None, [health_check, image_text, _note_of_last_change(facts, own)]))
    probed, inspected = format_duration(facts.config.probe_interval), format_duration(facts.config.inspect_interval)
    automatic = AutomaticAction(f"The engine is probed every {probed}, and its container inspected every {inspected}")
    return Diagnosis(Cause.HEALTHY, Severity.OK, f"{facts.game_id} is up{since} on {image}", detail, step, automatic)


def _restart_if_it_stays(facts: Facts) -> NextStep:
    where = next_step.where_to_read_log(facts)
    return next_step.restart(facts, f"{where}. If it does not recover, restart the game")


def _correct_configuration(facts: Facts, own: Container) -> NextStep:
    differences = facts.docker_state.configuration
    kinds = {difference.kind for difference in differences}
    if kinds == {ConfigurationKind.RESTART_POLICY}:
        text = "Reset the restart policy, which does not interrupt the game: Docker must not restart it automatically"
        return NextStep(text, command=facts.config.docker("update", "--restart=no", short_id(own.id)))
    others = sorted(set(own.addresses) - {facts.config.docker_network})
    if kinds == {ConfigurationKind.NETWORKS} and len(others) == 1:
        text = f"Disconnect the container from network {others[0]}, or wait for the next restart, which does it"
        return NextStep(text, command=facts.config.docker("network", "disconnect", others[0], short_id(own.id)))
    text = "Restart the game at a convenient time; its new container gets these values"
    if any(row.kind == ConfigurationKind.MOUNTS and "volume " in row.in_force for row in differences):
        text = f"Copy the contents of its volumes into the state directory; a restart removes them. {text}"
    return next_step.restart(facts, text)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _is_pull_of_restart_failed(facts: Facts, now: datetime) -> bool:
    """Whether the last restart failed because its image could not be pulled, as under the pull policy ``always``."""
    last = recent_failure(facts, now)
    if last is None or last.op_kind != OperationKind.RESTART:
        return False
    return last.error_code == ErrorCode.IMAGE_PULL_FAILED


def _image_text(facts: Facts, own: Container, *, is_pull_failed: bool) -> str:
    """Which image really runs, if its reference names another one now."""
    named_id = facts.docker_state.named_image_id
    if not own.image_id or facts.docker_state.has_image is None or named_id == own.image_id:
        return ""
    names = f"names {short_image_id(named_id)} now" if named_id else "names no image on this host now"
    after_restart = "a restart stays on the image that runs"
    if facts.config.image_pull_policy == "always":
        after_restart = "the last restart could not pull it" if is_pull_failed else "a restart pulls it"
    return f"The game runs image {short_image_id(own.image_id)}; {facts.image_ref} {names}, and {after_restart}."


def _note_of_last_change(facts: Facts, own: Container) -> str:
    """The note of the operation that created the container, such as a reduced limit."""
    last = facts.last_change
    if last is None or last.container_id != own.id or not last.error_message:
        return ""
    return f"Operation {last.pk}: {single_line(last.error_message)}."
