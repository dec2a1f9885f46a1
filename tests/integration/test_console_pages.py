"""The console's pages: who sees them, and that they cost the same however much there is."""

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from operations.models import Operation
from tests.integration.console_rigs import add_game, add_operation, make_groups, signed_in
from tests.integration.rigs import Rig

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
def test_a_page_takes_as_many_queries_for_many_games_as_for_few(admin: Client, address: str) -> None:
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


def test_the_dashboard_says_how_the_games_are(admin: Client) -> None:
    for number, status in enumerate(["running", "running", "stopped", "removed"]):
        add_game(f"g{number}", status)
    add_operation("g0", 1, outcome="failure", error_code="image_pull_failed", accepted_at=timezone.now())

    page = admin.get(reverse("admin:index")).content.decode()

    numbers = re.findall(r'<span class="rtm-number[^>]*>(\d+)</span><span>([^<]+)</span>', page)
    assert numbers == [
        ("2", "games running"), ("1", "games stopped"), ("1", "games removed"),
        ("0", "running but unwell"), ("0", "operations open"), ("0", "dead letters waiting"),
    ]  # fmt: skip
    assert "1 operations in the last hour, 1 of them failed" in page
    assert "image_pull_failed" in page


def test_somebody_in_no_group_is_told_whom_to_ask(client: Client) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))

    page = client.get(reverse("admin:index"))

    assert "Ask an administrator" in page.content.decode()


@pytest.mark.parametrize("address", ["console:figures", "console:servers"])
def test_the_parts_of_the_dashboard_are_for_those_who_may_look(client: Client, address: str) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))

    assert client.get(reverse(address)).status_code == 403


def test_a_games_page_names_the_cause_and_what_to_do(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    whole = admin.get(reverse("console:game", args=["g1"])).content.decode()
    state = admin.get(reverse("console:game-state", args=["g1"])).content.decode()

    assert reverse("console:game-state", args=["g1"]) in whole
    assert "healthy" in state
    assert "What Runtime Manager does next by itself" in state


@pytest.mark.parametrize("part", ["console:game", "console:game-state", "console:game-log", "console:game-stats"])
def test_what_is_no_game_id_is_not_found(admin: Client, part: str) -> None:
    assert admin.get(reverse(part, args=["..no"])).status_code == 404


def test_each_group_holds_what_the_next_smaller_one_holds() -> None:
    make_groups()

    held = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.filter(name__in=["viewer", "operator", "admin"])
    }

    assert held["viewer"] < held["operator"] < held["admin"]
    assert not [name for name in held["viewer"] if not name.startswith("view_")]
    assert {"start_runtime", "stop_runtime", "restart_runtime", "patch_runtime", "cleanup_runtime"} <= held["operator"]
    assert "add_apitoken" in held["admin"] - held["operator"]


def test_an_administrator_sees_people_and_the_audit(client: Client, rig: Rig) -> None:
    del client, rig
    admin = signed_in("admin")

    for page in ("admin:auth_user_changelist", "admin:admin_logentry_changelist", "admin:runtimes_apitoken_changelist"):
        assert admin.get(reverse(page)).status_code == 200


def test_a_list_of_games_renews_what_it_says_of_each(admin: Client) -> None:
    add_game("up")
    add_game("down", "stopped")

    told = admin.get(reverse("console:badges"), {"game": ["up", "down", "unknown"]}).json()

    assert sorted(told) == ["down", "up"]
    assert "running" in told["up"]["status"]
    assert "stopped" in told["down"]["status"]


def test_a_games_page_is_told_its_log_and_what_it_uses(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    log = admin.get(reverse("console:game-log", args=["g1"])).json()
    use = admin.get(reverse("console:game-stats", args=["g1"])).json()

    container = rig.container("g1")
    assert container is not None
    assert (log["container_id"], log["note"]) == (container.id, "")
    assert (use["container_id"], use["note"]) == (container.id, "")
    assert use["memory_limit_bytes"] > 0


def test_a_game_without_a_container_says_so_instead_of_a_log(admin: Client) -> None:
    add_game("gone", "removed")

    log = admin.get(reverse("console:game-log", args=["gone"]), {"since": "no time"}).json()

    assert "has no container" in log["note"]
    assert log["items"] == []


def test_a_deed_that_would_be_refused_has_no_button_but_a_reason(admin: Client, rig: Rig) -> None:
    rig.start("g1")

    state = admin.get(reverse("console:game-state", args=["g1"])).content.decode()

    assert re.search(r'rtm-button-off"[^>]*title="[^"]+">Clean up<', state)
    assert 'id="deed-stop"' in state


def test_the_dashboard_says_how_far_behind_everything_is(admin: Client, rig: Rig) -> None:
    waiting = rig.ask_start("g1")

    page = admin.get(reverse("console:servers")).content.decode()

    assert f"operation {waiting.pk} (start of game g1)" in page
    assert "events not yet published</span><span>0<" in page
    assert "jobs on runtime:start_jobs</span><span>0 unread, 0 not acknowledged<" in page
