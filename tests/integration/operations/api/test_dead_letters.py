"""Dead letters over HTTP with a real database."""

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from operations.api.dead_letters import EXAMPLE
from operations.models import DeadLetter, Operation
from runtimes.api_tokens import issue
from runtimes.models import ApiToken
from tests.conftest import RtmSettings

DEAD_LETTERS = "/api/v1/internal/dead-letters"
STOP = "runtime:stop_jobs"

pytestmark = pytest.mark.usefixtures("rig")


@pytest.fixture(autouse=True)
def _trusted_network(rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="network")


def add_dead_letter(number: int = 1, *, game_id: str = "g-1", reason: str = "boredom") -> DeadLetter:
    fields = {"game_id": game_id, "reason": reason, "requested_at_ms": "1700000000000"}
    return DeadLetter.objects.create(
        stream=STOP, entry_id=f"{number}-0", reason="no such reason", fields=json.dumps(fields), game_id=game_id
    )


def redrive(client: Client, dead_letter: DeadLetter, body: Any = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{DEAD_LETTERS}/{dead_letter.pk}/redrive", body or {}, "application/json", headers=named)


def listed(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"{DEAD_LETTERS}{query}")
    assert answer.status_code == 200
    return [one["id"] for one in answer.json()["items"]]


def test_a_dead_letter_has_the_fields_that_its_producer_sent(client: Client) -> None:
    dead_letter = add_dead_letter()

    shown = client.get(f"{DEAD_LETTERS}/{dead_letter.pk}").json()

    assert list(shown) == list(EXAMPLE)
    assert shown["fields"] == {"game_id": "g-1", "reason": "boredom", "requested_at_ms": "1700000000000"}
    assert (shown["id"], shown["redriven_at"], shown["redriven_as"]) == (str(dead_letter.pk), None, None)


def test_dead_letters_are_listed_oldest_first_and_filtered(client: Client) -> None:
    dead_letters = [add_dead_letter(1), add_dead_letter(2, game_id="g-2"), add_dead_letter(3)]
    redrive(client, dead_letters[2], {"set": {"reason": "cancelled"}})
    ids = [str(dead_letter.pk) for dead_letter in dead_letters]

    assert listed(client) == ids
    assert listed(client, "?waiting=true") == ids[:2]
    assert listed(client, "?waiting=false") == ids[2:]
    assert listed(client, "?game_id=g-2") == ids[1:2]


def test_following_the_links_returns_every_dead_letter_once(client: Client) -> None:
    ids = [str(add_dead_letter(number).pk) for number in range(1, 6)]

    first = client.get(f"{DEAD_LETTERS}?limit=3")
    rest = client.get(first["Link"].partition("<")[2].partition(">")[0])

    assert [one["id"] for page in (first, rest) for one in page.json()["items"]] == ids
    assert "Link" not in rest


def test_a_page_costs_one_query_whatever_it_holds(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(1, 6):
        redrive(client, add_dead_letter(number, game_id=f"g-{number}"), {"set": {"reason": "cancelled"}})

    with django_assert_num_queries(1):
        ids = listed(client)

    assert len(ids) == 5


def test_a_corrected_dead_letter_becomes_an_operation_and_records_the_caller(client: Client) -> None:
    dead_letter = add_dead_letter()

    answer = redrive(client, dead_letter, {"set": {"reason": "cancelled"}, "note": "ticket 7"}, X_Request_ID="r-1")

    reported, operation = answer.json(), Operation.objects.get()
    assert answer.status_code == 200
    assert reported["operation"]["id"] == reported["dead_letter"]["redriven_as"] == str(operation.pk)
    assert (operation.op_kind, operation.op_source, operation.arguments) == (
        "stop",
        "lobby_stream",
        {"reason": "cancelled"},
    )
    assert reported["dead_letter"]["redriven_by"] == "admin (request r-1)"
    assert reported["dead_letter"]["note"] == "set reason='cancelled'; ticket 7"
    assert reported["is_no_op"] is False


def test_a_dead_letter_is_redriven_once(client: Client) -> None:
    dead_letter = add_dead_letter()
    first = redrive(client, dead_letter, {"set": {"reason": "cancelled"}}).json()

    again = redrive(client, dead_letter)
    as_another = redrive(client, dead_letter, {"set": {"reason": "finished"}})

    assert again.json() == {**first, "is_no_op": True}
    assert (as_another.status_code, as_another.json()["error"]["code"]) == (409, "conflict")
    assert Operation.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "boredom"),
        ({"set": {"colour": "red"}}, "colour"),
        ({"set": {"reason": 7}}, "reason"),
        ({"set": "reason=cancelled"}, "set"),
        ({"note": "x" * 501}, "note"),
        ({"by": "me"}, "by"),
    ],
)
def test_a_job_that_is_still_invalid_is_refused_and_nothing_is_written(
    client: Client, body: Any, complaint: str
) -> None:
    dead_letter = add_dead_letter()

    answer = redrive(client, dead_letter, body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert complaint in answer.json()["error"]["message"]
    assert not Operation.objects.exists()


@pytest.mark.parametrize("dead_letter_id", ["999", "0", "x", "9" * 19, "9" * 30])
def test_an_unknown_dead_letter_is_not_found(client: Client, dead_letter_id: str) -> None:
    shown = client.get(f"{DEAD_LETTERS}/{dead_letter_id}")
    redriven = client.post(f"{DEAD_LETTERS}/{dead_letter_id}/redrive", {}, "application/json")

    assert [shown.status_code, redriven.status_code] == [404, 404]
    assert shown.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("query", ["?waiting=perhaps", "?game_id=..", "?limit=0", "?cursor=!"])
def test_an_invalid_query_is_refused(client: Client, query: str) -> None:
    assert client.get(f"{DEAD_LETTERS}{query}").status_code == 400


def test_reading_needs_the_scope_read_and_a_redrive_the_scope_operate(
    client: Client, rtm_settings: RtmSettings
) -> None:
    rtm_settings(api_auth="token")
    dead_letter = add_dead_letter()
    reader = f"Bearer {issue(ApiToken(name='r', caller='admin', scopes='read')).bearer}"

    shown = client.get(DEAD_LETTERS, headers={"Authorization": reader})
    refused = redrive(client, dead_letter, {"set": {"reason": "cancelled"}}, Authorization=reader)

    assert [client.get(DEAD_LETTERS).status_code, shown.status_code, refused.status_code] == [401, 200, 403]
    assert not Operation.objects.exists()


@pytest.mark.parametrize("mode", ["token", "network"])
def test_the_game_master_redrives_no_dead_letter(client: Client, rtm_settings: RtmSettings, mode: str) -> None:
    rtm_settings(api_auth=mode)
    dead_letter = add_dead_letter()
    bearer = issue(ApiToken(name="gm", caller="gm", scopes="read operate")).bearer
    headers = {"Authorization": f"Bearer {bearer}"} if mode == "token" else {"X-Galaxy-Caller": "gm"}

    refused = redrive(client, dead_letter, {"set": {"reason": "cancelled"}}, **headers)

    assert (refused.status_code, refused.json()["error"]["message"]) == (403, "only the caller admin may do this")
    assert not Operation.objects.exists()
