"""`manage.py ensure_admin`: the admin user of the settings, on a real database."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pydantic import SecretStr

from tests.conftest import RtmSettings

NAME = "runtime-boss"
WEAK = ["first", "password", "12345678", "runtime-boss1"]
STRONG = "correct-horse-battery"


def ensure_admin(command: str = "ensure_admin", *, warnings: str = "") -> str:
    """Run the command; returns its output. It must print these warnings."""
    output, errors = StringIO(), StringIO()
    call_command(command, stdout=output, stderr=errors, no_color=True)
    assert errors.getvalue() == warnings
    return output.getvalue()


def test_without_the_setting_no_user_is_created(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="")

    output = ensure_admin()

    assert "RTMANAGER_ADMIN_BOOTSTRAP_USER is not set" in output
    assert not User.objects.exists()


def test_the_user_of_the_settings_is_created_as_a_superuser(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr(STRONG))

    output = ensure_admin()

    boss = User.objects.get(username="boss")
    assert output == "Created the admin 'boss'.\n"
    assert (boss.is_staff, boss.is_superuser, boss.check_password(STRONG)) == (True, True, True)


def test_an_existing_user_keeps_its_password_and_permissions(rtm_settings: RtmSettings) -> None:
    User.objects.create_user("boss", password="own")
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("first"))

    output = ensure_admin()

    boss = User.objects.get(username="boss")
    assert "exists already" in output
    assert (boss.is_superuser, boss.check_password("own")) == (False, True)


def test_a_weak_password_is_a_warning(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("fi-rst"))
    warning = (
        "Warning: RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD is too weak: This password is too short. It must contain at least "
        "8 characters. Change it: manage.py changepassword boss\n"
    )

    output = ensure_admin(warnings=warning)

    assert output == "Created the admin 'boss'.\n"


@pytest.mark.parametrize("command", ["ensure_admin", "prepare_database"])
@pytest.mark.parametrize("password", WEAK)
def test_a_public_site_gets_no_admin_with_a_weak_password(
    rtm_settings: RtmSettings, password: str, command: str
) -> None:
    rtm_settings(
        public_url="https://rtm.example", admin_bootstrap_user=NAME, admin_bootstrap_password=SecretStr(password)
    )

    with pytest.raises(CommandError, match=r"^No admin created: RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD is too weak: "):
        ensure_admin(command)

    assert not User.objects.exists()


def test_the_password_of_an_existing_admin_does_not_matter(rtm_settings: RtmSettings) -> None:
    User.objects.create_superuser(NAME, password=STRONG)
    rtm_settings(
        public_url="https://rtm.example", admin_bootstrap_user=NAME, admin_bootstrap_password=SecretStr("first")
    )

    assert "exists already" in ensure_admin()


@pytest.mark.parametrize("password", WEAK)
@pytest.mark.parametrize("page", ["add", "password"])
def test_the_pages_of_users_accept_no_weak_password(client: Client, page: str, password: str) -> None:
    client.force_login(User.objects.create_superuser("root"))
    boss = User.objects.create_user(NAME, password=STRONG)
    form = {"usable_password": "true", "password1": password, "password2": password}
    pages = {
        "add": (reverse("admin:auth_user_add"), {**form, "username": "runtime-boss-2"}),
        "password": (reverse("admin:auth_user_password_change", args=[boss.pk]), form),
    }
    address, fields = pages[page]

    response = client.post(address, fields)

    assert response.status_code == 200
    assert User.objects.count() == 2
    assert User.objects.get(username=NAME).check_password(STRONG)


def test_a_user_gives_itself_no_weak_password(client: Client) -> None:
    boss = User.objects.create_superuser(NAME, password=STRONG)
    client.force_login(boss)
    form = {"old_password": STRONG, "new_password1": "password", "new_password2": "password"}

    response = client.post(reverse("admin:password_change"), form)

    assert response.status_code == 200
    assert User.objects.get().check_password(STRONG)
