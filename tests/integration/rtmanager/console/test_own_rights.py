"""Custom groups: no user gains rights beyond its own by creating or rotating a token, or by redriving a dead letter."""

import json
from itertools import product

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from operations.kinds import REQUESTABLE
from operations.models import DeadLetter, Operation
from runtimes.models import ApiToken
from runtimes.states import CallerName, TokenScopes
from tests.integration.console_harness import IMAGE, signed_in
from tests.integration.token_factories import make

TOKENS = {"view_apitoken", "add_apitoken", "change_apitoken"}
READ = {"view_runtime", "view_operation", "view_outboxevent", "view_deadletter", "view_exitreport"}
OPERATE = {f"{kind.verb}_runtime" for kind in REQUESTABLE.values()}
REDRIVE = {"change_deadletter"}
# What each token permits, as permissions of the console.
NEEDED = {
    ("gm", "read"): READ,
    ("gm", "operate"): OPERATE,
    ("gm", "read operate"): READ | OPERATE,
    ("admin", "read"): READ,
    ("admin", "operate"): OPERATE | REDRIVE,
    ("admin", "read operate"): READ | OPERATE | REDRIVE,
}
HOLDERS = [set[str](), READ, OPERATE, READ | OPERATE, OPERATE | REDRIVE, READ | OPERATE | REDRIVE]


def holder_of(permissions: set[str]) -> Client:
    user = User.objects.create_user("custom", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    browser = Client()
    browser.force_login(user)
    return browser


def create(browser: Client, caller: str, scopes: str) -> str:
    """Submit the form of a new token; returns the page that follows."""
    form = {"name": "own", "caller": caller, "scopes": scopes, "note": "for a test"}
    return browser.post(reverse("admin:runtimes_apitoken_add"), form, follow=True).content.decode()


def created(browser: Client, caller: str, scopes: str) -> bool:
    """Submit the form of a new token; returns whether there is one now. Removes it."""
    is_refused = "permissions that you do not have" in create(browser, caller, scopes)
    count, _per_model = ApiToken.objects.all().delete()
    assert is_refused == (count == 0)
    return count == 1


def rotated(browser: Client, caller: str, scopes: str) -> bool:
    """Rotate a new token; returns whether there is a second one now. Removes both."""
    old = make(caller=caller, scopes=scopes).token
    is_refused = "not rotated" in confirm(browser, "rotate", old)
    was_replaced = ApiToken.objects.get(pk=old.pk).replaced_at is not None
    count, _per_model = ApiToken.objects.all().delete()
    assert is_refused == (not was_replaced) == (count == 1)
    return was_replaced


def confirm(browser: Client, action: str, token: ApiToken) -> str:
    form = {"action": action, "_selected_action": [token.pk], "confirm": "yes", "because": "for a test"}
    return browser.post(reverse("admin:runtimes_apitoken_changelist"), form, follow=True).content.decode()


@pytest.mark.parametrize("held", HOLDERS, ids=lambda held: str(len(held)))
def test_a_user_creates_a_token_with_at_most_its_own_rights(held: set[str]) -> None:
    browser = holder_of(TOKENS | held)

    assert {token: created(browser, *token) for token in NEEDED} == {token: held >= NEEDED[token] for token in NEEDED}


@pytest.mark.parametrize("held", HOLDERS, ids=lambda held: str(len(held)))
def test_a_user_rotates_only_a_token_with_at_most_its_own_rights(held: set[str]) -> None:
    browser = holder_of(TOKENS | held)

    assert {token: rotated(browser, *token) for token in NEEDED} == {token: held >= NEEDED[token] for token in NEEDED}


@pytest.mark.parametrize("missing", sorted(READ | OPERATE | REDRIVE))
def test_each_permission_of_a_token_is_needed(missing: str) -> None:
    page = create(holder_of((TOKENS | READ | OPERATE | REDRIVE) - {missing}), "admin", "read operate")

    assert not ApiToken.objects.exists()
    assert f".{missing}." in page


def test_a_user_revokes_a_token_with_more_rights_than_its_own() -> None:
    token = make(scopes="read operate").token

    confirm(holder_of(TOKENS), "revoke", token)

    assert ApiToken.objects.get().revoked_at is not None


@pytest.mark.parametrize("form", [{}, {"scopes": "operate"}, {"scopes": "root"}, {"caller": "root", "scopes": "read"}])
def test_a_forged_form_creates_no_token(form: dict[str, str]) -> None:
    browser = holder_of(TOKENS | READ)
    fields = {"name": "own", "caller": "gm", "scopes": "", "note": "for a test", **form}

    browser.post(reverse("admin:runtimes_apitoken_add"), fields)

    assert not ApiToken.objects.exists()


def test_a_token_is_not_edited_with_any_permission() -> None:
    token = make(scopes="read").token
    browser = holder_of(TOKENS | READ | OPERATE | REDRIVE)
    fields = {"name": "own", "caller": "admin", "scopes": "read operate", "note": "for a test"}

    response = browser.post(reverse("admin:runtimes_apitoken_change", args=[token.pk]), fields)

    assert response.status_code == 403
    assert list(ApiToken.objects.values_list("caller", "scopes")) == [("gm", "read")]


def test_the_group_admin_creates_and_rotates_every_token() -> None:
    browser = signed_in("admin")

    assert [token for token in NEEDED if not (created(browser, *token) and rotated(browser, *token))] == []


@pytest.mark.parametrize(
    ("stream", "fields", "verb"),
    [
        ("runtime:start_jobs", {"image_ref": IMAGE, "requested_at_ms": "1"}, "start"),
        ("runtime:stop_jobs", {"reason": "cancelled", "requested_at_ms": "1"}, "stop"),
    ],
)
@pytest.mark.parametrize("held", sorted(OPERATE))
def test_a_user_redrives_only_what_it_may_request(stream: str, fields: dict[str, str], verb: str, held: str) -> None:
    dead_letter = DeadLetter.objects.create(
        stream=stream, entry_id="1-0", fields=json.dumps({"game_id": "g-1", **fields})
    )
    browser = holder_of({"view_deadletter", held} | REDRIVE)
    form = {"action": "redrive_selected", "_selected_action": [dead_letter.pk], "confirm": "yes", "because": "a test"}

    page = browser.post(reverse("admin:operations_deadletter_changelist"), form, follow=True).content.decode()

    is_allowed = held == f"{verb}_runtime"
    assert list(Operation.objects.values_list("op_kind", flat=True)) == [verb] * is_allowed
    assert (f"lacks the permission runtimes.{verb}_runtime" in page) == (not is_allowed)


def test_every_caller_and_scope_is_covered() -> None:
    assert set(NEEDED) == set(product(CallerName.values, TokenScopes.values))
