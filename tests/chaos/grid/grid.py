"""One cell: prepare, inject a fault, run the recovery of production, check."""

import re
import signal
from collections.abc import Iterable
from functools import lru_cache

from redis import Redis

from tests.chaos.grid.cells import WORK, Kind
from tests.chaos.grid.checks import assert_expected_state
from tests.chaos.grid.faults import KILLS, OWNERSHIP_FAULTS, Fault, Interceptor, SecondWorker, interceptor_for
from tests.chaos.grid.killed_child import KINDS, work_in_own_process
from tests.chaos.grid.processes import Host
from tests.chaos.grid.scenarios import World, ignore_outage, recover

__all__ = ["KINDS", "faults_of", "run_cell", "steps_of", "steps_on_docker"]

# The steps that a real Docker can influence: its own changes, and the completion after them.
_ON_DOCKER = re.compile(r"(create|start|stop|remove|commit|complete operation)\b")


def faults_of(kind: Kind) -> list[Fault]:
    """Return the faults of a kind. Only a kind with a lease, a leadership or a lock can lose it."""
    faults = [fault for fault in Fault if kind.lose_ownership is not None or fault not in OWNERSHIP_FAULTS]
    return [fault for fault in faults if kind in WORK or fault != Fault.TAKEN_FOR_DEAD]


@lru_cache
def steps_of(kind: Kind, host: Host, streams: Redis) -> tuple[str, ...]:
    """Return the steps of this kind in order, recorded in a run without a fault."""
    world = World.begin(host, streams)
    kind.prepare(world)
    with Interceptor().watching() as interceptor:
        kind.action(world)
    kind.follow_up(world)
    assert_expected_state(world, kind, repairs=recover(world))
    return tuple(interceptor.steps)


def steps_on_docker(steps: Iterable[str]) -> list[str]:
    """Return the steps that are also tested on a real Docker."""
    return [step for step in steps if _ON_DOCKER.match(step)]


def run_cell(kind: Kind, host: Host, streams: Redis, *, step: str, fault: Fault) -> None:
    """Inject one fault at one step; after the recovery the result must be the same as without a fault."""
    world = World.begin(host, streams)
    kind.prepare(world)
    _break(world, kind, step=step, fault=fault)
    kind.follow_up(world)
    assert_expected_state(world, kind, repairs=recover(world))


def _break(world: World, kind: Kind, *, step: str, fault: Fault) -> None:
    if fault in KILLS:
        ended = work_in_own_process(world, kind, fault=fault, step=step)
        assert ended == -signal.SIGKILL, f"the process was not killed at {step}: {ended}"
        if fault == Fault.KILLED_AFTER and kind in WORK:
            world.continue_for_dead_worker()
        return
    if fault == Fault.TAKEN_FOR_DEAD:
        world.hold_worker_lock()
    second_worker = _second_worker(world, kind, fault)
    interceptor = interceptor_for(fault, step, second_worker)

    def action() -> None:
        with interceptor.watching():
            kind.action(world)

    ignore_outage(action)
    second_worker.finish()
    assert interceptor.was_reached, f"the step was not reached: {interceptor.steps}"


def _second_worker(world: World, kind: Kind, fault: Fault) -> SecondWorker:
    if fault not in OWNERSHIP_FAULTS:
        return SecondWorker(lambda: kind.repeat(world))

    def steal() -> None:
        if fault == Fault.TAKEN_FOR_DEAD:
            world.lose_worker_lock()
        else:
            assert kind.lose_ownership is not None
            kind.lose_ownership(world)
        kind.successor(world)

    return SecondWorker(steal, pauses_at=kind.pauses_at if fault == Fault.OVERTAKEN else "")
