"""The end of an operation: outcome, record, health and everything that must be said, in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models.functions import Now

from operations import claims, outbox
from operations.attempts import FailedWithAftermathError, Result
from operations.claims import Claim
from operations.clock import database_now
from operations.events import (
    NOTIFIED_ERRORS,
    intent_key,
    job_result_fields,
    notification_intent_fields,
)
from operations.health import health_message, note
from operations.models import Operation
from operations.outbox import Message
from operations.replies import replies
from operations.states import REST_SOURCES, OpKind, OpSource, OpState, Outcome, Topic
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
    with transaction.atomic():
        _close(
            claim,
            outcome=Outcome.SUCCESS,
            error_code=error_code,
            error_message=result.note,
            steps=steps,
            container_id=result.container_id,
            image_ref=result.image_ref or operation.image_ref,
            engine_endpoint=endpoint,
        )
        messages = _apply(claim, result, runtime)
        answer = job_result_fields(
            game_id=operation.game_id,
            outcome=Outcome.SUCCESS.value,
            container_id=result.container_id,
            engine_endpoint=endpoint,
            error_code=error_code,
        )
        outbox.queue([*messages, *_answer(operation, answer)])
        _announce(operation)


def fail(claim: Claim, error: RuntimeManagerError, *, runtime: Runtime | None, steps: Steps) -> None:
    """Close the operation with a failure; the record stays as it was, unless the error brings an aftermath.

    Raises LeaseLostError or StaleRuntimeError, with nothing written, when somebody newer owns the game.
    """
    operation = claim.operation
    aftermath = error.aftermath if isinstance(error, FailedWithAftermathError) else Result()
    message = error.message.replace("\x00", "")
    with transaction.atomic():
        _close(claim, outcome=Outcome.FAILURE, error_code=error.code.value, error_message=message, steps=steps)
        messages = _apply(claim, aftermath, runtime)
        answer = job_result_fields(
            game_id=operation.game_id,
            outcome=Outcome.FAILURE.value,
            error_code=error.code.value,
            error_message=message,
        )
        outbox.queue([*messages, *_intent(operation, error, message), *_answer(operation, answer)])
        _announce(operation)


def _close(claim: Claim, **changes: object) -> None:
    claims.write(claim, state=OpState.FINISHED, finished_at=Now(), lease_until=None, **changes)


def _apply(claim: Claim, result: Result, runtime: Runtime | None) -> list[Message]:
    """Write what an action changed; returns what must be said of it."""
    if result.status is not None:
        _write_record(claim, result, runtime, status=result.status)
    game_id = claim.operation.game_id
    note(game_id, result.health)
    return [health_message(game_id, event) for event in result.health]


def _write_record(claim: Claim, result: Result, runtime: Runtime | None, *, status: RuntimeStatus) -> None:
    now = claim.now()
    if runtime is not None:
        runtime.move_to(status, fence=claim.fence, at=now, **result.changes)
        return
    if status not in INITIAL_STATUSES:
        message = f"game {claim.operation.game_id} has no record that could become {status}"
        raise StaleRuntimeError(message)
    Runtime.objects.create(
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
