"""The engines that outlive a killed worker: the one in memory, in a process of its own, and a real Docker."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from typing import Any

from runtimes.containers.base import Containers
from runtimes.containers.docker import DockerContainers
from runtimes.containers.fake import FakeContainers, FakeEngine, FakeImage
from tests.chaos.grid.faults import WatchedContainers
from tests.servers.playground import Playground

# Forked, so that a worker begins with everything the test has set and costs milliseconds.
FORK = multiprocessing.get_context("fork")

ENGINE, NEXT_ENGINE, CRASHING = "galaxy-engine:1.0.0", "galaxy-engine:1.0.1", "galaxy-engine:1.0.2"


class _Memory(FakeContainers):
    """A whole engine behind one object that can be called from other processes."""

    def __init__(self) -> None:
        super().__init__(FakeEngine())

    def begin(self, network: str) -> None:
        """An engine with nothing but the images and the network; the first image must be pulled."""
        self.engine.reset()
        self.engine.networks.add(network)
        self.engine.registry[ENGINE] = FakeImage()
        self.engine.images.update({NEXT_ENGINE: FakeImage(), CRASHING: FakeImage(exits_with=3)})

    def end(self, container_id: str) -> None:
        """Let an engine end by itself."""
        self.engine.exit(container_id, exit_code=137)


class _Memories(BaseManager):
    """The process that the engine in memory lives in."""

    engine: Callable[[], Any]


_Memories.register("engine", _Memory)


@dataclass(frozen=True, eq=False)
class Host:
    """An engine to run cells on. ``images`` are a healthy engine, its next patch release, and one that crashes."""

    name: str
    connect: Callable[[], Containers]
    begin: Callable[[], None]
    end: Callable[[str], None]
    game_id: str
    images: Mapping[str, str]

    def use(self) -> None:
        """Let ``settings.RTM_CONTAINERS`` lead here."""
        WatchedContainers.make = staticmethod(self.connect)


@contextmanager
def memory_host(network: str) -> Iterator[Host]:
    """An engine in memory in a process of its own."""
    with _Memories(ctx=FORK) as memories:
        engine = memories.engine()
        images = {one: one for one in (ENGINE, NEXT_ENGINE, CRASHING)}
        yield Host("memory", lambda: engine, lambda: engine.begin(network), engine.end, "g1", images)


def docker_host(playground: Playground, images: Mapping[str, str]) -> Host:
    """The real Docker of the tests."""

    def begin() -> None:
        for container in playground.containers():
            container.remove(force=True, v=True)

    def end(container_id: str) -> None:
        playground.client.api.kill(container_id)
        playground.client.api.wait(container_id)

    game_id = playground.game_id("grid")
    return Host("Docker", DockerContainers.from_settings, begin, end, game_id, images)
