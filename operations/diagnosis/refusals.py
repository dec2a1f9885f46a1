"""Which verbs would be refused or fail right now, and why: nobody is told to do what cannot work. Pure."""

from operations.diagnosis.facts import Facts, failed_step
from operations.diagnosis.words import one_line, short
from runtimes.states import RuntimeStatus

VERBS = ("start", "stop", "restart", "patch", "cleanup")
_NEED_A_PLACE = frozenset({"start", "restart", "patch"})
_NEED_A_RECORD = frozenset({"stop", "restart", "patch", "cleanup"})


def refusal(facts: Facts, verb: str, *, image_ref: str = "") -> str:
    """Why this verb would be refused now, empty when it would not. ``image_ref`` is what a start would ask for."""
    return _of_service(facts) or _of_game(facts, verb, image_ref=image_ref) or _of_place(facts, verb)


def refusals(facts: Facts) -> dict[str, str]:
    """All verbs, each with the reason why it would be refused, empty when it would not."""
    return {verb: refusal(facts, verb, image_ref=facts.image_ref) for verb in VERBS}


def _of_service(facts: Facts) -> str:
    if facts.database_reason:
        return "PostgreSQL does not answer"
    if facts.redis_reason:
        return "Redis does not answer"
    if not facts.sight.is_known:
        return "Docker does not answer"
    if facts.head is not None:
        return f"the game is busy with {facts.head.op_kind} (operation {facts.head.pk})"
    return ""


def _of_game(facts: Facts, verb: str, *, image_ref: str) -> str:
    record = facts.record
    if record is None and verb in _NEED_A_RECORD:
        return "the game has no record: it was never started here"
    if verb in {"restart", "patch"} and facts.status == RuntimeStatus.REMOVED:
        return "the game is removed; start it instead"
    if verb == "cleanup" and (facts.status == RuntimeStatus.RUNNING or facts.sight.is_up):
        return "the game is running; stop it first"
    is_running = record is not None and facts.status == RuntimeStatus.RUNNING and facts.sight.is_up
    if verb == "start" and is_running and image_ref != record.current_image_ref:  # type: ignore[union-attr]  # is_running
        return f"the game is running another image, {record.current_image_ref}"  # type: ignore[union-attr]
    return ""


def _of_place(facts: Facts, verb: str) -> str:
    """What a new container would lack."""
    if verb not in _NEED_A_PLACE:
        return ""
    if not facts.sight.network_exists:
        return f"the Docker network {facts.rules.network} does not exist"
    foreign = facts.sight.foreign
    if foreign is not None and facts.sight.own is None:
        return f"the name {foreign.name} is held by foreign container {short(foreign.id)}"
    if has_unusable_directory(facts):
        return "the state directory takes no writes"
    if facts.sight.has_image is False and facts.rules.pull_policy == "never" and verb != "patch":
        return one_line(f"image {facts.image_ref} is not on the Docker host, and the pull policy is never")
    return ""


def has_unusable_directory(facts: Facts) -> bool:
    """Whether a worker could not use the state directory, and it does not look mended. What this process sees of it
    counts only with that: it may see another disk.
    """
    last = facts.last_asked
    refused = last is not None and failed_step(last) == "prepare_state"
    return refused and facts.state_directory.is_known and not facts.state_directory.is_usable
