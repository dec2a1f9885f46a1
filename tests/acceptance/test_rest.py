"""REST actions through the whole service: the response arrives when the operation is finished."""

import pytest

from tests.servers.service import INTENTS, Service


@pytest.mark.parametrize(
    ("caller", "op_source"),
    [("gm", "gm_rest"), ("admin", "admin_rest"), ("", "admin_rest"), ("stranger", "admin_rest")],
)
def test_a_game_started_and_stopped_over_rest_is_logged_with_its_caller(
    service: Service, game_id: str, engine_image: str, *, caller: str, op_source: str
) -> None:
    started = service.post(game_id, "start", caller=caller, image_ref=engine_image)
    stopped = service.post(game_id, "stop", caller=caller, reason="finished")

    (container,) = service.playground.containers(game_id)
    assert (started.status_code, started.json()["status"]) == (200, "running")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    assert started.json()["current_container_id"] == stopped.json()["current_container_id"] == container.id
    assert stopped.json() == service.record(game_id)
    assert [(one["op_kind"], one["op_source"], one["outcome"]) for one in service.operations(game_id)] == [
        ("stop", op_source, "success"),
        ("start", op_source, "success"),
    ]


def test_a_repeated_start_and_stop_answer_with_the_record_unchanged(
    service: Service, game_id: str, engine_image: str
) -> None:
    first = service.post(game_id, "start", image_ref=engine_image)
    again = service.post(game_id, "start", image_ref=engine_image)
    stopped = service.post(game_id, "stop", reason="finished")
    stopped_again = service.post(game_id, "stop", reason="finished")

    assert again.status_code == stopped_again.status_code == 200
    assert again.json()["current_container_id"] == first.json()["current_container_id"]
    assert stopped_again.json()["stopped_at"] == stopped.json()["stopped_at"]
    codes = [one["error_code"] for one in service.operations(game_id)]
    assert codes == ["replay_no_op", "", "replay_no_op", ""]


def test_the_request_id_becomes_the_source_of_the_operation(service: Service, game_id: str, engine_image: str) -> None:
    path = f"/api/v1/internal/runtimes/{game_id}/start"

    answer = service.client.post(path, json={"image_ref": engine_image}, headers={"X-Request-ID": "call-17"})

    (operation,) = service.operations(game_id)
    assert answer.headers["X-Request-ID"] == "call-17"
    assert operation["source_ref"] == "call-17"


def test_failures_answer_with_the_code_of_the_contract(
    service: Service, game_id: str, engine_image: str, engine_image_next: str, crashing_image: str
) -> None:
    unknown = service.post(game_id, "stop", reason="finished")
    malformed = service.post(game_id, "start", image_ref=engine_image, surprise=True)
    died = service.post(game_id, "start", image_ref=crashing_image)
    service.post(game_id, "start", image_ref=engine_image)
    other = service.post(game_id, "start", image_ref=engine_image_next)

    seen = [(one.status_code, one.json()["error"]["code"]) for one in (unknown, malformed, died, other)]
    assert seen == [
        (404, "not_found"),
        (400, "invalid_request"),
        (500, "container_start_failed"),
        (409, "conflict"),
    ]


def test_a_failed_start_over_rest_is_notified_too(service: Service, game_id: str, crashing_image: str) -> None:
    service.post(game_id, "start", image_ref=crashing_image)
    # A job behind it: when its result is out, everything before it is.
    service.stop_job(game_id)
    service.result(game_id)

    types = [one["notification_type"] for one in service.entries(INTENTS) if game_id in one["payload_json"]]
    assert types == ["runtime.container_start_failed"]


def test_liveness_and_readiness_answer(service: Service) -> None:
    alive, ready = service.client.get("/healthz"), service.client.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert ready.status_code == 200
