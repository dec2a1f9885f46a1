import io
from typing import Any

import pytest

from rtmanager.api.bodies import MOST_DRAINED_BYTES, DrainedBodies, Environ, MeasuredBodies
from runtimes.api.strict import MAX_BODY_BYTES


def through(environ: Environ) -> Environ:
    seen: list[Environ] = []

    def application(environ: Environ, _start_response: Any) -> list[bytes]:
        seen.append(environ)
        return []

    MeasuredBodies(application)(environ, lambda *_: None)
    return seen[0]


def chunked(body: bytes, **more: Any) -> Environ:
    return {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, **more}


@pytest.mark.parametrize("body", [b"", b'{"reason": "timeout"}'])
def test_a_chunked_body_is_passed_on_with_its_length(body: bytes) -> None:
    environ = through(chunked(body))

    assert environ["CONTENT_LENGTH"] == str(len(body))
    assert environ["wsgi.input"].read() == body
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_of_an_endless_body_no_more_is_read_than_proves_it_too_large() -> None:
    body = io.BytesIO(b"x" * (3 * MAX_BODY_BYTES))

    environ = through(chunked(b"") | {"wsgi.input": body})

    assert environ["CONTENT_LENGTH"] == str(MAX_BODY_BYTES + 1)
    assert body.tell() == MAX_BODY_BYTES + 1


def test_under_a_server_that_does_not_end_the_input_nothing_is_read() -> None:
    body = io.BytesIO(b"{}")

    environ = through(chunked(b"") | {"wsgi.input": body, "wsgi.input_terminated": False})

    assert (body.tell(), environ["HTTP_TRANSFER_ENCODING"]) == (0, "chunked")


def drained(body: Any, *, takes: int = 0, is_terminated: bool = True) -> Any:
    """The answer of an application that reads some bytes of the body and leaves the rest."""

    def application(environ: Environ, _start_response: Any) -> list[bytes]:
        return [environ["wsgi.input"].read(takes)]

    environ = {"wsgi.input": body, "wsgi.input_terminated": is_terminated}
    return DrainedBodies(application)(environ, lambda *_: None)


def test_what_nobody_has_read_of_a_body_is_taken_in() -> None:
    body = io.BytesIO(b"x" * 200_000)

    assert drained(body, takes=3) == [b"xxx"]
    assert body.tell() == 200_000


def test_of_an_endless_body_no_more_is_taken_in_than_makes_sense() -> None:
    class Endless:
        read_bytes = 0

        def read(self, size: int) -> bytes:
            self.read_bytes += size
            return b"x" * size

    body = Endless()

    drained(body)

    assert body.read_bytes == MOST_DRAINED_BYTES


def test_a_body_that_does_not_end_by_itself_is_left_alone() -> None:
    body = io.BytesIO(b"x" * 100)

    drained(body, takes=3, is_terminated=False)

    assert body.tell() == 3


def test_a_client_that_is_gone_takes_nothing_from_what_was_answered() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if size:
                message = "connection reset by peer"
                raise ConnectionResetError(message)
            return b""

    assert drained(Broken()) == [b""]
