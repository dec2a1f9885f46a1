"""The world of one cell: one game, its Docker, and the recovery that production runs after a fault."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from redis import Redis

from operations import runner
from operations.intake import OperationRequest, accept
from operations.messages import epoch_ms
from operations.models import DeadLetter, Operation, OutboxEvent
from operations.queue import claims
from operations.queue.worker_lock import end_leases_of_dead_workers, worker_lock
from operations.reconcile import survey
from operations.states import OPEN_STATES, OperationKind, OperationSource, OperationState
from runtimes.container_spec import build_spec, current_policy
from runtimes.containers import connect
from runtimes.containers.base import Container
from runtimes.exceptions import RuntimeManagerError
from runtimes.models import Runtime
from tasks.loops.leader_election import LeaderElection
from tasks.loops.relay import Relay, event_streams
from tasks.streams.redis.events import RedisEventStreams
from tests.chaos.grid.faults import watched_streams
from tests.chaos.grid.processes import Host
from tests.servers.waiting import wait_for

# Longer than any lease, back-off or interval between notifications.
_LATER = "interval '1 hour'"
_TIMEOUT_SECONDS = 2.0
_MOST_ROUNDS = 8
# The thread whose session holds the lock of this process, as the heartbeat of a worker does.
_lock_holder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lock-holder")


@dataclass
class World:
    """One game. No worker runs unless a method runs it; every notification is lost."""

    host: Host
    redis: Redis
    requested: list[OperationRequest] = field(default_factory=list)

    @classmethod
    def begin(cls, host: Host, streams: Redis) -> "World":
        """Return an empty world."""
        # Dependent rows are deleted by cascade.
        for model in (OutboxEvent, DeadLetter, Operation, Runtime):
            model.objects.all().delete()
        streams.flushdb()
        host.begin()
        return cls(host, streams)

    @property
    def game_id(self) -> str:
        return self.host.game_id

    def request(
        self, op_kind: OperationKind, *, source: OperationSource = OperationSource.LOBBY_STREAM, **arguments: Any
    ) -> None:
        """Prepare a request, for one or more submissions."""
        key = f"grid:{len(self.requested) + 1}"
        self.requested.append(
            OperationRequest(
                game_id=self.game_id, op_kind=op_kind, op_source=source, job_key=key, arguments=arguments
            )
        )  # fmt: skip

    def record_request(
        self, op_kind: OperationKind, *, source: OperationSource = OperationSource.LOBBY_STREAM, **arguments: Any
    ) -> Operation:
        """Accept a request as an operation."""
        self.request(op_kind, source=source, **arguments)
        return accept([self.requested[-1]])[0]

    def start(self, image: str) -> Container:
        """Start the game; return its container."""
        runner.run(self.record_request(OperationKind.START, image_ref=self.host.images[image]).pk)
        (container,) = self.containers()
        return container

    def stop(self) -> None:
        """Stop the game."""
        runner.run(self.record_request(OperationKind.STOP, reason="cancelled").pk)

    def run_unrecorded(self, image: str, *, made_by: Operation | None = None) -> None:
        """Run a container with RTM's labels that no runtime row names. ``made_by`` recorded it before it failed."""
        spec = build_spec(
            current_policy(),
            game_id=self.game_id,
            image_ref=self.host.images[image],
            limits=current_policy().default_limits,
            operation_id=made_by.pk if made_by else "",
            fence=0,
            job_key=made_by.job_key if made_by else "",
            started_at_ms=epoch_ms(made_by.started_at) if made_by and made_by.started_at else 0,
        )
        Path(spec.state_path).mkdir(parents=True, exist_ok=True)
        container_id = connect().create(spec)
        if made_by is not None:
            Operation.objects.filter(pk=made_by.pk).update(container_id=container_id)
        connect().start(container_id)

    def containers(self) -> list[Container]:
        """Return the containers of the game, each as inspected."""
        listed = connect().list_owned(settings.RTMANAGER.stack)
        inspected = [connect().find(container.id) for container in listed if container.game_id == self.game_id]
        return [container for container in inspected if container is not None]

    def record(self) -> Runtime | None:
        return Runtime.objects.filter(pk=self.game_id).first()

    def operations(self) -> list[Operation]:
        return list(Operation.objects.order_by("id"))

    def open_operations(self) -> list[Operation]:
        return list(Operation.objects.filter(state__in=OPEN_STATES).order_by("id"))

    def on_stream(self, stream: str) -> list[Mapping[str, str]]:
        """Return the published entries of a stream."""
        entries: Any = self.redis.xrange(stream)
        return [fields for _entry_id, fields in entries]

    def run_newest_first(self) -> None:
        """Run all open operations in a worker, the newest first."""
        for operation in reversed(self.open_operations()):
            runner.run(operation.pk)

    def lose_lease(self) -> None:
        """Let the lease of the running operation expire."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE operations_operation SET lease_until = '-infinity' WHERE state = 'running'")

    def hold_worker_lock(self) -> None:
        """Take the lock of this process, on a session of its own."""
        _lock_holder.submit(worker_lock.hold).result()

    def lose_worker_lock(self) -> None:
        """Release the lock of this process, and have the sweeper notice it."""
        _lock_holder.submit(worker_lock.release).result()
        self._notice_dead_workers()

    def continue_for_dead_worker(self) -> None:
        """Continue in another worker as soon as the sweeper has noticed the killed one. No lease expires."""
        self._notice_dead_workers()
        for operation_id, _kind in claims.find_unattended(grace_seconds=_TIMEOUT_SECONDS):
            runner.run(operation_id)
        assert not Operation.objects.filter(state=OperationState.RUNNING).exists()

    def _notice_dead_workers(self) -> None:
        suspects = frozenset[int]()

        def all_are_noticed() -> bool:
            nonlocal suspects
            suspects = end_leases_of_dead_workers(suspects, settle_seconds=0).missing_locks
            return not Operation.objects.filter(state=OperationState.RUNNING, worker_lock__isnull=False).exists()

        wait_for(all_are_noticed, what="the sweeper to notice the dead worker")


class EagerRelay(Relay):
    """Does not wait for more events."""

    def _sleep_until_notified(self) -> None:
        """Return at once."""


def relay(leadership: str = "grid-relay") -> Relay:
    streams = watched_streams(RedisEventStreams(settings.RTMANAGER.streams_url))
    return EagerRelay(streams, names=event_streams(), leadership=LeaderElection(leadership))


def ignore_outage(action: Callable[[], None]) -> None:
    """Run an action as a loop or a worker does: an error of an unavailable server ends it."""
    with suppress(DatabaseError, InterfaceError, RuntimeManagerError):
        action()
    connection.close()


def recover(world: World) -> int:
    """Run the automatic recovery of production without its delays; return the number of repairs."""
    _sweep(world)
    repairs = survey.reconcile_all()
    _sweep(world)
    publish()
    return repairs


def publish() -> None:
    """Publish everything with the next relay, as soon as a killed relay has lost the lock."""
    next_one = relay()

    def everything_is_published() -> bool:
        next_one.step()
        return not OutboxEvent.objects.filter(published_at=None).exists()

    wait_for(everything_is_published, what="the relay to publish everything")
    next_one.close()


def _sweep(world: World) -> None:
    for _ in range(_MOST_ROUNDS):
        _pass_time()
        for operation_id, _kind in claims.find_unattended(grace_seconds=_TIMEOUT_SECONDS):
            runner.run(operation_id)
        if not world.open_operations():
            return


def _pass_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE operations_operation
                   SET lease_until = lease_until - {_LATER}, not_before = not_before - {_LATER},
                       notified_at = notified_at - {_LATER}
                 WHERE state <> 'finished'"""  # noqa: S608 - a constant
        )
