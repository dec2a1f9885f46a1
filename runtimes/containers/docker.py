"""The container port on a real Docker engine, 20.10 (API 1.41) or newer."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, Self

import requests
import structlog
import urllib3
from django.conf import settings
from docker.errors import APIError, DockerException, NotFound

from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainerEvent,
    ContainerStartFailedError,
    ContainersUnavailableError,
    Image,
    ImagePullFailedError,
    NameTakenError,
)
from runtimes.containers.docker_client import (
    CONFLICT,
    NO_ANSWER,
    BoundedClient,
    gone,
    of_container,
    root_cause,
    unavailable,
    words_of,
)
from runtimes.containers.docker_feeds import EventSource, LogSource
from runtimes.containers.engine import Engine, engine_from_info
from runtimes.containers.feeds import ThreadedFeed
from runtimes.containers.logs import read_log
from runtimes.containers.payloads import (
    container_from_inspect,
    container_from_list,
    create_request,
    details_from_inspect,
    image_from_inspect,
    log_query,
    stats_from_json,
)
from runtimes.containers.telemetry import ContainerStats, LogEndedError, LogLine, NotRunningError
from runtimes.images import qualify_image_ref, split_image_ref
from runtimes.specs import LABEL_GAME_ID, LABEL_OWNER, LABEL_STACK, OWNER, ContainerSpec

log = structlog.get_logger(__name__)

MINIMUM_API = (1, 41)
MAX_CALL_SECONDS = 10.0
PULL_SILENCE_SECONDS = 120.0
LOG_LINES_UNREAD = 1000
PREDEFINED_NETWORKS = frozenset({"bridge", "host", "none", "ingress"})

# "Ask again", "too many requests", and what a proxy says for an engine that is away.
_UNDECIDED_STATUSES = frozenset({408, CONFLICT, 429, 502, 503, 504})
# An engine that is shutting down, or lost its containerd, answers 500 as it does for a bad command.
_UNDECIDED_WORDS = (
    "code = unavailable", "context canceled", "context deadline exceeded", "transport is closing",
    "ttrpc: closed", "containerd.sock",
)  # fmt: skip


class DockerContainers:
    """Containers on the engine at ``docker_host``. Connects at the first call, and anew after the engine was away.

    ``call_seconds`` bounds every call but pulls; a stop gets its grace on top.
    """

    # By host and name, for all threads: when a network was last seen.
    _networks_seen: ClassVar[dict[tuple[str, str], float]] = {}

    def __init__(self, docker_host: str, *, call_seconds: float = MAX_CALL_SECONDS) -> None:
        self._docker_host = docker_host
        self.call_seconds = call_seconds
        self._deadline = math.inf
        self._clients: dict[float, BoundedClient] = {}

    @classmethod
    def from_settings(cls) -> Self:
        """For this installation. A call that hangs must end well within the lease that protects it."""
        config = settings.RTMANAGER
        return cls(config.docker_host, call_seconds=min(MAX_CALL_SECONDS, config.game_lease_ttl_seconds * 0.45))

    def ping(self) -> None:
        """Return when the engine answers."""
        with self._asking("answer a ping") as client:
            client.ping()

    def describe_engine(self) -> Engine:
        """What the engine says of itself and of its host."""
        with self._asking("describe itself") as client:
            return engine_from_info(client.info(), api_version=client.version()["ApiVersion"])

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:
        """Whether a user-defined network of exactly this name exists; what any thread has seen counts."""
        if name in PREDEFINED_NETWORKS:
            return False
        seen_at = self._networks_seen.get((self._docker_host, name), -math.inf)
        if time.monotonic() - seen_at < fresh_seconds:
            return True
        with self._asking(f"find network {name}") as client:
            # The engine's filter takes every name that contains this one.
            exists = any(network["Name"] == name for network in client.networks(names=[name]))
        if exists:
            self._networks_seen[self._docker_host, name] = time.monotonic()
        return exists

    def find(self, name_or_id: str) -> Container | None:
        """Look at one container by its exact name or full id; None when a healthy engine has none."""
        if not name_or_id:
            return None
        with self._asking(f"inspect container {name_or_id}") as client:
            try:
                container = container_from_inspect(client.inspect_container(name_or_id))
            except NotFound:
                return None
        # The engine also takes the beginning of an id for the whole.
        return container if name_or_id in {container.id, container.name} else None

    def find_all(self, container_ids: Sequence[str]) -> list[Container]:
        """Those of these containers that exist, by one call without inspections."""
        if not container_ids:
            return []
        wanted = set(container_ids)
        with self._asking(f"list {len(container_ids)} containers") as client:
            listed = [container_from_list(raw) for raw in client.containers(all=True, filters={"id": container_ids})]
        # The engine also takes the beginning of an id for the whole.
        return [one for one in listed if one.id in wanted]

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        """All containers, dead or alive, of this stack or of one game of it, by one call without inspections."""
        filters = _owned(stack)
        if game_id:
            filters["label"].append(f"{LABEL_GAME_ID}={game_id}")
        with self._asking(f"list the containers of stack {stack}") as client:
            return [container_from_list(raw) for raw in client.containers(all=True, filters=filters)]

    def details(self, container_id: str) -> ContainerDetails:
        """Everything about one container, by one call."""
        with self._asking(f"inspect container {container_id}") as client, of_container(container_id):
            return details_from_inspect(client.inspect_container(container_id))

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> list[LogLine]:
        """The last lines, bounded in number by the engine and in size here."""
        query = log_query(tail=tail, since=since)
        with self._asking(f"tell the log of container {container_id}") as client, of_container(container_id):
            return read_log(client.fetch(f"/containers/{container_id}/logs", query), tail=tail)

    def follow_logs(
        self, container_id: str, *, since: datetime | None = None, tail: int = 0
    ) -> ThreadedFeed[LogLine]:  # fmt: skip
        """Subscribe to what is written, by a connection and a thread of its own."""
        query = {**log_query(tail=tail, since=since), "follow": 1}
        source = LogSource(self._docker_host, container_id, version=self._version(), query=query)
        return ThreadedFeed(
            source,
            open_seconds=self.call_seconds,
            silent=self._unavailable(source.what, "it did not answer in time"),
            ended=LogEndedError(f"the log of container {container_id[:12]} has ended"),
            capacity=LOG_LINES_UNREAD,
        )

    def stats(self, container_id: str) -> ContainerStats:
        """What it uses, measured twice by the engine, a second apart."""
        with self._asking(f"tell what container {container_id} uses") as client, of_container(container_id):
            answer = client.fetch(f"/containers/{container_id}/stats", {"stream": "false"})
            stats = stats_from_json(json.loads(b"".join(answer)))
        if stats is None:
            message = f"container {container_id[:12]} does not run"
            raise NotRunningError(message)
        return stats

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Inside the block all calls together take no longer than this."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def events(self, stack: str, *, since_ns: int) -> ThreadedFeed[ContainerEvent]:
        """Subscribe to the events of all containers of this stack, by a connection and a thread of its own."""
        filters = {**_owned(stack), "type": ["container"]}
        source = EventSource(self._docker_host, version=self._version(), filters=filters, since_ns=since_ns)
        ended = self._unavailable(f"tell the events of stack {stack}", "it stopped")
        return ThreadedFeed(source, open_seconds=self.call_seconds, silent=ended, ended=ended)

    def find_image(self, image_ref: str) -> Image | None:
        """The local image, or None when the engine does not hold it."""
        with self._asking(f"inspect image {image_ref}") as client:
            try:
                raw = client.inspect_image(qualify_image_ref(image_ref))  # type: ignore[no-untyped-call]
            except NotFound:
                return None
        return image_from_inspect(raw)

    def pull(self, image_ref: str) -> None:
        """Fetch the image; gives up when nothing moves for two minutes. Idempotent."""
        repository, tag, digest = split_image_ref(image_ref)
        with self._asking(f"pull image {image_ref}", seconds=PULL_SILENCE_SECONDS) as client:
            try:
                progress = client.pull(repository, tag=digest or tag or "latest", stream=True, decode=True)
                failure = _pull_failure(progress)
            except APIError as error:
                # Of any status: the engine passes on what the registry answered, or that none did.
                failure = words_of(error)
        if not failure and self.find_image(image_ref) is None:
            failure = "the pull ended, but the engine does not hold the image"
        if failure:
            message = f"image {image_ref} could not be pulled: {failure}"
            raise ImagePullFailedError(message)

    def create(self, spec: ContainerSpec) -> str:
        """Create, not start; returns the full id."""
        with self._asking(f"create container {spec.name}") as client:
            try:
                answer = client.create_container_from_config(create_request(spec), spec.name)  # type: ignore[no-untyped-call]
            except APIError as error:
                if error.status_code == CONFLICT:
                    message = f"a container named {spec.name} exists already"
                    raise NameTakenError(message) from error
                _raise_if_refused(error, f"container {spec.name} could not be created")
                raise
        if answer.get("Warnings"):
            log.warning("container_created_with_warnings", container_name=spec.name, warnings=answer["Warnings"])
        return str(answer["Id"])

    def start(self, container_id: str) -> None:
        """Start by id. Idempotent."""
        missing = None
        with self._asking(f"start container {container_id}") as client:
            try:
                client.start(container_id)
            except NotFound as error:
                missing = error
            except APIError as error:
                _raise_if_refused(error, f"container {container_id} could not be started")
                raise
        if missing:
            # A missing network is a 404 as well: only a look tells which of the two is gone.
            if self.find(container_id) is None:
                raise gone(container_id) from missing
            _raise_if_refused(missing, f"container {container_id} could not be started")

    def wait_exit(self, container_id: str, timeout_seconds: float) -> bool:
        """Wait up to the timeout for the container to stop running; True when it did (or is gone)."""
        with self._asking(f"wait for container {container_id}") as client:
            try:
                # The SDK's hints know whole seconds only; what it hands the number to takes fractions.
                client.wait(container_id, timeout=max(timeout_seconds, 0.001))  # type: ignore[arg-type]
            except NotFound:
                return True
            except requests.RequestException as error:
                if not _is_read_timeout(error):
                    raise
            else:
                return True
        # Silence may also be a hanging engine, which must not pass for a running container.
        container = self.find(container_id)
        return container is None or not container.is_alive

    def stop(self, container_id: str, *, grace_seconds: int) -> None:
        """SIGTERM, then SIGKILL after the grace. Idempotent."""
        with self._asking(f"stop container {container_id}") as client:
            try:
                client.stop(container_id, timeout=grace_seconds)
            except NotFound as error:
                raise gone(container_id) from error

    def remove(self, container_id: str) -> None:
        """Remove a container, killing it when alive, with its anonymous volumes. Idempotent."""
        with self._asking(f"remove container {container_id}") as client:
            try:
                client.remove_container(container_id, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != CONFLICT or "in progress" not in words_of(error):
                    raise

    def close(self) -> None:
        """Drop the connections. The next call, if any, connects anew."""
        while self._clients:
            _, client = self._clients.popitem()
            client.close()

    @contextmanager
    def _asking(self, what: str, *, seconds: float | None = None) -> Iterator[BoundedClient]:
        """A connected client; every error of the SDK that comes through here says that nothing is known."""
        try:
            yield self._client(seconds or self.call_seconds)
        except APIError as error:
            raise self._unavailable(what, words_of(error)) from error
        except NO_ANSWER as error:
            self.close()
            raise self._unavailable(what, root_cause(error)) from error

    def _unavailable(self, what: str, reason: str) -> ContainersUnavailableError:
        return unavailable(self._docker_host, what, reason)

    def _client(self, seconds: float) -> BoundedClient:
        if not self._clients:
            self._clients[self.call_seconds] = self._connected()
        if seconds not in self._clients:
            version = self._clients[self.call_seconds].api_version
            self._clients[seconds] = BoundedClient(self._docker_host, version=version, timeout=seconds)
        self._clients[seconds].deadline = self._deadline
        return self._clients[seconds]

    def _version(self) -> str:
        """What the engine speaks, from an engine that answers now: a subscription has no time to wait for one."""
        with self._asking("answer before it is listened to") as client:
            return client.api_version

    def _connected(self) -> BoundedClient:
        client = BoundedClient(self._docker_host, version="auto", timeout=self.call_seconds)
        if tuple(int(part) for part in client.api_version.split(".")) < MINIMUM_API:
            client.close()
            floor = ".".join(str(part) for part in MINIMUM_API)
            message = f"it speaks API {client.api_version}, but {floor} (Docker 20.10) or newer is needed; upgrade it"
            raise DockerException(message)
        return client


def _owned(stack: str) -> dict[str, list[str]]:
    return {"label": [f"{LABEL_OWNER}={OWNER}", f"{LABEL_STACK}={stack}"]}


def _pull_failure(progress: Iterator[dict[str, Any]]) -> str:
    """The engine's words for what went wrong, or empty. Reads to the end: leaving early cancels the pull."""
    failures = [str(entry["error"]) for entry in progress if "error" in entry]
    return failures[-1] if failures else ""


def _raise_if_refused(error: APIError, what_failed: str) -> None:
    words = words_of(error)
    undecided = error.status_code in _UNDECIDED_STATUSES or any(each in words.lower() for each in _UNDECIDED_WORDS)
    if not undecided:
        message = f"{what_failed}: {words}"
        raise ContainerStartFailedError(message) from error


def _is_read_timeout(error: requests.RequestException) -> bool:
    """Whether the answer did not come, or began and did not end: the SDK's HTTP library has a type for each."""
    inner = error.args[0] if error.args else None
    return isinstance(error, requests.ReadTimeout) or isinstance(inner, urllib3.exceptions.ReadTimeoutError)
