"""A fresh start with the default settle time of 300 ms, next to the raw SDK with the same wait."""

from bench.figure import Figure, Series
from bench.ground import Grounds
from bench.measures.starts import OURS, against_the_sdk
from bench.names import fresh
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs
from bench.rounds import interleave

_SDK = "docker SDK, create + start + wait 300 ms"
_LOOK_SECONDS = 0.3


def measure(grounds: Grounds) -> Figure:
    """Starts with the default settle time."""
    ground = grounds.get(settings={"START_SETTLE": f"{_LOOK_SECONDS * 1000:.0f}ms"})
    sdk = RawSdk(ground.stack.docker_host, Specs(ground))
    rounds, each = (1, 2) if grounds.quick else (4, 10)

    def ours(count: int = each) -> list[float]:
        games = fresh("settle", count)
        samples = [ground.started(game) for game in games]
        ground.clear(games)
        return samples

    def theirs(count: int = each) -> list[float]:
        games = fresh("settle", count)
        samples = [sdk.started(game, look_seconds=_LOOK_SECONDS) for game in games]
        sdk.clear(games)
        return samples

    ours(1), theirs(1)
    found = interleave({OURS: ours, _SDK: theirs}, rounds=rounds, progress=grounds.progress)
    sdk.close()
    series = tuple(Series.of(name, "ms", samples) for name, samples in found.items())
    notes = (
        "The same, with the default of RTMANAGER_START_SETTLE: an engine that dies within 300 ms is a failed start.",
    )
    return Figure(
        "starts_settled", "A fresh start that settles", series, against_the_sdk(series, _SDK), notes, plot="cdf"
    )
