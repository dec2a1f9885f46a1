"""The periodic Celery tasks. Their results are kept in PostgreSQL for a week, so that operators see that they ran."""

from datetime import timedelta

import structlog
from celery import current_app, shared_task

from operations import black_boxes, outbox, retention, tallies
from operations.inspection import inspect_all
from operations.reconciler import reconcile_all
from runtimes.containers.base import ContainersUnavailableError

log = structlog.get_logger(__name__)

# Published events serve questions and repair; the operation log itself is kept for ever.
_PUBLISHED_KEPT = timedelta(days=30)
_DELETED_AT_ONCE = 5000


@shared_task(name="rtmanager.reconcile")
def reconcile() -> int:
    """Compare all records with Docker and ask for repairs; returns how many. Idempotent."""
    return reconcile_all()


@shared_task(name="rtmanager.inspect_runtimes")
def inspect_runtimes() -> dict[str, int]:
    """Look at the health of all running games' containers; returns what was seen and found. Idempotent."""
    try:
        return inspect_all()
    except ContainersUnavailableError as error:
        # Unknown is no verdict; the watcher, which is told at once, warns of the outage.
        log.info("inspect_skipped", reason=error.message)
        return {}


@shared_task(name="rtmanager.clean_up_expired")
def clean_up_expired() -> int:
    """Ask for the cleanup of containers stopped longer than the retention; returns how many. Idempotent, bounded."""
    return retention.clean_up_expired()


@shared_task(name="rtmanager.trim_outbox")
def trim_outbox() -> int:
    """Delete events published more than 30 days ago; returns how many. Idempotent, bounded per call."""
    return outbox.forget_published_before(age=_PUBLISHED_KEPT, limit=_DELETED_AT_ONCE)


@shared_task(name="rtmanager.trim_results", ignore_result=True)
def trim_results() -> None:
    """Forget what periodic tasks returned more than a week ago. Idempotent."""
    current_app.backend.cleanup()


@shared_task(name="rtmanager.fold_tallies", ignore_result=True)
def fold_tallies() -> None:
    """Sum up what was counted since the last time. Idempotent; no figure changes by it."""
    tallies.fold()


@shared_task(name="rtmanager.trim_black_boxes")
def trim_black_boxes() -> int:
    """Delete all but each game's newest black boxes; returns how many. Idempotent, bounded per call."""
    return black_boxes.forget_oldest()
