"""``manage.py prepare_database``: what a container runs before its process."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from pydantic import SecretStr

from rtmanager.management.commands.prepare_database import wait_for_database
from tests.conftest import RtmSettings


def prepare(*arguments: str) -> str:
    output = StringIO()
    call_command("prepare_database", *arguments, stdout=output)
    return output.getvalue()


def test_it_migrates_and_creates_the_admin_once(rtm_settings: RtmSettings) -> None:
    rtm_settings(admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("p/a@s:s#1"))

    first, second = prepare(), prepare()

    assert "No migrations to apply" in first
    assert "Created the admin 'boss'" in first
    assert "exists already" in second
    assert User.objects.get(username="boss").check_password("p/a@s:s#1")


def test_if_configured_does_nothing_without_the_setting(rtm_settings: RtmSettings) -> None:
    rtm_settings(prepare_database=False, admin_bootstrap_user="boss", admin_bootstrap_password=SecretStr("first"))

    assert prepare("--if-configured") == ""
    assert not User.objects.exists()


def test_if_configured_runs_with_the_setting(rtm_settings: RtmSettings) -> None:
    rtm_settings(prepare_database=True)

    assert "No migrations to apply" in prepare("--if-configured")


def test_a_database_that_does_not_respond_is_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        message = "connection refused"
        raise OperationalError(message)

    monkeypatch.setattr(connection, "ensure_connection", refuse)
    times = iter([0.0, 30.0, 61.0])
    pauses: list[float] = []

    with pytest.raises(CommandError, match=r"connection refused; check RTMANAGER_DATABASE_URL"):
        wait_for_database(clock=lambda: next(times), pause=pauses.append)

    assert len(pauses) == 1
