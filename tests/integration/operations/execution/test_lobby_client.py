"""A start while Lobby is asked about the game: done all the same, whatever Lobby does, on a real database."""

import socket
from collections.abc import Iterator

import pytest

from tests.conftest import RtmSettings
from tests.integration.harness import Rig


@pytest.fixture
def silent_lobby() -> Iterator[socket.socket]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


def address(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_start_is_done_while_lobby_still_has_the_question(
    rig: Rig, rtm_settings: RtmSettings, silent_lobby: socket.socket
) -> None:
    rtm_settings(lobby_internal_base_url=address(silent_lobby))

    operation = rig.start()

    question, _ = silent_lobby.accept()
    with question:
        question.settimeout(30)
        assert question.recv(4096).startswith(b"GET /api/v1/internal/games/g1 HTTP/1.1\r\n")
    assert (operation.outcome, operation.error_code) == ("success", "")
    assert "lobby" not in [step["name"] for step in operation.steps]


def test_a_start_does_not_need_a_lobby_that_is_there(
    rig: Rig, rtm_settings: RtmSettings, silent_lobby: socket.socket
) -> None:
    url = address(silent_lobby)
    silent_lobby.close()
    rtm_settings(lobby_internal_base_url=url)

    assert rig.start().outcome == "success"


def test_without_an_address_and_for_a_no_op_no_query_is_sent(
    rig: Rig, rtm_settings: RtmSettings, silent_lobby: socket.socket
) -> None:
    rig.start()
    rtm_settings(lobby_internal_base_url=address(silent_lobby))

    replay = rig.start()

    silent_lobby.settimeout(0)
    assert replay.error_code == "replay_no_op"
    with pytest.raises(BlockingIOError):
        silent_lobby.accept()
