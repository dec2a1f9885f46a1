"""One module per figure or two: a context that sets up, yields the contest, and cleans up after the last round."""

from collections.abc import Mapping
from types import MappingProxyType

from bench.measures import (
    growth,
    idle,
    outside_kill,
    probes,
    ready,
    reconcile,
    replays,
    rest,
    starts,
    swarm,
    throughput,
    workers,
)
from bench.session import Measure

# ``bench.plans.PLANS`` has the same keys, and the order.
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "starts": starts.fresh_starts,
        "starts_settled": starts.settled_starts,
        "throughput": throughput.throughput,
        "outside_kill": outside_kill.outside_kill,
        "replays": replays.many_at_once,
        "one_at_a_time": replays.one_at_a_time,
        "rest": rest.one_caller,
        "callers": rest.many_callers,
        "reconcile": reconcile.reconcile,
        "probes": probes.probes,
        "growth": growth.growth,
        "workers": workers.fresh_starts,
        "waiting": workers.waiting,
        "idle": idle.processor_time,
        "memory": idle.memory,
        "ready": ready.ready,
        "swarm": swarm.swarm_starts,
    }
)
