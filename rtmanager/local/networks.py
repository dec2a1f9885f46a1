"""What a local stack adds to a Docker engine, and takes away again: its network, its games."""

from functools import partial

import docker
import requests
from docker.errors import APIError, NotFound
from docker.models.networks import Network

from rtmanager.local.commands import wait_until
from rtmanager.local.errors import LocalError
from runtimes.specs import LABEL_OWNER, LABEL_STACK, OWNER

LABEL_LOCAL = "com.galaxy.local-stack"
_IN_USE_SECONDS = 15.0


def ensure_network(client: docker.DockerClient, name: str, *, identity: str) -> None:
    """Make the games' network unless it is there. Idempotent."""
    if not any(network.name == name for network in client.networks.list(names=[name])):
        client.networks.create(name, driver="bridge", labels={LABEL_LOCAL: identity})


def count_games(client: docker.DockerClient, stack: str) -> int:
    """How many containers of this stack run now."""
    return len(client.api.containers(filters=_owned(stack)))


def remove_games(client: docker.DockerClient, stack: str) -> None:
    """Remove every container of this stack; the state directories stay. Idempotent."""
    for container in client.api.containers(all=True, filters=_owned(stack)):
        _remove_container(client, container["Id"])


def remove_networks(client: docker.DockerClient, identity: str) -> None:
    """Remove the networks that ``ensure_network`` made for this stack, no other. Idempotent.

    Raises LocalError when one stays in use: containers whose removal is under way still count for a while.
    """
    for network in client.networks.list(filters={"label": f"{LABEL_LOCAL}={identity}"}):
        if not wait_until(partial(_remove_network, network), timeout_seconds=_IN_USE_SECONDS):
            message = f"network {network.name} stays in use; see: docker network inspect {network.name}"
            raise LocalError(message)


def _remove_network(network: Network) -> bool:
    """Try it; whether it is gone."""
    try:
        _free(network)
        network.remove()
    except NotFound:
        return True
    except APIError as error:
        if error.status_code != requests.codes.forbidden:
            raise
        return False
    return True


def _free(network: Network) -> None:
    """Take out what Docker still counts as connected: one that was killed remembers containers that are gone."""
    network.reload()
    for endpoint in (network.attrs.get("Containers") or {}).values():
        # By name: what is left of a container that is gone has no id that could be looked up.
        network.disconnect(endpoint["Name"], force=True)


def _remove_container(client: docker.DockerClient, container_id: str) -> None:
    try:
        client.api.remove_container(container_id, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        # "removal already in progress" is what we want.
        if error.status_code != requests.codes.conflict:
            raise


def _owned(stack: str) -> dict[str, list[str]]:
    return {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack}"]}
