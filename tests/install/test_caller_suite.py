"""A caller's own suite boots the image through testcontainers: two runs side by side, each with its own stack."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import docker
import httpx
import pytest

from deploy.local.docker.sample_images import build_engine
from tests.install.caller_suite import PASSWORD, Suite, booted, users_of
from tests.servers.server_images import ServerImages
from tests.servers.sessions import stack_name
from tests.servers.waiting import wait_for

# The first test of a session may wait for the build of the image, and of its base.
pytestmark = pytest.mark.timeout(1200)

_FIRST_STACK = 9001


@pytest.fixture(scope="module")
def suites(
    docker_client: docker.DockerClient,
    rtm_image: str,
    server_images: ServerImages,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Suite, Suite]]:
    """Two services on one Docker daemon. At the end, SIGTERM must end every process of each."""
    with ExitStack() as stacked, ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(
                stacked.enter_context,
                booted(
                    docker_client, rtm_image, server_images, stack=stack_name(_FIRST_STACK + number),
                    folder=tmp_path_factory.mktemp("suite"),
                ),
            )
            for number in range(2)
        ]  # fmt: skip
        both = (waiting[0].result(), waiting[1].result())
        yield both
        for suite in both:
            assert suite.stop() == 0, suite.container.logs(tail=30).decode()


@pytest.fixture(scope="module")
def sample_engine(docker_client: docker.DockerClient) -> str:
    """The engine of ``make demo``: it writes to its state directory as soon as it starts."""
    build_engine(docker_client, "galaxy-engine:1.0.0")
    return "galaxy-engine:1.0.0"


def game_of(suite: Suite) -> str:
    """Container names are unique on a Docker host, so each run needs its own game ids."""
    return f"s{suite.network[:8]}".lower()


def test_each_run_plays_a_game_that_writes_its_state(suites: tuple[Suite, Suite], sample_engine: str) -> None:
    for suite in suites:
        suite.start(game_of(suite), sample_engine)

    for suite in suites:
        state = suite.state_root / game_of(suite)
        wait_for((state / "turns.log").is_file, what="the state of the game")
        assert suite.record(game_of(suite))["status"] == "running"
        assert (state.stat().st_uid, state.stat().st_gid) == (10001, 10001)
        assert f"galaxy-game-{game_of(suite)}" in {container.name for container in suite.containers()}
        # The web process asks a worker for what Docker shows.
        explanation = suite.client.get(f"/api/v1/internal/runtimes/{game_of(suite)}/explain").json()
        assert explanation["observed"]["state"] == "running", explanation


def test_the_first_admin_signs_in_with_the_password_of_the_environment(suites: tuple[Suite, Suite]) -> None:
    with httpx.Client(base_url=suites[0].client.base_url) as browser:
        browser.get("/admin/login/")
        form = {"username": "boss", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}

        response = browser.post("/admin/login/", data=form)

    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")


def test_without_a_token_the_api_refuses(suites: tuple[Suite, Suite]) -> None:
    response = suites[0].client.get("/api/v1/internal/runtimes", headers={"Authorization": ""})

    assert response.status_code == 401


def test_the_processes_run_without_root_and_the_container_becomes_healthy(suites: tuple[Suite, Suite]) -> None:
    container = suites[0].container

    def health() -> bool:
        container.reload()
        return str(container.attrs["State"]["Health"]["Status"]) == "healthy"

    wait_for(health, what="a healthy container", timeout_seconds=60)

    assert users_of(container) == {"10001"}


def test_preclean_of_one_run_leaves_the_other_alone(suites: tuple[Suite, Suite], sample_engine: str) -> None:
    first, second = suites
    for suite in suites:
        suite.start(f"{game_of(suite)}-p", sample_engine)

    first.run("rtmanager", "preclean", "--stack", first.stack, "--yes")

    assert first.containers() == []
    assert {container.status for container in second.containers()} == {"running"}
    assert second.record(f"{game_of(second)}-p")["status"] == "running"
