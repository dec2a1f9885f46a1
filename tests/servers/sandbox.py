"""The network, stack label and state root of one test or one service on the Docker host."""

import itertools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from runtimes.container_spec import LABEL_STACK, container_name
from tests.servers.sessions import SESSION_LABELS, stack_name

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Playground:
    """Unique names. The network exists; the state root is an empty directory."""

    client: docker.DockerClient
    network: str
    stack: str
    state_root: Path
    game_id_prefix: str

    def game_id(self, name: str) -> str:
        """A game id of our own: container names are unique on the whole Docker host."""
        return f"{self.game_id_prefix}-{name}"

    def containers(self, game_id: str | None = None) -> list[Container]:
        """All containers of our stack, dead or alive, or those of one game."""
        labels = [f"{LABEL_STACK}={self.stack}"]
        if game_id is not None:
            labels.append(f"com.galaxy.game_id={game_id}")
        return self.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)

    def inspect(self, game_id: str) -> dict[str, Any]:
        """Docker's whole answer on the one container of a game."""
        return dict(self.client.api.inspect_container(container_name(game_id)))

    def ask_engine(self, game_id: str, path: str) -> str:
        """What the engine answers over HTTP, asked by its host name from inside the game network."""
        address = f"http://{container_name(game_id)}:8080{path}"
        answer = self.client.containers.get(container_name(game_id)).exec_run(["wget", "-q", "-O-", address])
        assert isinstance(answer.output, bytes)
        return answer.output.decode()

    def describe(self) -> str:
        return f"network {self.network}, containers with label {LABEL_STACK}={self.stack}, state in {self.state_root}"

    def clear(self) -> None:
        """Remove the containers, the network and the state."""
        for container in self.client.api.containers(all=True, filters={"label": f"{LABEL_STACK}={self.stack}"}):
            self.client.api.remove_container(container["Id"], force=True, v=True)
        self.client.api.remove_network(self.network)
        shutil.rmtree(self.state_root)


def open_playground(client: docker.DockerClient, state_root: Path) -> Playground:
    """Make a network and choose names of a stack of its own."""
    number = next(_numbers)
    stack = stack_name(number)
    network = client.networks.create(stack, driver="bridge", labels=SESSION_LABELS)
    state_root.mkdir(parents=True, exist_ok=True)
    return Playground(
        client=client,
        network=str(network.name),
        stack=stack,
        state_root=state_root,
        game_id_prefix=f"t{os.getpid()}x{number}",
    )
