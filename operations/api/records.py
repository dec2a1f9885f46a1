"""Operation as the API shows it, field for field the contract's."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from operations.models import Operation

EXAMPLE: dict[str, Any] = {
    "id": "1207",
    "game_id": "g-42",
    "op_kind": "start",
    "op_source": "gm_rest",
    "source_ref": "0b7c9c1e4d7f4a0f",
    "image_ref": "registry.example/engine:1.4.2",
    "container_id": "3f4e0d7a9c1b5e2f8a6d4c3b2a1908f7e6d5c4b3a29180716253443526170899",
    "state": "finished",
    "outcome": "success",
    "error_code": "",
    "error_message": "",
    "steps": [{"name": "create", "started_at": "2026-11-21T08:30:00.010000Z", "duration_ms": 11, "error": ""}],
    "accepted_at": "2026-11-21T08:30:00Z",
    "started_at": "2026-11-21T08:30:00.004000Z",
    "finished_at": "2026-11-21T08:30:00.260000Z",
}
EXAMPLE_RUNNING: dict[str, Any] = {
    **EXAMPLE, "container_id": "", "state": "running", "outcome": None, "steps": [], "finished_at": None,
}  # fmt: skip


class StepSerializer(serializers.Serializer[Any]):
    """One step of an operation. A step under way has no duration yet; one that went well has no error."""

    name = serializers.CharField(read_only=True)
    started_at = serializers.DateTimeField(read_only=True, allow_null=True, default=None)
    duration_ms = serializers.IntegerField(read_only=True, allow_null=True, default=None)
    error = serializers.CharField(read_only=True, default="")


@extend_schema_serializer(component_name="Operation", examples=[OpenApiExample("started", value=EXAMPLE)])
class OperationSerializer(serializers.ModelSerializer[Operation]):
    """One accepted deed and how it went."""

    # A string: JavaScript and its kin round 64-bit numbers.
    id = serializers.CharField(read_only=True, help_text="Opaque; numeric today.")
    steps = StepSerializer(many=True, read_only=True)

    class Meta:
        model = Operation
        fields: ClassVar = list(EXAMPLE)
        read_only_fields: ClassVar = fields


@extend_schema_serializer(component_name="OperationList")
class OperationListSerializer(serializers.Serializer[Any]):
    """One page of a game's operations, newest first."""

    items = OperationSerializer(many=True, read_only=True)
