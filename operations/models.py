"""The verbs on record: Operation is inbox, job and log in one row; OutboxEvent is what must still be published;
IdempotencyKey is what callers may ask again; Pulse is the last sign of life of each part of the service.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from operations.states import OPEN_STATES, BoxCause, OpKind, OpSource, OpState, Outcome, Topic
from runtimes.models import GAME_ID_MAX_LENGTH


class Operation(models.Model):
    """One accepted deed on one game, from acceptance to outcome. Rows are never deleted by the service.

    Operations of one game run one at a time in the order of their ids. ``job_key`` makes acceptance
    idempotent. ``fence`` is drawn anew from one sequence at each claim: it names the claim, orders the
    claims of all time, and every later write of the claimer checks it.
    """

    id = models.BigAutoField(primary_key=True)
    game_id = models.CharField(max_length=GAME_ID_MAX_LENGTH)
    op_kind = models.CharField(max_length=24, choices=OpKind.choices)
    op_source = models.CharField(max_length=24, choices=OpSource.choices)
    source_ref = models.TextField(blank=True, default="")
    job_key = models.CharField(max_length=255, unique=True)
    arguments = models.JSONField(default=dict)
    requested_at = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=16, choices=OpState.choices, default=OpState.ACCEPTED)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, null=True, blank=True)
    error_code = models.CharField(max_length=32, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    image_ref = models.TextField(blank=True, default="")
    container_id = models.CharField(max_length=64, blank=True, default="")
    engine_endpoint = models.TextField(blank=True, default="")
    steps = models.JSONField(default=list)

    attempt = models.PositiveIntegerField(default=0)
    deferrals = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    awaits_image = models.TextField(blank=True, default="")
    fence = models.BigIntegerField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    claimed_by = models.TextField(blank=True, default="")
    hinted_at = models.DateTimeField(null=True, blank=True)

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
            # What lists are filtered by and is rare: the newest of it would be far back in the whole log.
            models.Index(fields=["-id"], condition=Q(outcome=Outcome.FAILURE), name="operation_failed"),
            models.Index(
                fields=["op_kind", "-id"],
                condition=~Q(op_kind__in=[OpKind.START, OpKind.STOP]),
                name="operation_rare_kind",
            ),
            models.Index(
                fields=["op_source", "-id"], condition=~Q(op_source=OpSource.LOBBY_STREAM), name="operation_rare_source"
            ),
            models.Index(fields=["id"], condition=~Q(awaits_image=""), name="operation_awaiting_image"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["game_id"], condition=Q(state=OpState.RUNNING), name="operation_one_running_per_game"
            ),
            models.CheckConstraint(condition=Q(op_kind__in=OpKind.values), name="operation_kind_known"),
            models.CheckConstraint(condition=Q(op_source__in=OpSource.values), name="operation_source_known"),
            models.CheckConstraint(condition=Q(state__in=OpState.values), name="operation_state_known"),
            models.CheckConstraint(
                condition=~Q(state=OpState.RUNNING)
                | Q(fence__isnull=False, lease_until__isnull=False, started_at__isnull=False),
                name="operation_running_holds_lease",
            ),
            models.CheckConstraint(
                condition=Q(state=OpState.FINISHED, outcome__in=Outcome.values, finished_at__isnull=False)
                | (~Q(state=OpState.FINISHED) & Q(outcome__isnull=True, finished_at__isnull=True)),
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
        """Whether it still waits or runs."""
        return self.state in OPEN_STATES


class OutboxEvent(models.Model):
    """A message that must reach its stream exactly once, written in the transaction of what it tells.

    The relay publishes in id order and sets ``published_at``; ``dedupe_key`` is what makes a second
    publication of the same event impossible.
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


class IdempotencyKey(models.Model):
    """A caller's own name for a request: asked again, it meets the same operation and the same answer.

    ``fingerprint`` tells whether it is the same request. ``record`` is the runtime as the first answer showed it,
    once a success was told; a failure is told from the operation itself.
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


class DeadLetter(models.Model):
    """A stream entry that no job could be read from, and what became of it. Rows are never deleted by the service.

    ``fields`` is the JSON text of the dead letter stream, to the letter; ``game_id`` is empty when none could be read.
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
                name="dead_letter_redriven_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.stream} {self.entry_id}"


class BlackBox(models.Model):
    """What is kept of a container that has ended, before it goes; see ``operations.black_boxes``.

    ``occurrence`` tells the ends of one container apart: one end is one box, however many find it. All of it is bounded
    and without secrets. What could not be had is empty, and ``note`` says why. The oldest of a game are deleted.
    """

    id = models.BigAutoField(primary_key=True)
    game_id = models.CharField(max_length=GAME_ID_MAX_LENGTH)
    container_id = models.CharField(max_length=64)
    occurrence = models.CharField(max_length=32)
    operation = models.ForeignKey(
        Operation, null=True, blank=True, on_delete=models.SET_NULL, related_name="black_boxes"
    )
    cause = models.CharField(max_length=16, choices=BoxCause.choices)
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
        verbose_name = "black box"
        verbose_name_plural = "black boxes"
        indexes: ClassVar = [models.Index(fields=["game_id", "-id"], name="black_box_by_game")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["container_id", "occurrence"], name="black_box_one_per_end"),
            models.CheckConstraint(condition=Q(cause__in=BoxCause.values), name="black_box_cause_known"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.game_id} {self.container_id[:12]} ({self.cause})"


class ImagePull(models.Model):
    """The last pull of an image: who does it, or did, and how it ended. See ``operations.pulls``.

    Under way while ``ended_at`` is empty and the operation runs under this fence and a lease that is good. An empty
    ``outcome`` of an ended one: nobody knows, Docker did not say.
    """

    image_ref = models.TextField(primary_key=True)
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="+")
    fence = models.BigIntegerField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True, default="")
    error_message = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return f"{self.image_ref} by #{self.operation_id}"


class Pulse(models.Model):
    """When a part of the service last did its work, by the clock of the database; see ``operations.pulses``.

    ``who`` is the process, as host and pid; ``detail`` holds what the part has to say of itself, if anything.
    """

    name = models.CharField(primary_key=True, max_length=63)
    who = models.TextField()
    # Without an index, and with room on its page, each beat replaces the row in place and leaves nothing to clear up.
    beat_at = models.DateTimeField(db_default=Now())
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} of {self.who}"


class Tally(models.Model):
    """How often something has happened since the tables were made; see ``operations.tallies``.

    ``labels`` are the values of the labels, joined by commas; ``bucket`` is the place in a histogram, 0 where there is
    none; ``seconds`` is the sum of what was measured.
    """

    series = models.CharField(max_length=40)
    labels = models.CharField(max_length=160, blank=True, default="")
    bucket = models.SmallIntegerField(default=0)
    number = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)

    class Meta:
        verbose_name_plural = "tallies"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "labels", "bucket"], name="tally_one_per_bucket"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.labels} [{self.bucket}]: {self.number}"


class TallyEntry(models.Model):
    """One thing that has happened and is not folded into its ``Tally`` yet. Only ever added and taken away: whoever
    adds one waits for nobody, as he would for a row that all count in.
    """

    id = models.BigAutoField(primary_key=True)
    series = models.CharField(max_length=40)
    labels = models.CharField(max_length=160, blank=True, db_default="")
    bucket = models.SmallIntegerField(db_default=0)
    number = models.BigIntegerField(db_default=1)
    seconds = models.FloatField(db_default=0.0)

    class Meta:
        verbose_name_plural = "tally entries"

    def __str__(self) -> str:
        return f"{self.series} {self.labels} +{self.number}"
