"""Servers that come late or go away: the processes wait, say so once, and lose nothing."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeService
from tests.servers import databases
from tests.servers.databases import PostgresServer, RedisServer
from tests.servers.docker_gate import DockerGate, opened_gate
from tests.servers.server_images import ServerImages
from tests.servers.service import RESULTS, START_JOBS, Servers, Service, migrate
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
    return _in_hand(own_postgres, own_redis)


@pytest.fixture
def forgetful_servers(own_postgres: PostgresServer, server_images: ServerImages) -> Iterator[Servers]:
    """The same with a Redis that keeps nothing on disk."""
    launched = databases.launch_redis(server_images.redis, durable=False)
    yield _in_hand(own_postgres, databases.ready_redis(launched))
    launched[0].stop()


def _in_hand(postgres: PostgresServer, redis: RedisServer) -> Servers:
    database = postgres.create_database()
    migrate(postgres.url(database))
    return Servers(postgres, redis, database, redis.next_database())


def times_said(service: Service, name: str, event: str) -> int:
    """How often the main loop of a process has said it in its current run."""
    lines = service.processes[name].log.splitlines()
    return sum(f'"{event}"' in line and f'"loop": "{LOOPS[name]}"' in line for line in lines)


def wait_for_loops(service: Service, event: str) -> None:
    for name in LOOPS:
        wait_for(lambda name=name: times_said(service, name, event), what=f"{event} in the log of {name}")  # type: ignore[misc]


def assert_the_outage_was_reported_once(service: Service) -> None:
    assert {name: times_said(service, name, "loop_interrupted") for name in LOOPS} == dict.fromkeys(LOOPS, 1)
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
    rows = service.rows("SELECT retries FROM operations_operation WHERE game_id = %s", game_id)
    return max((retries for (retries,) in rows), default=0)


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
    wait_for_loops(service, "loop_interrupted")
    own_servers.redis.revive()
    service.stop_job(game_id)
    # The web process asks Docker through Redis: what it does not observe is not reported as failed.
    not_observed = {name for name, reason in missing.items() if reason.startswith("not observed: ")}
    assert set(missing) - not_observed == {"redis"}
    assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
    wait_for_loops(service, "loop_recovered")
    assert_the_outage_was_reported_once(service)
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
    wait_for_loops(service, "loop_interrupted")
    own_servers.postgres.revive()
    assert set(missing) == {"database"}
    for game_id in (under_way, meanwhile):
        service.result(game_id)
        service.stop_job(game_id)
        assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
        assert len(service.playground.containers(game_id)) == 1
    wait_for_loops(service, "loop_recovered")
    assert_the_outage_was_reported_once(service)


def test_a_restart_of_postgresql_takes_no_operation_from_a_worker_that_lives(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers, START_SETTLE="8s", GAME_LEASE_TTL_SECONDS="3600")
    game_id = service.playground.game_id("restart")
    service.start()
    service.start_job(game_id, engine_image)
    wait_for(lambda: service.playground.containers(game_id), what="the start to be under way")

    own_servers.postgres.kill()
    own_servers.postgres.revive()

    assert service.result(game_id).error_code == ""
    # The worker may have to repeat its last write; that is a retry, and no lost attempt.
    assert service.rows("SELECT attempt - retries FROM operations_operation") == [(1,)]
    assert "leases_ended_early" not in service.processes["bridge"].log


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
    wait_for_loops(service, "loop_interrupted")
    # By then the worker has tried both servers, and must still run.
    service.processes["worker"].wait_for_log("Cannot connect")

    own_servers.redis.revive()
    own_servers.postgres.revive()

    assert service.result(game_id).outcome == "success"
    assert service.wait_until_ready() == {}
    for process in service.processes.values():
        process.wait_until_up()
    assert [name for name, process in service.processes.items() if not process.is_running] == []


@pytest.fixture
def docker_gate(docker_host: str, tmp_path: Path) -> Iterator[DockerGate]:
    """A way to Docker that can be cut."""
    if not docker_host.startswith("unix://"):
        pytest.skip("the gate stands before a socket")
    with opened_gate(tmp_path / "gate.sock", Path(docker_host.removeprefix("unix://"))) as gate:
        yield gate


def warnings_of(service: Service, name: str) -> list[str]:
    """The events that a process has warned of in its current run."""
    lines = [json.loads(line) for line in service.processes[name].log.splitlines() if line.startswith("{")]
    # Warnings of Python at the start, such as Celery's root warning, do not concern the outage.
    own = [line for line in lines if line["logger"] != "py.warnings"]
    return [line["event"] for line in own if line["level"] in {"warning", "error"}]


def test_while_docker_is_away_nothing_changes_one_warning_is_given_and_jobs_wait(
    make_service: MakeService, docker_gate: DockerGate, engine_image: str
) -> None:
    service = make_service(DOCKER_HOST=docker_gate.host, RECONCILE_INTERVAL="1s", INSPECT_INTERVAL="1s")
    running, *new = (service.playground.game_id(name) for name in ("running", "a", "b", "c"))
    service.start()
    service.start_job(running, engine_image)
    service.result(running)
    before = service.rows("SELECT * FROM runtimes_runtime")

    docker_gate.shut()

    service.stop_job(running)
    for game_id in new:
        service.start_job(game_id, engine_image)
    wait_for(lambda: min(_deferrals(service, one) for one in (running, *new)) >= 3, what="three vain tries of each")
    service.processes["watcher"].wait_for_log("loop_interrupted")
    missing = service.wait_until_ready(503)
    assert "docker" in missing
    assert service.rows("SELECT * FROM runtimes_runtime") == before
    assert len(service.entries(RESULTS)) == 1
    docker_gate.open()
    assert [one.error_code for one in service.results(running, 2)] == ["", ""]
    assert {service.result(game_id).error_code for game_id in new} == {""}
    service.processes["worker"].wait_for_log("docker_reached_again")
    # One from each process that deals with Docker, however many games waited and however often it was asked.
    said = {name: warnings_of(service, name) for name in service.processes}
    assert {name: events for name, events in said.items() if events} == {
        "worker": ["docker_not_reached"],
        "watcher": ["loop_interrupted"],
    }
    assert service.rows("SELECT max(attempt - retries) FROM operations_operation") == [(1,)]


def test_a_call_in_hand_when_redis_goes_away_is_answered_and_reading_goes_on(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers, START_SETTLE="2s")
    called, job = (service.playground.game_id(name) for name in ("called", "job"))
    service.start()
    service.start_job(job, engine_image)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(service.post, called, "start", image_ref=engine_image)
        wait_for(lambda: service.playground.containers(called), what="the start to be under way")

        own_servers.redis.kill()

        assert call.result(timeout=30).status_code == 200
    assert service.record(called)["status"] == "running"
    assert [one["state"] for one in service.operations(called)] == ["finished"]
    assert service.post(called, "stop", reason="cancelled").json()["error"]["code"] == "service_unavailable"
    wait_for(lambda: _is_finished(service, job), what="the job to be done without Redis")
    own_servers.redis.revive()
    service.stop_job(job)
    assert [one.error_code for one in service.results(job, 2)] == ["", ""]
    assert [one.container_id != "" for one in service.results(job, 2)] == [True, True]


def test_nothing_is_acknowledged_while_postgresql_is_away(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers)
    job, called = (service.playground.game_id(name) for name in ("job", "called"))
    service.start()
    own_servers.postgres.kill()
    service.wait_until_ready(503)

    entry_id = service.start_job(job, engine_image)
    answer = service.post(called, "start", image_ref=engine_image)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    (group,) = service.streams.xinfo_groups(START_JOBS)
    # Not read yet, or read and not acknowledged: Redis still has it for us either way.
    assert group["last-delivered-id"] != entry_id or group["pending"] == 1
    own_servers.postgres.revive()
    assert service.result(job).error_code == ""
    assert not service.has_record(called)


@pytest.mark.parametrize("loss", ["flushed", "restarted without a file"])
def test_a_redis_that_loses_all_its_data_under_the_running_service_is_filled_again(
    make_service: MakeService, forgetful_servers: Servers, engine_image: str, loss: str
) -> None:
    service = make_service(forgetful_servers)
    published, unpublished, new = (service.playground.game_id(name) for name in ("published", "unpublished", "new"))
    service.start()
    service.start_job(published, engine_image)
    service.result(published)
    service.processes["relay"].freeze()
    service.start_job(unpublished, engine_image)
    wait_for(lambda: _is_finished(service, unpublished), what="a result that is not published yet")

    if loss == "flushed":
        service.streams.flushall()
    else:
        forgetful_servers.redis.kill()
        forgetful_servers.redis.revive()

    service.processes["relay"].thaw()
    service.start_job(new, engine_image)
    assert service.result(new).error_code == ""
    assert service.result(unpublished).error_code == ""
    service.processes["bridge"].wait_for_log("consumer_group_recreated")
    if loss == "flushed":
        # Without a broken connection only the operator knows before the hourly check.
        service.run_command("republish", "--since", "1h")
    assert service.result(published).error_code == ""
    assert [len(service.results(game_id)) for game_id in (published, unpublished, new)] == [1, 1, 1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for the marker file and one directory."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    _mount("-t", "tmpfs", "-o", "size=64k,nr_inodes=4", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_state_root_that_takes_nothing_fails_the_start_clearly_and_the_next_one_goes_well(
    make_service: MakeService, engine_image: str, small_disk: Path, trouble: str
) -> None:
    service = make_service(GAME_STATE_ROOT=str(small_disk))
    first, unlucky, next_one = (service.playground.game_id(name) for name in ("first", "unlucky", "next"))
    service.start()
    service.start_job(first, engine_image)
    assert service.result(first).error_code == ""
    if trouble == "full":
        (small_disk / "last-inode").touch()
    else:
        _mount("-o", "remount,ro", str(small_disk))

    service.start_job(unlucky, engine_image)

    failed = service.result(unlucky)
    assert (failed.outcome, failed.error_code) == ("failure", "start_config_invalid")
    reason = "No space left on device" if trouble == "full" else "Read-only file system"
    assert reason in failed.error_message
    assert not service.has_record(unlucky)
    assert service.playground.containers(unlucky) == []
    assert [one.status for one in service.playground.containers(first)] == ["running"]
    _mount("-o", "remount,rw,nr_inodes=100", str(small_disk))
    service.start_job(next_one, engine_image)
    assert service.result(next_one).error_code == ""
