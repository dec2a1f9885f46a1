"""Swarm: a service of one replica per game, on an engine that is its own manager and worker."""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker

from bench.rivals.spec import Specs
from rtmanager.local.commands import wait_until
from rtmanager.local.errors import LocalError
from runtimes.containers.payloads import create_request
from runtimes.specs import ContainerSpec, container_name

_RUNS_SECONDS = 60.0
_GONE_SECONDS = 60.0
# The engine's own bridge is the plainest network that Swarm takes without being asked to make one.
_NETWORK = "bridge"
_SERVICE_LABEL = "com.docker.swarm.service.name"


@dataclass(slots=True)
class Swarm:
    """An engine in swarm mode; get one from ``swarm``."""

    client: docker.APIClient
    specs: Specs
    _running: dict[str, tuple[float, str]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def started(self, game_id: str) -> float:
        """Create the service; returns the milliseconds until its task's container was started."""
        spec = self.specs.make(game_id)
        template = _task(spec, image=self.specs.image_id)
        began = time.perf_counter()
        self.client.create_service(template, name=spec.name, mode={"Replicated": {"Replicas": 1}})  # type: ignore[no-untyped-call]
        with self._changed:
            if not self._changed.wait_for(lambda: spec.name in self._running, timeout=_RUNS_SECONDS):
                message = f"Swarm did not run {spec.name} within {_RUNS_SECONDS:.0f} s"
                raise LocalError(message)
        return (self._running[spec.name][0] - began) * 1000

    def container_of(self, game_id: str) -> str:
        """The id of the container that runs for a started game."""
        return self._running[container_name(game_id)][1]

    def clear(self, game_ids: Collection[str]) -> None:
        """Remove the services and wait for the end of their containers."""
        for game_id in game_ids:
            self.client.remove_service(container_name(game_id))  # type: ignore[no-untyped-call]
        label = {"label": _SERVICE_LABEL}
        wait_until(lambda: not self.client.containers(all=True, filters=label), timeout_seconds=_GONE_SECONDS)
        for game_id in game_ids:
            self.specs.forget(game_id)

    def listen(self, events: Any) -> None:
        """Note each start of a task's container, until the events end."""
        for event in events:
            at, actor = time.perf_counter(), event["Actor"]
            name = actor["Attributes"].get(_SERVICE_LABEL)
            if name:
                with self._changed:
                    self._running[name] = (at, actor["ID"])
                    self._changed.notify_all()


@contextmanager
def swarm(docker_host: str, specs: Specs) -> Iterator[Swarm]:
    """The engine is a swarm of one inside the block only: being one costs time that others would pay for."""
    client = docker.APIClient(base_url=docker_host, version="auto", timeout=120)
    client.init_swarm(advertise_addr="127.0.0.1", listen_addr="127.0.0.1:0")
    try:
        ready = Swarm(client, specs)
        events: Any = client.events(decode=True, filters={"type": "container", "event": "start"})
        thread = threading.Thread(target=ready.listen, args=(events,), daemon=True)
        thread.start()
        try:
            yield ready
        finally:
            events.close()
            thread.join()
    finally:
        client.leave_swarm(force=True)
        client.close()


def _task(spec: ContainerSpec, *, image: str) -> dict[str, Any]:
    """As much of the container as Swarm can be asked for. By its id, for it would ask a registry for any other name."""
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
