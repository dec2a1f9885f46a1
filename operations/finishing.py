"""The end of an operation: its outcome, what becomes of record and health, and everything that must be said."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from django.db import transaction

from operations import endings
from operations.attempts import FailedWithAftermathError, Result
from operations.claims import Claim
from operations.clock import database_now
from operations.endings import Ending
from operations.events import (
    NOTIFIED_ERRORS,
    intent_key,
    job_result_fields,
    notification_intent_fields,
)
from operations.health import health_message, snapshot_after
from operations.models import Operation
from operations.outbox import Message
from operations.replies import replies
from operations.states import REST_SOURCES, OpKind, OpSource, Outcome, Topic
from runtimes.exceptions import ErrorCode, RuntimeManagerError, StaleRuntimeError
from runtimes.models import Runtime
from runtimes.specs import engine_endpoint
from runtimes.states import INITIAL_STATUSES, RuntimeStatus

Steps = Sequence[dict[str, object]]

# Who wants to know of every operation that this process has ended, after the commit. Must not wait and never raise;
# usually there is nobody.
observers: list[Callable[[int], None]] = []


def succeed(claim: Claim, result: Result, *, runtime: Runtime | None, steps: Steps) -> None:
    """Close the operation with success and write what it changed.

    Raises LeaseLostError or StaleRuntimeError, with nothing written, when somebody newer owns the game.
    """
    operation = claim.operation
    recorded = runtime.engine_endpoint if runtime else engine_endpoint(operation.game_id)
    endpoint = result.changes.get("engine_endpoint", recorded) if result.container_id else ""
    error_code = ErrorCode.REPLAY_NO_OP.value if result.is_replay else ""
    answer = job_result_fields(
        game_id=operation.game_id,
        outcome=Outcome.SUCCESS.value,
        container_id=result.container_id,
        engine_endpoint=endpoint,
        error_code=error_code,
    )
    ending = Ending(
        outcome=Outcome.SUCCESS,
        error_code=error_code,
        error_message=result.note,
        steps=steps,
        container_id=result.container_id,
        image_ref=result.image_ref or operation.image_ref,
        engine_endpoint=endpoint,
    )
    _end(claim, ending, result, runtime=runtime, messages=_answer(operation, answer))


def fail(claim: Claim, error: RuntimeManagerError, *, runtime: Runtime | None, steps: Steps) -> None:
    """Close the operation with a failure; the record stays as it was, unless the error brings an aftermath.

    Raises LeaseLostError or StaleRuntimeError, with nothing written, when somebody newer owns the game.
    """
    operation = claim.operation
    aftermath = error.aftermath if isinstance(error, FailedWithAftermathError) else Result()
    message = error.message.replace("\x00", "")
    answer = job_result_fields(
        game_id=operation.game_id,
        outcome=Outcome.FAILURE.value,
        error_code=error.code.value,
        error_message=message,
    )
    ending = Ending(outcome=Outcome.FAILURE, error_code=error.code.value, error_message=message, steps=steps)
    messages = [*_intent(operation, error, message), *_answer(operation, answer)]
    _end(claim, ending, aftermath, runtime=runtime, messages=messages)


def _end(claim: Claim, ending: Ending, result: Result, *, runtime: Runtime | None, messages: Sequence[Message]) -> None:
    """Store the ending, and with it what the action has changed and what must be said of that."""
    game_id = claim.operation.game_id
    with_result = replace(
        ending,
        record=None if result.status is None else _record_after(claim, result, runtime, status=result.status),
        status_before=runtime.status if runtime else None,
        health=snapshot_after(game_id, result.health),
        messages=[*(health_message(game_id, event) for event in result.health), *messages],
    )
    endings.store(claim, with_result)
    _announce(claim.operation)


def _record_after(claim: Claim, result: Result, runtime: Runtime | None, *, status: RuntimeStatus) -> Runtime:
    now = claim.now()
    if runtime is not None:
        return runtime.moved_to(status, fence=claim.fence, at=now, **result.changes)
    if status not in INITIAL_STATUSES:
        message = f"game {claim.operation.game_id} has no record that could become {status}"
        raise StaleRuntimeError(message)
    return Runtime(
        game_id=claim.operation.game_id,
        status=status,
        fence=claim.fence,
        last_op_at=now,
        created_at=now,
        **result.changes,
    )


def _answer(operation: Operation, fields: dict[str, str]) -> list[Message]:
    # Only stream jobs are answered on the stream; REST callers get theirs in the response.
    if operation.op_source != OpSource.LOBBY_STREAM:
        return []
    return [Message(Topic.JOB_RESULTS, result_key(operation.job_key), operation.game_id, fields)]


def result_key(job_key: str) -> str:
    """The name in the outbox of the result of the job of this name."""
    return f"result:{job_key}"


def _intent(operation: Operation, error: RuntimeManagerError, message: str) -> list[Message]:
    if operation.op_kind != OpKind.START or error.code not in NOTIFIED_ERRORS:
        return []
    attempted_at: datetime = operation.started_at or database_now()
    key = intent_key(error_code=error.code, game_id=operation.game_id, attempted_at=attempted_at)
    fields = notification_intent_fields(
        game_id=operation.game_id,
        image_ref=operation.image_ref,
        error_code=error.code,
        error_message=message,
        attempted_at=attempted_at,
    )
    return [Message(Topic.NOTIFICATION_INTENTS, f"intent:{operation.pk}:{key}", operation.game_id, fields)]


def replay_result(*, game_id: str, job_key: str, container_id: str, engine_endpoint: str) -> Message:
    """The answer to a job from the stream that found nothing to do."""
    fields = job_result_fields(
        game_id=game_id,
        outcome=Outcome.SUCCESS.value,
        container_id=container_id,
        engine_endpoint=engine_endpoint,
        error_code=ErrorCode.REPLAY_NO_OP.value,
    )
    return Message(Topic.JOB_RESULTS, result_key(job_key), game_id, fields)


def tell_observers(operation_ids: Sequence[int]) -> None:
    """Once the caller's transaction has committed, tell who wants to know that these operations have ended."""
    for observe in observers:
        for operation_id in operation_ids:
            transaction.on_commit(partial(observe, operation_id))


def _announce(operation: Operation) -> None:
    tell_observers([operation.pk])
    if operation.op_source in REST_SOURCES:
        transaction.on_commit(lambda: replies().announce(operation.pk))
