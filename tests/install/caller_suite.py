"""What a caller's own test suite does with the image: testcontainers, one container for the whole service."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import redis
from docker.models.containers import Container
from docker.types import Mount
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from runtimes.container_spec import LABEL_STACK
from tests.servers.server_images import ServerImages
from tests.servers.sessions import SESSION_LABELS
from tests.servers.waiting import wait_for

# Each with characters that have a meaning in an address.
PASSWORD = "p/a@s:s#1"
WRITABLE = {"/tmp": ""}  # noqa: S108 - a path inside a container
_CREATE_MOUNTPOINT_API = (1, 42)


@dataclass(frozen=True)
class Suite:
    """One service of its own: names, addresses, and a client with a token."""

    stack: str
    state_root: Path
    network: str
    container: Container
    client: httpx.Client
    streams: "redis.Redis"

    def run(self, *command: str) -> str:
        """Run a command in the container of the service; its output. Fails with it if the command fails."""
        code, output = self.container.exec_run(list(command))
        assert isinstance(output, bytes)
        assert code == 0, output.decode()
        return output.decode()

    def record(self, game_id: str) -> dict[str, Any]:
        """The record of a game over REST."""
        response = self.client.get(f"/api/v1/internal/runtimes/{game_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def start(self, game_id: str, image_ref: str) -> None:
        """Start a game by a job on the stream, as Lobby does; wait for its result."""
        job: Any = {"game_id": game_id, "image_ref": image_ref, "requested_at_ms": "1800000000000"}
        self.streams.xadd("runtime:start_jobs", job)
        results: Any = wait_for(
            lambda: [entry for _id, entry in self._results() if entry["game_id"] == game_id],
            what=f"the result of {game_id}\n{self.container.logs(tail=20).decode()}",
            timeout_seconds=120,
        )
        assert [(result["outcome"], result["error_code"]) for result in results] == [("success", "")], results

    def containers(self) -> list[Container]:
        """The game containers of this stack."""
        return list(self.container.client.containers.list(all=True, filters={"label": f"{LABEL_STACK}={self.stack}"}))  # type: ignore[union-attr]

    def stop(self) -> int:
        """Stop the container with SIGTERM; its exit code."""
        self.container.stop(timeout=60)
        self.container.reload()
        return int(self.container.attrs["State"]["ExitCode"])

    def _results(self) -> Any:
        return self.streams.xrange("runtime:job_results")


@contextmanager
def booted(
    client: docker.DockerClient, image: str, servers: ServerImages, *, stack: str, folder: Path
) -> Iterator[Suite]:
    """PostgreSQL, Redis and the service in one network; waits for ``/healthz``. Everything goes at the end."""
    with ExitStack() as stacked:
        network = stacked.enter_context(Network(docker_network_kw={"labels": SESSION_LABELS}))
        postgres = DockerContainer(servers.postgres.reference)
        postgres.with_env("POSTGRES_PASSWORD", PASSWORD).with_env("POSTGRES_USER", "postgres")
        _join(postgres, network, "database", user=servers.postgres.user, command=servers.postgres.command)
        cache = DockerContainer(servers.redis.reference)
        redis_command = (*servers.redis.command, "--requirepass", PASSWORD, "--appendonly", "yes")
        _join(cache, network, "redis", user=servers.redis.user, command=redis_command)
        for server in (postgres, cache):
            stacked.callback(server.stop)
            server.start()
        root = folder / "games"
        service = _service(image, stack=stack, network=network.name, root=root, client=client)
        service.with_network(network)
        stacked.callback(shutil.rmtree, folder, ignore_errors=True)
        stacked.callback(_remove_games, client, stack)
        stacked.callback(service.stop)
        container = service.start().get_wrapped_container()
        http = stacked.enter_context(
            httpx.Client(base_url=f"http://{_address(container, network.name)}:8096", timeout=60)
        )
        wait_for(lambda: _is_healthy(http, container), what="/healthz of the image", timeout_seconds=120)
        streams = redis.Redis(
            host=_address(cache.get_wrapped_container(), network.name), password=PASSWORD, decode_responses=True
        )
        stacked.callback(streams.close)
        suite = Suite(stack, root, network.name, container, http, streams)
        scopes = ("--scope", "read", "--scope", "operate")
        created = suite.run("rtmanager", "api_token", "create", "suite", "--caller", "gm", *scopes, "--json")
        http.headers["Authorization"] = f"Bearer {json.loads(created)['token']}"
        yield suite


def users_of(container: Container) -> set[str]:
    """The ids of the users whose processes run in a container. Not by `docker top`: it needs `ps` on the host."""
    script = "for process in /proc/[0-9]*; do stat -c %u $process; done"
    _code, output = container.exec_run(["sh", "-c", script], user="10001:10001", stderr=False)
    assert isinstance(output, bytes)
    return set(output.decode().split())


def _service(image: str, *, stack: str, network: str, root: Path, client: docker.DockerClient) -> DockerContainer:
    """The one container: read-only, started as root only so that the entrypoint can hand over the state root."""
    mounts = [Mount("/var/run/docker.sock", os.environ["DOCKER_HOST"].removeprefix("unix://"), type="bind")]
    volumes = []
    state = Mount(str(root), str(root), type="bind")
    state["BindOptions"] = {"CreateMountpoint": True}
    if tuple(map(int, client.version()["ApiVersion"].split("."))) >= _CREATE_MOUNTPOINT_API:
        mounts.append(state)
    else:
        # Docker 20.10 creates the directory of a bind of the older kind.
        volumes.append((str(root), str(root), "rw"))
    settings = {
        "PREPARE_DATABASE": "true",
        "ADMIN_BOOTSTRAP_USER": "boss",
        "ADMIN_BOOTSTRAP_PASSWORD": PASSWORD,
        "DATABASE_URL": "postgresql://postgres:p%2Fa%40s%3As%231@database:5432/postgres",
        "REDIS_MASTER_ADDR": "redis:6379",
        "REDIS_PASSWORD": PASSWORD,
        "SECRET_KEY": "of one run",
        "STACK": stack,
        "DOCKER_NETWORK": network,
        "GAME_STATE_ROOT": str(root),
    }
    container = DockerContainer(image, volumes=volumes)
    for path in WRITABLE:
        container.with_tmpfs_mount(path)
    container.with_kwargs(
        user="0:0", read_only=True, cap_drop=["ALL"], cap_add=["CHOWN", "SETUID", "SETGID", "SETPCAP"],
        mounts=mounts, labels=SESSION_LABELS,
    )  # fmt: skip
    for name, value in settings.items():
        container.with_env(f"RTMANAGER_{name}", value)
    return container


def _join(container: DockerContainer, network: Network, alias: str, *, user: str, command: tuple[str, ...]) -> None:
    container.with_network(network).with_network_aliases(alias).with_command(list(command))
    container.with_kwargs(labels=SESSION_LABELS, **({"user": user} if user else {}))


def _address(container: Container, network: str) -> str:
    container.reload()
    return str(container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"])


def _is_healthy(client: httpx.Client, container: Container) -> bool:
    container.reload()
    assert container.status in {"created", "running"}, container.logs().decode()
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _remove_games(client: docker.DockerClient, stack: str) -> None:
    for container in client.api.containers(all=True, filters={"label": f"{LABEL_STACK}={stack}"}):
        client.api.remove_container(container["Id"], force=True, v=True)
