"""Counters for events that leave no row: completed periodic tasks and probes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from celery.signals import task_postrun
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from operations.monitoring import counters

log = structlog.get_logger(__name__)

TASKS = "periodic_tasks"
TASK_STATES = ("success", "failure")
PROBES = "probes"
PROBE_RESULTS = ("success", "failure")
_PREFIX = "rtmanager."


def periodic_tasks(schedule: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names under which the tasks of the schedule are counted."""
    return sorted(entry["task"].removeprefix(_PREFIX) for entry in schedule.values())


@task_postrun.connect
def count_periodic(task: Any, state: str | None = None, **_details: Any) -> None:
    """Count how a periodic task ended. The database counts operations when they complete."""
    name = task.name.removeprefix(_PREFIX)
    if name in periodic_tasks(settings.RTM_SCHEDULE):
        _count(TASKS, name, "success" if state == "SUCCESS" else "failure")


def count_probes(successes: Iterable[bool]) -> None:
    """Count successful and failed probes."""
    for is_success, number in Counter(successes).items():
        _count(PROBES, PROBE_RESULTS[0 if is_success else 1], number=number)


def _count(series: str, *labels: str, number: int = 1) -> None:
    try:
        counters.count(series, *labels, number=number)
    except (DatabaseError, InterfaceError) as error:
        # The work is done; only the counter misses it.
        log.info("counter_not_written", series=series, error=str(error).strip())
