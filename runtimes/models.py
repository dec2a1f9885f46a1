"""The database models: one Runtime per game, its health snapshot, API tokens, and the installation itself."""

import copy
from datetime import datetime
from typing import Any, ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from runtimes.exceptions import StaleRuntimeError
from runtimes.health import UNHEALTHY, UNHEALTHY_STATES, Inspection
from runtimes.states import CallerName, EndedBy, RuntimeStatus, TokenScopes, can_transition

GAME_ID_MAX_LENGTH = 51
NAME_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"
# Host names ignore case. While a game has a container, no other game with a container may have an id that differs
# only in case.
ONE_CONTAINER_PER_HOST_NAME = "runtime_one_container_per_host_name"
# The C collation: lower() of other collations has special rules, such as the Turkish dotless i.
HOST_NAME = models.Func("game_id", template='lower(%(expressions)s COLLATE "C")', output_field=models.TextField())


class Runtime(models.Model):
    """The record of one game. At most one live container belongs to it.

    ``fence`` is the fencing token of the last operation that wrote the row. A writer with a lower token has lost its
    lease, and its write is rejected. ``ended_by`` is set while the game is down although no operation stopped it;
    every other change of the record clears it.
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
    ended_by = models.CharField(max_length=24, choices=EndedBy.choices, blank=True, default="", db_default="")
    last_op_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["game_id"]
        # The console checks one permission per action. API callers have scopes instead.
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
            models.Index(fields=["ended_by", "game_id"], condition=~Q(ended_by=""), name="runtime_by_end"),
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
            models.CheckConstraint(condition=Q(ended_by__in=["", *EndedBy.values]), name="runtime_end_known"),
            models.UniqueConstraint(
                HOST_NAME,
                condition=Q(current_container_id__isnull=False),
                name=ONE_CONTAINER_PER_HOST_NAME,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.game_id} ({self.status})"

    def transitioned_to(self, status: RuntimeStatus, *, fence: int, at: datetime, **changes: Any) -> "Runtime":
        """Return a copy of the record in the new status, to be stored. This is the only way to change a status.

        The statement in ``operations.execution.completion`` checks that the row is unchanged and that ``fence`` is
        newer. Staying in the same status is allowed.

        Raises StaleRuntimeError if the state machine forbids the transition.
        """
        if not can_transition(RuntimeStatus(self.status), status):
            raise StaleRuntimeError(f"game {self.game_id}: its record is {self.status} and cannot become {status}")
        changed = copy.copy(self)
        fields = {"status": status, "fence": fence, "last_op_at": at, "ended_by": "", **changes}
        for name, value in fields.items():
            setattr(changed, name, value)
        return changed


class HealthSnapshotQuerySet(models.QuerySet["HealthSnapshot"]):
    """Queries on health snapshots."""

    def unhealthy(self) -> Self:
        """The snapshots for which ``HealthSnapshot.is_unhealthy`` is true."""
        return self.filter(Q(probe_failures__gt=0) | Q(docker_health=UNHEALTHY) | Q(docker_state__in=UNHEALTHY_STATES))


class HealthSnapshot(models.Model):
    """The last health observations of a game's container, written in the transaction that queues their event.

    All columns are about ``container_id``; a new container resets them. An observation that repeats the stored values
    is not written, so ``inspected_at`` and ``probed_at`` are the times of the last change. ``probe_failures`` above
    zero means that ``probe_failed`` was reported and that no probe has succeeded since.
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

    objects = HealthSnapshotQuerySet.as_manager()

    class Meta:
        verbose_name = "health snapshot"

    def __str__(self) -> str:
        return f"{self.runtime_id}: {self.event_type}"

    @property
    def is_unhealthy(self) -> bool:
        """Whether the probes fail, or Docker reports the container as unhealthy, paused, restarting or dead."""
        return self.probe_failures > 0 or Inspection(self.docker_state, self.docker_health).is_unhealthy


class ApiToken(models.Model):
    """A caller's API token. Only a digest of the secret is stored. Rows are kept as a record of who had access.

    ``public_id`` identifies the row and may be logged. ``replaced_at`` is when a rotation created a newer token.
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
        """The scopes the token grants: ``read``, ``operate`` or both."""
        return frozenset(self.scopes.split())

    def state_at(self, now: datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class Installation(models.Model):
    """The single row about this installation, created by its migration. Read it with ``load()``.

    ``state_root_id`` is the id in the marker file of the state root; empty until the marker has been written.
    ``restored_at`` is when a database restore was last detected or declared. ``settled_at`` is when the records had
    been compared with Docker after that restore. ``oldest_version`` is the oldest version of RTM that works with the
    tables; empty until a migration sets it.
    """

    ONLY_ID: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY_ID, editable=False)
    state_root_id = models.TextField(blank=True, default="")
    restored_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    oldest_version = models.TextField(blank=True, default="", db_default="")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="installation_only_one"),
        ]

    def __str__(self) -> str:
        return "this installation"

    @classmethod
    def load(cls) -> "Installation":
        """Return the row. Creates it again if the table was emptied, as tests do."""
        return cls.objects.get_or_create(id=cls.ONLY_ID)[0]
