"""`manage.py ensure_admin`: the admin user of the settings, on a real database."""

from io import StringIO

from django.contrib.auth.models import User
from django.core.management import call_command
from pydantic import SecretStr

from tests.conftest import RtmSettings


def ensure_admin() -> str:
    output = StringIO()
    call_command("ensure_admin", stdout=output)
    return output.getvalue()


def test_without_the_setting_no_user_is_created(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="")

    output = ensure_admin()

    assert "RTMANAGER_ADMIN_BOOTSTRAP_USER is not set" in output
    assert not User.objects.exists()


def test_the_user_of_the_settings_is_created_as_a_superuser(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("first"))

    output = ensure_admin()

    boss = User.objects.get(username="boss")
    assert output == "Created the admin 'boss'.\n"
    assert (boss.is_staff, boss.is_superuser, boss.check_password("first")) == (True, True, True)


def test_an_existing_user_keeps_its_password_and_permissions(rtm_settings: RtmSettings) -> None:
    User.objects.create_user("boss", password="own")
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("first"))

    output = ensure_admin()

    boss = User.objects.get(username="boss")
    assert "exists already" in output
    assert (boss.is_superuser, boss.check_password("own")) == (False, True)
