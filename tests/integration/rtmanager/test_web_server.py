"""The web server with small limits: slow, silent and malformed clients, and requests that run at its shutdown."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from rtmanager.web_server import Limits, WebServer, listen
from runtimes.process import shutting_down
from tests.servers.waiting import wait_for

_LIMITS = Limits(
    header_seconds=0.5,
    request_seconds=1.0,
    idle_seconds=2.0,
    unread_response_seconds=1.0,
    connections_per_client=20,
    connections=30,
)


class Application:
    """Echoes bodies. ``/held`` returns only when ``release`` is set; ``/large`` sends 64 MB."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.held = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/held":
            self.held.release()
            self.release.wait(30)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 1_000_000 for _ in range(64)) if environ["PATH_INFO"] == "/large" else [body]


@pytest.fixture
def application() -> Iterator[Application]:
    created = Application()
    yield created
    created.release.set()


@pytest.fixture
def server(application: Application) -> Iterator[WebServer]:
    created = WebServer(application, listen("127.0.0.1:0"), threads=2, limits=_LIMITS)

    def run() -> None:
        created.run()
        created.drain(10)

    loop = threading.Thread(target=run, daemon=True)
    loop.start()
    yield created
    application.release.set()
    created.stop()
    loop.join(20)
    shutting_down.clear()
    assert not loop.is_alive()


@pytest.fixture
def url(server: WebServer) -> str:
    return f"http://127.0.0.1:{server.effective_port}"


@pytest.fixture
def connect(server: WebServer) -> Iterator[Callable[..., socket.socket]]:
    opened: list[socket.socket] = []

    def open_connection(first_bytes: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", int(server.effective_port)), timeout=10)
        opened.append(connection)
        connection.sendall(first_bytes)
        return connection

    yield open_connection
    for connection in opened:
        connection.close()


def response_to(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    received = b""
    while data := connection.recv(65_536):
        received += data
    return received


@pytest.mark.parametrize(
    "first_bytes",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
    ],
    ids=["silent", "half a header", "half a body", "half a chunk"],
)
def test_a_client_that_does_not_complete_its_request_loses_its_connection(
    connect: Callable[..., socket.socket], first_bytes: bytes
) -> None:
    assert response_to(connect(first_bytes)) == b""


def test_a_client_that_sends_one_byte_at_a_time_has_no_more_time_than_others(
    connect: Callable[..., socket.socket],
) -> None:
    connection = connect(b"GET / HTTP/1.1\r\nX-Slow: ")

    def is_refused() -> bool:
        try:
            connection.sendall(b"x")
        except OSError:
            return True
        return False

    assert wait_for(is_refused, what="the server to close the connection")


def test_a_client_that_does_not_read_its_response_loses_its_connection(
    server: WebServer, connect: Callable[..., socket.socket]
) -> None:
    connect(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")

    assert wait_for(lambda: bool(server.active_channels), what="the connection to be accepted")
    assert wait_for(lambda: not server.active_channels, what="the connection to be closed")


def test_a_client_with_too_many_connections_loses_its_oldest_silent_ones(
    server: WebServer, url: str, connect: Callable[..., socket.socket]
) -> None:
    connections = [connect() for _ in range(60)]

    assert httpx.get(url, timeout=10).status_code == 200
    assert len(server.active_channels) <= _LIMITS.connections_per_client
    assert response_to(connections[0]) == b""


def test_calls_that_wait_do_not_delay_the_health_endpoints(application: Application, url: str) -> None:
    clients = [threading.Thread(target=httpx.get, args=(f"{url}/held",), kwargs={"timeout": 30}) for _ in range(10)]
    for client in clients:
        client.start()
    for _thread in range(2):
        assert application.held.acquire(timeout=10)

    answers = [httpx.get(f"{url}{path}", timeout=10).status_code for path in ("/healthz", "/readyz", "/metrics")]

    assert answers == [200, 200, 200]
    application.release.set()
    for client in clients:
        client.join(20)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 400),
    ],
    ids=["no request", "bad length", "two lengths", "space in a name", "unknown coding", "large header", "large body"],
)
def test_a_malformed_request_gets_the_envelope(
    connect: Callable[..., socket.socket], request_bytes: bytes, status: int
) -> None:
    head, _separator, body = response_to(connect(request_bytes)).partition(b"\r\n\r\n")

    assert head.startswith((f"HTTP/1.0 {status}".encode(), f"HTTP/1.1 {status}".encode()))
    assert b"application/json; charset=utf-8" in head
    assert json.loads(body)["error"]["code"] == "invalid_request"


def test_a_request_that_runs_at_the_shutdown_gets_its_response(
    application: Application, server: WebServer, url: str
) -> None:
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/held", content=b"done", timeout=30)))
    client.start()
    assert application.held.acquire(timeout=10)

    server.stop()
    wait_for(lambda: server.socket is None, what="the listening socket to be closed")
    application.release.set()
    client.join(20)

    assert [answer.text for answer in answers] == ["done"]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_an_address_with_a_host_is_bound_alone(address: str) -> None:
    with listen(address) as listener:
        assert listener.getsockname()[0] in {"127.0.0.1", "::1"}


def test_a_port_without_a_host_is_bound_on_all_addresses() -> None:
    with listen(":0") as listener:
        assert listener.getsockname()[0] in {"::", "0.0.0.0"}  # noqa: S104 - what the server must do
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=10).close()
