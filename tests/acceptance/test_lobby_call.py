"""The diagnostic call to Lobby at each start: the whole service, a real container, and a Lobby that takes its time."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.acceptance.conftest import MakeService
from tests.servers.service import Service
from tests.servers.waiting import wait_for


class SlowLobby:
    """Answers no request before ``release`` is set."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.release = threading.Event()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Gives the base address."""
        lobby = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lobby.paths.append(self.path)
                lobby.release.wait(60)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"status": "starting"}).encode())

            def log_message(self, *_args: Any) -> None:
                """Write nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.release.set()
            server.shutdown()
            server.server_close()


def test_starts_by_rest_and_by_stream_end_while_lobby_has_not_answered_and_its_answer_is_logged(
    make_service: MakeService, engine_image: str
) -> None:
    lobby = SlowLobby()
    with lobby.serving() as base:
        service = make_service(LOBBY_INTERNAL_BASE_URL=base, LOBBY_INTERNAL_TIMEOUT="50s")
        service.start()
        first, second = service.playground.game_id("rest"), service.playground.game_id("stream")

        answer = service.post(first, "start", image_ref=engine_image)
        service.start_job(second, engine_image)
        result = service.result(second)

        assert (answer.status_code, answer.json()["status"]) == (200, "running")
        assert (result.outcome, result.error_code) == ("success", "")
        wait_for(lambda: lobby.paths == [f"/api/v1/internal/games/{first}"], what="the first call, unanswered")
        lobby.release.set()
        expected = {first: "starting", second: "starting"}
        wait_for(lambda: _logged_statuses(service) == expected, what="both answers in the log")
        assert lobby.paths == [f"/api/v1/internal/games/{one}" for one in (first, second)]


def _logged_statuses(service: Service) -> dict[str, str]:
    lines = [json.loads(line) for line in service.processes["worker"].log.splitlines() if "lobby_responded" in line]
    return {line["game_id"]: line["game_status"] for line in lines}
