"""Containers that others touch, on a real Docker: updaters, copies, restart policies, and what cannot be removed."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.servers.service import HEALTH_EVENTS, Service
from tests.servers.waiting import wait_for


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """The periodic reconcile is far away: what is found here was noticed by the watcher."""
    return {"RECONCILE_INTERVAL": "1h", "PROBE_INTERVAL": "1h"}


def started(service: Service, game_id: str, image: str) -> str:
    service.start_job(game_id, image)
    result = service.result(game_id)
    assert result.outcome == "success", result
    return result.container_id


def events(service: Service, game_id: str) -> list[tuple[str, dict[str, Any]]]:
    found = service.entries(HEALTH_EVENTS, game_id=game_id)
    return [(one["event_type"], json.loads(one["details"])) for one in found]


def recreate(client: docker.DockerClient, container_id: str) -> str:
    """As an updater does it: inspect, stop, remove, create with the same name, labels and host configuration, start."""
    seen = client.api.inspect_container(container_id)
    client.api.stop(container_id, timeout=5)
    client.api.remove_container(container_id)
    config = {name: seen["Config"][name] for name in ("Image", "Labels", "Env", "Hostname")}
    networks: dict[str, Any] = {name: {} for name in seen["NetworkSettings"]["Networks"]}
    body = {**config, "HostConfig": seen["HostConfig"], "NetworkingConfig": {"EndpointsConfig": networks}}
    created = client.api.create_container_from_config(body, seen["Name"].removeprefix("/"))  # type: ignore[no-untyped-call]
    client.api.start(created["Id"])
    return str(created["Id"])


def test_a_container_that_an_updater_recreates_is_adopted(
    service: Service, engine_image: str, docker_client: docker.DockerClient
) -> None:
    game_id = service.playground.game_id("updated")
    old_id = started(service, game_id, engine_image)

    new_id = recreate(docker_client, old_id)

    wait_for(lambda: service.record(game_id)["current_container_id"] == new_id, what="the adoption")
    assert service.record(game_id)["status"] == "running"
    assert docker_client.containers.get(new_id).status == "running"
    assert "reconcile_dispose" not in [one["op_kind"] for one in service.operations(game_id)]


def test_a_copy_of_a_game_is_left_alone(
    service: Service, engine_image: str, docker_client: docker.DockerClient
) -> None:
    game_id = service.playground.game_id("copied")
    container_id = started(service, game_id, engine_image)
    labels = docker_client.containers.get(container_id).labels
    copy = docker_client.containers.run(
        engine_image, detach=True, name=f"{game_id}-copy", labels=labels, tmpfs={"/var/lib/galaxy-game": ""}
    )
    try:
        wait_for(
            lambda: any("drift_needs_operator" in line and str(copy.id) in line for _name, line in service.logs()),
            what="the copy to be reported",
        )
        copy.reload()
        assert copy.status == "running"
        assert service.record(game_id)["current_container_id"] == container_id
    finally:
        copy.remove(force=True)


def test_each_end_that_a_restart_policy_makes_good_is_reported(
    service: Service, engine_image: str, docker_client: docker.DockerClient
) -> None:
    game_id = service.playground.game_id("restarted")
    container_id = started(service, game_id, engine_image)
    docker_client.api.update_container(container_id, restart_policy={"Name": "always"})

    for _ in range(2):
        pid = docker_client.api.inspect_container(container_id)["State"]["Pid"]
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        wait_for(partial(_has_another_process, docker_client, container_id, pid), what="Docker to start it again")

    wait_for(lambda: len(events(service, game_id)) >= 3, what="both ends to be reported")
    assert events(service, game_id)[1:] == [("container_exited", {"exit_code": 137, "oom": False})] * 2
    assert (service.record(game_id)["status"], service.record(game_id)["current_container_id"]) == (
        "running",
        container_id,
    )


def _has_another_process(client: docker.DockerClient, container_id: str, pid: int) -> bool:
    return client.api.inspect_container(container_id)["State"]["Pid"] not in {0, pid}


@contextmanager
def not_removable(client: docker.DockerClient, container_id: str) -> Iterator[None]:
    """An immutable file in the container's own layer, as root on the host of the engine."""
    layer = Path(client.api.inspect_container(container_id)["GraphDriver"]["Data"].get("UpperDir", "/nowhere"))
    if not layer.is_dir():
        pytest.skip("the directories of this Docker engine cannot be reached from here")
    stuck = layer / "stuck"
    stuck.touch()
    subprocess.run(["chattr", "+i", str(stuck)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(stuck)], check=True)
        client.api.remove_container(container_id, force=True)


def test_a_container_that_docker_cannot_remove_has_ended_and_blocks_with_a_reason(
    service: Service, engine_image: str, docker_client: docker.DockerClient
) -> None:
    game_id = service.playground.game_id("stuck")
    container_id = started(service, game_id, engine_image)
    with not_removable(docker_client, container_id):
        with pytest.raises(docker.errors.APIError, match="failed to remove root filesystem"):
            docker_client.api.remove_container(container_id, force=True)

        wait_for(lambda: service.record(game_id)["status"] == "stopped", what="the end to be recorded")
        wait_for(lambda: len(events(service, game_id)) >= 2, what="the end to be reported")
        answer = service.post(game_id, "restart")

        assert answer.status_code == 500
        error = answer.json()["error"]
        assert error["code"] == "container_start_failed"
        assert "failed to remove root filesystem" in error["message"]
        assert "docker rename" in error["message"]
        assert events(service, game_id)[1:] == [("container_exited", {"exit_code": 137, "oom": False})]

    assert service.post(game_id, "start", image_ref=engine_image).status_code == 200
