"""A pass of the reconciler over containers without drift, next to the list call that it needs at least."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import docker

from bench.contest import Contest, Contestant
from bench.inside.asked import Inside
from bench.report.figure import Goal
from bench.rivals.docker_sdk import remove
from bench.rivals.spec import Specs
from bench.testbed import rows
from bench.testbed.databases import migrated
from bench.testbed.testbed import PYTHON, Testbed, Testbeds, fresh
from deploy.local.system.errors import LocalError
from runtimes.container_spec import LABEL_OPERATION_ID, LABEL_STACK, LABEL_STARTED_AT_MS, ContainerSpec
from runtimes.containers.docker.payloads import create_request

_SIZES, _QUICK_SIZES = (100, 300, 1000), (10, 20, 30)
_MAKERS = 4
_DOCKER_SECONDS = 120
_LIMIT = 1.5
# Growth in proportion to the number of containers, with a tolerance for noise.
_LINEAR = 1.1


@contextmanager
def reconcile(testbeds: Testbeds, _each: int) -> Iterator[Contest]:
    """Three sizes, each with a stack label and a database of its own, measured in the same rounds."""
    testbed = testbeds.get()
    _small, middle, large = sizes = _QUICK_SIZES if testbeds.quick else _SIZES
    calls: set[str] = set()
    contestants: dict[str, Contestant] = {}
    with ExitStack() as opened:
        for size in sizes:
            testbeds.progress(f"creating {size} containers")
            inside = opened.enter_context(_installation(testbed, size))
            contestants |= {_ours(size): _reconcile(inside, calls), _raw(size): _list(inside, size)}
        # The notes name the requests of a pass.
        contestants[_ours(large)]()
        yield Contest(
            "Reconcile without drift",
            "ms",
            contestants,
            (
                Goal(f"{large} containers ÷ one list call", (_ours(large),), (_raw(large),), limit=_LIMIT),
                Goal(
                    f"{large} containers ÷ {middle}", (_ours(large),), (_ours(middle),), limit=large / middle * _LINEAR
                ),
            ),
            notes=[
                f"The requests of a pass, counted in the SDK's session: {', '.join(sorted(calls))}, once. No inspect.",
                (
                    "A pass reads all records twice, the games with open operations, and the operations that created "
                    "the containers. The containers were never started, and their records say stopped: no drift."
                ),
                f"All {sum(sizes):,} containers exist at the same time, so Docker searches all of them for each list.",
            ],
        )
        testbeds.progress("removing the containers")


def _ours(size: int) -> str:
    return f"Runtime Manager, {size} containers"


def _raw(size: int) -> str:
    return f"docker SDK, one list call, {size}"


def _reconcile(inside: Inside, calls: set[str]) -> Callable[[], float]:
    def turn() -> float:
        response = inside.ask("reconcile")
        calls.update(response["requests"])
        if response["repairs"] or sum(response["requests"].values()) != 1:
            raise LocalError(f"the pass found drift, or sent more than one request: {response}")
        return float(response["ms"])

    return turn


def _list(inside: Inside, size: int) -> Callable[[], float]:
    def turn() -> float:
        response = inside.ask("list")
        if response["found"] != size:
            raise LocalError(f"{response['found']} containers were listed, not {size}")
        return float(response["ms"])

    return turn


@contextmanager
def _installation(testbed: Testbed, size: int) -> Iterator[Inside]:
    """A reconciler with this number of containers that were never started, and with their records and operations."""
    stack = f"{testbed.config.stack}-{size}"
    specs, game_ids = Specs(testbed), fresh("created", size)
    with ExitStack() as opened:
        address = opened.enter_context(migrated(testbed, f"reconcile_{size}"))
        client = opened.enter_context(
            closing(docker.APIClient(base_url=testbed.stack.docker_host, version="auto", timeout=_DOCKER_SECONDS))
        )
        operations = dict(zip(game_ids, rows.reserve_operations(address, size), strict=True))

        def create(game_id: str) -> dict[str, Any]:
            spec = _labelled(specs.make(game_id), stack=stack, operation_id=operations[game_id])
            made = client.create_container_from_config(create_request(spec), spec.name)  # type: ignore[no-untyped-call]
            return {"game_id": game_id, "operation_id": operations[game_id], "container_id": made["Id"]}

        with ThreadPoolExecutor(_MAKERS) as makers:
            rows.add_stopped(address, list(makers.map(create, game_ids)))
        settings = {"DATABASE_URL": address, "STACK": stack}
        with Inside(
            "bench.inside.reconciling", python=PYTHON, workspace=testbed.stack.workspace, settings=settings
        ) as inside:
            # The first pass also connects, and asks for the version of the engine.
            inside.ask("reconcile")
            yield inside
        remove(client, game_ids)
        for game_id in game_ids:
            specs.forget(game_id)


def _labelled(spec: ContainerSpec, *, stack: str, operation_id: int) -> ContainerSpec:
    """The specification as that operation of that stack has it."""
    labels = {
        LABEL_STACK: stack,
        LABEL_OPERATION_ID: str(operation_id),
        LABEL_STARTED_AT_MS: str(time.time_ns() // 10**6),
    }
    return replace(spec, labels={**spec.labels, **labels})
