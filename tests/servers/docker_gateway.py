"""A Docker gateway of the product in a thread of the tests, and a recording of the requests that reached Docker."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtimes.gateway.calls import Role
from runtimes.gateway.create_rules import CreateRules
from runtimes.gateway.handler import Gateway
from runtimes.gateway.server import GatewaySettings, running

_START_SECONDS = 20.0


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that serves. ``gateway`` belongs to its own thread; a test reads its counters only."""

    settings: GatewaySettings
    gateway: Gateway

    def host(self, role: Role) -> str:
        """The socket of the role, as a Docker client takes it."""
        return f"unix://{self.settings.socket_path(role)}"


@contextmanager
def running_gateway(directory: Path, rules: CreateRules, *, docker_host: str) -> Iterator[RunningGateway]:
    settings = GatewaySettings(docker_host=docker_host, directory=str(directory))
    loop = asyncio.new_event_loop()
    started: list[Gateway] = []
    failures: list[BaseException] = []
    ready, stopped = threading.Event(), asyncio.Event()

    async def serve() -> None:
        try:
            async with running(settings, rules) as gateway:
                started.append(gateway)
                ready.set()
                await stopped.wait()
        except BaseException as error:
            failures.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="docker-gateway")
    thread.start()
    try:
        assert ready.wait(_START_SECONDS)
        assert started, failures
        yield RunningGateway(settings, started[0])
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
