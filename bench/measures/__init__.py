"""One module per figure: ``measure(grounds)`` gives the figure. The order here is that of the report."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench.figure import Figure
from bench.ground import Grounds
from bench.measures import (
    growth,
    idle,
    outside_kill,
    probes,
    reconcile,
    replays,
    rest,
    starts,
    starts_settled,
    throughput,
    workers,
)

Measure = Callable[[Grounds], Figure]

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "starts": starts.measure,
        "throughput": throughput.measure,
        "outside_kill": outside_kill.measure,
        "replays": replays.measure,
        "rest": rest.measure,
        "callers": rest.measure_callers,
        "reconcile": reconcile.measure,
        "probes": probes.measure,
        "growth": growth.measure,
        "starts_settled": starts_settled.measure,
        "workers": workers.measure,
        "waiting": workers.measure_waiting,
        "idle": idle.measure,
        "memory": idle.measure_memory,
    }
)
