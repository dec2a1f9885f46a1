"""Exactly one leads: proven with real connections, one per thread as in the processes."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection

from tasks.leadership import Leadership


class Process:
    """A would-be leader with a connection of its own, as another process would have."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1)
        self.leadership = Leadership(name)

    def hold(self) -> bool:
        return self._pool.submit(self.leadership.hold).result()

    def resign(self) -> None:
        self._pool.submit(self.leadership.resign).result()

    def backend_pid(self) -> int:
        def ask() -> int:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                return int(cursor.fetchone()[0])

        asked: Future[int] = self._pool.submit(ask)
        return asked.result()

    def idle_session_timeout(self) -> str:
        def ask() -> str:
            with connection.cursor() as cursor:
                cursor.execute("SHOW idle_session_timeout")
                return str(cursor.fetchone()[0])

        return self._pool.submit(ask).result()

    def end(self) -> None:
        self._pool.submit(lambda: connection.close()).result()  # noqa: PLW0108 - the thread's own connection
        self._pool.shutdown()


@pytest.fixture
def two() -> Iterator[tuple[Process, Process]]:
    pair = Process("test-leadership"), Process("test-leadership")
    yield pair
    for process in pair:
        process.end()


def cut(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_of_two_one_leads_and_keeps_leading(two: tuple[Process, Process]) -> None:
    first, second = two

    assert (first.hold(), second.hold()) == (True, False)
    assert (first.hold(), second.hold()) == (True, False)


def test_the_other_takes_over_when_the_leader_resigns(two: tuple[Process, Process]) -> None:
    first, second = two
    first.hold()

    first.resign()

    assert (second.hold(), first.hold()) == (True, False)


def test_a_leader_that_lost_its_connection_no_longer_leads(two: tuple[Process, Process]) -> None:
    first, second = two
    first.hold()

    cut(first.backend_pid())

    assert second.hold()
    with pytest.raises(OperationalError):
        first.hold()


def test_leaderships_of_different_names_do_not_meet() -> None:
    one, other = Process("test-one"), Process("test-other")

    assert (one.hold(), other.hold()) == (True, True)
    one.end()
    other.end()


def test_the_server_cuts_a_silent_leader_off(two: tuple[Process, Process]) -> None:
    first, _second = two

    first.hold()

    assert first.idle_session_timeout() == "15s"
