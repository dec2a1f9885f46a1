"""Causes of a game that is down as requested."""

from datetime import datetime

from operations.explain import next_step
from operations.explain.diagnosis import AutomaticAction, Cause, Diagnosis, NextStep, Severity
from operations.explain.facts import Facts
from runtimes.formatting import format_duration, format_time, short_image_id, single_line
from runtimes.states import RuntimeStatus


def removed(facts: Facts, now: datetime) -> Diagnosis | None:
    """The game's container was cleaned up."""
    record = facts.record
    if record is None or facts.status != RuntimeStatus.REMOVED:
        return None
    when = f" at {format_time(record.removed_at, now=now)}" if record.removed_at else ""
    headline = f"{facts.game_id} was removed{when}{_by(facts)}; its state directory is kept"
    step = next_step.start(facts, "Nothing to do. A start brings the game back with its state directory")
    return Diagnosis(Cause.REMOVED, Severity.OK, headline, "", step)


def prepared(facts: Facts, now: datetime) -> Diagnosis | None:
    """The game was created with ``no_start`` and never ran."""
    record = facts.record
    if record is None or facts.status != RuntimeStatus.STOPPED or record.started_at is not None:
        return None
    created = format_time(record.created_at, now=now)
    headline = f"{facts.game_id} is prepared since {created} and was never started"
    step = next_step.start(facts, "Nothing to do. A start runs the game")
    return Diagnosis(Cause.PREPARED, Severity.OK, headline, "", step, _cleanup(facts, since=record.last_op_at))


def stopped_on_request(facts: Facts, now: datetime) -> Diagnosis | None:
    """A caller requested the stop."""
    record = facts.record
    if record is None or facts.status != RuntimeStatus.STOPPED:
        return None
    when = f" at {format_time(record.stopped_at, now=now)}" if record.stopped_at else ""
    headline = f"{facts.game_id} was stopped{when}{_by(facts)}"
    detail, step = "", next_step.start(facts, "Nothing to do. A start runs the game again")
    if facts.docker_state.has_image is False and facts.docker_state.has_recorded_image:
        is_pulled = facts.config.image_pull_policy == "always"
        restart = "a restart must pull the reference (pull policy always)" if is_pulled else "a restart uses it"
        detail = (
            f"{facts.image_ref} names no image on this Docker host now. The image that the game ran, "
            f"{short_image_id(record.image_id)}, is still there; {restart}."
        )
        if not is_pulled:
            step = next_step.restart(facts, "Nothing to do. A restart runs the game again")
    automatic = _cleanup(facts, since=record.stopped_at or record.last_op_at)
    return Diagnosis(Cause.STOPPED_ON_REQUEST, Severity.OK, headline, detail, step, automatic)


def never_started(facts: Facts, now: datetime) -> Diagnosis:
    """The game has no record."""
    severity, reason = Severity.INFO, "it has no record here"
    step = NextStep("Check the id. To run this game, start it with an image")
    if facts.dead_letters:
        dead_letter, severity = facts.dead_letters[0], Severity.WARNING
        when = format_time(dead_letter.received_at, now=now)
        reason = f"a job for it, received at {when}, is invalid: {single_line(dead_letter.reason, longest=120)}"
        text = f"Redrive dead letter {dead_letter.pk}, with field=value for each wrong field"
        step = NextStep(text, command=f"python manage.py redrive_dead_letter {dead_letter.pk}")
    silence = facts.docker_state.silence
    detail = f"{silence}, so it is unknown whether a container of this game exists." if silence else ""
    return Diagnosis(Cause.NEVER_STARTED, severity, f"{facts.game_id} was never started: {reason}", detail, step)


def _cleanup(facts: Facts, *, since: datetime) -> AutomaticAction:
    days, interval = facts.config.retention.days, format_duration(facts.config.cleanup_interval)
    text = f"Its container is removed after {days} days ({interval} later at most); the state directory is kept"
    return AutomaticAction(text, since + facts.config.retention)


def _by(facts: Facts) -> str:
    desired = facts.desired
    return f", requested by {desired.by}" if desired is not None and desired.status == facts.status else ""
