"""Twelve ways to break a game on real servers. The exit of each context repairs what other tests need."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from runtimes.container_spec import container_name
from tests.servers.docker_gate import DockerGate
from tests.servers.service import Service
from tests.servers.slow_registry import SlowRegistry


@dataclass(frozen=True, slots=True)
class Stage:
    """One game, and everything around it that a test can break."""

    game_id: str
    service: Service
    gate: DockerGate
    registry: SlowRegistry
    docker_client: docker.DockerClient
    engine_image: str
    crashing_image: str
    switched_image: str

    @property
    def state_directory(self) -> Path:
        return self.service.playground.state_root / self.game_id

    def run(self, image_ref: str = "") -> None:
        """Start the game on a healthy engine, or on the given one."""
        self.service.start_job(self.game_id, image_ref or self.engine_image)
        assert self.service.result(self.game_id).error_code == ""

    def switch_engine(self, switch: str) -> None:
        """Create the file that makes the switched engine misbehave."""
        (self.state_directory / switch).touch()

    @property
    def container(self) -> Container:
        (only,) = self.service.playground.containers(self.game_id)
        return only


@contextmanager
def image_gone(stage: Stage) -> Iterator[None]:
    stage.service.start_job(stage.game_id, f"{stage.registry.address}/withdrawn:1.0.0")
    yield


@contextmanager
def crash_at_start(stage: Stage) -> Iterator[None]:
    stage.service.start_job(stage.game_id, stage.crashing_image)
    yield


@contextmanager
def out_of_memory(stage: Stage) -> Iterator[None]:
    stage.run(stage.switched_image)
    stage.switch_engine("eat")
    yield


@contextmanager
def killed_outside(stage: Stage) -> Iterator[None]:
    stage.run()
    stage.container.kill()
    yield


@contextmanager
def probe_failing(stage: Stage) -> Iterator[None]:
    stage.run(stage.switched_image)
    stage.switch_engine("fail-probes")
    yield


@contextmanager
def stuck_in_a_pull(stage: Stage) -> Iterator[None]:
    published = stage.registry.publish(stage.docker_client, "stuck")
    stage.service.start_job(stage.game_id, published.reference)
    yield
    published.release_all.set()
    assert stage.service.result(stage.game_id).error_code == ""
    stage.docker_client.images.remove(published.reference, force=True)


@contextmanager
def docker_down(stage: Stage) -> Iterator[None]:
    stage.run()
    stage.gate.shut()
    yield
    stage.gate.open()
    stage.service.wait_until_ready()


@contextmanager
def worker_down(stage: Stage) -> Iterator[None]:
    stage.run()
    stage.service.kill("worker", "scheduler")
    stage.service.stop_job(stage.game_id)
    yield
    stage.service.restart("worker")
    stage.service.restart("scheduler")
    assert [result.error_code for result in stage.service.results(stage.game_id, 2)] == ["", ""]


@contextmanager
def redis_down(stage: Stage) -> Iterator[None]:
    stage.run()
    stage.service.servers.redis.kill()
    yield
    stage.service.servers.redis.revive()
    stage.service.wait_until_ready()


@contextmanager
def wrong_network(stage: Stage) -> Iterator[None]:
    stage.run()
    networks, container = stage.docker_client.networks, stage.container
    networks.get("bridge").connect(container)
    networks.get(stage.service.playground.network).disconnect(container)
    yield


@contextmanager
def read_only_state_directory(stage: Stage) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    stage.run()
    stage.service.stop_job(stage.game_id)
    assert len(stage.service.results(stage.game_id, 2)) == 2
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(stage.state_directory)], check=True)
    stage.service.start_job(stage.game_id, stage.engine_image)
    yield
    subprocess.run(["umount", str(stage.state_directory)], check=True)


@contextmanager
def foreign_container(stage: Stage) -> Iterator[None]:
    foreign = stage.docker_client.containers.create(stage.engine_image, name=container_name(stage.game_id))
    stage.service.start_job(stage.game_id, stage.engine_image)
    yield
    foreign.remove(force=True)


@dataclass(frozen=True, slots=True)
class Breakage:
    """What breaks, as ``docs/twelve.md`` describes it, how, and the cause that the game's page must show."""

    description: str
    make: Callable[[Stage], AbstractContextManager[None]]
    cause: str


TWELVE = (
    Breakage("The image was withdrawn from its registry", image_gone, "image_missing"),
    Breakage("The engine exits right after it was started", crash_at_start, "crash_at_start"),
    Breakage("The engine uses all its memory", out_of_memory, "out_of_memory"),
    Breakage("The container is killed outside of RTM", killed_outside, "killed_outside"),
    Breakage("The engine answers 503 to the probe", probe_failing, "probe_failing"),
    Breakage("The registry stops sending in the middle of a layer", stuck_in_a_pull, "pulling"),
    Breakage("Docker is cut off", docker_down, "docker_unreachable"),
    Breakage("The worker and the scheduler are killed, and a stop is requested", worker_down, "worker_down"),
    Breakage("Redis is killed", redis_down, "redis_down"),
    Breakage("The container is moved to another network", wrong_network, "wrong_network"),
    Breakage("The state directory becomes read-only", read_only_state_directory, "state_directory_unusable"),
    Breakage("A foreign container takes the game's name", foreign_container, "foreign_container"),
)
