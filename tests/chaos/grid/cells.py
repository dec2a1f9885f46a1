"""Every kind of operation: what was before, what is asked for, and what must be true however it was broken."""

from collections.abc import Callable
from dataclasses import dataclass

from operations import reconciler, runner
from operations.models import Operation
from operations.states import OpKind, OpSource, OpState
from runtimes.containers import connect
from runtimes.states import RuntimeStatus
from tests.chaos.grid.hosts import CRASHING, ENGINE, NEXT_ENGINE
from tests.chaos.grid.worlds import World

Deed = Callable[[World], None]

REST = OpSource.ADMIN_REST
STARTED, EXITED, DISAPPEARED = "container_started", "container_exited", "container_disappeared"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is true of a game: its record and, hence, its container; ``image`` names what that runs."""

    status: RuntimeStatus | None
    image: str = ""


NOTHING = Wanted(status=None)
RUNNING = Wanted(status=RuntimeStatus.RUNNING, image=ENGINE)
STOPPED = Wanted(status=RuntimeStatus.STOPPED, image=ENGINE)
REMOVED = Wanted(status=RuntimeStatus.REMOVED)


def _nothing(world: World) -> None:
    """Nobody did anything before."""


def work(world: World) -> None:
    runner.run(world.open_operations()[0].pk)


def _hints_again(world: World) -> None:
    world.run_newest_first()


def _lose_lease(world: World) -> None:
    world.lose_lease()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One row of the grid.

    ``deed`` is what is broken; ``again`` is what a second process does that gets the same work in the middle of it;
    ``lose`` takes the first one's right away, None where there is none; ``succeed`` is what its successor does, until
    ``pauses_at`` if the two are to work side by side; ``mend`` is what others do afterwards, before the recovery that
    is the same for all. ``told`` are the health events of the game, ``may_be_told`` those that are lost when the
    process that saw them dies. ``answers`` are the results on the stream, as error codes.
    """

    name: str
    meaning: str
    before: Wanted = NOTHING
    after: Wanted
    prepare: Deed = _nothing
    deed: Deed = work
    again: Deed = _hints_again
    lose: Deed | None = _lose_lease
    succeed: Deed = _hints_again
    pauses_at: str = "claim"
    mend: Deed = _nothing
    error_code: str = ""
    told: tuple[str, ...] = ()
    may_be_told: frozenset[str] = frozenset()
    answers: tuple[str, ...] = ()
    intents: int = 0
    dead_letters: int = 0
    operations: tuple[OpKind, ...]


def started(world: World) -> None:
    world.start(ENGINE)


def _stopped(world: World) -> None:
    world.start(ENGINE)
    world.stop()


def _died(world: World) -> None:
    world.host.end(world.start(ENGINE).id)


def vanished(world: World) -> None:
    connect().remove(world.start(ENGINE).id)


def _left_over(world: World) -> None:
    world.ask(OpKind.START, image_ref=world.host.images[CRASHING])
    work(world)
    world.place(NEXT_ENGINE, made_by=Operation.objects.get(state=OpState.FINISHED))


def then(first: Deed, *rest: Deed) -> Deed:
    def all_of_them(world: World) -> None:
        for one in (first, *rest):
            one(world)

    return all_of_them


def job(op_kind: OpKind, *, source: OpSource = OpSource.LOBBY_STREAM, image: str = "", **arguments: object) -> Deed:
    def ask(world: World) -> None:
        more = {"image_ref": world.host.images[image]} if image else {}
        world.ask(op_kind, source=source, **more, **arguments)

    return ask


def _reconcile(world: World) -> None:
    del world
    reconciler.reconcile_all()


WORK = (
    Kind(
        name="start",
        meaning="running; the image is pulled first",
        prepare=job(OpKind.START, image=ENGINE),
        after=RUNNING,
        told=(STARTED,),
        answers=("",),
        operations=(OpKind.START,),
    ),
    Kind(
        name="start that fails",
        meaning="no record, no container, one notification: the engine dies at once",
        prepare=job(OpKind.START, image=CRASHING),
        after=NOTHING,
        error_code="container_start_failed",
        answers=("container_start_failed",),
        intents=1,
        operations=(OpKind.START,),
    ),
    Kind(
        name="start without running",
        meaning="`no_start`: a container that never ran",
        prepare=job(OpKind.START, source=REST, image=ENGINE, no_start=True),
        after=STOPPED,
        operations=(OpKind.START,),
    ),
    Kind(
        name="start over a dead container",
        meaning="a new container in the place of one that had ended by itself",
        before=RUNNING,
        prepare=then(_died, job(OpKind.START, image=ENGINE)),
        after=RUNNING,
        told=(STARTED, EXITED, STARTED),
        may_be_told=frozenset({EXITED}),
        answers=("", ""),
        operations=(OpKind.START, OpKind.START),
    ),
    Kind(
        name="start, then stop",
        meaning="two jobs in line: both done, in this order, whichever is hinted",
        prepare=then(job(OpKind.START, image=ENGINE), job(OpKind.STOP, reason="cancelled")),
        after=STOPPED,
        told=(STARTED,),
        answers=("", ""),
        operations=(OpKind.START, OpKind.STOP),
    ),
    Kind(
        name="stop",
        meaning="stopped, the container kept",
        before=RUNNING,
        prepare=then(started, job(OpKind.STOP, reason="cancelled")),
        after=STOPPED,
        told=(STARTED,),
        answers=("", ""),
        operations=(OpKind.START, OpKind.STOP),
    ),
    Kind(
        name="restart",
        meaning="a new container of the same image",
        before=RUNNING,
        prepare=then(started, job(OpKind.RESTART, source=REST)),
        after=RUNNING,
        told=(STARTED, STARTED),
        answers=("",),
        operations=(OpKind.START, OpKind.RESTART),
    ),
    Kind(
        name="patch",
        meaning="running on the new image",
        before=RUNNING,
        prepare=then(started, job(OpKind.PATCH, source=REST, image=NEXT_ENGINE)),
        after=Wanted(status=RuntimeStatus.RUNNING, image=NEXT_ENGINE),
        told=(STARTED, STARTED),
        answers=("",),
        operations=(OpKind.START, OpKind.PATCH),
    ),
    Kind(
        name="patch that is reverted",
        meaning="a failure, running on the old image again: the new engine dies at once",
        before=RUNNING,
        prepare=then(started, job(OpKind.PATCH, source=REST, image=CRASHING)),
        after=RUNNING,
        error_code="container_start_failed",
        told=(STARTED, STARTED),
        answers=("",),
        operations=(OpKind.START, OpKind.PATCH),
    ),
    Kind(
        name="cleanup_container",
        meaning="removed, no container",
        before=STOPPED,
        prepare=then(_stopped, job(OpKind.CLEANUP_CONTAINER, source=REST)),
        after=REMOVED,
        told=(STARTED,),
        answers=("", ""),
        operations=(OpKind.START, OpKind.STOP, OpKind.CLEANUP_CONTAINER),
    ),
    Kind(
        name="reconcile_adopt",
        meaning="running, the container made by hand on record",
        prepare=then(lambda world: world.place(NEXT_ENGINE), _reconcile),
        after=Wanted(status=RuntimeStatus.RUNNING, image=NEXT_ENGINE),
        operations=(OpKind.RECONCILE_ADOPT,),
    ),
    Kind(
        name="reconcile_dispose, gone",
        meaning="removed; the loss told once",
        before=RUNNING,
        prepare=then(vanished, _reconcile),
        after=REMOVED,
        told=(STARTED, DISAPPEARED),
        answers=("",),
        operations=(OpKind.START, OpKind.RECONCILE_DISPOSE),
    ),
    Kind(
        name="reconcile_dispose, left over",
        meaning="no container of a start that failed",
        prepare=then(_left_over, _reconcile),
        after=NOTHING,
        answers=("container_start_failed",),
        intents=1,
        operations=(OpKind.START, OpKind.RECONCILE_DISPOSE),
    ),
    Kind(
        name="reconcile_exit",
        meaning="stopped; the end told once",
        before=RUNNING,
        prepare=then(_died, _reconcile),
        after=STOPPED,
        told=(STARTED, EXITED),
        answers=("",),
        operations=(OpKind.START, OpKind.RECONCILE_EXIT),
    ),
)
