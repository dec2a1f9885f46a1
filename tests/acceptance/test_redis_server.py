"""Redis as operators have it: users with few rights, a full server, and a failover to a replica."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.workspace import CLONE
from tests.acceptance.conftest import MakeService
from tests.servers import databases
from tests.servers.databases import PostgresServer, RedisServer
from tests.servers.server_images import ServerImages
from tests.servers.service import HEALTH_EVENTS, RESULTS, START_JOBS, STOP_JOBS, Servers, Service
from tests.servers.waiting import wait_for
from tests.servers.wire import Wire


@pytest.fixture
def own_redis(server_images: ServerImages) -> Iterator[RedisServer]:
    """A Redis of one test, which may configure it."""
    launched = databases.launch_redis(server_images.redis)
    yield databases.ready_redis(launched)
    launched[0].stop()


@pytest.fixture
def replica(server_images: ServerImages, own_redis: RedisServer) -> Iterator[RedisServer]:
    launched = databases.launch_redis(server_images.redis)
    server = databases.ready_redis(launched)
    follow(server, own_redis)
    yield server
    launched[0].stop()


@pytest.fixture
def own_servers(postgres_server: PostgresServer, own_redis: RedisServer, migrated_template: str) -> Servers:
    """The streams are in database 0, as in the examples of the documentation."""
    return Servers(postgres_server, own_redis, postgres_server.create_database(template=migrated_template), 0)


def follow(server: RedisServer, primary: RedisServer) -> None:
    """Make the server a replica of the other one, over their own network; wait until it has its data."""
    primary.container.reload()
    (network,) = primary.container.attrs["NetworkSettings"]["Networks"].values()
    admin: Any = server.client(0)
    admin.replicaof(network["IPAddress"], 6379)
    wait_for(lambda: admin.info("replication")["master_link_status"] == "up", what="the replica to have the data")


def as_user(server: RedisServer, name: str) -> Any:
    client = server.client(0)
    client.connection_pool.connection_kwargs.update(username=name, password=f"{name}-password")
    return client


def documented_rules() -> list[list[str]]:
    """The words of each ACL rule of docs/production.md, with a password per user."""
    lines = (CLONE / "docs" / "production.md").read_text(encoding="utf-8").splitlines()
    rules = [line.split()[2:] for line in lines if line.startswith("ACL SETUSER ")]
    return [[word.replace("PASSWORD", f"{rule[0]}-password") for word in rule] for rule in rules]


def is_running(service: Service) -> bool:
    return all(process.is_running for process in service.processes.values())


def test_a_whole_game_runs_with_the_documented_users(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    server = own_servers.redis
    admin: Any = server.client(0)
    for rule in documented_rules():
        admin.execute_command("ACL", "SETUSER", *rule)
    lobby, gm = as_user(server, "lobby"), as_user(server, "gm")
    address = server.address
    service = make_service(own_servers, REDIS_URL=f"redis://rtm:rtm-password@{address.host}:{address.port}/0")
    game_id = service.playground.game_id("rights")
    missing = service.start()

    lobby.xadd(START_JOBS, {"game_id": game_id, "image_ref": engine_image, "requested_at_ms": "1"})
    wait_for(lambda: lobby.xread({RESULTS: "0"}), what="the result of the start")
    restarted = service.post(game_id, "restart")
    metrics = service.client.get("/metrics")
    lobby.xadd(STOP_JOBS, {"game_id": game_id, "reason": "cancelled", "requested_at_ms": "1"})
    results = wait_for(
        lambda: (found := lobby.xread({RESULTS: "0"})[0][1]) and len(found) == 2 and found,
        what="the result of the stop",
    )

    assert missing == {}
    assert [fields["outcome"] for _id, fields in results or []] == ["success", "success"]
    assert (restarted.status_code, metrics.status_code) == (200, 200)
    assert [fields["event_type"] for _id, fields in gm.xread({HEALTH_EVENTS: "0"})[0][1]] == ["container_started"] * 2
    assert service.wait_until_ready() == {}
    # Redis logs each command that a user lacks the right for.
    assert [denied for denied in admin.acl_log() if denied["username"] == "rtm"] == []


def test_a_full_redis_is_reported_and_loses_nothing(
    make_service: MakeService, own_servers: Servers, engine_image: str
) -> None:
    service = make_service(own_servers)
    done, waiting = service.playground.game_id("done"), service.playground.game_id("waiting")
    service.start()
    bridge, relay = service.processes["bridge"], service.processes["relay"]
    relay.freeze()
    service.start_job(done, engine_image)
    wait_for(lambda: _states(service, done) == ["finished"], what="the start to be done, without its result")
    bridge.freeze()
    service.start_job(waiting, engine_image)

    service.streams.config_set("maxmemory", "1")
    bridge.thaw()
    relay.thaw()

    missing = service.wait_until_ready(503)
    doctor = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--problems"],
        cwd=CLONE, env=service.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wait_for(lambda: "stream_refused" in relay.log, what="the relay to report the refused stream")
    wait_for(lambda: _states(service, waiting), what="the bridge to accept the job that was written before")
    early = service.entries(RESULTS)
    service.streams.config_set("maxmemory", "0")
    for game_id in (done, waiting):
        assert service.result(game_id).outcome == "success"
        service.stop_job(game_id)
        assert [one.error_code for one in service.results(game_id, 2)] == ["", ""]
    assert "maxmemory" in missing["redis"]
    assert "Raise maxmemory" in doctor.stdout
    assert early == []
    assert service.wait_until_ready() == {}
    assert is_running(service)


def _states(service: Service, game_id: str) -> list[str]:
    rows = service.rows("SELECT state FROM operations_operation WHERE game_id = %s ORDER BY id", game_id)
    return [state for (state,) in rows]


def test_a_failover_takes_every_process_to_the_new_primary(
    make_service: MakeService, own_servers: Servers, replica: RedisServer, engine_image: str
) -> None:
    primary = own_servers.redis
    wire = Wire((primary.address.host, primary.address.port))
    service = make_service(own_servers, REDIS_URL=f"redis://127.0.0.1:{wire.port}/0")
    game_id, newer = service.playground.game_id("failover"), service.playground.game_id("newer")
    service.start()
    service.start_job(game_id, engine_image)
    service.result(game_id)

    # The address leads to the new primary. All connections to the old one stay open.
    replica.client(0).replicaof("NO", "ONE")
    wire.upstream = (replica.address.host, replica.address.port)
    follow(primary, replica)
    service.streams = replica.client(0)

    service.stop_job(game_id)
    service.start_job(newer, engine_image)
    assert [one.outcome for one in service.results(game_id, 2)] == ["success", "success"]
    assert service.result(newer).outcome == "success"
    # The first message over each old connection fails.
    wait_for(lambda: service.wait_until_ready() == {}, what="all dependencies to be observed")
    answer = wait_for(
        lambda: (sent := service.post(newer, "stop", reason="cancelled")).status_code == 200 and sent,
        what="a call to be answered by a process that has changed its connections",
    )
    assert answer
    assert is_running(service)
    wire.cut()
