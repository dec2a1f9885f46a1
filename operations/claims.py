"""Who may work on an operation: claim, renew, defer. Every line here is one SQL statement on database time.

An operation is claimable when it is the first open one of its game, or when it runs under a lease that has
expired. A claim draws a fence from one sequence; whoever holds the highest fence of an operation owns it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import F
from django.db.models.functions import Now

from operations.clock import database_now
from operations.exceptions import LeaseLostError
from operations.models import Operation
from operations.prepared import Prepared, columns
from operations.states import OpKind, OpState

# Of a row under the name "mine", as ``Operation.objects.raw`` reads it.
OPERATION_COLUMNS = columns(Operation, "mine.")
# Two questions instead of one with OR: each is a look into an index, however many operations the game has waiting.
_IS_ITS_TURN = """mine.state = 'accepted'
                AND NOT EXISTS (
                    SELECT 1 FROM operations_operation AS earlier
                     WHERE earlier.game_id = mine.game_id
                       AND earlier.state IN ('accepted', 'running')
                       AND earlier.id < mine.id)
                AND NOT EXISTS (
                    SELECT 1 FROM operations_operation AS busy
                     WHERE busy.game_id = mine.game_id
                       AND busy.state = 'running')"""
# By the record alone, a job from the stream that nobody has touched yet and that finds nothing to do: a guess, which
# ``operations.replays`` looks into.
LOOKS_DONE = """(mine.op_source = 'lobby_stream' AND mine.attempt = 0 AND (
        (mine.op_kind = 'start' AND runtime.status = 'running' AND runtime.current_image_ref = mine.image_ref
            AND mine.arguments ->> 'no_start' IS NULL)
        OR (mine.op_kind = 'stop' AND runtime.status <> 'running')))"""
_IS_DUE = "(mine.not_before IS NULL OR mine.not_before <= now())"
_CLAIM = f"""
    UPDATE operations_operation AS mine
       SET state = 'running',
           fence = nextval('operations_fence_seq'),
           attempt = attempt + 1,
           claimed_by = %(claimed_by)s,
           lease_until = now() + %(ttl)s * interval '1 second',
           started_at = coalesce(started_at, now()),
           not_before = NULL,
           awaits_image = ''
     WHERE mine.id = {{target}}
       AND {_IS_DUE}
       AND ((state = 'running' AND lease_until < now()) OR ({_IS_ITS_TURN}))
 RETURNING {OPERATION_COLUMNS},
           EXISTS (SELECT 1 FROM runtimes_runtime WHERE game_id = mine.game_id) AS has_record
"""  # noqa: S608 - fragments of this module; every value is a parameter
_CLAIM_THIS = Prepared("claim_operation", _CLAIM.format(target="%(operation_id)s"))
_FIRST_OF_GAME = """
    SELECT id FROM operations_operation WHERE game_id = %(game_id)s AND state = 'accepted' ORDER BY id LIMIT 1
"""
_CLAIM_NEXT = Prepared("claim_next_operation", _CLAIM.format(target=f"({_FIRST_OF_GAME})"))
_LOOK_FOR_NEXT = Prepared("look_for_next_operation", _FIRST_OF_GAME)
_RENEW = Prepared(
    "renew_lease",
    """
    UPDATE operations_operation
       SET lease_until = now() + %(ttl)s * interval '1 second', steps = %(steps)s
     WHERE id = %(operation_id)s AND state = 'running' AND fence = %(fence)s
    """,
)

_READY = f"""
    SELECT mine.id, mine.op_kind, mine.game_id, coalesce({LOOKS_DONE}, false) AS looks_done
      FROM operations_operation AS mine LEFT JOIN runtimes_runtime AS runtime USING (game_id)
     WHERE mine.id = ANY(%(ids)s) AND {_IS_DUE} AND {_IS_ITS_TURN}
     ORDER BY mine.id
"""  # noqa: S608 - fragments of this module; every value is a parameter
_NEXT_TURNS = f"""
    UPDATE operations_operation AS mine
       SET hinted_at = now()
     WHERE mine.id IN (
           SELECT DISTINCT ON (game_id) id FROM operations_operation
            WHERE game_id = ANY(%(game_ids)s) AND state = 'accepted' ORDER BY game_id, id)
       AND {_IS_DUE} AND {_IS_ITS_TURN}
 RETURNING id, op_kind
"""  # noqa: S608 - fragments of this module; every value is a parameter

# Heads of line that nobody works on: never hinted, hinted in vain, back-off over, or lease expired. The wait
# between two hints grows with the age at the last one, so that a long queue is not flooded with messages.
_SWEEP = """
    WITH heads AS (
        SELECT DISTINCT ON (game_id) id
          FROM operations_operation
         WHERE state IN ('accepted', 'running')
         ORDER BY game_id, state = 'running' DESC, id)
    UPDATE operations_operation AS head
       SET hinted_at = now()
      FROM heads
     WHERE head.id = heads.id
       AND (head.not_before IS NULL OR head.not_before <= now())
       AND (head.state = 'accepted' OR head.lease_until < now())
       AND (head.hinted_at IS NULL
            OR head.hinted_at < head.not_before
            OR head.hinted_at < now() - least(greatest(%(patience)s * interval '1 second',
                                                       head.hinted_at - head.accepted_at), interval '30 seconds'))
 RETURNING head.id, head.op_kind
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """An operation that could be claimed now. ``looks_done``: it may be a replay, by the record of its game."""

    operation_id: int
    op_kind: OpKind
    game_id: str
    looks_done: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one operation, until its lease ends or a higher fence is drawn.

    ``claimed_at`` is this process's monotonic clock just before the claim was asked for. ``has_record``: whether there
    was a record of the game; nobody but who holds the claim may make one.
    """

    operation: Operation
    claimed_at: float = field(default_factory=time.monotonic)
    has_record: bool = True

    @property
    def operation_id(self) -> int:
        """The operation that is claimed."""
        return self.operation.pk

    @property
    def fence(self) -> int:
        """The token of this claim; a later claim of the same operation has a higher one."""
        fence = self.operation.fence
        assert fence is not None, "a claimed operation always has a fence (operation_running_holds_lease)"  # noqa: S101
        return fence

    def now(self) -> datetime:
        """The time of the database, without asking it: that of the claim, and what has passed here since."""
        ttl = timedelta(seconds=settings.RTMANAGER.game_lease_ttl_seconds)
        claimed = self.operation.lease_until
        if claimed is None:
            return database_now()
        return claimed - ttl + timedelta(seconds=time.monotonic() - self.claimed_at)

    @property
    def is_young(self) -> bool:
        """Whether so little of the lease is over that nobody can have taken the operation over since.

        Of six sixths one may be gone: a call to Docker takes less than half a lease.
        """
        return time.monotonic() - self.claimed_at < settings.RTMANAGER.game_lease_ttl_seconds / 6


def claim(operation_id: int, *, claimed_by: str) -> Claim | None:
    """Claim this operation; None when it is not its turn, somebody else has it, or it is finished."""
    return _claim(_CLAIM_THIS, {"operation_id": operation_id}, claimed_by)


def claim_next(game_id: str, *, claimed_by: str) -> Claim | None:
    """Claim the first waiting operation of the game, if it is due."""
    # Usually none waits, and to see that takes a third of the time.
    with connection.cursor() as cursor:
        cursor.execute(*_LOOK_FOR_NEXT.bind({"game_id": game_id}))
        if cursor.fetchone() is None:
            return None
    return _claim(_CLAIM_NEXT, {"game_id": game_id}, claimed_by)


def _claim(statement: Prepared, params: Mapping[str, Any], claimed_by: str) -> Claim | None:
    began = time.monotonic()
    values = {**params, "claimed_by": claimed_by, "ttl": settings.RTMANAGER.game_lease_ttl_seconds}
    try:
        claimed = list(Operation.objects.raw(*statement.bind(values)))
    except IntegrityError:
        # Two operations of one game were claimed at the same moment; the index let one of them through.
        return None
    return Claim(claimed[0], began, has_record=vars(claimed[0])["has_record"]) if claimed else None


def ready(operation_ids: Sequence[int]) -> list[Ready]:
    """Those of these operations that could be claimed now, oldest first: at most one of each game."""
    with connection.cursor() as cursor:
        cursor.execute(_READY, {"ids": list(operation_ids)})
        return [Ready(number, OpKind(kind), *rest) for number, kind, *rest in cursor.fetchall()]


def pass_on(game_ids: Sequence[str]) -> list[tuple[int, OpKind]]:
    """Find the operations whose turn it is in these games, if they are due, and mark them as hinted; the caller sends
    the hints.
    """
    return _kinds(_NEXT_TURNS, {"game_ids": list(game_ids)})


def renew(held: Claim, *, steps: Sequence[Mapping[str, Any]]) -> None:
    """Extend the lease and store the timeline so far. Raises LeaseLostError when somebody else owns it by now."""
    ttl = settings.RTMANAGER.game_lease_ttl_seconds
    values = {"operation_id": held.operation_id, "fence": held.fence, "ttl": ttl, "steps": json.dumps(list(steps))}
    with connection.cursor() as cursor:
        cursor.execute(*_RENEW.bind(values))
        if cursor.rowcount != 1:
            raise lost(held)


def write(held: Claim, **changes: Any) -> None:
    """Change the row of an operation that is still ours; when it is not, raises LeaseLostError and writes nothing."""
    mine = Operation.objects.filter(pk=held.operation_id, state=OpState.RUNNING, fence=held.fence)
    if mine.update(**changes) != 1:
        raise lost(held)


def lost(held: Claim) -> LeaseLostError:
    """What is raised when a claim turns out not to hold any more."""
    return LeaseLostError(f"operation {held.operation_id} is no longer held under fence {held.fence}")


def renew_all(held: Sequence[Claim]) -> list[Claim]:
    """Extend many leases in one statement; returns the claims that are lost."""
    if not held:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE operations_operation SET lease_until = now() + %s * interval '1 second'
                WHERE state = 'running' AND (id, fence) IN %s RETURNING fence""",
            [settings.RTMANAGER.game_lease_ttl_seconds, tuple((one.operation_id, one.fence) for one in held)],
        )
        renewed = {row[0] for row in cursor.fetchall()}
    # By fence: an operation that was taken over may be held twice in one process, and the older claim is lost.
    return [one for one in held if one.fence not in renewed]


def let_expire(held: Sequence[Claim]) -> None:
    """End these leases now, unless somebody else has them by now: the sweep finds the operations at once."""
    if held:
        with connection.cursor() as cursor:
            cursor.execute(
                """UPDATE operations_operation SET lease_until = now()
                    WHERE state = 'running' AND (id, fence) IN %s""",
                [tuple((one.operation_id, one.fence) for one in held)],
            )


def defer(held: Claim, *, delay_seconds: float, reason: str, steps: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Give the claim back because something outside is away; nobody tries again before the delay is over.

    Without ``steps``, those on record stay. Raises LeaseLostError when somebody else owns the operation by now.
    """
    timeline = {} if steps is None else {"steps": list(steps)}
    write(
        held,
        state=OpState.ACCEPTED,
        lease_until=None,
        not_before=_seconds_from_now(delay_seconds),
        deferrals=F("deferrals") + 1,
        error_message=reason,
        **timeline,
    )


def set_aside(held: Claim, *, image_ref: str, wait_seconds: float, reason: str, changes: Mapping[str, Any]) -> None:
    """Give the claim back until the image is there (``operations.pulls``), for at most ``wait_seconds``.

    Nothing was tried in vain: the back-off does not grow. Raises LeaseLostError as ``defer`` does.
    """
    write(
        held,
        state=OpState.ACCEPTED,
        lease_until=None,
        not_before=_seconds_from_now(wait_seconds),
        awaits_image=image_ref,
        error_message=reason,
        **changes,
    )


def make_due(operation_id: int) -> None:
    """Let an operation that was set aside be claimed at once. Idempotent; nothing happens to one that is not."""
    waiting = Operation.objects.filter(pk=operation_id, state=OpState.ACCEPTED).exclude(awaits_image="")
    waiting.update(not_before=None, awaits_image="")


def is_overdue(held: Claim) -> bool:
    """Whether the operation is older than the job deadline, by the clock that wrote its age: the database's."""
    oldest = Now() - settings.RTMANAGER.job_deadline
    return Operation.objects.filter(pk=held.operation_id, accepted_at__lt=oldest).exists()


def sweep(*, patience_seconds: float) -> list[tuple[int, OpKind]]:
    """Find the heads of line that nobody works on and mark them as hinted; the caller sends the hints."""
    return _kinds(_SWEEP, {"patience": patience_seconds})


def _kinds(statement: str, params: Mapping[str, Any]) -> list[tuple[int, OpKind]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [(operation_id, OpKind(op_kind)) for operation_id, op_kind in sorted(cursor.fetchall())]


def _seconds_from_now(seconds: float) -> Any:
    return Now() + timedelta(seconds=seconds)
