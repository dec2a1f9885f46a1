"""The REST client of ``rtm`` on a failing network: what it repeats, what it reports, and its exit code."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from rtmanager.cli.api import Api
from rtmanager.cli.connection import Connection
from rtmanager.cli.errors import CliError, ExitCode

ACCEPTED = {"id": "7", "game_id": "g-1", "op_kind": "restart", "state": "accepted", "steps": []}

Handler = Callable[[httpx.Request], httpx.Response]


def api(*responses: Handler | httpx.Response | Exception, seconds: float = 5.0) -> tuple[Api, list[httpx.Request]]:
    """Return a client that receives these responses in order (the last one again and again), and its requests."""
    left, requests = list(responses), []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        response = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(response, Exception):
            raise response
        return response if isinstance(response, httpx.Response) else response(request)

    connection = Connection("http://rtm.example", token="rtm_a_b")
    return Api(connection, timeout_seconds=seconds, transport=httpx.MockTransport(respond)), requests


def submit(client: Api, *, key: str = "k-1") -> dict[str, object]:
    return client.submit("POST", "runtimes/g-1/restart", body={}, key=key)


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("")],
)
def test_a_submission_whose_connection_is_lost_is_repeated_with_the_same_key(error: Exception) -> None:
    client, requests = api(error, httpx.Response(202, json=ACCEPTED))

    operation = submit(client, key="deploy-7")

    assert operation == ACCEPTED
    assert [request.headers["Idempotency-Key"] for request in requests] == ["deploy-7"] * 2
    assert [request.headers["Prefer"] for request in requests] == ["respond-async"] * 2


def test_a_submission_without_a_response_names_the_key_to_repeat_it_with() -> None:
    client, _requests = api(httpx.ReadError("reset"), seconds=0.1)

    with pytest.raises(CliError) as raised:
        submit(client, key="deploy-7")

    assert raised.value.exit_code == ExitCode.UNREACHABLE
    assert "--key deploy-7" in raised.value.advice


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "invalid_request", 2), (400, "start_config_invalid", 1), (401, "unauthorized", 6), (403, "forbidden", 6),
        (404, "not_found", 3), (409, "conflict", 4), (409, "semver_patch_only", 1), (500, "internal_error", 1),
        (503, "docker_unavailable", 5), (503, "service_unavailable", 5), (500, "a_code_of_tomorrow", 1),
    ],
)  # fmt: skip
def test_a_rejected_submission_is_not_repeated_and_keeps_its_error_code(status: int, code: str, exit_code: int) -> None:
    client, requests = api(httpx.Response(status, json={"error": {"code": code, "message": "no"}}))

    with pytest.raises(CliError) as raised:
        submit(client)

    assert (raised.value.exit_code, raised.value.code, raised.value.message) == (exit_code, code, "no")
    assert len(requests) == 1


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(200, text="hello"),
        httpx.Response(200, json=[1]),
        httpx.Response(404, json={"detail": "no such page"}),
        httpx.Response(302, headers={"Location": "http://elsewhere.example"}, json={}),
    ],
    ids=["a proxy", "no JSON", "a list", "another service", "a redirection"],
)
def test_a_response_of_another_service_is_recognised(response: httpx.Response) -> None:
    client, requests = api(response)

    with pytest.raises(CliError) as raised:
        client.get("runtimes")

    assert raised.value.exit_code == ExitCode.UNREACHABLE
    assert "--url" in raised.value.advice
    assert [request.url.host for request in requests] == ["rtm.example"]


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (httpx.Response(200, json={"status": "ready", "checks": {"docker": "ok"}}), ""),
        (httpx.Response(503, json={"error": {}, "checks": {"docker": "connection refused"}}), "connection refused"),
        (httpx.Response(404, text="<html>Not Found</html>"), ""),
    ],
    ids=["Docker responds", "Docker is away", "a proxy hides readyz"],
)
def test_the_state_of_docker_is_read_from_readyz(response: httpx.Response, failure: str) -> None:
    client, requests = api(response)

    assert client.docker_failure() == failure
    assert [request.url.path for request in requests] == ["/readyz"]


def test_pages_are_read_up_to_the_limit() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        first = int(request.url.params.get("cursor", "0"))
        items = [{"number": number} for number in range(first, first + 2)]
        address = f"/api/v1/internal/runtimes?limit=2&cursor={first + 2}"
        return httpx.Response(200, json={"items": items}, headers={"Link": f'<{address}>; rel="next"'})

    client, requests = api(page)

    items = client.items("runtimes", {"status": None}, limit=5)

    assert [item["number"] for item in items] == [0, 1, 2, 3, 4]
    assert len(requests) == 3
    assert "status" not in requests[0].url.params


def test_a_stream_that_breaks_yields_its_lines_and_then_fails() -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Breaking())

    client, _requests = api(broken)
    lines = client.follow("runtimes/g-1/logs", {"follow": True})

    assert next(lines) == {"line": "one"}
    with pytest.raises(CliError) as raised:
        next(lines)
    assert raised.value.exit_code == ExitCode.UNREACHABLE


class Breaking(httpx.SyncByteStream):
    """One line, an empty line, and a lost connection."""

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"line": "one"}\n\n'
        message = "cut"
        raise httpx.RemoteProtocolError(message)


def test_the_token_is_sent_in_the_header_only() -> None:
    client, requests = api(httpx.Response(200, json={"items": []}))

    client.items("runtimes", limit=1)

    assert requests[0].headers["Authorization"] == "Bearer rtm_a_b"
    assert "rtm_a_b" not in str(requests[0].url)
    assert "rtm_a_b" not in repr(Connection("http://x", token="rtm_a_b"))
