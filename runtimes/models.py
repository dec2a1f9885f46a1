"""The nouns: one Runtime per game, the last thing seen of its health, and the tokens of those who may ask."""

import copy
from datetime import datetime
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from runtimes.exceptions import StaleRuntimeError
from runtimes.states import CallerName, RuntimeStatus, TokenScopes, may_move

GAME_ID_MAX_LENGTH = 51
NAME_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"


class Runtime(models.Model):
    """What RTM has recorded of one game. At most one live container belongs to it.

    ``fence`` is the token of the last operation that wrote the row; a writer with a lower one is a
    left-over of a lost lease and is refused.
    """

    game_id = models.CharField(primary_key=True, max_length=GAME_ID_MAX_LENGTH)
    status = models.CharField(max_length=16, choices=RuntimeStatus.choices)
    current_container_id = models.CharField(max_length=64, null=True, blank=True)
    current_image_ref = models.TextField(null=True, blank=True)
    image_id = models.TextField(blank=True, default="")
    engine_endpoint = models.TextField()
    state_path = models.TextField()
    docker_network = models.TextField()
    fence = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    last_op_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["game_id"]
        # What the console asks of people, verb by verb; the API's callers have scopes instead.
        permissions: ClassVar = [
            ("start_runtime", "Can start games"),
            ("stop_runtime", "Can stop games"),
            ("restart_runtime", "Can restart games"),
            ("patch_runtime", "Can patch games"),
            ("cleanup_runtime", "Can clean up games"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "game_id"], name="runtime_by_status"),
            models.Index(fields=["-last_op_at"], name="runtime_by_last_op"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=RuntimeStatus.values), name="runtime_status_known"),
            models.CheckConstraint(
                condition=~Q(status=RuntimeStatus.RUNNING)
                | Q(current_container_id__isnull=False, current_image_ref__isnull=False, started_at__isnull=False),
                name="runtime_running_has_container",
            ),
            models.CheckConstraint(
                condition=~Q(status=RuntimeStatus.STOPPED) | Q(current_container_id__isnull=False),
                name="runtime_stopped_keeps_container",
            ),
            models.CheckConstraint(
                condition=~Q(status=RuntimeStatus.REMOVED)
                | Q(current_container_id__isnull=True, removed_at__isnull=False),
                name="runtime_removed_has_no_container",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.game_id} ({self.status})"

    def moved_to(self, status: RuntimeStatus, *, fence: int, at: datetime, **changes: Any) -> "Runtime":
        """The only way to change a status: the record as it is to be stored, by ``operations.endings``, which checks
        that it still is what it was and that ``fence`` is newer. Staying in the same status is allowed.

        Raises StaleRuntimeError when the state machine forbids the step.
        """
        if not may_move(RuntimeStatus(self.status), status):
            message = f"game {self.game_id}: its record is {self.status}, which cannot become {status}"
            raise StaleRuntimeError(message)
        moved = copy.copy(self)
        for name, value in {"status": status, "fence": fence, "last_op_at": at, **changes}.items():
            setattr(moved, name, value)
        return moved


class HealthSnapshot(models.Model):
    """The last technical observations of a game's container, written in the transaction that queues their event.

    Everything here is about ``container_id``: with another container all of it begins anew. Columns that only hold
    what has just been seen again are not written: ``inspected_at`` and ``probed_at`` say since when it has been so.
    ``probe_failures`` above zero means that ``probe_failed`` was reported and no success has been seen since.
    """

    runtime = models.OneToOneField(Runtime, on_delete=models.CASCADE, primary_key=True, related_name="health")
    container_id = models.CharField(max_length=64)
    event_type = models.CharField(max_length=32)
    details = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    observed_at = models.DateTimeField(db_default=Now())

    docker_state = models.CharField(max_length=16, blank=True, default="")
    docker_health = models.CharField(max_length=16, blank=True, default="")
    restart_count = models.PositiveIntegerField(default=0)
    exit_code = models.IntegerField(null=True, blank=True)
    inspected_at = models.DateTimeField(null=True, blank=True)

    probe_failures = models.PositiveIntegerField(default=0)
    probe_last_status = models.PositiveIntegerField(default=0)
    probe_last_error = models.TextField(blank=True, default="")
    probed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "health snapshot"

    def __str__(self) -> str:
        return f"{self.runtime_id}: {self.event_type}"


class ApiToken(models.Model):
    """A caller's right to use the API. Only a digest of its secret is kept; rows stay as a record of who had access.

    ``public_id`` finds the row and may be logged. ``replaced_at`` is when a rotation put a newer one in its place.
    """

    public_id = models.CharField("id", max_length=16, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    name = models.CharField(
        max_length=63,
        validators=[RegexValidator(NAME_PATTERN, "1 to 63 letters, digits, '.', '_' or '-'")],
        help_text="What it is for, for example gm-production.",
    )
    caller = models.CharField(max_length=8, choices=CallerName.choices, help_text="Whose calls these are.")
    scopes = models.CharField(max_length=16, choices=TokenScopes.choices, default=TokenScopes.READ_OPERATE)
    note = models.TextField(blank=True, default="")
    created_by = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True, help_text="UTC; empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaced_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        ordering: ClassVar = ["name", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(revoked_at__isnull=True, replaced_at__isnull=True),
                name="api_token_one_current_per_name",
            ),
            models.CheckConstraint(condition=Q(caller__in=CallerName.values), name="api_token_caller_known"),
            models.CheckConstraint(condition=Q(scopes__in=TokenScopes.values), name="api_token_scopes_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def scope_names(self) -> frozenset[str]:
        """What it allows: ``read``, ``operate`` or both."""
        return frozenset(self.scopes.split())

    def state_at(self, now: datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"
