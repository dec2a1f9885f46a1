"""What may be on record of one game and stand in Docker under its label, as numbers: a number is a cheap case."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from django.utils import timezone
from hypothesis import strategies as st

from operations.reconciler import Recorded
from runtimes.containers.base import Container, ContainerState
from runtimes.models import Runtime
from runtimes.specs import LABEL_GAME_ID, LABEL_OPERATION_ID, LABEL_OWNER, LABEL_STACK, OWNER
from runtimes.states import RuntimeStatus
from tests.properties.bench import GAME, NEW, STACK, Bench

# Two operations that have ended: a start, and a restart that was given up.
ENDED, REPLACED = "7", "8"
FENCE = 5
_SLOTS = 3
# The recorded container is that of the first slot, or one that no engine has.
_RECORDS: list[tuple[RuntimeStatus, str | None] | None] = [
    None,
    (RuntimeStatus.REMOVED, None),
    *product([RuntimeStatus.RUNNING, RuntimeStatus.STOPPED], ["c0", "gone"]),
]
_PRESENT = list(product(ContainerState, ["", ENDED, REPLACED], [STACK, "another"]))
_CHOICES = len(_PRESENT) + 1
COUNT = len(_RECORDS) * _CHOICES**_SLOTS
COUNT_WITH_ONE_CONTAINER = len(_RECORDS) * _CHOICES


@dataclass(frozen=True)
class World:
    """The record of one game, if it has one, and the containers with its label, ours and others'."""

    record: tuple[RuntimeStatus, str | None] | None
    containers: Sequence[Container]

    def recorded(self, game_id: str = GAME) -> dict[str, Recorded]:
        """As the reconciler reads it."""
        if self.record is None:
            return {}
        status, container_id = self.record
        return {game_id: Recorded(game_id, status, container_id, FENCE)}

    def bench(self) -> Bench:
        """The same, where operations can be worked on."""
        bench = Bench()
        bench.finished_elsewhere = frozenset({(GAME, ENDED), (GAME, REPLACED)})
        bench.replaced_elsewhere = frozenset({REPLACED})
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
    state, operation_id, stack = _PRESENT[choice]
    labels = {LABEL_OWNER: OWNER, LABEL_STACK: stack, LABEL_GAME_ID: game_id, LABEL_OPERATION_ID: operation_id}
    # Names are unique in Docker; the first slot has the one that the game's container is made under.
    name = f"galaxy-game-{game_id}" + (f"-{slot}" if slot else "")
    return Container(f"c{slot}", name, state, labels=labels, image_ref=NEW)


numbers = st.integers(0, COUNT - 1)
worlds = numbers.map(world)
