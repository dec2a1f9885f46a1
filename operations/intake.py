"""The one door: whatever asks for a deed - stream, REST, admin, reconciler - is recorded here, once, and hinted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from operations import claims
from operations.claims import Ready
from operations.dispatch import hints
from operations.models import Operation
from operations.prepared import Prepared
from operations.states import OPEN_STATES, OpKind, OpSource
from runtimes.exceptions import ConflictError, InvalidRequestError
from runtimes.games import check_game_id

log = structlog.get_logger(__name__)

# Namespace of the advisory locks that make "is the game busy?" and the insert one step.
_BUSY_CHECK_LOCKS = 0x52544D

# One statement, so that a batch of jobs is one trip to the server. Ids are drawn in the order of the requests. The
# hint follows the commit at once, or when it is its turn, and is noted here; the sweep takes over when it gets lost.
# OFFSET 0 keeps the planner from gathering all open operations, or all records, to compare a few games with them.
_INSERT = Prepared(
    "accept_operations",
    f"""
    WITH mine AS (
    INSERT INTO operations_operation (
           game_id, op_kind, op_source, source_ref, job_key, arguments, image_ref, requested_at, hinted_at,
           state, error_code, error_message, container_id, engine_endpoint, steps, attempt, deferrals,
           awaits_image, claimed_by)
    SELECT game_id, op_kind, op_source, source_ref, job_key, arguments, image_ref, requested_at, now(),
           'accepted', '', '', '', '', '[]', 0, 0, '', ''
      FROM jsonb_to_recordset(%(asked)s) AS asked (
           place integer, game_id text, op_kind text, op_source text, source_ref text, job_key text,
           arguments jsonb, image_ref text, requested_at timestamptz)
     ORDER BY place
        ON CONFLICT (job_key) DO NOTHING
 RETURNING *)
    SELECT {claims.OPERATION_COLUMNS}, coalesce({claims.LOOKS_DONE}, false) AS looks_done,
           NOT EXISTS (
               SELECT 1 FROM operations_operation AS open
                WHERE open.game_id = mine.game_id AND open.state IN ('accepted', 'running') OFFSET 0)
           AND NOT EXISTS (
               SELECT 1 FROM mine AS earlier WHERE earlier.game_id = mine.game_id AND earlier.id < mine.id) AS is_first
      FROM mine
      LEFT JOIN LATERAL (
           SELECT status, current_image_ref FROM runtimes_runtime
            WHERE game_id = mine.game_id OFFSET 0) AS runtime ON true
     ORDER BY mine.id
    """,  # noqa: S608 - fragments of our own; every value is a parameter
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """One deed asked for. ``job_key`` names the request for ever: the same key is never recorded twice.

    ``arguments``: for a start ``image_ref`` and optionally ``no_start``; for a stop ``reason``.
    """

    game_id: str
    op_kind: OpKind
    op_source: OpSource
    job_key: str
    source_ref: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    requested_at: datetime | None = None


def accept(requests: Sequence[OperationRequest]) -> list[Operation]:
    """Record the requests in the order given; once the transaction has committed, hint those whose turn it is.

    Idempotent by job key: a request already on record adds nothing. Returns the operations on record for
    these keys, in order. Raises InvalidRequestError before anything is written when one cannot be stored.
    """
    if not requests:
        return []
    for request in requests:
        check(request)
    rows = json.dumps([_row(request, place=place) for place, request in enumerate(requests)])
    new = list(Operation.objects.raw(*_INSERT.bind({"asked": rows})))
    keys = {request.job_key for request in requests}
    recorded = new if len(new) == len(keys) else list(Operation.objects.filter(job_key__in=keys).order_by("id"))
    first = [_ready(one) for one in new if vars(one)["is_first"]]
    waiting = sorted({one.pk for one in recorded if one.is_open} - {one.operation_id for one in first})
    if first or waiting:
        transaction.on_commit(lambda: _hint(first, waiting))
    return recorded


def accept_unless_busy(request: OperationRequest) -> Operation:
    """Record one request if its game has nothing open, else raise ConflictError and record nothing.

    Idempotent by job key: asked again, it returns the operation already on record, open or not.
    """
    check(request)
    with transaction.atomic():
        _lock_busy_check(request.game_id)
        known = Operation.objects.filter(job_key=request.job_key).first()
        if known is not None:
            return known
        _refuse_if_busy(request)
        return accept([request])[0]


def _ready(inserted: Operation) -> Ready:
    looks_done = vars(inserted)["looks_done"]
    return Ready(inserted.pk, OpKind(inserted.op_kind), inserted.game_id, looks_done=looks_done)


def _hint(first: Sequence[Ready], waiting: Sequence[int]) -> None:
    """Hint what found nothing open in its game, and those of the others that could be claimed now: one message for a
    game, however many jobs it sends.

    Nothing is left lying. This looks after our commit. What is not ready then stands behind an operation that
    waits, and was hinted itself, or runs; and whoever runs that one looks for the next after having committed its
    end (``runner.run``), which we have not seen yet, so that look sees our rows.
    """
    try:
        heads = [*first, *(claims.ready(waiting) if waiting else ())]
        hints().send([(one.operation_id, one.op_kind) for one in heads if not one.looks_done])
        if done := [one.game_id for one in heads if one.looks_done]:
            hints().answer(done)
    except (DatabaseError, InterfaceError) as error:
        # They are on record; whoever asked for them must not hear that they are not. The sweep hints them.
        unhinted = [*(one.operation_id for one in first), *waiting]
        log.warning("hint_not_sent", operation_ids=unhinted, error=str(error).strip())


def check(request: OperationRequest) -> None:
    """Raise InvalidRequestError when it cannot be stored."""
    check_game_id(request.game_id)
    for name, value in {"source_ref": request.source_ref, **request.arguments}.items():
        if isinstance(value, str) and not _is_storable(value):
            message = f"{name} holds characters that are not text (NUL or a lone surrogate)"
            raise InvalidRequestError(message)


def _is_storable(text: str) -> bool:
    """PostgreSQL takes any text but NUL, and Python strings may hold surrogates that no encoding takes."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _row(request: OperationRequest, *, place: int) -> Mapping[str, Any]:
    return {
        "place": place,
        "game_id": request.game_id,
        "op_kind": request.op_kind.value,
        "op_source": request.op_source.value,
        "source_ref": request.source_ref,
        "job_key": request.job_key,
        "arguments": dict(request.arguments),
        "image_ref": request.arguments.get("image_ref", ""),
        "requested_at": request.requested_at and request.requested_at.isoformat(),
    }


def _lock_busy_check(game_id: str) -> None:
    # Two callers at the same moment must not both find the game idle. Held to the end of the transaction.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_BUSY_CHECK_LOCKS, game_id])


def _refuse_if_busy(request: OperationRequest) -> None:
    busy = Operation.objects.filter(game_id=request.game_id, state__in=OPEN_STATES).order_by("id").first()
    if busy is not None:
        message = (
            f"game {request.game_id} is busy: {busy.op_kind} (operation {busy.pk}, {busy.state}) must end first; "
            f"ask again, or follow that operation"
        )
        raise ConflictError(message)
