"""A Swarm service per game, next to the raw SDK. The last figure: Docker 20.10 may not release a network of Swarm."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench.contest import Contest, NotMeasurableError
from bench.measures.starts import SDK
from bench.report.figure import Goal
from bench.rivals.docker_sdk import RawSdk
from bench.rivals.spec import Specs, differences
from bench.rivals.swarm import Swarm, swarm
from bench.testbed.testbed import Testbed, Testbeds, fresh
from runtimes.container_spec import container_name

_SWARM = "Swarm service"


@contextmanager
def swarm_starts(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Raises NotMeasurableError on an engine that does not belong to the benchmark."""
    if not testbeds.owns_engine:
        raise NotMeasurableError("the engine would have to become a swarm, and it does not belong to the benchmark")
    testbed = testbeds.get()
    specs = Specs(testbed)
    notes: list[str] = []
    with closing(RawSdk(testbed.stack.docker_host, specs)) as sdk:

        def raw() -> list[float]:
            games = fresh("sdk", each)
            took = [sdk.started(game) for game in games]
            sdk.clear(games)
            return took

        def services() -> list[float]:
            with swarm(testbed.stack.docker_host, specs) as engine:
                # The first service sets up what the others use.
                notes[:] = [_compare(testbed, engine, sdk)]
                games = fresh("swarm", each)
                took = [engine.started(game) for game in games]
                engine.clear(games)
                return took

        goal = Goal("median ÷ raw SDK", (_SWARM,), (SDK,))
        yield Contest("A Swarm service", "ms", {_SWARM: services, SDK: raw}, (goal,), notes, plot="cdf")


def _compare(testbed: Testbed, engine: Swarm, sdk: RawSdk) -> str:
    """A sentence on how its container differs from that of the SDK, which equals that of the service."""
    service, container = fresh("compare", 2)
    engine.started(service)
    sdk.started(container)
    inspect = testbed.docker.api.inspect_container
    unlike = differences(inspect(container_name(container)), inspect(engine.container_of(service)))
    engine.clear([service])
    sdk.clear([container])
    return f"From `docker service create` until its container was started. It differs in {', '.join(unlike)}."
