"""The next step that helps, and only one that would not be refused now. Pure."""

from operations.diagnosis.facts import Facts
from operations.diagnosis.refusals import refusal
from operations.diagnosis.verdicts import NextStep
from operations.diagnosis.words import verb_command


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
    """Where the engine's last words are to be read."""
    if facts.black_box is not None:
        return f"Read the engine's last words in black box {facts.black_box}"
    return "Read the engine's log" if facts.sight.own is not None else "Read the steps of the last operation"
