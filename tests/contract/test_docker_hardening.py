"""What the real daemon says of a container that RTM made: nothing is looser than the contract."""

from pathlib import Path
from typing import Any

import pytest

from runtimes.containers.base import ContainerStartFailedError, ContainersUnavailableError
from runtimes.containers.docker.adapter import DockerAdapter
from tests.contract.container_backends import LIMITS, Lab
from tests.servers.sandbox import Playground


@pytest.fixture
def inspected(real_lab: Lab, playground: Playground) -> dict[str, Any]:
    raw: dict[str, Any] = playground.client.api.inspect_container(real_lab.run())
    return raw


def test_the_container_has_no_rights_it_was_not_given(inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]

    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ReadonlyRootfs"]
    assert host["Tmpfs"] == {"/tmp": "rw,noexec,nosuid,nodev,size=64m"}  # noqa: S108 (inside the container)
    assert not host["Devices"]


def test_the_container_cannot_use_more_than_its_limits(inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]
    ulimits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]}

    assert host["NanoCpus"] == 500_000_000
    assert host["Memory"] == LIMITS.memory_bytes
    assert host["MemorySwap"] == LIMITS.memory_bytes
    assert host["PidsLimit"] == LIMITS.pids_limit
    assert ulimits == {"nofile": (1024, 16384), "core": (0, 0)}
    assert host["OomScoreAdj"] == 500


def test_its_log_is_bounded_and_never_blocks_the_game(inspected: dict[str, Any]) -> None:
    log = inspected["HostConfig"]["LogConfig"]

    assert log["Type"] == "local"
    assert log["Config"] == {
        "max-size": "10m", "max-file": "3", "mode": "non-blocking", "max-buffer-size": "4m",
    }  # fmt: skip


def test_the_state_directory_is_its_only_mount_and_can_be_written_to(inspected: dict[str, Any], real_lab: Lab) -> None:
    [mount] = inspected["Mounts"]

    game_id = inspected["Config"]["Labels"]["com.galaxy.game_id"]
    assert (mount["Type"], mount["Source"]) == ("bind", str(real_lab.state_root / game_id))
    assert (mount["Destination"], mount["RW"]) == ("/var/lib/galaxy-game", True)


def test_it_is_in_the_game_network_alone_and_publishes_nothing(inspected: dict[str, Any], real_lab: Lab) -> None:
    assert set(inspected["NetworkSettings"]["Networks"]) == {real_lab.network}
    assert not inspected["HostConfig"]["PortBindings"]
    assert not inspected["HostConfig"]["PublishAllPorts"]


def test_its_host_name_is_its_name_and_its_environment_names_the_state(inspected: dict[str, Any]) -> None:
    environment = dict(entry.split("=", 1) for entry in inspected["Config"]["Env"])

    assert inspected["Name"] == f"/{inspected['Config']['Hostname']}"
    assert environment["GAME_STATE_PATH"] == environment["STORAGE_PATH"] == "/var/lib/galaxy-game"


def test_only_rtm_restarts_it_and_signals_reach_the_game(inspected: dict[str, Any]) -> None:
    assert inspected["HostConfig"]["RestartPolicy"]["Name"] in {"", "no"}
    assert inspected["HostConfig"]["Init"] is True
    assert inspected["Config"]["StopTimeout"] == 1


def test_a_missing_state_directory_is_refused_and_not_made(real_lab: Lab) -> None:
    spec = real_lab.spec()
    Path(spec.state_path).rmdir()

    with pytest.raises(ContainerStartFailedError, match=spec.state_path):
        real_lab.containers.start(real_lab.containers.create(spec))

    assert not Path(spec.state_path).exists()


def test_a_renamed_container_is_resolved_by_its_new_name_in_its_network(real_lab: Lab, playground: Playground) -> None:
    spec = real_lab.spec()
    container_id = real_lab.containers.create(spec)
    real_lab.containers.start(container_id)
    neighbour = playground.client.containers.get(real_lab.run())
    found = real_lab.containers.find(container_id)
    assert found is not None
    address = found.addresses[real_lab.network].encode()

    def resolves(name: str) -> bool:
        # Its own resolver: the one of the C library does not work in a static program.
        return address in neighbour.exec_run(["busybox", "nslookup", name]).output

    real_lab.containers.rename(container_id, f"{spec.name}-kept")
    # The host name that it was created with goes on to be resolved as well.
    renamed = resolves(f"{spec.name}-kept")
    real_lab.containers.rename(container_id, spec.name)

    assert renamed
    assert resolves(spec.name)
    assert not resolves(f"{spec.name}-kept")


def test_a_lost_daemon_is_named_with_its_address_and_the_reason(real_lab: Lab) -> None:
    with pytest.raises(ContainersUnavailableError) as caught:
        real_lab.unreachable.ping()

    assert "no-listener.sock" in caught.value.message
    assert "respond to a ping" in caught.value.message
    assert "No such file or directory" in caught.value.message


def test_an_address_that_is_none_is_reported_at_the_call_not_at_the_construction() -> None:
    containers = DockerAdapter("nonsense://")

    with pytest.raises(ContainersUnavailableError, match="nonsense://"):
        containers.ping()
