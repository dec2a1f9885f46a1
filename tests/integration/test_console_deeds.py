"""What people have done from the console, on a real database."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from operations.states import OpKind, OpSource
from tests.integration.console_rigs import IMAGE, add_game, make_groups, signed_in
from tests.integration.rigs import Rig

VERBS = ["start", "stop", "restart", "patch", "cleanup"]


def ask_page(client: Client, verb: str, *game_ids: str) -> str:
    answer = client.get(reverse("console:deed", args=[verb]), {"game": game_ids})
    assert answer.status_code == 200
    return answer.content.decode()


def fill_in(client: Client, verb: str, *game_ids: str, **fields: str) -> dict[str, object]:
    """The form as a browser would send it."""
    page = ask_page(client, verb, *game_ids)
    found = re.search(r'name="nonce" value="([0-9a-f-]{36})"', page)
    assert found
    defaults = {"because": "the operator said so", "reason": "admin_request", "image_ref": IMAGE}
    return {"game": list(game_ids), "nonce": found[1], **defaults, **fields}


@pytest.fixture
def operator(rig: Rig) -> Client:
    del rig
    return signed_in("operator")


def test_a_stop_from_the_console_is_an_operation_of_its_person(operator: Client) -> None:
    add_game("g1")

    answer = operator.post(reverse("console:deed", args=["stop"]), fill_in(operator, "stop", "g1"))

    operation = Operation.objects.get()
    assert answer["Location"] == reverse("console:game", args=["g1"])
    assert (operation.game_id, operation.op_kind) == ("g1", OpKind.STOP)
    assert (operation.op_source, operation.source_ref) == (OpSource.ADMIN_CONSOLE, "operator-person")
    assert operation.arguments == {"reason": "admin_request", "because": "the operator said so"}


def test_the_audit_tells_who_did_what_and_why(operator: Client) -> None:
    add_game("g1")
    operator.post(reverse("console:deed", args=["restart"]), fill_in(operator, "restart", "g1", because="it hung"))

    entry = LogEntry.objects.get()

    assert (entry.user.get_username(), entry.object_id) == ("operator-person", "g1")
    assert entry.change_message == f"Restart (operation {Operation.objects.get().pk}): it hung"


def test_a_form_sent_twice_is_one_deed_and_one_line_of_the_audit(operator: Client) -> None:
    add_game("g1")
    form = fill_in(operator, "stop", "g1")

    for _ in range(2):
        operator.post(reverse("console:deed", args=["stop"]), form)

    assert Operation.objects.count() == 1
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("because", ["", "   ", "x" * 501])
def test_nothing_is_done_without_a_reason_of_readable_length(operator: Client, because: str) -> None:
    add_game("g1")

    answer = operator.post(reverse("console:deed", args=["stop"]), fill_in(operator, "stop", "g1", because=because))

    assert answer.status_code == 400
    assert not Operation.objects.exists()


def test_a_start_without_an_image_takes_the_one_on_record(operator: Client) -> None:
    add_game("g1", "stopped")

    operator.post(reverse("console:deed", args=["start"]), fill_in(operator, "start", "g1", image_ref=""))

    assert Operation.objects.get().arguments["image_ref"] == IMAGE


def test_a_start_that_nobody_knows_an_image_for_is_refused_in_words(operator: Client) -> None:
    form = fill_in(operator, "start", "fresh", image_ref="")

    answer = operator.post(reverse("console:deed", args=["start"]), form, follow=True)

    assert "it never had an image" in answer.content.decode()
    assert not Operation.objects.exists()


def test_an_image_that_is_none_is_told_beside_its_field(operator: Client) -> None:
    form = fill_in(operator, "patch", "g1", image_ref="NOT AN IMAGE")

    answer = operator.post(reverse("console:deed", args=["patch"]), form)

    assert answer.status_code == 400
    assert 'role="alert"' in answer.content.decode()


def test_a_busy_game_is_refused_and_the_others_go_on(operator: Client, rig: Rig) -> None:
    for game_id in ("g1", "g2", "g3"):
        add_game(game_id)
    rig.ask_stop("g2")

    answer = operator.post(
        reverse("console:deed", args=["restart"]), fill_in(operator, "restart", "g1", "g2", "g3"), follow=True
    )

    restarted = Operation.objects.filter(op_kind=OpKind.RESTART).values_list("game_id", flat=True)
    assert sorted(restarted) == ["g1", "g3"]
    assert "g2 is busy" in answer.content.decode()


def test_the_progress_of_many_is_shown_until_all_have_ended(operator: Client, rig: Rig) -> None:
    rig.start("g1")
    answer = operator.post(reverse("console:deed", args=["stop"]), fill_in(operator, "stop", "g1", "g9"), follow=True)
    under_way = answer.content.decode()

    for operation in Operation.objects.filter(op_source=OpSource.ADMIN_CONSOLE):
        rig.do(operation)

    over = operator.get(answer.request["PATH_INFO"] + "?" + answer.request["QUERY_STRING"]).content.decode()
    assert "Still under way" in under_way
    assert "hx-get" in under_way
    assert "All of it has ended" in over
    assert "not_found" in over


def test_the_page_foretells_what_will_happen_to_each_game(operator: Client) -> None:
    add_game("up")
    add_game("down", "stopped")

    page = ask_page(operator, "cleanup", "up", "down", "unknown")

    assert "It is running: this is refused. Stop it first." in page
    assert "Its container is removed." in page
    assert "It has no container: nothing changes." in page


@pytest.mark.parametrize("verb", VERBS)
def test_a_viewer_may_look_and_nothing_else(rig: Rig, verb: str) -> None:
    del rig
    viewer = signed_in("viewer")
    add_game("g1")
    form = {"game": "g1", "because": "x", "nonce": "00000000-0000-4000-8000-000000000000", "image_ref": IMAGE}

    asked = viewer.post(reverse("console:deed", args=[verb]), {**form, "reason": "admin_request"})

    assert asked.status_code == 403
    assert viewer.get(reverse("console:game", args=["g1"])).status_code == 200
    assert reverse("console:deed", args=[verb]) not in viewer.get(reverse("console:game", args=["g1"])).content.decode()
    assert not Operation.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_person_with_one_permission_may_have_one_thing_done(rig: Rig, verb: str) -> None:
    del rig
    make_groups()
    add_game("g1")
    person = User.objects.create_user("narrow", is_staff=True)
    person.user_permissions.add(
        Permission.objects.get(codename=f"{verb}_runtime"), Permission.objects.get(codename="view_runtime")
    )
    client = Client()
    client.force_login(person)

    allowed = [
        name for name in VERBS if client.get(reverse("console:deed", args=[name]), {"game": "g1"}).status_code == 200
    ]

    assert allowed == [verb]


@pytest.mark.parametrize("query", ["", "game=", "game=../etc", "game=" + "&game=".join(f"g{n}" for n in range(201))])
def test_an_address_that_names_no_games_or_too_many_is_not_found(operator: Client, query: str) -> None:
    assert operator.get(reverse("console:deed", args=["stop"]) + f"?{query}").status_code == 404


def test_a_stranger_is_asked_to_sign_in(rig: Rig) -> None:
    del rig
    answer = Client().get(reverse("console:deed", args=["stop"]), {"game": "g1"})

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


def test_a_list_of_games_leads_to_the_deed_on_those_selected(operator: Client) -> None:
    add_game("g1")
    add_game("g2")
    form = {"action": "stop_selected", "_selected_action": ["g1", "g2"]}

    answer = operator.post(reverse("admin:runtimes_runtime_changelist"), form)

    assert answer["Location"] == reverse("console:deed", args=["stop"]) + "?game=g1&game=g2"
