"""The console's pages: their content, who may see them, and their number of queries."""

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from operations.models import ExitReport, Operation
from runtimes.models import HealthSnapshot
from tests.integration.console_harness import IMAGE, add_game, add_operation, make_groups, signed_in
from tests.integration.harness import Rig

_ROWS = 20_000


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op"))
    return client


def queries_of(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("address", ["admin:index", "console:figures", "admin:runtimes_runtime_changelist"])
def test_a_page_takes_the_same_number_of_queries_for_any_number_of_games(admin: Client, address: str) -> None:
    counts = []
    for numbers in (range(3), range(3, 40)):
        for number in numbers:
            add_game(f"g{number}")
            add_operation(f"g{number}", number, accepted_at=timezone.now() - timedelta(minutes=number))
        counts.append(len(queries_of(admin, reverse(address))))

    assert counts[0] == counts[1]


def test_no_query_of_the_dashboard_reads_the_whole_log(admin: Client) -> None:
    now = timezone.now()
    Operation.objects.bulk_create(_ended(number, now - timedelta(seconds=30 * number)) for number in range(_ROWS))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE operations_operation")

    read_whole = [query for query in queries_of(admin, reverse("console:figures")) if _scans_the_log(query)]

    assert read_whole == []


def _ended(number: int, at: datetime) -> Operation:
    values: dict[str, object] = (
        {"outcome": "failure", "error_code": "conflict"} if number % 50 == 0 else {"outcome": "success"}
    )
    return Operation(
        game_id=f"g{number % 1000}",
        op_kind="start",
        op_source="lobby_stream",
        job_key=f"k{number}",
        state="finished",
        accepted_at=at,
        started_at=at,
        finished_at=at,
        **values,
    )


def _scans_the_log(query: str) -> bool:
    if not query.startswith("SELECT"):
        return False
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + query.replace("%", "%%"))
        return any("Seq Scan on operations_operation" in line for (line,) in cursor.fetchall())


def test_the_dashboard_counts_games_operations_and_dead_letters(admin: Client) -> None:
    for number, status in enumerate(["running", "running", "stopped", "removed"]):
        add_game(f"g{number}", status)
    add_operation("g0", 1, outcome="failure", error_code="image_pull_failed", accepted_at=timezone.now())

    page = admin.get(reverse("admin:index")).content.decode()

    numbers = re.findall(r'<span class="rtm-number[^>]*>(\d+)</span><span>([^<]+)</span>', page)
    assert numbers == [
        ("2", "games running"), ("1", "game stopped"), ("1", "game removed"),
        ("0", "running, unhealthy"), ("0", "open operations"), ("0", "dead letters to redrive"),
    ]  # fmt: skip
    assert "1 operation in the last hour, 1 of them failed" in page
    assert "image_pull_failed" in page


def test_a_user_without_a_group_sees_how_to_get_permissions(client: Client) -> None:
    client.force_login(User.objects.create_user("newcomer", is_staff=True))

    page = client.get(reverse("admin:index"))

    assert "Ask an administrator" in page.content.decode()


@pytest.mark.parametrize("address", ["console:figures", "console:servers"])
def test_the_parts_of_the_dashboard_need_a_permission(client: Client, address: str) -> None:
    client.force_login(User.objects.create_user("newcomer", is_staff=True))

    assert client.get(reverse(address)).status_code == 403


def test_a_games_page_shows_the_cause_and_the_next_step(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    whole = admin.get(reverse("console:game", args=["g1"])).content.decode()
    state = admin.get(reverse("console:game-state", args=["g1"])).content.decode()

    assert reverse("console:game-state", args=["g1"]) in whole
    assert "healthy" in state
    assert "What happens automatically" in state


@pytest.mark.parametrize("part", ["console:game", "console:game-state", "console:game-log", "console:game-stats"])
def test_an_invalid_game_id_is_not_found(admin: Client, part: str) -> None:
    assert admin.get(reverse(part, args=["..no"])).status_code == 404


@pytest.mark.parametrize("accepted", ["text/html,application/xhtml+xml;q=0.9", "*/*", None])
def test_the_root_redirects_a_browser_to_the_console(client: Client, accepted: str | None) -> None:
    response = client.get("/", headers={"Accept": accepted} if accepted else {})

    assert (response.status_code, response["Location"], response["Vary"]) == (302, reverse("admin:index"), "Accept")


@pytest.mark.parametrize(("method", "accepted"), [("GET", "application/json"), ("POST", "text/html")])
def test_the_root_is_not_found_for_other_clients(client: Client, method: str, accepted: str) -> None:
    response = client.generic(method, "/", headers={"Accept": accepted})

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_each_group_has_all_permissions_of_the_next_smaller_one() -> None:
    make_groups()

    held = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.filter(name__in=["viewer", "operator", "admin"])
    }

    assert held["viewer"] < held["operator"] < held["admin"]
    assert not [name for name in held["viewer"] if not name.startswith("view_")]
    assert {"start_runtime", "stop_runtime", "restart_runtime", "patch_runtime", "cleanup_runtime"} <= held["operator"]
    assert "add_apitoken" in held["admin"] - held["operator"]


def test_an_administrator_sees_users_the_audit_log_and_api_tokens(client: Client, rig: Rig) -> None:
    del client, rig
    admin = signed_in("admin")

    for page in ("admin:auth_user_changelist", "admin:admin_logentry_changelist", "admin:runtimes_apitoken_changelist"):
        assert admin.get(reverse(page)).status_code == 200


def test_the_list_of_games_shows_a_short_id_of_an_image_without_a_name(admin: Client) -> None:
    by_id = add_game("g1")
    by_id.current_image_ref = by_id.image_id = "sha256:" + "ab" * 32
    by_id.save()
    add_game("g2")

    page = admin.get(reverse("admin:runtimes_runtime_changelist")).content.decode()

    assert "sha256:abababababab" in page
    assert "ab" * 32 not in page
    assert IMAGE in page


def test_the_badges_of_the_list_of_games_are_refreshed_by_game(admin: Client) -> None:
    add_game("up")
    add_game("down", "stopped")

    badges = admin.get(reverse("console:badges"), {"game": ["up", "down", "unknown"]}).json()

    assert sorted(badges) == ["down", "up"]
    assert "running" in badges["up"]["status"]
    assert "stopped" in badges["down"]["status"]


def test_a_games_page_reads_its_log_and_its_resource_usage(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    log = admin.get(reverse("console:game-log", args=["g1"])).json()
    usage = admin.get(reverse("console:game-stats", args=["g1"])).json()

    container = rig.container("g1")
    assert container is not None
    assert (log["container_id"], log["note"]) == (container.id, "")
    assert (usage["container_id"], usage["note"]) == (container.id, "")
    assert usage["memory_limit_bytes"] > 0


def test_a_game_without_a_container_has_a_note_instead_of_a_log(admin: Client) -> None:
    add_game("gone", "removed")

    log = admin.get(reverse("console:game-log", args=["gone"]), {"since": "no time"}).json()

    assert "has no container" in log["note"]
    assert log["items"] == []


def test_an_action_that_would_be_refused_is_a_disabled_button_with_the_reason(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    state = admin.get(reverse("console:game-state", args=["g1"])).content.decode()

    assert re.search(r'rtm-button-off"[^>]*title="[^"]+">Clean up<', state)
    assert 'id="action-stop"' in state


def test_a_running_game_cannot_be_started_from_its_page(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    state = admin.get(reverse("console:game-state", args=["g1"])).content.decode()

    assert re.search(r'rtm-button-off" disabled title="The game is running">Start<', state)


def test_a_games_page_shows_the_last_log_lines_before_its_exit(admin: Client, rig: Rig) -> None:
    rig.start("g1")
    ExitReport.objects.create(
        game_id="g1",
        container_id="c" * 64,
        cause="exited",
        occurred_at=timezone.now(),
        exit_code=3,
        log=[{"at": None, "stream": "stderr", "line": "\x1b[31m<no map>\x1b[0m"}],
    )

    state = admin.get(reverse("console:game-state", args=["g1"])).content.decode()

    assert '<span class="rtm-ansi-red">&lt;no map&gt;</span>' in state
    assert "exit code 3" in state


@pytest.mark.parametrize(("query", "is_listed"), [("", True), ("?q=new", True), ("?q=old", False), ("?q=%00", True)])
def test_a_game_whose_first_start_failed_is_in_the_list_of_games(admin: Client, query: str, *, is_listed: bool) -> None:
    add_game("old")
    add_operation("old", 1, outcome="failure", error_code="conflict")
    add_operation("new", 2, outcome="failure", error_code="image_pull_failed")

    page = admin.get(reverse("admin:runtimes_runtime_changelist") + query, follow=True).content.decode()

    listed = re.findall(r'id="game-\d+" href="[^"]+">(\w+)<', page)
    assert listed == (["new"] if is_listed else [])


def test_the_dashboard_counts_the_games_that_the_health_filter_lists(admin: Client) -> None:
    snapshots: list[dict[str, object]] = [
        {}, {"probe_failures": 1}, {"docker_health": "unhealthy"}, {"docker_state": "paused"},
    ]  # fmt: skip
    for number, observation in enumerate(snapshots):
        HealthSnapshot.objects.create(
            runtime=add_game(f"g{number}"), container_id="c", event_type="x", occurred_at=timezone.now(), **observation
        )

    dashboard = admin.get(reverse("console:figures")).content.decode()
    listed = admin.get(reverse("admin:runtimes_runtime_changelist"), {"health": "unhealthy"}).content.decode()

    assert '">3</span><span>running, unhealthy</span>' in dashboard
    assert sorted(set(re.findall(r'data-game="(\w+)"', listed))) == ["g1", "g2", "g3"]
    assert [snapshot.is_unhealthy for snapshot in HealthSnapshot.objects.order_by("pk")] == [False, True, True, True]


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("admin:index", "Overview"),
        ("admin:runtimes_runtime_changelist", "Games"),
        ("admin:operations_operation_changelist", "Operations"),
        ("admin:operations_deadletter_changelist", "Dead letters"),
        ("admin:admin_logentry_changelist", "Audit log"),
        ("admin:runtimes_apitoken_add", "New API token"),
    ],
)
def test_the_title_of_a_page_names_the_page(admin: Client, page: str, title: str) -> None:
    text = admin.get(reverse(page)).content.decode()

    assert re.search(rf"<title>\s*{title} \| Runtime Manager\s*</title>", text)
    assert "<main" in text


def test_an_empty_list_says_what_appears_in_it(admin: Client) -> None:
    page = admin.get(reverse("admin:operations_deadletter_changelist")).content.decode()

    assert "An entry of a job stream that cannot be read as a job appears here" in page


@pytest.mark.parametrize(
    ("rows", "number", "expected"),
    [
        (10, 1, "Operations 1 to 10 of 10"),
        (50, 1, "Operations 1 to 50 of 50"),
        (60, 1, "Operations 1 to 50, more on the next page"),
        (60, 2, "Operations 51 to 60 of 60"),
    ],
)
def test_the_log_counts_only_the_rows_that_it_has_read(admin: Client, rows: int, number: int, expected: str) -> None:
    for index in range(rows):
        add_operation("g1", index)

    page = admin.get(reverse("admin:operations_operation_changelist"), {"p": number}).content.decode()

    assert f"<span>{expected}</span>" in page
    assert "50000" not in page


def test_the_dashboard_shows_the_backlogs(admin: Client, rig: Rig) -> None:
    waiting = rig.ask_start("g1")

    page = admin.get(reverse("console:servers")).content.decode()

    assert f"operation {waiting.pk} (start of game g1)" in page
    assert "events not yet published</span><span>0<" in page
    assert "jobs on runtime:start_jobs</span><span>0 unread, 0 not acknowledged<" in page
