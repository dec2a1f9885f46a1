"""The end of an operation as it is stored: all of it by one statement, or nothing of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model

from operations import claims, outbox
from operations.claims import Claim
from operations.outbox import Message
from operations.prepared import Prepared, columns
from operations.states import Outcome
from runtimes.exceptions import StaleRuntimeError
from runtimes.models import HealthSnapshot, Runtime

# What is asked of it comes as one document. Each part stands on the one before: whoever does not hold the operation
# (``held``), or took the record for another than it is (``recorded``), closes nothing and says nothing.
_END = Prepared(
    "end_operation",
    f"""
    WITH asked AS (
        SELECT * FROM jsonb_to_record(%(asked)s) AS asked (
               operation_id bigint, fence bigint, outcome text, error_code text, error_message text, steps jsonb,
               container_id text, image_ref text, engine_endpoint text,
               status_before text, record jsonb, health jsonb, messages jsonb)),
         held AS (
        SELECT mine.id FROM operations_operation AS mine JOIN asked ON mine.id = asked.operation_id
         WHERE mine.state = 'running' AND mine.fence = asked.fence
           FOR UPDATE OF mine),
         recorded AS (
        INSERT INTO runtimes_runtime AS known ({columns(Runtime)})
        SELECT {columns(Runtime, "new.")}
          FROM held, asked, jsonb_populate_record(NULL::runtimes_runtime, asked.record) AS new
         WHERE asked.record IS NOT NULL
            ON CONFLICT (game_id) DO UPDATE SET ({columns(Runtime)}) = ROW ({columns(Runtime, "excluded.")})
         WHERE known.status = (SELECT status_before FROM asked) AND known.fence < excluded.fence
     RETURNING known.game_id),
         closed AS (
        UPDATE operations_operation AS mine
           SET state = 'finished', finished_at = now(), lease_until = NULL,
               outcome = asked.outcome, error_code = asked.error_code, error_message = asked.error_message,
               steps = asked.steps,
               container_id = coalesce(asked.container_id, mine.container_id),
               image_ref = coalesce(asked.image_ref, mine.image_ref),
               engine_endpoint = coalesce(asked.engine_endpoint, mine.engine_endpoint)
          FROM held, asked
         WHERE mine.id = held.id AND (asked.record IS NULL OR EXISTS (SELECT FROM recorded))
     RETURNING mine.id),
         noted AS (
        INSERT INTO runtimes_healthsnapshot ({columns(HealthSnapshot)})
        SELECT {columns(HealthSnapshot, "new.")}
          FROM closed, asked, jsonb_populate_record(NULL::runtimes_healthsnapshot, asked.health) AS new
         WHERE asked.health IS NOT NULL
            ON CONFLICT (runtime_id) DO UPDATE
           SET ({columns(HealthSnapshot)}) = ROW ({columns(HealthSnapshot, "excluded.")})),
         said AS (
        {outbox.QUEUE.format(source="closed, asked, jsonb_to_recordset(asked.messages)")})
    SELECT EXISTS (SELECT FROM held) AS is_held, EXISTS (SELECT FROM closed) AS is_closed
    """,  # noqa: S608 - columns of our own models; every value is a parameter
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is to be stored with the end of an operation, as it is to be afterwards.

    ``container_id``, ``image_ref`` and ``engine_endpoint``: None leaves the operation's as they are. ``record``: the
    game's, None leaves it alone; ``status_before``: what it has now, None when there is none. ``health``: the game's
    snapshot, None leaves it alone. ``messages`` are queued in their order; a key already known adds nothing.
    """

    outcome: Outcome
    error_code: str
    error_message: str
    steps: Sequence[Mapping[str, Any]]
    container_id: str | None = None
    image_ref: str | None = None
    engine_endpoint: str | None = None
    record: Runtime | None = None
    status_before: str | None = None
    health: HealthSnapshot | None = None
    messages: Sequence[Message] = ()


def store(claim: Claim, ending: Ending) -> None:
    """Close the operation, and write all that came of it.

    Raises LeaseLostError when somebody else owns the operation by now, and StaleRuntimeError when the record is not
    what it was taken for; then nothing is written.
    """
    asked = {
        "operation_id": claim.operation_id,
        "fence": claim.fence,
        "outcome": ending.outcome.value,
        "error_code": ending.error_code,
        "error_message": ending.error_message,
        "steps": list(ending.steps),
        "container_id": ending.container_id,
        "image_ref": ending.image_ref,
        "engine_endpoint": ending.engine_endpoint,
        "status_before": ending.status_before,
        "record": _row(ending.record),
        "health": _row(ending.health),
        "messages": outbox.rows(ending.messages),
    }
    with connection.cursor() as cursor:
        cursor.execute(*_END.bind({"asked": json.dumps(asked, default=datetime.isoformat)}))
        is_held, is_closed = cursor.fetchone()
    if not is_held:
        raise claims.lost(claim)
    if not is_closed:
        message = (
            f"game {claim.operation.game_id}: its record is no longer {ending.status_before or 'missing'}, or not ours"
        )
        raise StaleRuntimeError(message)


def _row(row: Model | None) -> Mapping[str, Any] | None:
    if row is None:
        return None
    return {one.attname: getattr(row, one.attname) for one in row._meta.concrete_fields}  # noqa: SLF001 - Django's public name for it
