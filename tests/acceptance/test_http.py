"""What only a real server between client and Django shows: chunks, large bodies, bare heads."""

import http.client
from collections.abc import Iterator

import httpx
import pytest

from tests.servers.service import Service

RUNTIMES = "/api/v1/internal/runtimes"
JSON = {"Content-Type": "application/json"}


def in_chunks(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_a_chunked_body_is_read_like_any_other(service: Service) -> None:
    answer = service.client.post(
        f"{RUNTIMES}/unknown-game/stop", content=in_chunks(b'{"reason": ', b'"timeout"}'), headers=JSON
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("body", [(b'{"reason": "time', b'out", "reason": "x"}'), (b"x" * 40_000, b"x" * 40_000)])
def test_a_bad_chunked_body_is_refused(service: Service, body: tuple[bytes, ...]) -> None:
    answer = service.client.post(f"{RUNTIMES}/unknown-game/stop", content=in_chunks(*body), headers=JSON)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("size", [10, 5_000_000])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_cleanup_ignores_any_body_and_the_connection_goes_on(
    service: Service,
    size: int,
    chunked: bool,  # noqa: FBT001
) -> None:
    body = b"garbage " * (size // 8)
    content = in_chunks(body) if chunked else body

    with httpx.Client(base_url=service.client.base_url, timeout=60) as client:
        answer = client.request("DELETE", f"{RUNTIMES}/unknown-game/container", content=content)
        after = client.get("/healthz")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert after.json() == {"status": "ok"}


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/nowhere", 404), ("PUT", RUNTIMES, 405)])
def test_a_connection_outlives_bodies_that_are_not_read(service: Service, method: str, path: str, status: int) -> None:
    connection = http.client.HTTPConnection(service.client.base_url.netloc.decode(), timeout=60)
    connection.connect()
    # A closed connection is not replaced without a word.
    connection.auto_open = 0

    for _request in range(20):
        connection.request(method, path, body=b"x" * 1_000_000)
        answer = connection.getresponse()
        answer.read()

        assert (answer.status, answer.will_close) == (status, False)
    connection.close()


def test_a_head_describes_the_body_without_sending_it(service: Service) -> None:
    with httpx.Client(base_url=service.client.base_url) as client:
        head, get = client.head(RUNTIMES), client.get(RUNTIMES)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert get.json() == {"items": []}


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/nowhere", 404), ("PUT", RUNTIMES, 405)])
def test_what_leads_nowhere_is_reported_in_the_envelope(service: Service, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path, content=b"x" * 100_000)

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message"}
