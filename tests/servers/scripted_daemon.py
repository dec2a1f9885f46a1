"""A daemon that misbehaves: an HTTP server with scripted answers, for tests of the Docker adapter."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


class ScriptedDaemon(ThreadingHTTPServer):
    """Answers each "METHOD last-part-of-the-path" as the script says.

    HANG means not before the test ends. A list is streamed, one object after the other; BREAK in it cuts the line.
    ``bodies`` has the last body of each request.
    """

    HANG: Answer = (0, None)
    BREAK = "break"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: dict[str, Answer] = {"GET version": (200, {"ApiVersion": "1.52"})}
        self.asked: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedDaemon
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        question = f"{self.command} {path.rpartition('/')[2]}"
        self.server.asked.append(question)
        self.server.bodies[question] = body
        status, content = self.server.script[question]
        if status == 0:
            self.server.ended.wait()
            self.close_connection = True
        elif isinstance(content, list):
            self._stream(content)
        else:
            self._reply(status, content)

    def _reply(self, status: int, body: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, entries: list[object]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for entry in entries:
            if entry == ScriptedDaemon.BREAK:
                self.close_connection = True
                return
            line = json.dumps(entry).encode() + b"\r\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (names of http.server)

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def scripted_daemon() -> Iterator[ScriptedDaemon]:
    """One that serves while the block runs."""
    with ScriptedDaemon() as daemon:
        thread = threading.Thread(target=daemon.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield daemon
        daemon.ended.set()
        daemon.shutdown()
        thread.join()
