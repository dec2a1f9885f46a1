"""Where the Docker daemon of the tests listens."""

import contextlib
import os
from pathlib import Path

import docker
from docker.errors import DockerException

_DEFAULT_SOCKET = Path("/var/run/docker.sock")


def find_docker_host() -> str | None:
    """``RTMANAGER_DOCKER_HOST``, else ``DOCKER_HOST``, else the default socket when a daemon answers there.

    A host that was named is trusted: when it does not answer, the tests shall fail and not be skipped.
    """
    named = os.environ.get("RTMANAGER_DOCKER_HOST") or os.environ.get("DOCKER_HOST")
    if named:
        return named
    default = f"unix://{_DEFAULT_SOCKET}"
    return default if _DEFAULT_SOCKET.exists() and _answers(default) else None


def _answers(host: str) -> bool:
    try:
        with contextlib.closing(docker.DockerClient(base_url=host, timeout=5)) as client:
            return bool(client.ping())
    except DockerException:
        return False
