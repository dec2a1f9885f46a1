"""The next step that helps, and only one that would not be refused now. Pure."""

from operations.diagnosis.facts import Facts
from operations.diagnosis.refusals import refusal
from operations.diagnosis.verdicts import NextStep
from operations.diagnosis.words import verb_command
from operations.states import Outcome


def start(facts: Facts, text: str, *, image_ref: str = "") -> NextStep:
    """Start the game with this image, or the one it had; where that cannot work now, the reason instead."""
    wanted = image_ref or facts.image_ref
    if not wanted:
        return NextStep(f"{text}; no image is known, so say which")
    why_not = refusal(facts, "start", image_ref=wanted)
    if why_not:
        return NextStep(f"{text}, once this is mended: {why_not}")
    command = verb_command("start", facts.game_id, wanted)
    return NextStep(text, verb="start", arguments={"image_ref": wanted}, command=command)


def restart(facts: Facts, text: str) -> NextStep:
    """Restart the game; a removed one is started instead."""
    why_not = refusal(facts, "restart")
    if not why_not:
        return NextStep(text, verb="restart", command=verb_command("restart", facts.game_id))
    return start(facts, text)


def look(text: str, command: str = "") -> NextStep:
    """Something to do that is no verb."""
    return NextStep(text, command=command)


def last_words(facts: Facts) -> str:
    """Where the engine's last words are to be read: the black box of this very end, the log, or the steps."""
    own, box, last = facts.sight.own, facts.black_box, facts.last_asked
    is_of_failure = (
        box is not None and last is not None and last.outcome == Outcome.FAILURE and box.operation_id == last.pk
    )
    is_of_own = box is not None and own is not None and not own.is_alive and box.container_id == own.id
    if box is not None and (is_of_failure or is_of_own or own is None):
        return f"Read the engine's last words in black box {box.pk} (rtm black-box {box.pk})"
    if own is not None:
        return f"Read the engine's log (rtm logs {facts.game_id})"
    return "Read the steps of the last operation"
