"""A worker that is asked to stop in the middle of something long."""

from collections.abc import Callable

from tests.acceptance.conftest import MakeService
from tests.servers.service import Service
from tests.servers.waiting import wait_for

SLOW = {"CONTAINER_STOP_TIMEOUT_SECONDS": "60", "SHUTDOWN_TIMEOUT": "5s", "GAME_LEASE_TTL_SECONDS": "60"}


def is_stopping(service: Service, game_id: str) -> Callable[[], bool]:
    """Whether the worker is in the middle of a graceful stop."""
    query = (
        "SELECT 1 FROM operations_operation WHERE game_id = %s AND op_kind = 'stop' AND state = 'running'"
        ' AND steps @> \'[{"name": "stop"}]\''
    )
    return lambda: bool(service.rows(query, game_id))


def test_it_leaves_in_time_and_another_goes_on_at_once(make_service: MakeService, stubborn_image: str) -> None:
    service = make_service(**SLOW)
    service.start()
    game_id = service.playground.game_id("stubborn")
    service.start_job(game_id, stubborn_image)
    service.results(game_id)
    service.stop_job(game_id)
    wait_for(is_stopping(service, game_id), what="the worker to be in the middle of the stop")

    service.processes["worker"].terminate()

    assert service.processes["worker"].wait(timeout_seconds=10) == 0
    assert "leases_released" in service.processes["worker"].log
    (container,) = service.playground.containers(game_id)
    container.kill()
    service.restart("worker")
    # Sooner than the lease of a minute would have ended.
    assert [one.outcome for one in service.results(game_id, 2, timeout_seconds=30)] == ["success", "success"]
    assert service.record(game_id)["status"] == "stopped"
