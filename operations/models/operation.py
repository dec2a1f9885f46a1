"""The operation: inbox, job and log of one requested action in one row; and the key of the REST request for it."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from operations.states import OPEN_STATES, OperationKind, OperationSource, OperationState, Outcome
from runtimes.models import GAME_ID_MAX_LENGTH


class Operation(models.Model):
    """One requested action on one game, from acceptance to outcome. RTM never deletes a row.

    Operations of one game run one at a time, in the order of their ids. ``job_key`` makes acceptance idempotent. Each
    claim draws a new ``fence`` from one sequence. The fence identifies the claim, orders all claims, and is checked by
    every later write of the worker. ``worker_lock``: the lock that the worker held when it claimed
    (``operations.queue.worker_lock``).
    """

    id = models.BigAutoField(primary_key=True)
    game_id = models.CharField(max_length=GAME_ID_MAX_LENGTH)
    op_kind = models.CharField(max_length=24, choices=OperationKind.choices)
    op_source = models.CharField(max_length=24, choices=OperationSource.choices)
    source_ref = models.TextField(blank=True, default="")
    job_key = models.CharField(max_length=255, unique=True)
    arguments = models.JSONField(default=dict)
    requested_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=16, choices=OperationState.choices, default=OperationState.ACCEPTED)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, null=True, blank=True)
    error_code = models.CharField(max_length=32, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    image_ref = models.TextField(blank=True, default="")
    container_id = models.CharField(max_length=64, blank=True, default="")
    engine_endpoint = models.TextField(blank=True, default="")
    steps = models.JSONField(default=list)

    attempt = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    waiting_for_image = models.TextField(blank=True, default="")
    fence = models.BigIntegerField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    claimed_by = models.TextField(blank=True, default="")
    worker_lock = models.BigIntegerField(null=True, blank=True)
    notified_at = models.DateTimeField(null=True, blank=True)

    accepted_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["game_id", "-id"], name="operation_by_game"),
            models.Index(fields=["game_id", "id"], condition=Q(state__in=OPEN_STATES), name="operation_open_by_game"),
            models.Index(fields=["id"], condition=Q(state__in=OPEN_STATES), name="operation_open"),
            models.Index(fields=["-accepted_at"], name="operation_by_acceptance"),
            models.Index(fields=["source_ref"], name="operation_by_source_ref"),
            # Rare values that lists filter by: without these indexes a query would scan a large part of the table.
            models.Index(fields=["-id"], condition=Q(outcome=Outcome.FAILURE), name="operation_failed"),
            models.Index(
                fields=["op_kind", "-id"],
                condition=~Q(op_kind__in=[OperationKind.START, OperationKind.STOP]),
                name="operation_rare_kind",
            ),
            models.Index(
                fields=["op_source", "-id"],
                condition=~Q(op_source=OperationSource.LOBBY_STREAM),
                name="operation_rare_source",
            ),
            models.Index(fields=["id"], condition=~Q(waiting_for_image=""), name="operation_waiting_for_image"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["game_id"], condition=Q(state=OperationState.RUNNING), name="operation_one_running_per_game"
            ),
            models.CheckConstraint(condition=Q(op_kind__in=OperationKind.values), name="operation_kind_known"),
            models.CheckConstraint(condition=Q(op_source__in=OperationSource.values), name="operation_source_known"),
            models.CheckConstraint(condition=Q(state__in=OperationState.values), name="operation_state_known"),
            models.CheckConstraint(
                condition=~Q(state=OperationState.RUNNING)
                | Q(fence__isnull=False, lease_until__isnull=False, started_at__isnull=False),
                name="operation_running_holds_lease",
            ),
            models.CheckConstraint(
                condition=Q(state=OperationState.FINISHED, outcome__in=Outcome.values, finished_at__isnull=False)
                | (~Q(state=OperationState.FINISHED) & Q(outcome__isnull=True, finished_at__isnull=True)),
                name="operation_finished_has_outcome",
            ),
            models.CheckConstraint(
                condition=~Q(outcome=Outcome.FAILURE) | ~Q(error_code=""), name="operation_failure_has_code"
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.op_kind} {self.game_id} ({self.state})"

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in OPEN_STATES


class IdempotencyKey(models.Model):
    """A caller's own key of a request: a repeated request gets the same operation and the same response.

    ``fingerprint`` identifies the content of the request. ``record`` is the runtime in the first successful response;
    the response to a failure is built from the operation.
    """

    caller = models.CharField(max_length=8)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="idempotency_keys")
    record = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotency_key_by_age")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key_once_per_caller"),
        ]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
