"""The process of the gateway: its two sockets, from start to stop."""

import asyncio
import grp
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from runtimes.gateway.calls import Role
from runtimes.gateway.create_rules import CreateRules
from runtimes.gateway.docker_client import DockerAwayError, DockerClient, DockerTooOldError
from runtimes.gateway.handler import Gateway

log = structlog.get_logger(__name__)

# As Docker accepts: a list by many ids has a long query.
_LONGEST_LINE = 1024 * 1024
# A client keeps its connections. If the gateway closed them, a call could be lost on one.
_IDLE_SECONDS = 24 * 3600.0
# Endless streams are read on the watch socket: to wait for their end is no use.
_STOP_SECONDS = {Role.WATCH: 0.5, Role.OPERATE: 5.0}
_MODE = 0o660


class GatewayStartError(Exception):
    """The gateway cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where Docker is, where the sockets are, and the group of each; empty: the group of this process."""

    docker_host: str
    directory: str
    watch_group: str = ""
    operate_group: str = ""

    def socket_path(self, role: Role) -> Path:
        """The path of the socket of this role."""
        return Path(self.directory) / f"{role}.sock"


async def serve(settings: GatewaySettings, rules: CreateRules) -> None:
    """Serve both sockets until SIGTERM. Raises GatewayStartError."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(settings, rules):
        await stopped.wait()
    log.info("docker_gateway_stopped")


@asynccontextmanager
async def running(settings: GatewaySettings, rules: CreateRules) -> AsyncIterator[Gateway]:
    """Serve both sockets during the block. Raises GatewayStartError."""
    if settings.docker_host.startswith(f"unix://{settings.directory.rstrip('/')}/"):
        message = "RTMANAGER_DOCKER_HOST names the gateway itself; for this process it must be the socket of Docker"
        raise GatewayStartError(message)
    async with AsyncExitStack() as opened:
        try:
            docker = DockerClient(settings.docker_host)
            opened.push_async_callback(docker.close)
            await docker.check_version()
        except (DockerTooOldError, ValueError) as error:
            raise GatewayStartError(str(error)) from None
        except DockerAwayError as error:
            # It may come later. Until then, each call gets a 503 with this reason.
            log.warning("docker_gateway_without_docker", reason=str(error))
        gateway = Gateway(docker, rules)
        for role in Role:
            await _listen(gateway, role, settings, opened)
        log.info("docker_gateway_started", directory=settings.directory, docker_host=settings.docker_host)
        yield gateway


async def _listen(gateway: Gateway, role: Role, settings: GatewaySettings, opened: AsyncExitStack) -> None:
    server = web.Server(
        partial(gateway.handle, role),
        handler_cancellation=True,
        keepalive_timeout=_IDLE_SECONDS,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        access_log=None,
        auto_decompress=False,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_STOP_SECONDS[role])
    await runner.setup()
    opened.push_async_callback(runner.cleanup)
    try:
        group = settings.watch_group if role == Role.WATCH else settings.operate_group
        listener = _bind(settings.socket_path(role), group)
    except OSError as error:
        message = (
            f"{settings.socket_path(role)} cannot be made: {error.strerror or error} (RTMANAGER_DOCKER_GATEWAY_DIR)"
        )
        raise GatewayStartError(message) from None
    await web.SockSite(runner, listener).start()


def _bind(path: Path, group: str) -> socket.socket:
    """A socket that is not yet listening, with its group and mode. Replaces the one of a gateway that has ended."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        if path.exists() and probe.connect_ex(str(path)) == 0:
            message = f"{path} is served by another gateway; stop that one first"
            raise GatewayStartError(message)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    if group:
        os.chown(path, -1, _group_id(group))
    path.chmod(_MODE)
    return listener


def _group_id(group: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        message = f"group {group} does not exist (RTMANAGER_DOCKER_GATEWAY_WATCH_GROUP, _OPERATE_GROUP)"
        raise GatewayStartError(message) from None
