"""Actions on games from the console, on a real database."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from operations.states import OperationKind, OperationSource
from tests.integration.console_harness import IMAGE, add_game, make_groups, signed_in
from tests.integration.harness import Rig

ACTIONS = ["start", "stop", "restart", "patch", "cleanup"]


def confirmation_page(client: Client, name: str, *game_ids: str) -> str:
    response = client.get(reverse("console:action", args=[name]), {"game": game_ids})
    assert response.status_code == 200
    return response.content.decode()


def form_for(client: Client, name: str, *game_ids: str, **fields: str) -> dict[str, object]:
    """The form as a browser sends it."""
    page = confirmation_page(client, name, *game_ids)
    submission_id = re.search(r'name="submission_id" value="([0-9a-f-]{36})"', page)
    assert submission_id
    defaults = {"because": "requested in chat", "reason": "admin_request", "image_ref": IMAGE}
    return {"game": list(game_ids), "submission_id": submission_id[1], **defaults, **fields}


@pytest.fixture
def operator(rig: Rig) -> Client:
    del rig
    return signed_in("operator")


def test_a_stop_from_the_console_is_an_operation_of_its_user(operator: Client) -> None:
    add_game("g1")

    response = operator.post(reverse("console:action", args=["stop"]), form_for(operator, "stop", "g1"))

    operation = Operation.objects.get()
    assert response["Location"] == reverse("console:game", args=["g1"])
    assert (operation.game_id, operation.op_kind) == ("g1", OperationKind.STOP)
    assert (operation.op_source, operation.source_ref) == (OperationSource.ADMIN_CONSOLE, "operator-user")
    assert operation.arguments == {"reason": "admin_request", "because": "requested in chat"}


def test_a_restart_disconnects_players_only_of_a_running_game(operator: Client) -> None:
    add_game("g1", "running")
    add_game("g2", "stopped")

    page = confirmation_page(operator, "restart", "g1", "g2")

    assert page.count("Players are disconnected") == 1
    assert page.count("Not running: starts a new container") == 1


def test_the_audit_log_names_the_user_the_action_and_the_reason(operator: Client) -> None:
    add_game("g1")
    operator.post(reverse("console:action", args=["restart"]), form_for(operator, "restart", "g1", because="it hung"))

    entry = LogEntry.objects.get()

    assert (entry.user.get_username(), entry.object_id) == ("operator-user", "g1")
    assert entry.change_message == f"Restart (operation {Operation.objects.get().pk}): it hung"


def test_a_form_sent_twice_is_one_operation_and_one_audit_entry(operator: Client) -> None:
    add_game("g1")
    form = form_for(operator, "stop", "g1")

    for _ in range(2):
        operator.post(reverse("console:action", args=["stop"]), form)

    assert Operation.objects.count() == 1
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("because", ["", "   ", "x" * 501])
def test_a_reason_that_is_empty_or_too_long_is_rejected(operator: Client, because: str) -> None:
    add_game("g1")

    response = operator.post(
        reverse("console:action", args=["stop"]), form_for(operator, "stop", "g1", because=because)
    )

    assert response.status_code == 400
    assert not Operation.objects.exists()


def test_a_start_without_an_image_uses_the_recorded_image(operator: Client) -> None:
    add_game("g1", "stopped")

    operator.post(reverse("console:action", args=["start"]), form_for(operator, "start", "g1", image_ref=""))

    assert Operation.objects.get().arguments["image_ref"] == IMAGE


def test_a_start_without_any_known_image_is_refused_with_a_message(operator: Client) -> None:
    form = form_for(operator, "start", "fresh", image_ref="")

    response = operator.post(reverse("console:action", args=["start"]), form, follow=True)

    assert "the game has no recorded image" in response.content.decode()
    assert not Operation.objects.exists()


def test_an_invalid_image_reference_is_reported_beside_its_field(operator: Client) -> None:
    form = form_for(operator, "patch", "g1", image_ref="NOT AN IMAGE")

    response = operator.post(reverse("console:action", args=["patch"]), form)

    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()


def test_a_busy_game_is_refused_and_the_others_go_on(operator: Client, rig: Rig) -> None:
    for game_id in ("g1", "g2", "g3"):
        add_game(game_id)
    rig.ask_stop("g2")

    response = operator.post(
        reverse("console:action", args=["restart"]), form_for(operator, "restart", "g1", "g2", "g3"), follow=True
    )

    restarted = Operation.objects.filter(op_kind=OperationKind.RESTART).values_list("game_id", flat=True)
    assert sorted(restarted) == ["g1", "g3"]
    assert "g2 is busy" in response.content.decode()


def test_the_progress_of_many_games_is_shown_until_all_have_finished(operator: Client, rig: Rig) -> None:
    rig.start("g1")
    response = operator.post(
        reverse("console:action", args=["stop"]), form_for(operator, "stop", "g1", "g9"), follow=True
    )
    in_progress = response.content.decode()

    for operation in Operation.objects.filter(op_source=OperationSource.ADMIN_CONSOLE):
        rig.do(operation)

    over = operator.get(response.request["PATH_INFO"] + "?" + response.request["QUERY_STRING"]).content.decode()
    assert "In progress" in in_progress
    assert "hx-get" in in_progress
    assert "All operations have finished." in over
    assert "not_found" in over


def test_the_confirmation_page_previews_the_effect_on_each_game(operator: Client) -> None:
    add_game("up")
    add_game("down", "stopped")

    page = confirmation_page(operator, "cleanup", "up", "down", "unknown")

    assert "Running: the cleanup is refused. Stop it first." in page
    assert "Removes its container." in page
    assert "Has no container: nothing changes." in page


@pytest.mark.parametrize("name", ACTIONS)
def test_a_viewer_may_only_read(rig: Rig, name: str) -> None:
    del rig
    viewer = signed_in("viewer")
    add_game("g1")
    form = {"game": "g1", "because": "x", "submission_id": "00000000-0000-4000-8000-000000000000", "image_ref": IMAGE}

    response = viewer.post(reverse("console:action", args=[name]), {**form, "reason": "admin_request"})

    assert response.status_code == 403
    assert viewer.get(reverse("console:game", args=["g1"])).status_code == 200
    assert (
        reverse("console:action", args=[name]) not in viewer.get(reverse("console:game", args=["g1"])).content.decode()
    )
    assert not Operation.objects.exists()


@pytest.mark.parametrize("name", ACTIONS)
def test_a_user_with_one_permission_may_request_one_action(rig: Rig, name: str) -> None:
    del rig
    make_groups()
    add_game("g1")
    user = User.objects.create_user("narrow", is_staff=True)
    user.user_permissions.add(
        Permission.objects.get(codename=f"{name}_runtime"), Permission.objects.get(codename="view_runtime")
    )
    client = Client()
    client.force_login(user)

    statuses = {
        action: client.get(reverse("console:action", args=[action]), {"game": "g1"}).status_code for action in ACTIONS
    }

    assert [action for action, status in statuses.items() if status == 200] == [name]


@pytest.mark.parametrize("query", ["", "game=", "game=../etc", "game=" + "&game=".join(f"g{n}" for n in range(201))])
def test_an_address_with_no_games_or_too_many_games_is_not_found(operator: Client, query: str) -> None:
    assert operator.get(reverse("console:action", args=["stop"]) + f"?{query}").status_code == 404


def test_a_visitor_without_a_session_is_sent_to_the_login_page(rig: Rig) -> None:
    del rig
    response = Client().get(reverse("console:action", args=["stop"]), {"game": "g1"})

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


def test_a_list_action_leads_to_the_confirmation_page_of_the_selected_games(operator: Client) -> None:
    add_game("g1")
    add_game("g2")
    form = {"action": "stop_selected", "_selected_action": ["g1", "g2"]}

    response = operator.post(reverse("admin:runtimes_runtime_changelist"), form)

    assert response["Location"] == reverse("console:action", args=["stop"]) + "?game=g1&game=g2"


@pytest.mark.parametrize("name", ["start", "restart"])
def test_only_the_check_box_accepts_an_empty_state_directory(operator: Client, name: str) -> None:
    add_game("g1", "stopped")
    add_game("g2", "stopped")

    operator.post(reverse("console:action", args=[name]), form_for(operator, name, "g1", accept_empty_state="on"))
    operator.post(reverse("console:action", args=[name]), form_for(operator, name, "g2"))

    accepted, plain = Operation.objects.order_by("id").values_list("arguments", flat=True)
    assert accepted["accept_empty_state"] is True
    assert "accept_empty_state" not in plain
    assert 'type="checkbox"' in confirmation_page(operator, name, "g1")


@pytest.mark.parametrize("name", ["stop", "patch", "cleanup"])
def test_forms_that_start_no_container_have_no_such_check_box(operator: Client, name: str) -> None:
    add_game("g1")

    assert "accept_empty_state" not in confirmation_page(operator, name, "g1")
