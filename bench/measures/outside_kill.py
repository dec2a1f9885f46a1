"""A person kills an engine past the service: how long until the event is on the stream."""

import time

from bench.engine_events import EngineEvents
from bench.figure import Figure, Goal, Series
from bench.ground import Ground, Grounds
from bench.names import fresh
from bench.rounds import interleave
from deploy.local.system.errors import LocalError
from runtimes.container_spec import container_name

_OURS, _DOCKERS = "docker kill to container_exited on the stream", "docker kill to Docker's own event"
_LIMIT_MS = 300.0
_ANSWER_SECONDS = 30.0
_TYPE = "container_exited"


def measure(grounds: Grounds) -> Figure:
    """Kill one game after the other."""
    ground = grounds.get()
    rounds, each = (1, 3) if grounds.quick else (4, 15)
    docker_samples: list[float] = []

    def turn() -> list[float]:
        games = fresh("kill", each)
        ground.started_at_once(games)
        samples = []
        with EngineEvents(ground.stack.docker_host, "die") as events:
            for game in games:
                began = time.perf_counter()
                samples.append(_kill(ground, game))
                heard, _container_id = events.wait(container_name(game), seconds=_ANSWER_SECONDS)
                docker_samples.append((heard - began) * 1000)
        ground.clear(games)
        return samples

    ours = Series.of(_OURS, "ms", interleave({_OURS: turn}, rounds=rounds, progress=grounds.progress)[_OURS])
    dockers = Series.of(_DOCKERS, "ms", docker_samples)
    goal = Goal("p95 in ms", ours.p95, _LIMIT_MS)
    notes = ("Both of the same kills. Without Docker's own event no program can know of the exit.",)
    return Figure("outside_kill", "A kill from outside", (ours, dockers), (goal,), notes, plot="cdf")


def _kill(ground: Ground, game_id: str) -> float:
    mark = ground.health.mark()
    began = time.perf_counter()
    ground.docker.api.kill(container_name(game_id))
    for number in range(1, 100):
        arrival = ground.health.wait(since=mark, count=number, seconds=_ANSWER_SECONDS)[-1]
        if arrival.game_id == game_id and arrival.fields["event_type"] == _TYPE:
            return (arrival.at - began) * 1000
    message = f"no event reported the exit of {game_id}"
    raise LocalError(message)
