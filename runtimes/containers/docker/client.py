"""The SDK client with a timeout on every wait, and the translation of SDK errors to ours."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound, StreamParseError, create_api_error_from_http_exception

from runtimes.containers.base import (
    ContainerStartFailedError,
    ContainersUnavailableError,
    DockerRefusedError,
    NoSuchContainerError,
)
from runtimes.containers.refusals import Refusal, classify, classify_final, failure_message, shorten_ids, single_line
from runtimes.containers.types import LogsNotAvailableError
from runtimes.exceptions import RuntimeManagerError, StartConfigInvalidError
from runtimes.formatting import short_id

# KeyError, ValueError and TypeError come from responses with an unexpected structure.
SDK_ERRORS = (
    requests.RequestException, urllib3.exceptions.HTTPError, DockerException, StreamParseError, OSError,
    KeyError, ValueError, TypeError,
)  # fmt: skip
_CHUNK_BYTES = 64 * 1024


class BoundedClient(docker.APIClient):
    """An SDK client with a timeout on each wait for a response or its next part. The SDK has none for pulls.

    ``deadline``, of the monotonic clock, limits the total duration of all requests until it is reset.
    """

    deadline = math.inf

    def __init__(self, docker_host: str, **options: Any) -> None:
        super().__init__(docker_host, **options)
        self.docker_host = docker_host
        # A local socket needs no proxy and no .netrc; searching for them takes longer than the request itself.
        self.trust_env = not docker_host.startswith("unix://")

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request with the shorter of its timeout and the time until the deadline. All requests use this."""
        timeout = self.timeout if kwargs.get("timeout") is None else kwargs["timeout"]
        kwargs["timeout"] = min(timeout, self._seconds_left())
        return super().send(request, **kwargs)

    def open(self, path: str, query: Mapping[str, Any]) -> requests.Response:
        """GET a raw response. The SDK's own method would drop the stream name of each log line."""
        response = self.get(f"{self.base_url}/v{self.api_version}{path}", params=dict(query), stream=True)
        try:
            response.raise_for_status()
        except requests.HTTPError as error:
            raise create_api_error_from_http_exception(error) from error
        return response

    def fetch(self, path: str, query: Mapping[str, Any]) -> Iterator[bytes]:
        """The body of a finite response in chunks, within the deadline."""
        with closing(self.open(path, query)) as response:
            for chunk in chunks_of(response):
                self._seconds_left()
                yield chunk

    def _seconds_left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise requests.ReadTimeout("the time limit was exceeded")
        return left


def chunks_of(response: requests.Response) -> Iterator[bytes]:
    """The body in chunks, each as soon as it arrives."""
    chunks: Iterator[bytes] = response.iter_content(_CHUNK_BYTES)
    return chunks


@contextmanager
def container_errors(container_id: str) -> Iterator[None]:
    """Translate the errors of a call about one container."""
    try:
        yield
    except NotFound as error:
        raise no_such_container(container_id) from error
    except APIError as error:
        if error.status_code == HTTPStatus.NOT_IMPLEMENTED:
            reason = single_line(error_text(error))
            raise LogsNotAvailableError(
                f"container {short_id(container_id)} has a log driver that stores nothing to read: {reason}"
            ) from error
        # Docker responds with a conflict while it removes the container.
        if error.status_code == HTTPStatus.CONFLICT:
            raise no_such_container(container_id) from error
        raise


def error_of(docker_host: str, what: str, error: BaseException) -> ContainersUnavailableError | DockerRefusedError:
    """Translate an SDK error: Docker rejected the call, or the result is unknown."""
    response = find_response(error)
    if response is None:
        # The innermost exception: the outer ones only name the layers it passed.
        cause = list(_chain(error))[-1]
        return unavailable(docker_host, what, str(cause) or type(cause).__name__)
    text = error_text(response)
    refusal = classify(response.status_code or 0, text)
    # After a version error, the retry uses the current version of the daemon.
    if refusal is None or refusal == Refusal.API_VERSION:
        return unavailable(docker_host, what, text)
    message = failure_message(f"Docker at {docker_host} was asked to {what} and refused", text, refusal)
    return DockerRefusedError(message, refusal)


def raise_if_refused(error: APIError, what_failed: str) -> None:
    """Raise the error of a rejected create or start; return if its effect is unknown."""
    text = error_text(error)
    refusal = classify_final(error.status_code or 0, text)
    if refusal == Refusal.INVALID_REFERENCE:
        raise StartConfigInvalidError(failure_message(what_failed, text, refusal)) from error
    if refusal is not None and refusal != Refusal.API_VERSION:
        raise ContainerStartFailedError(failure_message(what_failed, text, refusal), refusal) from error


def is_read_timeout(error: requests.RequestException) -> bool:
    """Whether the response, or the rest of it, did not arrive in time. ``requests`` has one type for each case."""
    inner = error.args[0] if error.args else None
    return isinstance(error, requests.ReadTimeout) or isinstance(inner, urllib3.exceptions.ReadTimeoutError)


def find_response(error: BaseException) -> APIError | None:
    """Docker's error response in the chain of the exception; None if Docker did not respond."""
    for link in _chain(error):
        if isinstance(link, APIError) and link.response is not None:
            return link
        if isinstance(link, requests.HTTPError) and link.response is not None:
            # The SDK found no message in the response body.
            return APIError(str(link), response=link.response, explanation=link.response.text)
    return None


def unavailable(docker_host: str, what: str, reason: str) -> ContainersUnavailableError:
    """The error for a call without a usable response: the call and the reason."""
    return ContainersUnavailableError(
        f"Docker at {docker_host} was asked to {shorten_ids(what)}: {single_line(reason)}"
    )


def no_such_container(container_id: str) -> NoSuchContainerError:
    """The error for a container that Docker does not have."""
    return NoSuchContainerError(f"container {shorten_ids(container_id)} does not exist")


def error_text(error: APIError) -> str:
    """Docker's error text, else that of the SDK."""
    return str(error.explanation or error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and its causes. Ends before an error of ours, which was only being handled during this call."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, RuntimeManagerError):
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
