"""The rows of the grid that are no worker's: how jobs come in and how answers go out, on a real Redis."""

from typing import Any

from django.conf import settings
from django.db import connection

from operations import reconciler, replays
from operations.intake import accept_unless_busy
from operations.states import OpKind
from tasks.bridge import JobBridge, job_parsers
from tasks.leadership import Leadership
from tasks.streams.base import Delivery
from tasks.streams.redis import GROUP, RedisJobStreams
from tests.chaos.grid.cells import (
    DISAPPEARED,
    REMOVED,
    REST,
    RUNNING,
    STARTED,
    STOPPED,
    Kind,
    job,
    started,
    then,
    vanished,
    work,
)
from tests.chaos.grid.faults import watched_streams
from tests.chaos.grid.hosts import ENGINE
from tests.chaos.grid.worlds import World, publish, relay
from tests.servers.waiting import wait_for


class _EagerJobStreams(RedisJobStreams):
    """Looks without waiting: nothing new comes while a cell runs."""

    def read_new(self, *, count: int, block_ms: int) -> Delivery:
        del block_ms
        return super().read_new(count=count, block_ms=0)


def _bridge(leadership: str = "grid-bridge") -> JobBridge:
    parsers = job_parsers()
    streams = watched_streams(_EagerJobStreams(settings.RTMANAGER.streams_url, names=list(parsers)))
    return JobBridge(streams, parsers=parsers, leadership=Leadership(leadership))


def _write_jobs(world: World) -> None:
    """A job without an image, a start and a stop, each a millisecond after the other."""
    config = settings.RTMANAGER
    fields: dict[Any, Any] = {"game_id": world.game_id, "requested_at_ms": "1700000000000"}
    world.redis.xadd(config.start_jobs_stream, fields, id="1-0")
    world.redis.xadd(config.start_jobs_stream, {**fields, "image_ref": world.host.images[ENGINE]}, id="2-0")
    world.redis.xadd(config.stop_jobs_stream, {**fields, "reason": "cancelled"}, id="3-0")


def _take_over(world: World) -> None:
    del world
    _bridge().step()


def _take_over_beside(world: World) -> None:
    """One that still believes to lead: Redis gives it, as the same consumer, all that is pending."""
    del world
    _bridge("grid-second-bridge").step()


def _take_over_next(world: World) -> None:
    """The successor, as soon as the lock is free and until nothing is left in the streams."""
    bridge = _bridge()

    def nothing_is_left() -> bool:
        bridge.step()
        return all(_is_drained(world, stream) for stream in job_parsers())

    wait_for(nothing_is_left, what="the next bridge to take over everything")
    bridge.close()


def _is_drained(world: World, stream: str) -> bool:
    last = world.redis.xinfo_stream(stream)["last-generated-id"]
    groups = {one["name"]: one for one in world.redis.xinfo_groups(stream)}
    return GROUP in groups and (groups[GROUP]["pending"], groups[GROUP]["last-delivered-id"]) == (0, last)


def _hint_newest_first(world: World) -> None:
    world.run_newest_first()


def _publish(world: World) -> None:
    del world
    relay().step()


def _publish_beside(world: World) -> None:
    del world
    relay("grid-second-relay").step()


def _publish_next(world: World) -> None:
    del world
    publish()


def _lose_leadership(world: World) -> None:
    """What the server does to a leader that has been silent for too long."""
    del world
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")


def _call(world: World) -> None:
    """A call over REST, up to its operation."""
    accept_unless_busy(world.asked[-1])


def _answer_replays(world: World) -> None:
    replays.answer([world.game_id])


def _call_in_vain(world: World) -> None:
    """A call over REST that finds nothing to do, as its view takes it up."""
    if replays.answer_call(world.asked[-1]) is None:
        accept_unless_busy(world.asked[-1])


def _reconcile(world: World) -> None:
    del world
    reconciler.reconcile_all()


EDGES = (
    Kind(
        name="bridge",
        meaning="a bad job answered and kept as dead letter, a start and a stop on record in this order",
        prepare=_write_jobs,
        deed=_take_over,
        again=_take_over_beside,
        lose=_lose_leadership,
        succeed=_take_over_next,
        pauses_at="insert operation",
        mend=then(_take_over_next, _hint_newest_first),
        after=STOPPED,
        told=(STARTED,),
        answers=("invalid_request", "", ""),
        dead_letters=1,
        operations=(OpKind.START, OpKind.STOP),
    ),
    Kind(
        name="REST call",
        meaning="one operation for one key, however often it is asked",
        before=RUNNING,
        prepare=then(started, lambda world: world.request(OpKind.RESTART, source=REST)),
        deed=_call,
        again=_call,
        lose=None,
        mend=_call,
        after=RUNNING,
        told=(STARTED, STARTED),
        answers=("",),
        operations=(OpKind.START, OpKind.RESTART),
    ),
    Kind(
        name="REST call in vain",
        meaning="a start of what runs: one operation on record as a replay",
        before=RUNNING,
        prepare=then(
            started, lambda world: world.request(OpKind.START, source=REST, image_ref=world.host.images[ENGINE])
        ),
        deed=_call_in_vain,
        again=_call_in_vain,
        lose=None,
        mend=_call_in_vain,
        after=RUNNING,
        error_code="replay_no_op",
        told=(STARTED,),
        answers=("",),
        operations=(OpKind.START, OpKind.START),
    ),
    Kind(
        name="replays",
        meaning="two starts of what runs closed together, the stop behind them done after",
        before=RUNNING,
        prepare=then(started, job(OpKind.START, image=ENGINE), job(OpKind.START, image=ENGINE), job(OpKind.STOP)),
        deed=_answer_replays,
        again=_answer_replays,
        lose=None,
        mend=_hint_newest_first,
        after=STOPPED,
        told=(STARTED,),
        answers=("", "replay_no_op", "replay_no_op", ""),
        operations=(OpKind.START, OpKind.START, OpKind.START, OpKind.STOP),
    ),
    Kind(
        name="reconcile round",
        meaning="one repair asked for one drift",
        before=RUNNING,
        prepare=vanished,
        deed=_reconcile,
        again=_reconcile,
        lose=None,
        mend=_reconcile,
        after=REMOVED,
        told=(STARTED, DISAPPEARED),
        answers=("",),
        operations=(OpKind.START, OpKind.RECONCILE_DISPOSE),
    ),
    Kind(
        name="relay",
        meaning="result and event on their streams, once",
        prepare=then(job(OpKind.START, image=ENGINE), work),
        deed=_publish,
        again=_publish_beside,
        lose=_lose_leadership,
        succeed=_publish_next,
        pauses_at="publish_once",
        after=RUNNING,
        told=(STARTED,),
        answers=("",),
        operations=(OpKind.START,),
    ),
)
