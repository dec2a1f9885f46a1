"""Exactly one process leads: tested with real connections, one per thread."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection
from structlog.testing import capture_logs

from operations.monitoring.heartbeats import LOOPS
from tasks.loops.leader_election import LeaderElection, application_name, holders


class Process:
    """A candidate with its own database connection, like another process."""

    def __init__(self, name: str, *, search_path: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1)
        self.leadership = LeaderElection(name, clock=clock)
        if search_path:
            self.execute(f"SET search_path TO {search_path}")

    def hold(self) -> bool:
        return self._pool.submit(self.leadership.hold).result()

    def release(self) -> None:
        pid = self.backend_pid()
        self._pool.submit(self.leadership.release).result()
        # Wait for the end of the session: until then it holds its locks.
        cut(pid)

    def backend_pid(self) -> int:
        def ask() -> int:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                return int(cursor.fetchone()[0])

        pid: Future[int] = self._pool.submit(ask)
        return pid.result()

    def idle_session_timeout(self) -> str:
        def ask() -> str:
            with connection.cursor() as cursor:
                cursor.execute("SHOW idle_session_timeout")
                return str(cursor.fetchone()[0])

        return self._pool.submit(ask).result()

    def execute(self, statement: str) -> None:
        self._pool.submit(_execute, statement).result()

    def end(self) -> None:
        pid = self._pool.submit(_close_connection).result()
        self._pool.shutdown()
        if pid:
            # Wait for the end of the session: until then it holds its locks.
            cut(pid)


@pytest.fixture
def two() -> Iterator[tuple[Process, Process]]:
    pair = Process("test-leadership"), Process("test-leadership")
    yield pair
    for process in pair:
        process.end()


@pytest.fixture
def second_schema() -> Iterator[str]:
    """A schema of the tests' database with the tables of a second installation, as far as leaders need them."""
    _execute("CREATE SCHEMA second")
    for table in ("operations_operation", "operations_heartbeat"):
        _execute(f"CREATE TABLE second.{table} (LIKE public.{table} INCLUDING ALL)")
    yield "second"
    _execute("DROP SCHEMA second CASCADE")


def cut(pid: int) -> None:
    _execute(f"SELECT pg_terminate_backend({pid}, 5000)")


def _close_connection() -> int | None:
    raw = connection.connection
    pid: int | None = raw.get_backend_pid() if raw is not None and not raw.closed else None
    connection.close()
    return pid


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_one_of_two_leads_and_keeps_leading(two: tuple[Process, Process]) -> None:
    first, second = two

    assert (first.hold(), second.hold()) == (True, False)
    assert (first.hold(), second.hold()) == (True, False)


def test_the_standby_takes_over_when_the_leader_releases(two: tuple[Process, Process]) -> None:
    first, second = two
    first.hold()

    first.release()

    assert (second.hold(), first.hold()) == (True, False)


def test_a_leader_that_lost_its_connection_no_longer_leads(two: tuple[Process, Process]) -> None:
    first, second = two
    first.hold()

    cut(first.backend_pid())

    assert second.hold()
    with pytest.raises(OperationalError):
        first.hold()


def test_leaderships_of_different_names_are_independent() -> None:
    one, other = Process("test-one"), Process("test-other")

    assert (one.hold(), other.hold()) == (True, True)
    one.end()
    other.end()


def test_the_server_cuts_a_silent_leader_off(two: tuple[Process, Process]) -> None:
    first, _second = two

    first.hold()

    assert first.idle_session_timeout() == "15s"


def test_two_installations_in_two_schemas_of_one_database_both_lead(second_schema: str) -> None:
    installations = [Process("bridge"), Process("bridge", search_path=second_schema)]

    assert [one.hold() for one in installations] == [True, True]
    assert [one.hold() for one in installations] == [True, True]
    for one in installations:
        one.end()


def test_within_the_second_schema_still_only_one_leads(second_schema: str) -> None:
    pair = [Process("bridge", search_path=second_schema) for _ in range(2)]

    assert [one.hold() for one in pair] == [True, False]
    for one in pair:
        one.end()


def test_the_schema_that_holds_the_tables_counts_not_the_first_one_of_the_search_path() -> None:
    _execute("CREATE SCHEMA empty")
    pair = Process("bridge"), Process("bridge", search_path="empty, public")

    assert [one.hold() for one in pair] == [True, False]
    for one in pair:
        one.end()
    _execute("DROP SCHEMA empty")


def test_the_holder_of_each_leadership_of_this_schema_is_known(second_schema: str) -> None:
    leader, elsewhere = Process("bridge"), Process("relay", search_path=second_schema)
    leader.hold()
    elsewhere.hold()

    found = holders(LOOPS)

    assert set(found) == {"bridge"}
    assert found["bridge"].pid == leader.backend_pid()
    assert found["bridge"].application == application_name("bridge")
    assert found["bridge"].connected_at is not None
    for one in (leader, elsewhere):
        one.end()


def test_an_application_name_from_the_settings_is_kept() -> None:
    named = Process("bridge")
    named.execute("SET application_name TO 'game-services'")

    named.hold()

    assert holders(["bridge"])["bridge"].application == "game-services"
    named.end()


def test_a_standby_logs_the_holder_after_a_minute_and_then_once_an_hour() -> None:
    now = [1000.0]
    leader, standby = Process("bridge"), Process("bridge", clock=lambda: now[0])
    leader.hold()
    reports = []

    for seconds in (0, 30, 31, 1, 1800, 1801, 1):
        now[0] += seconds
        with capture_logs() as logs:
            standby.hold()
        reports.append([one["waited_seconds"] for one in logs if one["event"] == "leadership_awaited"])

    assert reports == [[], [], [61], [], [], [3663], []]
    for one in (leader, standby):
        one.end()


def test_the_log_of_a_standby_names_process_session_and_address_of_the_holder() -> None:
    now = [0.0]
    leader, standby = Process("bridge"), Process("bridge", clock=lambda: now[0])
    leader.hold()
    standby.hold()
    now[0] = 60.0

    with capture_logs() as logs:
        standby.hold()

    (report,) = logs
    assert report["holder_pid"] == leader.backend_pid()
    assert report["holder_application"] == application_name("bridge")
    assert report["holder_address"]
    assert report["holder_connected_at"].endswith("+00:00")
    for one in (leader, standby):
        one.end()


def test_a_wait_that_has_ended_does_not_count_for_the_next() -> None:
    now = [0.0]
    first, second = Process("bridge"), Process("bridge", clock=lambda: now[0])
    first.hold()
    second.hold()
    first.release()
    second.hold()
    second.release()
    first.hold()
    now[0] = 1000.0

    with capture_logs() as logs:
        second.hold()

    assert [one["event"] for one in logs] == []
    for one in (first, second):
        one.end()


@pytest.mark.parametrize("host", ["h", "worker-1", "a-host-with-a-name-that-is-longer-than-postgresql-allows.example"])
def test_an_application_name_is_short_enough_and_ends_with_the_process_id(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)

    name = application_name("bridge")

    assert len(name) <= 63
    assert name.startswith("rtmanager-bridge@")
    assert name.endswith(f":{os.getpid()}")
