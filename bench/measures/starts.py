"""One fresh start at a time: from XADD to its result, next to those who make the same container without the service."""

from collections.abc import Callable, Collection

from bench.figure import Figure, Goal, Series
from bench.ground import Ground, Grounds
from bench.names import fresh
from bench.rivals import docker_cli
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs, differences
from bench.rivals.swarm import Swarm, swarm
from bench.rounds import every, interleave
from deploy.local.system.errors import LocalError
from runtimes.container_spec import container_name

OURS, SDK, CLI, SWARM = (
    "Runtime Manager, XADD to result",
    "docker SDK, create + start",
    "docker run -d",
    "Swarm service",
)
_INSIDE = "of ours, waiting for create and start"
_MEDIAN_LIMIT, _P99_LIMIT = 1.05, 1.2
# No goal is held against these two, and the second takes seconds to set up.
_THIRD = 3


def measure(grounds: Grounds) -> Figure:
    """Starts without a settle time."""
    ground = grounds.get()
    specs = Specs(ground)
    sdk = RawSdk(ground.stack.docker_host, specs)
    rounds, each, few = (1, 3, 1) if grounds.quick else (12, 17, 4)
    grounds.progress("warming up, and comparing what each has made")
    unlike = _compare(ground, specs, sdk)
    inside: list[float] = []

    def clear(games: Collection[str]) -> None:
        inside.extend(_inside(ground, game) for game in games)
        ground.clear(games)

    found = interleave(
        {
            OURS: lambda: _turn(fresh("start", each), ground.started, clear),
            SDK: lambda: _turn(fresh("sdk", each), sdk.started, sdk.clear),
            CLI: every(_THIRD, lambda: _turn(fresh("cli", few), lambda game: _run(ground, specs, game), sdk.clear)),
            SWARM: every(_THIRD, lambda: _swarm_turn(ground, specs, few)),
        },
        rounds=rounds,
        progress=grounds.progress,
    )
    sdk.close()
    series = tuple(Series.of(name, "ms", samples) for name, samples in {**found, _INSIDE: tuple(inside)}.items())
    left_out = f"differs in {', '.join(unlike)}" if unlike else "is the same"
    notes = (
        "One at a time: the next start is asked for when the result of the one before is there.",
        (
            "All make the same container, which was compared: limits, hardening, mounts, network and log. "
            "The rivals get its state directory made beforehand."
        ),
        "What ours waits for create and start is what the service has noted of these steps; the rest is its own.",
        f"Swarm was given what it can be given, but what it makes {left_out}.",
    )
    return Figure("starts", "A fresh start", series, against_the_sdk(series, SDK), notes, plot="cdf")


def against_the_sdk(series: Collection[Series], rival: str) -> tuple[Goal, ...]:
    """What the issue promises of a start: the middle, and the one in a hundred."""
    named = {one.name: one for one in series}
    ours, theirs = named[OURS], named[rival]
    return (
        Goal("median against the raw SDK", ours.median / theirs.median, _MEDIAN_LIMIT),
        Goal("p99 against the raw SDK", ours.p99 / theirs.p99, _P99_LIMIT),
    )


def _turn(game_ids: list[str], start: Callable[[str], float], clear: Callable[[Collection[str]], None]) -> list[float]:
    """Samples, and nothing left of them."""
    try:
        return [start(game_id) for game_id in game_ids]
    finally:
        clear(game_ids)


def _inside(ground: Ground, game_id: str) -> float:
    steps = ground.steps_ms(game_id)
    return steps["create"] + steps["start"]


def _run(ground: Ground, specs: Specs, game_id: str) -> float:
    return docker_cli.started(ground.stack.docker_host, specs, game_id)


def _swarm_turn(ground: Ground, specs: Specs, count: int) -> list[float]:
    with swarm(ground.stack.docker_host, specs) as engine:
        # What comes first also sets up what the later ones find.
        _turn(fresh("swarm", 1), engine.started, engine.clear)
        return _turn(fresh("swarm", count), engine.started, engine.clear)


def _compare(ground: Ground, specs: Specs, sdk: RawSdk) -> list[str]:
    """One start of each. LocalError when SDK or CLI make another container than we do; what Swarm leaves out."""
    ours, theirs, run = fresh("compare", 3)
    ground.started(ours)
    sdk.started(theirs)
    _run(ground, specs, run)
    inspected = [ground.docker.api.inspect_container(container_name(game)) for game in (ours, theirs, run)]
    for rival, made in zip((SDK, CLI), inspected[1:], strict=True):
        if unlike := differences(inspected[0], made):
            message = f"{rival} makes another container than we do: {', '.join(unlike)} differ"
            raise LocalError(message)
    with swarm(ground.stack.docker_host, specs) as engine:
        unlike = _compare_swarm(ground, engine, inspected[0])
    ground.clear([ours])
    sdk.clear([theirs, run])
    return unlike


def _compare_swarm(ground: Ground, engine: Swarm, ours: dict[str, object]) -> list[str]:
    (game_id,) = fresh("compare", 1)
    engine.started(game_id)
    made = ground.docker.api.inspect_container(engine.container_of(game_id))
    engine.clear([game_id])
    return differences(ours, made)
