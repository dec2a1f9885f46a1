"""Claim an operation, renew its lease, requeue it, find what no worker holds. Each function is one SQL statement.

An operation can be claimed if it is the first open one of its game, or if it runs under a lease that has expired. Each
claim draws a fence from one sequence; the claim with the highest fence of an operation owns it.
"""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import F
from django.db.models.functions import Now

from operations.models import Operation
from operations.queue.database import Prepared, columns, database_now
from operations.queue.worker_lock import worker_lock
from operations.states import OperationKind, OperationState
from runtimes.exceptions import RuntimeManagerError

# How long one game may keep a worker slot while others wait for one. A claimed operation is always completed.
TIME_SLICE_OPERATIONS = 10
TIME_SLICE_SECONDS = 5.0

# The columns of a row named "mine", as ``Operation.objects.raw`` reads them.
OPERATION_COLUMNS = columns(Operation, "mine.")
# Condition: "mine" is the first open operation of its game, and none of the game runs. Two subqueries instead of one
# with OR: each is one index lookup, however many operations of the game wait. OFFSET 0 keeps the planner from joining
# all open operations with each other.
_IS_ITS_TURN = """mine.state = 'accepted'
                AND NOT EXISTS (
                    SELECT 1 FROM operations_operation AS earlier
                     WHERE earlier.game_id = mine.game_id
                       AND earlier.state IN ('accepted', 'running')
                       AND earlier.id < mine.id OFFSET 0)
                AND NOT EXISTS (
                    SELECT 1 FROM operations_operation AS busy
                     WHERE busy.game_id = mine.game_id
                       AND busy.state = 'running' OFFSET 0)"""
# Condition: "mine" is a stream job without an attempt that has nothing to do according to the record. A guess, which
# ``operations.execution.no_ops`` verifies.
MAYBE_NO_OP = """(mine.op_source = 'lobby_stream' AND mine.attempt = 0 AND (
        (mine.op_kind = 'start' AND runtime.status = 'running' AND runtime.current_image_ref = mine.image_ref
            AND mine.arguments ->> 'no_start' IS NULL)
        OR (mine.op_kind = 'stop' AND runtime.status <> 'running' AND runtime.ended_by = '')))"""
_IS_DUE = "(mine.not_before IS NULL OR mine.not_before <= now())"
# Purpose: claim the operation ``target`` with lease, fence and attempt, if it can be claimed; returns it, and what the
# worker needs to know about the records of its game and of games with the same host name.
# Locks: the operation row. Of two claims in one game at the same moment, the unique index rejects one.
_CLAIM = f"""
    UPDATE operations_operation AS mine
       SET state = 'running',
           fence = nextval('operations_fence_seq'),
           attempt = attempt + 1,
           claimed_by = %(claimed_by)s,
           worker_lock = %(worker_lock)s,
           lease_until = now() + %(ttl)s * interval '1 second',
           started_at = coalesce(started_at, now()),
           not_before = NULL,
           waiting_for_image = ''
     WHERE mine.id = {{target}}
       AND {_IS_DUE}
       AND ((state = 'running' AND lease_until < now()) OR ({_IS_ITS_TURN}))
 RETURNING {OPERATION_COLUMNS},
           EXISTS (SELECT 1 FROM runtimes_runtime WHERE game_id = mine.game_id) AS has_record,
           coalesce((
               SELECT other.game_id FROM runtimes_runtime AS other
                WHERE lower(other.game_id COLLATE "C") = lower(mine.game_id COLLATE "C")
                  AND other.game_id <> mine.game_id AND other.current_container_id IS NOT NULL), '') AS name_held_by
"""  # noqa: S608 - fragments of this module; every value is a parameter
_CLAIM_THIS = Prepared("claim_operation", _CLAIM.format(target="%(operation_id)s"))
# Purpose: the first waiting operation of a game. Locks: none.
_FIRST_OF_GAME = """
    SELECT id FROM operations_operation WHERE game_id = %(game_id)s AND state = 'accepted' ORDER BY id LIMIT 1
"""
_CLAIM_NEXT = Prepared("claim_next_operation", _CLAIM.format(target=f"({_FIRST_OF_GAME})"))
_FIND_NEXT = Prepared("find_next_operation", _FIRST_OF_GAME)
# Purpose: extend one lease and store the steps and the created container, if the fence is current. Locks: the row.
_RENEW = Prepared(
    "renew_lease",
    """
    UPDATE operations_operation
       SET lease_until = now() + %(ttl)s * interval '1 second', steps = %(steps)s, container_id = %(container_id)s
     WHERE id = %(operation_id)s AND state = 'running' AND fence = %(fence)s
    """,
)

# Purpose: which of these operations could be claimed now. Locks: none.
_FIND_READY = f"""
    SELECT {OPERATION_COLUMNS}, coalesce({MAYBE_NO_OP}, false) AS maybe_no_op
      FROM operations_operation AS mine LEFT JOIN runtimes_runtime AS runtime USING (game_id)
     WHERE mine.id = ANY(%(ids)s) AND {_IS_DUE} AND {_IS_ITS_TURN}
     ORDER BY mine.id
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Purpose: of each game, the first open operation, if a worker can claim it now. One index lookup per game, however many
# operations wait: the array is made once. The planner could repeat a subquery for each waiting operation, if its
# statistics are older than the queue. Locks: the rows that it marks as notified.
_FIND_NEXT_OF_GAMES = f"""
    UPDATE operations_operation AS mine
       SET notified_at = now()
     WHERE mine.id = ANY (ARRAY (
           SELECT first.id
             FROM unnest(%(game_ids)s::text[]) AS game (game_id)
            CROSS JOIN LATERAL (
                  SELECT id FROM operations_operation
                   WHERE game_id = game.game_id AND state IN ('accepted', 'running') ORDER BY id LIMIT 1) AS first
            WHERE NOT EXISTS (
                  SELECT 1 FROM operations_operation AS busy
                   WHERE busy.game_id = game.game_id AND busy.state = 'running' OFFSET 0)))
       AND mine.state = 'accepted' AND {_IS_DUE}
 RETURNING id, op_kind
"""  # noqa: S608 - fragments of this module; every value is a parameter
# Purpose: the next operation of each game if no worker handles it. Its notification was never sent or was lost, its
# delay is over, or its lease has ended. The end of a delay or a lease is notified at once. The pause until the next
# notification grows with the age of the operation, up to 30 s, so that a long queue is not flooded with messages.
# Locks: the rows that it marks as notified.
_FIND_UNATTENDED = """
    WITH next AS (
        SELECT DISTINCT ON (game_id) id
          FROM operations_operation
         WHERE state IN ('accepted', 'running')
         ORDER BY game_id, state = 'running' DESC, id)
    UPDATE operations_operation AS mine
       SET notified_at = now()
      FROM next
     WHERE mine.id = next.id
       AND (mine.not_before IS NULL OR mine.not_before <= now())
       AND (mine.state = 'accepted' OR mine.lease_until < now())
       AND (mine.notified_at IS NULL
            OR mine.notified_at < mine.not_before
            OR (mine.state = 'running' AND mine.notified_at < mine.lease_until)
            OR mine.notified_at < now() - least(greatest(%(grace)s * interval '1 second',
                                                       mine.notified_at - mine.accepted_at), interval '30 seconds'))
 RETURNING mine.id, mine.op_kind
"""
# Purpose: set the ends of many leases. Locks: the rows.
_EXTEND = """
    UPDATE operations_operation SET lease_until = now() + %s * interval '1 second'
     WHERE state = 'running' AND (id, fence) IN %s RETURNING fence
"""


class LeaseLostError(RuntimeManagerError):
    """Another worker owns the operation now: this one must stop at once, and write and publish nothing."""

    transient = True


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one operation, until its lease ends or a higher fence is drawn.

    ``claimed_at``: the monotonic time of this process just before the claim statement. ``has_record``: whether the game
    had a record; only the holder of the claim may create one. ``name_held_by``: the game whose container had the host
    name of this game, because the two ids differ only in case; empty if there was none.
    """

    operation: Operation
    claimed_at: float = field(default_factory=time.monotonic)
    has_record: bool = True
    name_held_by: str = ""

    @property
    def operation_id(self) -> int:
        """The id of the claimed operation."""
        return self.operation.pk

    @property
    def fence(self) -> int:
        """The token of this claim; a later claim of the same operation has a higher one."""
        fence = self.operation.fence
        assert fence is not None, "a claimed operation always has a fence (operation_running_holds_lease)"  # noqa: S101
        return fence

    def now(self) -> datetime:
        """The database time without a query: the time of the claim, plus the time that has passed here since."""
        ttl = timedelta(seconds=settings.RTMANAGER.game_lease_ttl_seconds)
        claimed = self.operation.lease_until
        if claimed is None:
            return database_now()
        return claimed - ttl + timedelta(seconds=time.monotonic() - self.claimed_at)

    @property
    def is_fresh(self) -> bool:
        """True during the first sixth of the lease.

        A Docker call takes less than half a lease, so no other worker can hold the operation yet, unless this one was
        taken for dead.
        """
        return time.monotonic() - self.claimed_at < settings.RTMANAGER.game_lease_ttl_seconds / 6


def worker_name() -> str:
    """Host and process, as operators see them in ``claimed_by``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def claim(operation_id: int, *, claimed_by: str) -> Claim | None:
    """Claim this operation; None if it is not the next of its game, is held by another worker, or is finished."""
    return _claim(_CLAIM_THIS, {"operation_id": operation_id}, claimed_by)


def claim_next(game_id: str, *, claimed_by: str) -> Claim | None:
    """Claim the first waiting operation of the game, if it is ready."""
    # Usually none waits. This query takes a third of the time of a claim.
    with connection.cursor() as cursor:
        cursor.execute(*_FIND_NEXT.bind({"game_id": game_id}))
        if cursor.fetchone() is None:
            return None
    return _claim(_CLAIM_NEXT, {"game_id": game_id}, claimed_by)


def _claim(statement: Prepared, params: Mapping[str, Any], claimed_by: str) -> Claim | None:
    claimed_at = time.monotonic()
    ttl = settings.RTMANAGER.game_lease_ttl_seconds
    values = {**params, "claimed_by": claimed_by, "worker_lock": worker_lock.key, "ttl": ttl}
    try:
        claimed = list(Operation.objects.raw(*statement.bind(values)))
    except IntegrityError:
        # Two operations of one game were claimed at the same moment; the unique index accepted the other one.
        return None
    if not claimed:
        return None
    extra = vars(claimed[0])
    return Claim(claimed[0], claimed_at, has_record=extra["has_record"], name_held_by=extra["name_held_by"])


def find_ready(operation_ids: Sequence[int]) -> list[Operation]:
    """The operations that could be claimed now, oldest first: at most one per game. Each has ``maybe_no_op``."""
    return list(Operation.objects.raw(_FIND_READY, {"ids": list(operation_ids)}))


def notify_next(game_ids: Sequence[str]) -> list[tuple[int, OperationKind]]:
    """Mark the next operations of these games as notified, if they are ready, and return them by id.

    The caller sends the notifications.
    """
    return _fetch_notified(_FIND_NEXT_OF_GAMES, {"game_ids": list(game_ids)})


def find_unattended(*, grace_seconds: float) -> list[tuple[int, OperationKind]]:
    """The sweep: mark the operations that no worker handles as notified and return them by id.

    The caller sends the notifications. ``grace_seconds``: an operation notified more recently than this is left out.
    """
    return _fetch_notified(_FIND_UNATTENDED, {"grace": grace_seconds})


def _fetch_notified(statement: str, params: Mapping[str, Any]) -> list[tuple[int, OperationKind]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [(operation_id, OperationKind(op_kind)) for operation_id, op_kind in sorted(cursor.fetchall())]


def renew(claim: Claim, *, steps: Sequence[Mapping[str, Any]], container_id: str = "") -> None:
    """Extend the lease; store the timeline and the created container.

    Raises LeaseLostError if another worker owns the operation now.
    """
    values = {
        "operation_id": claim.operation_id,
        "fence": claim.fence,
        "ttl": settings.RTMANAGER.game_lease_ttl_seconds,
        "steps": json.dumps(list(steps)),
        "container_id": container_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(*_RENEW.bind(values))
        if cursor.rowcount != 1:
            raise lease_lost(claim)


def write(claim: Claim, **changes: Any) -> None:
    """Update the row of a claimed operation. Raises LeaseLostError, with nothing written, if the claim is lost."""
    mine = Operation.objects.filter(pk=claim.operation_id, state=OperationState.RUNNING, fence=claim.fence)
    if mine.update(**changes) != 1:
        raise lease_lost(claim)


def lease_lost(claim: Claim) -> LeaseLostError:
    """The error for a claim that is lost."""
    return LeaseLostError(f"operation {claim.operation_id} is no longer held under fence {claim.fence}")


def renew_all(held: Sequence[Claim]) -> list[Claim]:
    """Extend many leases in one statement; returns the claims that no longer hold: lost, completed or requeued."""
    # By fence: one process may hold two claims of an operation that it took over, and the older claim is lost.
    renewed = _extend(held, settings.RTMANAGER.game_lease_ttl_seconds)
    return [claim for claim in held if claim.fence not in renewed]


def is_taken_over(claim: Claim) -> bool:
    """Whether another worker has claimed the operation since. False if it was completed or requeued by this claim."""
    return not Operation.objects.filter(pk=claim.operation_id, fence=claim.fence).exists()


def release_leases(held: Sequence[Claim]) -> None:
    """End these leases now, unless another worker holds them; the sweep then finds the operations at once."""
    _extend(held, 0)


def _extend(held: Sequence[Claim], seconds: float) -> set[int]:
    if not held:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_EXTEND, [seconds, tuple((claim.operation_id, claim.fence) for claim in held)])
        return {fence for (fence,) in cursor.fetchall()}


def retry_later(
    claim: Claim, *, delay_seconds: float, reason: str, steps: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Requeue the operation because a dependency is down; no worker claims it before the delay is over.

    Without ``steps``, the stored ones stay. Raises LeaseLostError if another worker owns the operation now.
    """
    timeline = {} if steps is None else {"steps": list(steps)}
    requeue(claim, delay_seconds=delay_seconds, error_message=reason, retries=F("retries") + 1, **timeline)


def requeue(claim: Claim, *, delay_seconds: float, **changes: Any) -> None:
    """Requeue the operation with other changes; no worker claims it before the delay is over. Raises LeaseLostError."""
    not_before = Now() + timedelta(seconds=delay_seconds)
    write(claim, state=OperationState.ACCEPTED, lease_until=None, not_before=not_before, **changes)


def is_past_deadline(claim: Claim) -> bool:
    """Whether the operation is older than the job deadline, by database time."""
    oldest = Now() - settings.RTMANAGER.job_deadline
    return Operation.objects.filter(pk=claim.operation_id, accepted_at__lt=oldest).exists()
