"""DeadLetter as the API shows it, and what a redrive is asked for with and answers."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from operations import dead_letters
from operations.api.records import EXAMPLE as OPERATION_EXAMPLE
from operations.api.records import OperationSerializer
from operations.models import DeadLetter
from runtimes.api.strict import StrictBody, StrictString

MAX_NOTE_LENGTH = 500
MAX_TEXT_LENGTH = 4096
EXAMPLE: dict[str, Any] = {
    "id": "12",
    "stream": "runtime:stop_jobs",
    "entry_id": "1795249800000-0",
    "game_id": "g-42",
    "reason": "reason 'boredom' is none of orphan_cleanup, cancelled, finished, admin_request, timeout",
    "fields": {"game_id": "g-42", "reason": "boredom", "requested_at_ms": "1795249800000"},
    "received_at": "2026-11-21T08:30:00Z",
    "redriven_at": None,
    "redriven_by": None,
    "redriven_as": None,
    "note": "",
}
_REDRIVEN: dict[str, Any] = {
    "letter": {
        **EXAMPLE,
        "redriven_at": "2026-11-21T09:05:00Z",
        "redriven_by": "admin (request 0b7c9c1e4d7f4a0f)",
        "redriven_as": "1207",
        "note": "set reason='cancelled'; ticket 7",
    },
    "operation": {**OPERATION_EXAMPLE, "op_kind": "stop", "op_source": "lobby_stream", "source_ref": "1795249800000-0"},
    "is_replay": False,
}


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class FieldsSent(serializers.Field[Any, Any, Any, DeadLetter]):
    """The entry's fields as its producer sent them."""

    def to_representation(self, value: DeadLetter) -> dict[str, str]:
        """Field → text."""
        return dead_letters.read_fields(value)


class StrictTexts(serializers.DictField):
    """A JSON object whose values are strings, kept as they came."""

    child = StrictString(allow_blank=True, max_length=MAX_TEXT_LENGTH)


@extend_schema_serializer(component_name="DeadLetter", examples=[OpenApiExample("waiting", value=EXAMPLE)])
class DeadLetterSerializer(serializers.Serializer[DeadLetter]):
    """A stream entry that no job could be read from, and what became of it."""

    id = serializers.CharField(read_only=True, help_text="Opaque; numeric today.")
    stream = serializers.CharField(read_only=True)
    entry_id = serializers.CharField(read_only=True)
    game_id = serializers.CharField(read_only=True, help_text="Empty when the entry named nothing that can be a game.")
    reason = serializers.CharField(read_only=True, help_text="Why it is no job.")
    fields = FieldsSent(source="*", read_only=True)  # type: ignore[assignment]  # taken off the class by DRF
    received_at = serializers.DateTimeField(read_only=True)
    redriven_at = serializers.DateTimeField(read_only=True, allow_null=True)
    redriven_by = serializers.CharField(read_only=True, help_text="Empty while it waits.")
    redriven_as = serializers.CharField(
        source="redriven_as_id", read_only=True, allow_null=True, help_text="The operation it became."
    )
    note = serializers.CharField(read_only=True, help_text="What was changed, and why.")


@extend_schema_serializer(component_name="DeadLetterList")
class DeadLetterListSerializer(serializers.Serializer[Any]):
    """One page of dead letters, oldest first."""

    items = DeadLetterSerializer(many=True, read_only=True)


@extend_schema_serializer(
    component_name="RedriveRequest",
    examples=[OpenApiExample("mended", value={"set": {"reason": "cancelled"}, "note": "ticket 7"}, request_only=True)],
)
class RedriveBody(StrictBody):
    """What to mend, if anything, and why."""

    set = StrictTexts(required=False, help_text="Fields of the entry to replace.")
    note = StrictString(required=False, allow_blank=True, max_length=MAX_NOTE_LENGTH, help_text="Why, for the record.")


@extend_schema_serializer(component_name="Redriven", examples=[OpenApiExample("redriven", value=_REDRIVEN)])
class RedrivenSerializer(serializers.Serializer[Any]):
    """The letter after its redrive and the operation it became. ``is_replay``: that had happened before."""

    letter = DeadLetterSerializer(read_only=True)
    operation = OperationSerializer(read_only=True)
    is_replay = serializers.BooleanField(read_only=True)
