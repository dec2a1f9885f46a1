"""The whole answer: sides, differences, what blocks, and its form as JSON and as text."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operations.api.explanation import OBSTACLES, ExplanationSerializer
from operations.api.records import EXAMPLE, OperationSerializer
from operations.explain import OPERATION_FIELDS, RECORD_FIELDS, explain, operation_json
from operations.explain_text import render
from operations.models import OutboxEvent
from runtimes.api.records import EXAMPLE as RECORD_EXAMPLE
from runtimes.api.records import RuntimeRecordSerializer
from tests.unit.operations.explained_games import (
    AWAY,
    BOX,
    CONTAINER_ID,
    GAMES,
    IMAGE,
    LETTER,
    NOW,
    OTHER_IMAGE,
    STOPPED,
    UNHEARD_OF,
    UP,
    at_work,
    container,
    operation,
    record,
    sees,
    waiting,
)

OOM_EVENT = OutboxEvent(
    id=5,
    topic="health_events",
    fields={
        "game_id": "g-42",
        "container_id": CONTAINER_ID,
        "event_type": "container_oom",
        "occurred_at_ms": "1795230489125",
        "details": '{"exit_code":137}',
    },
)


def answer(facts: Any) -> dict[str, Any]:
    return explain(facts, now=NOW).as_json()


@pytest.mark.parametrize("cause", GAMES)
def test_the_answer_is_json_with_every_key_of_the_document(cause: str) -> None:
    told = answer(GAMES[cause])

    assert json.loads(json.dumps(told)) == told
    assert list(told) == list(ExplanationSerializer().fields)
    for name in ("next_step", "next_automatic", "observed"):
        assert list(told[name]) == list(ExplanationSerializer().fields[name].fields)  # type: ignore[attr-defined]
    assert {one["what"] for one in told["blocked_by"]} <= set(OBSTACLES)


def test_record_and_operations_look_as_everywhere_in_the_api() -> None:
    steps = [{"name": "pull", "started_at": "2026-11-21T03:00:00Z"}]
    one = operation(steps=steps)
    facts = replace(UP, last_operations=(one,))

    told = answer(facts)

    assert (list(RECORD_FIELDS), list(OPERATION_FIELDS)) == (list(RECORD_EXAMPLE), list(EXAMPLE))
    assert told["recorded"] == RuntimeRecordSerializer(record()).data
    assert told["last_operations"] == [OperationSerializer(one).data]
    assert operation_json(one)["id"] == "7"


def test_what_is_the_same_on_all_sides_is_no_difference() -> None:
    assert answer(UP)["differences"] == []


def test_a_record_behind_docker_is_a_difference() -> None:
    (one,) = answer(replace(STOPPED, sight=sees(container())))["differences"]

    assert one == {
        "what": "status",
        "recorded": "stopped",
        "observed": "running",
        "desired": "stopped",
        "note": "the record is behind Docker",
    }


def test_an_image_without_a_tag_is_no_difference_to_what_docker_makes_of_it() -> None:
    labels = {**container().labels, "com.galaxy.engine_image_ref": "engine"}
    seen = container(image_ref="engine:latest", labels=labels)

    told = answer(replace(UP, record=record(current_image_ref="engine"), sight=sees(seen), desired_by=None))

    assert told["differences"] == []


def test_what_docker_does_not_tell_is_null_and_no_difference() -> None:
    told = answer(replace(UP, sight=AWAY))

    assert (told["observed"]["known"], told["observed"]["state"]) == (False, None)
    assert told["differences"] == []
    assert [one["what"] for one in told["blocked_by"]] == ["docker"]


def test_a_back_off_blocks_until_it_ends() -> None:
    told = answer(GAMES["backing_off"])

    (one,) = told["blocked_by"]
    assert (one["what"], one["until"]) == ("backoff", "2026-11-21T03:12:30Z")
    assert told["open_operations"][0]["deferrals"] == 6


def test_a_lease_and_the_queue_behind_it_block() -> None:
    told = answer(GAMES["queued_behind"])

    assert [one["what"] for one in told["blocked_by"]] == ["lease", "queue"]
    assert told["open_count"] == 3


def test_the_wish_of_an_open_operation_is_what_is_desired() -> None:
    told = answer(at_work(waiting("patch", image_ref=OTHER_IMAGE)))

    assert (told["desired"]["status"], told["desired"]["image_ref"]) == ("running", OTHER_IMAGE)
    assert told["desired"]["by"] == "lobby_stream: 1800000000000-0"


def test_a_restart_desires_the_image_on_record() -> None:
    assert answer(replace(UP, desired_by=operation("restart", image_ref="")))["desired"]["image_ref"] == IMAGE


def test_a_health_event_is_told_with_its_time_and_details() -> None:
    (one,) = answer(replace(UP, health_events=(OOM_EVENT,)))["health_history"]

    assert one["occurred_at"] == "2026-11-21T03:08:09.125000Z"
    assert one["details"] == {"exit_code": 137}


def test_beneath_an_outage_the_games_own_cause_is_told() -> None:
    told = answer(replace(GAMES["out_of_memory"], redis_reason="refused"))

    assert told["cause"] == "redis_down"
    assert "Apart from that: Game g-42 does not run: the kernel killed" in told["detail"]


class TestText:
    @pytest.mark.parametrize("cause", GAMES)
    def test_the_text_begins_with_the_cause_and_stays_within_its_width(self, cause: str) -> None:
        facts = replace(GAMES[cause], dead_letters=(LETTER,), health_events=(OOM_EVENT,))

        text = render(answer(facts), width=80)

        assert cause in text.splitlines()[0]
        told = answer(facts)
        assert told["headline"] in " ".join(text.split())
        assert "container_oom" in text
        assert [line for line in text.splitlines() if len(line) > 80 and " " not in line.strip("$ ")] == []

    def test_the_command_is_on_a_line_of_its_own(self) -> None:
        lines = render(answer(GAMES["killed_outside"])).splitlines()

        assert "           $ rtm restart g-42" in lines

    def test_what_differs_is_marked(self) -> None:
        text = render(answer(replace(STOPPED, sight=sees(container()))))

        assert [line.split()[0] for line in text.splitlines() if line.endswith("<> differs")] == ["status"]

    def test_times_are_told_with_their_distance(self) -> None:
        text = render(answer(GAMES["backing_off"]))

        assert "It is tried again: 03:12:30 UTC (in 21 s)." in text

    def test_control_characters_of_a_message_do_not_reach_the_terminal(self) -> None:
        nasty = operation(error_message="\x1b[2Jgone", outcome="failure", error_code="internal_error")

        assert "\x1b" not in render(answer(replace(UNHEARD_OF, last_operations=(nasty,))))

    def test_limits_are_told_in_units(self) -> None:
        limits = {"memory_bytes": 512 * 1024**2, "nano_cpus": 1_500_000_000, "pids_limit": 512, "read_only": True}

        text = render(answer(replace(UP, sight=sees(container(), limits=limits), black_box=BOX)))

        assert "512 MiB memory, 1.5 CPU, 512 processes, read-only root" in text
        assert "black box  #12" in text


def test_times_beyond_a_day_carry_their_date() -> None:
    old = replace(STOPPED, record=record("stopped", stopped_at=NOW - timedelta(days=3)))

    assert "2026-11-18 03:12:09 UTC (3 days ago)" in answer(old)["headline"]
