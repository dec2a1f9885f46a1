"""Causes in the last request, which failed or was refused, and nothing has changed since; and the note about it."""

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta

from operations.explain import next_step
from operations.explain.diagnosis import AutomaticAction, Cause, Diagnosis, NextStep, Note, NoteKind, Severity
from operations.explain.facts import Facts, RootState, failed_step, has_step
from operations.explain.rules.permissions import denied_access
from operations.models import Operation
from operations.states import OperationKind, Outcome
from runtimes.exceptions import ErrorCode
from runtimes.formatting import format_image, format_time, short_image_id, single_line, verb_command
from runtimes.states import RuntimeStatus

# A failed request is reported for a day. The reason why a game is down is reported however old it is.
_NEWS = timedelta(hours=24)
_BRINGS_UP = frozenset({OperationKind.START, OperationKind.RESTART})
# RTM refused the request before it tried anything.
_REFUSALS = frozenset({ErrorCode.CONFLICT, ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST})
_OUTAGES = frozenset({ErrorCode.DOCKER_UNAVAILABLE, ErrorCode.SERVICE_UNAVAILABLE})
_ROOT_PROBLEMS = {
    RootState.UNMARKED: "it has no marker file",
    RootState.FOREIGN: "its marker file has the id of another installation",
    RootState.UNREADABLE: "its marker file cannot be read",
}


def network_missing(facts: Facts, _now: datetime) -> Diagnosis | None:
    """Without the game network no container can start, and none can be reached."""
    name, is_up = facts.config.docker_network, facts.docker_state.is_up
    if facts.docker_state.network_exists or not (is_up or facts.should_run or _failed_attempt(facts)):
        return None
    problem = "be reached" if is_up else "start"
    headline = f"{facts.game_id} cannot {problem}: the Docker network {name} does not exist"
    detail = "RTMANAGER_DOCKER_NETWORK names the network. Runtime Manager checks it and never creates it."
    command = facts.config.docker("network", "create", name)
    step = NextStep("Create the network, then restart or start the game", command=command)
    return Diagnosis(Cause.NETWORK_MISSING, Severity.CRITICAL, headline, detail, step)


def failed_start(facts: Facts, now: datetime) -> Diagnosis | None:
    """The game is down because the last attempt to bring it up failed; the failed step shows why."""
    failed = _failed_attempt(facts)
    if failed is None:
        return None
    if failed.op_kind == OperationKind.PATCH:
        cause, problem, step = _lost_by_patch(facts, failed)
    elif failed.error_code == ErrorCode.IMAGE_PULL_FAILED:
        cause, problem, step = _image_missing(facts, failed)
    elif failed_step(failed) == "prepare_state":
        cause, problem, step = _state_directory(facts, failed)
    elif failed_step(failed) == "settle":
        cause, problem, step = _crash(facts, failed)
    else:
        cause, problem, step = _other(facts, failed)
    headline = f"{facts.game_id} is down: {problem}. Its last {failed.op_kind} failed at {_end(failed, now)}"
    detail = _message(failed) + (_denial_text(facts) if failed.op_kind == OperationKind.PATCH else "")
    return Diagnosis(cause, Severity.CRITICAL, headline, detail, step, operation_id=failed.pk)


def patch_reverted(facts: Facts, now: datetime) -> Diagnosis | None:
    """The last patch was reverted: the game was interrupted and runs the old image."""
    last = recent_failure(facts, now)
    if last is None or last.op_kind != OperationKind.PATCH or last.error_code != ErrorCode.CONTAINER_START_FAILED:
        return None
    old, new = format_image(facts.image_ref), format_image(last.image_ref)
    headline = f"{facts.game_id} is back on {old}: its patch to {new} failed at {_end(last, now)}"
    step = NextStep(f"{next_step.where_to_read_log(facts)} before you try that image again")
    automatic = AutomaticAction("Nothing special: health checks and the periodic reconcile go on")
    detail = _message(last) + _denial_text(facts)
    return Diagnosis(Cause.PATCH_REVERTED, Severity.WARNING, headline, detail, step, automatic, last.pk)


def refused_start(facts: Facts, now: datetime) -> Diagnosis | None:
    """The game is down because its last start or restart was refused before anything was tried."""
    last = recent_failure(facts, now)
    if last is None or last.op_kind not in _BRINGS_UP or last.error_code not in _REFUSALS or _is_running(facts):
        return None
    reason, step = f" ({last.error_code})", NextStep(f"Do what the message says, then {last.op_kind} the game again")
    if facts.namesake:
        reason = f", because game {facts.namesake} has a container, and host names ignore case"
        text = f"Give this game another id, or stop and clean up game {facts.namesake} before you start this one"
        step = NextStep(text, command=verb_command("explain", facts.namesake))
    headline = f"{facts.game_id} is down: its last {last.op_kind} was refused at {_end(last, now)}{reason}"
    return Diagnosis(Cause.OPERATION_REFUSED, Severity.WARNING, headline, _message(last), step, operation_id=last.pk)


def notes(facts: Facts, diagnosis: Diagnosis, now: datetime) -> Iterator[Note]:
    """The last failed request, unless the diagnosis is about it: the game is as it was before the request."""
    last = recent_failure(facts, now)
    if last is None or last.pk == diagnosis.operation_id:
        return
    is_patch, own = last.op_kind == OperationKind.PATCH, facts.docker_state.own
    request = f"Its last {last.op_kind}" + (f" to {format_image(last.image_ref)}" if is_patch else "")
    reason = f"({last.error_code}): {single_line(last.error_message) or 'no message'}"
    if _is_refusal(last):
        kind = NoteKind.IMAGE_REFUSED if is_patch else NoteKind.OPERATION_REFUSED
        yield Note(kind, f"{request} was refused {reason}", last.finished_at, last.pk)
        return
    running = ""
    if own is not None and facts.docker_state.is_up:
        by_id = f" ({short_image_id(own.image_id)})" if own.image_id else ""
        running = f". The game still runs, on {format_image(facts.image_ref)}{by_id}"
    yield Note(NoteKind.OPERATION_FAILED, f"{request} failed {reason}{running}", last.finished_at, last.pk)


def recent_failure(facts: Facts, now: datetime) -> Operation | None:
    """The last failure, if nothing has changed since and it is at most a day old."""
    last = _last_failure(facts)
    is_recent = last is not None and last.finished_at is not None and now - last.finished_at <= _NEWS
    return last if is_recent else None


def _last_failure(facts: Facts) -> Operation | None:
    last, change = facts.last_requested, facts.last_change
    if last is None or last.outcome != Outcome.FAILURE or (change is not None and change.pk > last.pk):
        return None
    return last


def _failed_attempt(facts: Facts) -> Operation | None:
    """The last attempt to bring the game up, if it failed, the game is down and nothing has changed since."""
    last = _last_failure(facts)
    if last is None or last.error_code in _REFUSALS or _is_running(facts):
        return None
    return last if last.op_kind in _BRINGS_UP or _has_lost_the_game(facts, last) else None


def _is_running(facts: Facts) -> bool:
    return facts.docker_state.is_up or facts.status == RuntimeStatus.RUNNING


def _is_refusal(operation: Operation) -> bool:
    """Whether a failed operation was refused before anything was tried."""
    if operation.op_kind == OperationKind.PATCH:
        return operation.error_code not in {ErrorCode.CONTAINER_START_FAILED, ErrorCode.DOCKER_UNAVAILABLE}
    return operation.error_code in _REFUSALS


def _has_lost_the_game(facts: Facts, patch: Operation) -> bool:
    """Whether neither the new nor the old image of a patch came up. A game that was stopped before stays stopped."""
    is_reverted = patch.op_kind == OperationKind.PATCH and has_step(patch, "revert")
    was_stopped = facts.status == RuntimeStatus.STOPPED and facts.desired_by is not None and not facts.should_run
    return is_reverted and not was_stopped


# Why an attempt failed: cause, problem and next step.
_Failure = tuple[Cause, str, NextStep]


def _lost_by_patch(facts: Facts, failed: Operation) -> _Failure:
    old = facts.image_ref
    text = f"Start the game on the image that ran before the patch, {old}. {next_step.where_to_read_log(facts)}"
    problem = f"{format_image(failed.image_ref)} did not come up, and the old image did not come up again"
    return Cause.START_FAILED, problem, next_step.start(facts, text, image_ref=old)


def _image_missing(facts: Facts, failed: Operation) -> _Failure:
    image_ref = failed.image_ref or facts.image_ref
    if facts.docker_state.has_image:
        step = next_step.start(facts, "The image is on the Docker host now: start the game", image_ref=image_ref)
    else:
        text = "Publish the image or correct the reference. When this command succeeds, start the game"
        step = NextStep(text, command=facts.config.docker("pull", image_ref) if image_ref else "")
    return Cause.IMAGE_MISSING, f"{format_image(image_ref)} could not be pulled", step


def _state_directory(facts: Facts, failed: Operation) -> _Failure:
    directory, root, problem = facts.state_directory, facts.config.game_state_root, "its state directory cannot be used"
    findmnt = shlex.join(["findmnt", "-T", root])
    if directory.is_root_wrong:
        problem = f"{root} is not the recorded state root"
        text = (
            f"{problem}: {_ROOT_PROBLEMS[directory.root]}. Check that the right disk is mounted there, then start the "
            "game. If the root was moved on purpose, run on that host: manage.py accept_state_root"
        )
        step = NextStep(text, command=findmnt)
    elif directory.is_missing:
        problem = "its state directory is missing"
        text = (
            "Check that the disk of the state directory is mounted, then start the game. If the state is lost, accept "
            f"an empty directory: {_accepting_command(facts, failed)} (in the console: the check box in the form)"
        )
        step = NextStep(text, command=findmnt)
    elif directory.is_usable:
        step = next_step.start(facts, "The state directory accepts writes now, as seen from here: start the game")
    else:
        df = shlex.join(["df", "-h", facts.record.state_path if facts.record else root])
        step = NextStep("Do what the message says, then start the game. Check mount and free space", command=df)
    return Cause.STATE_DIRECTORY_UNUSABLE, problem, step


def _accepting_command(facts: Facts, failed: Operation) -> str:
    """The command that accepts an empty state. Only a start brings back a removed game."""
    if failed.op_kind == OperationKind.RESTART and facts.status == RuntimeStatus.STOPPED:
        return verb_command("restart", facts.game_id, "--accept-empty-state")
    image_ref = failed.image_ref or facts.image_ref or "IMAGE"
    return verb_command("start", facts.game_id, image_ref, "--accept-empty-state")


def _crash(facts: Facts, failed: Operation) -> _Failure:
    image_ref, where = failed.image_ref or facts.image_ref, next_step.where_to_read_log(facts)
    earlier = facts.record.current_image_ref if facts.record else None
    if (denial := denied_access(facts)) is not None:
        step = NextStep(f"{denial.advice}; then start the game. {where}")
        if denial.is_fixed:
            step = next_step.start(facts, "The present settings allow it: start the game", image_ref=image_ref)
        return denial.cause, denial.what, step
    if earlier and earlier != image_ref:
        step = next_step.start(facts, f"{where}. To bring the game back now, start {earlier}", image_ref=earlier)
    else:
        step = NextStep(f"{where}, fix the image, then start the game. The same image will fail again")
    return Cause.CRASH_AT_START, f"the engine of {format_image(image_ref)} exited right after start", step


def _other(facts: Facts, failed: Operation) -> _Failure:
    step_name, is_outage = failed_step(failed), failed.error_code in _OUTAGES
    problem = f"step {step_name} failed ({failed.error_code})" if step_name else f"it failed ({failed.error_code})"
    if is_outage:
        problem = "a server did not answer"
    text = "Do what the message says, then start the game"
    if is_outage or step_name == "validate":
        text = "Start the game again when the cause is fixed"
    return Cause.START_FAILED, problem, next_step.start(facts, text, image_ref=failed.image_ref)


def _end(operation: Operation, now: datetime) -> str:
    return format_time(operation.finished_at or operation.accepted_at, now=now)


def _message(operation: Operation) -> str:
    return f"Operation {operation.pk}: {single_line(operation.error_message)}."


def _denial_text(facts: Facts) -> str:
    denial = denied_access(facts)
    return f" Cause: {denial.what}. {denial.advice}." if denial else ""
