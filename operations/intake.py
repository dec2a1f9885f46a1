"""Accept operations: every request - stream, REST, console, reconciler - is recorded here, once.

After the commit, intake notifies the workers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from operations.dispatch import notifier
from operations.models import Operation
from operations.queue import claims
from operations.queue.database import Prepared, key_of
from operations.states import OPEN_STATES, OperationKind, OperationSource
from runtimes.exceptions import ConflictError, InvalidRequestError
from runtimes.game_ids import check_game_id

log = structlog.get_logger(__name__)

# Namespace of the advisory locks that make the busy check and the insert one atomic step.
_BUSY_CHECK_LOCKS = 0x52544D
_LOCK_BUSY_CHECK = f"SELECT pg_advisory_xact_lock(%s, {key_of('%s::text')})"

# PostgreSQL stores any text without NUL; a Python string may hold surrogates, which UTF-8 cannot encode.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Purpose: insert a batch of operations in one round trip, with ids in the order of the requests. ``notified_at`` is set
# because the notification follows the commit, or comes when the operation is the next of its game. The sweep covers
# lost ones. OFFSET 0 keeps the planner from comparing all open operations, or all records, with a few games.
# Locks: the inserted rows. A transaction that inserts the same job key waits for this one.
_INSERT = Prepared(
    "accept_operations",
    f"""
    WITH mine AS (
    INSERT INTO operations_operation (
           game_id, op_kind, op_source, source_ref, job_key, arguments, image_ref, requested_at, notified_at,
           state, error_code, error_message, container_id, engine_endpoint, steps, attempt, retries,
           waiting_for_image, claimed_by)
    SELECT game_id, op_kind, op_source, source_ref, job_key, arguments, image_ref, requested_at, now(),
           'accepted', '', '', '', '', '[]', 0, 0, '', ''
      FROM jsonb_to_recordset(%(requests)s) AS request (
           position integer, game_id text, op_kind text, op_source text, source_ref text, job_key text,
           arguments jsonb, image_ref text, requested_at timestamptz)
     ORDER BY position
        ON CONFLICT (job_key) DO NOTHING
 RETURNING *)
    SELECT {claims.OPERATION_COLUMNS}, coalesce({claims.MAYBE_NO_OP}, false) AS maybe_no_op,
           NOT EXISTS (
               SELECT 1 FROM operations_operation AS open
                WHERE open.game_id = mine.game_id AND open.state IN ('accepted', 'running') OFFSET 0)
           AND NOT EXISTS (
               SELECT 1 FROM mine AS earlier WHERE earlier.game_id = mine.game_id AND earlier.id < mine.id) AS is_first
      FROM mine
      LEFT JOIN LATERAL (
           SELECT status, current_image_ref, ended_by FROM runtimes_runtime
            WHERE game_id = mine.game_id OFFSET 0) AS runtime ON true
     ORDER BY mine.id
    """,  # noqa: S608 - fragments of our own; every value is a parameter
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """One requested operation. ``job_key`` identifies the request forever: the same key is never recorded twice.

    ``arguments``: for a start ``image_ref`` and optionally ``no_start``; for a stop ``reason``; for a start or a
    restart optionally ``accept_empty_state``.
    """

    game_id: str
    op_kind: OperationKind
    op_source: OperationSource
    job_key: str
    source_ref: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    requested_at: datetime | None = None


def accept(requests: Sequence[OperationRequest]) -> list[Operation]:
    """Record the requests in order; after the commit, notify the workers of those that are the next of their game.

    Idempotent by job key: a known request adds nothing. Returns the recorded operations of these keys, in order.
    Raises InvalidRequestError, with nothing written, if a request cannot be stored.
    """
    if not requests:
        return []
    for request in requests:
        check(request)
    rows = [
        {**asdict(request), "position": position, "image_ref": request.arguments.get("image_ref", "")}
        for position, request in enumerate(requests)
    ]
    new = list(Operation.objects.raw(*_INSERT.bind({"requests": json.dumps(rows, default=datetime.isoformat)})))
    keys = {request.job_key for request in requests}
    recorded = new if len(new) == len(keys) else list(Operation.objects.filter(job_key__in=keys).order_by("id"))
    first = [operation for operation in new if vars(operation)["is_first"]]
    open_ids = {operation.pk for operation in recorded if operation.is_open}
    waiting = sorted(open_ids - {operation.pk for operation in first})
    if first or waiting:
        transaction.on_commit(lambda: _notify(first, waiting))
    return recorded


def accept_unless_busy(request: OperationRequest) -> Operation:
    """Record one request if its game has no open operation, else raise ConflictError and record nothing.

    Idempotent by job key: a known request returns its recorded operation, open or not.
    """
    check(request)
    with transaction.atomic():
        # Two callers at the same moment must not both find the game idle. Held to the end of the transaction.
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_BUSY_CHECK, [_BUSY_CHECK_LOCKS, request.game_id])
        known = Operation.objects.filter(job_key=request.job_key).first()
        if known is not None:
            return known
        busy = Operation.objects.filter(game_id=request.game_id, state__in=OPEN_STATES).order_by("id").first()
        if busy is not None:
            message = (
                f"game {request.game_id} is busy with operation {busy.pk} ({busy.op_kind}, {busy.state}); "
                f"retry later, or follow that operation"
            )
            raise ConflictError(message)
        return accept([request])[0]


def _notify(first: Sequence[Operation], waiting: Sequence[int]) -> None:
    """Notify the workers of operations without open predecessors, and of waiting ones that could be claimed now: one
    message per game, however many jobs it sends.

    No operation is missed. This runs after our commit. An operation that is not ready is behind a waiting one, which
    was notified itself, or behind a running one. The worker of the running one looks for the next operation after its
    own commit (``runner.run``), which we have not seen yet, so it sees our rows.
    """
    try:
        ready = [*first, *(claims.find_ready(waiting) if waiting else ())]
        no_ops = [operation for operation in ready if vars(operation)["maybe_no_op"]]
        others = [operation for operation in ready if operation not in no_ops]
        notifier().send([(operation.pk, OperationKind(operation.op_kind)) for operation in others])
        if no_ops:
            notifier().complete_no_ops([operation.game_id for operation in no_ops])
    except (DatabaseError, InterfaceError) as error:
        # The operations are recorded, so the caller must not get an error. The sweep notifies the workers.
        not_notified = [*(operation.pk for operation in first), *waiting]
        log.warning("notification_failed", operation_ids=not_notified, error=str(error).strip())


def check(request: OperationRequest) -> None:
    """Raise InvalidRequestError if the request cannot be stored."""
    check_game_id(request.game_id)
    for name, value in {"source_ref": request.source_ref, **request.arguments}.items():
        if isinstance(value, str) and _UNSTORABLE.search(value):
            message = f"{name} holds characters that are not text (NUL or a lone surrogate)"
            raise InvalidRequestError(message)
