"""The settings of the diagnostic call to Lobby."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from rtmanager.config import BadSettingsError, load_config


@pytest.mark.parametrize("url", ["", "http://lobby:8080", "https://lobby.example/base/", "http://[::1]:8080"])
def test_an_http_address_or_none_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RTMANAGER_LOBBY_INTERNAL_BASE_URL", url)

    assert load_config().lobby_internal_base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "lobby:8080",
        "ftp://lobby",
        "http://",
        "http://lobby:99999",
        "http://lobby/?a=b",
        "http://u:p@lobby",
        "http://[::1",
    ],
)
def test_any_other_address_stops_the_process_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RTMANAGER_LOBBY_INTERNAL_BASE_URL", url)

    with pytest.raises(BadSettingsError, match="RTMANAGER_LOBBY_INTERNAL_BASE_URL"):
        load_config()


def test_the_timeout_is_two_seconds_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    default = load_config().lobby_internal_timeout
    monkeypatch.setenv("RTMANAGER_LOBBY_INTERNAL_TIMEOUT", "750ms")

    assert default == timedelta(seconds=2)
    assert load_config().lobby_internal_timeout == timedelta(milliseconds=750)


@pytest.mark.parametrize("timeout", ["0s", "-1s", "2"])
def test_a_timeout_that_allows_no_answer_stops_the_process_by_name(
    monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    monkeypatch.setenv("RTMANAGER_LOBBY_INTERNAL_TIMEOUT", timeout)

    with pytest.raises(BadSettingsError, match="RTMANAGER_LOBBY_INTERNAL_TIMEOUT"):
        load_config()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RTMANAGER_LOBBY_URL", "RTMANAGER_LOBBY_INTERNAL_BASE_URL"),
        ("RTMANAGER_LOBBY_TIMEOUT", "RTMANAGER_LOBBY_INTERNAL_TIMEOUT"),
    ],
)
@pytest.mark.parametrize("spelling", [str.upper, str.lower])
def test_a_variable_under_its_former_name_stops_the_process_and_the_message_gives_the_new_one(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str, spelling: Callable[[str], str]
) -> None:
    monkeypatch.setenv(spelling(old), "http://lobby:8080")

    with pytest.raises(BadSettingsError) as refused:
        load_config()

    assert str(refused.value) == f"{old}: this setting is now {new}; rename the variable"


def test_a_former_name_is_reported_beside_every_other_bad_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMANAGER_LOBBY_URL", "http://lobby:8080")
    monkeypatch.setenv("RTMANAGER_STACK", "not a name")

    with pytest.raises(BadSettingsError) as refused:
        load_config()

    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == [
        "RTMANAGER_LOBBY_URL", "RTMANAGER_STACK"
    ]  # fmt: skip


def test_an_empty_variable_under_its_former_name_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMANAGER_LOBBY_URL", "")

    assert load_config().lobby_internal_base_url == ""
