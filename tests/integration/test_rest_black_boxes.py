"""Black boxes over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from operations.api.black_boxes import EXAMPLE, SUMMARY
from operations.models import BlackBox
from operations.redaction import REDACTED
from runtimes.containers.fake import FakeEngine, FakeImage
from tests.integration.rest_rigs import IMAGE, RUNTIMES, start
from tests.integration.test_rest_reading import read_all

pytestmark = pytest.mark.usefixtures("trusted_network")
BOXES, LIST = "/api/v1/internal/black-boxes", f"{RUNTIMES}/g-1/black-boxes"
AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def add_box(number: int, *, game_id: str = "g-1") -> BlackBox:
    return BlackBox.objects.create(
        game_id=game_id, container_id=f"{number:064}", cause="exited", occurred_at=AT, log=[{"line": "x" * 1000}]
    )


def test_a_crash_is_told_with_the_last_words_of_the_game(client: Client, engine: FakeEngine) -> None:
    engine.images[IMAGE] = FakeImage(says=[("stderr", "no map; api_key=hunter2hunter2")], exits_with=3)
    failure = start(client)
    (summary,) = client.get(LIST).json()["items"]

    box = client.get(f"{BOXES}/{summary['id']}").json()

    assert failure.json()["error"]["code"] == "container_start_failed"
    assert {name: box[name] for name in SUMMARY} == summary
    assert (box["cause"], box["exit_code"], box["image_ref"]) == ("crash_at_start", 3, IMAGE)
    assert [(one["stream"], one["line"]) for one in box["log"]] == [("stderr", f"no map; api_key={REDACTED}")]
    operation = client.get(f"/api/v1/internal/operations/{box['operation_id']}").json()
    assert operation["outcome"] == "failure"


def test_answers_have_the_documented_keys(client: Client) -> None:
    box = add_box(1)

    assert list(client.get(LIST).json()["items"][0]) == list(SUMMARY)
    assert list(client.get(f"{BOXES}/{box.pk}").json()) == list(EXAMPLE)


def test_the_boxes_of_a_game_come_newest_first_in_pages(client: Client) -> None:
    ids = [str(add_box(number).pk) for number in range(5)]
    add_box(9, game_id="g-2")

    pages = read_all(client, f"{LIST}?limit=2")

    assert [[one["id"] for one in page] for page in pages] == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


def test_a_list_is_one_query_and_reads_no_logs(client: Client) -> None:
    for number in range(20):
        add_box(number)

    with CaptureQueriesContext(connection) as queries:
        client.get(LIST)

    boxes = [one["sql"] for one in queries if "blackbox" in one["sql"]]
    assert len(boxes) == 1
    assert '"log"' not in boxes[0]


def test_a_game_that_never_ended_has_none(client: Client) -> None:
    assert client.get(LIST).json() == {"items": []}


@pytest.mark.parametrize("box_id", ["1", "0", "x", "9" * 18, "9" * 40, "%00"])
def test_a_box_that_does_not_exist_is_not_found(client: Client, box_id: str) -> None:
    assert refusal(client.get(f"{BOXES}/{box_id}")) == (404, "not_found")


@pytest.mark.parametrize("query", ["limit=0", "cursor=eA"])
def test_a_page_that_cannot_be_meant_is_refused(client: Client, query: str) -> None:
    assert refusal(client.get(f"{LIST}?{query}")) == (400, "invalid_request")


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
