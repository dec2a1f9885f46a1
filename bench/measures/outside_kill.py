"""Somebody kills an engine past the service: how long until the event is on the stream."""

import time

from bench.figure import Figure, Goal, Series
from bench.ground import Ground, Grounds
from bench.measures.names import fresh
from bench.rounds import interleave
from rtmanager.local.errors import LocalError
from runtimes.specs import container_name

_NAME = "docker kill to container_exited"
_LIMIT_MS = 300.0
_ANSWER_SECONDS = 30.0
_TYPES = frozenset({"container_exited"})


def measure(grounds: Grounds) -> Figure:
    """Kill one game after the other."""
    ground = grounds.get()
    rounds, each = (1, 3) if grounds.quick else (4, 15)

    def turn() -> list[float]:
        games = fresh("kill", each)
        mark = ground.results.mark()
        for game in games:
            ground.start(game)
        ground.succeeded(since=mark, count=each)
        samples = [_kill(ground, game) for game in games]
        ground.clear(games)
        return samples

    found = interleave({_NAME: turn}, rounds=rounds, progress=grounds.progress)
    series = Series.of(_NAME, "ms", found[_NAME])
    goal = Goal("p95 in ms", series.p95, _LIMIT_MS)
    notes = ("From the moment before the call to the engine, which waits for the end of the process itself.",)
    return Figure("outside_kill", "A kill from outside", (series,), (goal,), notes, plot="cdf")


def _kill(ground: Ground, game_id: str) -> float:
    mark = ground.health.mark()
    began = time.perf_counter()
    ground.docker.api.kill(container_name(game_id))
    for number in range(1, 100):
        arrival = ground.health.wait(since=mark, count=number, seconds=_ANSWER_SECONDS)[-1]
        if arrival.game_id == game_id and arrival.fields["event_type"] in _TYPES:
            return (arrival.at - began) * 1000
    message = f"no event told of the end of {game_id}"
    raise LocalError(message)
