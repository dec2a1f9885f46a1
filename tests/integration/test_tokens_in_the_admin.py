"""The admin makes, rotates and revokes tokens, shows each secret once, and neither edits nor deletes one."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runtimes import tokens
from runtimes.models import ApiToken
from runtimes.tokens import TokenRefusedError
from tests.integration.token_rigs import AT, BEARER, make

LIST = "admin:runtimes_apitoken_changelist"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_the_admin_makes_a_token_and_shows_it_once(admin: Client) -> None:
    form = {"name": "gm-main", "caller": "gm", "scopes": "read", "note": "asked for by the GM team"}

    first = admin.post(reverse("admin:runtimes_apitoken_add"), form, follow=True).content.decode()
    second = admin.get(reverse(LIST)).content.decode()

    (bearer,) = set(BEARER.findall(first))
    token = tokens.check(bearer, now=AT)
    assert (token.name, token.scopes, token.created_by) == ("gm-main", "read", "boss")
    assert bearer not in second
    assert LogEntry.objects.get().change_message == "Made: asked for by the GM team"


def test_the_admin_makes_no_token_without_saying_what_it_is_for(admin: Client) -> None:
    form = {"name": "gm-main", "caller": "gm", "scopes": "read", "note": ""}

    page = admin.post(reverse("admin:runtimes_apitoken_add"), form).content.decode()

    assert "This field is required" in page
    assert not ApiToken.objects.exists()


def test_the_admin_refuses_a_name_that_is_in_use(admin: Client) -> None:
    make()

    page = admin.post(
        reverse("admin:runtimes_apitoken_add"), {"name": "gm-main", "caller": "gm", "scopes": "read"}
    ).content.decode()

    assert "A current token has this name" in page
    assert ApiToken.objects.count() == 1


def test_the_admin_shows_all_of_a_token_but_its_digest(admin: Client) -> None:
    token = make(last_used_at=AT).token

    pages = [
        admin.get(reverse(LIST)).content.decode(),
        admin.get(reverse("admin:runtimes_apitoken_change", args=[token.pk])).content.decode(),
    ]

    for page in pages:
        assert token.public_id in page
        assert "2026-11-21 08:30:00" in page
        assert token.secret_sha256 not in page


def test_the_admin_neither_edits_nor_deletes_a_token(admin: Client) -> None:
    token = make().token

    statuses = [
        admin.post(reverse("admin:runtimes_apitoken_change", args=[token.pk]), {"name": "x"}).status_code,
        admin.post(reverse("admin:runtimes_apitoken_delete", args=[token.pk]), {"post": "yes"}).status_code,
    ]

    assert statuses == [403, 403]


def choose(client: Client, action: str, *chosen: ApiToken, **sent: str) -> str:
    form = {"action": action, "_selected_action": [token.pk for token in chosen], **sent}
    return client.post(reverse(LIST), form, follow=True).content.decode()


def confirm(client: Client, action: str, *chosen: ApiToken, because: str = "it leaked") -> str:
    """What the page that asks why sends."""
    return choose(client, action, *chosen, confirm="yes", because=because)


def test_the_admin_rotates_and_shows_the_new_token_once(admin: Client) -> None:
    old = make()

    page = confirm(admin, "rotate", old.token)

    (bearer,) = set(BEARER.findall(page))
    assert tokens.check(bearer, now=timezone.now()).created_by == "boss"
    assert tokens.check(old.bearer, now=timezone.now())
    (told,) = LogEntry.objects.filter(object_id=old.token.pk)
    assert told.change_message.endswith(": it leaked")
    assert "already" in confirm(admin, "rotate", old.token)


def test_the_admin_revokes(admin: Client) -> None:
    issued = make()

    page = confirm(admin, "revoke", issued.token)

    assert "Revoked 1 token(s)." in page
    assert LogEntry.objects.get().change_message == "Revoked: it leaked"
    with pytest.raises(TokenRefusedError, match="revoked"):
        tokens.check(issued.bearer, now=AT)


@pytest.mark.parametrize(
    ("action", "foretold"), [("rotate", "opens doors for another hour"), ("revoke", "Refused from now on")]
)
def test_nothing_is_done_to_a_token_before_somebody_has_read_what_and_said_why(
    admin: Client, action: str, foretold: str
) -> None:
    issued = make()

    asked = choose(admin, action, issued.token)
    unexplained = confirm(admin, action, issued.token, because=" ")

    assert foretold in asked
    assert "This field is required" in unexplained
    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]
    assert not LogEntry.objects.exists()


def test_who_may_only_look_at_tokens_can_neither_make_nor_end_one(client: Client) -> None:
    issued = make()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apitoken"))
    client.force_login(viewer)

    for action in ("rotate", "revoke"):
        confirm(client, action, issued.token)
    made = client.post(reverse("admin:runtimes_apitoken_add"), {"name": "x", "caller": "gm", "scopes": "read"})

    assert made.status_code == 403
    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]
