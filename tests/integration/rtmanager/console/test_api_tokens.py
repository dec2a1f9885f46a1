"""The admin creates, rotates and revokes API tokens, shows each secret once, and never edits or deletes a token."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runtimes import api_tokens
from runtimes.api_tokens import TokenRefusedError
from runtimes.models import ApiToken
from tests.integration.token_factories import AT, BEARER, make

LIST = "admin:runtimes_apitoken_changelist"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_the_admin_creates_a_token_and_shows_its_secret_once(admin: Client) -> None:
    form = {"name": "gm-main", "caller": "gm", "scopes": "read", "note": "requested by the GM team"}

    first = admin.post(reverse("admin:runtimes_apitoken_add"), form, follow=True).content.decode()
    second = admin.get(reverse(LIST)).content.decode()

    (bearer,) = set(BEARER.findall(first))
    token = api_tokens.check(bearer, now=AT)
    assert (token.name, token.scopes, token.created_by) == ("gm-main", "read", "boss")
    assert bearer not in second
    assert LogEntry.objects.get().change_message == "Created: requested by the GM team"


def test_the_admin_creates_no_token_without_a_note(admin: Client) -> None:
    form = {"name": "gm-main", "caller": "gm", "scopes": "read", "note": ""}

    page = admin.post(reverse("admin:runtimes_apitoken_add"), form).content.decode()

    assert "This field is required" in page
    assert not ApiToken.objects.exists()


def test_the_admin_rejects_a_name_that_is_in_use(admin: Client) -> None:
    make()

    page = admin.post(
        reverse("admin:runtimes_apitoken_add"), {"name": "gm-main", "caller": "gm", "scopes": "read"}
    ).content.decode()

    assert "A current token has this name" in page
    assert ApiToken.objects.count() == 1


def test_the_admin_shows_a_token_without_its_digest(admin: Client) -> None:
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
    """Submit the confirmation page."""
    return choose(client, action, *chosen, confirm="yes", because=because)


def test_the_admin_rotates_a_token_and_shows_the_new_secret_once(admin: Client) -> None:
    old = make()

    page = confirm(admin, "rotate", old.token)

    (bearer,) = set(BEARER.findall(page))
    assert api_tokens.check(bearer, now=timezone.now()).created_by == "boss"
    assert api_tokens.check(old.bearer, now=timezone.now())
    (entry,) = LogEntry.objects.filter(object_id=old.token.pk)
    assert entry.change_message.endswith(": it leaked")
    assert "already" in confirm(admin, "rotate", old.token)


def test_the_admin_revokes_a_token(admin: Client) -> None:
    issued = make()

    page = confirm(admin, "revoke", issued.token)

    assert "Revoked 1 token." in page
    assert LogEntry.objects.get().change_message == "Revoked: it leaked"
    with pytest.raises(TokenRefusedError, match="revoked"):
        api_tokens.check(issued.bearer, now=AT)


@pytest.mark.parametrize(
    ("action", "preview"), [("rotate", "stays valid for 60 min"), ("revoke", "Refused permanently from now on")]
)
def test_a_token_changes_only_after_a_preview_and_a_reason(admin: Client, action: str, preview: str) -> None:
    issued = make()

    confirmation = choose(admin, action, issued.token)
    without_reason = confirm(admin, action, issued.token, because=" ")

    assert preview in confirmation
    assert "This field is required" in without_reason
    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]
    assert not LogEntry.objects.exists()


def test_a_user_who_may_only_view_tokens_can_neither_create_nor_revoke_one(client: Client) -> None:
    issued = make()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apitoken"))
    client.force_login(viewer)

    for action in ("rotate", "revoke"):
        confirm(client, action, issued.token)
    creation = client.post(reverse("admin:runtimes_apitoken_add"), {"name": "x", "caller": "gm", "scopes": "read"})

    assert creation.status_code == 403
    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]
