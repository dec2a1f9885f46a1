"""Failing jobs: each has one result, leaves nothing behind, and does not delay other games."""

import json
from collections.abc import Mapping

import pytest

from tests.servers.service import DEAD_LETTERS, INTENTS, START_JOBS, STOP_JOBS, JobResult, Service

NO_SUCH_IMAGE = "127.0.0.1:9/no/such-engine:1.0.0"


def assert_nothing_is_left(service: Service, game_id: str) -> None:
    assert service.playground.containers(game_id) == []
    assert not service.has_record(game_id)


def intents(service: Service, game_id: str) -> list[dict[str, str]]:
    return [one for one in service.entries(INTENTS) if json.loads(one["payload_json"])["game_id"] == game_id]


def assert_one_intent(service: Service, result: JobResult, *, image_ref: str) -> None:
    (intent,) = intents(service, result.game_id)
    payload = json.loads(intent["payload_json"])
    assert intent["notification_type"] == f"runtime.{result.error_code}"
    assert (intent["producer"], intent["audience_kind"]) == ("runtime_manager", "admin_email")
    key = f"runtime_manager:{result.error_code}:{result.game_id}:{payload['attempted_at_ms']}"
    assert intent["idempotency_key"] == key
    assert (payload["image_ref"], payload["error_code"]) == (image_ref, result.error_code)
    assert payload["error_message"] == result.error_message


def test_an_image_that_cannot_be_had_fails_with_one_notification(service: Service, game_id: str) -> None:
    service.start_job(game_id, NO_SUCH_IMAGE)

    result = service.result(game_id)
    assert (result.outcome, result.error_code) == ("failure", "image_pull_failed")
    assert (result.container_id, result.engine_endpoint) == ("", "")
    assert_one_intent(service, result, image_ref=NO_SUCH_IMAGE)
    assert_nothing_is_left(service, game_id)
    assert [one["outcome"] for one in service.operations(game_id)] == ["failure"]


def test_an_engine_that_dies_at_once_fails_and_leaves_nothing(
    service: Service, game_id: str, crashing_image: str
) -> None:
    service.start_job(game_id, crashing_image)

    result = service.result(game_id)
    assert (result.outcome, result.error_code) == ("failure", "container_start_failed")
    assert "3" in result.error_message
    assert_one_intent(service, result, image_ref=crashing_image)
    assert_nothing_is_left(service, game_id)


def test_a_failed_start_of_a_stopped_game_leaves_its_record_as_it_was(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.start_job(game_id, engine_image)
    service.stop_job(game_id)
    service.results(game_id, 2)
    before = service.record(game_id)

    service.start_job(game_id, NO_SUCH_IMAGE)

    failed = service.results(game_id, 3)[-1]
    assert (failed.outcome, failed.error_code) == ("failure", "image_pull_failed")
    assert service.record(game_id) == before


def test_an_image_reference_that_is_none_fails_before_any_docker_work(service: Service, game_id: str) -> None:
    service.start_job(game_id, "Not An Image")

    result = service.result(game_id)
    assert (result.outcome, result.error_code) == ("failure", "start_config_invalid")
    assert_one_intent(service, result, image_ref="Not An Image")
    assert_nothing_is_left(service, game_id)


def test_a_container_of_that_name_made_by_others_is_never_touched(
    service: Service, game_id: str, engine_image: str
) -> None:
    client = service.playground.client
    foreign = client.containers.create(engine_image, name=f"galaxy-game-{game_id}", labels={"made.by": "another"})

    service.start_job(game_id, engine_image)

    result = service.result(game_id)
    foreign.reload()
    state = foreign.status
    foreign.remove()
    assert (result.outcome, result.error_code) == ("failure", "container_start_failed")
    assert state == "created"
    assert not service.has_record(game_id)


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        pytest.param(START_JOBS, {"image_ref": ""}, id="no-image"),
        pytest.param(START_JOBS, {"requested_at_ms": "yesterday"}, id="no-time"),
        pytest.param(STOP_JOBS, {"reason": "because"}, id="unknown-reason"),
    ],
)
def test_a_malformed_job_of_a_known_game_is_a_dead_letter_and_a_failure(
    service: Service, game_id: str, stream: str, fault: Mapping[str, str]
) -> None:
    well_formed = {"image_ref": "engine:1.0.0", "reason": "cancelled", "requested_at_ms": "1800000000000"}
    entry = {"game_id": game_id, **well_formed, **fault}

    entry_id = service.add_job(stream, **entry)

    result = service.result(game_id)
    (dead_letter,) = [one for one in service.entries(DEAD_LETTERS) if one["entry_id"] == entry_id]
    assert (result.outcome, result.error_code) == ("failure", "invalid_request")
    assert next(iter(fault)) in result.error_message
    assert set(dead_letter) == {"stream", "entry_id", "reason", "fields_json"}
    assert (dead_letter["stream"], json.loads(dead_letter["fields_json"])) == (stream, entry)
    assert service.operations(game_id) == []


def test_entries_that_are_unreadable_block_nothing_and_are_kept(
    service: Service, game_id: str, engine_image: str
) -> None:
    unreadable = [
        service.add_job(START_JOBS, hello="world"),
        service.add_job(START_JOBS, game_id="../../etc", image_ref=engine_image, requested_at_ms="1800000000000"),
        service.add_job(STOP_JOBS, game_id="", reason="cancelled", requested_at_ms="1800000000000"),
    ]

    service.start_job(game_id, engine_image)

    assert service.result(game_id).outcome == "success"
    kept = [one["entry_id"] for one in service.entries(DEAD_LETTERS)]
    assert [entry_id for entry_id in kept if entry_id in unreadable] == unreadable
    pending = [service.streams.xpending(stream, group["name"])["pending"]
               for stream in (START_JOBS, STOP_JOBS) for group in service.streams.xinfo_groups(stream)]  # fmt: skip
    assert pending == [0, 0]
