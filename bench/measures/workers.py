"""One worker, two and four, each with one thread: how they share work, and where Docker is the limit.

Fresh starts need the processors, so they are compared with the raw SDK with as many threads. Stops of engines that
ignore SIGTERM only wait inside Docker, so only the service itself could keep workers from sharing them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from bench.contest import Contest, Contestant
from bench.measures.throughput import our_turn, sdk_name, sdk_turn
from bench.report.figure import Goal
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs
from bench.testbed.testbed import STUBBORN_IMAGE, Testbed, Testbeds, fresh
from deploy.local.docker.sample_images import build_engine
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import wait_until
from rtmanager.database_urls import connect

_COUNTS = (1, 2, 4)
_MORE = _COUNTS[1:]
_GAIN_LIMIT, _WAITING_LIMIT = 0.9, 0.95
_GRACE_SECONDS = 1
_READY_SECONDS = 60.0
# A worker that exits deletes its heartbeat.
_LIVE_WORKERS = """
    SELECT count(*) FROM operations_heartbeat WHERE name LIKE 'worker:%' AND seen_at > now() - interval '20 seconds'
"""


@contextmanager
def fresh_starts(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Our gain from more workers, relative to the gain of the raw SDK from more threads."""
    testbed = _testbed(testbeds)
    with ExitStack() as opened:
        contestants: dict[str, Contestant] = {}
        for count in _COUNTS:
            sdk = opened.enter_context(closing(RawSdk(testbed.stack.docker_host, Specs(testbed), threads=count)))
            contestants |= {_name(count): partial(_start, testbed, each, count), sdk_name(count): sdk_turn(sdk, each)}
        yield Contest(
            "One worker, two, four",
            "per s",
            contestants,
            tuple(
                Goal(
                    f"gain of {count} workers ÷ gain of the SDK with {count} threads",
                    (_name(count), sdk_name(1)),
                    (_name(1), sdk_name(count)),
                    limit=_GAIN_LIMIT,
                    at_most=False,
                )
                for count in _MORE
            ),
            notes=[
                f"{each} games at once; each worker has one thread (RTMANAGER_WORKER_CONCURRENCY=1).",
                "Where the raw SDK gains nothing from more threads, Docker and the kernel are the limit.",
            ],
        )


@contextmanager
def waiting(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Stops of engines that Docker kills after their grace period."""
    testbed = _testbed(testbeds)
    build_engine(testbed.docker, STUBBORN_IMAGE, command=("sh", "-c", "trap '' TERM; sleep 1000000"))
    yield Contest(
        "One worker, two, four, when Docker only waits",
        "per s",
        {_name(count): partial(_stop, testbed, each, count) for count in _COUNTS},
        tuple(
            Goal(
                f"{count} workers ÷ one ÷ {count}",
                (_name(count),),
                (_name(1),),
                limit=_WAITING_LIMIT,
                at_most=False,
                divisor=count,
            )
            for count in _MORE
        ),
        notes=[
            (
                f"Stops of {each} games at once whose engines ignore SIGTERM: each takes a grace period of "
                f"{_GRACE_SECONDS} s, in which no process computes anything."
            )
        ],
    )


def _testbed(testbeds: Testbeds) -> Testbed:
    settings = {"WORKER_CONCURRENCY": "1", "CONTAINER_STOP_TIMEOUT_SECONDS": str(_GRACE_SECONDS)}
    return testbeds.get(settings=settings, copies={"worker": max(_COUNTS)})


def _start(testbed: Testbed, games: int, count: int) -> float:
    set_workers(testbed, count)
    return our_turn(testbed, games)()


def _stop(testbed: Testbed, games: int, count: int) -> float:
    set_workers(testbed, max(_COUNTS))
    names = fresh("stubborn", games)
    testbed.started_at_once(names, image_ref=STUBBORN_IMAGE)
    set_workers(testbed, count)
    per_second = testbed.stopped_at_once(names)
    testbed.remove(names)
    return per_second


def _name(count: int) -> str:
    return f"Runtime Manager, {count} worker{'s' if count > 1 else ''} of one thread"


def set_workers(testbed: Testbed, count: int) -> None:
    """Run exactly this number of workers; return when all of them are ready. Raises LocalError if they do not start."""
    for number in range(1, max(_COUNTS) + 1):
        testbed.stack.switch("worker" if number == 1 else f"worker-{number}", on=number <= count)
    with closing(connect(testbed.config.database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def are_ready() -> bool:
            cursor.execute(_LIVE_WORKERS)
            return bool(cursor.fetchone()[0] == count)

        if not wait_until(are_ready, timeout_seconds=_READY_SECONDS):
            raise LocalError(f"{count} workers were not ready within {_READY_SECONDS:.0f} s")
