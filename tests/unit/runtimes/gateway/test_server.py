"""The process of the gateway: its sockets, the versions of Docker that it accepts, and its counters."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from django.core.management import CommandError, call_command

from runtimes.gateway.calls import Role
from runtimes.gateway.create_rules import CreateRules
from runtimes.gateway.server import GatewaySettings, GatewayStartError, running
from tests.conftest import RtmSettings
from tests.gateway_policy import POLICY

RULES = CreateRules(POLICY, ("registry.example",))
ALLOWED, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
NAMES = {ALLOWED: ["registry.example/game:1"], OTHER: ["other.example/game:1"]}
Steps = Callable[[GatewaySettings], Awaitable[Any]]

PLUGINS = {"Log": ["local"], "Volume": ["secret"]}


@pytest.fixture
def folder() -> Iterator[Path]:
    # The path of a socket has at most 107 bytes.
    with TemporaryDirectory(prefix="rtm-gateway-") as folder:
        yield Path(folder)


@asynccontextmanager
async def fake_docker(folder: Path, *, version: str = "1.41") -> AsyncIterator[str]:
    """A daemon that reports this API version, and two images."""

    async def respond(request: web.BaseRequest) -> web.Response:
        if "/images/" in request.raw_path:
            return web.json_response({"Id": "x", "RepoTags": NAMES[request.raw_path.split("/")[-2]]})
        return web.json_response(
            {"Version": "20.10.0", "ApiVersion": version, "NCPU": 2, "MemTotal": 2**32, "Secret": 1, "Plugins": PLUGINS}
        )

    runner = web.ServerRunner(web.Server(respond))
    await runner.setup()
    path = folder / "docker.sock"
    await web.UnixSite(runner, str(path)).start()
    try:
        yield f"unix://{path}"
    finally:
        await runner.cleanup()


def run(folder: Path, steps: Steps, *, version: str = "1.41", **settings: str) -> Any:
    """The result of these steps on a running gateway."""

    async def run_all() -> Any:
        async with fake_docker(folder, version=version) as docker_host:
            gateway = GatewaySettings(**{"docker_host": docker_host, "directory": str(folder / "sockets"), **settings})
            async with running(gateway, RULES):
                return await steps(gateway)

    return asyncio.run(run_all())


PLUGINS = {"Log": ["local"], "Volume": ["secret"]}


async def get(settings: GatewaySettings, path: str, role: Role = Role.WATCH) -> tuple[int, Any]:
    connector = aiohttp.UnixConnector(str(settings.socket_path(role)))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://docker{path}") as response:
        return response.status, json.loads(await response.read())


def test_both_sockets_are_for_their_group_alone(folder: Path) -> None:
    group = str(os.getegid())

    async def modes(settings: GatewaySettings) -> list[tuple[str, int]]:
        statuses = [settings.socket_path(role).stat() for role in Role]
        return [(stat.filemode(status.st_mode), status.st_gid) for status in statuses]

    assert run(folder, modes, watch_group=group, operate_group=group) == [("srw-rw----", int(group))] * 2


def test_refusals_are_counted_by_role_and_reason(folder: Path) -> None:
    async def refuse(settings: GatewaySettings) -> Any:
        for role, path in ((Role.WATCH, "/volumes"), (Role.OPERATE, "/volumes"), (Role.OPERATE, "/networks")):
            status, body = await get(settings, path, role)
            assert (status, list(body)) == (403, ["message"])
        assert (await get(settings, "/rtm/refusals", Role.OPERATE))[0] == 403
        return await get(settings, "/rtm/refusals")

    assert run(folder, refuse) == (200, {"watch": {"unknown_call": 1}, "operate": {"unknown_call": 2, "filter": 1}})


def test_only_what_rtm_reads_of_the_daemon_is_shown(folder: Path) -> None:
    async def read(settings: GatewaySettings) -> Any:
        return await get(settings, "/v1.41/info")

    assert run(folder, read) == (200, {"NCPU": 2, "MemTotal": 2**32, "Plugins": {"Log": ["local"]}})


def test_an_image_id_needs_an_allowed_name(folder: Path) -> None:
    async def inspect(settings: GatewaySettings) -> list[int]:
        return [(await get(settings, f"/v1.41/images/{image}/json"))[0] for image in (ALLOWED, OTHER)]

    assert run(folder, inspect) == [200, 403]


def test_a_docker_that_is_too_old_is_refused_with_both_versions(folder: Path) -> None:
    async def nothing(_settings: GatewaySettings) -> None:
        """The gateway does not come so far."""

    with pytest.raises(GatewayStartError, match=r"20\.10\.0 .* API 1\.40, but 1\.41"):
        run(folder, nothing, version="1.40")


def test_without_docker_the_gateway_starts_and_says_so(folder: Path) -> None:
    async def ping(settings: GatewaySettings) -> Any:
        return await get(settings, "/_ping")

    status, body = run(folder, ping, docker_host=f"unix://{folder}/missing.sock")

    assert status == 503
    assert "cannot reach Docker" in body["message"]


def test_a_socket_that_an_ended_gateway_left_is_replaced_and_that_of_a_running_one_is_not(folder: Path) -> None:
    async def again(settings: GatewaySettings) -> Any:
        with pytest.raises(GatewayStartError, match="served by another gateway"):
            async with running(settings, RULES):
                pass
        return await get(settings, "/version")

    assert [run(folder, again)[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"docker_host": "tcp://docker.example:2375"}, "needs the socket of Docker"),
        ({"docker_host": "unix:///run/gateway/operate.sock", "directory": "/run/gateway"}, "names the gateway itself"),
        ({"watch_group": "no-such-group"}, "no-such-group does not exist"),
        ({"directory": "/proc/none"}, "RTMANAGER_DOCKER_GATEWAY_DIR"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(folder: Path, settings: dict[str, str], message: str) -> None:
    async def nothing(_settings: GatewaySettings) -> None:
        """The gateway does not come so far."""

    with pytest.raises(GatewayStartError, match=message):
        run(folder, nothing, **settings)


def test_the_command_reports_why_it_cannot_start(rtm_settings: RtmSettings) -> None:
    rtm_settings(docker_host="tcp://docker.example:2375")

    with pytest.raises(CommandError, match="needs the socket of Docker"):
        call_command("docker_gateway")
