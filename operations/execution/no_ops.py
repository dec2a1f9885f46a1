"""Complete operations that have nothing to do, without a claim and many at once.

A start of a game that runs that very image is a no-op, and so is a stop of a game that does not run. One statement
completes such operations where they wait, provided that no worker has changed their games since they were read. All
others stay as they are, for a worker to claim. If this process dies, the sweep notifies another one.

The rule stands in two forms that must agree: ``claims.MAYBE_NO_OP`` by the record alone (a guess), and
``complete_waiting`` for stream jobs (with Docker). The handlers decide for all other operations.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from django.db import connection, transaction

from operations import outbox
from operations.dispatch import notifier
from operations.execution import completion
from operations.execution.attempt import Timeline
from operations.messages import job_result_fields
from operations.outbox import Message
from operations.queue import claims
from operations.states import OperationKind, Outcome, Topic
from runtimes.container_spec import is_misnamed
from runtimes.containers import connect
from runtimes.containers.base import OBSERVATION_ERRORS
from runtimes.exceptions import ErrorCode
from runtimes.process import shutting_down

log = structlog.get_logger(__name__)

# Operations that one statement completes; the rest follows in the next round.
_BATCH = 500

# Purpose: the open operations of some games, with what the no-op rule needs of their records. Locks: none.
_FIND_OPEN = f"""
    SELECT mine.id, mine.game_id, mine.op_kind, mine.state = 'accepted' AND {claims.MAYBE_NO_OP} AS maybe_no_op,
           coalesce(runtime.current_container_id, '') AS container_id,
           coalesce(runtime.engine_endpoint, '') AS engine_endpoint, coalesce(runtime.fence, 0) AS fence,
           clock_timestamp() AS at
      FROM operations_operation AS mine LEFT JOIN runtimes_runtime AS runtime USING (game_id)
     WHERE mine.game_id = ANY(%(game_ids)s) AND mine.state IN ('accepted', 'running')
     ORDER BY mine.id LIMIT {_BATCH}
"""  # noqa: S608 - fragments of our own; every value is a parameter

# Purpose: complete these operations if their records still have the fences that were read, and if all earlier open
# operations of the game are completed with them.
# Locks: the operations, in the order of their ids and with SKIP LOCKED, so that two processes that complete the same
# games cannot block each other. An operation that is locked elsewhere holds up the later ones of its game.
_COMPLETE = """
    WITH no_op AS (SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::bigint[]) AS no_op (id, fence)),
         mine AS (
        SELECT waiting.id, no_op.fence
          FROM operations_operation AS waiting JOIN no_op USING (id)
         WHERE waiting.state = 'accepted' AND waiting.attempt = 0
         ORDER BY waiting.id
           FOR UPDATE OF waiting SKIP LOCKED)
    UPDATE operations_operation AS done
       SET state = 'finished', outcome = 'success', error_code = 'replay_no_op', attempt = 1,
           fence = nextval('operations_fence_seq'), claimed_by = %(claimed_by)s,
           started_at = %(started_at)s, finished_at = now(), steps = %(steps)s,
           container_id = coalesce(runtime.current_container_id, ''),
           image_ref = coalesce(runtime.current_image_ref, done.image_ref),
           engine_endpoint = CASE WHEN runtime.current_container_id IS NULL THEN '' ELSE runtime.engine_endpoint END
      FROM mine, runtimes_runtime AS runtime
     WHERE done.id = mine.id
       AND runtime.game_id = done.game_id AND runtime.fence = mine.fence
       AND NOT EXISTS (
           SELECT 1 FROM operations_operation AS earlier
            WHERE earlier.game_id = done.game_id AND earlier.state IN ('accepted', 'running')
              AND earlier.id < done.id AND earlier.id NOT IN (SELECT id FROM mine))
       AND NOT EXISTS (
           SELECT 1 FROM operations_operation AS busy WHERE busy.game_id = done.game_id AND busy.state = 'running')
 RETURNING done.id, done.game_id, done.job_key, done.container_id, done.engine_endpoint
"""


class OpenOperation(NamedTuple):
    """An open operation, with the record of its game at the database time ``at``.

    ``maybe_no_op``: it waits, and by the record alone it has nothing to do.
    """

    id: int
    game_id: str
    op_kind: str
    maybe_no_op: bool
    container_id: str
    engine_endpoint: str
    fence: int
    at: datetime


def complete_waiting(game_ids: Sequence[str]) -> None:
    """Complete the leading no-ops of these games, until none is left or the time slice is over; then notify the workers
    of the next operations. Safe to call any number of times, in any process, for any games.
    """
    slice_ends = time.monotonic() + claims.TIME_SLICE_SECONDS
    try:
        while _complete_batch(game_ids):
            if shutting_down.is_set() or time.monotonic() >= slice_ends:
                notifier().complete_no_ops(game_ids)
                return
    except OBSERVATION_ERRORS as error:
        log.info("no_ops_not_completed", reason=error.message)
    # Queried after our commits: an operation accepted before them was not notified by intake, but is found here.
    notifier().send(claims.notify_next(game_ids))


def leading_no_ops(operations: Iterable[OpenOperation], *, alive: Collection[str] | None = None) -> list[OpenOperation]:
    """The no-ops that have only no-ops before them in their game. Pure.

    A start counts only if its container is among those ``alive``; without ``alive``, the records alone decide.
    """
    blocked: set[str] = set()
    no_ops: list[OpenOperation] = []
    for operation in operations:
        is_up = alive is None or operation.op_kind != OperationKind.START or operation.container_id in alive
        if operation.game_id in blocked or not (operation.maybe_no_op and is_up):
            blocked.add(operation.game_id)
        else:
            no_ops.append(operation)
    return no_ops


def _complete_batch(game_ids: Sequence[str]) -> int:
    """Complete one batch; returns how many operations were completed."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND_OPEN, {"game_ids": list(game_ids)})
        no_ops = leading_no_ops(OpenOperation(*row) for row in cursor.fetchall())
    timeline = Timeline([])
    starts = {operation.container_id: operation for operation in no_ops if operation.op_kind == OperationKind.START}
    if starts:
        with timeline.step("observe"):
            alive = _find_alive(starts)
        no_ops = leading_no_ops(no_ops, alive=alive)
    completed = _complete(no_ops, steps=timeline.steps) if no_ops else []
    if completed:
        log.info("no_ops_completed", operations=len(completed), operation_ids=completed)
    return len(completed)


def _find_alive(starts: Mapping[str, OpenOperation]) -> set[str]:
    """Which of these recorded containers run, belong to their games and have the names in their endpoints.

    One Docker call.
    """
    containers = connect().list_by_ids(list(starts))
    return {
        container.id
        for container in containers
        if container.is_owned_by(settings.RTMANAGER.stack)
        and container.game_id == starts[container.id].game_id
        and container.is_alive
        and not is_misnamed(starts[container.id].engine_endpoint, name=container.name)
    }


def _complete(no_ops: Sequence[OpenOperation], *, steps: Sequence[Mapping[str, Any]]) -> list[int]:
    values: dict[str, Any] = {
        "ids": [operation.id for operation in no_ops],
        "fences": [operation.fence for operation in no_ops],
        "claimed_by": claims.worker_name(),
        "started_at": min(operation.at for operation in no_ops),
        "steps": json.dumps(steps),
    }
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_COMPLETE, values)
            rows = sorted(cursor.fetchall())
        outbox.queue([_result(*row) for _operation_id, *row in rows])
        completed = [row[0] for row in rows]
        completion.notify_callbacks(completed)
    return completed


def _result(game_id: str, job_key: str, container_id: str, engine_endpoint: str) -> Message:
    fields = job_result_fields(
        game_id=game_id,
        outcome=Outcome.SUCCESS,
        container_id=container_id,
        engine_endpoint=engine_endpoint,
        error_code=ErrorCode.REPLAY_NO_OP.value,
    )
    return Message(Topic.JOB_RESULTS, completion.result_key(job_key), game_id, fields)
