"""Statements that the server plans once: found again on a new connection, under changed tables, in a failed start."""

from contextlib import closing

import pytest
from django.db import OperationalError, ProgrammingError, connection, transaction

from operations import intake, outbox
from operations.execution import completion
from operations.queue import claims, worker_lock
from operations.queue.database import Prepared

_SUM = Prepared("sum_of_two", "SELECT %(one)s::int + %(two)s::int + %(one)s::int")
_EVERY = [
    one
    for module in (claims, worker_lock, intake, outbox, completion)
    for one in vars(module).values()
    if isinstance(one, Prepared)
]
_ANY = {
    "operation_id": 1,
    "fence": 1,
    "ttl": 60,
    "steps": "[]",
    "container_id": "",
    "game_id": "g",
    "claimed_by": "w",
    "worker_lock": 1,
    "suspects": [],
    "settle": 5.0,
    "without": [],
    "limit": 10,
    "requests": "[]",
    "input": "{}",
}


def summed(one: int, two: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(*_SUM.bind({"two": two, "one": one}))
        return int(cursor.fetchone()[0])


def known() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name = %s", [_SUM.name])
        return int(cursor.fetchone()[0])


def test_values_go_by_their_names() -> None:
    assert summed(1, 40) == 42


def test_it_is_prepared_once_for_a_connection_and_again_for_the_next() -> None:
    assert (summed(1, 1), summed(2, 2), known()) == (3, 6, 1)

    connection.close()

    assert known() == 0
    assert (summed(1, 1), known()) == (3, 1)


def test_it_outlives_the_transaction_in_which_it_was_first_used() -> None:
    connection.close()

    with transaction.atomic():
        assert summed(1, 1) == 3
        transaction.set_rollback(True)

    assert (summed(1, 1), known()) == (3, 1)


def test_a_migration_meanwhile_does_it_no_harm() -> None:
    look = Prepared("look_at_changing", "SELECT number FROM changing WHERE number = %(number)s")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE changing AS SELECT 7 AS number")
        cursor.execute(*look.bind({"number": 7}))
        cursor.execute("ALTER TABLE changing ADD COLUMN more text NOT NULL DEFAULT ''")

        cursor.execute(*look.bind({"number": 7}))

        assert cursor.fetchall() == [(7,)]
        cursor.execute("DROP TABLE changing")


def test_what_cannot_be_prepared_says_so_in_the_errors_of_django() -> None:
    with pytest.raises(ProgrammingError, match="does not exist"):
        Prepared("look_nowhere", "SELECT 1 FROM nowhere").bind({})


def test_a_connection_that_was_cut_says_so_in_the_errors_of_django() -> None:
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    with closing(connection.copy()) as another, another.cursor() as other_cursor:
        other_cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

    with pytest.raises(OperationalError):
        _SUM.bind({"one": 1, "two": 1})

    connection.close()
    assert summed(1, 1) == 3


def test_a_plan_made_while_the_tables_were_empty_serves_when_they_are_full() -> None:
    """The server keeps it until the tables are analysed, and a new installation fills in seconds."""
    assert len(_EVERY) == 8
    connection.close()
    tables = ("operations_operation", "operations_outboxevent", "runtimes_runtime", "runtimes_healthsnapshot")
    with connection.cursor() as cursor:
        for table in tables:
            # In front of the real ones, and never analysed.
            cursor.execute(f"CREATE TEMPORARY TABLE {table} (LIKE {table} INCLUDING ALL)")
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        for statement in _EVERY:
            sql, values = statement.bind(_ANY)
            cursor.execute(f"EXPLAIN {sql}", values)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan, plan
    connection.close()
