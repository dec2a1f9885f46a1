"""The small world of one cell: one game, its engine, and all that production would do by itself after a fault."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from redis import Redis

from operations import claims, reconciler, runner
from operations.events import epoch_ms
from operations.intake import OperationRequest, accept
from operations.models import DeadLetter, Operation, OutboxEvent
from operations.states import OPEN_STATES, OpKind, OpSource
from runtimes.containers import connect, disconnect
from runtimes.containers.base import Container
from runtimes.exceptions import RuntimeManagerError
from runtimes.models import Runtime
from runtimes.policy import current_policy
from runtimes.specs import build_spec
from tasks.leadership import Leadership
from tasks.relay import Relay, event_streams
from tasks.streams.redis import RedisEventStreams
from tests.chaos.grid.faults import watched_streams
from tests.chaos.grid.hosts import FORK, Host
from tests.servers.waiting import wait_for

# Longer than any lease, back-off or wait between hints.
_LATER = "interval '1 hour'"
_PATIENCE_SECONDS = 2.0
_MOST_ROUNDS = 8


@dataclass
class World:
    """One game. Nobody works unless told to; every hint is lost."""

    host: Host
    redis: Redis
    asked: list[OperationRequest] = field(default_factory=list)

    @classmethod
    def begin(cls, host: Host, streams: Redis) -> "World":
        """With nothing in it."""
        # What belongs to them goes with them.
        for model in (OutboxEvent, DeadLetter, Operation, Runtime):
            model.objects.all().delete()
        streams.flushdb()
        host.begin()
        return cls(host, streams)

    @property
    def game_id(self) -> str:
        return self.host.game_id

    def request(self, op_kind: OpKind, *, source: OpSource = OpSource.LOBBY_STREAM, **arguments: Any) -> None:
        """Remember a request, so that it can be asked for now and again."""
        key = f"grid:{len(self.asked) + 1}"
        self.asked.append(
            OperationRequest(
                game_id=self.game_id, op_kind=op_kind, op_source=source, job_key=key, arguments=arguments
            )
        )  # fmt: skip

    def ask(self, op_kind: OpKind, *, source: OpSource = OpSource.LOBBY_STREAM, **arguments: Any) -> Operation:
        """Put a request on record."""
        self.request(op_kind, source=source, **arguments)
        return accept([self.asked[-1]])[0]

    def start(self, image: str) -> Container:
        """A game that was started before; returns its container."""
        runner.run(self.ask(OpKind.START, image_ref=self.host.images[image]).pk)
        (container,) = self.containers()
        return container

    def stop(self) -> None:
        """Stop it again."""
        runner.run(self.ask(OpKind.STOP, reason="cancelled").pk)

    def place(self, image: str, *, made_by: Operation | None = None) -> None:
        """A live container with our labels that no record knows of."""
        spec = build_spec(
            current_policy(),
            game_id=self.game_id,
            image_ref=self.host.images[image],
            limits=current_policy().default_limits,
            operation_id=made_by.pk if made_by else "",
            fence=0,
            started_at_ms=epoch_ms(made_by.started_at) if made_by and made_by.started_at else 0,
        )
        Path(spec.state_path).mkdir(parents=True, exist_ok=True)
        connect().start(connect().create(spec))

    def containers(self) -> list[Container]:
        """What Docker shows of the game, each looked at closely."""
        listed = connect().list_owned(settings.RTMANAGER.stack)
        looks = [connect().find(one.id) for one in listed if one.game_id == self.game_id]
        return [one for one in looks if one is not None]

    def record(self) -> Runtime | None:
        return Runtime.objects.filter(pk=self.game_id).first()

    def operations(self) -> list[Operation]:
        return list(Operation.objects.order_by("id"))

    def open_operations(self) -> list[Operation]:
        return list(Operation.objects.filter(state__in=OPEN_STATES).order_by("id"))

    def on_stream(self, stream: str) -> list[Mapping[str, str]]:
        """What is published there."""
        entries: Any = self.redis.xrange(stream)
        return [fields for _entry_id, fields in entries]

    def run_newest_first(self) -> None:
        """A worker is hinted about everything that is open, the last first."""
        for operation in reversed(self.open_operations()):
            runner.run(operation.pk)

    def lose_lease(self) -> None:
        """Database time passes the lease of whoever works on the game."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE operations_operation SET lease_until = '-infinity' WHERE state = 'running'")


class WakefulRelay(Relay):
    """Does not wait for more when there is nothing to publish."""

    def _sleep_until_woken(self) -> None:
        """Nobody will wake it."""


def relay(leadership: str = "grid-relay") -> Relay:
    streams = watched_streams(RedisEventStreams(settings.RTMANAGER.streams_url))
    return WakefulRelay(streams, names=event_streams(), leadership=Leadership(leadership))


def survives(deed: Callable[[], None]) -> None:
    """Do something as a loop or a worker does: what a server's absence raises ends it. Who comes next begins anew."""
    with suppress(DatabaseError, InterfaceError, RuntimeManagerError):
        deed()
    connection.close()


def in_own_process(deed: Callable[[], None]) -> int | None:
    """Do it in a forked process that has connections of its own; returns how that ended."""
    connections.close_all()
    disconnect()
    process = FORK.Process(target=deed)
    process.start()
    process.join(timeout=30)
    return process.exitcode


def recover(world: World) -> int:
    """Everything that goes on by itself in production, without the waiting; returns how much reconcile mended."""
    _sweep(world)
    repairs = reconciler.reconcile_all()
    _sweep(world)
    publish()
    return repairs


def publish() -> None:
    """Let the next relay publish everything, as soon as one that was killed has lost the lock."""
    next_one = relay()

    def everything_is_published() -> bool:
        next_one.step()
        return not OutboxEvent.objects.filter(published_at=None).exists()

    wait_for(everything_is_published, what="the relay to publish everything")
    next_one.close()


def _sweep(world: World) -> None:
    for _ in range(_MOST_ROUNDS):
        _let_time_pass()
        for operation_id, _kind in claims.sweep(patience_seconds=_PATIENCE_SECONDS):
            runner.run(operation_id)
        if not world.open_operations():
            return


def _let_time_pass() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE operations_operation
                   SET lease_until = lease_until - {_LATER}, not_before = not_before - {_LATER},
                       hinted_at = hinted_at - {_LATER}
                 WHERE state <> 'finished'"""  # noqa: S608 - a constant of ours
        )
