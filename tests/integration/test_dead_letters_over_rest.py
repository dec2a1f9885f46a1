"""Dead letters over HTTP: read with the scope read, redriven with operate, on a real database."""

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from operations.models import DeadLetter, Operation
from runtimes.models import ApiToken
from runtimes.tokens import issue
from tasks.api.records import EXAMPLE
from tests.conftest import RtmSettings

LETTERS = "/api/v1/internal/dead-letters"
STOP = "runtime:stop_jobs"

pytestmark = pytest.mark.usefixtures("rig")


@pytest.fixture(autouse=True)
def _trusted_network(rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="network")


def add_letter(number: int = 1, *, game_id: str = "g-1", reason: str = "boredom") -> DeadLetter:
    fields = {"game_id": game_id, "reason": reason, "requested_at_ms": "1700000000000"}
    return DeadLetter.objects.create(
        stream=STOP, entry_id=f"{number}-0", reason="no such reason", fields=json.dumps(fields), game_id=game_id
    )


def redrive(client: Client, letter: DeadLetter, body: Any = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{LETTERS}/{letter.pk}/redrive", body or {}, "application/json", headers=named)


def listed(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"{LETTERS}{query}")
    assert answer.status_code == 200
    return [one["id"] for one in answer.json()["items"]]


def test_a_letter_shows_what_its_producer_sent(client: Client) -> None:
    letter = add_letter()

    shown = client.get(f"{LETTERS}/{letter.pk}").json()

    assert list(shown) == list(EXAMPLE)
    assert shown["fields"] == {"game_id": "g-1", "reason": "boredom", "requested_at_ms": "1700000000000"}
    assert (shown["id"], shown["redriven_at"], shown["redriven_as"]) == (str(letter.pk), None, None)


def test_letters_are_listed_oldest_first_and_filtered(client: Client) -> None:
    letters = [add_letter(1), add_letter(2, game_id="g-2"), add_letter(3)]
    redrive(client, letters[2], {"set": {"reason": "cancelled"}})
    ids = [str(letter.pk) for letter in letters]

    assert listed(client) == ids
    assert listed(client, "?waiting=true") == ids[:2]
    assert listed(client, "?waiting=false") == ids[2:]
    assert listed(client, "?game_id=g-2") == ids[1:2]


def test_following_the_links_shows_every_letter_once(client: Client) -> None:
    ids = [str(add_letter(number).pk) for number in range(1, 6)]

    first = client.get(f"{LETTERS}?limit=3")
    rest = client.get(first["Link"].partition("<")[2].partition(">")[0])

    assert [one["id"] for page in (first, rest) for one in page.json()["items"]] == ids
    assert "Link" not in rest


def test_a_page_costs_one_query_whatever_it_holds(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(1, 6):
        redrive(client, add_letter(number, game_id=f"g-{number}"), {"set": {"reason": "cancelled"}})

    with django_assert_num_queries(1):
        ids = listed(client)

    assert len(ids) == 5


def test_a_mended_letter_becomes_an_operation_and_says_who_did_it(client: Client) -> None:
    letter = add_letter()

    answer = redrive(client, letter, {"set": {"reason": "cancelled"}, "note": "ticket 7"}, X_Request_ID="r-1")

    told, operation = answer.json(), Operation.objects.get()
    assert answer.status_code == 200
    assert told["operation"]["id"] == told["letter"]["redriven_as"] == str(operation.pk)
    assert (operation.op_kind, operation.op_source, operation.arguments) == (
        "stop",
        "lobby_stream",
        {"reason": "cancelled"},
    )
    assert told["letter"]["redriven_by"] == "admin (request r-1)"
    assert told["letter"]["note"] == "set reason='cancelled'; ticket 7"
    assert told["is_replay"] is False


def test_a_letter_is_redriven_once(client: Client) -> None:
    letter = add_letter()
    first = redrive(client, letter, {"set": {"reason": "cancelled"}}).json()

    again = redrive(client, letter)
    as_another = redrive(client, letter, {"set": {"reason": "finished"}})

    assert again.json() == {**first, "is_replay": True}
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
def test_what_is_no_job_still_is_refused_and_nothing_is_written(client: Client, body: Any, complaint: str) -> None:
    letter = add_letter()

    answer = redrive(client, letter, body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert complaint in answer.json()["error"]["message"]
    assert not Operation.objects.exists()


@pytest.mark.parametrize("letter_id", ["999", "0", "x", "9" * 19, "9" * 30])
def test_a_letter_nobody_has_is_not_found(client: Client, letter_id: str) -> None:
    shown = client.get(f"{LETTERS}/{letter_id}")
    redriven = client.post(f"{LETTERS}/{letter_id}/redrive", {}, "application/json")

    assert [shown.status_code, redriven.status_code] == [404, 404]
    assert shown.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("query", ["?waiting=perhaps", "?game_id=..", "?limit=0", "?cursor=!"])
def test_a_question_that_cannot_be_meant_is_refused(client: Client, query: str) -> None:
    assert client.get(f"{LETTERS}{query}").status_code == 400


def test_reading_needs_read_and_redriving_operate(client: Client, rtm_settings: RtmSettings) -> None:
    rtm_settings(api_auth="token")
    letter = add_letter()
    reader = f"Bearer {issue(ApiToken(name='r', caller='admin', scopes='read')).bearer}"

    shown = client.get(LETTERS, headers={"Authorization": reader})
    refused = redrive(client, letter, {"set": {"reason": "cancelled"}}, Authorization=reader)

    assert [client.get(LETTERS).status_code, shown.status_code, refused.status_code] == [401, 200, 403]
    assert not Operation.objects.exists()
