"""``compose.yaml`` as an operator runs it, with the test's own images of PostgreSQL and Redis."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import redis
from docker.models.containers import Container

from runtimes.container_spec import LABEL_STACK
from tests.paths import ROOT
from tests.servers.server_images import ServerImages
from tests.servers.waiting import wait_for

# As the entrypoint of the public image does: user, database and password from the environment.
_POSTGRES = """
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PGDATA=/var/lib/postgresql/data/db
if [ ! -s $PGDATA/PG_VERSION ]; then
    install -d -o postgres -m 0700 $PGDATA
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    chown postgres /tmp/password
    setpriv --reuid=postgres --regid=postgres --clear-groups sh -ec '
        initdb --username="$POSTGRES_USER" --auth=scram-sha-256 --pwfile=/tmp/password --locale=C.UTF-8
        echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -j postgres
        echo "host all all all scram-sha-256" >> $PGDATA/pg_hba.conf'
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -k /tmp -c listen_addresses="*"
"""


def compose_program() -> list[str]:
    """The command of this machine: the plugin of Docker, or Debian's docker-compose. Empty if there is none."""
    plugin = (
        subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
        if shutil.which("docker")
        else None
    )
    if plugin and plugin.returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


@dataclass(frozen=True)
class ComposeStack:
    """One project of compose: its folder with ``compose.yaml`` and ``.env``, its networks, its clients."""

    client: docker.DockerClient
    folder: Path
    project: str
    settings: Mapping[str, str]

    def compose(self, *arguments: str) -> str:
        """Run compose in the folder, as an operator does; its output."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
        command = [*compose_program(), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, check=False, capture_output=True, text=True
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def containers(self) -> dict[str, Container]:
        """The containers of the project, by service."""
        label = f"com.docker.compose.project={self.project}"
        found = self.client.containers.list(all=True, filters={"label": label})
        return {container.labels["com.docker.compose.service"]: container for container in found}

    def address(self, service: str, network: str) -> str:
        """The address of a service in one of its networks."""
        container = self.containers()[service]
        return str(container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"])

    def run(self, service: str, *command: str) -> str:
        """Run a command in a container of a service; its output."""
        code, output = self.containers()[service].exec_run(list(command))
        assert isinstance(output, bytes)
        assert code == 0, output.decode()
        return output.decode()

    def streams(self) -> "redis.Redis":
        """Redis, as Lobby reaches it: through the shared network."""
        host = self.address("redis", self.settings["SHARED_NETWORK"])
        return redis.Redis(host=host, password=self.settings["REDIS_PASSWORD"], decode_responses=True, socket_timeout=5)

    def http(self) -> httpx.Client:
        """The web process, as Game Master reaches it."""
        return httpx.Client(base_url=f"http://{self.address('web', self.settings['SHARED_NETWORK'])}:8096", timeout=60)

    def wait_until_ready(self) -> None:
        """Wait until ``/readyz`` responds with 200."""

        def is_ready() -> bool:
            try:
                with self.http() as client:
                    return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(is_ready, what=f"/readyz of compose\n{self.logs()}", timeout_seconds=180)

    def results(self) -> list[dict[str, str]]:
        """The results on the stream."""
        with self.streams() as streams:
            entries: Any = streams.xrange("runtime:job_results")
            return [entry for _id, entry in entries]

    def logs(self) -> str:
        """The end of the log of each container, for a failure."""
        return "\n".join(
            f"== {name}: {container.status}\n{container.logs(tail=8).decode(errors='replace')}"
            for name, container in self.containers().items()
        )


@contextmanager
def composed(
    client: docker.DockerClient, folder: Path, servers: ServerImages, settings: Mapping[str, str]
) -> Iterator[ComposeStack]:
    """Both networks exist before, as the page says; then ``up``. At the end everything is removed."""
    project = settings["COMPOSE_PROJECT_NAME"]
    shutil.copy(ROOT / "compose.yaml", folder / "compose.yaml")
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
    (folder / "compose.override.yaml").write_text(json.dumps({"services": _servers(servers)}))
    stack = ComposeStack(client, folder, project, settings)
    names = (settings["RTMANAGER_DOCKER_NETWORK"], settings["SHARED_NETWORK"])
    networks = [client.networks.create(name, driver="bridge", internal=index == 0) for index, name in enumerate(names)]
    try:
        stack.compose("up", "--detach", "--no-build")
        stack.wait_until_ready()
        yield stack
    finally:
        # `down` alone waits until each container has ended by itself.
        for container in stack.containers().values():
            container.remove(force=True, v=True)
        label = f"{LABEL_STACK}={settings['RTMANAGER_STACK']}"
        for game in client.containers.list(all=True, filters={"label": label}):
            game.remove(force=True, v=True)
        stack.compose("down", "--volumes")
        for network in networks:
            network.remove()


def _servers(servers: ServerImages) -> dict[str, Any]:
    if servers.postgres.reference.startswith("postgres:"):
        return {}
    postgres = {"image": servers.postgres.reference, "command": ["sh", "-c", _POSTGRES.replace("$", "$$")]}
    redis_server = {"image": servers.redis.reference, "working_dir": "/data"}
    return {"postgres": postgres, "redis": redis_server}
