"""Users, groups and tokens on the admin pages: no group of the console gives a user rights beyond its own."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from runtimes.models import ApiToken
from tests.integration.console_harness import make_groups, signed_in
from tests.integration.token_factories import make

GROUPS = ["viewer", "operator", "admin"]
NEW_PASSWORD = "correct-horse-battery"
OLD_PASSWORD = "a-password-of-its-own"


def account(name: str, **rights: Any) -> User:
    """An account with a known password."""
    return User.objects.create_user(name, password=OLD_PASSWORD, is_staff=True, **rights)


def powerful_account(name: str = "security") -> User:
    """An account with one permission that the group ``admin`` does not have."""
    user = account(name)
    user.user_permissions.add(Permission.objects.get(codename="delete_session"))
    return user


def url(model: str, page: str, *keys: object) -> str:
    """The address of an admin page, or of the password page."""
    if page == "password":
        return reverse("admin:auth_user_password_change", args=keys)
    return reverse(f"admin:{model}_{page}", args=keys)


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    """The fields of the page of a user, as a browser would send them."""
    fields = {
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "date_joined_0": f"{user.date_joined:%Y-%m-%d}",
        "date_joined_1": f"{user.date_joined:%H:%M:%S}",
        "groups": list(user.groups.values_list("pk", flat=True)),
        "user_permissions": list(user.user_permissions.values_list("pk", flat=True)),
        "is_active": "on",
        "is_staff": "on",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def rights(user: User) -> tuple[Any, ...]:
    """What no user below the account may change."""
    user = User.objects.get(pk=user.pk)
    return (
        user.username,
        user.password,
        user.is_active,
        user.is_staff,
        user.is_superuser,
        sorted(user.groups.values_list("name", flat=True)),
        sorted(user.user_permissions.values_list("codename", flat=True)),
    )


@pytest.fixture(autouse=True)
def _groups() -> None:
    make_groups()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("is_superuser", [True, False], ids=["superuser", "more permissions"])
def test_an_account_above_the_users_own_is_not_changed(group: str, *, is_superuser: bool) -> None:
    browser = signed_in(group)
    target = account("root", is_superuser=True) if is_superuser else powerful_account()
    before = rights(target)
    renamed = form_of(target, username="taken", is_active=None)
    delete_selected = {"action": "delete_selected", "_selected_action": [target.pk], "post": "yes"}

    statuses = [
        browser.post(url("auth_user", "change", target.pk), renamed).status_code,
        browser.post(
            url("auth_user", "password", target.pk),
            {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"},
        ).status_code,
        browser.get(url("auth_user", "password", target.pk)).status_code,
        browser.post(url("auth_user", "delete", target.pk), {"post": "yes"}).status_code,
    ]
    browser.post(url("auth_user", "changelist"), delete_selected)

    assert statuses == [403] * 4
    assert rights(target) == before


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("is_active", [True, False])
def test_an_inactive_account_counts_with_the_permissions_that_it_would_have(group: str, *, is_active: bool) -> None:
    browser = signed_in(group)
    target = powerful_account()
    User.objects.filter(pk=target.pk).update(is_active=is_active)

    response = browser.post(url("auth_user", "change", target.pk), form_of(target))

    assert response.status_code == 403
    assert User.objects.get(pk=target.pk).is_active == is_active


@pytest.mark.parametrize("group", GROUPS)
def test_no_user_makes_an_account_or_itself_a_superuser(group: str) -> None:
    browser = signed_in(group)
    own = User.objects.get(username=f"{group}-user")
    other = account("other")

    for target in (own, other):
        browser.post(url("auth_user", "change", target.pk), form_of(target, is_superuser="on"))
    browser.post(
        url("auth_user", "add"),
        {
            "username": "new",
            "usable_password": "true",
            "password1": NEW_PASSWORD,
            "password2": NEW_PASSWORD,
            "is_superuser": "on",
            "is_staff": "on",
        },
    )

    assert not User.objects.filter(is_superuser=True).exists()
    assert User.objects.filter(username="new").exists() == (group == "admin")


@pytest.mark.parametrize("group", GROUPS)
def test_no_user_grants_a_permission_or_a_group_beyond_its_own(group: str) -> None:
    browser = signed_in(group)
    own = User.objects.get(username=f"{group}-user")
    other = account("other")
    powerful_group = Group.objects.create(name="owners")
    powerful_group.permissions.set(Permission.objects.all())
    beyond = Permission.objects.get(codename="delete_user")
    before = [rights(own), rights(other)]

    for target in (own, other):
        address = url("auth_user", "change", target.pk)
        browser.post(address, form_of(target, groups=[powerful_group.pk]))
        browser.post(address, form_of(target, user_permissions=[beyond.pk]))

    assert [rights(own), rights(other)] == before


@pytest.mark.parametrize("group", GROUPS)
def test_no_group_of_the_console_changes_groups(group: str) -> None:
    browser = signed_in(group)
    target = Group.objects.get(name=group)
    before = set(target.permissions.values_list("pk", flat=True))
    fields = {"name": "taken", "permissions": list(Permission.objects.values_list("pk", flat=True))}

    statuses = [
        browser.post(url("auth_group", "add"), fields).status_code,
        browser.post(url("auth_group", "change", target.pk), fields).status_code,
        browser.post(url("auth_group", "delete", target.pk), {"post": "yes"}).status_code,
    ]

    assert statuses == [403] * 3
    assert set(Group.objects.get(name=group).permissions.values_list("pk", flat=True)) == before
    assert Group.objects.count() == len(GROUPS)


def test_a_user_who_manages_groups_gives_them_no_permission_beyond_its_own() -> None:
    browser = signed_in("admin")
    own = User.objects.get(username="admin-user")
    own.user_permissions.set(Permission.objects.filter(codename__in=["add_group", "change_group", "delete_group"]))
    owners = Group.objects.create(name="owners")
    owners.permissions.set(Permission.objects.all())
    admins = Group.objects.get(name="admin")
    before = set(admins.permissions.values_list("pk", flat=True))
    everything = list(Permission.objects.values_list("pk", flat=True))

    statuses = [
        browser.post(url("auth_group", "change", owners.pk), {"name": "taken"}).status_code,
        browser.post(url("auth_group", "delete", owners.pk), {"post": "yes"}).status_code,
    ]
    browser.post(url("auth_group", "change", admins.pk), {"name": "admin", "permissions": everything})
    browser.post(url("auth_group", "add"), {"name": "new", "permissions": everything})

    assert statuses == [403, 403]
    assert set(admins.permissions.values_list("pk", flat=True)) == before
    assert set(Group.objects.values_list("name", flat=True)) == {*GROUPS, "owners"}


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_viewer_and_operator_reach_no_page_of_users_groups_and_tokens(group: str) -> None:
    token = make().token
    browser = signed_in(group)
    other = account("other")
    keys = {"auth_user": other.pk, "auth_group": Group.objects.get(name="viewer").pk, "runtimes_apitoken": token.pk}
    addresses = [url("auth_user", "password", other.pk)]
    for model, key in keys.items():
        addresses += [url(model, "changelist"), url(model, "add")]
        addresses += [url(model, page, key) for page in ("change", "delete", "history")]
    before = rights(other)

    statuses = {
        (address, method): getattr(browser, method)(address, {"post": "yes"}).status_code
        for address in addresses
        for method in ("get", "post")
    }

    assert set(statuses.values()) == {403}
    assert rights(other) == before
    assert ApiToken.objects.get().revoked_at is None


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_viewer_and_operator_neither_create_nor_rotate_nor_revoke_a_token(group: str) -> None:
    token = make().token
    browser = signed_in(group)
    fields = {"name": "own", "caller": "admin", "scopes": ["read", "operate"], "note": "mine"}

    statuses = [browser.post(url("runtimes_apitoken", "add"), fields).status_code]
    for action in ("rotate", "revoke", "delete_selected"):
        form = {"action": action, "_selected_action": [token.pk], "because": "test", "confirm": "yes", "post": "yes"}
        statuses.append(browser.post(url("runtimes_apitoken", "changelist"), form).status_code)

    assert statuses == [403] * 4
    assert list(ApiToken.objects.values_list("pk", "revoked_at", "replaced_at")) == [(token.pk, None, None)]


def test_the_group_admin_manages_accounts_with_at_most_its_own_rights() -> None:
    browser = signed_in("admin")
    other = account("other")
    groups = list(Group.objects.values_list("pk", flat=True))

    changed = browser.post(url("auth_user", "change", other.pk), form_of(other, groups=groups, email="o@rtm.example"))
    password = browser.post(
        url("auth_user", "password", other.pk),
        {"usable_password": "true", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
    )

    other.refresh_from_db()
    assert (changed.status_code, password.status_code) == (302, 302)
    assert (other.email, other.groups.count(), other.check_password(NEW_PASSWORD)) == ("o@rtm.example", 3, True)


def test_a_superuser_manages_every_account(client: Client) -> None:
    client.force_login(account("root", is_superuser=True))
    target = powerful_account()

    client.post(url("auth_user", "change", target.pk), form_of(target, is_superuser="on"))
    client.post(url("auth_user", "delete", account("old").pk), {"post": "yes"})

    assert User.objects.get(pk=target.pk).is_superuser
    assert not User.objects.filter(username="old").exists()


def test_the_page_of_a_superuser_is_read_only_for_the_group_admin_and_hides_the_hash() -> None:
    browser = signed_in("admin")
    target = account("root", is_superuser=True)

    page = browser.get(url("auth_user", "change", target.pk)).content.decode()

    assert not re.search(r'name="(username|is_superuser|groups|_save)"', page)
    assert target.password not in page
    assert target.password.rpartition("$")[2] not in page


def test_a_page_that_is_not_allowed_looks_like_the_console_and_leads_back() -> None:
    response = signed_in("viewer").get(url("auth_user", "changelist"))

    page = response.content.decode()
    assert response.status_code == 403
    assert "Your account does not have the permission" in page
    assert f'href="{reverse("admin:index")}">Back to the overview' in page
    assert f'href="{reverse("admin:runtimes_runtime_changelist")}"' in page
