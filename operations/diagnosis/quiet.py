"""Causes of a game that does not run and is not meant to."""

from datetime import datetime

from operations.diagnosis import remedies
from operations.diagnosis.drift import nothing
from operations.diagnosis.facts import Facts
from operations.diagnosis.verdicts import Cause, NextAutomatic, NextStep, Severity, Verdict
from operations.diagnosis.words import moment, one_line, span
from runtimes.states import RuntimeStatus


def removed(facts: Facts, now: datetime) -> Verdict | None:
    """Its container was cleaned up."""
    record = facts.record
    if record is None or facts.status != RuntimeStatus.REMOVED:
        return None
    when = f" at {moment(record.removed_at, now=now)}" if record.removed_at else ""
    return Verdict(
        cause=Cause.REMOVED,
        severity=Severity.OK,
        headline=f"{facts.name} was removed{when}{_by(facts)}; its state directory is kept",
        step=remedies.start(facts, "Nothing to do; a start brings it back from its state directory"),
        automatic=nothing(),
    )


def prepared(facts: Facts, now: datetime) -> Verdict | None:
    """Made with ``no_start`` and never run."""
    record = facts.record
    if record is None or facts.status != RuntimeStatus.STOPPED or record.started_at is not None:
        return None
    return Verdict(
        cause=Cause.PREPARED,
        severity=Severity.OK,
        headline=f"{facts.name} is prepared and was never started: asked for at {moment(record.created_at, now=now)}",
        step=remedies.start(facts, "Nothing to do; a start runs it"),
        automatic=_cleanup(facts, since=record.last_op_at),
    )


def stopped_as_asked(facts: Facts, now: datetime) -> Verdict | None:
    """Somebody wanted it to stop."""
    record = facts.record
    if record is None or facts.status != RuntimeStatus.STOPPED:
        return None
    when = f" at {moment(record.stopped_at, now=now)}" if record.stopped_at else ""
    return Verdict(
        cause=Cause.STOPPED_AS_ASKED,
        severity=Severity.OK,
        headline=f"{facts.name} was stopped{when}{_by(facts)}",
        step=remedies.start(facts, "Nothing to do; a start runs it again"),
        automatic=_cleanup(facts, since=record.stopped_at or record.last_op_at),
    )


def never_started(facts: Facts, now: datetime) -> Verdict:
    """There is no record of it."""
    letter = facts.dead_letters[0] if facts.dead_letters else None
    if letter is not None:
        when = moment(letter.received_at, now=now)
        why = f"a job for it came at {when} and could not be read: {one_line(letter.reason, longest=120)}"
        step = NextStep(
            f"Mend the job in dead letter {letter.pk} and have it done: redrive it, with field=value for what is wrong",
            command=f"python manage.py redrive_dead_letter {letter.pk}",
        )
    else:
        why = "there is no record of it here"
        step = NextStep("Check the id; to run this game, start it and say which image")
    return Verdict(
        cause=Cause.NEVER_STARTED,
        severity=Severity.WARNING if letter else Severity.INFO,
        headline=f"{facts.name} was never started: {why}",
        detail="" if facts.sight.is_known else "Docker does not answer, so what it holds of this game is unknown.",
        step=step,
        automatic=nothing(),
    )


def _cleanup(facts: Facts, *, since: datetime) -> NextAutomatic:
    days, interval = facts.rules.retention.days, span(facts.rules.cleanup_interval)
    text = f"Its container is removed after {days} days ({interval} later at most); the state directory is kept"
    return NextAutomatic(text, since + facts.rules.retention)


def _by(facts: Facts) -> str:
    desired = facts.desired
    return f", as asked by {desired.by}" if desired is not None and desired.status == facts.status else ""
