"""Heartbeats and counters of the components."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Heartbeat(models.Model):
    """When a component last did its work, in database time; see ``operations.monitoring.heartbeats``.

    ``process`` is host and pid. ``detail`` holds additional values of the component.
    """

    name = models.CharField(primary_key=True, max_length=63)
    process = models.TextField()
    # No index on this column, so that PostgreSQL can update the row in place (HOT) without bloat.
    seen_at = models.DateTimeField(db_default=Now())
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} of {self.process}"


class MetricCounter(models.Model):
    """A persistent counter; see ``operations.monitoring.counters``.

    ``labels``: the label values, joined by commas. ``bucket``: the index in a histogram, else 0. ``seconds``: the sum
    of the measured durations.
    """

    series = models.CharField(max_length=40)
    labels = models.CharField(max_length=160, blank=True, default="")
    bucket = models.SmallIntegerField(default=0)
    number = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)

    class Meta:
        verbose_name_plural = "metric counters"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "labels", "bucket"], name="counter_one_per_bucket"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.labels} [{self.bucket}]: {self.number}"


class CounterIncrement(models.Model):
    """An increment that is not yet added to its ``MetricCounter``.

    Rows are only inserted and deleted, so that transactions never wait for each other.
    """

    id = models.BigAutoField(primary_key=True)
    series = models.CharField(max_length=40)
    labels = models.CharField(max_length=160, blank=True, db_default="")
    bucket = models.SmallIntegerField(db_default=0)
    number = models.BigIntegerField(db_default=1)
    seconds = models.FloatField(db_default=0.0)

    class Meta:
        verbose_name_plural = "counter increments"

    def __str__(self) -> str:
        return f"{self.series} {self.labels} +{self.number}"
