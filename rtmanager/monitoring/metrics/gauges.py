"""Prometheus gauges, measured at each scrape.

All but the HTTP requests (``metrics.http``) describe the whole service. They are not kept in memory, so a restart
loses nothing and each web process reports the same. An unknown value has no sample; it is never zero.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from operations.monitoring.component_status import Backlogs, ComponentState, HeartbeatStatus, ServiceStats
from operations.monitoring.counters import CounterTotals
from operations.monitoring.heartbeats import LOOPS, WORKER_PREFIX, HeartbeatName
from operations.states import OPEN_STATES
from rtmanager import __version__
from rtmanager.monitoring.metrics import counters, http
from rtmanager.monitoring.snapshot import ServiceSnapshot
from runtimes.states import RuntimeStatus

S = TypeVar("S")

_LONGEST_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Gauge(Generic[S]):
    """One gauge, and how to read its value from its source: per value of the label, if it has one. None is unknown."""

    name: str
    help: str
    read: Callable[[S], float | Mapping[str, float | None] | None]
    label: str = ""


def _round_trip(stats: ServiceStats) -> float | None:
    canary = stats.heartbeats.get(HeartbeatName.CANARY)
    return canary.detail.get("round_trip_seconds") if canary else None


def _workers(stats: ServiceStats) -> list[HeartbeatStatus]:
    """Return the workers with a heartbeat within a minute, which is four intervals."""
    return [
        heartbeat
        for name, heartbeat in stats.heartbeats.items()
        if name.startswith(WORKER_PREFIX) and heartbeat.age_seconds <= _LONGEST_SILENCE_SECONDS
    ]


def _slots(stats: ServiceStats) -> dict[str, float | None]:
    details = [heartbeat.detail for heartbeat in _workers(stats)]
    busy, slots = (sum(detail.get(name, 0) for detail in details) for name in ("busy", "slots"))
    return {"busy": busy, "free": max(0, slots - busy)}


def _dependencies(snapshot: ServiceSnapshot) -> dict[str, float | None]:
    # A dependency that was not observed has no sample.
    observed = [name for name, reason in snapshot.reasons.items() if not reason or name in snapshot.failed]
    return {name: 0.0 if name in snapshot.failed else 1.0 for name in observed}


def _components(snapshot: ServiceSnapshot) -> dict[str, float | None]:
    known = {name: status for name, status in snapshot.components.items() if status.state != ComponentState.UNKNOWN}
    return {name: 0.0 if status.state == ComponentState.FAILED else 1.0 for name, status in known.items()}


# Each table reads one source. If the source is unknown, none of its gauges has a sample.
_OF_SNAPSHOT: tuple[Gauge[ServiceSnapshot], ...] = (
    Gauge("rtmanager_dependency_up", "Whether the service can use this server.", _dependencies, "dependency"),
    Gauge("rtmanager_component_ok", "1 if readyz reports this component as ok.", _components, "component"),
    Gauge("rtmanager_queue_messages", "Messages waiting in Celery queues.",
          lambda snapshot: snapshot.queues, "queue"),
)  # fmt: skip
_OF_STATS: tuple[Gauge[ServiceStats], ...] = (
    Gauge("rtmanager_canary_age_seconds", "Time since the last canary message.",
          lambda stats: stats.age_of(HeartbeatName.CANARY)),
    Gauge("rtmanager_canary_round_trip_seconds", "Round trip of the last canary message.", _round_trip),
    Gauge("rtmanager_full_reconcile_age_seconds", "Time since the records were compared with Docker.",
          lambda stats: stats.age_of(HeartbeatName.FULL_RECONCILE)),
    Gauge("rtmanager_docker_event_age_seconds", "Time since the last Docker event of our containers.",
          lambda stats: stats.age_of(HeartbeatName.DOCKER_EVENT)),
    Gauge("rtmanager_loop_age_seconds", "Time since the last completed pass of this loop.",
          lambda stats: {name: stats.age_of(name) for name in LOOPS}, "loop"),
    Gauge("rtmanager_operations_open", "Open operations.",
          lambda stats: {state: stats.open_by_state.get(state, 0) for state in OPEN_STATES}, "state"),
    Gauge("rtmanager_operation_oldest_open_age_seconds", "Age of the oldest open operation.",
          lambda stats: stats.oldest_open.age_seconds if stats.oldest_open else 0.0),
    Gauge("rtmanager_lease_overdue_seconds", "Time since the oldest expired lease ended.",
          lambda stats: stats.overdue.age_seconds if stats.overdue else 0.0),
    Gauge("rtmanager_outbox_unpublished", "Events not published yet.", lambda stats: stats.unpublished),
    Gauge("rtmanager_outbox_oldest_age_seconds", "Age of the oldest unpublished event.",
          lambda stats: stats.oldest_unpublished_seconds),
    Gauge("rtmanager_runtimes", "Games on record.",
          lambda stats: {status: stats.runtimes_by_status.get(status, 0) for status in RuntimeStatus}, "status"),
    Gauge("rtmanager_workers_alive", "Workers with a heartbeat within a minute.",
          lambda stats: len(_workers(stats))),
    Gauge("rtmanager_worker_slots", "Task slots of those workers.", _slots, "state"),
)  # fmt: skip
_OF_BACKLOGS: tuple[Gauge[Backlogs], ...] = (
    Gauge("rtmanager_stream_lag", "Jobs on a stream that are not read yet.",
          lambda backlogs: {name: backlog.lag for name, backlog in backlogs.items()}, "stream"),
    Gauge("rtmanager_stream_pending", "Jobs read but not acknowledged.",
          lambda backlogs: {name: backlog.pending for name, backlog in backlogs.items()}, "stream"),
    Gauge("rtmanager_stream_oldest_age_seconds", "Age of the oldest unread or unacknowledged job.",
          lambda backlogs: {name: backlog.oldest_age_seconds for name, backlog in backlogs.items()}, "stream"),
)  # fmt: skip
_OF_TOTALS: tuple[Gauge[CounterTotals], ...] = (
    Gauge("rtmanager_image_pulls_running", "Running pulls.", lambda totals: totals.pulls_running),
    Gauge("rtmanager_operations_awaiting_image", "Operations waiting for an image pull.",
          lambda totals: totals.awaiting_image),
    Gauge("rtmanager_dead_letters_waiting", "Dead letters not redriven yet.",
          lambda totals: totals.dead_letters_waiting),
    Gauge("rtmanager_counter_increments", "Counter increments not rolled up yet.", lambda totals: totals.entries),
)  # fmt: skip

_GAUGES: tuple[Gauge[Any], ...] = (*_OF_SNAPSHOT, *_OF_STATS, *_OF_BACKLOGS, *_OF_TOTALS)
# All metrics with their labels.
CATALOGUE: Mapping[str, tuple[str, ...]] = {
    **{gauge.name: (gauge.label,) if gauge.label else () for gauge in _GAUGES},
    "rtmanager_build_info": ("version", "python"),
    **{spec.name: spec.labels for spec in (*counters.COUNTERS, *counters.HISTOGRAMS)},
    **http.LABELS,
}


class SnapshotCollector(Collector):
    """All metrics of one snapshot; each scrape creates its own collector."""

    def __init__(self, snapshot: ServiceSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; one without a known value has no samples."""
        yield from _families(_OF_SNAPSHOT, self._snapshot)
        yield from _families(_OF_STATS, self._snapshot.stats)
        yield from _families(_OF_BACKLOGS, self._snapshot.backlogs)
        yield from _families(_OF_TOTALS, self._snapshot.counters)
        versions = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("rtmanager_build", "Version information; always 1.", value=versions)
        yield from counters.families(self._snapshot.counters)


def _families(gauges: Iterable[Gauge[S]], source: S | None) -> Iterator[GaugeMetricFamily]:
    for gauge in gauges:
        family = GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label] if gauge.label else [])
        value = None if source is None else gauge.read(source)
        for label, number in value.items() if isinstance(value, Mapping) else [("", value)]:
            if number is not None:
                family.add_metric([str(label)] if gauge.label else [], number)
        yield family


def render(snapshot: ServiceSnapshot) -> bytes:
    """Return the page for Prometheus."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(snapshot))
    http.initialise()
    registry.register(http.REQUESTS)
    registry.register(http.SECONDS)
    ProcessCollector(registry=registry)
    return generate_latest(registry)
