"""Causes in the last thing that was asked for: it failed, and since then nothing has changed."""

import shlex
from datetime import datetime, timedelta

from operations.diagnosis import remedies
from operations.diagnosis.drift import nothing
from operations.diagnosis.facts import Facts, failed_step
from operations.diagnosis.verdicts import Cause, NextAutomatic, NextStep, Severity, Verdict
from operations.diagnosis.words import moment, one_line
from operations.models import Operation
from operations.states import OpKind, Outcome
from runtimes.exceptions import ErrorCode
from runtimes.states import RuntimeStatus

# A refusal of yesterday is no news; what keeps a game from running is, however old.
_NEWS = timedelta(hours=24)
_BRINGS_UP = frozenset({OpKind.START, OpKind.RESTART})
# Said of a request, not of the game: nothing was tried.
_REFUSALS = frozenset({ErrorCode.CONFLICT, ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST})
_OLD_IMAGE_LOST = "could not be put back"


def network_missing(facts: Facts, _now: datetime) -> Verdict | None:
    """No container can come up, and none can be reached, without the game network."""
    name = facts.rules.network
    concerns = facts.sight.is_up or (facts.desired is not None and facts.desired.status == RuntimeStatus.RUNNING)
    if facts.sight.network_exists or not (concerns or failed_attempt(facts)):
        return None
    return Verdict(
        cause=Cause.NETWORK_MISSING,
        severity=Severity.CRITICAL,
        headline=f'The Docker network "{name}" does not exist, so game {facts.game_id} cannot '
        + ("be reached" if facts.sight.is_up else "be started"),
        detail="RTM checks the network and never creates it. RTMANAGER_DOCKER_NETWORK names it.",
        step=remedies.look(
            "Create the network, then restart or start the game", facts.rules.docker("network", "create", name)
        ),
        automatic=nothing(),
    )


def failed_start(facts: Facts, now: datetime) -> Verdict | None:
    """The game does not run because the last attempt to bring it up failed; the step that did says why."""
    failed = failed_attempt(facts)
    if failed is None:
        return None
    if failed.error_code == ErrorCode.IMAGE_PULL_FAILED:
        return _image_missing(facts, failed, now)
    step = failed_step(failed)
    if step == "prepare_state":
        return _state_directory(facts, failed, now)
    if step == "settle":
        return _crash(facts, failed, now)
    return _other(facts, failed, now)


def refused(facts: Facts, now: datetime) -> Verdict | None:
    """The game is as it should be; what was asked last was refused or undone, not long ago."""
    last = _last_failure(facts)
    if last is None or last.finished_at is None or now - last.finished_at > _NEWS:
        return None
    if last.op_kind != OpKind.PATCH or last.error_code in {*_REFUSALS, ErrorCode.DOCKER_UNAVAILABLE}:
        return _operation_refused(facts, last, now)
    if last.error_code == ErrorCode.CONTAINER_START_FAILED:
        return _patch_reverted(facts, last, now)
    return _image_refused(facts, last, now)


def failed_attempt(facts: Facts) -> Operation | None:
    """The last attempt to bring the game up, if it failed, the game is not up and nothing has changed since."""
    last = _last_failure(facts)
    if last is None or facts.sight.is_up or facts.status == RuntimeStatus.RUNNING or last.error_code in _REFUSALS:
        return None
    lost_by_patch = last.op_kind == OpKind.PATCH and _OLD_IMAGE_LOST in last.error_message
    return last if last.op_kind in _BRINGS_UP or lost_by_patch else None


def _last_failure(facts: Facts) -> Operation | None:
    last, change = facts.last_asked, facts.last_change
    if last is None or last.outcome != Outcome.FAILURE or (change is not None and change.pk > last.pk):
        return None
    return last


def _image_missing(facts: Facts, failed: Operation, now: datetime) -> Verdict:
    image_ref = failed.image_ref or facts.image_ref
    if facts.sight.has_image:
        step = remedies.start(facts, "The image is on the Docker host by now: start the game", image_ref=image_ref)
    else:
        step = remedies.look(
            "Publish the image or correct the reference; when this succeeds, start the game",
            facts.rules.docker("pull", image_ref),
        )
    return _not_up(
        facts, failed, Cause.IMAGE_MISSING, now, step=step, why=f"image {image_ref} could not be had"
    )  # fmt: skip


def _state_directory(facts: Facts, failed: Operation, now: datetime) -> Verdict:
    if facts.state_directory.is_usable:
        step = remedies.start(facts, "The directory takes writes again, as seen from here: start the game")
    else:
        step = remedies.look("Do what the message says, then start the game; look at mount and space", _df(facts))
    return _not_up(
        facts, failed, Cause.STATE_DIRECTORY_UNUSABLE, now, step=step, why="its state directory cannot be used"
    )  # fmt: skip


def _crash(facts: Facts, failed: Operation, now: datetime) -> Verdict:
    image_ref = failed.image_ref or facts.image_ref
    earlier = facts.record.current_image_ref if facts.record else None
    words = remedies.last_words(facts)
    if earlier and earlier != image_ref:
        step = remedies.start(facts, f"{words}; to have the game back now, start it with {earlier}", image_ref=earlier)
    else:
        step = remedies.look(f"{words}, mend the image, then start the game; the same image dies again")
    return _not_up(
        facts, failed, Cause.CRASH_AT_START, now, step=step, why=f"the engine of image {image_ref} died at once"
    )  # fmt: skip


def _other(facts: Facts, failed: Operation, now: datetime) -> Verdict:
    outside = failed.error_code in {ErrorCode.DOCKER_UNAVAILABLE, ErrorCode.SERVICE_UNAVAILABLE}
    at_step = f"its step {failed_step(failed)} failed" if failed_step(failed) else "it could not be done"
    why = "a server was away" if outside else f"{at_step} ({failed.error_code})"
    text = "Do what the message says, then start the game"
    if outside or failed_step(failed) == "validate":
        text = "Start the game again if the reason is mended"
    step = remedies.start(facts, text, image_ref=failed.image_ref)
    return _not_up(facts, failed, Cause.START_FAILED, now, step=step, why=why)


def _not_up(  # noqa: PLR0913 - what all failed starts have in common
    facts: Facts, failed: Operation, cause: Cause, now: datetime, *, step: NextStep, why: str
) -> Verdict:
    when = moment(failed.finished_at or failed.accepted_at, now=now)
    return Verdict(
        cause=cause,
        severity=Severity.CRITICAL,
        headline=f"{facts.name} does not run: its last {failed.op_kind} failed at {when}, because {why}",
        detail=f"Operation {failed.pk}: {one_line(failed.error_message)}.",
        step=step,
        automatic=nothing(),
    )


def _image_refused(facts: Facts, last: Operation, now: datetime) -> Verdict:
    when = moment(last.finished_at or last.accepted_at, now=now)
    return Verdict(
        cause=Cause.IMAGE_REFUSED,
        severity=Severity.INFO,
        headline=f"{facts.name} is fine on {facts.image_ref}; its patch to {last.image_ref} was refused at {when}",
        detail=f"Operation {last.pk}: {one_line(last.error_message)}.",
        step=remedies.look("Patch it to an image that exists and differs from the present one in the patch level only"),
        automatic=_as_before(),
    )


def _patch_reverted(facts: Facts, last: Operation, now: datetime) -> Verdict:
    when = moment(last.finished_at or last.accepted_at, now=now)
    return Verdict(
        cause=Cause.PATCH_REVERTED,
        severity=Severity.WARNING,
        headline=f"{facts.name} is back on {facts.image_ref}: image {last.image_ref} did not come up at {when}",
        detail=f"Operation {last.pk}: {one_line(last.error_message)}.",
        step=remedies.look(f"{remedies.last_words(facts)} before you try that image again"),
        automatic=_as_before(),
    )


def _operation_refused(facts: Facts, last: Operation, now: datetime) -> Verdict:
    when = moment(last.finished_at or last.accepted_at, now=now)
    state = facts.status or "not on record"
    return Verdict(
        cause=Cause.OPERATION_REFUSED,
        severity=Severity.INFO,
        headline=f"{facts.name} is {state}, unchanged: its last {last.op_kind} was refused at {when}",
        detail=f"Operation {last.pk}: {last.error_code}: {one_line(last.error_message)}.",
        step=remedies.look("If the deed is still wanted, do what the message says and ask again"),
        automatic=_as_before(),
    )


def _as_before() -> NextAutomatic:
    return NextAutomatic("Nothing but the usual: looks at its health, comparison with Docker")


def _df(facts: Facts) -> str:
    return shlex.join(["df", "-h", facts.record.state_path if facts.record else facts.rules.state_root])
