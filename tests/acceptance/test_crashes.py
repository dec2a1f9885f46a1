"""kill -9 of each process while a start is under way: one result, one container, and the record agrees with Docker.

The engine's start is given two seconds to settle, and the kill comes when its container is seen: in between,
the operation is claimed, the container runs, and nothing is on record yet. Whether a second result could still
come is not waited for: a later job of the same game is answered after it, so its answer is the end of the list.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.servers.service import Service
from tests.servers.waiting import wait_for


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"START_SETTLE": "2s", "GAME_LEASE_TTL_SECONDS": "3"}


def start_and_wait_for_its_container(service: Service, game_id: str, image_ref: str) -> None:
    service.start_job(game_id, image_ref)
    wait_for(lambda: service.playground.containers(game_id), what="the container of a start under way")
    assert service.entries("runtime:job_results", game_id=game_id) == []


def assert_started_once(service: Service, game_id: str) -> None:
    """One result; one container, which runs; the record and the log say the same. Ends with a stop job."""
    started = service.result(game_id)
    record, (container,) = service.record(game_id), service.playground.containers(game_id)
    assert (started.outcome, started.error_code) == ("success", "")
    assert started.container_id == record["current_container_id"] == container.id
    assert (record["status"], container.status) == ("running", "running")
    service.stop_job(game_id)
    assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
    log = [(one["op_kind"], one["outcome"]) for one in service.operations(game_id)]
    assert log == [("stop", "success"), ("start", "success")]


@pytest.mark.parametrize("name", ["bridge", "relay", "worker", "scheduler"])
def test_a_process_killed_in_the_middle_of_a_start_changes_nothing(
    service: Service, game_id: str, engine_image: str, name: str
) -> None:
    start_and_wait_for_its_container(service, game_id, engine_image)

    service.kill(name)
    service.restart(name)

    assert_started_once(service, game_id)


def test_all_processes_killed_at_once_change_nothing(service: Service, game_id: str, engine_image: str) -> None:
    start_and_wait_for_its_container(service, game_id, engine_image)

    service.kill()
    service.start()

    assert_started_once(service, game_id)


def test_a_call_whose_web_process_is_killed_is_carried_out_all_the_same(
    service: Service, game_id: str, engine_image: str
) -> None:
    with ThreadPoolExecutor() as pool:
        call = pool.submit(service.post, game_id, "start", image_ref=engine_image)
        wait_for(lambda: service.playground.containers(game_id), what="the container of a start under way")

        service.kill("web")

        assert isinstance(call.exception(timeout=10), httpx.TransportError)
    service.restart("web")
    wait_for(lambda: [one["state"] for one in service.operations(game_id)] == ["finished"], what="the start to be done")
    again = service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    assert (again.status_code, again.json()["current_container_id"]) == (200, container.id)
    assert [one["error_code"] for one in service.operations(game_id)] == ["replay_no_op", ""]


def test_a_relay_killed_with_a_result_in_hand_publishes_it_once(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.processes["relay"].freeze()
    service.start_job(game_id, engine_image)
    wait_for(lambda: [one["state"] for one in service.operations(game_id)] == ["finished"], what="the start to be done")

    service.kill("relay")
    service.restart("relay")

    assert_started_once(service, game_id)


def test_a_bridge_killed_among_many_jobs_neither_loses_nor_doubles_one(service: Service) -> None:
    games = [service.playground.game_id(f"crowd-{number}") for number in range(60)]
    for number, game_id in enumerate(games):
        service.stop_job(game_id)
        if number % 20 == 10:
            service.kill("bridge")
            service.processes["bridge"].start()

    answers = {game_id: service.results(game_id) for game_id in games}

    assert {one.error_code for results in answers.values() for one in results} == {"not_found"}
    wait_for(lambda: not _unpublished(service), what="everything to be published")
    counts = {game_id: len(service.results(game_id)) for game_id in games}
    assert counts == dict.fromkeys(games, 1)
    assert service.rows("SELECT count(*) FROM operations_operation WHERE game_id = ANY(%s)", games) == [(60,)]


def _unpublished(service: Service) -> int:
    ((count,),) = service.rows("SELECT count(*) FROM operations_outboxevent WHERE published_at IS NULL")
    return int(count)


def test_a_worker_that_wakes_after_its_lease_leaves_the_game_to_its_successor(
    service: Service, game_id: str, engine_image: str
) -> None:
    start_and_wait_for_its_container(service, game_id, engine_image)
    service.processes["worker"].freeze()
    successor = service.add_worker()
    service.result(game_id)

    service.processes["worker"].thaw()
    service.processes["worker"].wait_for_log("operation_abandoned")

    assert_started_once(service, game_id)
    successor.terminate()
    assert successor.wait(timeout_seconds=15) == 0
    claims = service.rows("SELECT attempt FROM operations_operation WHERE game_id = %s ORDER BY id", game_id)
    assert claims == [(2,), (1,)]
