"""Logs and stats over HTTP: the last lines, the lines to come, and who may follow."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from operations.models import Operation
from runtimes.containers import log_followers
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeDocker, FakeImage
from runtimes.containers.log_followers import MAX_FOLLOWERS
from runtimes.models import Runtime
from runtimes.process import shutting_down
from tests.integration.rest_harness import IMAGE, RUNTIMES, start, stop

pytestmark = pytest.mark.usefixtures("trusted_network")
LOGS, STATS = f"{RUNTIMES}/g-1/logs", f"{RUNTIMES}/g-1/stats"


@pytest.fixture
def container_id(engine: FakeDocker, client: Client) -> str:
    """The container of a game that runs and has said two lines."""
    engine.images[IMAGE] = FakeImage(log_lines=[("stdout", "ready"), ("stderr", "trouble")])
    return str(start(client).json()["current_container_id"])


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats come soon."""
    monkeypatch.setattr(log_followers, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(log_followers, "_SLICE_SECONDS", 0.02)


def texts(response: Any) -> list[str]:
    assert response.status_code == 200
    return [item["line"] for item in response.json()["items"]]


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def items(body: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for chunk in body for line in chunk.splitlines() if line)


def test_the_last_lines_have_a_time_and_a_stream(client: Client, container_id: str) -> None:
    answer = client.get(LOGS).json()

    assert answer["container_id"] == container_id
    assert [(one["stream"], one["line"]) for one in answer["items"]] == [("stdout", "ready"), ("stderr", "trouble")]
    assert all(datetime.fromisoformat(one["at"]).tzinfo == UTC for one in answer["items"])


def test_a_caller_says_how_many_lines_and_from_when(client: Client, container_id: str, engine: FakeDocker) -> None:
    engine.write_log(container_id, "one")
    since = engine.logs[container_id][-1].at

    assert texts(client.get(LOGS, {"tail": "1"})) == ["one"]
    assert texts(client.get(LOGS, {"tail": "0"})) == []
    assert texts(client.get(LOGS, {"since": str(since)})) == ["one"]
    assert texts(client.get(LOGS, {"since": str(datetime.now(UTC) + timedelta(hours=1))})) == []


def test_a_stopped_game_has_its_log_until_the_cleanup(client: Client, container_id: str) -> None:
    stop(client)
    assert texts(client.get(LOGS)) == ["ready", "trouble"]

    client.delete(f"{RUNTIMES}/g-1/container")

    answer = client.get(LOGS)
    assert refusal(answer) == (404, "not_found")
    assert "exit reports" in answer.json()["error"]["message"]
    assert container_id


@pytest.mark.parametrize("address", [LOGS, STATS])
def test_a_game_without_a_record_has_neither_log_nor_stats(client: Client, engine: FakeDocker, address: str) -> None:
    assert engine
    assert refusal(client.get(address)) == (404, "not_found")


@pytest.mark.parametrize("address", [LOGS, STATS, f"{LOGS}?follow=true"])
def test_a_container_that_vanished_is_not_found(
    client: Client, container_id: str, engine: FakeDocker, address: str
) -> None:
    engine.remove_externally(container_id)

    assert refusal(client.get(address)) == (404, "not_found")


@pytest.mark.parametrize("address", [LOGS, STATS, f"{LOGS}?follow=true"])
def test_without_docker_nothing_is_said_of_a_container(
    client: Client, container_id: str, engine: FakeDocker, address: str
) -> None:
    engine.disconnect()

    assert refusal(client.get(address)) == (503, "docker_unavailable")
    assert container_id


@pytest.mark.parametrize("address", [LOGS, f"{LOGS}?follow=true"])
def test_a_log_that_is_not_stored_is_a_conflict(
    client: Client, container_id: str, engine: FakeDocker, address: str
) -> None:
    engine.without_logs.add(container_id)

    assert refusal(client.get(address)) == (409, "conflict")


@pytest.mark.parametrize(
    "query",
    ["tail=-1", "tail=2001", "tail=many", "tail=", "since=yesterday", "since=2026-11-21T08:30:00", "follow=1",
     "since=2026-13-45T08:30:00Z"],
)  # fmt: skip
def test_a_query_that_cannot_be_meant_is_refused(client: Client, container_id: str, query: str) -> None:
    assert refusal(client.get(f"{LOGS}?{query}")) == (400, "invalid_request")
    assert container_id


def test_a_follower_gets_a_line_of_json_for_each_line(client: Client, container_id: str, engine: FakeDocker) -> None:
    answer = client.get(LOGS, {"follow": "true", "tail": "1"})
    lines = items(iter(answer))
    first = next(lines)
    engine.write_log(container_id, "one")

    second = next(lines)

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/x-ndjson")
    assert (first["line"], second["line"]) == ("trouble", "one")
    assert list(first) == ["at", "stream", "line"]
    answer.close()


def test_a_followed_log_ends_with_the_container(client: Client, container_id: str, engine: FakeDocker) -> None:
    answer = client.get(LOGS, {"follow": "true"})
    engine.exit(container_id, exit_code=3)

    assert [one["line"] for one in items(iter(answer))] == ["ready", "trouble"]


@pytest.mark.usefixtures("soon")
def test_silence_is_broken_by_an_empty_line_so_that_a_dead_caller_is_noticed(client: Client, container_id: str) -> None:
    answer = client.get(LOGS, {"follow": "true", "tail": "0"})

    assert next(iter(answer)) == b"\n"

    answer.close()
    assert container_id


def test_a_log_that_breaks_off_does_not_pass_for_ended(client: Client, container_id: str, engine: FakeDocker) -> None:
    answer = client.get(LOGS, {"follow": "true", "tail": "0"})
    engine.end_subscriptions()

    with pytest.raises(ContainersUnavailableError):
        next(iter(answer))

    answer.close()
    assert container_id


def test_the_number_of_followers_is_limited_and_a_slot_is_free_when_one_ends(client: Client, container_id: str) -> None:
    answers = [client.get(LOGS, {"follow": "true"}) for _ in range(MAX_FOLLOWERS)]

    assert refusal(client.get(LOGS, {"follow": "true"})) == (503, "service_unavailable")
    assert texts(client.get(LOGS)) == ["ready", "trouble"]

    # One that never read a line, twice over: its place is given back once.
    answers[0].close()
    answers[0].close()
    answers[0] = client.get(LOGS, {"follow": "true"})
    assert answers[0].status_code == 200
    assert refusal(client.get(LOGS, {"follow": "true"})) == (503, "service_unavailable")
    for answer in answers:
        answer.close()
    assert container_id


def test_a_follower_that_could_not_begin_holds_no_place(client: Client, container_id: str, engine: FakeDocker) -> None:
    engine.remove_externally(container_id)
    for _ in range(MAX_FOLLOWERS + 1):
        assert refusal(client.get(LOGS, {"follow": "true"})) == (404, "not_found")


def test_a_process_that_ends_lets_go_of_its_followers(client: Client, container_id: str) -> None:
    answer = client.get(LOGS, {"follow": "true", "tail": "0"})
    shutting_down.set()
    try:
        assert list(answer) == []
    finally:
        shutting_down.clear()
        answer.close()
    assert container_id


def test_asking_for_the_head_of_a_followed_log_follows_nothing(client: Client, container_id: str) -> None:
    answers = [client.head(LOGS, {"follow": "true"}) for _ in range(MAX_FOLLOWERS + 1)]

    assert {answer.status_code for answer in answers} == {200}
    assert container_id


def test_stats_say_what_the_container_uses(client: Client, container_id: str) -> None:
    answer = client.get(STATS).json()

    assert answer["container_id"] == container_id
    assert (answer["cpu_percent"], answer["pids"]) == (2.5, 2)
    assert answer["memory_bytes"] < answer["memory_limit_bytes"]
    assert datetime.fromisoformat(answer["at"]).tzinfo == UTC


def test_a_stopped_game_uses_nothing_that_could_be_measured(client: Client, container_id: str) -> None:
    stop(client)

    assert refusal(client.get(STATS)) == (409, "conflict")
    assert Runtime.objects.get().current_container_id == container_id


def test_reading_leaves_no_trace(client: Client, container_id: str) -> None:
    before = Operation.objects.count()

    client.get(LOGS)
    client.get(STATS)

    assert Operation.objects.count() == before
    assert container_id
