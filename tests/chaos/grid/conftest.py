"""The grid's servers: one database for all cells, a real Redis, and an engine that outlives killed workers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from pytest_django import Settings
from redis import Redis

from tests.chaos.grid import hosts
from tests.chaos.grid.hosts import Host
from tests.conftest import RtmSettings
from tests.servers.databases import RedisServer
from tests.servers.playground import Playground

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
    settings.RTM_HINTS = "operations.dispatch.NoHints"


@pytest.fixture(scope="session")
def memory() -> Iterator[Host]:
    with hosts.memory_host(_NETWORK) as host:
        yield host


@pytest.fixture
def memory_host(memory: Host, rtm_settings: RtmSettings, tmp_path: Path) -> Host:
    """The engine in memory."""
    rtm_settings(game_state_root=str(tmp_path / "games"), docker_network=_NETWORK)
    memory.use()
    return memory


@pytest.fixture(scope="session")
def engines(
    docker_client: docker.DockerClient, engine_image: str, engine_image_next: str, crashing_image: str
) -> Mapping[str, str]:
    """The images of the real Docker. A patch wants a version, also of an engine that crashes."""
    crashing_next = f"{engine_image.partition(':')[0]}:1.0.2"
    docker_client.images.get(crashing_image).tag(crashing_next)
    return {hosts.ENGINE: engine_image, hosts.NEXT_ENGINE: engine_image_next, hosts.CRASHING: crashing_next}


@pytest.fixture
def real_host(
    playground: Playground,
    rtm_settings: RtmSettings,
    docker_host: str,
    engines: Mapping[str, str],
) -> Host:
    """The real Docker; an engine that has been up for no time counts as up, and gets no grace."""
    rtm_settings(
        docker_host=docker_host,
        stack=playground.stack,
        docker_network=playground.network,
        game_state_root=str(playground.state_root),
        container_stop_timeout_seconds=0,
    )
    host = hosts.docker_host(playground, engines)
    host.use()
    return host
