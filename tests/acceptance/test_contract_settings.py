"""A service with settings of its own choice: what each of them changes, in Docker, on disk and on the streams."""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import docker
import pytest

from deploy.local.workspace import CLONE
from tests.servers.service import Service
from tests.servers.waiting import wait_for

API = "/api/v1/internal/runtimes"
STREAMS = {
    "START_JOBS_STREAM": "other:start",
    "STOP_JOBS_STREAM": "other:stop",
    "JOB_RESULTS_STREAM": "other:results",
    "HEALTH_EVENTS_STREAM": "other:health",
    "NOTIFICATION_INTENTS_STREAM": "other:intents",
    "DEAD_LETTERS_STREAM": "other:dead",
}
MOUNT = "/data/game"


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {
        **STREAMS,
        "API_AUTH": "token",
        "ENGINE_STATE_ENV_NAME": "GAME_FOLDER",
        "ENGINE_STATE_MOUNT_PATH": MOUNT,
        "GAME_STATE_DIR_MODE": "2770",
        "GAME_STATE_OWNER_UID": "4321",
        "GAME_STATE_OWNER_GID": "1234",
        "IMAGE_PULL_POLICY": "never",
        "CONTAINER_READ_ONLY": "false",
        "DEFAULT_CPU_QUOTA": "0.75",
        "DEFAULT_MEMORY": "48m",
        "DEFAULT_PIDS_LIMIT": "33",
    }


@pytest.fixture(scope="module")
def mislabelled_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """An engine whose labels request invalid limits, except for one."""
    reference = f"{engine_image.rpartition(':')[0]}:mislabelled"
    labels = 'LABEL com.galaxy.cpu_quota="many" com.galaxy.memory="-1" com.galaxy.pids_limit="77"'
    dockerfile = f"FROM {engine_image}\n{labels}\n"
    docker_client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=reference, rm=True, forcerm=True)
    return reference


def token(service: Service, name: str, *scopes: str, caller: str = "admin") -> dict[str, str]:
    """The header that opens the API, by the operators' command."""
    options = [f"--scope={scope}" for scope in scopes]
    command = [sys.executable, "manage.py", "api_token", "create", name, "--caller", caller, *options, "--json"]
    made = subprocess.run(command, cwd=CLONE, env=service.environment, capture_output=True, text=True, check=True)
    return {"Authorization": f"Bearer {json.loads(made.stdout)['token']}"}


def started(service: Service, game_id: str, image_ref: str) -> dict[str, str]:
    """The result of a start job, on the streams of these settings."""
    service.add_job("other:start", game_id=game_id, image_ref=image_ref, requested_at_ms="1800000000000")
    (result,) = wait_for(lambda: service.entries("other:results", game_id=game_id), what="the result")
    return result


@pytest.fixture
def inspected(service: Service, game_id: str, mislabelled_image: str) -> dict[str, Any]:
    result = started(service, game_id, mislabelled_image)
    assert (result["outcome"], result["error_code"]) == ("success", ""), result
    return service.playground.inspect(game_id)


def test_the_engine_is_given_its_state_directory_by_the_names_of_the_settings(
    service: Service, game_id: str, inspected: dict[str, Any]
) -> None:
    (mount,) = inspected["Mounts"]
    environment = inspected["Config"]["Env"]

    assert (mount["Source"], mount["Destination"]) == (str(service.playground.state_root / game_id), MOUNT)
    assert {f"GAME_FOLDER={MOUNT}", f"STORAGE_PATH={MOUNT}"} <= set(environment)
    assert not [one for one in environment if one.startswith("GAME_STATE_PATH=")]


def test_the_state_directory_has_mode_and_owner_of_the_settings(
    service: Service, game_id: str, inspected: dict[str, Any]
) -> None:
    found = (service.playground.state_root / game_id).stat()

    assert inspected["State"]["Running"]
    assert (oct(found.st_mode & 0o7777), found.st_uid, found.st_gid) == ("0o2770", 4321, 1234)


def test_a_label_that_does_not_parse_falls_back_with_a_warning(service: Service, inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]

    assert host["NanoCpus"] == 750_000_000
    assert host["Memory"] == host["MemorySwap"] == 48 * 1024**2
    assert host["PidsLimit"] == 77
    warned = [line for line in service.processes["worker"].log.splitlines() if "image_limit_not_followed" in line]
    assert [label for label in ("cpu_quota", "memory") if not any(label in line for line in warned)] == []


def test_the_root_file_system_is_writable_when_the_settings_say_so(inspected: dict[str, Any]) -> None:
    host = inspected["HostConfig"]

    assert host["ReadonlyRootfs"] is False
    assert host["CapDrop"] == ["ALL"]


def test_with_the_policy_never_nothing_is_pulled(service: Service, game_id: str) -> None:
    result = started(service, game_id, "engine-that-is-nowhere:1.0.0")

    assert (result["outcome"], result["error_code"]) == ("failure", "image_pull_failed")
    assert "RTMANAGER_IMAGE_PULL_POLICY" in result["error_message"]


def test_every_stream_has_the_name_of_the_settings(service: Service, game_id: str, engine_image: str) -> None:
    started(service, game_id, engine_image)
    service.add_job("other:stop", game_id=game_id, reason="because", requested_at_ms="1800000000000")
    started(service, f"{game_id}-none", "engine-that-is-nowhere:1.0.0")

    wait_for(lambda: service.entries("other:dead"), what="the dead letter")
    wait_for(lambda: service.entries("other:intents"), what="the intent")
    assert wait_for(lambda: service.entries("other:health", game_id=game_id), what="the event")
    assert not service.streams.exists("runtime:start_jobs", "runtime:stop_jobs", "runtime:job_results")
    assert not service.streams.exists("runtime:health_events", "notification:intents", "runtime:dead_letters")


def test_without_a_good_token_nothing_is_reported_and_nothing_is_done(
    service: Service, game_id: str, engine_image: str
) -> None:
    may_read = token(service, f"reader-{game_id}", "read")
    path, body = f"{API}/{game_id}/start", {"image_ref": engine_image}

    without = service.client.post(path, json=body, headers={"X-Galaxy-Caller": "admin"})
    wrong = service.client.post(path, json=body, headers={"Authorization": "Bearer rtm_nothing"})
    too_little = service.client.post(path, json=body, headers=may_read)
    unread = service.client.get(API)

    assert [one.status_code for one in (without, wrong, too_little, unread)] == [401, 401, 403, 401]
    assert {frozenset(one.json()["error"]) for one in (without, wrong, too_little)} == {frozenset({"code", "message"})}
    log = service.client.get(f"{API}/{game_id}/operations", headers=may_read)
    assert (log.status_code, log.json()) == (200, {"items": []})


def test_the_token_decides_who_asked(service: Service, game_id: str, engine_image: str) -> None:
    headers = {**token(service, f"gm-{game_id}", "read", "operate", caller="gm"), "X-Galaxy-Caller": "admin"}

    answer = service.client.post(f"{API}/{game_id}/start", json={"image_ref": engine_image}, headers=headers)

    (operation,) = service.client.get(f"{API}/{game_id}/operations", headers=headers).json()["items"]
    assert answer.status_code == 200
    assert operation["op_source"] == "gm_rest"
