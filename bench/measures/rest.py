"""A replayed start over REST, next to a task of Celery that answers through a list; and fifty callers at once."""

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from bench.caller import Caller, thirds
from bench.figure import Figure, Goal, Series
from bench.fleet import fleet
from bench.ground import Ground, Grounds
from bench.rivals.celery_queue import CeleryQueue
from bench.rivals.queues import serving, socket_of
from bench.rounds import Contestant, interleave
from deploy.local.system.process_cleanup import MARKER

OURS, CELERY = "Runtime Manager, POST start and its answer", "Celery, task sent, done and answered"
_DATABASE = 5
_MEDIAN_LIMIT = 4.0
_CALLERS, _SECONDS, _TAIL_LIMIT = 50, 15.0, 1.2
_TIMEOUT_SECONDS = 60.0
_numbers = itertools.count()


def measure(grounds: Grounds) -> Figure:
    """One caller, one call after the other."""
    ground = grounds.get()
    rounds, each = (1, 10) if grounds.quick else (10, 50)
    with ExitStack() as up:
        (game_id,) = up.enter_context(fleet(ground, 1))
        caller = up.enter_context(Caller(ground))
        celery = _quicker(ground, up)
        contestants: dict[str, Contestant] = {
            OURS: lambda: [caller.start(game_id) for _ in range(each)],
            CELERY: lambda: [_round_trip(celery) for _ in range(each)],
        }
        for warm_up in contestants.values():
            warm_up()
        found = interleave(contestants, rounds=rounds, progress=grounds.progress)
    ours, theirs = (Series.of(name, "ms", samples) for name, samples in found.items())
    return Figure(
        key="rest",
        title="A call with nothing to do",
        series=(ours, theirs),
        goals=(Goal("median against Celery", ours.median / theirs.median, _MEDIAN_LIMIT),),
        notes=(
            (
                "Runtime Manager: HTTP with a token over a kept connection. It records the call; a worker observes "
                "Docker and completes it; the response is the game's record."
            ),
            f"Theirs ({celery.name}): a task that writes to a list, on which its sender waits with BLPOP.",
        ),
        plot="cdf",
    )


def measure_callers(grounds: Grounds) -> Figure:
    """Fifty callers, each with a game and a connection, each asking again as soon as it is answered."""
    ground = grounds.get()
    callers, seconds = (5, 3.0) if grounds.quick else (_CALLERS, _SECONDS)
    with fleet(ground, callers) as game_ids:
        grounds.progress(f"{callers} callers for {seconds:.0f} s")
        calls = _besiege(ground, game_ids, seconds=seconds)
    first, middle, last = thirds(calls, seconds=seconds)
    series = tuple(
        Series.of(name, "ms", samples)
        for name, samples in {"all calls": [*first, *middle, *last], "first third": first, "last third": last}.items()
    )
    return Figure(
        key="callers",
        title="Fifty callers at once",
        series=series,
        goals=(Goal("p99 of the last third against the first", series[2].p99 / series[1].p99, _TAIL_LIMIT),),
        notes=(f"{len(calls) / seconds:.0f} calls are answered per second, for {seconds:.0f} s.",),
        plot="cdf",
    )


def _besiege(ground: Ground, game_ids: Sequence[str], *, seconds: float) -> list[tuple[float, float]]:
    """The beginning (seconds) and the length (milliseconds) of every call."""
    calls: list[tuple[float, float]] = []
    ready = threading.Barrier(len(game_ids), timeout=_TIMEOUT_SECONDS)

    def call_on_and_on(game_id: str) -> None:
        with Caller(ground) as caller:
            # The first call also opens the connection, and one of the web process to the database.
            caller.start(game_id)
            ready.wait()
            began = time.perf_counter()
            while (now := time.perf_counter() - began) < seconds:
                calls.append((now, caller.start(game_id)))

    with ThreadPoolExecutor(len(game_ids), "caller") as callers:
        for done in [callers.submit(call_on_and_on, game_id) for game_id in game_ids]:
            done.result()
    return calls


def _quicker(ground: Ground, up: ExitStack) -> CeleryQueue:
    """Celery with that pool with which it answers sooner; its worker stays up."""
    ways = {"threads": 8, "prefork": 2}
    speeds: dict[str, float] = {}
    for pool, concurrency in ways.items():
        with ExitStack() as trial:
            celery = _serve(ground, trial, pool, concurrency)
            speeds[pool] = median(_round_trip(celery) for _ in range(50))
    best = min(speeds, key=speeds.__getitem__)
    return _serve(ground, up, best, ways[best])


def _serve(ground: Ground, up: ExitStack, pool: str, concurrency: int) -> CeleryQueue:
    workspace = ground.stack.workspace
    celery = CeleryQueue(socket_of(ground.streams), database=_DATABASE, pool=pool, concurrency=concurrency)
    up.enter_context(serving(celery, log=workspace.log("rival-celery"), environment={MARKER: workspace.identity}))
    return celery


def _round_trip(celery: CeleryQueue) -> float:
    began = time.perf_counter()
    celery.round_trip(f"reply:{next(_numbers)}")
    return (time.perf_counter() - began) * 1000
