"""The address of Lobby."""

import pytest

from rtmanager.config import BadSettingsError, load_config


@pytest.mark.parametrize("url", ["", "http://lobby:8080", "https://lobby.example/base/", "http://[::1]:8080"])
def test_an_http_address_or_none_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RTMANAGER_LOBBY_URL", url)

    assert load_config().lobby_url == url


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
    monkeypatch.setenv("RTMANAGER_LOBBY_URL", url)

    with pytest.raises(BadSettingsError, match="RTMANAGER_LOBBY_URL"):
        load_config()
