"""Responses of the whole service follow the contract: keys, headers, repeated idempotency keys, and pages."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.contract_client import API, cleanup, verdict
from tests.servers.service import INTENTS, RESULTS, Service
from tests.servers.waiting import wait_for

NOWHERE = "engine-that-is-nowhere:1.0.7"
RECORD_KEYS = {
    *("game_id", "status", "current_container_id", "current_image_ref", "engine_endpoint", "state_path"),
    *("docker_network", "started_at", "stopped_at", "removed_at", "last_op_at", "created_at"),
}
OPERATION_KEYS = {
    *("id", "game_id", "op_kind", "op_source", "source_ref", "image_ref", "container_id", "state", "outcome"),
    *("error_code", "error_message", "steps", "accepted_at", "started_at", "finished_at"),
}


def test_records_and_operations_have_exactly_the_keys_of_the_contract(
    service: Service, running: dict[str, Any]
) -> None:
    (listed,) = service.operations(running["game_id"])

    alone = service.client.get(f"{API}/operations/{listed['id']}").json()

    assert set(running) == RECORD_KEYS
    assert alone == listed
    assert set(alone) == OPERATION_KEYS
    assert {frozenset(step) for step in alone["steps"]} == {frozenset({"name", "started_at", "duration_ms", "error"})}
    assert running["started_at"].endswith("Z")
    assert [running["stopped_at"], running["removed_at"]] == [None, None]


def test_a_request_id_is_made_up_when_missing_and_is_on_every_answer(
    service: Service, game_id: str, running: dict[str, Any]
) -> None:
    answers = [service.client.get("/healthz"), cleanup(service, game_id), service.client.get("/nowhere")]

    made_up = [answer.headers["X-Request-ID"] for answer in answers]
    latest, *_ = service.operations(game_id)
    assert len(set(made_up)) == 3
    assert latest["source_ref"] == made_up[1]
    assert running["status"] == "running"


def test_who_prefers_not_to_wait_is_reported_where_the_outcome_will_be(
    service: Service, game_id: str, engine_image: str
) -> None:
    path = f"{API}/runtimes/{game_id}/start"

    answer = service.client.post(path, json={"image_ref": engine_image}, headers={"Prefer": "respond-async"})

    def finished() -> dict[str, Any] | None:
        seen: dict[str, Any] = service.client.get(answer.headers["Location"]).json()
        return seen if seen["state"] == "finished" else None

    operation = wait_for(finished, what="the outcome")
    assert operation is not None
    assert (answer.status_code, set(answer.json())) == (202, OPERATION_KEYS)
    assert answer.headers["Location"] == f"{API}/operations/{answer.json()['id']}"
    assert operation["outcome"] == "success"
    assert service.record(game_id)["status"] == "running"


def test_the_same_key_and_body_is_one_operation_with_one_response(
    service: Service, game_id: str, engine_image: str
) -> None:
    path, headers = f"{API}/runtimes/{game_id}", {"Idempotency-Key": f"key of {game_id}".replace(" ", "-")}

    first = service.client.post(f"{path}/start", json={"image_ref": engine_image}, headers=headers)
    service.post(game_id, "stop", reason="finished")
    again = service.client.post(f"{path}/start", json={"image_ref": engine_image}, headers=headers)
    other = service.client.post(f"{path}/start", json={"image_ref": NOWHERE}, headers=headers)

    assert (again.status_code, again.json()) == (200, first.json())
    assert verdict(other) == (409, "conflict")
    assert service.record(game_id)["status"] == "stopped"
    assert [one["op_kind"] for one in service.operations(game_id)] == ["stop", "start"]


def test_a_failure_is_answered_alike_under_its_key_and_notified_once(service: Service, game_id: str) -> None:
    path, headers = f"{API}/runtimes/{game_id}/start", {"Idempotency-Key": f"failure-{game_id}"}

    first, again = (service.client.post(path, json={"image_ref": NOWHERE}, headers=headers) for _ in range(2))

    (operation,) = service.operations(game_id)
    assert verdict(first) == verdict(again) == (500, "image_pull_failed")
    assert first.json() == again.json()

    def notified() -> list[dict[str, Any]]:
        payloads = [json.loads(one["payload_json"]) for one in service.entries(INTENTS)]
        return [one for one in payloads if one["game_id"] == game_id]

    (payload,) = wait_for(notified, what="the intent")
    assert set(payload) == {"game_id", "image_ref", "error_code", "error_message", "attempted_at_ms"}
    assert payload["error_message"] == operation["error_message"]
    assert service.entries(RESULTS, game_id=game_id) == []


def test_lists_are_paged_and_filtered_by_status(service: Service, engine_image: str) -> None:
    games = [service.playground.game_id(f"listed-{number}") for number in range(3)]
    for game_id in games:
        assert service.post(game_id, "start", image_ref=engine_image, no_start=True).status_code == 200

    def walk(address: str) -> Iterator[dict[str, Any]]:
        while address:
            answer = service.client.get(address)
            assert set(answer.json()) == {"items"}
            yield from answer.json()["items"]
            address = answer.links.get("next", {}).get("url", "")

    stopped = [one["game_id"] for one in walk(f"{API}/runtimes?status=stopped&limit=1")]
    everything = [one["game_id"] for one in walk(f"{API}/runtimes?limit=2")]
    assert [game_id for game_id in stopped if game_id in games] == games
    assert set(stopped) <= set(everything)
    assert len(everything) == len(set(everything))
    assert {one["status"] for one in walk(f"{API}/runtimes?status=stopped")} == {"stopped"}


@pytest.mark.parametrize("query", ["status=dead", "limit=0", "limit=many", "cursor=!"])
def test_a_question_that_cannot_be_meant_is_an_invalid_request(service: Service, query: str) -> None:
    assert verdict(service.client.get(f"{API}/runtimes?{query}")) == (400, "invalid_request")
