"""The raw SDK: its low-level client, two calls for one container, nothing else."""

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import docker
import requests
from docker.errors import NotFound

from bench.rivals.spec import Specs
from deploy.local.system.errors import LocalError
from runtimes.container_spec import ContainerSpec, container_name
from runtimes.containers.docker.payloads import create_request

_CLEANERS = 8
_TIMEOUT_SECONDS = 120


class RawSdk:
    """Starts containers with any number of threads; each has a client of its own that stays connected."""

    def __init__(self, docker_host: str, specs: Specs, *, threads: int = 1) -> None:
        self._specs = specs
        self._clients = [
            docker.APIClient(base_url=docker_host, version="auto", timeout=_TIMEOUT_SECONDS) for _ in range(threads)
        ]
        self._pool = ThreadPoolExecutor(threads)
        for client in self._clients:
            client.ping()

    def started(self, game_id: str, *, settle_seconds: float = 0.0) -> float:
        """Create and start one container; return the milliseconds. ``settle_seconds``: then check that it stays up."""
        spec = self._specs.make(game_id)
        began = time.perf_counter()
        container_id = _start(self._clients[0], spec)
        if settle_seconds:
            _settle(self._clients[0], container_id, settle_seconds)
        return (time.perf_counter() - began) * 1000

    def started_at_once(self, game_ids: Sequence[str]) -> float:
        """Create and start all of them, as fast as the threads can; return containers per second."""
        specs = [self._specs.make(game_id) for game_id in game_ids]
        shares = [specs[number :: len(self._clients)] for number in range(len(self._clients))]
        began = time.perf_counter()
        list(self._pool.map(_start_all, self._clients, shares))
        return len(specs) / (time.perf_counter() - began)

    def clear(self, game_ids: Collection[str]) -> None:
        """Remove them and their state. Idempotent."""
        remove(self._clients[0], game_ids)
        for game_id in game_ids:
            self._specs.forget(game_id)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        for client in self._clients:
            client.close()


def remove(client: docker.APIClient, game_ids: Collection[str]) -> None:
    """Remove the containers of these games, alive or not. Idempotent."""

    def remove_one(game_id: str) -> None:
        with suppress(NotFound):
            client.remove_container(container_name(game_id), force=True, v=True)

    with ThreadPoolExecutor(_CLEANERS) as pool:
        list(pool.map(remove_one, game_ids))


def _start_all(client: docker.APIClient, specs: Sequence[ContainerSpec]) -> None:
    for spec in specs:
        _start(client, spec)


def _start(client: docker.APIClient, spec: ContainerSpec) -> str:
    created = client.create_container_from_config(create_request(spec), spec.name)  # type: ignore[no-untyped-call]
    client.start(created["Id"])
    return str(created["Id"])


def _settle(client: docker.APIClient, container_id: str, seconds: float) -> None:
    """The same check as in the service: wait for an exit for this time, then inspect."""
    with suppress(requests.RequestException):
        client.wait(container_id, timeout=seconds)  # type: ignore[arg-type]
        raise LocalError(f"{container_id} exited at once")
    client.inspect_container(container_id)
