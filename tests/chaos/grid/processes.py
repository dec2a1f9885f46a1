"""The Docker hosts of the grid, which outlive a killed worker: a fake in its own process, and the real Docker."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from typing import Any

from runtimes.containers.base import DockerPort
from runtimes.containers.docker.adapter import DockerAdapter
from runtimes.containers.fake.adapter import FakeAdapter, FakeDocker, FakeImage
from tests.chaos.grid.faults import WatchedContainers
from tests.servers.sandbox import Playground

# Workers are not forked from the test: a lock of its threads could stay locked forever in the copy. The fork server has
# no threads, and preloads the modules of a worker, so that a worker starts in milliseconds.
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["tests.chaos.grid.killed_child"])

ENGINE, NEXT_ENGINE, CRASHING = "galaxy-engine:1.0.0", "galaxy-engine:1.0.1", "galaxy-engine:1.0.2"


class _Memory(FakeAdapter):
    """A fake Docker behind one object that other processes can call."""

    def __init__(self) -> None:
        super().__init__(FakeDocker())

    def begin(self, network: str) -> None:
        """Reset the fake to images and network only; the first image must be pulled."""
        self.docker.reset()
        self.docker.networks.add(network)
        self.docker.registry[ENGINE] = FakeImage()
        self.docker.images.update({NEXT_ENGINE: FakeImage(), CRASHING: FakeImage(exit_code=3)})

    def end(self, container_id: str) -> None:
        """Let a container exit unexpectedly."""
        self.docker.exit(container_id, exit_code=137)


class _Memories(BaseManager):
    """The process of the fake Docker."""

    daemon: Callable[[], Any]


_Memories.register("daemon", _Memory)


@dataclass(frozen=True)
class _Shared:
    """Connects to the fake Docker of another process. Can be sent to a third process."""

    daemon: Any

    def __call__(self) -> DockerPort:
        daemon: DockerPort = self.daemon
        return daemon


@dataclass(frozen=True, eq=False)
class Host:
    """A Docker to run cells on. ``images``: a healthy engine, its next patch version, and a crashing engine.

    ``connect`` can be sent to another process.
    """

    name: str
    connect: Callable[[], DockerPort]
    begin: Callable[[], None]
    end: Callable[[str], None]
    game_id: str
    images: Mapping[str, str]

    def use(self) -> None:
        """Make ``settings.RTM_CONTAINERS`` use this host."""
        WatchedContainers.make = staticmethod(self.connect)


@contextmanager
def memory_host(network: str) -> Iterator[Host]:
    """Yield a fake Docker in its own process."""
    with _Memories(ctx=FORK_SERVER) as memories:
        daemon = memories.daemon()
        images = {image: image for image in (ENGINE, NEXT_ENGINE, CRASHING)}
        yield Host("memory", _Shared(daemon), lambda: daemon.begin(network), daemon.end, "g1", images)


def docker_host(playground: Playground, images: Mapping[str, str]) -> Host:
    """Return the real Docker of the tests."""

    def begin() -> None:
        for container in playground.containers():
            container.remove(force=True, v=True)

    def end(container_id: str) -> None:
        playground.client.api.kill(container_id)
        playground.client.api.wait(container_id)

    game_id = playground.game_id("grid")
    return Host("Docker", DockerAdapter.from_settings, begin, end, game_id, images)
