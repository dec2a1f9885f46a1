"""What the Docker adapter stands on: a client whose every wait ends, and what the engine's errors mean."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound, StreamParseError, create_api_error_from_http_exception

from runtimes.containers.base import ContainersUnavailableError, NoSuchContainerError
from runtimes.containers.telemetry import LogNotKeptError

CONFLICT = 409
# An answer of another shape than the API's tells nothing either: the last two.
NO_ANSWER = (
    requests.RequestException, urllib3.exceptions.HTTPError, DockerException, StreamParseError, OSError,
    KeyError, ValueError,
)  # fmt: skip
_NOT_IMPLEMENTED = 501
_CHUNK_BYTES = 64 * 1024


class BoundedClient(docker.APIClient):
    """The SDK asks for pulls without any time-out; here each wait for an answer, or for its next part, has one.

    ``deadline``, by the monotonic clock, bounds all that is asked until it is lifted.
    """

    deadline = math.inf

    def __init__(self, docker_host: str, **options: Any) -> None:
        super().__init__(docker_host, **options)
        # No proxy and no file of passwords leads to a socket of this machine; looking for them takes longer than
        # the engine does.
        self.trust_env = not docker_host.startswith("unix://")

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """What every request goes through."""
        wanted = self.timeout if kwargs.get("timeout") is None else kwargs["timeout"]
        kwargs["timeout"] = min(wanted, self._seconds_left())
        return super().send(request, **kwargs)

    def open(self, path: str, query: Mapping[str, Any]) -> requests.Response:
        """Ask for what the SDK would change on the way: it drops which stream a log line came by."""
        answer = self.get(f"{self.base_url}/v{self.api_version}{path}", params=dict(query), stream=True)
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            raise create_api_error_from_http_exception(error) from error
        return answer

    def fetch(self, path: str, query: Mapping[str, Any]) -> Iterator[bytes]:
        """The body of an answer that ends, as it comes; all of it within the deadline."""
        with closing(self.open(path, query)) as answer:
            for chunk in chunks_of(answer):
                self._seconds_left()
                yield chunk

    def _seconds_left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            message = "the time for all of it was over"
            raise requests.ReadTimeout(message)
        return left


def chunks_of(answer: requests.Response) -> Iterator[bytes]:
    """The body in pieces, each as soon as it is there."""
    chunks: Iterator[bytes] = answer.iter_content(_CHUNK_BYTES)
    return chunks


@contextmanager
def of_container(container_id: str) -> Iterator[None]:
    """What the engine's refusals mean when one container was asked about."""
    try:
        yield
    except NotFound as error:
        raise gone(container_id) from error
    except APIError as error:
        if error.status_code == _NOT_IMPLEMENTED:
            message = f"container {container_id[:12]} has a log driver that keeps nothing to read: {words_of(error)}"
            raise LogNotKeptError(message) from error
        # The engine says so of one whose removal is under way.
        if error.status_code == CONFLICT:
            raise gone(container_id) from error
        raise


def unavailable(docker_host: str, what: str, reason: str) -> ContainersUnavailableError:
    """Nothing is known: what the engine was asked, and why there is no answer."""
    return ContainersUnavailableError(f"Docker at {docker_host} was asked to {what}: {reason}")


def gone(container_id: str) -> NoSuchContainerError:
    """A healthy engine has no such container."""
    return NoSuchContainerError(f"container {container_id} does not exist")


def words_of(error: APIError) -> str:
    """The engine's own words, where it had any."""
    return error.explanation or str(error)


def root_cause(error: BaseException) -> str:
    """The words at the end of the chain: everything above only tells which layer passed it on."""
    while cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = cause
    return str(error) or type(error).__name__
