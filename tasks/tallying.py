"""Counts what leaves no row: periodic tasks that ended, and probes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from celery.signals import task_postrun
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from operations import tallies

log = structlog.get_logger(__name__)

TASKS = "periodic_tasks"
TASK_STATES = ("success", "failure")
PROBES = "probes"
PROBE_RESULTS = ("success", "failure")
_PREFIX = "rtmanager."


def periodic_tasks(schedule: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the clock sends, by the names under which it is counted."""
    return sorted(entry["task"].removeprefix(_PREFIX) for entry in schedule.values())


@task_postrun.connect
def count_periodic(task: Any, state: str | None = None, **_details: Any) -> None:
    """Note how a periodic task ended. Operations are counted where they end, in the database."""
    name = task.name.removeprefix(_PREFIX)
    if name in periodic_tasks(settings.RTM_SCHEDULE):
        _count(TASKS, name, "success" if state == "SUCCESS" else "failure")


def count_probes(were_well: Iterable[bool]) -> None:
    """Note how many engines have answered well, and how many not."""
    for is_well, number in Counter(were_well).items():
        _count(PROBES, PROBE_RESULTS[0 if is_well else 1], number=number)


def _count(series: str, *labels: str, number: int = 1) -> None:
    try:
        tallies.count(series, *labels, number=number)
    except (DatabaseError, InterfaceError) as error:
        # The work itself has been done; what is missing is one in a figure.
        log.info("tally_not_written", series=series, error=str(error).strip())
