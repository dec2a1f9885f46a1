import io
from typing import Any

import pytest

from rtmanager.api.chunked import Environ, MeasuredBodies
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
