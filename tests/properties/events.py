"""What may happen to one game, in any order: requests, late notifications, faults, and actions of operators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from operations.models import Operation
from operations.states import OperationKind
from runtimes.container_spec import LABEL_JOB_KEY, LABEL_STACK, build_spec
from runtimes.containers.base import ContainersUnavailableError
from tests.properties.simulation import DYING, GAME, IMAGES, NEW, OLD, POLICY, Bench, WorkerKilledError

MISSING = "engine:1.0.9"
AWAY = ContainersUnavailableError("no answer")

ASKED: Sequence[tuple[OperationKind, dict[str, Any]]] = [
    (OperationKind.STOP, {"reason": "cancelled"}),
    (OperationKind.START, {"image_ref": OLD}),
    (OperationKind.START, {"image_ref": NEW}),
    (OperationKind.START, {"image_ref": DYING}),
    (OperationKind.START, {"image_ref": MISSING}),
    (OperationKind.START, {"image_ref": OLD, "no_start": True}),
    (OperationKind.RESTART, {}),
    (OperationKind.PATCH, {"image_ref": NEW}),
    (OperationKind.PATCH, {"image_ref": DYING}),
    (OperationKind.CLEANUP_CONTAINER, {}),
]
COPY_NAME = "a-copy"
# No fault, or one of four at one of the first sixteen moments of a worker's way.
_FAULTS = 4
_MOMENTS = 16

Move = Callable[[Bench], None]


@dataclass(frozen=True)
class Requested:
    """An operation is asked for; a worker follows the hint of the first open one and meets the fault."""

    kind: int
    fault: int

    def __call__(self, bench: Bench) -> None:
        bench.ask(*ASKED[self.kind])
        meet(bench, self.fault)


@dataclass(frozen=True)
class Late:
    """The hint of some earlier operation arrives, perhaps again."""

    which: int
    fault: int

    def __call__(self, bench: Bench) -> None:
        if bench.operations:
            meet(bench, self.fault, bench.operations[self.which % len(bench.operations)])


def meet(bench: Bench, fault: int, operation: Operation | None = None) -> None:
    """Let a worker try this operation, else the first open one, while this goes wrong on the way."""
    head = operation or next((one for one in bench.operations if one.is_open), None)
    if head is not None:
        moment, kind = divmod(fault, _FAULTS)
        bench.engine.break_at(moment, lambda: _happen(bench, kind))
        bench.work(head)
        bench.engine.break_at(0, lambda: None)


def _happen(bench: Bench, kind: int) -> None:
    if kind == 0:
        raise WorkerKilledError
    if kind == 1:
        raise AWAY
    # The worker is frozen past its lease: another one does all that is left, and then the first one wakes up.
    bench.drain()
    if kind == 3:
        bench.ask(OperationKind.STOP, {"reason": "cancelled"})
        bench.drain()


def exits(bench: Bench) -> None:
    """The engine dies."""
    for one in bench.made_and_alive():
        bench.engine.exit(one.id, exit_code=1)


def vanishes(bench: Bench) -> None:
    """An operator removes the container."""
    for one in bench.owned():
        bench.engine.remove_externally(one.id)


def started_by_hand(bench: Bench) -> None:
    """An operator starts the game's container, if it is the only one."""
    if len(bench.owned()) == 1 and bench.owned()[0].id in bench.engine.image_of:
        bench.engine.start(bench.owned()[0])


def is_renamed(bench: Bench) -> None:
    """An operator renames the game's container, if the name is free."""
    if bench.owned() and not any(one.name == "kept" for one in bench.engine.containers.values()):
        bench.engine.containers[bench.owned()[0].id] = replace(bench.owned()[0], name="kept")


def foreign_comes(bench: Bench) -> None:
    """A foreign container takes the name, if it is free."""
    spec = build_spec(
        POLICY,
        game_id=GAME,
        image_ref=OLD,
        limits=POLICY.default_limits,
        operation_id="",
        fence=0,
        started_at_ms=0,
    )
    if not any(one.name == spec.name for one in bench.engine.containers.values()):
        labels = {**spec.labels, LABEL_STACK: "another", LABEL_JOB_KEY: "job:1000"}
        bench.engine.start(bench.engine.containers[bench.engine.add(replace(spec, labels=labels), image=IMAGES[OLD])])


def recreated(bench: Bench) -> None:
    """An updater replaces the game's container by another one with the same name and labels."""
    for one in bench.made_and_alive():
        spec, image = bench.engine.specs[one.id], bench.engine.image_of[one.id]
        bench.engine.remove_externally(one.id)
        bench.engine.start(bench.engine.containers[bench.engine.add(replace(spec, labels=one.labels), image=image)])


def copied(bench: Bench) -> None:
    """An operator runs a copy of the game's container with all its labels, under another name."""
    for one in bench.made_and_alive():
        spec, image = bench.engine.specs[one.id], bench.engine.image_of[one.id]
        if not any(each.name == COPY_NAME for each in bench.owned()):
            copy_id = bench.engine.add(replace(spec, name=COPY_NAME, labels=one.labels), image=image)
            bench.engine.start(bench.engine.containers[copy_id])


def reconciles(bench: Bench) -> None:
    """The periodic look."""
    bench.reconcile()


OUTSIDE: Sequence[Move] = [exits, vanishes, started_by_hand, is_renamed, foreign_comes, recreated, copied, reconciles]

_faults = st.integers(0, _FAULTS * _MOMENTS * 2).map(lambda one: max(0, one - _FAULTS * _MOMENTS))
_asked = st.builds(Requested, st.integers(0, len(ASKED) - 1), _faults)
_late = st.builds(Late, st.integers(0, 7), _faults)

ours = st.lists(_asked | _late, min_size=1, max_size=5)
anything = st.lists(_asked | _asked | _late | st.sampled_from(OUTSIDE), min_size=1, max_size=6)
