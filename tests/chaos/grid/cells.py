"""Every kind of operation: the state before, the request, and the expected state after any fault."""

from collections.abc import Callable
from dataclasses import dataclass

from operations import runner
from operations.models import Operation
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, OperationState
from runtimes.containers import connect
from runtimes.states import RuntimeStatus
from tests.chaos.grid.processes import CRASHING, ENGINE, NEXT_ENGINE
from tests.chaos.grid.scenarios import World

Action = Callable[[World], None]

REST = OperationSource.ADMIN_REST
STARTED, EXITED, DISAPPEARED = "container_started", "container_exited", "container_disappeared"


@dataclass(frozen=True, kw_only=True)
class ExpectedState:
    """Expected record and container of a game; ``image`` is the image that runs."""

    status: RuntimeStatus | None
    image: str = ""


NOTHING = ExpectedState(status=None)
RUNNING = ExpectedState(status=RuntimeStatus.RUNNING, image=ENGINE)
STOPPED = ExpectedState(status=RuntimeStatus.STOPPED, image=ENGINE)
REMOVED = ExpectedState(status=RuntimeStatus.REMOVED)


def _nothing(world: World) -> None:
    """Prepare nothing."""


def work(world: World) -> None:
    runner.run(world.open_operations()[0].pk)


def _notify_again(world: World) -> None:
    world.run_newest_first()


def _lose_lease(world: World) -> None:
    world.lose_lease()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One row of the grid.

    - ``action``: the work that a fault interrupts. ``repeat``: a second process does the same work meanwhile.
    - ``lose_ownership``: takes the lease or the leadership away; None if there is none. ``successor``: the work of the
      next owner, until ``pauses_at`` if both work side by side.
    - ``follow_up``: what other processes do afterwards, before the recovery that is the same for all kinds.
    - ``health_events``: the health events of the game. ``optional_events``: lost if the process that saw them dies.
    - ``results``: the job results on the stream, as error codes.
    """

    name: str
    meaning: str
    before: ExpectedState = NOTHING
    after: ExpectedState
    prepare: Action = _nothing
    action: Action = work
    repeat: Action = _notify_again
    lose_ownership: Action | None = _lose_lease
    successor: Action = _notify_again
    pauses_at: str = "claim"
    follow_up: Action = _nothing
    error_code: str = ""
    health_events: tuple[str, ...] = ()
    optional_events: frozenset[str] = frozenset()
    results: tuple[str, ...] = ()
    intents: int = 0
    dead_letters: int = 0
    operations: tuple[OperationKind, ...]


def started(world: World) -> None:
    world.start(ENGINE)


def _stopped(world: World) -> None:
    world.start(ENGINE)
    world.stop()


def _exited(world: World) -> None:
    world.host.end(world.start(ENGINE).id)


def removed_by_hand(world: World) -> None:
    connect().remove(world.start(ENGINE).id, grace_seconds=1)


def _left_over(world: World) -> None:
    world.record_request(OperationKind.START, image_ref=world.host.images[CRASHING])
    work(world)
    world.run_unrecorded(NEXT_ENGINE, made_by=Operation.objects.get(state=OperationState.FINISHED))


def then(first: Action, *rest: Action) -> Action:
    def all_of_them(world: World) -> None:
        for one in (first, *rest):
            one(world)

    return all_of_them


def job(
    op_kind: OperationKind,
    *,
    source: OperationSource = OperationSource.LOBBY_STREAM,
    image: str = "",
    **arguments: object,
) -> Action:
    def record_request(world: World) -> None:
        more = {"image_ref": world.host.images[image]} if image else {}
        world.record_request(op_kind, source=source, **more, **arguments)

    return record_request


def _reconcile(world: World) -> None:
    del world
    survey.reconcile_all()


WORK = (
    Kind(
        name="start",
        meaning="running; the image is pulled first",
        prepare=job(OperationKind.START, image=ENGINE),
        after=RUNNING,
        health_events=(STARTED,),
        results=("",),
        operations=(OperationKind.START,),
    ),
    Kind(
        name="start that fails",
        meaning="no record, no container, one notification: the engine exits at once",
        prepare=job(OperationKind.START, image=CRASHING),
        after=NOTHING,
        error_code="container_start_failed",
        results=("container_start_failed",),
        intents=1,
        operations=(OperationKind.START,),
    ),
    Kind(
        name="start without running",
        meaning="`no_start`: a container that never ran",
        prepare=job(OperationKind.START, source=REST, image=ENGINE, no_start=True),
        after=STOPPED,
        operations=(OperationKind.START,),
    ),
    Kind(
        name="start over an exited container",
        meaning="a new container replaces one that exited unexpectedly",
        before=RUNNING,
        prepare=then(_exited, job(OperationKind.START, image=ENGINE)),
        after=RUNNING,
        health_events=(STARTED, EXITED, STARTED),
        optional_events=frozenset({EXITED}),
        results=("", ""),
        operations=(OperationKind.START, OperationKind.START),
    ),
    Kind(
        name="start, then stop",
        meaning="two jobs of a game: both done, in this order, whichever is notified",
        prepare=then(job(OperationKind.START, image=ENGINE), job(OperationKind.STOP, reason="cancelled")),
        after=STOPPED,
        health_events=(STARTED,),
        results=("", ""),
        operations=(OperationKind.START, OperationKind.STOP),
    ),
    Kind(
        name="stop",
        meaning="stopped; the container is kept",
        before=RUNNING,
        prepare=then(started, job(OperationKind.STOP, reason="cancelled")),
        after=STOPPED,
        health_events=(STARTED,),
        results=("", ""),
        operations=(OperationKind.START, OperationKind.STOP),
    ),
    Kind(
        name="restart",
        meaning="a new container of the same image",
        before=RUNNING,
        prepare=then(started, job(OperationKind.RESTART, source=REST)),
        after=RUNNING,
        health_events=(STARTED, STARTED),
        results=("",),
        operations=(OperationKind.START, OperationKind.RESTART),
    ),
    Kind(
        name="patch",
        meaning="running on the new image",
        before=RUNNING,
        prepare=then(started, job(OperationKind.PATCH, source=REST, image=NEXT_ENGINE)),
        after=ExpectedState(status=RuntimeStatus.RUNNING, image=NEXT_ENGINE),
        health_events=(STARTED, STARTED),
        results=("",),
        operations=(OperationKind.START, OperationKind.PATCH),
    ),
    Kind(
        name="patch that is reverted",
        meaning="a failure, running on the old image again: the new engine exits at once",
        before=RUNNING,
        prepare=then(started, job(OperationKind.PATCH, source=REST, image=CRASHING)),
        after=RUNNING,
        error_code="container_start_failed",
        health_events=(STARTED, STARTED),
        results=("",),
        operations=(OperationKind.START, OperationKind.PATCH),
    ),
    Kind(
        name="cleanup_container",
        meaning="removed, no container",
        before=STOPPED,
        prepare=then(_stopped, job(OperationKind.CLEANUP_CONTAINER, source=REST)),
        after=REMOVED,
        health_events=(STARTED,),
        results=("", ""),
        operations=(OperationKind.START, OperationKind.STOP, OperationKind.CLEANUP_CONTAINER),
    ),
    Kind(
        name="reconcile_adopt",
        meaning="running; the container created by hand is on record",
        prepare=then(lambda world: world.run_unrecorded(NEXT_ENGINE), _reconcile),
        after=ExpectedState(status=RuntimeStatus.RUNNING, image=NEXT_ENGINE),
        operations=(OperationKind.RECONCILE_ADOPT,),
    ),
    Kind(
        name="reconcile_dispose, gone",
        meaning="removed; the loss reported once",
        before=RUNNING,
        prepare=then(removed_by_hand, _reconcile),
        after=REMOVED,
        health_events=(STARTED, DISAPPEARED),
        results=("",),
        operations=(OperationKind.START, OperationKind.RECONCILE_DISPOSE),
    ),
    Kind(
        name="reconcile_dispose, left over",
        meaning="no container of a start that failed",
        prepare=then(_left_over, _reconcile),
        after=NOTHING,
        results=("container_start_failed",),
        intents=1,
        operations=(OperationKind.START, OperationKind.RECONCILE_DISPOSE),
    ),
    Kind(
        name="reconcile_exit",
        meaning="stopped; the exit reported once",
        before=RUNNING,
        prepare=then(_exited, _reconcile),
        after=STOPPED,
        health_events=(STARTED, EXITED),
        results=("",),
        operations=(OperationKind.START, OperationKind.RECONCILE_EXIT),
    ),
)
