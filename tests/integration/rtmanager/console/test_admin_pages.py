"""The admin's lists and pages, on a real database."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from operations.models import ExitReport, Operation, OutboxEvent
from runtimes.models import HealthSnapshot, Runtime

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
LISTS = [
    "admin:runtimes_runtime_changelist",
    "admin:operations_operation_changelist",
    "admin:operations_outboxevent_changelist",
    "admin:operations_exitreport_changelist",
]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op"))
    return client


def add_game(number: int) -> Operation:
    runtime = Runtime.objects.create(
        game_id=f"g-{number}",
        status="running",
        current_container_id=f"{number:064x}"[::-1],
        current_image_ref="e:1",
        started_at=AT,
        last_op_at=AT,
        created_at=AT,
    )
    HealthSnapshot.objects.create(
        runtime=runtime, container_id="c", event_type="container_exited", details={"exit_code": 3}, occurred_at=AT
    )
    OutboxEvent.objects.create(
        topic="job_results", dedupe_key=f"d-{number}", game_id=runtime.game_id, fields={"outcome": "success"}
    )
    ExitReport.objects.create(
        game_id=runtime.game_id,
        container_id=runtime.current_container_id or "",
        cause="exited",
        occurred_at=AT,
        exit_code=3,
        log=[{"at": None, "stream": "stderr", "line": "<no map>"}],
    )
    return Operation.objects.create(
        game_id=runtime.game_id,
        op_kind="start",
        op_source="lobby_stream",
        source_ref=f"17000000000{number}-0",
        job_key=f"k-{number}",
        state="finished",
        outcome="failure",
        error_code="image_pull_failed",
        steps=[{"name": "pull_image", "started_at": "2026-11-21T08:30:00Z", "duration_ms": 11, "error": "<none>"}],
        started_at=AT,
        finished_at=AT + timedelta(seconds=1.5),
    )


def count_results(admin: Client, page: str, query: str) -> int:
    context = admin.get(reverse(page), {"q": query}).context
    return len(context["cl"].result_list)


@pytest.mark.parametrize("page", LISTS)
def test_a_list_takes_the_same_number_of_queries_for_any_length(admin: Client, page: str) -> None:
    counts = []
    for numbers in (range(1, 3), range(3, 40)):
        for number in numbers:
            add_game(number)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert admin.get(reverse(page)).status_code == 200
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "model", ["runtimes_runtime", "operations_operation", "operations_outboxevent", "operations_exitreport"]
)
def test_no_row_can_be_added_changed_or_deleted(admin: Client, model: str) -> None:
    operation = add_game(1)
    keys = {
        "runtimes_runtime": "g-1",
        "operations_operation": operation.pk,
        "operations_outboxevent": OutboxEvent.objects.get().pk,
        "operations_exitreport": ExitReport.objects.get().pk,
    }
    key = keys[model]

    statuses = [
        admin.get(reverse(f"admin:{model}_add")).status_code,
        admin.post(reverse(f"admin:{model}_change", args=[key]), {}).status_code,
        admin.post(reverse(f"admin:{model}_delete", args=[key]), {"post": "yes"}).status_code,
        admin.get(reverse(f"admin:{model}_change", args=[key])).status_code,
    ]

    assert statuses == [403, 403, 403, 200]


@pytest.mark.parametrize(("query", "hits"), [("g-2", 1), ("g-", 3), ("2000", 1), ("G-2", 0), ("-2", 0)])
def test_runtimes_are_found_by_the_beginning_of_game_or_container_id(admin: Client, query: str, hits: int) -> None:
    for number in (1, 2, 3):
        add_game(number)

    assert count_results(admin, "admin:runtimes_runtime_changelist", query) == hits


@pytest.mark.parametrize(("query", "hits"), [("g-2", 1), ("170000000002-0", 1), ("g-", 0), ("no such thing", 0)])
def test_operations_are_found_by_game_and_source_reference(admin: Client, query: str, hits: int) -> None:
    for number in (1, 2, 3):
        add_game(number)

    assert count_results(admin, "admin:operations_operation_changelist", query) == hits


def test_an_operation_is_found_by_its_id(admin: Client) -> None:
    operation = add_game(1)
    add_game(2)

    assert count_results(admin, "admin:operations_operation_changelist", str(operation.pk)) == 1


@pytest.mark.parametrize("query", ["9" * 40, "-1", "1.5", "\x00", "ä"])
def test_no_search_term_breaks_a_list(admin: Client, query: str) -> None:
    assert [admin.get(reverse(page), {"q": query}).status_code for page in LISTS] == [200] * len(LISTS)


def test_an_operation_page_shows_its_steps_and_links_its_game(admin: Client) -> None:
    operation = add_game(1)

    page = admin.get(reverse("admin:operations_operation_change", args=[operation.pk])).content.decode()

    cells = re.findall(r'<td role="cell" data-label="(\w+)">(.*?)</td>', page)
    assert cells == [
        ("step", "pull_image"),
        ("started", '<time datetime="2026-11-21T08:30:00Z">2026-11-21 08:30:00 UTC</time>'),
        ("ms", "11"),
        ("error", "&lt;none&gt;"),
    ]
    assert f'href="{reverse("console:game", args=["g-1"])}"' in page
    assert "1.500 s" in page


def test_the_page_of_an_exit_report_escapes_the_last_log_lines(admin: Client) -> None:
    add_game(1)

    page = admin.get(reverse("admin:operations_exitreport_change", args=[ExitReport.objects.get().pk])).content.decode()

    assert "stderr &lt;no map&gt;" in page
    assert f'href="{reverse("console:game", args=["g-1"])}"' in page


def test_the_record_of_a_game_shows_its_health_and_links_its_operations(admin: Client) -> None:
    add_game(1)

    page = admin.get(reverse("admin:runtimes_runtime_change", args=["g-1"])).content.decode()

    address = reverse("admin:operations_operation_changelist")
    assert "container_exited" in page
    assert f'href="{address}?game_id__exact=g-1"' in page
    assert admin.get(f"{address}?game_id__exact=g-1").status_code == 200


def test_the_filters_of_the_log_work(admin: Client) -> None:
    add_game(1)
    accepted_at = Operation.objects.get().accepted_at
    filters = {"state": "finished", "outcome": "failure", "op_kind": "start", "op_source": "lobby_stream"}
    month = {"accepted_at__year": str(accepted_at.year), "accepted_at__month": str(accepted_at.month)}

    query = {f"{field}__exact": value for field, value in filters.items()} | month
    response = admin.get(reverse("admin:operations_operation_changelist"), query)

    assert len(response.context["cl"].result_list) == 1


def test_a_visitor_is_sent_to_the_login_page(client: Client) -> None:
    response = client.get(reverse("admin:index"))

    assert (response.status_code, response["Location"]) == (302, "/admin/login/?next=/admin/")


def test_the_admin_rejects_requests_without_a_csrf_token() -> None:
    guarded = Client(enforce_csrf_checks=True)

    assert guarded.post("/admin/login/", {"username": "op", "password": "x"}).status_code == 403


def test_the_site_shows_the_name_of_the_product(admin: Client) -> None:
    assert "Runtime Manager" in admin.get(reverse("admin:index")).content.decode()


def test_the_log_has_a_last_page_number(admin: Client) -> None:
    page = reverse("admin:operations_operation_changelist")

    assert admin.get(page, {"p": 1000}).status_code == 200
    far = admin.get(page, {"p": 1001})
    assert (far.status_code, far.headers["Location"]) == (302, f"{page}?e=1")
