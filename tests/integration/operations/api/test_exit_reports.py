"""Exit reports over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from operations.api.exit_reports import EXAMPLE, SUMMARY
from operations.exit_reports.redaction import REDACTED
from operations.models import ExitReport
from runtimes.containers.fake.adapter import FakeDocker, FakeImage
from tests.integration.rest_harness import IMAGE, RUNTIMES, start
from tests.integration.runtimes.api.test_runtimes import read_all

pytestmark = pytest.mark.usefixtures("trusted_network")
REPORTS, LIST = "/api/v1/internal/exit-reports", f"{RUNTIMES}/g-1/exit-reports"
AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def add_report(number: int, *, game_id: str = "g-1") -> ExitReport:
    return ExitReport.objects.create(
        game_id=game_id, container_id=f"{number:064}", cause="exited", occurred_at=AT, log=[{"line": "x" * 1000}]
    )


def test_the_report_of_a_crash_has_the_last_log_lines(client: Client, engine: FakeDocker) -> None:
    engine.images[IMAGE] = FakeImage(log_lines=[("stderr", "no map; api_key=hunter2hunter2")], exit_code=3)
    failure = start(client)
    (summary,) = client.get(LIST).json()["items"]

    report = client.get(f"{REPORTS}/{summary['id']}").json()

    assert failure.json()["error"]["code"] == "container_start_failed"
    assert {name: report[name] for name in SUMMARY} == summary
    assert (report["cause"], report["exit_code"], report["image_ref"]) == ("crash_at_start", 3, IMAGE)
    assert [(line["stream"], line["line"]) for line in report["log"]] == [("stderr", f"no map; api_key={REDACTED}")]
    operation = client.get(f"/api/v1/internal/operations/{report['operation_id']}").json()
    assert operation["outcome"] == "failure"


def test_responses_have_the_documented_keys(client: Client) -> None:
    report = add_report(1)

    assert list(client.get(LIST).json()["items"][0]) == list(SUMMARY)
    assert list(client.get(f"{REPORTS}/{report.pk}").json()) == list(EXAMPLE)


def test_the_reports_of_a_game_come_newest_first_in_pages(client: Client) -> None:
    ids = [str(add_report(number).pk) for number in range(5)]
    add_report(9, game_id="g-2")

    pages = read_all(client, f"{LIST}?limit=2")

    assert [[item["id"] for item in page] for page in pages] == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


def test_a_list_is_one_query_and_reads_no_logs(client: Client) -> None:
    for number in range(20):
        add_report(number)

    with CaptureQueriesContext(connection) as queries:
        client.get(LIST)

    selects = [query["sql"] for query in queries if "exitreport" in query["sql"]]
    assert len(selects) == 1
    assert '"log"' not in selects[0]


def test_a_game_without_an_exit_has_no_report(client: Client) -> None:
    assert client.get(LIST).json() == {"items": []}


@pytest.mark.parametrize("report_id", ["1", "0", "x", "9" * 18, "9" * 40, "%00"])
def test_a_report_that_does_not_exist_is_not_found(client: Client, report_id: str) -> None:
    assert refusal(client.get(f"{REPORTS}/{report_id}")) == (404, "not_found")


@pytest.mark.parametrize("query", ["limit=0", "cursor=eA"])
def test_an_invalid_page_is_refused(client: Client, query: str) -> None:
    assert refusal(client.get(f"{LIST}?{query}")) == (400, "invalid_request")


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
