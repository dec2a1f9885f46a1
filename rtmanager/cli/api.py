"""The REST API as the commands see it. The only module that imports httpx; its errors end here as failures in words."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from rtmanager import __version__
from rtmanager.cli.connection import Connection
from rtmanager.cli.failures import ExitCode, Failure, failure_of

INTERNAL = "/api/v1/internal"
# How long one answer may take before it counts as lost, however long the whole command is given.
_ANSWER_SECONDS = 20.0
_CONNECT_SECONDS = 5.0
# A stream sends an empty line now and then when there is nothing to tell; one that does not is dead.
_SILENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_LARGEST_PAGE = 200

Json = dict[str, Any]
Query = Mapping[str, Any]


class Unreachable(Failure):
    """No answer of the service: nothing is known of what became of the request."""

    def __init__(self, message: str, *, advice: str) -> None:
        super().__init__(message, exit_code=ExitCode.UNREACHABLE, code="unreachable", advice=advice)


class Api:
    """One service. ``timeout_seconds`` is what a whole command may take; following a stream is not limited by it."""

    def __init__(
        self, connection: Connection, *, timeout_seconds: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = connection.url
        self._deadline = time.monotonic() + timeout_seconds
        self._answer_seconds = min(timeout_seconds, _ANSWER_SECONDS)
        self._client = httpx.Client(
            base_url=connection.url,
            headers=_headers(connection),
            timeout=httpx.Timeout(self._answer_seconds, connect=_CONNECT_SECONDS),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def seconds_left(self) -> float:
        """What is left of the command's time; never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def get(self, path: str, query: Query | None = None, *, extra_seconds: float = 0.0) -> Json:
        """What is at an address below ``/api/v1/internal``. Raises Failure.

        ``extra_seconds``: how much longer than usual the service is asked to hold the call.
        """
        timeout = httpx.Timeout(self._answer_seconds + extra_seconds, connect=_CONNECT_SECONDS)
        with self._translating():
            answer = self._client.get(f"{INTERNAL}/{path}", params=_given(query or {}), timeout=timeout)
        return _read(answer)

    def items(self, path: str, query: Query | None = None, *, limit: int) -> list[Json]:
        """At most ``limit`` items of a list, over as many pages as it takes. Raises Failure."""
        found: list[Json] = []
        address: str | None = f"{INTERNAL}/{path}"
        params: Mapping[str, Any] | None = _given({**(query or {}), "limit": min(limit, _LARGEST_PAGE)})
        while address and len(found) < limit:
            with self._translating():
                answer = self._client.get(address, params=params)
            found += _read(answer)["items"]
            # The address of the next page holds the whole query.
            address, params = answer.links.get("next", {}).get("url"), None
        return found[:limit]

    def post(self, path: str, body: Json) -> Json:
        """Send a body once, and what is answered. Raises Failure."""
        with self._translating():
            return _read(self._client.post(f"{INTERNAL}/{path}", json=body))

    def order(self, method: str, path: str, *, body: Json | None, key: str) -> Json:
        """Ask for a deed; the Operation it became. Raises Failure when it was refused or no answer came in time.

        Asked again after a lost connection until the time is over: under one key it is done once.
        """
        headers = {"Prefer": "respond-async", "Idempotency-Key": key, "X-Request-ID": key}
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with self._translating():
                    return _read(self._client.request(method, f"{INTERNAL}/{path}", json=body, headers=headers))
            except Unreachable as lost:
                if self.seconds_left <= pause:
                    lost.advice = (
                        "Whether it was accepted is unknown. Give the same command with "
                        f"--key {key} when the service answers again: it is then done once."
                    )
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def follow(self, path: str, query: Query) -> Iterator[Json]:
        """The objects of a stream of JSON lines, one by one as they come, until either side ends it."""
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        with (
            self._translating(),
            self._client.stream("GET", f"{INTERNAL}/{path}", params=_given(query), timeout=timeout) as answer,
        ):
            if not answer.is_success:
                answer.read()
                _read(answer)
            for line in answer.iter_lines():
                if line.strip():
                    yield _decode(line, answer)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            message = f"nothing answers at {self.url} ({error})"
            raise Unreachable(message, advice="Start the service, or give its address in --url or RTM_URL.") from None
        except httpx.TimeoutException:
            message = f"{self.url} did not answer in time"
            raise Unreachable(message, advice="Try again; with --timeout 60s it is given longer.") from None
        except httpx.TransportError as error:
            message = f"the connection to {self.url} was lost ({error})"
            raise Unreachable(message, advice="Try again.") from None
        except (httpx.InvalidURL, httpx.HTTPError) as error:
            message = f"{self.url} cannot be asked ({error})"
            raise Failure(
                message, exit_code=ExitCode.USAGE, advice="Correct the address in --url or RTM_URL."
            ) from None


def _headers(connection: Connection) -> dict[str, str]:
    named = {"User-Agent": f"rtm/{__version__}", "X-Galaxy-Caller": "admin"}
    return {**named, "Authorization": f"Bearer {connection.token}"} if connection.token else named


def _given(query: Query) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value not in (None, "")
    }


def _read(answer: httpx.Response) -> Json:
    body = _decode(answer.text, answer)
    if answer.is_success:
        return body
    error = body.get("error")
    if not isinstance(error, dict):
        raise _stranger(answer)
    raise failure_of(str(error.get("code", "")), str(error.get("message", "")))


def _decode(text: str, answer: httpx.Response) -> Json:
    try:
        body = json.loads(text)
    except ValueError:
        raise _stranger(answer) from None
    if not isinstance(body, dict):
        raise _stranger(answer)
    return body


def _stranger(answer: httpx.Response) -> Unreachable:
    message = (
        f"{answer.url.copy_with(query=None)} answered {answer.status_code} in words that are not Runtime Manager's"
    )
    return Unreachable(message, advice="Check --url: a proxy or another service may be there.")
