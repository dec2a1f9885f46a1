"""What was done and what was said, of all games, over HTTP."""

import threading
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from operations.api import events
from operations.models import Operation, OutboxEvent
from runtimes.process import shutting_down
from tests.conftest import RtmSettings
from tests.integration.runtimes.api.test_runtimes import AT, add_operation, read_all

OPERATIONS = "/api/v1/internal/operations"
EVENTS = "/api/v1/internal/events"


@pytest.fixture(autouse=True)
def _trusted_network(rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="network")


def add_event(number: int, *, topic: str = "job_results", game_id: str = "g-1") -> OutboxEvent:
    fields = {"game_id": game_id, "outcome": "success"}
    return OutboxEvent.objects.create(topic=topic, dedupe_key=f"e-{number}", game_id=game_id, fields=fields)


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [one["id"] for one in response.json()["items"]]


class TestOperations:
    def test_those_of_all_games_are_listed_newest_first_page_by_page(self, client: Client) -> None:
        known = [str(add_operation(number, game_id=f"g-{number}").pk) for number in range(5)]

        pages = read_all(client, f"{OPERATIONS}?limit=2")

        assert [one["id"] for page in pages for one in page] == known[::-1]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("state=accepted", [2]),
            ("outcome=success", [1, 0]),
            ("op_kind=stop", [2]),
            ("game_id=g-1&state=finished", [1]),
        ],
    )
    def test_each_filter_leaves_what_fits(self, client: Client, query: str, expected: list[int]) -> None:
        rows = [add_operation(number, game_id=f"g-{number}") for number in range(2)]
        rows.append(Operation.objects.create(game_id="g-1", op_kind="stop", op_source="gm_rest", job_key="open"))

        assert ids(client.get(f"{OPERATIONS}?{query}")) == [str(rows[index].pk) for index in expected]

    @pytest.mark.parametrize(
        "query", ["state=odd", "outcome=maybe", "op_kind=dance", "game_id=-", "limit=0", "cursor=!"]
    )
    def test_what_cannot_be_meant_is_refused(self, client: Client, query: str) -> None:
        answer = client.get(f"{OPERATIONS}?{query}")

        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")

    def test_a_page_is_one_query(self, client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        for number in range(30):
            add_operation(number)

        with django_assert_num_queries(1):
            assert len(ids(client.get(f"{OPERATIONS}?state=finished"))) == 30


class TestEvents:
    def test_without_a_beginning_the_newest_are_reported_oldest_first(self, client: Client) -> None:
        known = [str(add_event(number).pk) for number in range(5)]

        assert ids(client.get(f"{EVENTS}?limit=3")) == known[2:]

    def test_after_an_event_the_next_ones_are_reported(self, client: Client) -> None:
        known = [str(add_event(number).pk) for number in range(5)]

        assert ids(client.get(f"{EVENTS}?after={known[1]}&limit=2")) == known[2:4]
        assert ids(client.get(f"{EVENTS}?after=0")) == known

    def test_an_event_shows_what_it_says_and_where_it_went(self, client: Client) -> None:
        event = add_event(1)
        OutboxEvent.objects.filter(pk=event.pk).update(published_at=AT, stream_entry_id="17-0", created_at=AT)

        (shown,) = client.get(EVENTS).json()["items"]

        assert shown == {
            "id": str(event.pk),
            "topic": "job_results",
            "game_id": "g-1",
            "fields": {"game_id": "g-1", "outcome": "success"},
            "created_at": "2026-11-21T08:30:00Z",
            "published_at": "2026-11-21T08:30:00Z",
            "stream_entry_id": "17-0",
        }

    def test_topic_and_game_filter(self, client: Client) -> None:
        add_event(1, game_id="g-2")
        wanted = add_event(2, topic="health_events")
        add_event(3)

        assert ids(client.get(f"{EVENTS}?topic=health_events&game_id=g-1")) == [str(wanted.pk)]

    @pytest.mark.parametrize(
        "query", ["after=-1", "after=x", "topic=gossip", "game_id=-", "wait=31", "wait=x", "limit=0"]
    )
    def test_what_cannot_be_meant_is_refused(self, client: Client, query: str) -> None:
        answer = client.get(f"{EVENTS}?{query}")

        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")

    def test_a_held_call_ends_as_soon_as_there_is_something_to_report(self, client: Client) -> None:
        last = add_event(1)
        later = threading.Timer(0.3, _in_a_thread, [lambda: add_event(2)])
        later.start()

        found = ids(client.get(f"{EVENTS}?after={last.pk}&wait=20"))

        later.join()
        assert found == [str(OutboxEvent.objects.get(dedupe_key="e-2").pk)]

    def test_a_held_call_ends_empty_when_its_time_is_over(self, client: Client) -> None:
        began = time.monotonic()

        assert ids(client.get(f"{EVENTS}?after=0&wait=1")) == []
        assert 1 <= time.monotonic() - began < 5

    def test_no_call_is_held_longer_than_the_service_holds_any(self, client: Client, rtm_settings: RtmSettings) -> None:
        rtm_settings(rest_wait_seconds=0.1, api_auth="network")
        began = time.monotonic()

        assert ids(client.get(f"{EVENTS}?after=0&wait=30")) == []
        assert time.monotonic() - began < 5

    def test_a_process_that_ends_lets_its_held_calls_go(self, client: Client) -> None:
        shutting_down.set()
        try:
            assert ids(client.get(f"{EVENTS}?after=0&wait=30")) == []
        finally:
            shutting_down.clear()

    def test_held_calls_never_take_all_threads(self, client: Client) -> None:
        taken = [events._followers.acquire(blocking=False) for _ in range(events.MAX_FOLLOWERS)]  # noqa: SLF001
        try:
            held = client.get(f"{EVENTS}?after=0&wait=5")
            plain = client.get(f"{EVENTS}?after=0")
        finally:
            for _ in taken:
                events._followers.release()  # noqa: SLF001

        assert (held.status_code, held.json()["error"]["code"]) == (503, "service_unavailable")
        assert plain.status_code == 200


def _in_a_thread(act: Any) -> None:
    try:
        act()
    finally:
        connection.close()
