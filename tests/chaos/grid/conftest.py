"""Servers of the grid: one database for all cells, a real Redis, and a Docker that outlives killed workers."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import docker
import pytest
from pytest_django import Settings
from redis import Redis

from operations.installation import state_root
from tests.chaos.grid import processes
from tests.chaos.grid.processes import Host
from tests.conftest import RtmSettings
from tests.servers.databases import RedisServer
from tests.servers.sandbox import Playground

_HERE = Path(__file__).parent
_NETWORK = "galaxy-net"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_on_the_server: None) -> None:
    """These tests may use the database."""


@pytest.fixture(scope="session")
def streams(redis_server: RedisServer) -> Iterator[Redis]:
    """The grid's own logical database."""
    with redis_server.client(redis_server.next_database()) as client:
        yield client


@pytest.fixture(autouse=True)
def _grid_settings(settings: Settings, rtm_settings: RtmSettings, streams: Redis, redis_server: RedisServer) -> None:
    database = streams.connection_pool.connection_kwargs["db"]
    rtm_settings(redis_url=redis_server.url(database), redis_master_addr="", celery_broker_url="")
    settings.RTM_CONTAINERS = "tests.chaos.grid.faults.WatchedContainers"
    settings.RTM_NOTIFIER = "operations.dispatch.Notifier"


@pytest.fixture(scope="session")
def memory() -> Iterator[Host]:
    with processes.memory_host(_NETWORK) as host:
        yield host


@pytest.fixture
def memory_host(memory: Host, rtm_settings: RtmSettings, tmp_path: Path, transactional_db: None) -> Host:
    """The fake Docker."""
    del transactional_db
    rtm_settings(game_state_root=str(tmp_path / "games"), docker_network=_NETWORK, replacement_grace=timedelta())
    _accept_state_root(tmp_path / "games")
    memory.use()
    return memory


@pytest.fixture(scope="session")
def engines(
    docker_client: docker.DockerClient, engine_image: str, engine_image_next: str, crashing_image: str
) -> Mapping[str, str]:
    """The images of the real Docker. A patch needs a version, also for the crashing engine."""
    crashing_next = f"{engine_image.partition(':')[0]}:1.0.2"
    docker_client.images.get(crashing_image).tag(crashing_next)
    return {processes.ENGINE: engine_image, processes.NEXT_ENGINE: engine_image_next, processes.CRASHING: crashing_next}


@pytest.fixture
def real_host(
    playground: Playground,
    rtm_settings: RtmSettings,
    docker_host: str,
    engines: Mapping[str, str],
    transactional_db: None,
) -> Host:
    """The real Docker. A container counts as running at once, and gets no stop grace."""
    del transactional_db
    rtm_settings(
        docker_host=docker_host,
        stack=playground.stack,
        docker_network=playground.network,
        game_state_root=str(playground.state_root),
        container_stop_timeout_seconds=0,
    )
    _accept_state_root(playground.state_root)
    host = processes.docker_host(playground, engines)
    host.use()
    return host


def _accept_state_root(root: Path) -> None:
    """Record the state root before the first start: otherwise the first start has additional steps."""
    root.mkdir(parents=True, exist_ok=True)
    state_root.accept()
