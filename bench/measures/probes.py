"""The processor time of probes: ten thousand healthy engines within one interval."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

from bench.contest import Contest
from bench.inside.asked import Inside
from bench.report.figure import Goal
from bench.testbed import rows
from bench.testbed.databases import migrated
from bench.testbed.testbed import PYTHON, Testbed, Testbeds
from deploy.local.system.errors import LocalError
from runtimes.container_spec import LABEL_GAME_ID, container_name

_QUICK_ENGINES, _QUICK_SECONDS, _INTERVAL_SECONDS = 200, 5.0, 15.0
_LIMIT = 0.2
# The kernel gives a limited number of ports per minute for one address and port.
_ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 42))
_TOLERANCE = 0.2


@contextmanager
def probes(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Whole intervals, one after the other, of ``each`` engines. A process beside it plays the engines and Docker."""
    testbed = testbeds.get()
    count, seconds = (_QUICK_ENGINES, _QUICK_SECONDS) if testbeds.quick else (each, _INTERVAL_SECONDS)
    testbeds.progress("creating a database and the engines")
    containers = _containers(testbed, count)
    workspace = testbed.stack.workspace
    socket = str(workspace.sockets / "engines.sock")
    name = f"prober, {count} engines in {seconds:.0f} s"
    with ExitStack() as opened:
        address = opened.enter_context(migrated(testbed, "probes"))
        engines = opened.enter_context(Inside("bench.inside.engines", python=PYTHON, workspace=workspace, settings={}))
        port = engines.ask("serve", addresses=_ADDRESSES, socket=socket, containers=containers)
        rows.fill_games(address, count, port=port, network=testbed.config.docker_network)
        settings = {"DATABASE_URL": address, "DOCKER_HOST": f"unix://{socket}", "PROBE_INTERVAL": f"{seconds:.0f}s"}
        prober = opened.enter_context(
            Inside("bench.inside.probing", python=PYTHON, workspace=workspace, settings=settings)
        )
        # The prober spreads the first probes over the interval.
        prober.ask("work", seconds=seconds / 3)

        def turn() -> float:
            busy, asked = _measure_interval(engines, prober, seconds=seconds, expected=count)
            return busy / asked * count / seconds

        yield Contest(
            "Probes",
            "of one core",
            {name: turn},
            (Goal(f"{count} engines per {seconds:.0f} s, share of one core", (name,), limit=_LIMIT),),
            notes=[
                (
                    "The prober with its query and its list call in each pass. Engines and Docker are one process that "
                    "responds at once; its time is not counted."
                )
            ],
        )


def _measure_interval(engines: Inside, prober: Inside, *, seconds: float, expected: int) -> tuple[float, int]:
    """Processor seconds, and the number of probes. Raises LocalError if that is far from the number of engines."""
    before = engines.ask("count")
    busy = float(prober.ask("work", seconds=seconds))
    asked = engines.ask("count") - before
    if abs(asked - expected) > _TOLERANCE * expected:
        raise LocalError(f"{asked} engines were probed within {seconds:.0f} s, not {expected}")
    return busy, asked


def _containers(testbed: Testbed, count: int) -> list[dict[str, Any]]:
    """Docker's entry of a real container, once for each engine, with its game and its address."""
    with testbed.running(1) as (game_id,):
        (real,) = testbed.docker.api.containers(filters={"label": f"{LABEL_GAME_ID}={game_id}"})
    return [_renamed(real, number, network=testbed.config.docker_network) for number in range(count)]


def _renamed(real: dict[str, Any], number: int, *, network: str) -> dict[str, Any]:
    one, game_id = deepcopy(real), f"game-{number}"
    one["Id"] = hashlib.sha256(str(number).encode()).hexdigest()
    one["Names"] = [f"/{container_name(game_id)}"]
    one["Labels"][LABEL_GAME_ID] = game_id
    one["NetworkSettings"]["Networks"][network]["IPAddress"] = _ADDRESSES[number % len(_ADDRESSES)]
    return one
