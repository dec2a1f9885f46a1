"""The settings of a public site: its address, its proxies and its key."""

import os
from datetime import timedelta

import pytest

from rtmanager.config import PREFIX, BadSettingsError, Config, load_config


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Config:
    """Load the settings with these variables, named without their prefix."""
    for name, value in variables.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    return load_config()


def test_a_public_site_needs_a_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettingsError, match="RTMANAGER_SECRET_KEY needs at least 50 characters"):
        load(monkeypatch, PUBLIC_URL="https://rtm.example", SECRET_KEY="short")

    assert load(monkeypatch, PUBLIC_URL="https://rtm.example/", SECRET_KEY="x" * 50).public_url == "https://rtm.example"


@pytest.mark.parametrize(
    "value", ["rtm.example", "ftp://rtm.example", "https://", "https://rtm.example/path", "https://user@rtm.example"]
)
def test_a_public_url_is_the_address_of_a_site(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(BadSettingsError, match=r"RTMANAGER_PUBLIC_URL: .* write https://rtm\.example\.com"):
        load(monkeypatch, PUBLIC_URL=value, SECRET_KEY="x" * 50)


@pytest.mark.parametrize("value", ["proxy", "10.0.0.300", "10.0.0.1/8"])
def test_a_trusted_proxy_is_an_address_or_a_network(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(BadSettingsError, match=r"RTMANAGER_TRUSTED_PROXIES: .*172\.18\.0\.0/16"):
        load(monkeypatch, TRUSTED_PROXIES=value)


def test_a_session_lasts_at_least_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettingsError, match="RTMANAGER_SESSION_LIFETIME"):
        load(monkeypatch, SESSION_LIFETIME="59s")

    assert load(monkeypatch, SESSION_LIFETIME="8h").session_lifetime == timedelta(hours=8)
