"""Writes rows as the service writes them, in numbers that real games reach only after weeks."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2

OBSERVED = "observed-0"
# A start as it is in the log; rows differ in game, key and times.
_STEPS = """[
    {"name": "find", "error": "", "started_at": "2026-11-21T08:30:00.010000Z", "duration_ms": 2},
    {"name": "find_image", "error": "", "started_at": "2026-11-21T08:30:00.012000Z", "duration_ms": 2},
    {"name": "create", "error": "", "started_at": "2026-11-21T08:30:00.014000Z", "duration_ms": 31},
    {"name": "start", "error": "", "started_at": "2026-11-21T08:30:00.045000Z", "duration_ms": 180},
    {"name": "settle", "error": "", "started_at": "2026-11-21T08:30:00.225000Z", "duration_ms": 300}]"""
_OPERATION_COLUMNS = """
    op_kind, op_source, arguments, state, outcome, error_code, error_message, image_ref, container_id,
    engine_endpoint, steps, attempt, retries, waiting_for_image, claimed_by, started_at, finished_at"""
_OPERATION_VALUES = """
    'start', 'lobby_stream', '{"image_ref": "galaxy-engine:1.0.0"}'::jsonb, 'finished', 'success', '', '',
    'galaxy-engine:1.0.0', '', '', %(steps)s::jsonb, 1, 0, '', 'worker', now(), now()"""
_RUNTIME_COLUMNS = """
    game_id, status, current_container_id, current_image_ref, image_id, engine_endpoint, state_path, docker_network,
    fence, started_at, stopped_at, last_op_at, created_at"""

# Oldest first. The rows of each game are spread over the whole table; the observed game always has ten.
_MANY_OPERATIONS = f"""
    INSERT INTO operations_operation (game_id, source_ref, job_key, accepted_at, fence, {_OPERATION_COLUMNS})
    SELECT CASE WHEN n %% (%(count)s / 10) = 0 THEN %(observed)s ELSE format('game-%%s', n %% %(games)s) END, n,
           format('fill:%%s', n), now() - (%(count)s - n) * interval '1 second', nextval('operations_fence_seq'),
           {_OPERATION_VALUES}
      FROM generate_series(1, %(count)s) AS n"""  # noqa: S608 - fragments of this module; every value is a parameter
_MANY_RUNTIMES = f"""
    INSERT INTO runtimes_runtime ({_RUNTIME_COLUMNS})
    SELECT format('%%s-%%s', %(prefix)s, n), 'running', encode(sha256(n::text::bytea), 'hex'),
           'galaxy-engine:1.0.0', '', format('http://galaxy-game-%%s-%%s:%%s', %(prefix)s, n, %(port)s), '',
           %(network)s, 1, now(), NULL, now(), now()
      FROM generate_series(0, %(count)s - 1) AS n"""  # noqa: S608 - the same
_OPERATION = f"""
    INSERT INTO operations_operation (id, game_id, source_ref, job_key, fence, {_OPERATION_COLUMNS})
    VALUES (%(operation_id)s, %(game_id)s, '', %(game_id)s, nextval('operations_fence_seq'),
            {_OPERATION_VALUES})"""  # noqa: S608 - the same
_STOPPED = f"""
    INSERT INTO runtimes_runtime ({_RUNTIME_COLUMNS})
    VALUES (%(game_id)s, 'stopped', %(container_id)s, 'galaxy-engine:1.0.0', '', '', '', '', 1, now(), now(), now(),
            now())"""  # noqa: S608 - the same


def execute(address: str, statement: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Execute a statement, once for each of the values, in one transaction."""
    many = [values] if isinstance(values, Mapping) else values
    with closing(psycopg2.connect(address)) as connection, connection, connection.cursor() as cursor:
        cursor.executemany(statement, [{"steps": _STEPS, **one} for one in many])


def fill_log(address: str, *, operations: int, games: int) -> None:
    """Write finished starts, ten of them of the game ``OBSERVED``, the others of this number of running games.

    Then vacuum and analyze, as autovacuum would have done.
    """
    execute(address, _MANY_OPERATIONS, {"count": operations, "games": games, "observed": OBSERVED})
    fill_games(address, games)
    fill_games(address, 1, prefix=OBSERVED.partition("-")[0])
    with closing(psycopg2.connect(address)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) operations_operation, runtimes_runtime")


def fill_games(address: str, count: int, *, prefix: str = "game", port: int = 8080, network: str = "") -> None:
    """Write running games ``game-0`` and so on; the container's id is the SHA-256 of the number."""
    execute(address, _MANY_RUNTIMES, {"count": count, "prefix": prefix, "port": port, "network": network})


def reserve_operations(address: str, count: int) -> list[int]:
    """Return ids that no other operation will get."""
    with closing(psycopg2.connect(address)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('operations_operation', 'id')) FROM generate_series(1, %s)", [count]
        )
        return [int(row[0]) for row in cursor.fetchall()]


def add_stopped(address: str, games: Sequence[Mapping[str, Any]]) -> None:
    """Write games whose container exists and does not run, each with the operation that created it."""
    with closing(psycopg2.connect(address)) as connection, connection, connection.cursor() as cursor:
        cursor.executemany(_OPERATION, [{"steps": _STEPS, **one} for one in games])
        cursor.executemany(_STOPPED, games)
