"""Probes on engines of every kind: small servers on loopback that answer in their own ways."""

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from runtimes.health import ProbeAnswer
from tasks.probes import HttpProbes, Target
from tests.servers.waiting import wait_for

Serve = Callable[[socket.socket], object]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def engine(serve: Serve) -> Iterator[str]:
    """A server that treats each connection this way; its address."""
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
    """This process may open nothing, no socket either."""
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


def ask(probes: HttpProbes, address: str, *, timeout_seconds: float = 5.0) -> ProbeAnswer:
    probes.launch([target(address)], timeout_seconds=timeout_seconds)
    ((_target, answer),) = wait_for(lambda: probes.collect(0.05), what="the answer")
    return answer


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_the_status_is_the_answer(probes: HttpProbes, status: int) -> None:
    with engine(answer_with(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)) as address:
        answer = ask(probes, address)

    assert answer.status == status
    assert answer.is_success is (status < 300)


def test_the_engine_is_asked_for_its_health_by_its_own_name(probes: HttpProbes) -> None:
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(OK)

    with engine(serve) as address:
        ask(probes, address)

    assert requests[0].startswith(b"GET /healthz HTTP/1.1\r\n")
    assert b"\r\nHost: galaxy-game-g1:8080\r\n" in requests[0]


def test_a_redirect_is_not_followed_and_is_no_success(probes: HttpProbes) -> None:
    with engine(answer_with(OK)) as other:
        text = b"HTTP/1.1 302 Found\r\nLocation: http://%s/healthz\r\nContent-Length: 0\r\n\r\n" % other.encode()
        with engine(answer_with(text)) as address:
            answer = ask(probes, address)

    assert (answer.status, answer.error) == (302, "answered 302")


def test_of_a_body_without_end_nothing_is_read(probes: HttpProbes) -> None:
    hung_up = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError:
            hung_up.set()

    with engine(serve) as address:
        assert ask(probes, address).is_success
        assert hung_up.wait(5)


def test_an_engine_that_does_not_answer_in_time_has_failed(probes: HttpProbes) -> None:
    ended = threading.Event()
    with engine(lambda _connection: ended.wait()) as address:
        answer = ask(probes, address, timeout_seconds=0.1)
        ended.set()

    assert (answer.status, answer.error) == (0, "no answer within 0.1 s")


def test_a_refused_connection_has_failed(probes: HttpProbes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"

    answer = ask(probes, address)

    assert (answer.status, answer.error) == (0, "Connection refused")


@pytest.mark.parametrize(
    "text",
    [b"", b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n"],
    ids=["nothing", "nonsense", "endless header"],
)
def test_an_engine_that_does_not_speak_http_has_failed(probes: HttpProbes, text: bytes) -> None:
    with engine(answer_with(text)) as address:
        answer = ask(probes, address)

    assert answer.status == 0
    assert answer.error


def test_an_engine_that_is_being_asked_is_not_asked_twice(probes: HttpProbes) -> None:
    ended = threading.Event()
    asked: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        asked.append(connection)
        ended.wait()
        connection.sendall(OK)

    with engine(serve) as address:
        for _ in range(2):
            probes.launch([target(address)], timeout_seconds=5)
        wait_for(lambda: asked, what="the first connection")
        free_meanwhile = probes.free
        ended.set()
        answers = wait_for(lambda: probes.collect(0.2), what="the answer")

    assert (free_meanwhile, probes.free) == (probes.limit - 1, probes.limit)
    assert len(answers) == len(asked) == 1


def test_hundreds_are_asked_at_once(probes: HttpProbes) -> None:
    together = threading.Barrier(200)

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        together.wait(20)
        connection.sendall(OK)

    with engine(serve) as address:
        probes.launch([target(address, f"c{number}") for number in range(200)], timeout_seconds=20)
        answers: list[object] = []

        def look() -> bool:
            answers.extend(answer for _target, answer in probes.collect(0.1) if answer.is_success)
            return len(answers) == 200

        wait_for(look, what="200 answers")

    assert probes.free == probes.limit


def test_what_fails_on_this_side_is_no_answer(probes: HttpProbes) -> None:
    with engine(answer_with(OK)) as address, no_more_files():
        probes.launch([target(address)], timeout_seconds=5)
        answers = probes.collect(0.3)

    assert answers == []
    assert probes.free == probes.limit


def test_closing_breaks_off_what_is_under_way_and_is_idempotent() -> None:
    ended = threading.Event()
    probes = HttpProbes()
    with engine(lambda _connection: ended.wait()) as address:
        probes.launch([target(address)], timeout_seconds=60)
        probes.close()
        probes.close()
        ended.set()

    assert probes.collect(0) == []
    assert probes.free == probes.limit
