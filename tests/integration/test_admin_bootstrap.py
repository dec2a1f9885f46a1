"""The admin account that the settings ask for, on a real database."""

from io import StringIO

from django.contrib.auth.models import User
from django.core.management import call_command
from pydantic import SecretStr

from tests.conftest import RtmSettings


def ensure_admin() -> str:
    said = StringIO()
    call_command("ensure_admin", stdout=said)
    return said.getvalue()


def test_without_the_setting_no_account_is_made(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="")

    said = ensure_admin()

    assert "RTMANAGER_ADMIN_BOOTSTRAP_USER is not set" in said
    assert not User.objects.exists()


def test_the_account_of_the_settings_is_made_and_may_do_everything(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("first"))

    said = ensure_admin()

    boss = User.objects.get(username="boss")
    assert said == "Made the admin 'boss'.\n"
    assert (boss.is_staff, boss.is_superuser, boss.check_password("first")) == (True, True, True)


def test_an_existing_account_keeps_its_password_and_its_rights(rtm_settings: RtmSettings) -> None:
    User.objects.create_user("boss", password="own")
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("first"))

    said = ensure_admin()

    boss = User.objects.get(username="boss")
    assert "exists already" in said
    assert (boss.is_superuser, boss.check_password("own")) == (False, True)
