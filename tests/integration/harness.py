"""What the integration tests of operations share: a game engine in memory, and workers that are moved by hand."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from operations import runner
from operations.intake import OperationRequest, accept
from operations.models import Operation, OutboxEvent
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, OperationState, Topic
from runtimes.container_spec import container_name
from runtimes.containers.base import Container
from runtimes.containers.fake.adapter import FakeDocker, FakeImage
from runtimes.models import Runtime

IMAGE = "galaxy-engine:1.0.0"
OTHER_IMAGE = "galaxy-engine:1.0.1"
NETWORK = "galaxy-net"


@dataclass
class Rig:
    """One installation in this process: the database is real, Docker is in memory, and workers run only when called."""

    engine: FakeDocker
    state_root: Path
    _numbers: Any = field(default_factory=lambda: count(1))

    def ask(
        self,
        op_kind: OperationKind,
        game_id: str = "g1",
        *,
        source: OperationSource = OperationSource.LOBBY_STREAM,
        **arguments: Any,
    ) -> Operation:
        """Record a request as its source would."""
        number = next(self._numbers)
        request = OperationRequest(
            game_id=game_id,
            op_kind=op_kind,
            op_source=source,
            job_key=f"test:{number}",
            source_ref=f"{number}-0",
            arguments=arguments,
        )
        return accept([request])[0]

    def ask_start(self, game_id: str = "g1", *, image_ref: str = IMAGE, **more: Any) -> Operation:
        """Ask for a start."""
        return self.ask(OperationKind.START, game_id, image_ref=image_ref, **more)

    def ask_stop(self, game_id: str = "g1", **more: Any) -> Operation:
        """Ask for a stop."""
        return self.ask(OperationKind.STOP, game_id, reason="cancelled", **more)

    def do(self, operation: Operation) -> Operation:
        """Let a worker run the operation; returns its row afterwards."""
        runner.run(operation.pk)
        operation.refresh_from_db()
        return operation

    def start(self, game_id: str = "g1", *, image_ref: str = IMAGE, **more: Any) -> Operation:
        """Ask for a start and let a worker do it."""
        return self.do(self.ask_start(game_id, image_ref=image_ref, **more))

    def stop(self, game_id: str = "g1", **more: Any) -> Operation:
        """Ask for a stop and let a worker do it."""
        return self.do(self.ask_stop(game_id, **more))

    def restart(self, game_id: str = "g1", **more: Any) -> Operation:
        """Ask for a restart and let a worker do it."""
        return self.do(self.ask(OperationKind.RESTART, game_id, source=OperationSource.ADMIN_REST, **more))

    def patch(self, image_ref: str, game_id: str = "g1") -> Operation:
        """Ask for a patch and let a worker do it."""
        return self.do(self.ask(OperationKind.PATCH, game_id, source=OperationSource.ADMIN_REST, image_ref=image_ref))

    def cleanup(self, game_id: str = "g1") -> Operation:
        """Ask for a cleanup and let a worker do it."""
        return self.do(self.ask(OperationKind.CLEANUP_CONTAINER, game_id, source=OperationSource.ADMIN_REST))

    def container(self, game_id: str = "g1") -> Container | None:
        """What the engine holds under the game's name."""
        named = [one for one in self.engine.containers.values() if one.name == container_name(game_id)]
        return named[0] if named else None


def reconcile() -> list[Operation]:
    """One round: look, ask, and let a worker do what was asked for."""
    before = set(Operation.objects.values_list("pk", flat=True))
    survey.reconcile_all()
    asked = list(Operation.objects.exclude(pk__in=before).order_by("id"))
    for operation in asked:
        runner.run(operation.pk)
        operation.refresh_from_db()
    return asked


class WorkerDiedError(BaseException):
    """Ends a worker in this process as kill -9 would: nothing of ours catches it."""


def record(game_id: str = "g1") -> Runtime:
    """The record of a game that has one."""
    return Runtime.objects.get(pk=game_id)


def published(topic: Topic) -> list[dict[str, str]]:
    """What is queued for a stream, oldest first."""
    return list(OutboxEvent.objects.filter(topic=topic).order_by("id").values_list("fields", flat=True))


def results() -> list[dict[str, str]]:
    """The job results queued so far."""
    return published(Topic.JOB_RESULTS)


def health_events() -> list[str]:
    """The types of the health events queued so far."""
    return [one["event_type"] for one in published(Topic.HEALTH_EVENTS)]


def expire_lease(operation: Operation) -> None:
    """Let time pass until the claimer is presumed dead."""
    Operation.objects.filter(pk=operation.pk, state=OperationState.RUNNING).update(
        lease_until=Now() - timedelta(seconds=1)
    )


def end_backoff(operation: Operation) -> None:
    """Let time pass until a deferred operation is due again."""
    Operation.objects.filter(pk=operation.pk).update(
        not_before=Now() - timedelta(seconds=1), notified_at=Now() - timedelta(seconds=2)
    )


def healthy_images() -> dict[str, FakeImage]:
    """Two versions of an engine that stays up."""
    return {IMAGE: FakeImage(), OTHER_IMAGE: FakeImage()}
