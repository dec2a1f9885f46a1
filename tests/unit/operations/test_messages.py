import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.messages import (
    NOTIFIED_ERRORS,
    HealthEvent,
    HealthEventType,
    dead_letter_fields,
    epoch_ms,
    health_event_fields,
    intent_key,
    job_result_fields,
    notification_intent_fields,
)
from runtimes.exceptions import ErrorCode

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_999, tzinfo=UTC)
NOON_MS = "1772366400123"
RESULT_FIELDS = ["game_id", "outcome", "container_id", "engine_endpoint", "error_code", "error_message"]


def exited(container_id: str = "c1", **changes: str) -> HealthEvent:
    return HealthEvent(HealthEventType.CONTAINER_EXITED, container_id, NOON, {"oom": False, "exit_code": 3}, **changes)


def are_flat_strings(fields: dict[str, str]) -> bool:
    return all(isinstance(text, str) for pair in fields.items() for text in pair)


def test_milliseconds_are_cut_off_not_rounded_up_into_the_future() -> None:
    assert epoch_ms(NOON) == int(NOON_MS)


@given(st.integers(0, 4_102_444_800_000))
def test_every_millisecond_of_this_century_comes_back(milliseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)

    assert epoch_ms(moment) == milliseconds


def test_a_result_always_has_its_six_fields() -> None:
    fields = job_result_fields(game_id="g1", outcome="success")

    assert fields == {
        "game_id": "g1",
        "outcome": "success",
        "container_id": "",
        "engine_endpoint": "",
        "error_code": "",
        "error_message": "",
    }


def test_a_result_says_what_it_was_given() -> None:
    values = ["g1", "failure", "c1", "http://galaxy-game-g1:8080", "image_pull_failed", "no such image"]

    fields = job_result_fields(**dict(zip(RESULT_FIELDS, values, strict=True)))

    assert list(fields.items()) == list(zip(RESULT_FIELDS, values, strict=True))


def test_a_health_event_is_flat_with_its_details_as_json() -> None:
    fields = health_event_fields("g1", exited())

    assert are_flat_strings(fields)
    assert fields == {
        "game_id": "g1",
        "container_id": "c1",
        "event_type": "container_exited",
        "occurred_at_ms": NOON_MS,
        "details": '{"exit_code":3,"oom":false}',
    }


def test_a_health_event_without_details_has_an_empty_object() -> None:
    event = HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, "c1", NOON)

    assert health_event_fields("g1", event)["details"] == "{}"


def test_the_list_of_health_events_is_the_one_of_the_contract() -> None:
    assert {str(event_type) for event_type in HealthEventType} == {
        "container_started",
        "container_exited",
        "container_oom",
        "container_disappeared",
        "inspect_unhealthy",
        "probe_failed",
        "probe_recovered",
    }


def test_one_occurrence_is_one_event_even_if_seen_twice() -> None:
    later = HealthEvent(HealthEventType.CONTAINER_EXITED, "c1", NOON + timedelta(seconds=9))

    assert exited().dedupe_key == later.dedupe_key == "health:c1:container_exited"


def test_other_containers_types_and_occurrences_are_other_events() -> None:
    disappeared = HealthEvent(HealthEventType.CONTAINER_DISAPPEARED, "c1", NOON)
    events = [exited(), exited("c2"), exited(exit_key="1"), exited(exit_key="2"), disappeared]

    assert len({event.dedupe_key for event in events}) == len(events)


def test_an_intent_carries_what_people_need_and_the_key_of_the_contract() -> None:
    fields = notification_intent_fields(
        game_id="g1",
        image_ref="engine:1.0.0",
        error_code=ErrorCode.IMAGE_PULL_FAILED.value,
        error_message='no "such" image',
        attempted_at=NOON,
    )

    payload = json.loads(fields.pop("payload_json"))
    assert are_flat_strings(fields)
    assert fields == {
        "notification_type": "runtime.image_pull_failed",
        "producer": "runtime_manager",
        "audience_kind": "admin_email",
        "idempotency_key": f"runtime_manager:image_pull_failed:g1:{NOON_MS}",
        "occurred_at_ms": NOON_MS,
    }
    assert payload == {
        "game_id": "g1",
        "image_ref": "engine:1.0.0",
        "error_code": "image_pull_failed",
        "error_message": 'no "such" image',
        "attempted_at_ms": int(NOON_MS),
    }


def test_another_attempt_is_another_intent() -> None:
    keys = {
        intent_key(error_code="image_pull_failed", game_id="g1", attempted_at=NOON + timedelta(milliseconds=number))
        for number in range(3)
    }

    assert len(keys) == 3


def test_operators_are_notified_of_three_classes_of_failed_starts() -> None:
    assert sorted(NOTIFIED_ERRORS) == ["container_start_failed", "image_pull_failed", "start_config_invalid"]


def test_a_dead_letter_keeps_the_entry_whole() -> None:
    fields = dead_letter_fields(stream="runtime:start_jobs", entry_id="17-0", reason="why", fields={"b": "2", "a": "1"})

    assert fields == {
        "stream": "runtime:start_jobs",
        "entry_id": "17-0",
        "reason": "why",
        "fields_json": '{"a":"1","b":"2"}',
    }


@pytest.mark.parametrize("text", ["\x00", "\ud800", "grün", "line\nbreak", "\u2028"])
def test_whatever_a_dead_letter_holds_can_be_stored_and_read_back(text: str) -> None:
    dead_letter = dead_letter_fields(stream="s", entry_id="1-0", reason="why", fields={text: text})["fields_json"]

    assert dead_letter.isascii()
    assert dead_letter.isprintable()
    assert json.loads(dead_letter) == {text: text}


def test_a_dead_letter_keeps_all_values_of_a_repeated_field() -> None:
    fields = dead_letter_fields(stream="s", entry_id="1-0", reason="r", fields={"game_id": ["a", "b"], "n": "1"})

    assert fields["fields_json"] == '{"game_id":["a","b"],"n":"1"}'
