"""What machines watch: figures in the text format of Prometheus, measured when they are asked for.

All but the requests (``rtmanager.api.requests``) are those of the whole service: nothing of them is in memory, so
nothing is lost with a process and every web process tells the same. What is not known has no sample; it is never zero.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from rest_framework.request import Request

from operations.pulses import LOOPS, WORKER_PREFIX, PulseName
from operations.states import OPEN_STATES
from operations.tallies import Tallies
from operations.vitals import Beat, Figures
from rtmanager import __version__
from rtmanager.api import requests
from rtmanager.api.counters import COUNTERS, HISTOGRAMS, TallyCollector
from rtmanager.api.observation import Scrape, scrape
from rtmanager.api.views import PublicView
from runtimes.states import RuntimeStatus

# The values of the labels, and the figure; None is unknown.
Sample = tuple[tuple[str, ...], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One gauge: what it is called, what it says, and how it is read off what was seen."""

    name: str
    help: str
    read: Callable[[Scrape], Iterable[Sample]]
    labels: tuple[str, ...] = ()


def _figure(read: Callable[[Figures], float | None]) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda seen: [((), read(seen.figures))] if seen.figures else []


def _pulse_age(name: str) -> Callable[[Scrape], Iterable[Sample]]:
    return _figure(lambda figures: figures.age_of(name))


def _round_trip(figures: Figures) -> float | None:
    canary = figures.pulses.get(PulseName.CANARY)
    return canary.detail.get("round_trip_seconds") if canary else None


def _oldest_open(figures: Figures) -> float:
    return figures.oldest_open.age_seconds if figures.oldest_open else 0.0


def _counts(names: Iterable[str], counted: Callable[[Figures], Mapping[str, int]]) -> Callable[..., Iterable[Sample]]:
    """A count per name; who has none is zero, not missing."""
    return lambda seen: [((str(name),), counted(seen.figures).get(name, 0)) for name in names] if seen.figures else []


def _loop_ages(seen: Scrape) -> Iterable[Sample]:
    return [((str(name),), seen.figures.age_of(name)) for name in LOOPS] if seen.figures else []


def _streams(attribute: str) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda seen: [((name,), getattr(one, attribute)) for name, one in (seen.backlogs or {}).items()]


def _dependencies(seen: Scrape) -> Iterable[Sample]:
    return [((name,), 0.0 if reason else 1.0) for name, reason in seen.reasons.items()]


def _vitals(seen: Scrape) -> Iterable[Sample]:
    known = {name: said for name, said in seen.verdicts.items() if not said.startswith("unknown")}
    return [((name,), 1.0 if said in {"ok", "starting"} else 0.0) for name, said in known.items()]


def _tallied(read: Callable[[Tallies], float]) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda seen: [((), read(seen.tallies))] if seen.tallies else []


def _workers(figures: Figures) -> list[Beat]:
    """Those that have said within four of their beats that they are there."""
    return [
        beat
        for name, beat in figures.pulses.items()
        if name.startswith(WORKER_PREFIX) and beat.age_seconds <= _LONGEST_SILENCE_SECONDS
    ]


def _slots(seen: Scrape) -> Iterable[Sample]:
    if seen.figures is None:
        return []
    told = [beat.detail for beat in _workers(seen.figures)]
    busy, hands = (sum(one.get(name, 0) for one in told) for name in ("busy", "hands"))
    return [(("busy",), busy), (("free",), max(0, hands - busy))]


def _queues(seen: Scrape) -> Iterable[Sample]:
    return [((name,), number) for name, number in (seen.queues or {}).items()]


def _build(_seen: Scrape) -> Iterable[Sample]:
    return [((__version__, platform.python_version()), 1.0)]


_LONGEST_SILENCE_SECONDS = 60.0

METRICS = (
    Metric("rtmanager_dependency_up", "Whether the service can use this server.", _dependencies, ("dependency",)),
    Metric("rtmanager_vital_ok", "Whether readyz finds this vital sign in order.", _vitals, ("vital",)),
    Metric("rtmanager_canary_age_seconds", "Since a test message last got through.", _pulse_age(PulseName.CANARY)),
    Metric("rtmanager_canary_round_trip_seconds", "How long the last test message took.", _figure(_round_trip)),
    Metric("rtmanager_relist_age_seconds", "Since records were compared with Docker.", _pulse_age(PulseName.RELIST)),
    Metric("rtmanager_docker_event_age_seconds", "Since Docker last told of a container of ours.",
           _pulse_age(PulseName.DOCKER_EVENT)),
    Metric("rtmanager_loop_age_seconds", "Since this loop last ended a pass.", _loop_ages, ("loop",)),
    Metric("rtmanager_operations_open", "Operations not finished yet.",
           _counts(OPEN_STATES, lambda figures: figures.open_by_state), ("state",)),
    Metric("rtmanager_operation_oldest_open_age_seconds", "Since the oldest open operation was accepted.",
           _figure(_oldest_open)),
    Metric("rtmanager_lease_overdue_seconds", "Since the longest expired lease ended.",
           _figure(lambda figures: figures.overdue.age_seconds if figures.overdue else 0.0)),
    Metric("rtmanager_outbox_unpublished", "Events not yet on their streams.",
           _figure(lambda figures: figures.unpublished)),
    Metric("rtmanager_outbox_oldest_age_seconds", "Since the oldest of them was queued.",
           _figure(lambda figures: figures.oldest_unpublished_seconds)),
    Metric("rtmanager_stream_lag", "Jobs on a stream that nobody has read.", _streams("lag"), ("stream",)),
    Metric("rtmanager_stream_pending", "Jobs read but not acknowledged.", _streams("pending"), ("stream",)),
    Metric("rtmanager_stream_oldest_age_seconds", "Since the oldest of either was written.",
           _streams("oldest_age_seconds"), ("stream",)),
    Metric("rtmanager_runtimes", "Games on record.",
           _counts(RuntimeStatus, lambda figures: figures.runtimes_by_status), ("status",)),
    Metric("rtmanager_workers_alive", "Workers that have said within a minute that they are there.",
           _figure(lambda figures: len(_workers(figures)))),
    Metric("rtmanager_worker_slots", "What those workers can do at once.", _slots, ("state",)),
    Metric("rtmanager_queue_messages", "Messages that wait in Celery's queues.", _queues, ("queue",)),
    Metric("rtmanager_image_pulls_running", "Pulls under way.", _tallied(lambda told: told.pulls_running)),
    Metric("rtmanager_operations_awaiting_image", "Operations that wait for a pull.",
           _tallied(lambda told: told.awaiting_image)),
    Metric("rtmanager_dead_letters_waiting", "Dead letters that nobody has redriven.",
           _tallied(lambda told: told.letters_waiting)),
    Metric("rtmanager_tally_entries", "Counts that are not summed up yet.", _tallied(lambda told: told.entries)),
    Metric("rtmanager_build_info", "What runs here; always 1.", _build, ("version", "python")),
)  # fmt: skip


# Every metric there is, with its labels.
CATALOGUE: Mapping[str, tuple[str, ...]] = {
    **{metric.name: metric.labels for metric in METRICS},
    **{counted.name: counted.labels for counted in (*COUNTERS, *HISTOGRAMS)},
    **requests.LABELS,
}


class GaugeCollector(Collector):
    """All gauges of one look; made anew for each scrape."""

    def __init__(self, seen: Scrape) -> None:
        self._seen = seen

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Each metric, also one of which nothing is known: its name and meaning are there, its samples are not."""
        for metric in METRICS:
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.read(self._seen):
                if value is not None:
                    family.add_metric(labels, value)
            yield family


def render(seen: Scrape) -> bytes:
    """The page that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(GaugeCollector(seen))
    registry.register(TallyCollector(seen.tallies))
    requests.begin_at_zero()
    registry.register(requests.REQUESTS)
    registry.register(requests.SECONDS)
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class MetricsView(PublicView):
    """The figures. Not part of the wire contract of callers, and so not of its document."""

    @extend_schema(exclude=True)
    def get(self, _request: Request) -> HttpResponse:
        """Looks at the same things as readyz, and answers 200 whatever it finds."""
        return HttpResponse(render(scrape()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
