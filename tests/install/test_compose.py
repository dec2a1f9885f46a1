"""``compose.yaml``: comes up from ``.env`` alone, and loses no job while each of its containers restarts."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import redis

from deploy.local.docker.sample_images import build_engine
from deploy.local.system.shell import apt_install, can_install
from deploy.local.workspace import CACHE
from tests.install.caller_suite import users_of
from tests.install.compose_stack import ComposeStack, compose_program, composed
from tests.servers.databases import free_port
from tests.servers.server_images import ServerImages
from tests.servers.sessions import SESSION_ID, stack_name
from tests.servers.waiting import wait_for

# The first test of a session may wait for the build of the image, and of its base.
pytestmark = pytest.mark.timeout(1200)

_JOBS = 20
_ENGINE = "galaxy-engine:1.0.0"
_ADMINS = """
import django
django.setup()
from django.contrib.auth.models import User

print(User.objects.get())
"""


@pytest.fixture(scope="module")
def stack(
    docker_client: docker.DockerClient,
    rtm_image: str,
    server_images: ServerImages,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ComposeStack]:
    """The project of compose.yaml, with passwords that an address cannot hold unescaped."""
    if not compose_program() and can_install():
        CACHE.mkdir(parents=True, exist_ok=True)
        apt_install("docker-compose", log=CACHE / "apt.log")
    if not compose_program():
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse("compose is missing: apt-get install docker-compose")
    build_engine(docker_client, _ENGINE)
    folder = tmp_path_factory.mktemp("compose")
    socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
    project = f"rtm-compose-{SESSION_ID}"
    settings = {
        "COMPOSE_PROJECT_NAME": project,
        "POSTGRES_PASSWORD": "p/o@s:t#1",
        "REDIS_PASSWORD": "r/e@d:i#2",
        "RTMANAGER_SECRET_KEY": "s/e@c:r#3",
        "RTMANAGER_ADMIN_BOOTSTRAP_USER": "boss",
        "RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD": "b/o@s:s#4",
        "RTMANAGER_STACK": stack_name(9003),
        "RTMANAGER_GAME_STATE_ROOT": str(folder / "games"),
        "RTMANAGER_DOCKER_NETWORK": f"{project}-games",
        "RTMANAGER_GAME_LEASE_TTL_SECONDS": "6",
        "SHARED_NETWORK": f"{project}-shared",
        "DOCKER_SOCKET": socket,
        "DOCKER_GID": str(Path(socket).stat().st_gid),
        "RTM_IMAGE": rtm_image,
        "RTM_PUBLISH": f"127.0.0.1:{free_port()}",
    }
    with composed(docker_client, folder, server_images, settings) as running:
        yield running
    shutil.rmtree(folder)


def test_it_comes_up_with_a_token_an_admin_and_no_process_of_root(stack: ComposeStack) -> None:
    created = stack.run("web", "rtmanager", "api_token", "create", "gm", "--caller", "gm", "--scope", "read")
    token = next(line for line in created.splitlines() if line.startswith("rtm_"))

    with stack.http() as client:
        refused = client.get("/api/v1/internal/runtimes")
        listed = client.get("/api/v1/internal/runtimes", headers={"Authorization": f"Bearer {token}"})
    admins = stack.run("web", "python", "-c", _ADMINS)
    service = ("web", "bridge", "relay", "watcher", "worker", "scheduler")
    users = {user for name in service for user in users_of(stack.containers()[name])}

    assert (refused.status_code, listed.status_code) == (401, 200)
    assert admins.strip().splitlines()[-1] == "boss"
    assert users == {"10001"}
    assert stack.containers()["prepare"].attrs["State"]["ExitCode"] == 0


def test_a_restart_of_each_container_loses_no_job(stack: ComposeStack) -> None:
    games = [f"c{stack.settings['RTMANAGER_STACK'][5:11]}-{number}" for number in range(_JOBS)]
    names = sorted(set(stack.containers()) - {"prepare"})

    for number, game in enumerate(games):
        job: Any = {"game_id": game, "image_ref": _ENGINE, "requested_at_ms": "1800000000000"}
        with stack.streams() as streams:
            streams.xadd("runtime:start_jobs", job)
        if number % 2 and number // 2 < len(names):
            name = names[number // 2]
            stack.containers()[name].restart(timeout=40)
            if name == "redis":
                wait_for(lambda: _responds(stack), what="Redis", timeout_seconds=60)

    wait_for(
        lambda: {result["game_id"] for result in stack.results()} >= set(games),
        what=f"{_JOBS} results\n{stack.logs()}",
        timeout_seconds=240,
    )
    counted = [result["game_id"] for result in stack.results() if result["game_id"] in games]
    assert sorted(counted) == sorted(games)
    assert {result["error_code"] for result in stack.results() if result["game_id"] in games} == {""}


def _responds(stack: ComposeStack) -> bool:
    try:
        with stack.streams() as streams:
            return bool(streams.ping())
    except redis.RedisError:
        return False
