"""What Lobby says is logged; nothing it does or fails to do is more than a line in the log."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from operations.execution.lobby_client import LobbyClient

Say = Callable[[BaseHTTPRequestHandler], object]


@contextmanager
def lobby(say: Say) -> Iterator[tuple[str, list[str]]]:
    """A Lobby that sends the given response; yields its address and the requested paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            say(self)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # Clients that hang up are what is tested here.
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def answering(body: bytes, *, status: int = 200, **headers: str) -> Say:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return say


def logged(url: str, *game_ids: str, timeout_seconds: float = 5) -> list[EventDict]:
    line = LobbyClient(url, timeout_seconds=timeout_seconds)
    with capture_logs() as logs:
        for game_id in game_ids or ("g1",):
            line.enqueue(game_id, operation_id=7)
        line.wait_until_idle()
    return logs


def test_the_answer_is_logged_with_the_game_and_the_operation() -> None:
    with lobby(answering(json.dumps({"status": "starting", "players": 3}).encode())) as (url, asked):
        logs = logged(url, "g-1")

    assert asked == ["/api/v1/internal/games/g-1"]
    assert logs == [
        {
            "event": "lobby_responded",
            "log_level": "info",
            "game_id": "g-1",
            "operation_id": 7,
            "status_code": 200,
            "game_status": "starting",
        }
    ]


def test_an_address_with_a_path_is_kept() -> None:
    with lobby(answering(b"{}")) as (url, asked):
        logged(f"{url}/lobby/")

    assert asked == ["/lobby/api/v1/internal/games/g1"]


@pytest.mark.parametrize(
    ("body", "parse_error"),
    [
        (b"<html>hello</html>", "no JSON object"),
        (b"\xff\xfe\x00", "no JSON object"),
        (b"[1, 2]", "no JSON object"),
        (b'"status"', "no JSON object"),
        (b"[" * 60_000, "no JSON object"),
        (b'{"status": "' + b"x" * 10_000_000 + b'"}', "more than 65536 bytes"),
    ],
)
def test_an_invalid_body_is_logged(body: bytes, parse_error: str) -> None:
    with lobby(answering(body)) as (url, _asked):
        (entry,) = logged(url)

    assert (entry["event"], entry["status_code"], entry["game_status"]) == ("lobby_responded", 200, "")
    assert parse_error in entry["parse_error"]


def test_a_status_of_another_kind_is_shortened_text() -> None:
    with lobby(answering(json.dumps({"status": ["x"] * 1000}).encode())) as (url, _asked):
        (entry,) = logged(url)

    assert len(entry["game_status"]) == 64


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_is_an_answer(status: int) -> None:
    with lobby(answering(b"", status=status)) as (url, _asked):
        (entry,) = logged(url)

    assert (entry["event"], entry["status_code"]) == ("lobby_responded", status)


def test_a_redirect_is_not_followed() -> None:
    with (
        lobby(answering(b"{}")) as (elsewhere, asked),
        lobby(answering(b"", status=302, Location=elsewhere)) as (url, _),
    ):
        (entry,) = logged(url)

    assert entry["status_code"] == 302
    assert asked == []


def test_a_refused_connection_is_logged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_again:
        port = closed_again.getsockname()[1]

    (entry,) = logged(f"http://127.0.0.1:{port}")

    assert entry["event"] == "lobby_not_reached"
    assert "ConnectionRefusedError" in entry["reason"]


def test_silence_ends_with_the_time_out() -> None:
    release = threading.Event()
    with lobby(lambda _handler: release.wait(60)) as (url, _asked):
        (entry,) = logged(url, timeout_seconds=0.1)
        release.set()

    assert entry["event"] == "lobby_not_reached"
    assert "Timeout" in entry["reason"]


def test_an_answer_that_comes_drop_by_drop_ends_with_the_time_out() -> None:
    release = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not release.wait(0.02):
            handler.wfile.write(b" ")

    with lobby(drip) as (url, _asked):
        (entry,) = logged(url, timeout_seconds=0.2)
        release.set()

    assert entry["event"] == "lobby_not_reached"
    assert "no complete response within 0.2 s" in entry["reason"]


def test_words_of_another_protocol_are_logged() -> None:
    with lobby(lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")) as (url, _asked):
        (entry,) = logged(url)

    assert entry["event"] == "lobby_not_reached"


def test_one_bad_answer_does_not_end_the_next_question() -> None:
    answers = iter([answering(b"\x00"), answering(b'{"status": "open"}')])

    def differently(handler: BaseHTTPRequestHandler) -> None:
        next(answers)(handler)

    with lobby(differently) as (url, _asked):
        logs = logged(url, "g1", "g2")

    assert [(one["game_id"], one["game_status"]) for one in logs] == [("g1", ""), ("g2", "open")]


def test_questions_beyond_the_queue_are_lost_and_never_waited_for() -> None:
    release = threading.Event()

    def late(handler: BaseHTTPRequestHandler) -> None:
        release.wait(60)
        answering(b"{}")(handler)

    with lobby(late) as (url, asked):
        line = LobbyClient(url, timeout_seconds=30)
        with capture_logs() as logs:
            for number in range(150):
                line.enqueue(f"g{number}", operation_id=number)
            lost = [one for one in logs if one["event"] == "lobby_query_dropped"]
            release.set()
            line.wait_until_idle()

    assert len(lost) in {49, 50}
    assert len(asked) + len(lost) == 150
