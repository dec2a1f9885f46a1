"""Counters and histograms, read from the database, so that no restart resets them.

Each starts at zero for every label value, so that an alert on an increase sees the first event too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, product

from django.conf import settings
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from operations.messages import HealthEventType, job_parsers
from operations.monitoring.counters import BOUNDS, CounterTotals, Histogram, Labels
from operations.states import ExitCause, OperationKind, Outcome, Topic
from runtimes.exceptions import ErrorCode
from tasks.worker.task_counters import PROBE_RESULTS, PROBES, TASK_STATES, TASKS, periodic_tasks


@dataclass(frozen=True, slots=True)
class CounterSpec:
    """One counter or histogram of durations: its series in the database, and the values of its labels."""

    name: str
    help: str
    series: str
    labels: tuple[str, ...]
    label_values: Callable[[], Iterable[Labels]]


def _each(values: Iterable[str]) -> Callable[[], list[Labels]]:
    return lambda: [(str(value),) for value in values]


def _completions() -> Iterator[Labels]:
    """Return all combinations of kind, outcome and error code."""
    for kind in OperationKind.values:
        for code in ErrorCode:
            outcome = Outcome.SUCCESS if code == ErrorCode.REPLAY_NO_OP else Outcome.FAILURE
            yield (kind, outcome.value, code.value)
        yield (kind, Outcome.SUCCESS.value, "")


def _streams() -> list[Labels]:
    return [(name,) for name in job_parsers()]


_KINDS = _each(OperationKind.values)

COUNTERS = (
    CounterSpec("rtmanager_operations_finished_total", "Completed operations.", "operations_finished",
            ("kind", "outcome", "error_code"), _completions),
    CounterSpec("rtmanager_operations_deferred_total", "Retries of operations because a server was unavailable.",
            "operations_deferred", ("kind",), _KINDS),
    CounterSpec("rtmanager_operations_taken_over_total", "Operations taken over from a dead worker.",
            "operations_taken_over", ("kind",), _KINDS),
    CounterSpec("rtmanager_health_events_total", "Reported health events.", "health_events",
            ("event_type",), _each(HealthEventType)),
    CounterSpec("rtmanager_dead_letters_total", "Stream entries without a valid job.", "dead_letters",
            ("stream",), _streams),
    CounterSpec("rtmanager_dead_letters_redriven_total", "Dead letters redriven as jobs.", "dead_letters_redriven",
            ("stream",), _streams),
    CounterSpec("rtmanager_exit_reports_total", "Stored exit reports.", "exit_reports",
            ("cause",), _each(ExitCause.values)),
    CounterSpec("rtmanager_probes_total", "Completed engine probes.", PROBES, ("result",), _each(PROBE_RESULTS)),
    CounterSpec("rtmanager_periodic_tasks_total", "Completed periodic tasks.", TASKS, ("task", "state"),
            lambda: product(periodic_tasks(settings.RTM_SCHEDULE), TASK_STATES)),
)  # fmt: skip
HISTOGRAMS = (
    CounterSpec("rtmanager_operation_wait_seconds", "Time from acceptance to the first claim.", "operation_wait",
            ("kind",), _KINDS),
    CounterSpec("rtmanager_operation_run_seconds", "Time from the first claim to completion.", "operation_run",
                ("kind",), _KINDS),
    CounterSpec("rtmanager_operation_docker_seconds", "Time in Docker calls.", "operation_docker",
            ("kind",), _KINDS),
    CounterSpec("rtmanager_event_publication_seconds", "Time from queueing an event to its publication.",
            "event_publication", ("topic",), _each(Topic.values)),
    CounterSpec("rtmanager_image_pull_seconds", "Duration of image pulls.", "image_pull",
            ("outcome",), _each([*Outcome.values, "unknown"])),
)  # fmt: skip


def families(totals: CounterTotals | None) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
    """Return all counters and histograms of one query; without samples if the database did not respond (None)."""
    for spec in COUNTERS:
        counter = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
        for labels, histogram in _values(spec, totals):
            counter.add_metric(labels, histogram.number)
        yield counter
    for spec in HISTOGRAMS:
        family = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
        for labels, histogram in _values(spec, totals):
            buckets = zip([*map(str, BOUNDS), "+Inf"], accumulate(map(float, histogram.buckets)), strict=True)
            family.add_metric(labels, list(buckets), sum_value=histogram.seconds)
        yield family


def _values(spec: CounterSpec, totals: CounterTotals | None) -> Iterable[tuple[Labels, Histogram]]:
    if totals is None:
        return []
    return {**{labels: Histogram() for labels in spec.label_values()}, **totals.of(spec.series)}.items()
