"""Messages to publish, and stream entries that are not valid jobs."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from operations.models.operation import Operation
from operations.states import Topic
from runtimes.models import GAME_ID_MAX_LENGTH


class OutboxEvent(models.Model):
    """A message that must reach its stream exactly once, written in the transaction of its cause.

    The relay publishes in id order and sets ``published_at``. ``dedupe_key`` prevents a second publication of the same
    event.
    """

    id = models.BigAutoField(primary_key=True)
    topic = models.CharField(max_length=32, choices=Topic.choices)
    dedupe_key = models.CharField(max_length=255, unique=True)
    game_id = models.CharField(max_length=GAME_ID_MAX_LENGTH, blank=True, default="")
    fields = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())
    published_at = models.DateTimeField(null=True, blank=True)
    stream_entry_id = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "outbox event"
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(published_at__isnull=True), name="outbox_unpublished"),
            models.Index(fields=["topic", "published_at"], name="outbox_by_topic"),
            models.Index(fields=["game_id", "-id"], name="outbox_by_game"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(topic__in=Topic.values), name="outbox_topic_known"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.topic} {self.dedupe_key}"


class DeadLetter(models.Model):
    """A stream entry that is not a valid job, and how it was redriven. RTM never deletes a row.

    ``fields`` is exactly the JSON text of the dead letter stream. ``game_id`` is empty if the entry has no valid one.
    """

    id = models.BigAutoField(primary_key=True)
    stream = models.CharField(max_length=255)
    entry_id = models.CharField(max_length=64)
    reason = models.TextField()
    fields = models.TextField()
    game_id = models.CharField(max_length=GAME_ID_MAX_LENGTH, blank=True, default="")
    received_at = models.DateTimeField(db_default=Now())

    redriven_at = models.DateTimeField(null=True, blank=True)
    redriven_by = models.TextField(blank=True, default="")
    redriven_as = models.ForeignKey(Operation, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "dead letter"
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(redriven_at__isnull=True), name="dead_letter_waiting"),
            models.Index(fields=["game_id", "-id"], name="dead_letter_by_game"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["stream", "entry_id"], name="dead_letter_one_per_entry"),
            models.CheckConstraint(
                condition=Q(redriven_at__isnull=True, redriven_by="", redriven_as__isnull=True)
                | (Q(redriven_at__isnull=False) & ~Q(redriven_by="")),
                name="dead_letter_redriven_by_known",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.stream} {self.entry_id}"
