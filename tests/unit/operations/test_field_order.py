"""The order in which fields stand on the streams."""

from datetime import UTC, datetime

import pytest

from operations.messages import (
    EVENT_FIELDS,
    HealthEvent,
    HealthEventType,
    dead_letter_fields,
    health_event_fields,
    in_contract_order,
    job_result_fields,
    notification_intent_fields,
)
from operations.states import Topic

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
WRITTEN = {
    Topic.JOB_RESULTS: job_result_fields(game_id="g1", outcome="success"),
    Topic.HEALTH_EVENTS: health_event_fields("g1", HealthEvent(HealthEventType.CONTAINER_OOM, "c1", AT)),
    Topic.NOTIFICATION_INTENTS: notification_intent_fields(
        game_id="g1", image_ref="e:1", error_code="image_pull_failed", error_message="no such image", attempted_at=AT
    ),
    Topic.DEAD_LETTERS: dead_letter_fields(stream="s", entry_id="1-0", reason="bad", fields={}),
}


@pytest.mark.parametrize("topic", list(Topic))
def test_whatever_is_written_has_exactly_the_fields_of_the_contract(topic: Topic) -> None:
    assert tuple(WRITTEN[topic]) == EVENT_FIELDS[topic]


@pytest.mark.parametrize("topic", list(Topic))
def test_the_contract_order_comes_back_after_a_database_that_keeps_none(topic: Topic) -> None:
    as_jsonb_keeps_it = dict(sorted(WRITTEN[topic].items(), key=lambda pair: (len(pair[0]), pair[0])))

    ordered = in_contract_order(topic, as_jsonb_keeps_it)

    assert list(ordered.items()) == list(WRITTEN[topic].items())


def test_a_field_that_the_contract_does_not_know_goes_last_and_is_not_lost() -> None:
    assert list(in_contract_order(Topic.DEAD_LETTERS, {"extra": "x", "reason": "r"})) == ["reason", "extra"]
