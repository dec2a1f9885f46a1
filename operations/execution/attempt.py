"""One attempt at an operation: what an action can read and change, with every step timed and fenced."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.utils import timezone

from operations.execution import container_creators
from operations.execution.container_creators import Creator
from operations.installation import database_restore
from operations.messages import HealthEvent
from operations.queue import claims
from operations.queue.claims import Claim
from runtimes.container_spec import ContainerPolicy, container_name
from runtimes.containers.base import Container, DockerPort
from runtimes.exceptions import ConflictError, RuntimeManagerError, RuntimeNotFoundError
from runtimes.formatting import to_rfc3339
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

# Bounds the history of an operation with many attempts. The newest steps stay, and the first step of each name, because
# a later attempt uses ``has`` to find out what an earlier one has done.
MAX_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of an action, as it must be recorded.

    ``status``: the new status of the runtime. None leaves the record as it is: a no-op, unless ``changed_something``.
    ``is_noted``: also a no-op, but the record notes the request.
    """

    status: RuntimeStatus | None = None
    changed_something: bool = False
    is_noted: bool = False
    note: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    container_id: str = ""
    image_ref: str = ""
    health: tuple[HealthEvent, ...] = ()

    @classmethod
    def no_op(cls, record: Runtime) -> Self:
        """Nothing to do: the game is in the requested state."""
        return cls(container_id=record.current_container_id or "", image_ref=record.current_image_ref or "")

    @classmethod
    def removed(cls, record: Runtime, *, at: datetime, health: tuple[HealthEvent, ...] = ()) -> Self:
        """The game has no container any more."""
        return cls(
            status=RuntimeStatus.REMOVED,
            changes={"removed_at": at, "current_container_id": None},
            image_ref=record.current_image_ref or "",
            health=health,
        )

    @property
    def is_no_op(self) -> bool:
        """Whether there was nothing to do."""
        return self.is_noted or (self.status is None and not self.changed_something)


class FailedWithStateError(RuntimeManagerError):
    """An action failed after it had changed something. ``resulting_state``: what the record must become."""

    def __init__(self, cause: RuntimeManagerError, resulting_state: Result) -> None:
        super().__init__(cause.message)
        self.code = cause.code
        self.resulting_state = resulting_state


class Timeline:
    """The steps of an operation with start time, duration and error, for operators; earlier attempts come first."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self.steps = list(steps)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the block as one step; the text of an exception is recorded, and the exception is raised."""
        started_at = to_rfc3339(timezone.now(), timespec="milliseconds")
        entry: dict[str, Any] = {"name": name, "started_at": started_at, "duration_ms": None, "error": ""}
        self.steps = _bounded([*self.steps, entry])
        started = time.monotonic()
        try:
            yield
        except Exception as error:
            entry["error"] = str(error)
            raise
        finally:
            entry["duration_ms"] = round((time.monotonic() - started) * 1000)

    def has(self, *names: str) -> bool:
        """Whether a step of one of these names was started, in this attempt or an earlier one."""
        return any(step["name"] in names for step in self.steps)

    def last_error_before(self, name: str) -> str:
        """The error of the last failed step before the first one of this name; empty if there is none."""
        error = ""
        for step in self.steps:
            if step["name"] == name:
                break
            error = step["error"] or error
        return error


class Attempt:
    """What an action works with. It may read freely; every change outside the database is a ``write_step``."""

    def __init__(
        self, claim: Claim, *, runtime: Runtime | None, containers: DockerPort, policy: ContainerPolicy
    ) -> None:
        self.claim = claim
        self.operation = claim.operation
        self.game_id = claim.operation.game_id
        self.container_name = container_name(self.game_id)
        self.runtime = runtime
        self.containers = containers
        self.policy = policy
        self.timeline = Timeline(self.operation.steps)
        self.has_written = False
        self.notes: list[str] = []

    def require_record(self) -> Runtime:
        """The record of the game. Raises RuntimeNotFoundError if there is none."""
        if self.runtime is None:
            message = f"game {self.game_id} has no record: it was never started here; start it first"
            raise RuntimeNotFoundError(message)
        return self.runtime

    def require_not_removed(self) -> Runtime:
        """The record of the game. Raises ConflictError if the game is removed, RuntimeNotFoundError without record."""
        record = self.require_record()
        if record.status == RuntimeStatus.REMOVED:
            message = f"game {self.game_id} is removed; start it to have a container again"
            raise ConflictError(message)
        return record

    def note(self, text: str) -> None:
        """Add a note to the outcome of the operation. Idempotent."""
        if text not in self.notes:
            self.notes.append(text)

    def step(self, name: str) -> AbstractContextManager[None]:
        """A step that only reads."""
        return self.timeline.step(name)

    @contextmanager
    def write_step(self, name: str) -> Iterator[None]:
        """A step that changes something outside the database: it checks and extends the lease first.

        Raises LeaseLostError, with nothing done, if another worker owns the operation now.
        """
        with self.step(name):
            claims.renew(self.claim, steps=self.timeline.steps, container_id=self.operation.container_id)
            self.has_written = True
            yield

    def create_step(self) -> AbstractContextManager[None]:
        """The step that creates a container.

        Creating right after a fresh claim skips the lease check: the unique container name already prevents
        duplicates. Starting the container does check, because a process that was suspended must not start a game
        stopped in the meantime.
        """
        if self.has_written or not self.claim.is_fresh:
            return self.write_step("create")
        self.has_written = True
        return self.step("create")

    def restored_at(self, record: Runtime) -> datetime | None:
        """When the database was restored, if the record is from the backup and was not compared with Docker since.

        What happened before that time is not reported, because RTM has done or reported it already.
        """
        argument = self.operation.arguments.get("restored_at")
        restored = datetime.fromisoformat(argument) if argument else database_restore.restored_at()
        return restored if database_restore.is_from_before(record, restored) else None

    def owns(self, container: Container | None) -> bool:
        """Whether a container belongs to this game and this installation, so that it may be changed."""
        return container is not None and container.is_owned_by(self.policy.stack) and container.game_id == self.game_id

    def has_created(self, container: Container | None) -> bool:
        """Whether this operation created the container, in this attempt or an earlier one."""
        if container is None or not self.owns(container):
            return False
        return container_creators.has_created(self.operation, container)

    def creator_of(self, container: Container) -> Creator | None:
        """The finished operation that created the container; None if no recorded one did."""
        return container_creators.creators_of([container]).get(container.id)


def _bounded(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(steps) <= MAX_STEPS:
        return steps
    first_of_name = {step["name"]: index for index, step in reversed(list(enumerate(steps)))}
    dropped = next((index for index, step in enumerate(steps) if first_of_name[step["name"]] != index), 0)
    return steps[:dropped] + steps[dropped + 1 :]
