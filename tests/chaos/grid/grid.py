"""One cell: prepare, break, let production mend, look."""

import re
import signal
from collections.abc import Iterable
from functools import lru_cache

from redis import Redis

from tests.chaos.grid.cells import WORK, Kind
from tests.chaos.grid.checks import assert_as_wanted
from tests.chaos.grid.edges import EDGES
from tests.chaos.grid.faults import KILLS, THEFTS, Fault, Rival, Wire, wire_with
from tests.chaos.grid.hosts import Host
from tests.chaos.grid.worlds import World, in_own_process, recover, survives

KINDS = (*EDGES, *WORK)

# What a real Docker can add to the grid: its own changes, and the end that comes after them.
_ON_DOCKER = re.compile(r"(create|start|stop|remove|commit|end operation)\b")


def faults_of(kind: Kind) -> list[Fault]:
    """Nobody can lose what he does not hold."""
    return [fault for fault in Fault if kind.lose is not None or fault not in THEFTS]


@lru_cache
def steps_of(kind: Kind, host: Host, streams: Redis) -> tuple[str, ...]:
    """The steps that this kind really takes, found by letting it run unbroken, in order."""
    world = World.begin(host, streams)
    kind.prepare(world)
    with Wire().watching() as wire:
        kind.deed(world)
    kind.mend(world)
    assert_as_wanted(world, kind, repairs=recover(world))
    return tuple(wire.steps)


def steps_on_docker(steps: Iterable[str]) -> list[str]:
    """The steps that are worth to be broken on a real Docker as well."""
    return [step for step in steps if _ON_DOCKER.match(step)]


def run_cell(kind: Kind, host: Host, streams: Redis, *, step: str, fault: Fault) -> None:
    """Break one step in one way; whatever was in the midst of it, all must be as if nothing had happened."""
    world = World.begin(host, streams)
    kind.prepare(world)
    _break(world, kind, step=step, fault=fault)
    kind.mend(world)
    assert_as_wanted(world, kind, repairs=recover(world))


def _break(world: World, kind: Kind, *, step: str, fault: Fault) -> None:
    rival = _rival(world, kind, fault)
    wire = wire_with(fault, step, rival)

    def deed() -> None:
        with wire.watching():
            kind.deed(world)

    if fault in KILLS:
        assert in_own_process(deed) == -signal.SIGKILL, f"the process was not killed at {step}"
        return
    survives(deed)
    rival.goes_on()
    assert wire.has_struck, f"the step was not reached: {wire.steps}"


def _rival(world: World, kind: Kind, fault: Fault) -> Rival:
    if fault not in THEFTS:
        return Rival(lambda: kind.again(world))

    def steal() -> None:
        assert kind.lose is not None
        kind.lose(world)
        kind.succeed(world)

    return Rival(steal, pauses_at=kind.pauses_at if fault == Fault.OVERTAKEN else "")
