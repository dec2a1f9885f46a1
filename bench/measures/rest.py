"""A no-op start over REST, next to a Celery task that responds through a list; and fifty callers at once."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median

from bench.contest import Contest
from bench.report.figure import Goal
from bench.rivals.celery_queue import CeleryQueue
from bench.rivals.queues import serving, socket_of
from bench.testbed.caller import Caller, thirds
from bench.testbed.testbed import Testbed, Testbeds
from deploy.local.system.process_cleanup import MARKER

_OURS, _CELERY = "Runtime Manager, POST start and its response", "Celery, task sent, done and responded"
_ALL, _FIRST, _LAST = "all calls", "first third", "last third"
_POOLS = {"threads": 8, "prefork": 2}
_DATABASE = 5
_MEDIAN_LIMIT = 4.0
_ROUND_SECONDS, _TAIL_LIMIT = 5.0, 1.2
_TIMEOUT_SECONDS = 120.0
_numbers = itertools.count()


@contextmanager
def one_caller(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """One caller, one call after the other."""
    testbed = testbeds.get()
    with ExitStack() as opened:
        (game_id,) = opened.enter_context(testbed.running(1))
        caller = opened.enter_context(Caller(testbed))
        celery = _faster(testbed, opened)
        yield Contest(
            "A call with nothing to do",
            "ms",
            {
                _OURS: lambda: [caller.start(game_id) for _ in range(each)],
                _CELERY: lambda: [_round_trip(celery) for _ in range(each)],
            },
            (Goal("median ÷ Celery", (_OURS,), (_CELERY,), limit=_MEDIAN_LIMIT),),
            notes=[
                (
                    "Runtime Manager: HTTP with a token over a kept connection. It records the call; a worker observes "
                    "Docker and completes it; the response is the game's record."
                ),
                f"{celery.name}: a task that writes to a list, on which its sender waits with BLPOP.",
            ],
            plot="cdf",
        )


@contextmanager
def many_callers(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """``each`` callers, each with a game and a connection; each calls again as soon as it has its response."""
    testbed = testbeds.get()
    with testbed.running(each) as game_ids:

        def turn() -> dict[str, list[float]]:
            calls = _call_at_once(testbed, game_ids, seconds=_ROUND_SECONDS)
            first, _middle, last = thirds(calls, seconds=_ROUND_SECONDS)
            return {_ALL: [took for _began, took in calls], _FIRST: first, _LAST: last}

        goal = Goal("p99 of the last third ÷ first third", (_LAST,), (_FIRST,), limit=_TAIL_LIMIT, share=0.99)
        note = f"{each} callers for {_ROUND_SECONDS:.0f} s in each round; does the service slow down under this load?"
        yield Contest(f"{each} callers at once", "ms", {_ALL: turn}, (goal,), [note], plot="cdf")


def _call_at_once(testbed: Testbed, game_ids: Sequence[str], *, seconds: float) -> list[tuple[float, float]]:
    """The begin (seconds) and the length (milliseconds) of every call."""
    calls: list[tuple[float, float]] = []
    ready = threading.Barrier(len(game_ids), timeout=_TIMEOUT_SECONDS)

    def call_repeatedly(game_id: str) -> None:
        with Caller(testbed) as caller:
            # The first call also opens the connection, and one of the web process to the database.
            caller.start(game_id)
            ready.wait()
            began = time.perf_counter()
            while (moment := time.perf_counter() - began) < seconds:
                calls.append((moment, caller.start(game_id)))

    with ThreadPoolExecutor(len(game_ids), "caller") as callers:
        for done in [callers.submit(call_repeatedly, game_id) for game_id in game_ids]:
            done.result()
    return calls


def _faster(testbed: Testbed, opened: ExitStack) -> CeleryQueue:
    """Celery with the pool that responds sooner; its worker keeps running. The samples of this search do not count."""
    speeds: dict[str, float] = {}
    for pool in _POOLS:
        with ExitStack() as trial:
            celery = _serve(testbed, trial, pool)
            speeds[pool] = median(_round_trip(celery) for _ in range(50))
    return _serve(testbed, opened, min(speeds, key=speeds.__getitem__))


def _serve(testbed: Testbed, opened: ExitStack, pool: str) -> CeleryQueue:
    workspace = testbed.stack.workspace
    celery = CeleryQueue(socket_of(testbed.streams), database=_DATABASE, pool=pool, concurrency=_POOLS[pool])
    log = workspace.log("rival-celery")
    opened.enter_context(serving(celery, log=log, environment={MARKER: workspace.identity}))
    return celery


def _round_trip(celery: CeleryQueue) -> float:
    began = time.perf_counter()
    celery.round_trip(f"reply:{next(_numbers)}")
    return (time.perf_counter() - began) * 1000
