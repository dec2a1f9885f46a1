"""Sign-in to the console: limits of failed attempts, and what the log says of each attempt."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from structlog.testing import capture_logs

from rtmanager.http.sign_in import ADDRESS_LIMIT
from tasks.periodic import trim_sign_ins
from tests.conftest import RtmSettings

HERE, ELSEWHERE = "198.51.100.7", "198.51.100.8"
PASSWORD = "correct-horse-battery"
LIMIT = django_settings.AXES_FAILURE_LIMIT
LOCKED_FOR = django_settings.AXES_COOLOFF_TIME


@pytest.fixture(autouse=True)
def boss(settings: Settings) -> User:
    # The default one takes half a second for each attempt.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_superuser("boss", password=PASSWORD)


def sign_in(
    user: str = "boss", password: str = PASSWORD, *, address: str = HERE, headers: Mapping[str, str] | None = None
) -> Any:
    """Submit the form of the sign-in page in a new browser; returns the response."""
    form = {"username": user, "password": password, "next": "/admin/runtimes/runtime/"}
    return Client().post("/admin/login/", form, REMOTE_ADDR=address, headers=headers)


def fail(times: int = 1, user: str = "boss", **client: Any) -> list[int]:
    return [sign_in(user, f"wrong-{number}", **client).status_code for number in range(times)]


def let_time_pass(by: timedelta) -> None:
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - by)


def test_failures_of_one_account_from_one_address_lock_both_together_and_nothing_else() -> None:
    other = User.objects.create_superuser("other", password=PASSWORD)

    assert fail(LIMIT) == [200] * (LIMIT - 1) + [429]

    assert sign_in().status_code == 429
    assert sign_in(address=ELSEWHERE).status_code == 302
    assert sign_in(other.username).status_code == 302


def test_another_browser_program_is_locked_too() -> None:
    for number in range(LIMIT):
        fail(headers={"user-agent": f"browser {number}"})

    assert sign_in(headers={"user-agent": "one more"}).status_code == 429


def test_the_answer_to_a_locked_sign_in_says_when_to_try_again() -> None:
    fail(LIMIT)

    response = sign_in()

    page = response.content.decode()
    (attempt,) = AccessAttempt.objects.all()
    until = (attempt.attempt_time + LOCKED_FOR).replace(microsecond=0) + timedelta(seconds=1)
    assert 0 < int(response["Retry-After"]) <= LOCKED_FOR.total_seconds() + 1
    assert f"{until:%Y-%m-%d %H:%M:%S} UTC" in page
    assert "Too many failed attempts" in page
    assert 'href="/admin/login/"' in page
    # As on the sign-in page: the name of the site, and no side bar.
    assert "Runtime Manager" in page
    assert "nav-sidebar" not in page


def test_the_lock_ends_and_attempts_meanwhile_do_not_extend_it() -> None:
    fail(LIMIT)
    let_time_pass(LOCKED_FOR - timedelta(minutes=1))
    assert fail(2) == [429, 429]

    let_time_pass(timedelta(minutes=1))

    assert sign_in().status_code == 302


def test_a_success_forgets_the_failures_of_this_account_from_this_address_alone() -> None:
    User.objects.create_superuser("other", password=PASSWORD)
    fail(LIMIT - 1)
    fail(LIMIT - 1, "other")
    fail(LIMIT - 1, address=ELSEWHERE)

    sign_in()

    assert fail(LIMIT - 1) == [200] * (LIMIT - 1)
    assert fail(1, "other") == [429]
    assert fail(1, address=ELSEWHERE) == [429]


def test_one_address_that_tries_many_accounts_is_locked_for_all_of_them() -> None:
    statuses = [fail(1, f"user-{number}")[0] for number in range(ADDRESS_LIMIT)]

    assert statuses == [200] * (ADDRESS_LIMIT - 1) + [429]
    assert sign_in().status_code == 429
    assert sign_in(address=ELSEWHERE).status_code == 302


def test_an_attacker_who_signs_in_as_itself_gets_no_further_attempts_on_other_accounts() -> None:
    User.objects.create_user("attacker", password=PASSWORD, is_staff=True)
    for number in range(LIMIT - 1):
        fail(1)
        assert (number, sign_in("attacker").status_code) == (number, 302)

    assert fail(1) == [429]


def test_the_addresses_of_one_ipv6_network_count_together() -> None:
    for number in range(LIMIT):
        fail(address=f"2001:db8:1:2::{number:x}")

    assert sign_in(address="2001:db8:1:2:ffff::1").status_code == 429
    assert sign_in(address="2001:db8:1:3::1").status_code == 302


def test_behind_a_trusted_proxy_the_address_of_the_client_counts(rtm_settings: RtmSettings) -> None:
    rtm_settings(trusted_proxies="10.0.0.1")
    fail(LIMIT, address="10.0.0.1", headers={"x-forwarded-for": HERE})

    assert sign_in(address="10.0.0.1", headers={"x-forwarded-for": HERE}).status_code == 429
    assert sign_in(address="10.0.0.1", headers={"x-forwarded-for": ELSEWHERE}).status_code == 302


def test_a_client_gets_no_further_attempts_by_inventing_addresses() -> None:
    for number in range(LIMIT):
        fail(headers={"x-forwarded-for": f"203.0.113.{number}"})

    assert sign_in(headers={"x-forwarded-for": "203.0.113.99"}).status_code == 429


def test_clients_whose_address_is_unknown_count_together(rtm_settings: RtmSettings) -> None:
    rtm_settings(trusted_proxies="10.0.0.1")
    for number in range(LIMIT):
        fail(address="10.0.0.1", headers={"x-forwarded-for": f"{HERE}:{number}"})

    assert sign_in(address="10.0.0.1", headers={"x-forwarded-for": "unknown"}).status_code == 429


@pytest.mark.parametrize("rights", [{"is_staff": False}, {"is_active": False}])
def test_the_right_password_of_an_account_that_may_not_sign_in_is_a_failure_like_a_wrong_one(
    rights: dict[str, Any],
) -> None:
    User.objects.create_user("player", password=PASSWORD, **{"is_staff": True, **rights})

    with capture_logs() as lines:
        responses = [sign_in("player") for _number in range(LIMIT)]

    assert [response.status_code for response in responses] == [200] * (LIMIT - 1) + [429]
    assert [line["event"] for line in lines if "user" in line] == ["user_login_failed"] * LIMIT + ["sign_in_locked"]


def test_every_sign_in_is_one_line_in_the_log_and_the_lock_is_one_of_its_own() -> None:
    with capture_logs() as lines:
        sign_in()
        fail(LIMIT)
        sign_in()

    ours = [line for line in lines if line["event"] in {"user_logged_in", "user_login_failed", "sign_in_locked"}]
    assert [(line["event"], line.get("reason", "")) for line in ours] == [
        ("user_logged_in", ""),
        *[("user_login_failed", "credentials")] * LIMIT,
        ("sign_in_locked", ""),
        ("user_login_failed", "locked"),
    ]
    assert {(line["user"], line["address"]) for line in ours} == {("boss", HERE)}


def test_neither_the_log_nor_the_database_holds_a_password() -> None:
    secret = "hunter2-hunter2"
    client = Client(enforce_csrf_checks=True)
    client.get("/admin/login/")
    token = client.cookies["csrftoken"].value
    form = {"username": "boss", "password": secret, "csrfmiddlewaretoken": token}

    with capture_logs() as lines:
        client.post("/admin/login/", form)
        sign_in(password=secret)

    rows = list(AccessAttempt.objects.values())
    assert len(rows) == 2
    assert secret not in json.dumps([*lines, *rows], default=str)
    assert token not in json.dumps(rows, default=str)


def test_a_name_in_the_log_is_bounded_and_has_no_control_characters() -> None:
    with capture_logs() as lines:
        sign_in("a\x1b[2J\u2028b\u202e" + "x" * 140)
        sign_in("y" * 1000)

    names = [line["user"] for line in lines if line["event"] == "user_login_failed"]
    assert names == ["a?[2J?b?" + "x" * 140, "y" * 150]


@pytest.mark.parametrize("name", ["x" * 1000, "ß" * 300, "\U0001f600" * 300, "' OR 1=1 --", "a\x00b", " ", ""])
def test_no_name_breaks_the_sign_in(name: str) -> None:
    assert [sign_in(name).status_code for _number in range(LIMIT - 1)] == [200] * (LIMIT - 1)


def test_an_operator_unlocks_an_account() -> None:
    fail(LIMIT)

    call_command("axes_reset_username", "boss")

    assert sign_in().status_code == 302


def test_failures_that_no_longer_count_and_expired_sessions_are_deleted() -> None:
    fail(1, "old")
    let_time_pass(LOCKED_FOR)
    fail(1, "new")
    AccessAttempt.objects.filter(username="new").update(attempt_time=timezone.now())
    sessions = {"expired": SessionStore(), "valid": SessionStore()}
    for name, session in sessions.items():
        session.set_expiry(timezone.now() + timedelta(hours=-1 if name == "expired" else 1))
        session.save()
    AccessAttempt.objects.create(username="old", failures_since_start=1)
    AccessAttempt.objects.filter(username="old").update(attempt_time=timezone.now() - LOCKED_FOR)

    assert (trim_sign_ins(), trim_sign_ins()) == (1, 0)

    assert list(AccessAttempt.objects.values_list("username", flat=True)) == ["new"]
    remaining = [name for name, session in sessions.items() if session.exists(session.session_key or "")]
    assert remaining == ["valid"]
