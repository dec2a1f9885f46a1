"""Many fresh starts at once: how many per second, next to the raw SDK with as many threads as serve it best."""

from collections.abc import Callable

from bench.figure import Figure, Goal, Series
from bench.ground import Ground, Grounds
from bench.names import fresh
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs
from bench.rounds import interleave

OURS = "Runtime Manager"
_LIMIT = 0.95
_THREADS = (2, 4, 8, 16)


def measure(grounds: Grounds) -> Figure:
    """First find the rival's best number of threads, then measure it in turns with us."""
    ground = grounds.get()
    rounds, games = (1, 4) if grounds.quick else (10, 16)
    sdks = {threads: RawSdk(ground.stack.docker_host, Specs(ground), threads=threads) for threads in _THREADS}
    tried = interleave(
        {sdk_name(threads): sdk_turn(sdk, games) for threads, sdk in sdks.items()},
        rounds=1 if grounds.quick else 2,
        progress=grounds.progress,
    )
    best = max(_THREADS, key=lambda threads: max(tried[sdk_name(threads)]))
    rival = sdk_name(best)
    found = interleave(
        {OURS: our_turn(ground, games), rival: sdk_turn(sdks[best], games)}, rounds=rounds, progress=grounds.progress
    )
    for sdk in sdks.values():
        sdk.close()
    measured = {**tried, rival: tried[rival] + found[rival], OURS: found[OURS]}
    series = [Series.of(name, "per s", measured[name]) for name in (OURS, *map(sdk_name, _THREADS))]
    ratio = Series.of(OURS, "", found[OURS]).median / Series.of(rival, "", found[rival]).median
    notes = (
        f"{games} games at once, from the first XADD to the last result. Each thread of the rival has its own client.",
        f"The rival did best with {best} threads; the goal is held against what it did in turns with us.",
    )
    return Figure(
        "throughput",
        "Starts per second",
        tuple(series),
        (Goal("against the raw SDK", ratio, _LIMIT, at_most=False),),
        notes,
    )


def sdk_name(threads: int) -> str:
    """How the report calls it."""
    return f"docker SDK, {threads} thread{'s' if threads > 1 else ''}"


def sdk_turn(sdk: RawSdk, count: int) -> Callable[[], float]:
    """One sample of the rival: a number of games at once, which are gone afterwards."""

    def turn() -> float:
        games = fresh("sdk", count)
        try:
            return sdk.started_at_once(games)
        finally:
            sdk.clear(games)

    return turn


def our_turn(ground: Ground, count: int) -> Callable[[], float]:
    """One sample of ours, likewise."""

    def turn() -> float:
        games = fresh("many", count)
        per_second = ground.started_at_once(games)
        ground.clear(games)
        return per_second

    return turn
