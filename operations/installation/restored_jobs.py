"""What happens to the jobs of a restored database: each is done once, before the restore or after it.

Jobs whose result was published are on record as finished. An operation of a REST caller or of RTM itself that was open
in the backup is not done again: nothing shows whether it was done, and doing it late could end a game.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Max, QuerySet
from django.db.models.functions import Now

from operations.intake import OperationRequest
from operations.messages import parse_entry_id
from operations.models import DeadLetter, Operation, OutboxEvent
from operations.outbox import DEDUPE_KEPT, REPUBLISHED_WITHIN
from operations.states import OPEN_STATES, OperationSource, OperationState, Outcome, Topic
from runtimes.exceptions import ErrorCode

_FIRST = "0-0"
# Purpose: the entry ids of the newest recorded jobs of one stream. A lower id than the highest would do no harm: jobs
# that are read again are not accepted twice. Locks: none.
_RECORDED = """
    SELECT substr(job_key, length(%(prefix)s) + 1) FROM operations_operation
     WHERE op_source = 'lobby_stream' AND starts_with(job_key, %(prefix)s)
     ORDER BY id DESC LIMIT 1000
"""
_UNKNOWN = "it was done before the database was restored; its result is not on the stream any more"
_NOT_REPEATED = (
    "the database was restored from a backup in which this operation was open. It may have been done; look at the "
    "game, and repeat the request if it is still needed"
)


@dataclass(frozen=True, slots=True)
class Done:
    """A job that was done before the restore. ``result``: the fields of its published result; None if unknown."""

    request: OperationRequest
    at: datetime
    result: Mapping[str, str] | None


def last_recorded(stream: str) -> str:
    """Return the highest entry id of this job stream that the database knows; ``0-0`` if it knows none."""
    with connection.cursor() as cursor:
        cursor.execute(_RECORDED, {"prefix": f"{stream}:"})
        jobs = [entry_id for (entry_id,) in cursor.fetchall()]
    newest = DeadLetter.objects.filter(stream=stream).order_by("-id").values_list("entry_id", flat=True)[:1000]
    known: list[str] = [_FIRST, *jobs, *newest]
    return max(known, key=parse_entry_id)


def open_jobs() -> list[Operation]:
    """The jobs of the streams that are open in the backup, oldest first."""
    return list(Operation.objects.filter(state__in=OPEN_STATES, op_source=OperationSource.LOBBY_STREAM).order_by("id"))


def finish(operation: Operation, result: Mapping[str, str] | None) -> None:
    """Write the result that was published before the restore. Queues no message."""
    _close(Operation.objects.filter(pk=operation.pk), **_outcome(result))


def record(done: Sequence[Done]) -> None:
    """Record jobs that were accepted and done after the backup. Idempotent by job key. Queues no message."""
    Operation.objects.bulk_create(
        [
            Operation(
                game_id=job.request.game_id,
                op_kind=job.request.op_kind,
                op_source=job.request.op_source,
                source_ref=job.request.source_ref,
                job_key=job.request.job_key,
                arguments=dict(job.request.arguments),
                image_ref=job.request.arguments.get("image_ref", ""),
                requested_at=job.request.requested_at,
                accepted_at=job.at,
                finished_at=job.at,
                state=OperationState.FINISHED,
                **_outcome(job.result),
            )
            for job in done
        ],
        ignore_conflicts=True,
    )


def fail_other_operations() -> list[Operation]:
    """Fail the open operations that no stream job requested; returns them, oldest first."""
    others = Operation.objects.filter(state__in=OPEN_STATES).exclude(op_source=OperationSource.LOBBY_STREAM)
    failed = list(others.order_by("id"))
    _close(others, **_failure(ErrorCode.SERVICE_UNAVAILABLE, _NOT_REPEATED))
    return failed


def publish_lost(topic: Topic, *, last_entry_id: str) -> int:
    """Publish again what a Redis that was restored, too, has lost of the last day of the backup; returns how many."""
    published = OutboxEvent.objects.filter(topic=topic, published_at__isnull=False).exclude(stream_entry_id="")
    newest = published.aggregate(at=Max("published_at"))["at"]
    if newest is None:
        return 0
    # The relay counts from now, but a backup may be older.
    tail = published.filter(published_at__gt=newest - REPUBLISHED_WITHIN).values_list("id", "stream_entry_id")
    last = parse_entry_id(last_entry_id)
    lost = [event_id for event_id, entry_id in tail if parse_entry_id(entry_id) > last]
    return OutboxEvent.objects.filter(pk__in=lost).update(published_at=None, stream_entry_id="")


def is_forgotten_by_redis(at: datetime, *, now: datetime) -> bool:
    """Whether Redis does not remember any more if a result of this time was published."""
    return at < now - DEDUPE_KEPT


def _close(operations: QuerySet[Operation], **outcome: Any) -> None:
    operations.update(state=OperationState.FINISHED, lease_until=None, not_before=None, finished_at=Now(), **outcome)


def _failure(code: ErrorCode, message: str) -> dict[str, Any]:
    """A failure that forgets the container: that of a failed operation would be removed, but the game may run in it."""
    return {"outcome": Outcome.FAILURE, "error_code": code.value, "error_message": message, "container_id": ""}


def _outcome(result: Mapping[str, str] | None) -> dict[str, Any]:
    if result is None:
        return _failure(ErrorCode.INTERNAL_ERROR, f"outcome unknown: {_UNKNOWN}")
    known = {name: result.get(name, "") for name in ("outcome", "error_code", "error_message", "container_id")}
    return {**known, "engine_endpoint": result.get("engine_endpoint", "")}
