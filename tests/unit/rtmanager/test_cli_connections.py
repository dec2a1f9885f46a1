"""The client of ``rtm`` on a network that misbehaves: what is asked again, what is said, how it ends."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from rtmanager.cli.api import Api
from rtmanager.cli.connection import Connection
from rtmanager.cli.failures import ExitCode, Failure

ACCEPTED = {"id": "7", "game_id": "g-1", "op_kind": "restart", "state": "accepted", "steps": []}

Answer = Callable[[httpx.Request], httpx.Response]


def api(*answers: Answer | httpx.Response | Exception, seconds: float = 5.0) -> tuple[Api, list[httpx.Request]]:
    """A client whose requests meet these, one after the other; and the requests."""
    left, seen = list(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        next_one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(next_one, Exception):
            raise next_one
        return next_one if isinstance(next_one, httpx.Response) else next_one(request)

    connection = Connection("http://rtm.example", token="rtm_a_b")
    return Api(connection, timeout_seconds=seconds, transport=httpx.MockTransport(answer)), seen


def order(client: Api, *, key: str = "k-1") -> dict[str, object]:
    return client.order("POST", "runtimes/g-1/restart", body={}, key=key)


@pytest.mark.parametrize(
    "loss",
    [httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("")],
)
def test_an_order_whose_connection_is_lost_is_repeated_under_the_same_key(loss: Exception) -> None:
    client, seen = api(loss, httpx.Response(202, json=ACCEPTED))

    operation = order(client, key="deploy-7")

    assert operation == ACCEPTED
    assert [request.headers["Idempotency-Key"] for request in seen] == ["deploy-7"] * 2
    assert [request.headers["Prefer"] for request in seen] == ["respond-async"] * 2


def test_an_order_that_is_never_answered_tells_the_key_under_which_it_can_be_repeated() -> None:
    client, _seen = api(httpx.ReadError("reset"), seconds=0.1)

    with pytest.raises(Failure) as raised:
        order(client, key="deploy-7")

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
def test_a_refused_order_is_not_repeated_and_ends_with_the_code_of_its_error(
    status: int, code: str, exit_code: int
) -> None:
    client, seen = api(httpx.Response(status, json={"error": {"code": code, "message": "no"}}))

    with pytest.raises(Failure) as raised:
        order(client)

    assert (raised.value.exit_code, raised.value.code, raised.value.message) == (exit_code, code, "no")
    assert len(seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(200, text="hello"),
        httpx.Response(200, json=[1]),
        httpx.Response(404, json={"detail": "no such page"}),
        httpx.Response(302, headers={"Location": "http://elsewhere.example"}, json={}),
    ],
    ids=["a proxy", "no JSON", "a list", "another service", "a redirection"],
)
def test_who_is_not_runtime_manager_is_told_apart(answer: httpx.Response) -> None:
    client, seen = api(answer)

    with pytest.raises(Failure) as raised:
        client.get("runtimes")

    assert raised.value.exit_code == ExitCode.UNREACHABLE
    assert "--url" in raised.value.advice
    assert [request.url.host for request in seen] == ["rtm.example"]


def test_pages_are_followed_to_the_limit_and_no_further() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        first = int(request.url.params.get("cursor", "0"))
        items = [{"number": number} for number in range(first, first + 2)]
        address = f"/api/v1/internal/runtimes?limit=2&cursor={first + 2}"
        return httpx.Response(200, json={"items": items}, headers={"Link": f'<{address}>; rel="next"'})

    client, seen = api(page)

    found = client.items("runtimes", {"status": None}, limit=5)

    assert [item["number"] for item in found] == [0, 1, 2, 3, 4]
    assert len(seen) == 3
    assert "status" not in seen[0].url.params


def test_a_stream_that_breaks_off_is_a_failure_after_what_came() -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Breaking())

    client, _seen = api(broken)
    lines = client.follow("runtimes/g-1/logs", {"follow": True})

    assert next(lines) == {"line": "one"}
    with pytest.raises(Failure) as raised:
        next(lines)
    assert raised.value.exit_code == ExitCode.UNREACHABLE


class Breaking(httpx.SyncByteStream):
    """One line, a sign of life, and the end of the connection."""

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"line": "one"}\n\n'
        message = "cut"
        raise httpx.RemoteProtocolError(message)


def test_the_token_goes_into_the_header_and_nowhere_else() -> None:
    client, seen = api(httpx.Response(200, json={"items": []}))

    client.items("runtimes", limit=1)

    assert seen[0].headers["Authorization"] == "Bearer rtm_a_b"
    assert "rtm_a_b" not in str(seen[0].url)
    assert "rtm_a_b" not in repr(Connection("http://x", token="rtm_a_b"))
