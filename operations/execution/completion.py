"""The completion of an operation: one statement writes outcome, record, health snapshot and messages."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from operations import outbox
from operations.completion_notifier import completion_notifier
from operations.execution.attempt import FailedWithStateError, Result
from operations.health.reports import health_message, snapshot_after
from operations.messages import NOTIFIED_ERRORS, job_result_fields, notification_intent_fields
from operations.models import Operation
from operations.outbox import Message
from operations.queue import claims
from operations.queue.claims import Claim
from operations.queue.database import Prepared, columns
from operations.states import REST_SOURCES, OperationKind, OperationSource, Outcome, Topic
from runtimes.container_spec import engine_endpoint
from runtimes.exceptions import ErrorCode, RuntimeManagerError, StaleRuntimeError
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import INITIAL_STATUSES, RuntimeStatus

Steps = Sequence[dict[str, object]]

# Called with the id of each operation that this process has completed, after the commit. A callback must not block and
# must never raise. Usually there is none; tracing adds one.
on_completed: list[Callable[[int], None]] = []

# Purpose: write operation, runtime record, health snapshot and outbox rows of a completion, under its fence. Input is
# one JSON document. Null keeps what the row has; ``status_before`` is the status that the worker read, null without a
# record. Each CTE depends on the one before: if the claim is lost (``held``) or the record is not what the worker read
# (``recorded``), nothing is written.
# Locks: the operation row, then the rows that it writes.
_COMPLETE = Prepared(
    "complete_operation",
    f"""
    WITH input AS (
        SELECT * FROM jsonb_to_record(%(input)s) AS input (
               operation_id bigint, fence bigint, outcome text, error_code text, error_message text, steps jsonb,
               container_id text, image_ref text, engine_endpoint text,
               status_before text, record jsonb, health jsonb, messages jsonb)),
         held AS (
        SELECT mine.id FROM operations_operation AS mine JOIN input ON mine.id = input.operation_id
         WHERE mine.state = 'running' AND mine.fence = input.fence
           FOR UPDATE OF mine),
         recorded AS (
        INSERT INTO runtimes_runtime AS known ({columns(Runtime)})
        SELECT {columns(Runtime, "new.")}
          FROM held, input, jsonb_populate_record(NULL::runtimes_runtime, input.record) AS new
         WHERE input.record IS NOT NULL
            ON CONFLICT (game_id) DO UPDATE SET ({columns(Runtime)}) = ROW ({columns(Runtime, "excluded.")})
         WHERE known.status = (SELECT status_before FROM input) AND known.fence < excluded.fence
     RETURNING known.game_id),
         closed AS (
        UPDATE operations_operation AS mine
           SET state = 'finished', finished_at = now(), lease_until = NULL,
               outcome = input.outcome, error_code = input.error_code, error_message = input.error_message,
               steps = input.steps,
               container_id = coalesce(input.container_id, mine.container_id),
               image_ref = coalesce(input.image_ref, mine.image_ref),
               engine_endpoint = coalesce(input.engine_endpoint, mine.engine_endpoint)
          FROM held, input
         WHERE mine.id = held.id AND (input.record IS NULL OR EXISTS (SELECT FROM recorded))
     RETURNING mine.id),
         snapshot AS (
        INSERT INTO runtimes_healthsnapshot ({columns(HealthSnapshot)})
        SELECT {columns(HealthSnapshot, "new.")}
          FROM closed, input, jsonb_populate_record(NULL::runtimes_healthsnapshot, input.health) AS new
         WHERE input.health IS NOT NULL
            ON CONFLICT (runtime_id) DO UPDATE
           SET ({columns(HealthSnapshot)}) = ROW ({columns(HealthSnapshot, "excluded.")})),
         queued AS (
        {outbox.QUEUE.format(source="closed, input, jsonb_to_recordset(input.messages)")})
    SELECT EXISTS (SELECT FROM held) AS is_held, EXISTS (SELECT FROM closed) AS is_closed
    """,  # noqa: S608 - columns of our own models; every value is a parameter
)


def succeed(claim: Claim, result: Result, *, runtime: Runtime | None, steps: Steps) -> None:
    """Complete the operation with success and write what it changed.

    Raises LeaseLostError or StaleRuntimeError, with nothing written, if a newer claim owns the game.
    """
    operation = claim.operation
    recorded = runtime.engine_endpoint if runtime else engine_endpoint(operation.game_id)
    values = {
        "error_code": ErrorCode.REPLAY_NO_OP.value if result.is_no_op else "",
        "container_id": result.container_id,
        "engine_endpoint": result.changes.get("engine_endpoint", recorded) if result.container_id else "",
    }
    messages = _job_result(operation, Outcome.SUCCESS, **values)
    values |= {"error_message": result.note, "image_ref": result.image_ref or operation.image_ref}
    _complete(claim, Outcome.SUCCESS, values, result, runtime=runtime, steps=steps, messages=messages)


def fail(
    claim: Claim, error: RuntimeManagerError, *, runtime: Runtime | None, steps: Steps, notes: Sequence[str] = ()
) -> None:
    """Complete the operation with a failure. The record stays as it was, unless the error has a resulting state.

    ``notes`` are added to the error message: a reduced limit, for example, may explain the failure.

    Raises LeaseLostError or StaleRuntimeError, with nothing written, if a newer claim owns the game.
    """
    operation = claim.operation
    resulting_state = error.resulting_state if isinstance(error, FailedWithStateError) else Result()
    message = "; ".join([error.message, *notes]).replace("\x00", "")
    values = {"error_code": error.code.value, "error_message": message}
    messages = [*_notification_intent(claim, error, message), *_job_result(operation, Outcome.FAILURE, **values)]
    _complete(claim, Outcome.FAILURE, values, resulting_state, runtime=runtime, steps=steps, messages=messages)


def result_key(job_key: str) -> str:
    """The dedupe key, in the outbox, of the result of a job."""
    return f"result:{job_key}"


def notify_callbacks(operation_ids: Sequence[int]) -> None:
    """Call ``on_completed`` for these operations once the caller's transaction has committed."""
    for callback in on_completed:
        for operation_id in operation_ids:
            transaction.on_commit(partial(callback, operation_id))


def _complete(  # noqa: PLR0913 - all that one statement writes
    claim: Claim,
    outcome: Outcome,
    values: Mapping[str, str],
    result: Result,
    *,
    runtime: Runtime | None,
    steps: Steps,
    messages: Sequence[Message],
) -> None:
    """Store the outcome and its values, what the result changes, and the messages; then notify waiting callers."""
    operation = claim.operation
    record = None if result.status is None else _record_after(claim, result, runtime, status=result.status)
    events = [health_message(operation.game_id, event) for event in result.health]
    document = {
        **values,
        "operation_id": operation.pk,
        "fence": claim.fence,
        "outcome": outcome.value,
        "steps": list(steps),
        "status_before": runtime.status if runtime else None,
        "record": _row(record),
        "health": _row(snapshot_after(operation.game_id, result.health)),
        "messages": outbox.rows([*events, *messages]),
    }
    with connection.cursor() as cursor:
        cursor.execute(*_COMPLETE.bind({"input": json.dumps(document, default=datetime.isoformat)}))
        is_held, is_closed = cursor.fetchone()
    if not is_held:
        raise claims.lease_lost(claim)
    if not is_closed:
        before = runtime.status if runtime else "missing"
        message = f"game {operation.game_id}: its record is no longer {before}, or has a newer fence"
        raise StaleRuntimeError(message)
    notify_callbacks([operation.pk])
    if operation.op_source in REST_SOURCES:
        transaction.on_commit(lambda: completion_notifier().notify(operation.pk))


def _record_after(claim: Claim, result: Result, runtime: Runtime | None, *, status: RuntimeStatus) -> Runtime:
    now, game_id = claim.now(), claim.operation.game_id
    if runtime is not None:
        return runtime.transitioned_to(status, fence=claim.fence, at=now, **result.changes)
    if status not in INITIAL_STATUSES:
        message = f"game {game_id} has no record that could become {status}"
        raise StaleRuntimeError(message)
    return Runtime(game_id=game_id, status=status, fence=claim.fence, last_op_at=now, created_at=now, **result.changes)


def _row(row: Model | None) -> Mapping[str, Any] | None:
    if row is None:
        return None
    return {column.attname: getattr(row, column.attname) for column in row._meta.concrete_fields}  # noqa: SLF001 - Django's public name for it


def _job_result(operation: Operation, outcome: Outcome, **values: str) -> list[Message]:
    # Only stream jobs have a result on the stream; REST callers get it in the response.
    if operation.op_source != OperationSource.LOBBY_STREAM:
        return []
    fields = job_result_fields(game_id=operation.game_id, outcome=outcome, **values)
    return [Message(Topic.JOB_RESULTS, result_key(operation.job_key), operation.game_id, fields)]


def _notification_intent(claim: Claim, error: RuntimeManagerError, message: str) -> list[Message]:
    operation = claim.operation
    if operation.op_kind != OperationKind.START or error.code not in NOTIFIED_ERRORS:
        return []
    fields = notification_intent_fields(
        game_id=operation.game_id,
        image_ref=operation.image_ref,
        error_code=error.code,
        error_message=message,
        attempted_at=operation.started_at or claim.now(),
    )
    key = f"intent:{operation.pk}:{fields['idempotency_key']}"
    return [Message(Topic.NOTIFICATION_INTENTS, key, operation.game_id, fields)]
