"""The verbs over HTTP, with a real database and Redis, an engine in memory and a worker at hand."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from operations.api.waiting import resume_waiting, stop_waiting
from operations.models import Operation
from runtimes.api.records import EXAMPLE as RUNTIME_EXAMPLE
from runtimes.containers.fake import FakeEngine
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.rest_rigs import (
    ENVELOPE_TYPE,
    IMAGE,
    NEXT_MINOR,
    NEXT_PATCH,
    RUNTIMES,
    call,
    start,
    stop,
)

pytestmark = pytest.mark.usefixtures("trusted_network")


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

    response = start(client, image_ref=NEXT_PATCH)

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


def cleanup(client: Client, game_id: str = "g-1", **more: Any) -> Any:
    return client.delete(f"{RUNTIMES}/{game_id}/container", **more)


@pytest.mark.parametrize(("body", "content_type"), [(b"", ""), (b"", "text/plain"), (b"{}", "application/json")])
def test_a_restart_answers_with_a_new_container_under_the_same_endpoint(
    client: Client, engine: FakeEngine, body: bytes, content_type: str
) -> None:
    started = start(client).json()

    restarted = client.generic("POST", f"{RUNTIMES}/g-1/restart", body, content_type)

    assert (restarted.status_code, restarted.json()["status"]) == (200, "running")
    assert restarted.json()["current_container_id"] in set(engine.containers) - {started["current_container_id"]}
    assert restarted.json()["engine_endpoint"] == started["engine_endpoint"]


@pytest.mark.parametrize("body", [b'{"force": true}', b"null", b"[]", b"now", b"{} {}"])
def test_a_restart_with_anything_to_say_is_refused(client: Client, engine: FakeEngine, body: bytes) -> None:
    started = start(client).json()

    response = client.generic("POST", f"{RUNTIMES}/g-1/restart", body, "application/json")

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert list(engine.containers) == [started["current_container_id"]]


def test_a_patch_answers_with_the_game_on_the_new_image(client: Client, engine: FakeEngine) -> None:
    del engine
    started = start(client).json()

    patched = call(client, "patch", body={"image_ref": NEXT_PATCH})

    assert (patched.status_code, patched.json()["current_image_ref"]) == (200, NEXT_PATCH)
    assert patched.json()["current_container_id"] != started["current_container_id"]


@pytest.mark.parametrize(
    ("image_ref", "status", "code"),
    [
        (NEXT_MINOR, 409, "semver_patch_only"),
        ("galaxy-engine:latest", 400, "image_ref_not_semver"),
        ("galaxy-engine", 400, "image_ref_not_semver"),
    ],
)
def test_a_refused_patch_tells_its_code_and_leaves_the_game_alone(
    client: Client, engine: FakeEngine, image_ref: str, status: int, code: str
) -> None:
    del engine
    started = start(client).json()

    response = call(client, "patch", body={"image_ref": image_ref})

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert client.get(f"{RUNTIMES}/g-1").json() == started


@pytest.mark.parametrize(
    "sent", [{}, {"data": b"garbage", "content_type": "text/plain"}, {"data": b"x" * 5_000_000, "content_type": "a/b"}]
)
def test_a_cleanup_removes_the_container_whatever_its_body_says(
    client: Client, engine: FakeEngine, sent: dict[str, Any]
) -> None:
    start(client)
    stop(client)

    response = cleanup(client, **sent)

    assert (response.status_code, response.json()["status"]) == (200, "removed")
    assert response.json()["current_container_id"] is None
    assert not engine.containers


def test_a_cleanup_of_a_running_game_is_a_conflict(client: Client, engine: FakeEngine) -> None:
    start(client)

    response = cleanup(client)

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert len(engine.containers) == 1


@pytest.mark.parametrize("verb", ["restart", "patch", "cleanup"])
def test_a_game_nobody_knows_can_be_neither_changed_nor_cleaned_up(
    client: Client, engine: FakeEngine, verb: str
) -> None:
    del engine
    body = {"image_ref": IMAGE} if verb == "patch" else {}

    response = cleanup(client) if verb == "cleanup" else call(client, verb, body=body)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("verb", ["start", "restart", "cleanup"])
def test_who_prefers_not_to_wait_is_told_at_once_where_to_look(
    client: Client, rtm_settings: RtmSettings, verb: str
) -> None:
    rtm_settings(rest_wait_seconds=3600.0)
    prefer = {"Prefer": "respond-async"}

    if verb == "cleanup":
        response = cleanup(client, headers=prefer)
    else:
        response = call(client, verb, body={"image_ref": IMAGE} if verb == "start" else {}, **prefer)

    operation = Operation.objects.get()
    assert (response.status_code, response["Preference-Applied"]) == (202, "respond-async")
    assert response["Location"] == f"/api/v1/internal/operations/{operation.pk}"
    assert response.json() == client.get(response["Location"]).json()


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    ("prefer", "applied"), [("wait=0", "wait=0"), ("wait=0, respond-async", "respond-async, wait=0")]
)
def test_nobody_is_held_longer_than_they_prefer(
    client: Client, rtm_settings: RtmSettings, prefer: str, applied: str
) -> None:
    rtm_settings(rest_wait_seconds=3600.0)

    response = start(client, Prefer=prefer)

    assert (response.status_code, response["Preference-Applied"]) == (202, applied)


def test_an_operation_that_ends_within_the_preferred_wait_is_answered_with_its_outcome(
    client: Client, engine: FakeEngine
) -> None:
    del engine

    response = start(client, Prefer="respond-async, wait=10")

    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert "Preference-Applied" not in response
