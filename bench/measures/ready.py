"""``make run`` where everything is installed: the time until the service is ready."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.contest import Contest
from bench.inside.asked import Inside
from bench.report.figure import Goal
from bench.testbed.testbed import Testbeds
from deploy.local.venv import PROJECT

_NAME = "start of Python until /readyz responds"
_LIMIT_SECONDS = 5.0


@contextmanager
def ready(testbeds: Testbeds, _each: int) -> Iterator[Contest]:
    """Start and stop a second stack in a workspace of its own, on the engine that runs already."""
    stack = testbeds.get().stack

    def turn() -> float:
        began = time.perf_counter()
        with Inside(
            "bench.inside.readiness", python=str(PROJECT.python), workspace=stack.workspace, settings={}
        ) as inside:
            inside.ask("start", docker_host=stack.docker_host)
            return time.perf_counter() - began

    yield Contest(
        "From make run to ready",
        "s",
        {_NAME: turn},
        (Goal("median in s", (_NAME,), limit=_LIMIT_SECONDS),),
        notes=[
            "PostgreSQL, Valkey, web, worker and loops start; Docker runs already, and database and images exist.",
            "`make` itself takes some 0.1 s more to check that the environment is current.",
        ],
    )
