"""A round of the reconciler over containers as they should be, next to the list call that it cannot do without."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import docker

from bench import rows
from bench.figure import Figure, Goal, Series
from bench.ground import PYTHON, Ground, Grounds
from bench.inside.asked import Inside
from bench.names import fresh
from bench.rivals.docker_sdk import remove
from bench.rivals.spec import Specs
from bench.rounds import interleave
from deploy.local.system.errors import LocalError
from runtimes.container_spec import LABEL_OPERATION_ID, LABEL_STACK, LABEL_STARTED_AT_MS, ContainerSpec
from runtimes.containers.docker.payloads import create_request

_SIZES, _QUICK_SIZES = (100, 300, 1000), (10, 20, 30)
_MAKERS = 4
_LIMIT = 1.5
# A line through nothing would be exactly the ratio of the sizes; what varies from run to run is allowed for.
_LINEAR = 1.1


def measure(grounds: Grounds) -> Figure:
    """Three sizes; what is there is added to."""
    ground = grounds.get()
    sizes, rounds = (_QUICK_SIZES, 2) if grounds.quick else (_SIZES, 15)
    series: list[Series] = []
    calls: set[str] = set()
    with ExitStack() as up:
        inside = up.enter_context(
            Inside("bench.inside.reconciling", python=PYTHON, workspace=ground.stack.workspace, settings={})
        )
        # The first one also connects, and asks for the engine's version.
        inside.ask("reconcile")
        for before, size in zip((0, *sizes), sizes, strict=False):
            grounds.progress(f"making containers, {before} to {size}")
            up.enter_context(_created(ground, size - before))
            reconcile = _reconcile(inside, calls)
            contestants = {_ours(size): reconcile, _raw(size): _list(inside, size)}
            for warm_up in contestants.values():
                warm_up()
            found = interleave(contestants, rounds=rounds)
            series += [Series.of(name, "ms", samples) for name, samples in found.items()]
        grounds.progress("removing them")
    return Figure("reconcile", "Reconcile without drift", tuple(series), _goals(series, sizes), _notes(calls))


def _ours(size: int) -> str:
    return f"Runtime Manager, {size} containers"


def _raw(size: int) -> str:
    return f"docker SDK, one list call, {size}"


def _reconcile(inside: Inside, calls: set[str]) -> Callable[[], float]:
    def reconcile() -> float:
        response = inside.ask("reconcile")
        calls.update(response["requests"])
        if response["repairs"] or sum(response["requests"].values()) != 1:
            message = f"the round was not what it should have been: {response}"
            raise LocalError(message)
        return float(response["ms"])

    return reconcile


def _list(inside: Inside, size: int) -> Callable[[], float]:
    def list_raw() -> float:
        response = inside.ask("list")
        if response["found"] != size:
            message = f"{response['found']} containers were listed, not {size}"
            raise LocalError(message)
        return float(response["ms"])

    return list_raw


@contextmanager
def _created(ground: Ground, count: int) -> Iterator[None]:
    """Containers of the service that were never started, with the records and operations of them."""
    address, specs = ground.config.database_url, Specs(ground)
    game_ids = fresh("created", count)
    operations = dict(zip(game_ids, rows.reserve_operations(address, count), strict=True))
    with closing(docker.APIClient(base_url=ground.stack.docker_host, version="auto")) as client:

        def create(game_id: str) -> dict[str, Any]:
            spec = _labelled(specs.make(game_id), stack=ground.config.stack, operation_id=operations[game_id])
            made = client.create_container_from_config(create_request(spec), spec.name)  # type: ignore[no-untyped-call]
            return {"game_id": game_id, "operation_id": operations[game_id], "container_id": made["Id"]}

        try:
            with ThreadPoolExecutor(_MAKERS) as makers:
                games = list(makers.map(create, game_ids))
            # Only now: an operation that has ended and a container without a record would be drift.
            rows.add_stopped(address, games)
            yield
        finally:
            rows.forget_games(address, game_ids)
            remove(client, game_ids)
            for game_id in game_ids:
                specs.forget(game_id)


def _labelled(spec: ContainerSpec, *, stack: str, operation_id: int) -> ContainerSpec:
    """As if that operation of that stack had made it just now."""
    labels = {
        LABEL_STACK: stack,
        LABEL_OPERATION_ID: str(operation_id),
        LABEL_STARTED_AT_MS: str(time.time_ns() // 10**6),
    }
    return replace(spec, labels={**spec.labels, **labels})


def _goals(series: Sequence[Series], sizes: Sequence[int]) -> tuple[Goal, ...]:
    named = {one.name: one.median for one in series}
    _small, middle, large = sizes
    growth = named[_ours(large)] / named[_ours(middle)]
    return (
        Goal(f"{large} containers, against one list call", named[_ours(large)] / named[_raw(large)], _LIMIT),
        Goal(f"{large} containers against {middle}", growth, large / middle * _LINEAR),
    )


def _notes(calls: Collection[str]) -> tuple[str, ...]:
    return (
        f"What a round asks of Docker, seen in the SDK's session: {', '.join(sorted(calls))}, once. No inspection.",
        (
            "A round reads all records twice, the games with open operations, and the operations that made the "
            "containers. The containers were created and never started, and their records say stopped: no drift."
        ),
    )
