"""Games that exited unexpectedly, over REST: filtered by cause, and restarted only while the cause applies."""

import json
from typing import Any

import pytest
from django.test import Client

from operations.health import docker_starts
from operations.monitoring import heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.reconcile import survey
from runtimes.containers import connect
from runtimes.containers.fake.adapter import FakeDocker
from runtimes.models import Runtime
from tests.integration.rest_harness import IMAGE

RUNTIMES = "/api/v1/internal/runtimes"
FIELDS = [
    "game_id", "status", "current_container_id", "current_image_ref", "engine_endpoint", "state_path",
    "docker_network", "started_at", "stopped_at", "removed_at", "last_op_at", "created_at",
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("trusted_network")


@pytest.fixture
def ended(client: Client, engine: FakeDocker) -> list[str]:
    """Five games that ended with Docker, beside one that crashed before and one that was stopped on purpose."""
    docker_starts.record_current(connect())
    heartbeats.record_heartbeat(HeartbeatName.WATCHER)
    names = [f"g-{number}" for number in range(5)]
    for game_id in (*names, "crashed", "stopped"):
        post(client, game_id, "start", image_ref=IMAGE)
    post(client, "stopped", "stop", reason="finished")
    engine.exit(str(Runtime.objects.get(pk="crashed").current_container_id), exit_code=3)
    survey.reconcile_all()
    engine.restart()
    survey.reconcile_all()
    return names


def post(client: Client, game_id: str, verb: str, **body: object) -> Any:
    response = client.post(f"{RUNTIMES}/{game_id}/{verb}", json.dumps(body), content_type="application/json")
    assert response.status_code == 200, response.content
    return response.json()


def found(client: Client, query: str) -> list[list[str]]:
    """The pages that the links lead through, as game ids."""
    pages, address = [], f"{RUNTIMES}?{query}"
    while address:
        response = client.get(address)
        assert response.status_code == 200, response.content
        pages.append([one["game_id"] for one in response.json()["items"]])
        address = response.get("Link", "").partition("<")[2].partition(">")[0]
    return pages


def test_the_list_filters_by_cause_page_by_page(client: Client, ended: list[str]) -> None:
    assert found(client, "ended_by=docker_restarted&limit=2") == [ended[:2], ended[2:4], ended[4:]]
    assert found(client, "ended_by=exited") == [["crashed"]]
    assert found(client, "ended_by=killed") == [[]]
    assert found(client, "ended_by=docker_restarted&status=running") == [[]]


def test_the_record_has_the_same_fields_as_before(client: Client, ended: list[str]) -> None:
    (first, *_rest) = client.get(f"{RUNTIMES}?ended_by=docker_restarted").json()["items"]

    assert first["game_id"] == ended[0]
    assert list(first) == FIELDS


@pytest.mark.parametrize("value", ["", "reboot", "docker_restarted,exited"])
def test_an_unknown_cause_is_refused(client: Client, value: str) -> None:
    response = client.get(RUNTIMES, {"ended_by": value})

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert "docker_restarted" in response.json()["error"]["message"]


def test_a_conditional_restart_removes_the_game_from_the_list(client: Client, ended: list[str]) -> None:
    record = post(client, ended[0], "restart", if_ended_by="docker_restarted")

    assert record["status"] == "running"
    assert found(client, "ended_by=docker_restarted") == [ended[1:]]


def test_a_conditional_restart_does_not_change_a_running_game(client: Client, ended: list[str]) -> None:
    up = post(client, ended[0], "start", image_ref=IMAGE)

    record = post(client, ended[0], "restart", if_ended_by="docker_restarted")

    assert record["current_container_id"] == up["current_container_id"]


def test_a_stop_removes_the_game_from_the_list_and_changes_nothing_else(client: Client, ended: list[str]) -> None:
    before = client.get(f"{RUNTIMES}/{ended[0]}").json()

    after = post(client, ended[0], "stop", reason="admin_request")

    assert found(client, "ended_by=docker_restarted") == [ended[1:]]
    assert {**after, "last_op_at": ""} == {**before, "last_op_at": ""}


def test_an_unknown_condition_is_refused(client: Client, ended: list[str]) -> None:
    body = json.dumps({"if_ended_by": "boredom"})

    response = client.post(f"{RUNTIMES}/{ended[0]}/restart", body, content_type="application/json")

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
