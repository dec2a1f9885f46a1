"""Which verbs would be refused or fail right now, and why; and next steps, which never name such a verb. Pure."""

from operations.explain.diagnosis import NextStep
from operations.explain.facts import Facts, failed_step
from operations.kinds import REQUESTABLE
from runtimes.container_spec import is_misnamed
from runtimes.containers.base import ContainerState
from runtimes.formatting import short_id, single_line, verb_command
from runtimes.states import RuntimeStatus

VERBS = tuple(REQUESTABLE)


def refusal(facts: Facts, verb: str, *, image_ref: str = "", accept_empty_state: bool = False) -> str:
    """Why this verb would be refused now; empty if it would not. ``image_ref`` is the image of a start."""
    return (
        _of_service(facts)
        or _of_game(facts, verb, image_ref=image_ref)
        or _of_new_container(facts, verb, accept_empty_state=accept_empty_state)
    )


def refusals(facts: Facts) -> dict[str, str]:
    """Every verb with the reason why it would be refused; empty if the caller can do it.

    A missing state directory refuses neither start nor restart here, because the caller may accept an empty one.
    """
    return {
        verb: refusal(facts, verb, image_ref=facts.image_ref, accept_empty_state="accept_empty_state" in kind.arguments)
        for verb, kind in REQUESTABLE.items()
    }


def start(facts: Facts, text: str, *, image_ref: str = "") -> NextStep:
    """Start the game on this image, or on the last one; if that would be refused, the reason instead."""
    image_ref = image_ref or facts.image_ref
    if not image_ref:
        return NextStep(f"{text}; no image is recorded, so name one")
    if reason := refusal(facts, "start", image_ref=image_ref):
        return NextStep(f"{text}. First solve this: {reason}")
    command = verb_command("start", facts.game_id, image_ref)
    return NextStep(text, verb="start", arguments={"image_ref": image_ref}, command=command)


def restart(facts: Facts, text: str) -> NextStep:
    """Restart the game. A game that is down is started if a restart would be refused."""
    reason = refusal(facts, "restart")
    if not reason:
        return NextStep(text, verb="restart", command=verb_command("restart", facts.game_id))
    if facts.docker_state.is_up:
        # A start of a running game is a no-op.
        return NextStep(f"{text}. First solve this: {reason}")
    return start(facts, text)


def where_to_read_log(facts: Facts) -> str:
    """Where to read the last log lines: in the exit report, in the container's log, or in the operation's steps."""
    report = facts.exit_report_of_end
    if report is not None:
        return f"Read the last log lines in exit report {report.pk} (rtm exit-report {report.pk})"
    if facts.docker_state.own is not None:
        return f"Read the container's log (rtm logs {facts.game_id})"
    return "Read the steps of the last operation"


def _of_service(facts: Facts) -> str:
    if facts.database_reason:
        return "PostgreSQL does not answer"
    if facts.redis_reason:
        return "Redis does not answer"
    if not facts.docker_state.is_known:
        return facts.docker_state.silence
    if facts.next_operation is not None:
        return f"the game is busy with {facts.next_operation.op_kind} (operation {facts.next_operation.pk})"
    return ""


def _of_game(facts: Facts, verb: str, *, image_ref: str) -> str:
    record, foreign = facts.record, facts.docker_state.foreign
    if record is None:
        return "the game has no record: it was never started here" if REQUESTABLE[verb].needs_record else ""
    if verb in {"restart", "patch"} and facts.status == RuntimeStatus.REMOVED:
        return "the game is removed; start it instead"
    if verb == "cleanup" and (facts.status == RuntimeStatus.RUNNING or facts.docker_state.is_up):
        return "the game is running; stop it first"
    if verb == "cleanup" and foreign is not None and _is_renamed(facts):
        return f"its container was renamed, and foreign container {short_id(foreign.id)} has the name"
    is_running = facts.status == RuntimeStatus.RUNNING and facts.docker_state.is_up
    if verb == "start" and is_running and image_ref != record.current_image_ref:
        return f"the game is running another image, {record.current_image_ref}"
    return ""


def _of_new_container(facts: Facts, verb: str, *, accept_empty_state: bool) -> str:
    """Why a new container could not be created."""
    docker_state, config = facts.docker_state, facts.config
    if not REQUESTABLE[verb].creates_container:
        return ""
    if not docker_state.network_exists:
        return f"the Docker network {config.docker_network} does not exist"
    if reason := _of_name(facts, verb) or _of_state_directory(facts, accept_empty_state=accept_empty_state):
        return reason
    # A restart uses the image of the container, or the recorded image id, even if the reference is gone.
    needs_reference = verb == "start" or (
        verb == "restart" and docker_state.own is None and not docker_state.has_recorded_image
    )
    if docker_state.has_image is False and config.image_pull_policy == "never" and needs_reference:
        return single_line(f"image {facts.image_ref} is not on the Docker host, and the pull policy is never")
    return ""


def _of_name(facts: Facts, verb: str) -> str:
    """Why the container's name is not free."""
    foreign, own = facts.docker_state.foreign, facts.docker_state.own
    if foreign is not None and not (verb == "start" and _is_up_under_its_name(facts)):
        return f"foreign container {short_id(foreign.id)} has the name {foreign.name}"
    if own is None and facts.namesake:
        return f"game {facts.namesake} has a container, and host names ignore case"
    if own is not None and own.state == ContainerState.DEAD:
        return f"Docker cannot remove the dead container {short_id(own.id)}"
    return ""


def _is_up_under_its_name(facts: Facts) -> bool:
    """Whether the recorded container runs under the name in its endpoint: then a start is a no-op."""
    own, record = facts.docker_state.own, facts.record
    is_recorded = own is not None and record is not None and own.id == record.current_container_id
    return is_recorded and facts.docker_state.is_up and not _is_renamed(facts)


def _is_renamed(facts: Facts) -> bool:
    own, record = facts.docker_state.own, facts.record
    return own is not None and record is not None and is_misnamed(record.engine_endpoint, name=own.name)


def _of_state_directory(facts: Facts, *, accept_empty_state: bool) -> str:
    """Why the state directory cannot be used.

    This process may see another disk than the worker. What it sees counts only if a worker has refused the game for
    its state directory.
    """
    last, directory = facts.last_requested, facts.state_directory
    if last is None or failed_step(last) != "prepare_state":
        return ""
    if directory.is_root_wrong:
        return f"{facts.config.game_state_root} is not the recorded state root"
    if directory.is_missing and not accept_empty_state:
        return "the state directory is missing, but the game has run before"
    return "the state directory accepts no writes" if directory.is_known and not directory.is_usable else ""
