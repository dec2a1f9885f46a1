"""Jobs for which there is nothing to do, from the stream of jobs to that of results, next to null tasks of queues."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from bench.databases import database
from bench.figure import Figure, Goal, Series
from bench.fleet import fleet
from bench.ground import IMAGE, Ground, Grounds
from bench.rivals.celery_queue import CeleryQueue
from bench.rivals.dramatiq_queue import DramatiqQueue
from bench.rivals.procrastinate_queue import ProcrastinateQueue
from bench.rivals.queues import Queue, Serving, serving, socket_of
from bench.rivals.rq_queue import RqQueue
from bench.rounds import Contestant, interleave
from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import MARKER
from runtimes.exceptions import ErrorCode

OURS = "Runtime Manager, no-op starts"
_UNIT = "jobs/s"
_OF_CELERY, _OF_RQ = 0.6, 2.0
# The service has the first two: its streams, and its own Celery.
_CELERY, _RQ, _DRAMATIQ = 2, 3, 4


def measure(grounds: Grounds) -> Figure:
    """As many jobs as tasks, all put in at once, over games that run already."""
    ground = grounds.get()
    rounds, count, games = (1, 100, 5) if grounds.quick else (4, 2000, 50)
    with ExitStack() as up:
        rivals = _rivals(up, ground, _Choice(ground, grounds.progress, tasks=count // 2))
        grounds.progress(f"starting {games} games")
        game_ids = up.enter_context(fleet(ground, games))
        grounds.progress("warming up")
        interleave(_contestants(ground, game_ids, rivals, count // 4), rounds=1)
        contestants = _contestants(ground, game_ids, rivals, count)
        found = interleave(contestants, rounds=rounds, progress=grounds.progress)
    series = tuple(Series.of(name, _UNIT, samples) for name, samples in found.items())
    kinds = ", ".join(served.queue.name for served in rivals.values())
    return Figure("replays", "Jobs with nothing to do", series, _goals(series), _notes(count, games, kinds))


def replays_per_second(ground: Ground, games: Sequence[str], count: int) -> float:
    """Start jobs for games that run, put in by one pipeline, until the last result. LocalError when one is none."""
    mark = ground.results.mark()
    with ground.streams.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.xadd(ground.config.start_jobs_stream, _job(games[number % len(games)]))
        began = time.perf_counter()
        pipeline.execute()
    arrivals = ground.succeeded(since=mark, count=count)
    others = {one.fields["error_code"] for one in arrivals} - {ErrorCode.REPLAY_NO_OP.value}
    if others:
        message = f"not every job was a replay; there was also {', '.join(sorted(others)) or 'a start'}"
        raise LocalError(message)
    return count / (arrivals[-1].at - began)


class _Choice:
    """Starts queues, and takes the quickest way of those that one of them has."""

    def __init__(self, ground: Ground, progress: Callable[[str], None], *, tasks: int) -> None:
        self._place = ground.stack.workspace
        self._progress = progress
        self._tasks = tasks

    def serve(self, up: ExitStack, *ways: Callable[[], Queue]) -> Serving:
        """One that stays up as long as the stack ``up``."""
        best = max(ways, key=self._speed) if len(ways) > 1 else ways[0]
        return self._start(up, best())

    def _speed(self, way: Callable[[], Queue]) -> float:
        with ExitStack() as trial:
            served = self._start(trial, way())
            speed = max(served.tasks_per_second(self._tasks) for _ in range(2))
            self._progress(f"{served.queue.name}: {speed:.0f} null tasks/s")
            return speed

    def _start(self, up: ExitStack, queue: Queue) -> Serving:
        log = self._place.log(f"rival-{queue.name.partition(',')[0].lower()}")
        return up.enter_context(serving(queue, log=log, environment={MARKER: self._place.identity}))


def _rivals(up: ExitStack, ground: Ground, choice: _Choice) -> dict[str, Serving]:
    socket = socket_of(ground.streams)
    tables = up.enter_context(database(ground, "procrastinate"))
    return {
        "Celery, null tasks": choice.serve(
            up,
            lambda: CeleryQueue(socket, database=_CELERY, pool="threads", concurrency=8),
            lambda: CeleryQueue(socket, database=_CELERY, pool="prefork", concurrency=2),
        ),
        "RQ, null tasks": choice.serve(
            up,
            lambda: RqQueue(socket, database=_RQ, kind="simple"),
            lambda: RqQueue(socket, database=_RQ, kind="forking"),
        ),
        "Dramatiq, null tasks": choice.serve(up, lambda: DramatiqQueue(socket, database=_DRAMATIQ)),
        "Procrastinate, null tasks": choice.serve(up, lambda: ProcrastinateQueue(tables)),
    }


def _contestants(
    ground: Ground, game_ids: Sequence[str], rivals: Mapping[str, Serving], count: int
) -> Mapping[str, Contestant]:
    def turn(served: Serving) -> Contestant:
        return lambda: served.tasks_per_second(count)

    ours = {OURS: lambda: replays_per_second(ground, game_ids, count)}
    return {**ours, **{name: turn(served) for name, served in rivals.items()}}


def _job(game_id: str) -> dict[Any, Any]:
    return {"game_id": game_id, "image_ref": IMAGE, "requested_at_ms": str(time.time_ns() // 10**6)}


def _goals(series: Sequence[Series]) -> tuple[Goal, ...]:
    named = {one.name: one.median for one in series}
    return (
        Goal("against RQ", named[OURS] / named["RQ, null tasks"], _OF_RQ, at_most=False),
        Goal("against Celery", named[OURS] / named["Celery, null tasks"], _OF_CELERY, at_most=False),
    )


def _notes(count: int, games: int, kinds: str) -> tuple[str, ...]:
    return (
        (
            f"{count} jobs over {games} running games, from the first XADD to the last result; each is on record in "
            "PostgreSQL before it is acknowledged, and its result is published exactly once."
        ),
        (
            f"The queues ({kinds}) do {count} null tasks, from the first one put in to the last one done, with results "
            "switched off. None of them observes Docker, keeps a log or guarantees an order."
        ),
    )
