"""One fresh start at a time, next to the raw SDK and ``docker run`` with the same container."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager

from bench.contest import Contest
from bench.report.figure import Goal
from bench.rivals import docker_cli
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs, differences
from bench.testbed.testbed import Testbed, Testbeds, fresh
from deploy.local.system.errors import LocalError
from runtimes.container_spec import container_name

OURS, SDK, CLI = "Runtime Manager, XADD to result", "docker SDK, create + start", "docker run -d"
_INSIDE = "of it, waiting for create and start"
_SETTLED_SDK = "docker SDK, create + start + wait 300 ms"
_SETTLE_SECONDS = 0.3
_MEDIAN_LIMIT, _P99_LIMIT = 1.03, 1.2


@contextmanager
def fresh_starts(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Starts without a settle time."""
    testbed = testbeds.get()
    specs = Specs(testbed)
    with closing(RawSdk(testbed.stack.docker_host, specs)) as sdk:
        testbeds.progress("comparing the containers")
        _compare(testbed, specs, sdk)

        def ours() -> dict[str, list[float]]:
            games = fresh("start", each)
            took = [testbed.started(game) for game in games]
            inside = [_inside(testbed, game) for game in games]
            testbed.clear(games)
            return {OURS: took, _INSIDE: inside}

        yield Contest(
            "A fresh start",
            "ms",
            {
                OURS: ours,
                SDK: lambda: _turn(fresh("sdk", each), sdk.started, sdk.clear),
                CLI: lambda: _turn(fresh("cli", each), lambda game: _run(testbed, specs, game), sdk.clear),
            },
            against_the_sdk(SDK),
            notes=[
                "One at a time: the next start is requested when the result of the previous one has arrived.",
                (
                    "All create the same container; limits, hardening, mounts, network and log were compared. The "
                    "state directory of the rivals is created outside the measured time."
                ),
                "The time of create and start is what the service recorded of these steps; the rest is its own.",
            ],
            plot="cdf",
            # No goal depends on it.
            every={CLI: 4},
        )


@contextmanager
def settled_starts(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Starts with the default settle time of 300 ms, next to the raw SDK with the same wait."""
    testbed = testbeds.get(settings={"START_SETTLE": f"{_SETTLE_SECONDS * 1000:.0f}ms"})
    with closing(RawSdk(testbed.stack.docker_host, Specs(testbed))) as sdk:

        def theirs(game_id: str) -> float:
            return sdk.started(game_id, settle_seconds=_SETTLE_SECONDS)

        yield Contest(
            "A fresh start that settles",
            "ms",
            {
                OURS: lambda: _turn(fresh("settle", each), testbed.started, testbed.clear),
                _SETTLED_SDK: lambda: _turn(fresh("settle", each), theirs, sdk.clear),
            },
            against_the_sdk(_SETTLED_SDK),
            notes=["RTMANAGER_START_SETTLE has its default: an engine that exits within 300 ms is a failed start."],
            plot="cdf",
        )


def against_the_sdk(rival: str) -> tuple[Goal, ...]:
    """The goals of a start: its median and its p99."""
    return (
        Goal("median ÷ raw SDK", (OURS,), (rival,), limit=_MEDIAN_LIMIT),
        Goal("p99 ÷ raw SDK", (OURS,), (rival,), limit=_P99_LIMIT, share=0.99),
    )


def _turn(game_ids: list[str], start: Callable[[str], float], clear: Callable[[Collection[str]], None]) -> list[float]:
    took = [start(game_id) for game_id in game_ids]
    clear(game_ids)
    return took


def _inside(testbed: Testbed, game_id: str) -> float:
    steps = testbed.steps_ms(game_id)
    return steps["create"] + steps["start"]


def _run(testbed: Testbed, specs: Specs, game_id: str) -> float:
    return docker_cli.started(testbed.stack.docker_host, specs, game_id)


def _compare(testbed: Testbed, specs: Specs, sdk: RawSdk) -> None:
    """Raises LocalError if a rival creates another container than the service."""
    ours, theirs, run = fresh("compare", 3)
    testbed.started(ours)
    sdk.started(theirs)
    _run(testbed, specs, run)
    made = {game: testbed.docker.api.inspect_container(container_name(game)) for game in (ours, theirs, run)}
    for rival, game in ((SDK, theirs), (CLI, run)):
        if unlike := differences(made[ours], made[game]):
            raise LocalError(f"{rival} creates another container than the service: {', '.join(unlike)} differ")
    testbed.clear([ours])
    sdk.clear([theirs, run])
