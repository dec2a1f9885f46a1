"""What has happened so far, as counters and histograms: read from the database, so that no restart sets them back.

Each begins at zero for every value its labels can have: an alert on an increase sees the first one, too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from django.conf import settings
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from operations.events import HealthEventType
from operations.states import BoxCause, OpKind, Outcome, Topic
from operations.tallies import BOUNDS, Histogram, Labels, Tallies
from runtimes.exceptions import ErrorCode
from tasks.bridge import job_parsers
from tasks.tallying import PROBE_RESULTS, PROBES, TASK_STATES, TASKS, periodic_tasks


@dataclass(frozen=True, slots=True)
class Counted:
    """One counter, or one histogram of durations: where it is counted, and what its labels can be."""

    name: str
    help: str
    series: str
    labels: tuple[str, ...]
    known: Callable[[], Iterable[Labels]]


def _each(values: Iterable[str]) -> Callable[[], list[Labels]]:
    return lambda: [(str(value),) for value in values]


def _ends() -> Iterator[Labels]:
    """Every way in which an operation can end."""
    for kind in OpKind.values:
        for code in ErrorCode:
            outcome = Outcome.SUCCESS if code == ErrorCode.REPLAY_NO_OP else Outcome.FAILURE
            yield (kind, outcome.value, code.value)
        yield (kind, Outcome.SUCCESS.value, "")


def _streams() -> list[Labels]:
    return [(name,) for name in job_parsers()]


_KINDS = _each(OpKind.values)

COUNTERS = (
    Counted("rtmanager_operations_finished_total", "Operations ended.", "operations_finished",
            ("kind", "outcome", "error_code"), _ends),
    Counted("rtmanager_operations_deferred_total", "Times an operation was put off because a server was away.",
            "operations_deferred", ("kind",), _KINDS),
    Counted("rtmanager_operations_taken_over_total", "Operations of a worker that was gone, taken up by another.",
            "operations_taken_over", ("kind",), _KINDS),
    Counted("rtmanager_health_events_total", "Health events told.", "health_events",
            ("event_type",), _each(HealthEventType)),
    Counted("rtmanager_dead_letters_total", "Stream entries that no job could be read from.", "dead_letters",
            ("stream",), _streams),
    Counted("rtmanager_dead_letters_redriven_total", "Dead letters made a job after all.", "dead_letters_redriven",
            ("stream",), _streams),
    Counted("rtmanager_black_boxes_total", "Ended containers of which a black box was kept.", "black_boxes",
            ("cause",), _each(BoxCause.values)),
    Counted("rtmanager_probes_total", "Engines asked for their health.", PROBES, ("result",), _each(PROBE_RESULTS)),
    Counted("rtmanager_periodic_tasks_total", "Periodic tasks ended.", TASKS, ("task", "state"),
            lambda: product(periodic_tasks(settings.RTM_SCHEDULE), TASK_STATES)),
)  # fmt: skip
HISTOGRAMS = (
    Counted("rtmanager_operation_wait_seconds", "From acceptance to the first claim.", "operation_wait",
            ("kind",), _KINDS),
    Counted("rtmanager_operation_run_seconds", "From the first claim to the end.", "operation_run", ("kind",), _KINDS),
    Counted("rtmanager_operation_docker_seconds", "What of it was spent on Docker.", "operation_docker",
            ("kind",), _KINDS),
    Counted("rtmanager_event_publication_seconds", "From an event's queueing to its stream.", "event_publication",
            ("topic",), _each(Topic.values)),
    Counted("rtmanager_image_pull_seconds", "How long pulls took.", "image_pull",
            ("outcome",), _each([*Outcome.values, "unknown"])),
)  # fmt: skip


class TallyCollector(Collector):
    """All of the above, of one reading; None when the database did not say: then there are no samples."""

    def __init__(self, tallies: Tallies | None) -> None:
        self._tallies = tallies

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Each family, known or not."""
        for counted in COUNTERS:
            counter = CounterMetricFamily(counted.name, counted.help, labels=counted.labels)
            for labels, found in self._found(counted):
                counter.add_metric(labels, found.number)
            yield counter
        for counted in HISTOGRAMS:
            histogram = HistogramMetricFamily(counted.name, counted.help, labels=counted.labels)
            for labels, found in self._found(counted):
                histogram.add_metric(labels, _cumulative(found), sum_value=found.seconds)
            yield histogram

    def _found(self, counted: Counted) -> Iterable[tuple[Labels, Histogram]]:
        if self._tallies is None:
            return []
        return {**{labels: Histogram() for labels in counted.known()}, **self._tallies.of(counted.series)}.items()


def _cumulative(found: Histogram) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, number in zip([*map(str, BOUNDS), "+Inf"], found.places, strict=True):
        total += number
        buckets.append((bound, float(total)))
    return buckets
