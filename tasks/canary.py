"""A message that does nothing but arrive: from the clock by Redis and a worker of the real work into PostgreSQL."""

import time
from typing import Any

from celery import Task, shared_task

from operations import pulses
from operations.pulses import PulseName


@shared_task(name="rtmanager.canary", bind=True, ignore_result=True)
def canary(self: "Task[Any, Any]") -> None:
    """Note that messages get through, and how long this one took. Idempotent: only the last one counts."""
    sent_at = getattr(self.request, "sent_at", None)
    # Of two hosts' clocks one may be behind: a message never arrives before it is sent.
    seconds = None if sent_at is None else round(max(0.0, time.time() - sent_at), 4)
    pulses.beat(PulseName.CANARY, round_trip_seconds=seconds)
