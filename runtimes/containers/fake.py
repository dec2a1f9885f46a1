"""The container port in memory, for tests of whoever uses the port. It ships with the product.

Several FakeContainers share one FakeEngine, as the adapters of several threads share one Docker. The contract
suite holds it to the same promises as the real adapter.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Self

from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainerStartFailedError,
    Image,
    ImagePullFailedError,
    NameTakenError,
    NoSuchContainerError,
)
from runtimes.containers.engine import Engine
from runtimes.containers.fake_engine import ADDRESS, KILLED, TERMINATED, FakeEngine, FakeImage
from runtimes.containers.fake_feeds import FakeFeed, FakeLogFeed
from runtimes.containers.payloads import create_request, limits_in_force
from runtimes.containers.telemetry import ContainerStats, LogLine, LogNotKeptError, NotRunningError
from runtimes.specs import ContainerSpec

__all__ = ["ADDRESS", "FakeContainers", "FakeEngine", "FakeFeed", "FakeImage", "details_of", "shared_engine"]

shared_engine = FakeEngine()


class FakeContainers:
    """The port on a FakeEngine: the shared one of this process unless another is given."""

    def __init__(self, engine: FakeEngine | None = None) -> None:
        self.engine = engine or shared_engine

    @classmethod
    def from_settings(cls) -> Self:
        """On the shared engine: no setting matters."""
        return cls()

    def ping(self) -> None:
        """Return when the engine answers."""
        with self.engine.call("ping"):
            pass

    def describe_engine(self) -> Engine:
        """An engine that is as it should be."""
        with self.engine.call("describe_engine"):
            return Engine("0.0-fake", "1.41", live_restore=True, limits={"memory": True}, now=datetime.now(UTC))

    def network_exists(self, name: str, *, fresh_seconds: float = 0.0) -> bool:  # noqa: ARG002 - it remembers nothing
        """Whether a user-defined network of exactly this name exists."""
        with self.engine.call("network_exists"):
            return name in self.engine.networks

    def find(self, name_or_id: str) -> Container | None:
        """Look at one container by its exact name or full id."""
        with self.engine.call("find"):
            found = (each for each in self.engine.containers.values() if name_or_id in {each.id, each.name})
            return next(found, None)

    def find_all(self, container_ids: Sequence[str]) -> list[Container]:
        """Those of these containers that exist, with as little filled in as in a list."""
        with self.engine.call("find_all"):
            return [_as_listed(each) for each in self.engine.containers.values() if each.id in container_ids]

    def list_owned(self, stack: str, *, game_id: str = "") -> list[Container]:
        """All containers of this stack or one game, with as little filled in as the real engine's list has."""
        with self.engine.call("list_owned"):
            owned = [_as_listed(each) for each in self.engine.containers.values() if each.is_owned_by(stack)]
            return [each for each in owned if game_id in {"", each.game_id}]

    def details(self, container_id: str) -> ContainerDetails:
        """Everything about one container, in the shape of the real engine's answer."""
        with self.engine.call("details"):
            container = self._get(container_id)
            return details_of(container, self.engine.specs[container_id])

    def logs(self, container_id: str, *, tail: int, since: datetime | None = None) -> list[LogLine]:
        """The last lines."""
        with self.engine.call("logs"):
            return self._tail(container_id, tail=tail, since=since)

    def follow_logs(self, container_id: str, *, since: datetime | None = None, tail: int = 0) -> FakeLogFeed:
        """Subscribe to what is written, beginning with the last lines of before."""
        with self.engine.call("follow_logs"):
            return FakeLogFeed(self.engine, container_id, self._tail(container_id, tail=tail, since=since))

    def stats(self, container_id: str) -> ContainerStats:
        """The same modest use for every container that runs."""
        with self.engine.call("stats"):
            if not self._get(container_id).is_alive:
                message = f"container {container_id[:12]} does not run"
                raise NotRunningError(message)
            return ContainerStats(
                at=datetime.now(UTC),
                cpu_percent=2.5,
                memory_bytes=8 * 1024**2,
                memory_limit_bytes=self.engine.specs[container_id].limits.memory_bytes,
                pids=2,
                network_rx_bytes=1000,
                network_tx_bytes=500,
            )

    def within(self, seconds: float) -> AbstractContextManager[None]:  # noqa: ARG002 (time stands still here)
        """Nothing takes time here."""
        return nullcontext()

    def events(self, stack: str, *, since_ns: int) -> FakeFeed:
        """Subscribe to the events of all containers of this stack."""
        with self.engine.call("events"):
            return FakeFeed(self.engine, stack, since_ns)

    def find_image(self, image_ref: str) -> Image | None:
        """The local image, or None when the engine does not hold it."""
        with self.engine.call("find_image"):
            image = self.engine.images.get(image_ref)
            return Image(id=image.id, labels=image.labels) if image else None

    def pull(self, image_ref: str) -> None:
        """Take the image from the registry; one that is there already needs no registry."""
        with self.engine.call("pull"):
            image = self.engine.registry.get(image_ref)
            if image is None:
                message = f"image {image_ref} could not be pulled: the registry does not have it"
                raise ImagePullFailedError(message)
            self.engine.images[image_ref] = image

    def create(self, spec: ContainerSpec) -> str:
        """Create, not start; returns the full id."""
        with self.engine.call("create"):
            image = self.engine.images.get(spec.image_ref)
            if image is None:
                message = f"container {spec.name} could not be created: no such image: {spec.image_ref}"
                raise ContainerStartFailedError(message)
            if any(each.name == spec.name for each in self.engine.containers.values()):
                message = f"a container named {spec.name} exists already"
                raise NameTakenError(message)
            return self.engine.add(spec, image=image)

    def start(self, container_id: str) -> None:
        """Start by id, behaving as the image says."""
        with self.engine.call("start"):
            self.engine.start(self._get(container_id))

    def wait_exit(self, container_id: str, timeout_seconds: float) -> bool:  # noqa: ARG002 (time stands still here)
        """Whether the container does not run, without waiting."""
        with self.engine.call("wait_exit"):
            container = self.engine.containers.get(container_id)
            return container is None or not container.is_alive

    def stop(self, container_id: str, *, grace_seconds: int) -> None:  # noqa: ARG002 (time stands still here)
        """Stop at once, with the exit code of SIGTERM or, where the image ignores that, of SIGKILL."""
        with self.engine.call("stop"):
            if self._get(container_id).is_alive:
                ignores_term = self.engine.image_of[container_id].ignores_term
                self.engine.exit(container_id, exit_code=KILLED if ignores_term else TERMINATED)

    def remove(self, container_id: str) -> None:
        """Remove a container, alive or not, existing or not."""
        with self.engine.call("remove"):
            if container_id in self.engine.containers:
                self.engine.vanish(container_id)

    def close(self) -> None:
        """Nothing to drop."""

    def _tail(self, container_id: str, *, tail: int, since: datetime | None) -> list[LogLine]:
        self._get(container_id)
        if container_id in self.engine.mute:
            message = f"container {container_id[:12]} has a log driver that keeps nothing to read"
            raise LogNotKeptError(message)
        lines = [one for one in self.engine.logs[container_id] if since is None or (one.at and one.at >= since)]
        return lines[-tail:] if tail else []

    def _get(self, container_id: str) -> Container:
        container = self.engine.containers.get(container_id)
        if container is None:
            message = f"container {container_id} does not exist"
            raise NoSuchContainerError(message)
        return container


def _as_listed(container: Container) -> Container:
    return Container(
        id=container.id,
        name=container.name,
        state=container.state,
        image_id=container.image_id,
        image_ref=container.image_ref,
        labels=container.labels,
        health=container.health,
        addresses=container.addresses,
    )


def details_of(container: Container, spec: ContainerSpec) -> ContainerDetails:
    """What the real engine would say of it, made from the very request that it would have got."""
    request = create_request(spec)
    host = request["HostConfig"]
    raw = {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Image": container.image_id,
        "State": {"Status": container.state.value, "ExitCode": container.exit_code, "OOMKilled": container.oom_killed},
        "Config": {
            **{name: request[name] for name in ("Image", "Env", "StopTimeout")},
            "Labels": dict(container.labels),
        },
        "HostConfig": host,
        "NetworkSettings": {"Networks": request["NetworkingConfig"]["EndpointsConfig"]},
        "Mounts": [{**one, "Destination": one["Target"], "RW": True} for one in host["Mounts"]],
    }
    return ContainerDetails(container, limits_in_force(raw), raw)
