"""Client of the REST API. The only module that imports httpx; it translates all its errors to CliError."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from rtmanager import __version__
from rtmanager.cli.connection import Connection, is_loopback
from rtmanager.cli.errors import CliError, ExitCode, error_from_code

INTERNAL = "/api/v1/internal"
# Limit of one response. The whole command may have more time.
_RESPONSE_SECONDS = 20.0
_CONNECT_SECONDS = 5.0
# The service writes an empty line to an idle stream. A stream without any line for this long is dead.
_SILENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_LARGEST_PAGE = 200

Json = dict[str, Any]
Query = Mapping[str, Any]


class ServiceUnreachableError(CliError):
    """The service sent no usable response: the result of the request is unknown."""

    def __init__(self, message: str, *, advice: str) -> None:
        super().__init__(message, exit_code=ExitCode.UNREACHABLE, code="unreachable", advice=advice)


class Api:
    """Client of one service. ``timeout_seconds`` limits a whole command; it does not limit a followed stream."""

    def __init__(
        self, connection: Connection, *, timeout_seconds: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = connection.url
        self._deadline = time.monotonic() + timeout_seconds
        self._response_seconds = min(timeout_seconds, _RESPONSE_SECONDS)
        authorization = {"Authorization": f"Bearer {connection.token}"} if connection.token else {}
        self._client = _http_client(
            connection,
            headers={"User-Agent": f"rtm/{__version__}", "X-Galaxy-Caller": "admin", **authorization},
            timeout=httpx.Timeout(self._response_seconds, connect=_CONNECT_SECONDS),
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def seconds_left(self) -> float:
        """Time left for the command; never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def get(self, path: str, query: Query | None = None, *, extra_seconds: float = 0.0) -> Json:
        """Return the resource at a path below ``/api/v1/internal``. Raises CliError.

        ``extra_seconds``: how much longer than usual the service is asked to hold the request.
        """
        timeout = httpx.Timeout(self._response_seconds + extra_seconds, connect=_CONNECT_SECONDS)
        with self._translate_errors():
            response = self._client.get(f"{INTERNAL}/{path}", params=_given(query or {}), timeout=timeout)
        return _read(response)

    def items(self, path: str, query: Query | None = None, *, limit: int) -> list[Json]:
        """Return at most ``limit`` items of a list; follows the pages. Raises CliError."""
        items: list[Json] = []
        address: str | None = f"{INTERNAL}/{path}"
        params: Query | None = _given({**(query or {}), "limit": min(limit, _LARGEST_PAGE)})
        while address and len(items) < limit:
            with self._translate_errors():
                response = self._client.get(address, params=params)
            items += _read(response)["items"]
            # The address of the next page contains the whole query.
            address, params = response.links.get("next", {}).get("url"), None
        return items[:limit]

    def docker_failure(self) -> str:
        """Return why the service cannot reach Docker; empty if it can, or if a proxy hides ``/readyz``."""
        try:
            with self._translate_errors():
                response = self._client.get("/readyz")
            failure = str(_decode(response.text, response).get("checks", {}).get("docker", "ok"))
        except ServiceUnreachableError:
            return ""
        return "" if failure == "ok" else failure

    def post(self, path: str, body: Json) -> Json:
        """Send a body once; return the response. Raises CliError."""
        with self._translate_errors():
            return _read(self._client.post(f"{INTERNAL}/{path}", json=body))

    def submit(self, method: str, path: str, *, body: Json, key: str) -> Json:
        """Request an operation; return its record. Raises CliError if it is rejected or no response comes in time.

        Repeats the request after a lost connection until the time is over. The key makes this idempotent.
        """
        headers = {"Prefer": "respond-async", "Idempotency-Key": key, "X-Request-ID": key}
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with self._translate_errors():
                    return _read(self._client.request(method, f"{INTERNAL}/{path}", json=body or None, headers=headers))
            except ServiceUnreachableError as error:
                if self.seconds_left <= pause:
                    error.advice = (
                        "It is unknown whether the service accepted the request. When the service responds again, "
                        f"run the same command with --key {key}: the operation runs only once."
                    )
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def follow(self, path: str, query: Query) -> Iterator[Json]:
        """Yield the objects of a stream of JSON lines as they arrive, until the service ends the stream."""
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        with (
            self._translate_errors(),
            self._client.stream("GET", f"{INTERNAL}/{path}", params=_given(query), timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                _read(response)
            for line in response.iter_lines():
                if line.strip():
                    yield _decode(line, response)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ServiceUnreachableError(
                f"cannot connect to {self.url} ({error})",
                advice="Start the service, or set its address with --url or RTM_URL.",
            ) from None
        except httpx.TimeoutException:
            raise ServiceUnreachableError(
                f"no response from {self.url} in time", advice="Retry, or wait longer with --timeout 60s."
            ) from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:
            raise _invalid_address(self.url, error) from None
        except httpx.TransportError as error:
            raise ServiceUnreachableError(f"the connection to {self.url} was lost ({error})", advice="Retry.") from None
        except httpx.HTTPError as error:
            raise _invalid_address(self.url, error) from None


def _http_client(connection: Connection, **options: Any) -> httpx.Client:
    """Create the client. Raises CliError if a variable of the environment for certificates or proxies is unusable."""
    try:
        base_url = httpx.URL(connection.url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _invalid_address(connection.url, error) from None
    try:
        certificates = httpx.create_ssl_context()
    except OSError as error:
        raise CliError(
            f"the certificates in SSL_CERT_FILE or SSL_CERT_DIR cannot be read ({error})",
            exit_code=ExitCode.USAGE,
            advice="Let the variable name a PEM file with certificates, or unset it.",
        ) from None
    try:
        # A proxy is another machine, whose loopback address is not that of this machine.
        return httpx.Client(
            base_url=base_url, verify=certificates, trust_env=not is_loopback(connection.url), **options
        )
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        raise CliError(
            f"the proxy variables cannot be used ({error})",
            exit_code=ExitCode.USAGE,
            advice="Correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, or unset them.",
        ) from None


def _invalid_address(url: str, error: Exception) -> CliError:
    advice = "Correct the address in --url or RTM_URL."
    return CliError(f"{url} cannot be called ({error})", exit_code=ExitCode.USAGE, advice=advice)


def _given(query: Query) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value not in (None, "")}


def _read(response: httpx.Response) -> Json:
    body = _decode(response.text, response)
    if response.is_success:
        return body
    if not isinstance(error := body.get("error"), dict):
        raise _unexpected_response(response)
    raise error_from_code(str(error.get("code", "")), str(error.get("message", "")))


def _decode(text: str, response: httpx.Response) -> Json:
    try:
        body = json.loads(text)
    except ValueError:
        raise _unexpected_response(response) from None
    if not isinstance(body, dict):
        raise _unexpected_response(response)
    return body


def _unexpected_response(response: httpx.Response) -> ServiceUnreachableError:
    url = response.url.copy_with(query=None)
    return ServiceUnreachableError(
        f"{url} sent status {response.status_code} with a body that is not from Runtime Manager",
        advice="Check --url: it may point to a proxy or another service.",
    )
