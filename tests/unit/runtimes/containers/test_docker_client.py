"""By which way the client goes to the daemon."""

from contextlib import closing

import pytest

from runtimes.containers.docker.client import BoundedClient


@pytest.mark.parametrize(
    ("docker_host", "heeded"), [("unix:///var/run/docker.sock", False), ("tcp://docker.example:2375", True)]
)
def test_proxies_of_the_environment_are_for_daemons_across_the_network(docker_host: str, *, heeded: bool) -> None:
    with closing(BoundedClient(docker_host, version="1.41")) as client:
        assert client.trust_env is heeded
