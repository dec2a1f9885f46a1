"""Causes in an open operation: the game is busy, and this is the state of the operation."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from operations.explain.diagnosis import AutomaticAction, Cause, Diagnosis, NextStep, Severity
from operations.explain.facts import Facts, current_step
from operations.explain.rules.dependencies import START_WORKERS, is_canary_late, silent_components
from operations.kinds import CREATES_CONTAINER, KINDS
from operations.models import Operation
from operations.states import OperationKind, OperationState
from runtimes.formatting import format_duration, format_image, format_time, single_line

# A worker takes a notified operation within milliseconds; a lost notification is sent again after two to four seconds.
_CLAIMED_WITHIN = timedelta(seconds=5)
_LONG_PULL = timedelta(minutes=2)
# A lease is renewed every third of its length: below half of it, the worker has missed a renewal.
_RENEWED_ABOVE = 0.5

_CAUSES = {
    **dict.fromkeys(CREATES_CONTAINER, Cause.STARTING),
    OperationKind.STOP: Cause.STOPPING,
    OperationKind.CLEANUP_CONTAINER: Cause.REMOVING,
}


def open_operation(facts: Facts, now: datetime) -> Diagnosis | None:
    """The state of the next operation; None if no operation is open."""
    operation = facts.next_operation
    if operation is None:
        return None
    is_running = operation.state == OperationState.RUNNING
    diagnosis = _claimed(facts, operation, now) if is_running else _waiting(facts, operation, now)
    lost = operation.attempt - operation.retries - 1
    attempts = f"Attempt {operation.attempt}; {lost} ended without a result, as when a worker dies." if lost > 0 else ""
    is_queue_shown = facts.open_count > 1 and diagnosis.cause != Cause.QUEUED_BEHIND
    queue = f"{facts.open_count - 1} more operations wait behind it." if is_queue_shown else ""
    return replace(diagnosis, detail=" ".join(filter(None, [diagnosis.detail, attempts, queue])))


def _claimed(facts: Facts, operation: Operation, now: datetime) -> Diagnosis:
    lease = operation.lease_until or now
    if now - lease > _CLAIMED_WITHIN:
        return _no_worker(facts, operation, since=lease, now=now)
    if operation.lease_until and lease - now < facts.config.lease_ttl * _RENEWED_ABOVE:
        return _recovering(facts, operation, lease, now)
    step = current_step(operation)
    if step is not None and step["name"] == "pull":
        return _pulling(facts, operation, since=_start_of(step, operation), now=now)
    return _active(facts, operation, now)


def _waiting(facts: Facts, operation: Operation, now: datetime) -> Diagnosis:
    if operation.waiting_for_image:
        return _pulling(facts, operation, since=operation.accepted_at, now=now)
    if operation.not_before is not None and operation.not_before > now:
        return _backing_off(facts, operation)
    since = _waits_since(facts, operation)
    if now - since <= _CLAIMED_WITHIN:
        return _active(facts, operation, now)
    if is_canary_late(facts, now) or not facts.running_operations:
        return _no_worker(facts, operation, since=since, now=now)
    return _busy(facts, operation, since=since, now=now)


def _waits_since(facts: Facts, operation: Operation) -> datetime:
    """Since when the operation waits only for a worker: it is accepted and due, and the one before it is finished."""
    finished = (*facts.last_operations, facts.last_requested, facts.last_change)
    ends = [row.finished_at for row in finished if row is not None and row.finished_at is not None]
    return max([operation.accepted_at, operation.not_before or operation.accepted_at, *ends])


def _recovering(facts: Facts, operation: Operation, lease: datetime, now: datetime) -> Diagnosis:
    worker = operation.claimed_by or "(unnamed)"
    headline = f"{facts.game_id} waits for worker {worker}, which runs {_name(operation)} and does not renew its lease"
    detail = f"The lease ends at {format_time(lease, now=now)}. Until then no other worker may change the game."
    if lease <= now:
        detail = f"The lease ended at {format_time(lease, now=now)}: the worker has died, or cannot renew it."
    step = NextStep("Wait for the end of the lease. Start a worker if none runs", command=START_WORKERS.command)
    text = "Another worker takes over the operation and continues from what it observes"
    automatic = AutomaticAction(text, max(lease, now) + timedelta(seconds=4))
    return Diagnosis(Cause.RECOVERING, Severity.WARNING, headline, detail, step, automatic)


def _no_worker(facts: Facts, operation: Operation, *, since: datetime, now: datetime) -> Diagnosis:
    headline = f"{facts.game_id} waits: no worker has taken {_name(operation)} since {format_time(since, now=now)}"
    detail = "The operation is recorded and not lost."
    if silent := silent_components(facts, now):
        detail += f" No heartbeat for more than {format_duration(facts.config.silence_limit)}: {', '.join(silent)}."
    automatic = AutomaticAction("Workers are notified of the operation again, at least every 30 s")
    return Diagnosis(Cause.WORKER_DOWN, Severity.CRITICAL, headline, detail, START_WORKERS, automatic)


def _busy(facts: Facts, operation: Operation, *, since: datetime, now: datetime) -> Diagnosis:
    headline = (
        f"{facts.game_id} waits for a free worker: {_name(operation)} is ready since {format_time(since, now=now)}; "
        f"{facts.running_operations} operations are running"
    )
    step = NextStep("If this lasts, add a worker or raise RTMANAGER_WORKER_CONCURRENCY")
    automatic = AutomaticAction("The next free worker takes the operation")
    return Diagnosis(Cause.WORKERS_BUSY, Severity.WARNING, headline, "", step, automatic)


def _backing_off(facts: Facts, operation: Operation) -> Diagnosis:
    headline = f"{facts.game_id} waits: {_name(operation)} failed temporarily and is retried"
    reason = single_line(operation.error_message) or "a server did not answer"
    step = NextStep("Nothing to do: the operation is retried automatically")
    # Each Docker call is a step. An attempt that the database interrupted has no failed step at its end.
    if operation.steps and operation.steps[-1].get("error"):
        text = "Check that Docker works. The operation is retried automatically"
        step = NextStep(text, command=facts.config.docker("version"))
    automatic = AutomaticAction("The operation is retried", operation.not_before)
    detail = f"{reason}. Retries so far: {operation.retries}."
    return Diagnosis(Cause.BACKING_OFF, Severity.WARNING, headline, detail, step, automatic)


def _pulling(facts: Facts, operation: Operation, *, since: datetime, now: datetime) -> Diagnosis:
    image_ref = operation.waiting_for_image or operation.image_ref or facts.image_ref
    activity = f"{'waits for the pull of' if operation.waiting_for_image else 'is pulling'} {format_image(image_ref)}"
    headline = f"{facts.game_id} {activity} since {format_time(since, now=now)}: {_name(operation)}"
    severity, detail = Severity.INFO, ""
    if now - since > _LONG_PULL:
        severity, detail = Severity.WARNING, "The pull is slow, or the registry sends no data."
    step = NextStep("Wait. If there is no progress, check the worker's log")
    if image_ref:
        text = "Wait. If there is no progress, see what the registry answers (this command joins the same pull)"
        step = NextStep(text, command=facts.config.docker("pull", image_ref))
    automatic = AutomaticAction("The operation continues after the pull. It fails after 2 min without data")
    return Diagnosis(Cause.PULLING, severity, headline, detail, step, automatic)


def _active(facts: Facts, operation: Operation, now: datetime) -> Diagnosis:
    cause = Cause.QUEUED_BEHIND if facts.open_count > 1 else _CAUSES.get(operation.op_kind, Cause.REPAIRING)
    since = format_time(operation.started_at or operation.accepted_at, now=now)
    headline = f"{facts.game_id} {KINDS[operation.op_kind].in_progress} since {since}: {_name(operation)}"
    if facts.open_count > 1:
        headline += f"; {facts.open_count - 1} more operations wait"
    current = current_step(operation)
    detail = f"It is at step {current['name']}." if current else ""
    age = format_duration(now - operation.accepted_at)
    step = NextStep(f"Wait. Operation {operation.pk} was accepted {age} ago")
    automatic = AutomaticAction("A worker takes the operation soon")
    if operation.state == OperationState.RUNNING:
        text = "The worker finishes the operation. Another one takes over seconds after it dies, or when the lease ends"
        automatic = AutomaticAction(text, operation.lease_until)
    return Diagnosis(cause, Severity.INFO, headline, detail, step, automatic)


def _name(operation: Operation) -> str:
    return f"{operation.op_kind} (operation {operation.pk})"


def _start_of(step: Mapping[str, Any], operation: Operation) -> datetime:
    try:
        return datetime.fromisoformat(step.get("started_at", ""))
    except ValueError:
        return operation.started_at or operation.accepted_at
