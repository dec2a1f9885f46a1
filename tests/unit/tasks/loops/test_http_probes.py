"""Probes of small servers on loopback, each with its own behaviour."""

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from runtimes.health import ProbeResult
from tasks.loops.http_probes import HttpProbes, Target
from tests.servers.waiting import wait_for

Serve = Callable[[socket.socket], object]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def engine(serve: Serve) -> Iterator[str]:
    """Run a server that handles each connection with ``serve``; yield its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _address = listening.accept()
                except OSError:
                    return
                threading.Thread(target=treat, args=[connection], daemon=True).start()

        def treat(connection: socket.socket) -> None:
            with connection:
                try:
                    serve(connection)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def answer_with(text: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return serve


@contextmanager
def no_more_files() -> Iterator[None]:
    """Make this process unable to open files and sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def probes() -> Iterator[HttpProbes]:
    probes = HttpProbes()
    yield probes
    probes.close()


def target(address: str, container_id: str = "c1") -> Target:
    return Target("g1", container_id, f"http://{address}/healthz", "galaxy-game-g1:8080", 0)


def probe(probes: HttpProbes, address: str, *, timeout_seconds: float = 5.0) -> ProbeResult:
    probes.submit([target(address)], timeout_seconds=timeout_seconds)
    ((_target, result),) = wait_for(lambda: probes.collect(0.05), what="the result")
    return result


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_the_result_holds_the_http_status(probes: HttpProbes, status: int) -> None:
    with engine(answer_with(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)) as address:
        result = probe(probes, address)

    assert result.status == status
    assert result.is_success is (status < 300)


def test_the_request_names_the_engine_in_the_host_header(probes: HttpProbes) -> None:
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(OK)

    with engine(serve) as address:
        probe(probes, address)

    assert requests[0].startswith(b"GET /healthz HTTP/1.1\r\n")
    assert b"\r\nHost: galaxy-game-g1:8080\r\n" in requests[0]


def test_a_redirect_is_a_failure_and_is_not_followed(probes: HttpProbes) -> None:
    with engine(answer_with(OK)) as other:
        text = b"HTTP/1.1 302 Found\r\nLocation: http://%s/healthz\r\nContent-Length: 0\r\n\r\n" % other.encode()
        with engine(answer_with(text)) as address:
            result = probe(probes, address)

    assert (result.status, result.error) == (302, "answered 302")


def test_an_endless_body_is_not_read(probes: HttpProbes) -> None:
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError:
            closed.set()

    with engine(serve) as address:
        assert probe(probes, address).is_success
        assert closed.wait(5)


def test_an_engine_that_exceeds_the_timeout_fails(probes: HttpProbes) -> None:
    ended = threading.Event()
    with engine(lambda _connection: ended.wait()) as address:
        result = probe(probes, address, timeout_seconds=0.1)
        ended.set()

    assert (result.status, result.error) == (0, "no answer within 0.1 s")


def test_a_refused_connection_is_a_failure(probes: HttpProbes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"

    result = probe(probes, address)

    assert (result.status, result.error) == (0, "Connection refused")


@pytest.mark.parametrize(
    "text",
    [b"", b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n"],
    ids=["nothing", "nonsense", "endless header"],
)
def test_an_invalid_http_response_is_a_failure(probes: HttpProbes, text: bytes) -> None:
    with engine(answer_with(text)) as address:
        result = probe(probes, address)

    assert result.status == 0
    assert result.error


def test_an_engine_is_not_probed_twice_at_once(probes: HttpProbes) -> None:
    ended = threading.Event()
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        ended.wait()
        connection.sendall(OK)

    with engine(serve) as address:
        for _ in range(2):
            probes.submit([target(address)], timeout_seconds=5)
        wait_for(lambda: connections, what="the first connection")
        capacity_meanwhile = probes.capacity
        ended.set()
        results = wait_for(lambda: probes.collect(0.2), what="the result")

    assert (capacity_meanwhile, probes.capacity) == (probes.limit - 1, probes.limit)
    assert len(results) == len(connections) == 1


def test_hundreds_of_engines_are_probed_at_once(probes: HttpProbes) -> None:
    together = threading.Barrier(200)

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        together.wait(20)
        connection.sendall(OK)

    with engine(serve) as address:
        probes.submit([target(address, f"c{number}") for number in range(200)], timeout_seconds=20)
        successes: list[object] = []

        def all_arrived() -> bool:
            successes.extend(result for _target, result in probes.collect(0.1) if result.is_success)
            return len(successes) == 200

        wait_for(all_arrived, what="200 results")

    assert probes.capacity == probes.limit


def test_an_error_of_this_machine_gives_no_result(probes: HttpProbes) -> None:
    with engine(answer_with(OK)) as address, no_more_files():
        probes.submit([target(address)], timeout_seconds=5)
        results = probes.collect(0.3)

    assert results == []
    assert probes.capacity == probes.limit


def test_close_cancels_running_probes_and_is_idempotent() -> None:
    ended = threading.Event()
    probes = HttpProbes()
    with engine(lambda _connection: ended.wait()) as address:
        probes.submit([target(address)], timeout_seconds=60)
        probes.close()
        probes.close()
        ended.set()

    assert probes.collect(0) == []
    assert probes.capacity == probes.limit
