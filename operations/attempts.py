"""One attempt at an operation: all that an action may see and touch, with every step timed and fenced."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from operations import claims
from operations.claims import Claim
from operations.events import HealthEvent
from operations.models import Operation
from operations.states import OpKind
from operations.timeline import Timeline
from runtimes.containers.base import Container, Containers
from runtimes.exceptions import RuntimeManagerError
from runtimes.models import Runtime
from runtimes.specs import ContainerPolicy, container_name
from runtimes.states import RuntimeStatus

# What a label says may be anything.
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a successful action found or did. ``status`` None leaves the record as it is: a replay, unless ``acted``."""

    status: RuntimeStatus | None = None
    acted: bool = False
    note: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    container_id: str = ""
    image_ref: str = ""
    health: tuple[HealthEvent, ...] = ()

    @property
    def is_replay(self) -> bool:
        """Whether there was nothing to do."""
        return self.status is None and not self.acted


class FailedWithAftermathError(RuntimeManagerError):
    """An action failed after it had changed something: the record must become what ``aftermath`` says."""

    def __init__(self, cause: RuntimeManagerError, aftermath: Result) -> None:
        super().__init__(cause.message)
        self.code = cause.code
        self.aftermath = aftermath


class Attempt:
    """The hands of an action. Reading is free; whatever changes the outside goes through ``mutation``."""

    def __init__(
        self, claim: Claim, *, runtime: Runtime | None, containers: Containers, policy: ContainerPolicy
    ) -> None:
        self.claim = claim
        self.runtime = runtime
        self.containers = containers
        self.policy = policy
        self.timeline = Timeline(claim.operation.steps)
        self.has_mutated = False

    @property
    def operation(self) -> Operation:
        """What is to be done."""
        return self.claim.operation

    @property
    def game_id(self) -> str:
        """To whom."""
        return self.operation.game_id

    @property
    def container_name(self) -> str:
        """The name of the game's container."""
        return container_name(self.game_id)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that only looks."""
        with self.timeline.step(name):
            yield

    @contextmanager
    def mutation(self, name: str) -> Iterator[None]:
        """A step that changes something outside: the lease is checked and extended right before it.

        Raises LeaseLostError, with nothing done, when somebody else owns the operation by now.
        """
        with self.timeline.step(name):
            claims.renew(self.claim, steps=self.timeline.steps)
            self.has_mutated = True
            yield

    @contextmanager
    def creation(self) -> Iterator[None]:
        """The step that makes a container. As the first change under a young claim it needs no look at the lease,
        which could only say what the claim has said just now; what two would make at once, the name keeps apart. Its
        start does look: whoever was frozen in between, clock and all, must not bring up what was stopped meanwhile.
        """
        if self.has_mutated or not self.claim.is_young:
            with self.mutation("create"):
                yield
            return
        with self.timeline.step("create"):
            self.has_mutated = True
            yield

    def owns(self, container: Container | None) -> bool:
        """Whether a container belongs to this game and this installation, so that it may be touched."""
        return (
            container is not None
            and container.is_owned_by(self.policy.stack)
            and container.game_id == self.game_id
        )  # fmt: skip

    def made(self, container: Container | None) -> bool:
        """Whether this very operation created the container, in this attempt or one that died."""
        return self.owns(container) and container is not None and container.operation_id == str(self.operation.pk)

    def maker_of(self, container: Container) -> OpKind | None:
        """The kind of the operation of this game that created the container; None when none on record did."""
        if not _NUMBER.fullmatch(container.operation_id):
            return None
        kinds = Operation.objects.filter(pk=container.operation_id, game_id=self.game_id)
        found = kinds.values_list("op_kind", flat=True).first()
        return OpKind(found) if found else None
