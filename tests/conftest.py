"""The servers that tests may ask for. Nothing starts before a test names it: unit tests need no Docker at all."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
import structlog
from django.db import connections
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings

from deploy.local.workspace import CACHE
from rtmanager.config import Config
from rtmanager.database_urls import django_database
from tests import property_total
from tests.servers import databases, engine_images
from tests.servers.docker_host import find_docker_host
from tests.servers.sandbox import Playground, open_playground
from tests.servers.server_images import ServerImages, find_server_images
from tests.servers.sessions import remove_leftovers

RtmSettings = Callable[..., Config]

_IS_CI = os.environ.get("CI") == "true"
# CI always tries the same cases in the same order, so that a change, and not chance, turns it red. A run by hand uses
# other ones each time. Neither keeps a database of failures: an example that failed belongs in a test of its own.
# How long a case takes depends on the machine.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
hypothesis_settings.register_profile("ci", derandomize=True, database=None, print_blob=True, **_UNTIMED)
hypothesis_settings.register_profile("by hand", database=None, print_blob=True, **_UNTIMED)
hypothesis_settings.load_profile("ci" if _IS_CI else "by hand")
_CI_ORDER_SEED = 1


# With several test processes, files that take minutes start first, so that all processes end at about the same time.
_LONG = ("tests/bare/", "tests/install/", "tests/chaos/", "tests/properties/", "tests/acceptance/", "tests/browser/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the folders with long tests to the front; the order inside a folder stays as it is."""
    if hasattr(config, "workerinput"):
        order = {folder: number for number, folder in enumerate(_LONG)}
        items.sort(key=lambda item: next((order[one] for one in _LONG if item.nodeid.startswith(one)), len(_LONG)))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fix the order of the tests in CI, and let the processes that tests start react to SIGINT."""
    if _IS_CI and config.getoption("randomly_seed", "") == "default":
        config.option.randomly_seed = _CI_ORDER_SEED
    # A shell starts a background job with SIGINT ignored, and every child process inherits that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(property_total.PropertyTotal(config), "property-total")


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The address of the Docker daemon. Without one the test is skipped, but fails in CI."""
    host = find_docker_host()
    if host is None:
        reason = "no Docker daemon answers; set RTMANAGER_DOCKER_HOST, or run `make test`, which starts one"
        refuse = pytest.fail if _IS_CI else pytest.skip
        refuse(reason)
    # testcontainers reads the variable whenever it makes a client.
    os.environ["DOCKER_HOST"] = host
    return host


@pytest.fixture(scope="session")
def docker_client(docker_host: str, request: pytest.FixtureRequest) -> Iterator[docker.DockerClient]:
    """A client of the tests' own. What former, killed sessions left behind is removed first."""
    client = docker.DockerClient(base_url=docker_host, timeout=60)
    remove_leftovers(client)
    yield client
    if not request.session.testsfailed:
        remove_leftovers(client, own=True)
    client.close()


@pytest.fixture(scope="session")
def server_images(docker_client: docker.DockerClient, docker_host: str) -> ServerImages:
    """The images of PostgreSQL and Redis. Of several test processes, one builds them and the others wait."""
    del docker_client  # only for its cleanup, before and after
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "server-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return find_server_images(docker_host)


@pytest.fixture(scope="session")
def _server_pair(server_images: ServerImages) -> Iterator[tuple[databases.PostgresServer, databases.RedisServer]]:
    postgres, redis = databases.launch_postgres(server_images.postgres), databases.launch_redis(server_images.redis)
    # Both come up side by side; the session waits for the slower one only.
    with ThreadPoolExecutor() as pool:
        postgres_ready = pool.submit(databases.ready_postgres, postgres)
        redis_ready = pool.submit(databases.ready_redis, redis)
    yield postgres_ready.result(), redis_ready.result()
    postgres[0].stop()
    redis[0].stop()


@pytest.fixture(scope="session")
def postgres_server(_server_pair: tuple[databases.PostgresServer, databases.RedisServer]) -> databases.PostgresServer:
    """The one PostgreSQL of the session, shared."""
    return _server_pair[0]


@pytest.fixture(scope="session")
def redis_server(_server_pair: tuple[databases.PostgresServer, databases.RedisServer]) -> databases.RedisServer:
    """The one Redis of the session, shared."""
    return _server_pair[1]


@pytest.fixture(autouse=True, scope="session")
def _no_lease_is_extended_behind_the_back_of_a_test() -> Iterator[None]:
    """Tests let workers die and leases end within one process, whose keeper, every 20 s, would undo just that. One that
    a test makes for itself works, and so do those of the services' processes.
    """
    from operations.queue.lease_renewer import lease_renewer  # noqa: PLC0415 - Django is set up only now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease_renewer, "renew_now", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _own_log_context() -> Iterator[None]:
    """No test finds in its log what an earlier one has bound to the thread."""
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def redis_url(redis_server: databases.RedisServer) -> str:
    """An empty logical database of the shared Redis."""
    with redis_server.client(0) as client:
        client.flushall()
    return redis_server.url(0)


@pytest.fixture
def rtm_settings(settings: Settings) -> RtmSettings:
    """Change fields of ``settings.RTMANAGER`` for one test: ``rtm_settings(stack="a")``. Returns the new Config."""

    def change(**overrides: Any) -> Config:
        settings.RTMANAGER = settings.RTMANAGER.model_copy(update=overrides)
        changed: Config = settings.RTMANAGER
        return changed

    return change


@pytest.fixture(scope="session")
def django_on_the_server(postgres_server: databases.PostgresServer) -> None:
    """Django's database is the session's PostgreSQL; what overrides the next fixture asks for this one.

    One fixture for all folders, for it must happen once: pytest-django then makes and migrates its test database and
    points Django at that, which a second time would undo.
    """
    # In place: the connections of all threads share this dictionary.
    connections["default"].settings_dict.update(django_database(postgres_server.url("postgres")))


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Only the folders whose tests run on real servers have a database; they override this fixture."""
    pytest.fail("this test may not use the database: tests that do belong in tests/integration")


@pytest.fixture
def playground(
    docker_client: docker.DockerClient, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Playground]:
    """A network, a stack label and a state root of one test; all of it is kept when the test fails."""
    failed_before = request.session.testsfailed
    ground = open_playground(docker_client, tmp_path / "games")
    yield ground
    if request.session.testsfailed > failed_before:
        print(f"kept until the next run: {ground.describe()}")  # noqa: T201
    else:
        ground.clear()


@pytest.fixture(scope="session")
def engine_image(docker_client: docker.DockerClient) -> str:
    """A healthy engine."""
    return engine_images.build_engine(docker_client, "1.0.0")


@pytest.fixture(scope="session")
def engine_image_next(docker_client: docker.DockerClient) -> str:
    """The next patch version of the healthy engine."""
    return engine_images.build_engine(docker_client, "1.0.1")


@pytest.fixture(scope="session")
def crashing_image(docker_client: docker.DockerClient) -> str:
    """An engine that exits with 3 at once."""
    return engine_images.build_crashing_engine(docker_client)


@pytest.fixture(scope="session")
def stubborn_image(docker_client: docker.DockerClient) -> str:
    """An engine that ignores SIGTERM."""
    return engine_images.build_stubborn_engine(docker_client)


@pytest.fixture(scope="session")
def switched_image(docker_client: docker.DockerClient) -> str:
    """An engine that fails, exits or runs out of memory on command, by files in its state directory."""
    return engine_images.build_switched_engine(docker_client)
