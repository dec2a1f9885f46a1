"""The periodic Celery tasks. PostgreSQL keeps their results for a week, so that operators can check them."""

import time
from typing import Any

import structlog
from axes.models import AccessAttempt
from celery import Task, current_app, shared_task
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from operations import outbox
from operations.exit_reports import capture
from operations.health.inspect import inspect_all
from operations.monitoring import counters, heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.reconcile import retention
from operations.reconcile.survey import reconcile_all
from runtimes.containers.base import OBSERVATION_ERRORS

log = structlog.get_logger(__name__)

_DELETE_BATCH = 5000


# Each of these is idempotent and returns a number: of requests, deleted rows or increments.
shared_task(name="rtmanager.reconcile")(reconcile_all)
shared_task(name="rtmanager.clean_up_expired")(retention.clean_up_expired)
shared_task(name="rtmanager.trim_exit_reports")(capture.prune)
shared_task(name="rtmanager.roll_up_counters", ignore_result=True)(counters.roll_up)


@shared_task(name="rtmanager.inspect_runtimes")
def inspect_runtimes() -> dict[str, int]:
    """Inspect the containers of all running games; return the number of checks and reports. Idempotent."""
    try:
        return inspect_all()
    except OBSERVATION_ERRORS as error:
        # No observation means no change. The watcher logs the outage.
        log.info("inspect_skipped", reason=error.message)
        return {}


@shared_task(name="rtmanager.trim_outbox")
def trim_outbox() -> int:
    """Delete events published before ``outbox.PUBLISHED_KEPT``; return how many. Idempotent, bounded per call."""
    return outbox.delete_published_before(age=outbox.PUBLISHED_KEPT, limit=_DELETE_BATCH)


@shared_task(name="rtmanager.trim_results", ignore_result=True)
def trim_results() -> None:
    """Delete task results older than a week. Idempotent."""
    current_app.backend.cleanup()


@shared_task(name="rtmanager.trim_sign_ins")
def trim_sign_ins() -> int:
    """Delete expired sessions of the console, and failed sign-ins that no longer count. Idempotent.

    Returns the number of deleted rows of failed sign-ins; Django does not report the number of sessions.
    """
    call_command("clearsessions")
    past = timezone.now() - settings.AXES_COOLOFF_TIME
    deleted, _per_model = AccessAttempt.objects.filter(attempt_time__lte=past).delete()
    return int(deleted)


@shared_task(name="rtmanager.canary", bind=True, ignore_result=True)
def canary(self: "Task[Any, Any]") -> None:
    """Record that messages arrive, and how long this one took. Idempotent: only the last one counts."""
    sent_at = getattr(self.request, "sent_at", None)
    # The clocks of two hosts may differ, but no message arrives before it is sent.
    seconds = None if sent_at is None else round(max(0.0, time.time() - sent_at), 4)
    heartbeats.record_heartbeat(HeartbeatName.CANARY, round_trip_seconds=seconds)
