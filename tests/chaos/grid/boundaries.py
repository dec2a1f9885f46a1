"""The rows of the grid outside workers: how jobs are accepted and how results are published, on a real Redis."""

from typing import Any

from django.conf import settings
from django.db import connection

from operations.execution import no_ops
from operations.intake import accept_unless_busy
from operations.messages import job_parsers
from operations.reconcile import survey
from operations.states import OperationKind
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.streams.base import ReadResult
from tasks.streams.redis.client import GROUP
from tasks.streams.redis.jobs import RedisJobStreams
from tests.chaos.grid.cells import (
    DISAPPEARED,
    REMOVED,
    REST,
    RUNNING,
    STARTED,
    STOPPED,
    Kind,
    job,
    removed_by_hand,
    started,
    then,
    work,
)
from tests.chaos.grid.faults import watched_streams
from tests.chaos.grid.processes import ENGINE
from tests.chaos.grid.scenarios import World, publish, relay
from tests.servers.waiting import wait_for


class _EagerJobStreams(RedisJobStreams):
    """Reads without waiting: no new entry arrives while a cell runs."""

    def read_new(self, *, count: int, block_ms: int) -> ReadResult:
        del block_ms
        return super().read_new(count=count, block_ms=0)


def _bridge(leadership: str = "grid-bridge") -> JobBridge:
    parsers = job_parsers()
    streams = watched_streams(_EagerJobStreams(settings.RTMANAGER.streams_url, names=list(parsers)))
    return JobBridge(streams, parsers=parsers, leadership=LeaderElection(leadership))


def _write_jobs(world: World) -> None:
    """Write a job without an image, a start and a stop, one millisecond apart."""
    config = settings.RTMANAGER
    fields: dict[Any, Any] = {"game_id": world.game_id, "requested_at_ms": "1700000000000"}
    world.redis.xadd(config.start_jobs_stream, fields, id="1-0")
    world.redis.xadd(config.start_jobs_stream, {**fields, "image_ref": world.host.images[ENGINE]}, id="2-0")
    world.redis.xadd(config.stop_jobs_stream, {**fields, "reason": "cancelled"}, id="3-0")


def _accept_jobs(world: World) -> None:
    del world
    _bridge().step()


def _accept_jobs_concurrently(world: World) -> None:
    """A second bridge that still acts as leader. It is the same consumer, so Redis gives it all pending entries."""
    del world
    _bridge("grid-second-bridge").step()


def _accept_jobs_after(world: World) -> None:
    """The next leader: starts when the lock is free, and reads until the streams are empty."""
    bridge = _bridge()

    def nothing_is_left() -> bool:
        bridge.step()
        return all(_is_drained(world, stream) for stream in job_parsers())

    wait_for(nothing_is_left, what="the next bridge to accept every job")
    bridge.close()


def _is_drained(world: World, stream: str) -> bool:
    last = world.redis.xinfo_stream(stream)["last-generated-id"]
    groups = {one["name"]: one for one in world.redis.xinfo_groups(stream)}
    return GROUP in groups and (groups[GROUP]["pending"], groups[GROUP]["last-delivered-id"]) == (0, last)


def _notify_newest_first(world: World) -> None:
    world.run_newest_first()


def _publish(world: World) -> None:
    del world
    relay().step()


def _publish_concurrently(world: World) -> None:
    del world
    relay("grid-second-relay").step()


def _publish_next(world: World) -> None:
    del world
    publish()


def _lose_leadership(world: World) -> None:
    """End the sessions that hold the lock, as PostgreSQL does with a silent leader."""
    del world
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")


def _call(world: World) -> None:
    """A REST call, until its operation is accepted."""
    accept_unless_busy(world.requested[-1])


def _complete_no_ops(world: World) -> None:
    no_ops.complete_waiting([world.game_id])


def _reconcile(world: World) -> None:
    del world
    survey.reconcile_all()


BOUNDARIES = (
    Kind(
        name="bridge",
        meaning="an invalid job has a result and a dead letter; a start and a stop are accepted in this order",
        prepare=_write_jobs,
        action=_accept_jobs,
        repeat=_accept_jobs_concurrently,
        lose_ownership=_lose_leadership,
        successor=_accept_jobs_after,
        pauses_at="insert operation",
        follow_up=then(_accept_jobs_after, _notify_newest_first),
        after=STOPPED,
        health_events=(STARTED,),
        results=("invalid_request", "", ""),
        dead_letters=1,
        operations=(OperationKind.START, OperationKind.STOP),
    ),
    Kind(
        name="REST call",
        meaning="one operation per key, also for repeated requests",
        before=RUNNING,
        prepare=then(started, lambda world: world.request(OperationKind.RESTART, source=REST)),
        action=_call,
        repeat=_call,
        lose_ownership=None,
        follow_up=_call,
        after=RUNNING,
        health_events=(STARTED, STARTED),
        results=("",),
        operations=(OperationKind.START, OperationKind.RESTART),
    ),
    Kind(
        name="no-ops",
        meaning="two starts of a running game are completed together; then the stop behind them runs",
        before=RUNNING,
        prepare=then(
            started,
            job(OperationKind.START, image=ENGINE),
            job(OperationKind.START, image=ENGINE),
            job(OperationKind.STOP),
        ),
        action=_complete_no_ops,
        repeat=_complete_no_ops,
        lose_ownership=None,
        follow_up=_notify_newest_first,
        after=STOPPED,
        health_events=(STARTED,),
        results=("", "replay_no_op", "replay_no_op", ""),
        operations=(OperationKind.START, OperationKind.START, OperationKind.START, OperationKind.STOP),
    ),
    Kind(
        name="reconcile pass",
        meaning="one repair per drift",
        before=RUNNING,
        prepare=removed_by_hand,
        action=_reconcile,
        repeat=_reconcile,
        lose_ownership=None,
        follow_up=_reconcile,
        after=REMOVED,
        health_events=(STARTED, DISAPPEARED),
        results=("",),
        operations=(OperationKind.START, OperationKind.RECONCILE_DISPOSE),
    ),
    Kind(
        name="relay",
        meaning="result and event are published once",
        prepare=then(job(OperationKind.START, image=ENGINE), work),
        action=_publish,
        repeat=_publish_concurrently,
        lose_ownership=_lose_leadership,
        successor=_publish_next,
        pauses_at="publish_once",
        after=RUNNING,
        health_events=(STARTED,),
        results=("",),
        operations=(OperationKind.START,),
    ),
)
