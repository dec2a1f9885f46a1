"""Actions over HTTP, with a real database and Redis, the fake Docker and an inline worker."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from operations.models import Operation
from runtimes.api.serializers import EXAMPLE as RUNTIME_EXAMPLE
from runtimes.containers.fake.adapter import FakeDocker
from runtimes.models import Runtime
from runtimes.process import shutting_down
from tests.conftest import RtmSettings
from tests.integration.rest_harness import ENVELOPE_TYPE, IMAGE, NEXT_MINOR, NEXT_PATCH, RUNTIMES, call, start, stop

pytestmark = pytest.mark.usefixtures("trusted_network")


def test_a_start_returns_the_record_of_the_running_game(client: Client, engine: FakeDocker) -> None:
    response = start(client)

    assert (response.status_code, response["Content-Type"]) == (200, ENVELOPE_TYPE)
    assert list(response.json()) == list(RUNTIME_EXAMPLE)
    assert response.json()["status"] == "running"
    assert response.json()["current_container_id"] in engine.containers
    assert response.json()["started_at"].endswith("Z")
    assert response.json() == client.get("/api/v1/internal/runtimes/g-1").json()


def test_starting_the_same_image_again_changes_nothing(client: Client, engine: FakeDocker) -> None:
    first = start(client).json()

    again = start(client)

    assert (again.status_code, again.json()["current_container_id"]) == (200, first["current_container_id"])
    assert len(engine.containers) == 1
    assert Operation.objects.latest("id").error_code == "replay_no_op"


def test_starting_another_image_over_a_running_game_is_a_conflict(client: Client, engine: FakeDocker) -> None:
    start(client)

    response = start(client, image_ref=NEXT_PATCH)

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert len(engine.containers) == 1


def test_a_stop_returns_the_record_of_the_stopped_game(client: Client, engine: FakeDocker) -> None:
    del engine
    started = start(client).json()

    stopped = stop(client)

    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    assert stopped.json()["current_container_id"] == started["current_container_id"]


def test_stopping_an_unknown_game_is_not_found(client: Client, engine: FakeDocker) -> None:
    del engine

    response = stop(client)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("image_ref", "status", "code"),
    [("no such image!", 400, "start_config_invalid"), ("galaxy-engine:9.9.9", 500, "image_pull_failed")],
)
def test_the_response_of_a_failed_start_has_the_code_of_its_failure(
    client: Client, engine: FakeDocker, image_ref: str, status: int, code: str
) -> None:
    del engine

    response = start(client, image_ref=image_ref)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert not Runtime.objects.exists()


def test_without_docker_a_start_fails_at_once_with_its_code(client: Client, engine: FakeDocker) -> None:
    engine.disconnect()

    response = start(client)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "docker_unavailable")


@pytest.mark.parametrize(("caller", "op_source"), [("gm", "gm_rest"), ("admin", "admin_rest"), ("?", "admin_rest")])
def test_the_operation_records_the_caller_and_the_request_id(
    client: Client, engine: FakeDocker, caller: str, op_source: str
) -> None:
    del engine

    response = start(client, **{"X-Galaxy-Caller": caller, "X-Request-ID": "r-77"})

    operation = Operation.objects.get()
    assert response["X-Request-ID"] == "r-77"
    assert (operation.op_source, operation.source_ref) == (op_source, "r-77")
    assert operation.job_key.startswith("rest:")


@pytest.mark.usefixtures("no_worker")
def test_a_call_that_reaches_the_wait_limit_returns_the_open_operation(client: Client) -> None:
    response = start(client)

    operation = Operation.objects.get()
    assert (response.status_code, response["Location"]) == (202, f"/api/v1/internal/operations/{operation.pk}")
    assert int(response["Retry-After"]) > 0
    assert response.json()["state"] == "accepted"
    assert response.json() == client.get(response["Location"]).json()


@pytest.mark.usefixtures("no_worker")
def test_a_process_that_shuts_down_responds_to_the_waiting_calls(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(rest_wait_seconds=3600.0)
    shutting_down.set()
    try:
        response = start(client)
    finally:
        shutting_down.clear()

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


def test_without_a_database_the_response_is_unavailable_in_the_envelope(client: Client) -> None:
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
def test_a_restart_returns_a_new_container_with_the_same_endpoint(
    client: Client, engine: FakeDocker, body: bytes, content_type: str
) -> None:
    started = start(client).json()

    restarted = client.generic("POST", f"{RUNTIMES}/g-1/restart", body, content_type)

    assert (restarted.status_code, restarted.json()["status"]) == (200, "running")
    assert restarted.json()["current_container_id"] in set(engine.containers) - {started["current_container_id"]}
    assert restarted.json()["engine_endpoint"] == started["engine_endpoint"]


@pytest.mark.parametrize("body", [b'{"force": true}', b"null", b"[]", b"now", b"{} {}"])
def test_a_restart_with_an_unknown_body_is_refused(client: Client, engine: FakeDocker, body: bytes) -> None:
    started = start(client).json()

    response = client.generic("POST", f"{RUNTIMES}/g-1/restart", body, "application/json")

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert list(engine.containers) == [started["current_container_id"]]


def test_a_patch_returns_the_game_with_the_new_image(client: Client, engine: FakeDocker) -> None:
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
def test_a_refused_patch_returns_its_code_and_does_not_change_the_game(
    client: Client, engine: FakeDocker, image_ref: str, status: int, code: str
) -> None:
    del engine
    started = start(client).json()

    response = call(client, "patch", body={"image_ref": image_ref})

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert client.get(f"{RUNTIMES}/g-1").json() == started


@pytest.mark.parametrize(
    "sent", [{}, {"data": b"garbage", "content_type": "text/plain"}, {"data": b"x" * 5_000_000, "content_type": "a/b"}]
)
def test_a_cleanup_ignores_its_body(client: Client, engine: FakeDocker, sent: dict[str, Any]) -> None:
    start(client)
    stop(client)

    response = cleanup(client, **sent)

    assert (response.status_code, response.json()["status"]) == (200, "removed")
    assert response.json()["current_container_id"] is None
    assert not engine.containers


def test_a_cleanup_of_a_running_game_is_a_conflict(client: Client, engine: FakeDocker) -> None:
    start(client)

    response = cleanup(client)

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert len(engine.containers) == 1


@pytest.mark.parametrize("verb", ["restart", "patch", "cleanup"])
def test_an_unknown_game_cannot_be_changed_or_cleaned_up(client: Client, engine: FakeDocker, verb: str) -> None:
    del engine
    body = {"image_ref": IMAGE} if verb == "patch" else {}

    response = cleanup(client) if verb == "cleanup" else call(client, verb, body=body)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("verb", ["start", "restart", "cleanup"])
def test_a_caller_that_prefers_not_to_wait_gets_the_location_at_once(
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
def test_no_call_is_held_longer_than_it_prefers(
    client: Client, rtm_settings: RtmSettings, prefer: str, applied: str
) -> None:
    rtm_settings(rest_wait_seconds=3600.0)

    response = start(client, Prefer=prefer)

    assert (response.status_code, response["Preference-Applied"]) == (202, applied)


def test_an_operation_that_finishes_within_the_preferred_wait_returns_its_outcome(
    client: Client, engine: FakeDocker
) -> None:
    del engine

    response = start(client, Prefer="respond-async, wait=10")

    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert "Preference-Applied" not in response
