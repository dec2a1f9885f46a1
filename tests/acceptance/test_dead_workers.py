"""Whether a worker lives is seen by its lock, not by its lease: that is an hour long here, so no test waits for it."""

from collections.abc import Mapping

import pytest

from tests.acceptance.test_crashes import assert_started_once, start_and_wait_for_its_container
from tests.servers.service import Service
from tests.servers.waiting import wait_for


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"START_SETTLE": "2s", "GAME_LEASE_TTL_SECONDS": "3600"}


def test_another_worker_continues_for_a_killed_one(service: Service, game_id: str, engine_image: str) -> None:
    start_and_wait_for_its_container(service, game_id, engine_image)
    # Frozen, it holds its lock and its operation until it is killed.
    service.processes["worker"].freeze()
    successor = service.add_worker()

    service.kill("worker")

    assert_started_once(service, game_id)
    service.processes["bridge"].wait_for_log("leases_ended_early")
    attempts = service.rows("SELECT attempt FROM operations_operation WHERE game_id = %s ORDER BY id", game_id)
    assert attempts == [(2,), (1,)]
    service.restart("worker")
    successor.terminate()
    assert successor.wait(timeout_seconds=15) == 0


def test_the_only_worker_continues_when_it_is_up_again(service: Service, game_id: str, engine_image: str) -> None:
    start_and_wait_for_its_container(service, game_id, engine_image)

    service.kill("worker")
    service.restart("worker")

    assert_started_once(service, game_id)


def test_a_worker_whose_session_is_ended_takes_its_lock_again(service: Service) -> None:
    (before,) = sessions_with_a_lock(service)

    service.rows("SELECT pg_terminate_backend(%s, 5000)", before)

    wait_for(lambda: sessions_with_a_lock(service), what="the worker to hold its lock again")
    assert sessions_with_a_lock(service) != [before]
    assert service.processes["worker"].is_running


def sessions_with_a_lock(service: Service) -> list[int]:
    """The sessions of workers: only they hold a shared advisory lock."""
    found = service.rows(
        "SELECT lock.pid FROM pg_locks AS lock JOIN pg_database ON pg_database.oid = lock.database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND mode = 'ShareLock'"
    )
    return [int(pid) for (pid,) in found]
