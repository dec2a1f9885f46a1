"""The service under acceptance: one per module, on shared servers, with databases and a playground of its own."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.acceptance.contract_client import derive
from tests.servers.databases import PostgresServer, RedisServer
from tests.servers.processes import SPLIT
from tests.servers.sandbox import Playground, open_playground
from tests.servers.service import Servers, Service, allot, migrate, opened

MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """A migrated template database: a migration for each service would take seconds."""
    name = postgres_server.create_database()
    migrate(postgres_server.url(name))
    return name


@pytest.fixture(scope="module")
def module_playground(
    docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Playground]:
    """The playground of a module's service; kept when one of its tests fails."""
    failed_before = request.session.testsfailed
    ground = open_playground(docker_client, tmp_path_factory.mktemp("games"))
    yield ground
    if request.session.testsfailed > failed_before:
        print(f"kept until the next run: {ground.describe()}")  # noqa: T201
    else:
        ground.clear()


@pytest.fixture(scope="session")
def allot_servers(
    postgres_server: PostgresServer, redis_server: RedisServer, migrated_template: str
) -> Callable[[], Servers]:
    """Give out databases on the shared servers, one set for each service."""
    return lambda: allot(postgres_server, redis_server, template=migrated_template)


@pytest.fixture(scope="module")
def servers(allot_servers: Callable[[], Servers]) -> Servers:
    """What the module's service runs on."""
    return allot_servers()


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """Settings by which a module's service differs; a module overrides this fixture."""
    return {}


@pytest.fixture(scope="module")
def service(
    servers: Servers,
    service_settings: Mapping[str, str],
    module_playground: Playground,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """One running service for the whole module. At the end every process must stop gracefully."""
    log_folder = tmp_path_factory.mktemp("logs")
    with opened(Service(servers, module_playground, log_folder=log_folder, **service_settings)) as running:
        running.start()
        yield running
        assert set(running.stop().values()) == {0}


@pytest.fixture
def game_id(service: Service, request: pytest.FixtureRequest) -> str:
    """A game of this test's own, in the installation that the module shares."""
    return service.playground.game_id(hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8])


@pytest.fixture
def running(service: Service, game_id: str, engine_image: str) -> dict[str, Any]:
    """The record of a game that runs."""
    answer = service.post(game_id, "start", image_ref=engine_image)
    assert answer.status_code == 200, answer.text
    record: dict[str, Any] = answer.json()
    return record


@pytest.fixture(scope="module")
def commandless_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """A patch release that Docker cannot start at all."""
    return derive(docker_client, engine_image, "1.0.67", 'CMD ["/bin/nothing-of-this-name"]')


@pytest.fixture
def make_service(
    allot_servers: Callable[[], Servers], playground: Playground, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[MakeService]:
    """Make a service of one test's own, not started: ``make_service(LOG_LEVEL="debug")``. It is closed at the end."""
    with ExitStack() as stack:

        def make(servers: Servers | None = None, *, kinds: Sequence[str] = SPLIT, **settings: str) -> Service:
            made = Service(servers or allot_servers(), playground, log_folder=tmp_path, kinds=kinds, **settings)
            request.node.stash.setdefault(_MADE, []).append(made)
            return stack.enter_context(opened(made))

        yield make


_MADE = pytest.StashKey[list[Service]]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the end of every process's log with a failed test."""
    outcome: Any = yield
    report = outcome.get_result()
    shared = getattr(item, "funcargs", {}).get("service")
    if report.failed:
        for one in [*item.stash.get(_MADE, []), *([shared] if shared else [])]:
            report.sections.extend((f"log of {name}", text) for name, text in one.logs())
