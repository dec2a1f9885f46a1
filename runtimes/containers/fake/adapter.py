"""The port in memory, for tests of its callers. It ships with the product.

Several FakeAdapters share one FakeDocker, as the adapters of several threads share one daemon. The contract suite
runs on this adapter too.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar

from runtimes.container_spec import LOG_DRIVERS, ContainerSpec
from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainerEvent,
    ContainerStartFailedError,
    ContainerState,
    ContainersUnavailableError,
    DockerRefusedError,
    Image,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.containers.docker.payloads import expected_inspection, limits_in_force
from runtimes.containers.fake.daemon import ADDRESS, KILLED, TERMINATED, FakeDocker, FakeImage
from runtimes.containers.refusals import Refusal
from runtimes.containers.types import (
    ContainerStats,
    DockerInfo,
    HostCapacity,
    LogEndedError,
    LogLine,
    LogsNotAvailableError,
    NotRunningError,
)
from runtimes.exceptions import RuntimeManagerError
from runtimes.formatting import short_id

__all__ = ["ADDRESS", "FakeAdapter", "FakeDocker", "FakeImage", "shared_docker"]

Item = TypeVar("Item")
shared_docker = FakeDocker()


class FakeFeed(Generic[Item]):
    """A Feed on a FakeDocker. ``items`` returns all items since the subscription; ``is_over`` whether more may come."""

    def __init__(
        self,
        docker: FakeDocker,
        items: Callable[[], list[Item]],
        *,
        is_over: Callable[[], bool] = lambda: False,
        end_error: RuntimeManagerError,
    ) -> None:
        self._docker = docker
        self._items = items
        self._is_over = is_over
        self._end_error = end_error
        self._position = 0
        self._generation = docker.generation
        self._is_closed = False

    def read(self, timeout_seconds: float) -> list[Item]:
        with self._docker.changed:
            self._docker.changed.wait_for(lambda: self._end() or self._unread(), timeout_seconds)
            items, end = self._unread(), self._end()
            self._position += len(items)
            if not items and end is not None:
                raise end
            return items

    def close(self) -> None:
        with self._docker.changed:
            self._is_closed = True
            self._docker.changed.notify_all()

    def _unread(self) -> list[Item]:
        return self._items()[self._position :]

    def _end(self) -> RuntimeManagerError | None:
        if self._generation != self._docker.generation:
            return ContainersUnavailableError("the fake Docker ended the stream")
        return self._end_error if self._is_closed or self._is_over() else None


class FakeAdapter:
    """The port on a FakeDocker: the shared one of this process unless another is given."""

    def __init__(self, docker: FakeDocker | None = None) -> None:
        self.docker = docker or shared_docker

    @classmethod
    def from_settings(cls) -> Self:
        return cls()

    def ping(self) -> None:
        with self.docker.call("ping"):
            pass

    def docker_info(self) -> DockerInfo:
        """Facts about a well-configured daemon."""
        with self.docker.call("docker_info"):
            return DockerInfo(
                "0.0-fake",
                "1.41",
                live_restore=True,
                limits={"memory": True},
                now=datetime.now(UTC),
                capacity=self.docker.capacity,
                log_drivers=LOG_DRIVERS[:2],
            )

    def host_capacity(self) -> HostCapacity | None:
        with self.docker.call("host_capacity"):
            return self.docker.capacity

    def daemon_started_at(self) -> datetime | None:
        with self.docker.call("daemon_started_at"):
            return self.docker.started_at

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:  # noqa: ARG002 - no cache
        with self.docker.call("network_exists"):
            return name in self.docker.networks

    def find(self, name_or_id: str) -> Container | None:
        with self.docker.call("find"):
            containers = self.docker.containers.values()
            return next((container for container in containers if name_or_id in {container.id, container.name}), None)

    def list_by_ids(self, container_ids: Sequence[str]) -> list[Container]:
        with self.docker.call("list_by_ids"):
            containers = self.docker.containers.values()
            return [self._listed(container) for container in containers if container.id in container_ids]

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        """All containers of this stack or one game, with only the fields that Docker's list has."""
        with self.docker.call("list_owned"):
            owned = [container for container in self.docker.containers.values() if container.is_owned_by(stack)]
            return [self._listed(container) for container in owned if game_id in {"", container.game_id}]

    def inspect(self, container_id: str) -> ContainerDetails:
        """The full inspection, in the structure of Docker's response."""
        with self.docker.call("inspect"):
            container = self._get(container_id)
            expected = expected_inspection(self.docker.specs[container_id])
            state = {
                "Status": container.state.value,
                "ExitCode": container.exit_code,
                "OOMKilled": container.oom_killed,
            }
            raw = {
                **expected,
                "Id": container.id,
                "Name": f"/{container.name}",
                "Image": container.image_id,
                "State": state,
                "Config": {**expected["Config"], "Labels": dict(container.labels)},
            }
            return ContainerDetails(container, limits_in_force(raw), raw)

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> list[LogLine]:
        with self.docker.call("logs"):
            return self._tail(container_id, tail=tail, since=since)

    def follow_logs(self, container_id: str, *, since: datetime | None = None, tail: int = 0) -> FakeFeed[LogLine]:
        with self.docker.call("follow_logs"):
            earlier, position = self._tail(container_id, tail=tail, since=since), len(self.docker.logs[container_id])
            return FakeFeed(
                self.docker,
                lambda: [*earlier, *self.docker.logs[container_id][position:]],
                is_over=lambda: not self._is_alive(container_id),
                end_error=LogEndedError(f"the log of container {short_id(container_id)} has ended"),
            )

    def stats(self, container_id: str) -> ContainerStats:
        """The same values for every running container."""
        with self.docker.call("stats"):
            if not self._get(container_id).is_alive:
                raise NotRunningError(f"container {short_id(container_id)} does not run")
            return ContainerStats(
                at=datetime.now(UTC),
                cpu_percent=2.5,
                memory_bytes=8 * 1024**2,
                memory_limit_bytes=self.docker.specs[container_id].limits.memory_bytes,
                pids=2,
                network_rx_bytes=1000,
                network_tx_bytes=500,
            )

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:  # noqa: ARG002 (no time passes here)
        return nullcontext()

    def events(self, stack: str, *, since_ns: int) -> FakeFeed[ContainerEvent]:
        def ours() -> list[ContainerEvent]:
            history = self.docker.history
            return [event for event, own in history if event.time_ns >= since_ns and own.is_owned_by(stack)]

        with self.docker.call("events"):
            return FakeFeed(self.docker, ours, end_error=ContainersUnavailableError("the subscription is closed"))

    def find_image(self, image_ref: str) -> Image | None:
        with self.docker.call("find_image"):
            image = self.docker.image(image_ref)
            return Image(id=image.id, labels=image.labels, volumes=tuple(image.volumes)) if image else None

    def pull(self, image_ref: str) -> None:
        with self.docker.call("pull"):
            image = self.docker.registry.get(image_ref)
            if image is None:
                raise ImagePullFailedError(f"image {image_ref} could not be pulled: the registry does not have it")
            self.docker.images[image_ref] = image

    def create(self, spec: ContainerSpec) -> str:
        with self.docker.call("create"):
            image = self.docker.image(spec.image)
            if image is None:
                raise ContainerStartFailedError(
                    f"container {spec.name} could not be created: no such image: {spec.image}"
                )
            if any(other.name == spec.name for other in self.docker.containers.values()):
                raise NameTakenError(f"a container named {spec.name} exists already")
            return self.docker.add(spec, image=image)

    def start(self, container_id: str) -> None:
        with self.docker.call("start"):
            self.docker.start(self._get(container_id))

    def rename(self, container_id: str, name: str) -> None:
        with self.docker.call("rename"):
            container = self._get(container_id)
            if any(other.name == name and other.id != container_id for other in self.docker.containers.values()):
                raise NameTakenError(f"a container named {name} exists already")
            self.docker.containers[container_id] = replace(container, name=name)

    def wait_until_exited(self, container_id: str, timeout_seconds: float) -> bool:  # noqa: ARG002 (no time passes here)
        with self.docker.call("wait_until_exited"):
            return not self._is_alive(container_id)

    def stop(self, container_id: str, *, grace_seconds: int) -> None:  # noqa: ARG002 (no time passes here)
        """Stop immediately, with the exit code of SIGTERM, or of SIGKILL if the image ignores SIGTERM."""
        with self.docker.call("stop"):
            self._get(container_id)
            self._end(container_id)

    def remove(self, container_id: str, *, grace_seconds: int) -> None:  # noqa: ARG002 (no time passes here)
        with self.docker.call("remove"):
            if container_id not in self.docker.containers:
                return
            self._end(container_id)
            if container_id in self.docker.unremovable:
                self.docker.block_removal(container_id)
                raise DockerRefusedError(
                    f"Docker cannot remove container {short_id(container_id)}: operation not permitted",
                    Refusal.NOT_REMOVABLE,
                )
            self.docker.remove_externally(container_id)

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _tail(self, container_id: str, *, tail: int, since: datetime | None) -> list[LogLine]:
        self._get(container_id)
        if container_id in self.docker.without_logs:
            raise LogsNotAvailableError(
                f"container {short_id(container_id)} has a log driver that stores nothing to read"
            )
        lines = [line for line in self.docker.logs[container_id] if since is None or (line.at and line.at >= since)]
        return lines[-tail:] if tail else []

    def _listed(self, container: Container) -> Container:
        state = ContainerState.REMOVING if container.id in self.docker.unremovable else container.state
        listed = replace(container, state=state, exit_code=0, oom_killed=False, restart_count=0)
        return replace(listed, started_at=None, finished_at=None)

    def _is_alive(self, container_id: str) -> bool:
        container = self.docker.containers.get(container_id)
        return container is not None and container.is_alive

    def _end(self, container_id: str) -> None:
        if self._is_alive(container_id):
            image = self.docker.image_of.get(container_id)
            self.docker.exit(container_id, exit_code=KILLED if image and image.ignores_sigterm else TERMINATED)

    def _get(self, container_id: str) -> Container:
        container = self.docker.containers.get(container_id)
        if container is None:
            raise NoSuchContainerError(f"container {container_id} does not exist")
        return container
