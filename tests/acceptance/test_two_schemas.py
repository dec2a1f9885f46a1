"""Two installations in two schemas of one database: whole services, real containers, one database server."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import docker
import pytest

from tests.servers.databases import PostgresServer
from tests.servers.processes import TOGETHER
from tests.servers.sandbox import open_playground
from tests.servers.service import Servers, Service, migrate, opened
from tests.servers.waiting import wait_for

LOOPS = {"bridge", "sweeper", "relay", "watcher", "prober", "scheduler"}
# Both ways to name a schema in the address: the parameter of other drivers, and the option of libpq.
SCHEMAS = {"one": "search_path=one", "two": f"options={quote('-c search_path=two')}"}


@pytest.fixture
def installations(
    docker_client: docker.DockerClient,
    postgres_server: PostgresServer,
    allot_servers: Callable[[], Servers],
    tmp_path: Path,
) -> Iterator[list[Service]]:
    """Two services with a schema, a stack, a logical database of Redis and a state root each."""
    database = postgres_server.create_database()
    with ExitStack() as stack:
        services = []
        for schema, parameter in SCHEMAS.items():
            postgres_server.execute(database, f"CREATE SCHEMA {schema}")
            url = f"{postgres_server.url(database)}?{parameter}"
            migrate(url)
            ground = open_playground(docker_client, tmp_path / schema)
            stack.callback(ground.clear)
            logs = tmp_path / f"logs-{schema}"
            logs.mkdir()
            servers = replace(allot_servers(), database=database)
            made = Service(servers, ground, log_folder=logs, kinds=TOGETHER, DATABASE_URL=url)
            services.append(stack.enter_context(opened(made)))
        yield services


def test_both_lead_and_both_serve(installations: list[Service], engine_image: str) -> None:
    for service in installations:
        service.start()

    for service in installations:
        game_id = service.playground.game_id("game")
        service.start_job(game_id, engine_image)
        assert (service.result(game_id).outcome, service.record(game_id)["status"]) == ("success", "running")
        service.stop_job(game_id)
        assert [one.outcome for one in service.results(game_id, 2)] == ["success", "success"]

    for service in installations:
        wait_for(partial(_all_lead, service), what="each loop of this installation to lead")
        pids = {check["found"].partition("PostgreSQL session ")[2].partition(",")[0] for check in doctor(service)}
        assert len(pids) == len(LOOPS)
        shared = {name: checks(service)[name]["status"] for name in ("job streams", "stack", "stack of the processes")}
        assert set(shared.values()) == {"ok"}, shared


def _all_lead(service: Service) -> bool:
    return leaders(service) == LOOPS


def leaders(service: Service) -> set[str]:
    """The leaderships of which doctor names the holder and finds nothing wrong."""
    held = [check for check in doctor(service) if check["status"] == "ok" and "held by rtmanager-" in check["found"]]
    return {check["name"].removeprefix("leader of ") for check in held}


def doctor(service: Service) -> list[dict[str, str]]:
    """The checks of the leaderships."""
    return [check for name, check in checks(service).items() if name.startswith("leader of ")]


def checks(service: Service) -> dict[str, dict[str, str]]:
    """All checks of the doctor, by name."""
    found = json.loads(service.client.get("/api/v1/internal/doctor").text)["checks"]
    return {check["name"]: check for check in found}
