"""What may be on record of one game and stand in Docker under its label, as numbers: a number is a cheap case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from django.utils import timezone
from hypothesis import strategies as st

from operations.execution.container_creators import Creator
from operations.reconcile.plan import Recorded
from operations.states import OperationKind
from runtimes.container_spec import LABEL_GAME_ID, LABEL_JOB_KEY, LABEL_OWNER, LABEL_STACK, OWNER
from runtimes.containers.base import Container, ContainerState
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.properties.simulation import GAME, NEW, STACK, Bench

# What the labels of a container say: nothing; that it is of a failed start or a failed restart, which recorded it, or
# which recorded another one, so that this is a copy; that it is of a start that succeeded and recorded it.
HAND_MADE, FAILED_START, FAILED_RESTART, COPY, STARTED = "", "start", "restart", "copy", "started"
_MAKERS = {
    FAILED_START: Creator(7, OperationKind.START, has_failed=True, container_id="c"),
    FAILED_RESTART: Creator(8, OperationKind.RESTART, has_failed=True, container_id="c"),
    COPY: Creator(9, OperationKind.START, has_failed=True, container_id="another"),
    STARTED: Creator(10, OperationKind.START, has_failed=False, container_id="c"),
}
FENCE = 5
_SLOTS = 3
# The recorded container is that of the first slot, or one that no engine has.
_RECORDS: list[tuple[RuntimeStatus, str | None] | None] = [
    None,
    (RuntimeStatus.REMOVED, None),
    *product([RuntimeStatus.RUNNING, RuntimeStatus.STOPPED], ["c0", "gone"]),
]
_PRESENT = list(product(ContainerState, [HAND_MADE, *_MAKERS], [STACK, "another"]))
_CHOICES = len(_PRESENT) + 1
COUNT = len(_RECORDS) * _CHOICES**_SLOTS
COUNT_WITH_ONE_CONTAINER = len(_RECORDS) * _CHOICES


@dataclass(frozen=True)
class World:
    """The record of one game, if it has one, and the containers with its label, ours and others'."""

    record: tuple[RuntimeStatus, str | None] | None
    containers: Sequence[Container]

    def makers(self) -> dict[str, Creator]:
        """By container id, as the reconciler reads them."""
        said = {one.id: _MAKERS.get(one.job_key) for one in self.containers}
        return {
            container_id: replace(maker, container_id=container_id if maker.container_id == "c" else "another")
            for container_id, maker in said.items()
            if maker is not None
        }

    def left_behind(self) -> set[str]:
        """The containers that a repair may remove."""
        makers = self.makers()
        return {one.id for one in self.containers if one.id in makers and makers[one.id].left_behind(one)}

    def recorded(self, game_id: str = GAME) -> dict[str, Recorded]:
        """As the reconciler reads it."""
        if self.record is None:
            return {}
        status, container_id = self.record
        return {game_id: Recorded(game_id, status, container_id, FENCE)}

    def bench(self) -> Bench:
        """The same, where operations can be worked on."""
        bench = Bench()
        bench.makers_elsewhere = self.makers()
        bench.engine.containers.update({one.id: one for one in self.containers})
        if self.record is not None:
            now = timezone.now()
            bench.record = Runtime(
                game_id=GAME,
                status=self.record[0],
                current_container_id=self.record[1],
                current_image_ref=NEW,
                fence=FENCE,
                last_op_at=now,
                created_at=now,
            )
        return bench


def world(number: int, *, game_id: str = GAME) -> World:
    """The world of this number."""
    number, record = divmod(number, len(_RECORDS))
    containers = []
    for slot in range(_SLOTS):
        number, choice = divmod(number, _CHOICES)
        if choice:
            containers.append(_container(slot, choice - 1, game_id=game_id))
    return World(_RECORDS[record], containers)


def _container(slot: int, choice: int, *, game_id: str) -> Container:
    state, origin, stack = _PRESENT[choice]
    labels = {LABEL_OWNER: OWNER, LABEL_STACK: stack, LABEL_GAME_ID: game_id, LABEL_JOB_KEY: origin}
    # Names are unique in Docker; the first slot has the one that the game's container is made under.
    name = f"galaxy-game-{game_id}" + (f"-{slot}" if slot else "")
    return Container(f"{game_id}-c{slot}" if game_id != GAME else f"c{slot}", name, state, labels=labels, image_ref=NEW)


numbers = st.integers(0, COUNT - 1)
worlds = numbers.map(world)
