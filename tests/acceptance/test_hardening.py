"""Every promise of the contract on containers, checked with docker inspect of a started game."""

from typing import Any

import pytest

from tests.servers.service import Service

MOUNT = "/var/lib/galaxy-game"


@pytest.fixture
def inspected(service: Service, game_id: str, engine_image: str) -> dict[str, Any]:
    service.start_job(game_id, engine_image)
    assert service.result(game_id).outcome == "success"
    return service.playground.inspect(game_id)


def test_the_container_is_named_and_labelled_as_ours(
    service: Service, game_id: str, engine_image: str, inspected: dict[str, Any]
) -> None:
    labels = inspected["Config"]["Labels"]
    (operation,) = service.operations(game_id)

    assert inspected["Name"] == f"/galaxy-game-{game_id}"
    assert inspected["Config"]["Hostname"] == f"galaxy-game-{game_id}"
    assert labels["com.galaxy.owner"] == "rtmanager"
    assert labels["com.galaxy.stack"] == service.playground.stack
    assert labels["com.galaxy.kind"] == "game-engine"
    assert labels["com.galaxy.game_id"] == game_id
    assert labels["com.galaxy.engine_image_ref"] == engine_image
    assert labels["com.galaxy.operation_id"] == str(operation["id"])
    assert labels["com.galaxy.started_at_ms"].isdecimal()


def test_the_container_has_no_privileges(inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]

    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["Privileged"] is False
    assert [option for option in host["SecurityOpt"] if option.startswith("no-new-privileges")]
    assert host["ReadonlyRootfs"] is True
    assert "/tmp" in host["Tmpfs"]  # noqa: S108 - inside the container
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] in {"no", ""}
    assert not host["Devices"]
    assert (host["PidMode"], host["UTSMode"], host["UsernsMode"]) == ("", "", "")


def test_the_limits_come_from_the_labels_of_the_image(inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]

    assert host["NanoCpus"] == 500_000_000
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024**2
    assert host["PidsLimit"] == 64
    assert "nofile" in {limit["Name"] for limit in host["Ulimits"]}
    assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"])


def test_the_state_directory_is_the_only_mount_and_the_engine_is_given_it(
    service: Service, game_id: str, inspected: dict[str, Any]
) -> None:
    (mount,) = inspected["Mounts"]

    assert (mount["Type"], mount["Destination"], mount["RW"]) == ("bind", MOUNT, True)
    assert mount["Source"] == str(service.playground.state_root / game_id)
    assert {f"GAME_STATE_PATH={MOUNT}", f"STORAGE_PATH={MOUNT}"} <= set(inspected["Config"]["Env"])


def test_the_container_is_in_the_game_network_alone_and_publishes_nothing(
    service: Service, inspected: dict[str, Any]
) -> None:
    settings = inspected["NetworkSettings"]

    assert list(settings["Networks"]) == [service.playground.network]
    assert not [published for published in settings["Ports"].values() if published]
    assert inspected["HostConfig"]["PortBindings"] in ({}, None)
