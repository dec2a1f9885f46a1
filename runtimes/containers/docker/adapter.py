"""The port on a real Docker daemon, 20.10 (API 1.41) or newer."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Self

import requests
import structlog
from django.conf import settings
from docker.errors import APIError, DockerException, NotFound

from runtimes.container_spec import AUTO_LOG_DRIVER, LABEL_GAME_ID, ContainerSpec, choose_log_driver
from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainerEvent,
    DockerRefusedError,
    Image,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.containers.docker import payloads
from runtimes.containers.docker.client import (
    SDK_ERRORS,
    BoundedClient,
    container_errors,
    error_of,
    error_text,
    find_response,
    is_read_timeout,
    no_such_container,
    raise_if_refused,
    unavailable,
)
from runtimes.containers.docker.log_parser import read_log
from runtimes.containers.docker.streaming import Subscription, request_events, request_log
from runtimes.containers.refusals import Refusal, classify, failure_message, recognise
from runtimes.containers.types import (
    ContainerStats,
    DockerInfo,
    HostCapacity,
    LogEndedError,
    LogLine,
    NotRunningError,
    capacity_from_info,
    docker_info_from_json,
    log_drivers_from_info,
)
from runtimes.exceptions import StartConfigInvalidError
from runtimes.formatting import short_id
from runtimes.image_refs import qualify_image_ref, split_image_ref

log = structlog.get_logger(__name__)

MINIMUM_API = (1, 41)
MAX_CALL_SECONDS = 10.0
PULL_SILENCE_SECONDS = 120.0
# Ends a subscription whose daemon died without closing the connection.
EVENT_SILENCE_SECONDS = 120.0
# A game may write nothing for a day; the follower closes the subscription.
LOG_SILENCE_SECONDS = 24 * 3600.0
LOG_LINES_UNREAD = 1000
_DEFAULT_NETWORK = "bridge"
INFO_FRESH_SECONDS = 600.0
PREDEFINED_NETWORKS = frozenset({_DEFAULT_NETWORK, "host", "none", "ingress"})


class DockerAdapter:
    """The port on the daemon at ``docker_host``. Connects at the first call, and again after a lost connection.

    ``call_seconds`` limits every call except pulls; a stop gets its grace period on top.
    """

    # (host, network name) → when a network was last seen. Shared by all threads.
    _networks_seen: ClassVar[dict[tuple[str, str], float]] = {}
    # host → when its information was read, and the information. Shared by all threads.
    _infos: ClassVar[dict[str, tuple[float, Mapping[str, Any]]]] = {}

    def __init__(self, docker_host: str, *, call_seconds: float = MAX_CALL_SECONDS) -> None:
        self._docker_host = docker_host
        self.call_seconds = call_seconds
        self._deadline = math.inf
        self._client: BoundedClient | None = None

    @classmethod
    def from_settings(cls) -> Self:
        """The adapter of this installation. A call that hangs must end well within the game's lease."""
        config = settings.RTMANAGER
        return cls(config.docker_host, call_seconds=min(MAX_CALL_SECONDS, config.game_lease_ttl_seconds * 0.45))

    def ping(self) -> None:
        with self._docker_call("respond to a ping") as client:
            client.ping()

    def docker_info(self) -> DockerInfo:
        with self._docker_call("describe itself") as client:
            return docker_info_from_json(client.info(), client.version())

    def daemon_started_at(self) -> datetime | None:
        """When the daemon created its default network: at each start at which no container is running."""
        with self._docker_call("report when it was started") as client:
            options = {"version": client.api_version, "timeout": self.call_seconds}
            with closing(BoundedClient(self._docker_host, **options)) as new_client:
                new_client.deadline = self._deadline
                try:
                    network = new_client.inspect_network(_DEFAULT_NETWORK)
                except NotFound:
                    # The daemon is configured without one ("bridge": "none").
                    return None
            return payloads.parse_docker_time(network["Created"])

    def host_capacity(self) -> HostCapacity | None:
        return capacity_from_info(self._recent_info())

    def _recent_info(self) -> Mapping[str, Any]:
        """What the daemon says about itself and its host, cached for all threads: it changes with one of them."""
        seen_at, info = self._infos.get(self._docker_host, (-math.inf, {}))
        if time.monotonic() - seen_at >= INFO_FRESH_SECONDS:
            with self._docker_call("describe itself and its host") as client:
                info = client.info()
            self._infos[self._docker_host] = (time.monotonic(), info)
        return info

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:
        """Whether a user-defined network of exactly this name exists. All threads share the cache."""
        if name in PREDEFINED_NETWORKS:
            return False
        seen_at = self._networks_seen.get((self._docker_host, name), -math.inf)
        if time.monotonic() - seen_at < fresh_seconds:
            return True
        with self._docker_call(f"find network {name}") as client:
            # Docker's filter matches every name that contains this one.
            exists = any(network["Name"] == name for network in client.networks(names=[name]))
        if exists:
            self._networks_seen[self._docker_host, name] = time.monotonic()
        return exists

    def find(self, name_or_id: str) -> Container | None:
        if not name_or_id:
            return None
        with self._docker_call(f"inspect container {name_or_id}") as client:
            try:
                container = payloads.container_from_inspect(client.inspect_container(name_or_id))
            except NotFound:
                return None
        # Docker also accepts the prefix of an id.
        return container if name_or_id in {container.id, container.name} else None

    def list_by_ids(self, container_ids: Sequence[str]) -> list[Container]:
        if not container_ids:
            return []
        wanted = set(container_ids)
        with self._docker_call(f"list {len(container_ids)} containers") as client:
            listed = [
                payloads.container_from_list(raw) for raw in client.containers(all=True, filters={"id": container_ids})
            ]
        # Docker also accepts the prefix of an id.
        return [container for container in listed if container.id in wanted]

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        filters = payloads.owned_filter(stack)
        if game_id:
            filters["label"].append(f"{LABEL_GAME_ID}={game_id}")
        with self._docker_call(f"list the containers of stack {stack}") as client:
            return [payloads.container_from_list(raw) for raw in client.containers(all=True, filters=filters)]

    def inspect(self, container_id: str) -> ContainerDetails:
        with self._docker_call(f"inspect container {container_id}") as client, container_errors(container_id):
            return payloads.details_from_inspect(client.inspect_container(container_id))

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> list[LogLine]:
        """The last lines. Docker limits their number, ``read_log`` their size."""
        query = payloads.log_query(tail=tail, since=since)
        with (
            self._docker_call(f"read the log of container {container_id}") as client,
            container_errors(container_id),
        ):
            return read_log(client.fetch(f"/containers/{container_id}/logs", query), tail=tail)

    def follow_logs(self, container_id: str, *, since: datetime | None = None, tail: int = 0) -> Subscription[LogLine]:
        query = {**payloads.log_query(tail=tail, since=since), "follow": 1}
        return Subscription(
            self._subscriber(silence_seconds=LOG_SILENCE_SECONDS),
            partial(request_log, container_id=container_id, query=query),
            what=f"read the log of container {container_id}",
            open_seconds=self.call_seconds,
            end_error=LogEndedError(f"the log of container {short_id(container_id)} has ended"),
            capacity=LOG_LINES_UNREAD,
        )

    def stats(self, container_id: str) -> ContainerStats:
        with (
            self._docker_call(f"measure container {container_id}") as client,
            container_errors(container_id),
        ):
            response = client.fetch(f"/containers/{container_id}/stats", {"stream": "false"})
            stats = payloads.stats_from_json(json.loads(b"".join(response)))
        if stats is None:
            raise NotRunningError(f"container {short_id(container_id)} does not run")
        return stats

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def events(self, stack: str, *, since_ns: int) -> Subscription[ContainerEvent]:
        filters = {**payloads.owned_filter(stack), "type": ["container"]}
        what = f"send the events of stack {stack}"
        return Subscription(
            self._subscriber(silence_seconds=EVENT_SILENCE_SECONDS),
            partial(request_events, filters=filters, since_ns=since_ns),
            what=what,
            open_seconds=self.call_seconds,
            end_error=unavailable(self._docker_host, what, "the stream ended"),
        )

    def find_image(self, image_ref: str) -> Image | None:
        with self._docker_call(f"inspect image {image_ref}") as client:
            try:
                raw = client.inspect_image(qualify_image_ref(image_ref))  # type: ignore[no-untyped-call]
            except NotFound:
                return None
            except APIError as error:
                text = error_text(error)
                if classify(error.status_code or 0, text) == Refusal.INVALID_REFERENCE:
                    what_failed = f"image reference {image_ref!r} cannot be used"
                    message = failure_message(what_failed, text, Refusal.INVALID_REFERENCE)
                    raise StartConfigInvalidError(message) from error
                raise
        return payloads.image_from_inspect(raw)

    def pull(self, image_ref: str) -> None:
        """Pull the image. Fails after two minutes without progress. Idempotent."""
        repository, tag, digest = split_image_ref(image_ref)
        with self._docker_call(f"pull image {image_ref}", seconds=PULL_SILENCE_SECONDS) as client:
            try:
                progress = client.pull(repository, tag=digest or tag or "latest", stream=True, decode=True)
                failure = payloads.pull_failure(progress)
            except APIError as error:
                # With any status: Docker passes on the registry's response, or reports that there was none.
                failure = error_text(error)
        if not failure and self.find_image(image_ref) is None:
            failure = "the pull ended, but Docker does not have the image"
        if failure:
            refusal = recognise(failure, of_pull=True)
            raise ImagePullFailedError(failure_message(f"image {image_ref} could not be pulled", failure, refusal))

    def create(self, spec: ContainerSpec) -> str:
        request = payloads.create_request(replace(spec, log_driver=self._log_driver(spec)))
        with self._docker_call(f"create container {spec.name}") as client:
            try:
                response = client.create_container_from_config(request, spec.name)  # type: ignore[no-untyped-call]
            except APIError as error:
                if error.status_code == HTTPStatus.CONFLICT:
                    raise NameTakenError(f"a container named {spec.name} exists already") from error
                raise_if_refused(error, f"container {spec.name} could not be created")
                raise
        if response.get("Warnings"):
            log.warning("container_created_with_warnings", container_name=spec.name, warnings=response["Warnings"])
        return str(response["Id"])

    def _log_driver(self, spec: ContainerSpec) -> str:
        if spec.log_driver != AUTO_LOG_DRIVER:
            return spec.log_driver
        # Something in front of Docker may deny the information.
        with suppress(DockerRefusedError):
            return choose_log_driver(spec.log_driver, log_drivers_from_info(self._recent_info()))
        return choose_log_driver(spec.log_driver, ())

    def start(self, container_id: str) -> None:
        missing = None
        with self._docker_call(f"start container {container_id}") as client:
            try:
                client.start(container_id)
            except NotFound as error:
                missing = error
            except APIError as error:
                raise_if_refused(error, f"container {container_id} could not be started")
                raise
        if missing:
            # A missing network is a 404 as well: inspect the container to find out which of the two is missing.
            if self.find(container_id) is None:
                raise no_such_container(container_id) from missing
            raise_if_refused(missing, f"container {container_id} could not be started")

    def rename(self, container_id: str, name: str) -> None:
        with self._docker_call(f"rename container {container_id} to {name}") as client:
            try:
                client.rename(container_id, name)
            except NotFound as error:
                raise no_such_container(container_id) from error
            except APIError as error:
                if error.status_code == HTTPStatus.CONFLICT and "already in use" in error_text(error):
                    raise NameTakenError(f"a container named {name} exists already") from error
                # Docker rejects a rename to the name that the container already has.
                renamed = self.find(container_id)
                if renamed is None or renamed.name != name:
                    raise

    def wait_until_exited(self, container_id: str, timeout_seconds: float) -> bool:
        with self._docker_call(f"wait for container {container_id}") as client:
            try:
                client.wait(container_id, timeout=max(timeout_seconds, 0.001))  # type: ignore[arg-type]
            except NotFound:
                return True
            except requests.RequestException as error:
                if not is_read_timeout(error):
                    raise
            else:
                return True
        # A timeout may also be caused by a hanging daemon: inspect before reporting a running container.
        container = self.find(container_id)
        return container is None or not container.is_alive

    def stop(self, container_id: str, *, grace_seconds: int) -> None:
        with self._docker_call(f"stop container {container_id}") as client:
            try:
                client.stop(container_id, timeout=grace_seconds)
            except NotFound as error:
                raise no_such_container(container_id) from error

    def remove(self, container_id: str, *, grace_seconds: int) -> None:
        """Remove a container with its anonymous volumes, after a graceful stop if it runs. Idempotent."""
        if not self._removed(container_id, force=False):
            with suppress(NoSuchContainerError):
                self.stop(container_id, grace_seconds=grace_seconds)
            self._removed(container_id, force=True)

    def _removed(self, container_id: str, *, force: bool) -> bool:
        """Request the removal; False if Docker rejects it because the container runs."""
        with self._docker_call(f"remove container {container_id}") as client:
            try:
                client.remove_container(container_id, force=force, v=True)
            except NotFound:
                return True
            except APIError as error:
                refusal = recognise(error_text(error))
                if refusal == Refusal.NOT_REMOVABLE:
                    # With any status: Docker has tried, and the container stays in the state "dead".
                    what_failed = f"container {container_id} could not be removed"
                    message = failure_message(what_failed, error_text(error), refusal)
                    raise DockerRefusedError(message, refusal) from error
                is_under_way = refusal == Refusal.REMOVAL_UNDER_WAY
                if error.status_code != HTTPStatus.CONFLICT or (force and not is_under_way):
                    raise
                return is_under_way
        return True

    def close(self) -> None:
        """Close the connections. A later call connects again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def _docker_call(self, what: str, *, seconds: float | None = None) -> Iterator[BoundedClient]:
        """Yield a connected client and translate every SDK error: rejected, or result unknown."""
        try:
            if self._client is None:
                self._client = _connect(self._docker_host, seconds=self.call_seconds)
            # The SDK's type hints allow whole seconds only; the HTTP library accepts fractions.
            self._client.timeout = seconds or self.call_seconds  # type: ignore[assignment]
            self._client.deadline = self._deadline
            yield self._client
        except SDK_ERRORS as error:
            response = find_response(error)
            # A replaced daemon may have another API version: the next call negotiates it.
            if response is None or recognise(error_text(response)) == Refusal.API_VERSION:
                self.close()
            raise error_of(self._docker_host, what, error) from error

    def _subscriber(self, *, silence_seconds: float) -> BoundedClient:
        """A client for one subscription. Asks the daemon first: a subscription must not wait for an absent one."""
        with self._docker_call("report its API version") as client:
            return BoundedClient(self._docker_host, version=client.api_version, timeout=silence_seconds)


def _connect(docker_host: str, *, seconds: float) -> BoundedClient:
    client = BoundedClient(docker_host, version="auto", timeout=seconds)
    if tuple(int(part) for part in client.api_version.split(".")) < MINIMUM_API:
        client.close()
        raise DockerException(
            f"it speaks API {client.api_version}, but {MINIMUM_API[0]}.{MINIMUM_API[1]} (Docker 20.10) or newer is "
            "needed; upgrade Docker"
        )
    return client
