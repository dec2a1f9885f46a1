"""Jobs with nothing to do, next to null tasks of queues: one message per job, and many jobs per message."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.contest import Contest, Contestant
from bench.report.figure import Goal
from bench.rivals.celery_queue import CeleryQueue
from bench.rivals.dramatiq_queue import DramatiqQueue
from bench.rivals.procrastinate_queue import ProcrastinateQueue
from bench.rivals.queues import Queue, Serving, serving, socket_of
from bench.rivals.rq_queue import RqQueue
from bench.testbed.databases import database
from bench.testbed.testbed import IMAGE, Testbed, Testbeds
from deploy.local.system.errors import LocalError
from deploy.local.system.process_cleanup import MARKER
from runtimes.exceptions import ErrorCode

_BATCH = 50
_OURS = f"Runtime Manager, no-op starts, up to {_BATCH} per message"
_OURS_SINGLE = "Runtime Manager, no-op start"
_CELERY, _RQ, _DRAMATIQ, _PROCRASTINATE = "Celery", "RQ", "Dramatiq", "Procrastinate"
_BATCHED = f"Celery, null tasks, {_BATCH} per message"
_OF_CELERY, _OF_RQ = 0.6, 2.0
_GAMES = 50
# The logical databases of Valkey; the service uses the first two.
_CELERY_DATABASE, _RQ_DATABASE, _DRAMATIQ_DATABASE = 2, 3, 4


@contextmanager
def many_at_once(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """``each`` jobs or tasks, all put in at once. RTM always batches no-ops, so a Celery that batches is beside it."""
    testbed = testbeds.get()
    with ExitStack() as opened:
        rivals = _rivals(opened, testbeds, testbed, tasks=each // 2)
        games = opened.enter_context(testbed.running(min(_GAMES, each)))
        celery = rivals[_CELERY].queue
        assert isinstance(celery, CeleryQueue), "it was made as one"  # noqa: S101

        def batches() -> float:
            return rivals[_CELERY].tasks_per_second(
                each, enqueue=lambda count: celery.enqueue_batches(count, size=_BATCH)
            )

        contestants: dict[str, Contestant] = {
            _OURS: lambda: replays_per_second(testbed, games, each),
            _BATCHED: batches,
            **{_per_message(name): _speed(served, each) for name, served in rivals.items()},
        }
        goals = (
            Goal("batches ÷ Celery, batches", (_OURS,), (_BATCHED,)),
            Goal("batches ÷ Celery, one per message", (_OURS,), (_per_message(_CELERY),), _OF_CELERY, at_most=False),
            Goal("batches ÷ RQ, one per message", (_OURS,), (_per_message(_RQ),), _OF_RQ, at_most=False),
        )
        notes = [
            (
                f"{each} jobs over {len(games)} running games, from the first XADD (one pipeline) to the last result. "
                f"The bridge reads up to {_BATCH} jobs at once, and one Celery message names all no-ops among them. "
                "Each job is a row in PostgreSQL before it is acknowledged, and its result is published once."
            ),
            (
                f"The queues ({_kinds(rivals)}) do {each} null tasks, from the first one put in to the end of the last "
                f"one, without results. RQ and Procrastinate put them in with one request, the others one by one; "
                "each task is a message of its own, except where the row says otherwise."
            ),
            "None of the queues observes Docker, keeps a log or guarantees an order.",
        ]
        yield Contest("Jobs with nothing to do, many at once", "jobs/s", contestants, goals, notes)


@contextmanager
def one_at_a_time(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """The next job is sent when the previous one is done, so each job is one message, in every product."""
    testbed = testbeds.get()
    with ExitStack() as opened:
        rivals = _rivals(opened, testbeds, testbed, tasks=500)
        games = opened.enter_context(testbed.running(1))

        def ours() -> list[float]:
            return [1000 / replays_per_second(testbed, games, 1) for _ in range(each)]

        contestants: dict[str, Contestant] = {
            _OURS_SINGLE: ours,
            **{f"{name}, null task": _latency(served, each) for name, served in rivals.items()},
        }
        goals = (
            Goal("median ÷ Celery", (_OURS_SINGLE,), (f"{_CELERY}, null task",)),
            Goal("median ÷ Procrastinate", (_OURS_SINGLE,), (f"{_PROCRASTINATE}, null task",)),
        )
        notes = [
            "One job, one message: the next one is sent when the result (RTM) or the end of the task (queues) is seen.",
            f"The queues: {_kinds(rivals)}. Of these, only Procrastinate stores a task in a database, as RTM does.",
        ]
        yield Contest("Jobs with nothing to do, one at a time", "ms", contestants, goals, notes)


def replays_per_second(testbed: Testbed, games: Sequence[str], count: int) -> float:
    """No-op starts per second, sent by one pipeline, until the last result. Raises LocalError if one was no no-op."""
    mark = testbed.results.mark()
    with testbed.streams.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.xadd(testbed.config.start_jobs_stream, _job(games[number % len(games)]))
        began = time.perf_counter()
        pipeline.execute()
    arrivals = testbed.succeeded(since=mark, count=count)
    others = {one.fields["error_code"] for one in arrivals} - {ErrorCode.REPLAY_NO_OP.value}
    if others:
        raise LocalError(f"not every job was a no-op; there was also {', '.join(sorted(others)) or 'a start'}")
    return count / (arrivals[-1].at - began)


def _rivals(opened: ExitStack, testbeds: Testbeds, testbed: Testbed, *, tasks: int) -> dict[str, Serving]:
    """Start every queue, in the fastest of its forms. The samples of this search do not count."""
    socket = socket_of(testbed.streams)
    tables = opened.enter_context(database(testbed, "procrastinate"))
    forms: dict[str, Sequence[Callable[[], Queue]]] = {
        _CELERY: (
            lambda: CeleryQueue(socket, database=_CELERY_DATABASE, pool="threads", concurrency=8),
            lambda: CeleryQueue(socket, database=_CELERY_DATABASE, pool="prefork", concurrency=2),
        ),
        _RQ: (
            lambda: RqQueue(socket, database=_RQ_DATABASE, kind="simple"),
            lambda: RqQueue(socket, database=_RQ_DATABASE, kind="forking"),
        ),
        _DRAMATIQ: (lambda: DramatiqQueue(socket, database=_DRAMATIQ_DATABASE),),
        _PROCRASTINATE: (lambda: ProcrastinateQueue(tables),),
    }

    def start(up: ExitStack, form: Callable[[], Queue]) -> Serving:
        queue, workspace = form(), testbed.stack.workspace
        log = workspace.log(f"rival-{queue.name.partition(',')[0].lower()}")
        return up.enter_context(serving(queue, log=log, environment={MARKER: workspace.identity}))

    def speed(form: Callable[[], Queue]) -> float:
        with ExitStack() as trial:
            served = start(trial, form)
            found = max(served.tasks_per_second(tasks) for _ in range(2))
        testbeds.progress(f"search: {served.queue.name}, {found:.0f} null tasks/s")
        return found

    best = {name: max(ways, key=speed) if len(ways) > 1 else ways[0] for name, ways in forms.items()}
    return {name: start(opened, form) for name, form in best.items()}


def _speed(served: Serving, count: int) -> Contestant:
    return lambda: served.tasks_per_second(count)


def _latency(served: Serving, count: int) -> Contestant:
    return lambda: served.one_at_a_time(count)


def _per_message(name: str) -> str:
    return f"{name}, null tasks, one per message"


def _kinds(rivals: dict[str, Serving]) -> str:
    return ", ".join(served.queue.name for served in rivals.values())


def _job(game_id: str) -> dict[Any, Any]:
    return {"game_id": game_id, "image_ref": IMAGE, "requested_at_ms": str(time.time_ns() // 10**6)}
