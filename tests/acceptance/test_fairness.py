"""A slow game, a slow image or a game with many jobs does not delay other games. Real pulls, a real worker.

No test measures time: a pull lasts until the test releases it, and the order of the results is checked.
"""

from collections.abc import Iterator

import docker
import pytest

from tests.acceptance.conftest import MakeService
from tests.servers.service import RESULTS, START_JOBS, STOP_JOBS, Service
from tests.servers.slow_registry import SlowRegistry, running_registry
from tests.servers.waiting import wait_for

_NOW_MS = "1800000000000"


@pytest.fixture
def registry(docker_host: str) -> Iterator[SlowRegistry]:
    if not docker_host.startswith("unix://"):
        pytest.skip("the daemon of the tests may not reach a registry on this machine's loopback")
    with running_registry() as running:
        yield running


@pytest.fixture
def busy_service(make_service: MakeService) -> Service:
    """One worker of four slots: two may pull at once."""
    service = make_service()
    service.start()
    return service


def ask_start(service: Service, name: str, image_ref: str) -> str:
    game_id = service.playground.game_id(name)
    service.start_job(game_id, image_ref)
    return game_id


def waiting(service: Service) -> dict[str, str]:
    """The games whose operations wait for a pull, and the reason that operators see."""
    return dict(
        service.rows("SELECT game_id, error_message FROM operations_operation WHERE state = %s AND attempt = 0 "
                     "AND waiting_for_image <> ''", "accepted")
    )  # fmt: skip


def reasons_of_all(service: Service, games: list[str]) -> list[str]:
    """Why each of these games waits; nothing while one of them does not."""
    reasons = waiting(service)
    return [reasons[game_id] for game_id in games] if set(games) <= set(reasons) else []


def order_of_results(service: Service) -> list[str]:
    return [entry["game_id"] for entry in service.entries(RESULTS)]


def test_three_slow_pulls_and_their_duplicates_hold_up_no_other_game(
    busy_service: Service, registry: SlowRegistry, docker_client: docker.DockerClient, engine_image: str
) -> None:
    images = [registry.publish(docker_client, name) for name in ("one", "two", "three")]
    slow = [ask_start(busy_service, "slow-0", images[0].reference)]
    # The order among games is undefined: otherwise another game could do the pull.
    wait_for(lambda: "one" in registry.layers_asked_for, what="the first pull to be under way")
    slow += [ask_start(busy_service, f"slow-{number}", images[number].reference) for number in (1, 2)]
    again = [ask_start(busy_service, f"again-{number}", images[0].reference) for number in range(4)]
    wait_for(lambda: len(registry.layers_asked_for) == 2, what="two pulls to be under way")
    wait_for(lambda: len(waiting(busy_service)) == 5, what="the other games to give their slots back")

    quick = [ask_start(busy_service, f"quick-{number}", engine_image) for number in range(6)]
    for game_id in quick:
        busy_service.stop_job(game_id)
        assert [one.error_code for one in busy_service.results(game_id, 2)] == ["", ""]

    assert set(order_of_results(busy_service)) == set(quick)
    # Every 15 s a waiting operation checks again, and does not wait for a moment.
    reasons = wait_for(lambda: reasons_of_all(busy_service, again), what="the duplicates to wait")
    assert all("is being pulled by operation" in reason for reason in reasons)
    for image in images:
        image.release_all.set()
    assert {busy_service.result(game_id).error_code for game_id in slow + again} == {""}
    assert registry.layers_asked_for == {"one": 1, "two": 1, "three": 1}
    assert busy_service.rows("SELECT max(attempt), max(retries) FROM operations_operation") == [(1, 0)]


def test_a_worker_killed_in_a_pull_leaves_it_to_another_and_no_game_waits_for_ever(
    busy_service: Service, registry: SlowRegistry, docker_client: docker.DockerClient
) -> None:
    image = registry.publish(docker_client, "killed")
    games = [ask_start(busy_service, f"game-{number}", image.reference) for number in range(2)]
    wait_for(lambda: len(waiting(busy_service)) == 1, what="one pull, and one who waits for it")

    busy_service.kill("worker")
    image.release_all.set()
    busy_service.restart("worker")

    assert {busy_service.result(game_id).error_code for game_id in games} == {""}


def test_three_hundred_jobs_of_one_game_do_not_hold_up_another(busy_service: Service, engine_image: str) -> None:
    crowd, other = (busy_service.playground.game_id(name) for name in ("crowd", "other"))
    jobs = busy_service.streams.pipeline()
    for _ in range(300):
        jobs.xadd(STOP_JOBS, {"game_id": crowd, "reason": "cancelled", "requested_at_ms": _NOW_MS})
    jobs.xadd(START_JOBS, {"game_id": other, "image_ref": engine_image, "requested_at_ms": _NOW_MS})
    jobs.execute()

    assert busy_service.result(other).error_code == ""

    assert len(busy_service.results(crowd, 300, timeout_seconds=120)) == 300
    order = order_of_results(busy_service)
    assert order.index(other) < 300
