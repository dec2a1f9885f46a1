"""What RTM records about Docker: exits of containers, image pulls, and starts of the daemon."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from operations.models.operation import Operation
from operations.states import ExitCause, Outcome
from runtimes.formatting import short_id
from runtimes.models import GAME_ID_MAX_LENGTH


class ExitReport(models.Model):
    """What RTM stores about a container that has exited; see ``operations.exit_reports.capture``.

    ``exit_key`` distinguishes the exits of one container: one exit has one report, even if several components find it.
    All values are limited in size and contain no secrets. A value that could not be read is empty, and ``note`` says
    why. RTM deletes the oldest reports of a game.
    """

    id = models.BigAutoField(primary_key=True)
    game_id = models.CharField(max_length=GAME_ID_MAX_LENGTH)
    container_id = models.CharField(max_length=64)
    exit_key = models.CharField(max_length=32)
    operation = models.ForeignKey(
        Operation, null=True, blank=True, on_delete=models.SET_NULL, related_name="exit_reports"
    )
    cause = models.CharField(max_length=16, choices=ExitCause.choices)
    occurred_at = models.DateTimeField()
    captured_at = models.DateTimeField(db_default=Now())
    exit_code = models.IntegerField(null=True, blank=True)
    oom_killed = models.BooleanField(default=False)
    image_ref = models.TextField(blank=True, default="")
    image_id = models.TextField(blank=True, default="")
    image_digest = models.TextField(blank=True, default="")
    note = models.TextField(blank=True, default="")
    limits = models.JSONField(default=dict)
    probes = models.JSONField(default=dict)
    log = models.JSONField(default=list)
    inspect = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "exit report"
        verbose_name_plural = "exit reports"
        indexes: ClassVar = [models.Index(fields=["game_id", "-id"], name="exit_report_by_game")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["container_id", "exit_key"], name="exit_report_one_per_end"),
            models.CheckConstraint(condition=Q(cause__in=ExitCause.values), name="exit_report_cause_known"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.game_id} {short_id(self.container_id)} ({self.cause})"


class ImagePull(models.Model):
    """The last pull of an image: its operation and its outcome. See ``operations.execution.image_pulls``.

    A pull is running while ``ended_at`` is empty and the operation runs under this fence and a valid lease. An ended
    pull has an empty ``outcome`` if Docker did not respond.
    """

    image_ref = models.TextField(primary_key=True)
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="+")
    fence = models.BigIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True, default="")
    error_message = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return f"{self.image_ref} by #{self.operation_id}"


class DaemonRun(models.Model):
    """One start of the Docker daemon, by its own clock; see ``operations.health.docker_starts``. A few rows per year.

    ``up_until``: when the previous daemon was last known to run; None if RTM does not know it.
    """

    started_at = models.DateTimeField(unique=True)
    up_until = models.DateTimeField(null=True, blank=True)
    noted_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"Docker started at {self.started_at:%Y-%m-%d %H:%M:%S}"
