"""Causes in the work at hand: the game has an open operation, and this is where it stands."""

from datetime import datetime, timedelta

from operations.diagnosis.facts import Facts, current_step
from operations.diagnosis.servers import is_canary_late, silent_parts, start_workers
from operations.diagnosis.verdicts import Cause, NextAutomatic, NextStep, Severity, Verdict
from operations.diagnosis.words import moment, one_line, span
from operations.exceptions import DATABASE_WENT_AWAY
from operations.models import Operation
from operations.states import OpKind, OpState

# A hint is followed in milliseconds; one that got lost is sent again after two to four seconds.
_TAKEN_UP_WITHIN = timedelta(seconds=5)
_LONG_PULL = timedelta(minutes=2)
# A claim is renewed every third of its lease: a worker that has let half of it pass has missed a turn.
_RENEWED_ABOVE = 0.5

_DOING = {
    OpKind.START: (Cause.STARTING, "is being started"),
    OpKind.RESTART: (Cause.STARTING, "is being restarted"),
    OpKind.PATCH: (Cause.STARTING, "is being patched"),
    OpKind.STOP: (Cause.STOPPING, "is being stopped"),
    OpKind.CLEANUP_CONTAINER: (Cause.REMOVING, "is losing its container to a cleanup"),
}
_REPAIRED = (Cause.REPAIRING, "is being brought in line with what Docker shows")


def work_at_hand(facts: Facts, now: datetime) -> Verdict | None:
    """Where the operation stands whose turn it is; None when nothing is open."""
    head = facts.head
    if head is None:
        return None
    return _held(facts, head, now) if head.state == OpState.RUNNING else _waiting(facts, head, now)


def waits_since(facts: Facts, head: Operation) -> datetime:
    """Since when nothing but a worker has been missing: accepted, due, and nobody before it."""
    ended = [one for one in (*facts.last_operations, facts.last_asked, facts.last_change) if one is not None]
    ends = [one.finished_at for one in ended if one.finished_at]
    return max([head.accepted_at, *([head.not_before] if head.not_before else []), *ends])


def is_silent(facts: Facts, head: Operation, now: datetime) -> bool:
    """Whether the worker that holds this operation has missed its turn to renew the lease."""
    return head.lease_until is not None and head.lease_until - now < facts.rules.lease_ttl * _RENEWED_ABOVE


def _held(facts: Facts, head: Operation, now: datetime) -> Verdict:
    lease = head.lease_until or now
    if now - lease > _TAKEN_UP_WITHIN:
        return _nobody(facts, head, since=lease, now=now)
    if is_silent(facts, head, now):
        return _recovering(facts, head, now)
    step = current_step(head)
    if step is not None and step["name"] == "pull":
        return _pulling(facts, head, since=_begun(step, head), now=now)
    return _in_progress(facts, head, now)


def _waiting(facts: Facts, head: Operation, now: datetime) -> Verdict:
    if head.awaits_image:
        return _pulling(facts, head, since=head.accepted_at, now=now)
    if head.not_before is not None and head.not_before > now:
        return _backing_off(facts, head)
    since = waits_since(facts, head)
    if now - since <= _TAKEN_UP_WITHIN:
        return _in_progress(facts, head, now)
    if is_canary_late(facts, now) or not facts.living_claims:
        return _nobody(facts, head, since=since, now=now)
    return _busy(facts, head, since, now)


def _recovering(facts: Facts, head: Operation, now: datetime) -> Verdict:
    lease = head.lease_until or now
    return _verdict(
        facts, head, Cause.RECOVERING, Severity.WARNING,
        f"the worker {head.claimed_by or '(nameless)'} that does {_name(head)} of game {facts.game_id} has gone silent",
        detail=f"Its lease ends at {moment(lease, now=now)}; until then nobody else may touch the game.",
        automatic=NextAutomatic("Another worker takes the operation up and goes on from what it sees",
                                max(lease, now) + timedelta(seconds=4)),
        step=NextStep("Wait for the lease to end; start a worker if none is up", command=start_workers().command),
    )  # fmt: skip


def _nobody(facts: Facts, head: Operation, *, since: datetime, now: datetime) -> Verdict:
    silent = silent_parts(facts, now)
    parts = f" No sign of life for more than {span(facts.rules.silence_limit)}: {', '.join(silent)}." if silent else ""
    return _verdict(
        facts, head, Cause.WORKER_DOWN, Severity.CRITICAL,
        f"no worker takes up {_name(head)} of game {facts.game_id}, which has waited since {moment(since, now=now)}",
        detail=f"It is on record and will be done.{parts}",
        automatic=NextAutomatic("The operation is offered to the workers again, at least every 30 s"),
        step=start_workers(),
    )  # fmt: skip


def _busy(facts: Facts, head: Operation, since: datetime, now: datetime) -> Verdict:
    return _verdict(
        facts, head, Cause.WORKERS_BUSY, Severity.WARNING,
        f"{_name(head)} of game {facts.game_id} has waited since {moment(since, now=now)} for a free worker; "
        f"{facts.living_claims} operations are being done",
        automatic=NextAutomatic("The next free worker takes it"),
        step=NextStep("If this lasts, add a worker or raise RTMANAGER_WORKER_CONCURRENCY"),
    )  # fmt: skip


def _backing_off(facts: Facts, head: Operation) -> Verdict:
    reason = one_line(head.error_message) or "something outside was away"
    return _verdict(
        facts, head, Cause.BACKING_OFF, Severity.WARNING,
        f"{_name(head)} of game {facts.game_id} could not be done and waits before it is tried again",
        detail=f"{reason}. It was put off {head.deferrals} times.",
        automatic=NextAutomatic("It is tried again", head.not_before),
        step=_while_it_waits(facts, head),
    )  # fmt: skip


def _while_it_waits(facts: Facts, head: Operation) -> NextStep:
    if head.error_message == DATABASE_WENT_AWAY:
        return NextStep("Nothing: PostgreSQL is back, and it is tried again by itself")
    return NextStep(
        "Nothing but to see that Docker is well; it is tried again by itself", command=facts.rules.docker("version")
    )


def _pulling(facts: Facts, head: Operation, *, since: datetime, now: datetime) -> Verdict:
    image_ref = head.awaits_image or head.image_ref or facts.image_ref
    is_long = now - since > _LONG_PULL
    how = "waits for the pull of" if head.awaits_image else "is pulling"
    return _verdict(
        facts, head, Cause.PULLING, Severity.WARNING if is_long else Severity.INFO,
        f"{_name(head)} of game {facts.game_id} {how} image {image_ref} since {moment(since, now=now)}",
        detail="The pull is slow, or the registry does not send." if is_long else "",
        automatic=NextAutomatic("It goes on when the image is there, and fails when nothing of it comes for 2 min"),
        step=NextStep("Wait; if it does not move, see what the registry says (this joins the same pull)",
                      command=facts.rules.docker("pull", image_ref)),
    )  # fmt: skip


def _in_progress(facts: Facts, head: Operation, now: datetime) -> Verdict:
    cause, doing = _DOING.get(OpKind(head.op_kind), _REPAIRED)
    if facts.open_count > 1:
        cause, doing = Cause.QUEUED_BEHIND, f"{doing}, and {facts.open_count - 1} more wait behind that"
    step = current_step(head)
    where = f"It is at the step {step['name']}." if step else ""
    since = head.started_at or head.accepted_at
    expected = NextAutomatic("A worker goes on with it; if it dies, another one takes over when its lease ends",
                             head.lease_until)  # fmt: skip
    return _verdict(
        facts, head, cause, Severity.INFO,
        f"game {facts.game_id} {doing} ({_name(head)}), since {moment(since, now=now)}",
        detail=where,
        automatic=expected if head.state == OpState.RUNNING else NextAutomatic("A worker takes it up in a moment"),
        step=NextStep(f"Wait; operation {head.pk} has taken {span(now - head.accepted_at)} so far"),
    )  # fmt: skip


def _verdict(  # noqa: PLR0913 - one argument for each thing that a verdict says
    facts: Facts, head: Operation, cause: Cause, severity: Severity, headline: str, *,
    detail: str = "", automatic: NextAutomatic, step: NextStep,
) -> Verdict:  # fmt: skip
    silent = head.attempt - head.deferrals - 1
    died = f"It is attempt {head.attempt}: {silent} ended in silence, as when a worker dies." if silent > 0 else ""
    queue = f"{facts.open_count - 1} more operations wait behind it." if facts.open_count > 1 else ""
    told = " ".join(filter(None, [detail, died, queue if cause != Cause.QUEUED_BEHIND else ""]))
    return Verdict(
        cause=cause, severity=severity, headline=headline[:1].upper() + headline[1:], detail=told,
        step=step, automatic=automatic,
    )  # fmt: skip


def _name(head: Operation) -> str:
    return f"{head.op_kind} (operation {head.pk})"


def _begun(step: object, head: Operation) -> datetime:
    text = step.get("started_at", "") if isinstance(step, dict) else ""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return head.started_at or head.accepted_at
