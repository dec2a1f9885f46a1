"""Creates the network of a local stack on a Docker daemon; removes its network and its games."""

from functools import partial

import docker
import requests
from docker.errors import APIError, NotFound
from docker.models.networks import Network

from deploy.local.system.errors import LocalError
from deploy.local.system.shell import wait_until
from runtimes.container_spec import LABEL_OWNER, LABEL_STACK, OWNER

LABEL_LOCAL = "com.galaxy.local-stack"
_IN_USE_SECONDS = 15.0
_BRIDGE_NAME = "com.docker.network.bridge.name"


def bridge_of(identity: str) -> str:
    """Return the interface of the games' network. A fixed name can be removed even after the daemon was killed."""
    return f"rtn-{identity}"


def ensure_network(client: docker.DockerClient, name: str, *, identity: str) -> None:
    """Create the games' network. Idempotent."""
    if not any(network.name == name for network in client.networks.list(names=[name])):
        options = {_BRIDGE_NAME: bridge_of(identity)}
        client.networks.create(name, driver="bridge", labels={LABEL_LOCAL: identity}, options=options)


def count_games(client: docker.DockerClient, stack: str) -> int:
    """Count the running containers of this stack."""
    return len(client.api.containers(filters=_owned(stack)))


def remove_games(client: docker.DockerClient, stack: str) -> None:
    """Remove every container of this stack; the state directories stay. Idempotent."""
    for container in client.api.containers(all=True, filters=_owned(stack)):
        try:
            client.api.remove_container(container["Id"], force=True, v=True)
        except NotFound:
            continue
        except APIError as error:
            # "removal already in progress" has the wanted result.
            if error.status_code != requests.codes.conflict:
                raise


def remove_networks(client: docker.DockerClient, identity: str) -> None:
    """Remove the networks that ``ensure_network`` created for this stack, no other. Idempotent.

    Waits for containers whose removal is in progress. Raises LocalError if a network stays in use.
    """
    for network in client.networks.list(filters={"label": f"{LABEL_LOCAL}={identity}"}):
        if not wait_until(partial(_remove_network, network), timeout_seconds=_IN_USE_SECONDS):
            message = f"network {network.name} stays in use; see: docker network inspect {network.name}"
            raise LocalError(message)


def is_used_locally(client: docker.DockerClient) -> bool:
    """Whether this daemon has the network of any local stack of any clone."""
    return bool(client.networks.list(filters={"label": LABEL_LOCAL}))


def _remove_network(network: Network) -> bool:
    """Try to remove the network; return whether it is removed."""
    try:
        network.reload()
        # A daemon that was killed still counts containers as connected that no longer exist.
        for endpoint in (network.attrs.get("Containers") or {}).values():
            # By name: a container that no longer exists has no id to find it by.
            network.disconnect(endpoint["Name"], force=True)
        network.remove()
    except NotFound:
        return True
    except APIError as error:
        if error.status_code != requests.codes.forbidden:
            raise
        return False
    return True


def _owned(stack: str) -> dict[str, list[str]]:
    return {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack}"]}
