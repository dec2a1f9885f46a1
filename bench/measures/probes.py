"""What it costs to ask ten thousand engines within one interval of probes, all of them well."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from typing import Any

from bench import rows
from bench.databases import migrated
from bench.figure import Figure, Goal, Series
from bench.fleet import fleet
from bench.ground import PYTHON, Ground, Grounds
from bench.inside.asked import Inside
from deploy.local.system.errors import LocalError
from runtimes.container_spec import LABEL_GAME_ID, container_name

_ENGINES, _QUICK_ENGINES = 10_000, 200
_INTERVAL_SECONDS, _QUICK_SECONDS = 15.0, 5.0
_ROUNDS = 3
# To one address and port, the kernel gives a limited number of ports a minute.
_ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 42))
_TOLERANCE = 0.2


def measure(grounds: Grounds) -> Figure:
    """Whole rounds, one after the other; the engines and Docker are played by a process beside it."""
    ground = grounds.get()
    count, seconds = (_QUICK_ENGINES, _QUICK_SECONDS) if grounds.quick else (_ENGINES, _INTERVAL_SECONDS)
    grounds.progress("setting up a database and the engines")
    containers = _containers(ground, count)
    workspace = ground.stack.workspace
    socket = str(workspace.sockets / "engines.sock")
    with ExitStack() as up:
        address = up.enter_context(migrated(ground, "probes"))
        engines = up.enter_context(Inside("bench.inside.engines", python=PYTHON, workspace=workspace, settings={}))
        port = engines.ask("serve", addresses=_ADDRESSES, socket=socket, containers=containers)
        rows.fill_games(address, count, port=port, network=ground.config.docker_network)
        settings = {"DATABASE_URL": address, "DOCKER_HOST": f"unix://{socket}", "PROBE_INTERVAL": f"{seconds:.0f}s"}
        prober = up.enter_context(Inside("bench.inside.probing", python=PYTHON, workspace=workspace, settings=settings))
        # It begins in the middle of things: all are launched over the first round.
        prober.ask("work", seconds=seconds / 3)
        rounds = []
        for number in range(1 if grounds.quick else _ROUNDS):
            grounds.progress(f"{count} engines in {seconds:.0f} s, {number + 1} of {_ROUNDS}")
            rounds.append(_measure_round(engines, prober, seconds=seconds, expected=count))
    return _figure(rounds, count=count, seconds=seconds)


def _measure_round(engines: Inside, prober: Inside, *, seconds: float, expected: int) -> tuple[float, int]:
    """Seconds on a core, and how many were asked. LocalError when that is not about as many as there are."""
    before = engines.ask("count")
    busy = float(prober.ask("work", seconds=seconds))
    asked = engines.ask("count") - before
    if abs(asked - expected) > _TOLERANCE * expected:
        message = f"{asked} engines were asked within {seconds:.0f} s, not {expected}"
        raise LocalError(message)
    return busy, asked


def _figure(rounds: Sequence[tuple[float, int]], *, count: int, seconds: float) -> Figure:
    name = f"prober, {count} engines in {seconds:.0f} s"
    share = Series.of(name, "of one core", [busy / asked * count / seconds for busy, asked in rounds])
    each = share.median * seconds / count * 1e6
    return Figure(
        key="probes",
        title="Probes",
        series=(share,),
        goals=(Goal(f"{count} engines per {seconds:.0f} s, share of one core", share.median, 1.0),),
        notes=(
            f"{each:.0f} µs on a core for each engine: a connection, a request, an answer, its share of the list.",
            (
                "The prober with its own query and its own list call at each round; engines and Docker are a process "
                "that answers at once, which is not counted."
            ),
        ),
    )


def _containers(ground: Ground, count: int) -> list[dict[str, Any]]:
    """As Docker lists them: a real one, many times, each with a game and an address of its own."""
    with fleet(ground, 1) as (game_id,):
        (real,) = ground.docker.api.containers(filters={"label": f"{LABEL_GAME_ID}={game_id}"})
    return [_renamed(real, number, network=ground.config.docker_network) for number in range(count)]


def _renamed(real: dict[str, Any], number: int, *, network: str) -> dict[str, Any]:
    one, game_id = deepcopy(real), f"game-{number}"
    one["Id"] = hashlib.sha256(str(number).encode()).hexdigest()
    one["Names"] = [f"/{container_name(game_id)}"]
    one["Labels"][LABEL_GAME_ID] = game_id
    one["NetworkSettings"]["Networks"][network]["IPAddress"] = _ADDRESSES[number % len(_ADDRESSES)]
    return one
