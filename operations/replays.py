"""Answering what changes nothing, at once and many together.

A job whose outcome is there already - a start of a game that runs on that very image, a stop of a game that does not
run - is a replay: nothing outside is touched for it, so it needs no claim. One statement closes such jobs where they
wait, provided that nobody has worked on their games since these were looked at. What is not so stays as it is, for a
worker to claim; and whatever dies in here leaves it so, for the sweep to hint.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction

from operations import claims, finishing, outbox
from operations.dispatch import hints
from operations.intake import OperationRequest, check
from operations.runner import TURN_SECONDS, is_draining, worker_name
from operations.states import OpKind
from operations.timeline import Timeline
from runtimes.containers import connect
from runtimes.containers.base import Container, ContainersUnavailableError
from runtimes.models import Runtime
from runtimes.specs import container_name

log = structlog.get_logger(__name__)

# So many are closed by one statement; the rest follows in the next round.
_BATCH = 500
# A caller of the API is answered from here only if Docker is quick; else his call takes the usual way.
_QUICK_SECONDS = 1.0

_WAITING = f"""
    SELECT mine.id, mine.game_id, mine.op_kind, mine.state = 'accepted' AND {claims.LOOKS_DONE} AS looks_done,
           coalesce(runtime.current_container_id, '') AS container_id, coalesce(runtime.fence, 0) AS fence,
           clock_timestamp() AS at
      FROM operations_operation AS mine LEFT JOIN runtimes_runtime AS runtime USING (game_id)
     WHERE mine.game_id = ANY(%(game_ids)s) AND mine.state IN ('accepted', 'running')
     ORDER BY mine.id LIMIT {_BATCH}
"""  # noqa: S608 - fragments of our own; every value is a parameter

# Locked in one order and never waited for, so that two who answer the same games cannot block each other. What another
# has locked is not ours, and holds up what comes after it in its game.
_CLOSE = """
    WITH looked AS (SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::bigint[]) AS looked (id, fence)),
         mine AS (
        SELECT waiting.id, looked.fence
          FROM operations_operation AS waiting JOIN looked USING (id)
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

# The record is read by the statement that relies on it, and nothing of the game may be open then.
_ANSWER_CALL = """
    WITH record AS (
        SELECT * FROM runtimes_runtime AS runtime
         WHERE game_id = %(game_id)s AND {is_done}
           AND NOT EXISTS (
               SELECT 1 FROM operations_operation AS open
                WHERE open.game_id = runtime.game_id AND open.state IN ('accepted', 'running'))),
         done AS (
        INSERT INTO operations_operation (
               game_id, op_kind, op_source, source_ref, job_key, arguments, state, outcome, error_code, error_message,
               attempt, deferrals, awaits_image, fence, claimed_by, started_at, finished_at, steps,
               container_id, image_ref, engine_endpoint)
        SELECT game_id, %(op_kind)s, %(op_source)s, %(source_ref)s, %(job_key)s, %(arguments)s,
               'finished', 'success', 'replay_no_op', '', 1, 0, '', nextval('operations_fence_seq'), %(claimed_by)s,
               now(), now(), %(steps)s, coalesce(current_container_id, ''), coalesce(current_image_ref, ''),
               CASE WHEN current_container_id IS NULL THEN '' ELSE engine_endpoint END
          FROM record
            ON CONFLICT (job_key) DO NOTHING
     RETURNING id)
    SELECT done.id AS operation_id, record.* FROM record, done
"""
_RUNS = "status = 'running' AND current_container_id = %(seen)s AND current_image_ref = %(image_ref)s"
_RUNS_NOT = "status <> 'running'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open operation, and the record of its game as it stood ``at`` that time of the database.

    ``looks_done``: by the record alone, it waits to be told that there is nothing to do.
    """

    id: int
    game_id: str
    op_kind: str
    looks_done: bool
    container_id: str
    fence: int
    at: datetime


def answer(game_ids: Sequence[str]) -> None:
    """Close what waits in front for these games and is a replay, until nothing of that kind is left in front or the
    turn is over; hint what then is. Safe to call any number of times, anywhere, for any games.
    """
    turn_ends = time.monotonic() + TURN_SECONDS
    try:
        while _answer_some(game_ids):
            if is_draining() or time.monotonic() >= turn_ends:
                hints().answer(game_ids)
                return
    except ContainersUnavailableError as error:
        log.info("replays_not_answered", reason=error.message)
    # Looked for after our commits: what was accepted until then was not hinted (intake), but is seen.
    hints().send(claims.pass_on(game_ids))


def answer_call(request: OperationRequest) -> Runtime | None:
    """Put a call on record as done, if it is a replay and its game at rest; returns the game's record.

    Else, and when its job key is known already, nothing happens: it is to be accepted.
    """
    check(request)
    is_start = request.op_kind == OpKind.START
    if not (is_start or request.op_kind == OpKind.STOP) or request.arguments.get("no_start", False):
        return None
    timeline = Timeline([])
    seen = _look(request.game_id, timeline) if is_start else ""
    if seen is None:
        return None
    values = {**_row(request, steps=timeline.steps), "seen": seen}
    with connection.cursor() as cursor:
        cursor.execute(_ANSWER_CALL.format(is_done=_RUNS if is_start else _RUNS_NOT), values)
        row = cursor.fetchone()
        names = [column.name for column in cursor.description]
    if row is None:
        return None
    finishing.tell_observers([row[0]])
    return Runtime.from_db(connection.alias, names[1:], row[1:])


def in_front(waiting: Iterable[Waiting], *, alive: Collection[str] | None = None) -> list[Waiting]:
    """Those that are replays with nothing but replays before them in their game. Pure.

    A start is one only if its container is among those ``alive``; without them, the records alone are asked.
    """
    blocked: set[str] = set()
    found: list[Waiting] = []
    for one in waiting:
        is_up = alive is None or one.op_kind != OpKind.START or one.container_id in alive
        if one.game_id in blocked or not (one.looks_done and is_up):
            blocked.add(one.game_id)
        else:
            found.append(one)
    return found


def _answer_some(game_ids: Sequence[str]) -> int:
    """Close one batch; returns how many were closed."""
    replays = in_front(_waiting(game_ids))
    if not replays:
        return 0
    timeline = Timeline([])
    starts = {one.container_id: one.game_id for one in replays if one.op_kind == OpKind.START}
    if starts:
        with timeline.step("observe"):
            alive = _alive(starts)
        replays = in_front(replays, alive=alive)
    closed = _close(replays, steps=timeline.steps) if replays else []
    if closed:
        log.info("replays_answered", operations=len(closed), operation_ids=closed)
    return len(closed)


def _waiting(game_ids: Sequence[str]) -> list[Waiting]:
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"game_ids": list(game_ids)})
        names = [column.name for column in cursor.description]
        return [Waiting(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def _alive(games: Mapping[str, str]) -> set[str]:
    """Which of these containers (id to game) live and are ours, by one look at all of them."""
    found = connect().find_all(list(games))
    return {one.id for one in found if _is_alive(one, games[one.id])}


def _is_alive(container: Container, game_id: str) -> bool:
    is_ours = container.is_owned_by(settings.RTMANAGER.stack) and container.game_id == game_id
    return is_ours and container.is_alive


def _close(replays: Sequence[Waiting], *, steps: Sequence[Mapping[str, Any]]) -> list[int]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                _CLOSE,
                {
                    "ids": [one.id for one in replays],
                    "fences": [one.fence for one in replays],
                    "claimed_by": worker_name(),
                    "started_at": min(one.at for one in replays),
                    "steps": json.dumps(steps),
                },
            )
            rows = sorted(cursor.fetchall())
        outbox.queue([_result(*row[1:]) for row in rows])
        closed = [row[0] for row in rows]
        finishing.tell_observers(closed)
    return closed


def _result(game_id: str, job_key: str, *place: str) -> outbox.Message:
    container_id, engine_endpoint = place
    return finishing.replay_result(
        game_id=game_id, job_key=job_key, container_id=container_id, engine_endpoint=engine_endpoint
    )


def _look(game_id: str, timeline: Timeline) -> str | None:
    """The container that lives under the game's name, if it is ours; None also when Docker does not say so at once."""
    containers = connect()
    try:
        with timeline.step("observe"), containers.within(_QUICK_SECONDS):
            seen = containers.find(container_name(game_id))
    except ContainersUnavailableError:
        return None
    return seen.id if seen is not None and _is_alive(seen, game_id) else None


def _row(request: OperationRequest, *, steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        "game_id": request.game_id,
        "op_kind": request.op_kind.value,
        "op_source": request.op_source.value,
        "source_ref": request.source_ref,
        "job_key": request.job_key,
        "image_ref": request.arguments.get("image_ref", ""),
        "arguments": json.dumps(dict(request.arguments)),
        "claimed_by": worker_name(),
        "steps": json.dumps(steps),
    }
