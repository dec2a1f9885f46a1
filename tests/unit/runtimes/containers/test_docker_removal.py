"""What the Docker adapter makes of the daemon's answers to a removal."""

import pytest

from runtimes.containers.base import ContainersUnavailableError, DockerRefusedError
from runtimes.containers.docker.adapter import DockerAdapter
from tests.servers.scripted_daemon import ScriptedDaemon
from tests.unit.runtimes.containers.test_docker_adapter import CONTAINER_ID, containers, daemon

__all__ = ["containers", "daemon"]


def test_a_removal_already_in_progress_is_success(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script[f"DELETE {CONTAINER_ID}"] = (409, {"message": "removal of container c is already in progress"})

    containers.remove(CONTAINER_ID, grace_seconds=1)

    assert daemon.asked[-1] == f"DELETE {CONTAINER_ID}"


def test_any_other_conflict_of_a_forced_removal_is_a_refusal(daemon: ScriptedDaemon, containers: DockerAdapter) -> None:
    daemon.script |= {f"DELETE {CONTAINER_ID}": (409, {"message": "container is paused"}), "POST stop": (204, b"")}

    with pytest.raises(DockerRefusedError):
        containers.remove(CONTAINER_ID, grace_seconds=1)

    assert [one.split()[-1] for one in daemon.asked if "stop" in one] == ["stop"]


@pytest.mark.parametrize(
    "error_text",
    [
        f'container {CONTAINER_ID}: driver "overlay2" failed to remove root filesystem: not permitted',
        f'cannot remove container "{CONTAINER_ID}": driver "overlay2" failed to remove root filesystem: busy',
    ],
    ids=["20.10", "28.5"],
)
def test_a_container_that_docker_cannot_remove_is_a_failure_that_says_what_to_do(
    daemon: ScriptedDaemon, containers: DockerAdapter, error_text: str
) -> None:
    daemon.script[f"DELETE {CONTAINER_ID}"] = (500, {"message": error_text})

    with pytest.raises(DockerRefusedError, match="failed to remove root filesystem") as caught:
        containers.remove(CONTAINER_ID, grace_seconds=1)

    assert "docker rename" in caught.value.message
    assert CONTAINER_ID not in caught.value.message


def test_a_daemon_that_shuts_down_during_a_removal_leaves_it_unknown(
    daemon: ScriptedDaemon, containers: DockerAdapter
) -> None:
    daemon.script[f"DELETE {CONTAINER_ID}"] = (500, {"message": "dial unix containerd.sock: connection refused"})

    with pytest.raises(ContainersUnavailableError):
        containers.remove(CONTAINER_ID, grace_seconds=1)
