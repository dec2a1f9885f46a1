"""One worker against two and four, each with one thread: how work is shared out, and where Docker has no more to give.

Fresh starts want the processors, and are held against the raw SDK with as many threads. Stops of engines that do not
listen only wait, inside Docker, so nothing but the service itself could keep them from being shared out.
"""

from contextlib import closing
from functools import partial

from bench.figure import Figure, Goal, Series
from bench.ground import Ground, Grounds
from bench.measures.throughput import our_turn, sdk_name, sdk_turn
from bench.names import fresh
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs
from bench.rounds import interleave
from deploy.local.docker.sample_images import REPOSITORY, build_engine
from deploy.local.system.errors import LocalError
from deploy.local.system.shell import wait_until
from rtmanager.database_urls import connect

_COUNTS = (1, 2, 4)
_LIMIT = 0.9
_GRACE_SECONDS = 1
_STUBBORN = f"{REPOSITORY}:1.0.9"
_READY_SECONDS = 30.0
# A worker that ends deletes its heartbeat.
_LIVE_WORKERS = """
    SELECT count(*) FROM operations_heartbeat WHERE name LIKE 'worker:%' AND seen_at > now() - interval '20 seconds'
"""


def measure(grounds: Grounds) -> Figure:
    """Fresh starts, as fast as this number of workers can."""
    ground = _ground(grounds)
    rounds, games = (1, 4) if grounds.quick else (3, 8)
    sdks = {count: RawSdk(ground.stack.docker_host, Specs(ground), threads=count) for count in _COUNTS}

    def turn(count: int) -> float:
        have(ground, count)
        return our_turn(ground, games)()

    found = interleave(
        {
            **{_name(count): partial(turn, count) for count in _COUNTS},
            **{sdk_name(count): sdk_turn(sdks[count], games) for count in _COUNTS},
        },
        rounds=rounds,
        progress=grounds.progress,
    )
    for sdk in sdks.values():
        sdk.close()
    series = tuple(Series.of(name, "per s", samples) for name, samples in found.items())
    notes = (
        (
            f"{games} games at once; each worker has one thread (RTMANAGER_WORKER_CONCURRENCY=1), so that workers are "
            "counted and not their threads."
        ),
        "Where the raw SDK gains nothing from more threads, Docker and the kernel are the limit.",
    )
    return Figure("workers", "One worker, two, four", series, _goals(series), notes)


def measure_waiting(grounds: Grounds) -> Figure:
    """Stops of engines that have to be killed after their grace."""
    ground = _ground(grounds)
    rounds, games = (1, 4) if grounds.quick else (2, 8)
    build_engine(ground.docker, _STUBBORN, command=("sh", "-c", "trap '' TERM; sleep 1000000"))

    def turn(count: int) -> float:
        have(ground, max(_COUNTS))
        names = fresh("stubborn", games)
        ground.started_at_once(names, image_ref=_STUBBORN)
        have(ground, count)
        per_second = ground.stopped_at_once(names)
        ground.remove(names)
        return per_second

    found = interleave(
        {_name(count): partial(turn, count) for count in _COUNTS}, rounds=rounds, progress=grounds.progress
    )
    series = tuple(Series.of(name, "per s", samples) for name, samples in found.items())
    medians = {one.name: one.median for one in series}
    goals = tuple(
        Goal(
            f"gain of {count} against 1, of {count}",
            medians[_name(count)] / medians[_name(1)] / count,
            _LIMIT,
            at_most=False,
        )
        for count in _COUNTS[1:]
    )
    note = (
        f"Stops of {games} games at once whose engines ignore SIGTERM: each takes a grace of {_GRACE_SECONDS} s, in "
        "which no process computes anything."
    )
    return Figure("waiting", "One worker, two, four, when Docker only waits", series, goals, (note,))


def _ground(grounds: Grounds) -> Ground:
    settings = {"WORKER_CONCURRENCY": "1", "CONTAINER_STOP_TIMEOUT_SECONDS": str(_GRACE_SECONDS)}
    return grounds.get(settings=settings, copies={"worker": max(_COUNTS)})


def _goals(series: tuple[Series, ...]) -> tuple[Goal, ...]:
    """Our gain from more workers against the gain of the raw SDK from more threads."""
    medians = {one.name: one.median for one in series}

    def gain(count: int) -> float:
        ours = medians[_name(count)] / medians[_name(1)]
        return ours / (medians[sdk_name(count)] / medians[sdk_name(1)])

    return tuple(
        Goal(f"gain of {count} against 1, of the gain of the raw SDK", gain(count), _LIMIT, at_most=False)
        for count in _COUNTS[1:]
    )


def _name(count: int) -> str:
    return f"Runtime Manager, {count} worker{'s' if count > 1 else ''} of one thread"


def have(ground: Ground, count: int) -> None:
    """Exactly this number of workers; returns when all of them listen. LocalError when they do not."""
    for number in range(1, max(_COUNTS) + 1):
        ground.stack.switch("worker" if number == 1 else f"worker-{number}", on=number <= count)
    with closing(connect(ground.config.database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def are_ready() -> bool:
            cursor.execute(_LIVE_WORKERS)
            return bool(cursor.fetchone()[0] == count)

        if not wait_until(are_ready, timeout_seconds=_READY_SECONDS):
            message = f"there were not {count} workers within {_READY_SECONDS:.0f} s"
            raise LocalError(message)
