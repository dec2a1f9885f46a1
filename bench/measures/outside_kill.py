"""``docker kill`` from outside: the time until the event is on the stream."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.contest import Contest
from bench.report.figure import Goal
from bench.testbed.engine_events import EngineEvents
from bench.testbed.testbed import Testbed, Testbeds, fresh
from deploy.local.system.errors import LocalError
from runtimes.container_spec import container_name

_OURS, _DOCKERS = "docker kill to container_exited on the stream", "docker kill to Docker's own event"
_LIMIT_MS = 120.0
_ANSWER_SECONDS = 60.0
_TYPE = "container_exited"


@contextmanager
def outside_kill(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Kill one game after the other."""
    testbed = testbeds.get()

    def turn() -> dict[str, list[float]]:
        games = fresh("kill", each)
        testbed.started_at_once(games)
        samples: dict[str, list[float]] = {_OURS: [], _DOCKERS: []}
        with EngineEvents(testbed.stack.docker_host, "die") as events:
            for game in games:
                began = time.perf_counter()
                samples[_OURS].append(_kill(testbed, game))
                seen, _container_id = events.wait(container_name(game), seconds=_ANSWER_SECONDS)
                samples[_DOCKERS].append((seen - began) * 1000)
        testbed.clear(games)
        return samples

    goal = Goal("p95 in ms", (_OURS,), limit=_LIMIT_MS, share=0.95)
    note = "Both series are of the same kills. Before Docker's own event no program can know of the exit."
    yield Contest("A kill from outside", "ms", {_OURS: turn}, (goal,), [note], plot="cdf")


def _kill(testbed: Testbed, game_id: str) -> float:
    mark = testbed.health.mark()
    began = time.perf_counter()
    testbed.docker.api.kill(container_name(game_id))
    for number in range(1, 100):
        arrival = testbed.health.wait(since=mark, count=number, seconds=_ANSWER_SECONDS)[-1]
        if arrival.game_id == game_id and arrival.fields["event_type"] == _TYPE:
            return (arrival.at - began) * 1000
    raise LocalError(f"no event reported the exit of {game_id}")
