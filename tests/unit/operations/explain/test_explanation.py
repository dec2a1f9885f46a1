"""The whole explanation: differences, blockers, and its form as JSON and as text."""

import json
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operations.api.explain import ExplanationSerializer
from operations.api.serializers import EXAMPLE, OperationSerializer
from operations.explain.explanation import OPERATION_FIELDS, BlockerKind, explain, operation_json
from operations.explain.text import render
from operations.models import OutboxEvent
from runtimes.api.serializers import EXAMPLE as RECORD_EXAMPLE
from runtimes.api.serializers import RuntimeRecordSerializer
from tests.unit.operations.explain.game_facts import (
    CONTAINER_ID,
    DEAD_LETTER,
    DOCKER_DOWN,
    EXIT_REPORT,
    GAMES,
    IMAGE,
    NOW,
    OTHER_IMAGE,
    REFUSED_CLEANUP,
    SECOND_NETWORK,
    STOPPED,
    UNKNOWN_GAME,
    UP,
    after_failure,
    container,
    docker_state_of,
    operation,
    record,
    waiting,
    with_open_operation,
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
    explanation = answer(GAMES[cause])

    assert json.loads(json.dumps(explanation)) == explanation
    assert list(explanation) == list(ExplanationSerializer().fields)
    for name in ("next_step", "next_automatic", "observed"):
        assert list(explanation[name]) == list(ExplanationSerializer().fields[name].fields)  # type: ignore[attr-defined]
    assert {one["what"] for one in explanation["blocked_by"]} <= set(BlockerKind)


def test_record_and_operations_look_as_everywhere_in_the_api() -> None:
    steps = [{"name": "pull", "started_at": "2026-11-21T03:00:00Z"}]
    one = operation(steps=steps)
    facts = replace(UP, last_operations=(one,))

    explanation = answer(facts)

    assert (list(explanation["recorded"]), list(OPERATION_FIELDS)) == (list(RECORD_EXAMPLE), list(EXAMPLE))
    assert explanation["recorded"] == RuntimeRecordSerializer(record()).data
    assert explanation["last_operations"] == [OperationSerializer(one).data]
    assert operation_json(one)["id"] == "7"


def test_what_is_the_same_on_all_sides_is_no_difference() -> None:
    assert answer(UP)["differences"] == []


def test_a_record_behind_docker_is_a_difference() -> None:
    (one,) = answer(replace(STOPPED, docker_state=docker_state_of(container())))["differences"]

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

    explanation = answer(
        replace(UP, record=record(current_image_ref="engine"), docker_state=docker_state_of(seen), desired_by=None)
    )

    assert explanation["differences"] == []


def test_an_unknown_value_is_null_and_no_difference() -> None:
    explanation = answer(replace(UP, docker_state=DOCKER_DOWN))

    assert (explanation["observed"]["known"], explanation["observed"]["state"]) == (False, None)
    assert explanation["differences"] == []
    assert [one["what"] for one in explanation["blocked_by"]] == ["docker"]


def test_docker_that_no_worker_observed_is_unknown_and_blocked_by_the_worker() -> None:
    explanation = answer(GAMES["docker_not_observed"])

    assert (explanation["observed"]["known"], explanation["observed"]["state"]) == (False, None)
    assert explanation["differences"] == []
    assert [blocker["what"] for blocker in explanation["blocked_by"]] == ["worker"]


def test_a_back_off_blocks_until_it_ends() -> None:
    explanation = answer(GAMES["backing_off"])

    (one,) = explanation["blocked_by"]
    assert (one["what"], one["until"]) == ("backoff", "2026-11-21T03:12:30Z")
    assert explanation["open_operations"][0]["retries"] == 6


def test_a_back_off_without_a_reason_has_no_empty_place_for_one() -> None:
    facts = GAMES["backing_off"]
    (operation,) = facts.open_operations
    operation = copy(operation)
    operation.error_message = ""

    explanation = answer(replace(facts, open_operations=(operation,)))

    assert explanation["blocked_by"][0]["text"].endswith(" is retried later")


def test_a_lease_and_the_queue_behind_it_block() -> None:
    explanation = answer(GAMES["queued_behind"])

    assert [one["what"] for one in explanation["blocked_by"]] == ["lease", "queue"]
    assert explanation["open_count"] == 3


def test_an_open_operation_sets_the_desired_state() -> None:
    explanation = answer(with_open_operation(waiting("patch", image_ref=OTHER_IMAGE)))

    assert (explanation["desired"]["status"], explanation["desired"]["image_ref"]) == ("running", OTHER_IMAGE)
    assert explanation["desired"]["by"] == "lobby_stream: 1800000000000-0"


def test_a_restart_desires_the_image_on_record() -> None:
    assert answer(replace(UP, desired_by=operation("restart", image_ref="")))["desired"]["image_ref"] == IMAGE


def test_a_health_event_has_its_time_and_details() -> None:
    (one,) = answer(replace(UP, health_events=(OOM_EVENT,)))["health_history"]

    assert one["occurred_at"] == "2026-11-21T03:08:09.125000Z"
    assert one["details"] == {"exit_code": 137}


def test_beneath_an_outage_the_games_own_cause_is_diagnosis_of() -> None:
    explanation = answer(replace(GAMES["out_of_memory"], redis_reason="refused"))

    assert explanation["cause"] == "redis_down"
    assert "Apart from that: g-42 is down: out of memory. The kernel killed" in explanation["detail"]


def test_a_refused_request_is_a_note_in_the_answer_and_in_the_text() -> None:
    explanation = answer(after_failure(REFUSED_CLEANUP, UP))

    (note,) = explanation["notes"]
    assert (explanation["cause"], note["kind"], note["operation_id"]) == ("healthy", "operation_refused", 9)
    assert list(note) == list(ExplanationSerializer().fields["notes"].child.fields)  # type: ignore[attr-defined]
    assert "note       Its last cleanup_container was refused (conflict)" in render(explanation)


def test_a_second_network_is_a_difference_of_the_configuration_and_not_of_the_record() -> None:
    joined = container(addresses={"bridge": "172.17.0.2", "galaxy-net": "172.20.0.5"})

    explanation = answer(replace(UP, docker_state=docker_state_of(joined, configuration=(SECOND_NETWORK,))))

    (one,) = explanation["configuration"]
    assert explanation["differences"] == []
    assert (explanation["cause"], one["kind"]) == ("configuration_drift", "networks")
    assert list(one) == list(ExplanationSerializer().fields["configuration"].child.fields)  # type: ignore[attr-defined]
    text = " ".join(render(explanation).split())
    assert "networks: bridge, galaxy-net, should be galaxy-net (RTMANAGER_DOCKER_NETWORK)" in text


def test_a_container_outside_of_its_network_is_no_record_behind_docker() -> None:
    (one,) = answer(GAMES["wrong_network"])["differences"]

    assert (one["what"], one["observed"]) == ("network", "bridge")
    assert one["note"] == "its container is not in the recorded network"


def test_the_response_of_an_older_service_is_rendered_too() -> None:
    explanation = answer(UP)
    del explanation["notes"], explanation["configuration"]

    assert render(explanation).startswith("OK  healthy")


class TestText:
    @pytest.mark.parametrize("cause", GAMES)
    def test_the_text_begins_with_the_cause_and_stays_within_its_width(self, cause: str) -> None:
        facts = replace(GAMES[cause], dead_letters=(DEAD_LETTER,), health_events=(OOM_EVENT,))

        text = render(answer(facts), width=80)

        assert cause in text.splitlines()[0]
        explanation = answer(facts)
        assert explanation["headline"] in " ".join(text.split())
        assert "container_oom" in text
        assert [line for line in text.splitlines() if len(line) > 80 and " " not in line.strip("$ ")] == []

    def test_the_command_is_on_a_line_of_its_own(self) -> None:
        lines = render(answer(GAMES["killed_outside"])).splitlines()

        assert "           $ rtm restart g-42" in lines

    def test_what_differs_is_marked(self) -> None:
        text = render(answer(replace(STOPPED, docker_state=docker_state_of(container()))))

        assert [line.split()[0] for line in text.splitlines() if line.endswith("<> differs")] == ["status"]

    def test_times_are_shown_with_their_age(self) -> None:
        text = render(answer(GAMES["backing_off"]))

        assert "The operation is retried: 03:12:30 UTC (in 21 s)." in text

    def test_control_characters_of_a_message_do_not_reach_the_terminal(self) -> None:
        nasty = operation(error_message="\x1b[2Jgone", outcome="failure", error_code="internal_error")

        assert "\x1b" not in render(answer(replace(UNKNOWN_GAME, last_operations=(nasty,))))

    def test_limits_are_shown_in_units(self) -> None:
        limits = {"memory_bytes": 512 * 1024**2, "nano_cpus": 1_500_000_000, "pids_limit": 512, "read_only": True}

        text = render(
            answer(replace(UP, docker_state=docker_state_of(container(), limits=limits), exit_report=EXIT_REPORT))
        )

        assert "512 MiB memory, 1.5 CPU, 512 processes, read-only root" in text
        assert "report     #12: exit code and last log lines" in text

    def test_each_mount_is_shown_with_its_directory_on_the_host(self) -> None:
        mounts = [
            {"type": "bind", "source": "/srv/g-42/.volumes/data", "target": "/data", "read_only": False},
            {"type": "bind", "source": "/srv/g-42/.volumes", "target": "/state/.volumes", "read_only": True},
        ]

        text = render(answer(replace(UP, docker_state=docker_state_of(container(), limits={"mounts": mounts}))))

        assert "mounts     /data from /srv/g-42/.volumes/data\n" in text
        assert "           /state/.volumes from /srv/g-42/.volumes, read-only\n" in text + "\n"


def test_times_beyond_a_day_carry_their_date() -> None:
    old = replace(STOPPED, record=record("stopped", stopped_at=NOW - timedelta(days=3)))

    assert "2026-11-18 03:12:09 UTC (3 days ago)" in answer(old)["headline"]
