"""Many fresh starts at once, next to the raw SDK with the number of threads that serves it best."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from bench.contest import Contest, turn
from bench.report.figure import Goal
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs
from bench.testbed.testbed import Testbed, Testbeds, fresh

_OURS = "Runtime Manager"
_LIMIT = 0.97
_THREADS = (2, 4, 8, 16)
_TRIALS = 2


@contextmanager
def throughput(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """First find the rival's best number of threads. The samples of this search do not count."""
    testbed = testbeds.get()
    with ExitStack() as opened:
        sdks = {
            threads: opened.enter_context(closing(RawSdk(testbed.stack.docker_host, Specs(testbed), threads=threads)))
            for threads in _THREADS
        }
        speeds: dict[int, float] = dict.fromkeys(_THREADS, 0.0)
        names = {sdk_name(threads): threads for threads in _THREADS}
        for number in range(_TRIALS):
            for name in turn(names, number):
                testbeds.progress(f"search: {name}")
                threads = names[name]
                speeds[threads] = max(speeds[threads], sdk_turn(sdks[threads], each)())
        best = max(speeds, key=speeds.__getitem__)
        found = ", ".join(f"{speed:.1f} with {threads}" for threads, speed in speeds.items())
        yield Contest(
            "Starts per second",
            "per s",
            {_OURS: our_turn(testbed, each), sdk_name(best): sdk_turn(sdks[best], each)},
            (Goal("÷ raw SDK at its best", (_OURS,), (sdk_name(best),), limit=_LIMIT, at_most=False),),
            notes=[
                f"{each} games at once, from the first XADD to the last result. Each thread of the SDK has a client.",
                f"The number of threads was searched before the first round; starts per second: {found}.",
            ],
        )


def sdk_name(threads: int) -> str:
    """The name of the series."""
    return f"docker SDK, {threads} thread{'s' if threads > 1 else ''}"


def sdk_turn(sdk: RawSdk, count: int) -> Callable[[], float]:
    """One sample of the SDK: a number of games at once, removed afterwards."""

    def turn_of_sdk() -> float:
        games = fresh("sdk", count)
        per_second = sdk.started_at_once(games)
        sdk.clear(games)
        return per_second

    return turn_of_sdk


def our_turn(testbed: Testbed, count: int) -> Callable[[], float]:
    """One sample of the service: the same."""

    def turn_of_service() -> float:
        games = fresh("many", count)
        per_second = testbed.started_at_once(games)
        testbed.clear(games)
        return per_second

    return turn_of_service
