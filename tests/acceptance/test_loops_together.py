"""All loops in one process: what is promised of the service does not depend on how its work is shared out."""

from collections.abc import Callable

import pytest

from tests.acceptance.conftest import MakeService
from tests.servers.processes import TOGETHER
from tests.servers.service import Service
from tests.servers.waiting import wait_for


@pytest.fixture
def start(make_service: MakeService) -> Callable[..., Service]:
    def started(**settings: str) -> Service:
        service = make_service(kinds=TOGETHER, **settings)
        service.start()
        return service

    return started


def test_three_processes_do_all_the_work_and_end_well(start: Callable[..., Service], engine_image: str) -> None:
    service = start()
    game_id = service.playground.game_id("together")

    service.start_job(game_id, engine_image)

    assert service.result(game_id).outcome == "success"
    assert service.record(game_id)["status"] == "running"
    wait_for(
        lambda: set(_components(service).values()) == {"ok"}, what="every component status to be ok", timeout_seconds=60
    )
    assert service.stop() == dict.fromkeys(TOGETHER, 0)


def test_killed_in_the_middle_of_a_start_the_loops_lose_nothing_and_repeat_nothing(
    start: Callable[..., Service], engine_image: str
) -> None:
    service = start(START_SETTLE="2s", GAME_LEASE_TTL_SECONDS="3")
    game_id = service.playground.game_id("interrupted")
    service.start_job(game_id, engine_image)
    wait_for(lambda: service.playground.containers(game_id), what="the container of a start under way")

    service.kill("loops")
    service.stop_job(game_id)
    service.restart("loops")

    assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
    log = [(one["op_kind"], one["outcome"]) for one in service.operations(game_id)]
    assert log == [("stop", "success"), ("start", "success")]


def test_beside_processes_for_each_loop_they_stand_by(make_service: MakeService, engine_image: str) -> None:
    service = make_service(kinds=("web", "bridge", "relay", "watcher", "scheduler", "loops", "worker"))
    game_id = service.playground.game_id("both")
    service.start()

    service.start_job(game_id, engine_image)
    service.results(game_id)
    service.kill("bridge", "relay", "watcher", "scheduler")
    service.stop_job(game_id)

    assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]


def _components(service: Service) -> dict[str, str]:
    components: dict[str, str] = service.client.get("/readyz").json()["components"]
    return components
