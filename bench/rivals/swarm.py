"""Swarm: a service of one replica per game, on an engine that is manager and worker."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker

from bench.rivals.spec import Specs
from bench.testbed.engine_events import SERVICE_LABEL, EngineEvents
from deploy.local.system.shell import wait_until
from runtimes.container_spec import ContainerSpec, container_name
from runtimes.containers.docker.payloads import create_request

_RUNS_SECONDS = 60.0
_GONE_SECONDS = 60.0
# Swarm accepts the engine's default bridge without a network of its own.
_NETWORK = "bridge"


@dataclass(slots=True)
class Swarm:
    """An engine in swarm mode; get one from ``swarm``."""

    client: docker.APIClient
    specs: Specs
    events: EngineEvents

    def started(self, game_id: str) -> float:
        """Create the service; return the milliseconds until its task's container was started."""
        spec = self.specs.make(game_id)
        template = _task(spec, image=self.specs.image_id)
        began = time.perf_counter()
        self.client.create_service(template, name=spec.name, mode={"Replicated": {"Replicas": 1}})  # type: ignore[no-untyped-call]
        at, _container_id = self.events.wait(spec.name, seconds=_RUNS_SECONDS)
        return (at - began) * 1000

    def container_of(self, game_id: str) -> str:
        """The id of the container of a started game."""
        return self.events.wait(container_name(game_id), seconds=_RUNS_SECONDS)[1]

    def clear(self, game_ids: Collection[str]) -> None:
        """Remove the services and wait for the end of their containers."""
        for game_id in game_ids:
            self.client.remove_service(container_name(game_id))  # type: ignore[no-untyped-call]
        label = {"label": SERVICE_LABEL}
        wait_until(lambda: not self.client.containers(all=True, filters=label), timeout_seconds=_GONE_SECONDS)
        for game_id in game_ids:
            self.specs.forget(game_id)


@contextmanager
def swarm(docker_host: str, specs: Specs) -> Iterator[Swarm]:
    """Make the engine a swarm of one node during a block: swarm mode costs time, which other contestants would pay."""
    client = docker.APIClient(base_url=docker_host, version="auto", timeout=120)
    client.init_swarm(advertise_addr="127.0.0.1", listen_addr="127.0.0.1:0")
    try:
        with EngineEvents(docker_host, "start") as events:
            yield Swarm(client, specs, events)
    finally:
        client.leave_swarm(force=True)
        client.close()


def _task(spec: ContainerSpec, *, image: str) -> dict[str, Any]:
    """The settings of the container that Swarm supports. The image by id: Swarm asks a registry for any other name."""
    body = create_request(spec)
    host, bind = body["HostConfig"], body["HostConfig"]["Mounts"][0]
    container: dict[str, Any] = {
        "Image": image,
        "Hostname": body["Hostname"],
        "Labels": body["Labels"],
        "Env": body["Env"],
        "StopGracePeriod": spec.stop_grace_seconds * 10**9,
        "Init": True,
        "ReadOnly": host["ReadonlyRootfs"],
        "CapabilityDrop": host["CapDrop"],
        "Ulimits": host["Ulimits"],
        "Mounts": [bind, {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 64 * 1024**2}}],  # noqa: S108
    }
    limits = {"NanoCPUs": host["NanoCpus"], "MemoryBytes": host["Memory"], "Pids": host["PidsLimit"]}
    return {
        "ContainerSpec": container,
        "Resources": {"Limits": limits},
        "RestartPolicy": {"Condition": "none"},
        "LogDriver": {"Name": host["LogConfig"]["Type"], "Options": host["LogConfig"]["Config"]},
        "Networks": [{"Target": _NETWORK}],
    }
