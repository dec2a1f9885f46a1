"""The verbs over HTTP, with a real database and Redis, an engine in memory and a worker at hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from operations import runner
from operations.api.waiting import resume_waiting, stop_waiting
from operations.models import Operation
from operations.states import OpKind
from runtimes.api.records import EXAMPLE as RUNTIME_EXAMPLE
from runtimes.containers.fake import FakeEngine, FakeImage, shared_engine
from runtimes.models import Runtime
from tests.conftest import RtmSettings

IMAGE = "galaxy-engine:1.0.0"
OTHER_IMAGE = "galaxy-engine:1.0.1"
ENVELOPE_TYPE = "application/json; charset=utf-8"


class WorkerAtHand:
    """Hints that are followed at once, by this thread."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        for operation_id, _kind in operations:
            runner.run(operation_id)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    shared_engine.reset()
    shared_engine.networks.add("galaxy-net")
    shared_engine.images.update({IMAGE: FakeImage(), OTHER_IMAGE: FakeImage()})
    yield shared_engine
    shared_engine.reset()


@pytest.fixture(autouse=True)
def _service(settings: Settings, rtm_settings: RtmSettings, tmp_path: Path) -> None:
    settings.RTM_CONTAINERS = "runtimes.containers.fake.FakeContainers"
    settings.RTM_HINTS = f"{__name__}.WorkerAtHand"
    rtm_settings(api_auth="network", game_state_root=str(tmp_path), rest_wait_seconds=10.0)


@pytest.fixture
def no_worker(settings: Settings, rtm_settings: RtmSettings) -> None:
    settings.RTM_HINTS = "operations.dispatch.NoHints"
    rtm_settings(rest_wait_seconds=0.05)


def start(client: Client, game_id: str = "g-1", *, image_ref: str = IMAGE, **headers: str) -> Any:
    path = f"/api/v1/internal/runtimes/{game_id}/start"
    return client.post(path, {"image_ref": image_ref}, "application/json", headers=headers)


def stop(client: Client, game_id: str = "g-1", **headers: str) -> Any:
    path = f"/api/v1/internal/runtimes/{game_id}/stop"
    return client.post(path, {"reason": "cancelled"}, "application/json", headers=headers)


def test_a_start_answers_with_the_record_of_the_running_game(client: Client, engine: FakeEngine) -> None:
    response = start(client)

    assert (response.status_code, response["Content-Type"]) == (200, ENVELOPE_TYPE)
    assert list(response.json()) == list(RUNTIME_EXAMPLE)
    assert response.json()["status"] == "running"
    assert response.json()["current_container_id"] in engine.containers
    assert response.json()["started_at"].endswith("Z")
    assert response.json() == client.get("/api/v1/internal/runtimes/g-1").json()


def test_starting_the_same_image_again_changes_nothing(client: Client, engine: FakeEngine) -> None:
    first = start(client).json()

    again = start(client)

    assert (again.status_code, again.json()["current_container_id"]) == (200, first["current_container_id"])
    assert len(engine.containers) == 1
    assert Operation.objects.latest("id").error_code == "replay_no_op"


def test_starting_another_image_over_a_running_game_is_a_conflict(client: Client, engine: FakeEngine) -> None:
    start(client)

    response = start(client, image_ref=OTHER_IMAGE)

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert len(engine.containers) == 1


def test_a_stop_answers_with_the_record_of_the_stopped_game(client: Client, engine: FakeEngine) -> None:
    del engine
    started = start(client).json()

    stopped = stop(client)

    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    assert stopped.json()["current_container_id"] == started["current_container_id"]


def test_stopping_a_game_nobody_knows_is_not_found(client: Client, engine: FakeEngine) -> None:
    del engine

    response = stop(client)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("image_ref", "status", "code"),
    [("no such image!", 400, "start_config_invalid"), ("galaxy-engine:9.9.9", 500, "image_pull_failed")],
)
def test_a_failed_start_is_answered_with_the_code_of_its_failure(
    client: Client, engine: FakeEngine, image_ref: str, status: int, code: str
) -> None:
    del engine

    response = start(client, image_ref=image_ref)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert not Runtime.objects.exists()


def test_without_docker_a_start_fails_at_once_and_says_so(client: Client, engine: FakeEngine) -> None:
    engine.go_away()

    response = start(client)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "docker_unavailable")


@pytest.mark.parametrize(("caller", "op_source"), [("gm", "gm_rest"), ("admin", "admin_rest"), ("?", "admin_rest")])
def test_the_operation_remembers_who_asked_and_under_which_request_id(
    client: Client, engine: FakeEngine, caller: str, op_source: str
) -> None:
    del engine

    response = start(client, **{"X-Galaxy-Caller": caller, "X-Request-ID": "r-77"})

    operation = Operation.objects.get()
    assert response["X-Request-ID"] == "r-77"
    assert (operation.op_source, operation.source_ref) == (op_source, "r-77")
    assert operation.job_key.startswith("rest:")


@pytest.mark.usefixtures("no_worker")
def test_a_wait_that_outlasts_its_limit_is_answered_with_the_open_operation(client: Client) -> None:
    response = start(client)

    operation = Operation.objects.get()
    assert (response.status_code, response["Location"]) == (202, f"/api/v1/internal/operations/{operation.pk}")
    assert int(response["Retry-After"]) > 0
    assert response.json()["state"] == "accepted"
    assert response.json() == client.get(response["Location"]).json()


@pytest.mark.usefixtures("no_worker")
def test_a_process_that_ends_answers_the_calls_that_wait(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(rest_wait_seconds=3600.0)
    stop_waiting()
    try:
        response = start(client)
    finally:
        resume_waiting()

    assert (response.status_code, response.json()["state"]) == (202, "accepted")


@pytest.mark.usefixtures("no_worker")
def test_a_busy_game_is_a_conflict_at_once_and_nothing_is_recorded(client: Client) -> None:
    start(client)

    response = stop(client)

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert Operation.objects.count() == 1


def test_without_redis_nothing_is_accepted(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(redis_url="redis://127.0.0.1:1/0")

    response = start(client)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "service_unavailable")
    assert Operation.objects.count() == 0


def test_without_a_database_the_answer_is_unavailable_in_the_envelope(client: Client) -> None:
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = "1"
    try:
        response = start(client)
    finally:
        connection.close()
        connection.settings_dict["PORT"] = port

    assert (response.status_code, response["Content-Type"]) == (503, ENVELOPE_TYPE)
    assert response.json()["error"]["code"] == "service_unavailable"
