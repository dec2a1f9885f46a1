"""Servers that come late or go away: the processes wait, say so once, and lose nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeService
from tests.servers import databases
from tests.servers.databases import PostgresServer, RedisServer
from tests.servers.server_images import ServerImages
from tests.servers.service import Servers, Service, migrate
from tests.servers.waiting import wait_for

LOOPS = {"bridge": "bridge", "relay": "relay"}


@pytest.fixture
def own_postgres(server_images: ServerImages) -> Iterator[PostgresServer]:
    launched = databases.launch_postgres(server_images.postgres, durable=True)
    yield databases.ready_postgres(launched)
    launched[0].stop()


@pytest.fixture
def own_redis(server_images: ServerImages) -> Iterator[RedisServer]:
    launched = databases.launch_redis(server_images.redis)
    yield databases.ready_redis(launched)
    launched[0].stop()


@pytest.fixture
def own_servers(own_postgres: PostgresServer, own_redis: RedisServer) -> Servers:
    """A pair of servers that one test may kill."""
    database = own_postgres.create_database()
    migrate(own_postgres.url(database))
    return Servers(own_postgres, own_redis, database, own_redis.next_database())


def times_said(service: Service, name: str, event: str) -> int:
    """How often the main loop of a process has said it in its current run."""
    lines = service.processes[name].log.splitlines()
    return sum(f'"{event}"' in line and f'"loop": "{LOOPS[name]}"' in line for line in lines)


def wait_for_loops(service: Service, event: str) -> None:
    for name in LOOPS:
        wait_for(lambda name=name: times_said(service, name, event), what=f"{event} in the log of {name}")  # type: ignore[misc]


def assert_the_outage_was_told_once(service: Service) -> None:
    assert {name: times_said(service, name, "loop_waits") for name in LOOPS} == dict.fromkeys(LOOPS, 1)
    assert {name: times_said(service, name, "loop_recovered") for name in LOOPS} == dict.fromkeys(LOOPS, 1)


def test_jobs_wait_for_a_docker_that_is_not_there_yet(
    make_service: MakeService, docker_host: str, engine_image: str, tmp_path: Path
) -> None:
    if not docker_host.startswith("unix://"):
        pytest.skip("the daemon of the tests has no socket that could appear late")
    socket = tmp_path / "d.sock"
    service = make_service(DOCKER_HOST=f"unix://{socket}")
    game_id = service.playground.game_id("patient")
    missing = service.start(ready=503)
    service.start_job(game_id, engine_image)
    wait_for(lambda: _deferrals(service, game_id) >= 2, what="two vain attempts")
    early = service.entries("runtime:job_results")

    socket.symlink_to(docker_host.removeprefix("unix://"))

    result = service.result(game_id)
    service.stop_job(game_id)
    assert set(missing) == {"docker", "network"}
    assert early == []
    assert (result.outcome, result.error_code) == ("success", "")
    assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
    assert service.wait_until_ready() == {}


def _deferrals(service: Service, game_id: str) -> int:
    rows = service.rows("SELECT deferrals FROM operations_operation WHERE game_id = %s", game_id)
    return max((deferrals for (deferrals,) in rows), default=0)


def test_a_call_over_rest_hears_at_once_that_docker_is_away(make_service: MakeService, tmp_path: Path) -> None:
    service = make_service(DOCKER_HOST=f"unix://{tmp_path}/d.sock")
    game_id = service.playground.game_id("impatient")
    service.start(ready=503)

    answer = service.post(game_id, "start", image_ref="engine:1.0.0")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "docker_unavailable")
    assert not service.has_record(game_id)


def test_a_redis_that_goes_away_and_comes_back_loses_no_result(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers, START_SETTLE="2s")
    game_id = service.playground.game_id("redis")
    service.start()
    service.start_job(game_id, engine_image)
    wait_for(lambda: service.playground.containers(game_id), what="the start to be under way")

    own_servers.redis.kill()

    missing = service.wait_until_ready(503)
    wait_for(lambda: _is_finished(service, game_id), what="the start to be done without Redis")
    wait_for_loops(service, "loop_waits")
    own_servers.redis.revive()
    service.stop_job(game_id)
    assert set(missing) == {"redis"}
    assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
    wait_for_loops(service, "loop_recovered")
    assert_the_outage_was_told_once(service)
    assert service.wait_until_ready() == {}


def _is_finished(service: Service, game_id: str) -> bool:
    rows = service.rows("SELECT state FROM operations_operation WHERE game_id = %s", game_id)
    return rows == [("finished",)]


def test_a_postgresql_that_goes_away_and_comes_back_loses_no_job(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers, START_SETTLE="2s", GAME_LEASE_TTL_SECONDS="3")
    under_way, meanwhile = (service.playground.game_id(name) for name in ("under-way", "meanwhile"))
    service.start()
    service.start_job(under_way, engine_image)
    wait_for(lambda: service.playground.containers(under_way), what="the start to be under way")

    own_servers.postgres.kill()

    service.start_job(meanwhile, engine_image)
    missing = service.wait_until_ready(503)
    wait_for_loops(service, "loop_waits")
    own_servers.postgres.revive()
    assert set(missing) == {"database"}
    for game_id in (under_way, meanwhile):
        service.result(game_id)
        service.stop_job(game_id)
        assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
        assert len(service.playground.containers(game_id)) == 1
    wait_for_loops(service, "loop_recovered")
    assert_the_outage_was_told_once(service)


def test_a_service_whose_servers_come_late_waits_for_them(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers)
    game_id = service.playground.game_id("late")
    service.start_job(game_id, engine_image)
    own_servers.postgres.kill()
    own_servers.redis.kill()
    for process in service.processes.values():
        process.start()
    wait_for_loops(service, "loop_waits")
    # Celery's processes have looked for both servers by then, and must still be there.
    service.processes["beat"].wait_until_up()
    service.processes["worker"].wait_for_log("Cannot connect")

    own_servers.redis.revive()
    own_servers.postgres.revive()

    assert service.result(game_id).outcome == "success"
    assert service.wait_until_ready() == {}
    for process in service.processes.values():
        process.wait_until_up()
    assert [name for name, process in service.processes.items() if not process.is_running] == []
