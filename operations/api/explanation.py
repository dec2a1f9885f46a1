"""The explanation as the OpenAPI document describes it. The answer itself is made by ``Explanation.as_json``."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from operations.api.records import OperationSerializer
from operations.diagnosis.refusals import VERBS
from operations.diagnosis.verdicts import Cause, Severity
from runtimes.api.records import RuntimeRecordSerializer
from runtimes.states import RuntimeStatus

OBSTACLES = ["lease", "queue", "backoff", "docker", "database", "redis", "worker", "pull", "foreign_container"]
CAUSES = [one.value for one in Cause]
SEVERITIES = [one.value for one in Severity]

Shape = serializers.Serializer[Any]


def _text(**options: Any) -> serializers.CharField:
    return serializers.CharField(read_only=True, **options)


def _maybe_text() -> serializers.CharField:
    return serializers.CharField(read_only=True, allow_null=True)


def _maybe_time() -> serializers.DateTimeField:
    return serializers.DateTimeField(read_only=True, allow_null=True)


def _count() -> serializers.IntegerField:
    return serializers.IntegerField(read_only=True)


def _maybe_number() -> serializers.IntegerField:
    return serializers.IntegerField(read_only=True, allow_null=True)


def _maybe_flag() -> serializers.BooleanField:
    return serializers.BooleanField(read_only=True, allow_null=True)


@extend_schema_serializer(component_name="NextStep")
class NextStepSerializer(Shape):
    """What a person should do. `verb` would not be refused now; null when no verb helps by itself."""

    text = _text()
    verb = serializers.ChoiceField(choices=VERBS, read_only=True, allow_null=True)
    arguments = serializers.DictField(read_only=True, help_text="The body of the verb's call.")
    command = _text(help_text="A shell line, empty when there is none.")


@extend_schema_serializer(component_name="NextAutomatic")
class NextAutomaticSerializer(Shape):
    """What the service does next by itself, and when at the latest; null when no time is known."""

    text = _text()
    at = _maybe_time()


@extend_schema_serializer(component_name="Desired")
class DesiredSerializer(Shape):
    """What was last asked for and not refused."""

    status = serializers.ChoiceField(choices=RuntimeStatus.choices, read_only=True)
    image_ref = _text()
    since = serializers.DateTimeField(read_only=True)
    by = _text()
    operation_id = _count()


@extend_schema_serializer(component_name="Observed")
class ObservedSerializer(Shape):
    """What Docker shows. `known` false: it did not answer, and nothing else here says anything."""

    known = serializers.BooleanField(read_only=True)
    reason = _text()
    state, container_id, image_ref, image_id, health = (_maybe_text() for _ in range(5))
    started_at, finished_at = _maybe_time(), _maybe_time()
    exit_code = _maybe_number()
    oom_killed = _maybe_flag()
    restart_count = _maybe_number()
    networks = serializers.ListField(child=serializers.CharField(), read_only=True)
    network_exists = _maybe_flag()
    foreign_container_id = _maybe_text()


@extend_schema_serializer(component_name="Difference")
class DifferenceSerializer(Shape):
    """One thing that is not the same on all sides; null: not known, or none."""

    what = _text()
    recorded, observed, desired = (_maybe_text() for _ in range(3))
    note = _text()


@extend_schema_serializer(component_name="Obstacle")
class ObstacleSerializer(Shape):
    """Something that holds the game up, and until when, as far as that is known."""

    what = serializers.ChoiceField(choices=OBSTACLES, read_only=True)
    text = _text()
    since, until = _maybe_time(), _maybe_time()


@extend_schema_serializer(component_name="OpenOperation")
class OpenOperationSerializer(OperationSerializer):
    """An operation that waits or runs, with what keeps it."""

    attempt, deferrals = _count(), _count()
    not_before, lease_until = _maybe_time(), _maybe_time()
    claimed_by, awaits_image = _text(), _text()

    class Meta(OperationSerializer.Meta):
        fields = [
            *OperationSerializer.Meta.fields,
            *("attempt", "deferrals", "not_before", "lease_until", "claimed_by", "awaits_image"),
        ]
        read_only_fields = fields


@extend_schema_serializer(component_name="HealthSnapshot")
class HealthSnapshotSerializer(Shape):
    """The last technical observations of the game's container."""

    container_id, event_type = _text(), _text()
    details = serializers.DictField(read_only=True)
    occurred_at, observed_at = serializers.DateTimeField(read_only=True), serializers.DateTimeField(read_only=True)
    docker_state, docker_health = _text(), _text()
    restart_count = _count()
    exit_code = _maybe_number()
    inspected_at = _maybe_time()
    probe_failures, probe_last_status = _count(), _count()
    probe_last_error = _text()
    probed_at = _maybe_time()


@extend_schema_serializer(component_name="HealthHistoryEntry")
class HealthHistorySerializer(Shape):
    """One health event of the game."""

    id, event_type, container_id = _text(), _text(), _text()
    occurred_at = serializers.DateTimeField(read_only=True)
    details = serializers.DictField(read_only=True)
    published_at = _maybe_time()


@extend_schema_serializer(component_name="UnreadJob")
class UnreadJobSerializer(Shape):
    """A dead letter that names the game and waits to be redriven."""

    id, stream, entry_id, reason = (_text() for _ in range(4))
    received_at = serializers.DateTimeField(read_only=True)


@extend_schema_serializer(component_name="Explanation")
class ExplanationSerializer(Shape):
    """Why a game is as it is, what to do, and what happens next by itself."""

    game_id = _text()
    as_of = serializers.DateTimeField(read_only=True, help_text="By the database's clock.")
    cause = serializers.ChoiceField(choices=CAUSES, read_only=True)
    severity = serializers.ChoiceField(choices=SEVERITIES, read_only=True)
    headline, detail = _text(), _text()
    next_step = NextStepSerializer(read_only=True)
    next_automatic = NextAutomaticSerializer(read_only=True)
    verbs = serializers.DictField(
        child=serializers.CharField(), read_only=True, help_text="Per verb why it would be refused now, else empty."
    )
    desired = DesiredSerializer(read_only=True, allow_null=True)
    recorded = RuntimeRecordSerializer(read_only=True, allow_null=True)
    observed = ObservedSerializer(read_only=True)
    differences = DifferenceSerializer(many=True, read_only=True)
    blocked_by = ObstacleSerializer(many=True, read_only=True)
    open_operations = OpenOperationSerializer(many=True, read_only=True, help_text="The first 20.")
    open_count = _count()
    last_operations = OperationSerializer(many=True, read_only=True, help_text="The last 5.")
    health = HealthSnapshotSerializer(read_only=True, allow_null=True)
    health_history = HealthHistorySerializer(many=True, read_only=True, help_text="The last 20 health events.")
    dead_letters = UnreadJobSerializer(many=True, read_only=True, help_text="The last 5.")
    black_box = _maybe_text()
    limits = serializers.DictField(
        read_only=True, help_text="Limits and hardening in force; empty without a container."
    )
