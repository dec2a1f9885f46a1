"""Operation as the API returns it, and the bodies of the actions, whose fields become its ``arguments``."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from operations.models import Operation
from operations.states import StopReason
from runtimes.api.base.parsers import StrictBody, StrictBoolean, StrictChoice, StrictString
from runtimes.states import EndedBy

MAX_IMAGE_REF_LENGTH = 1024
_ACCEPT_EMPTY_STATE = (
    "Start with an empty state directory if the directory of a game that has run before is missing. "
    "Without this option, the start of such a game fails."
)
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
    """One step of an operation. A running step has no duration; a successful step has an empty error."""

    name = serializers.CharField(read_only=True)
    started_at = serializers.DateTimeField(read_only=True, allow_null=True, default=None)
    duration_ms = serializers.IntegerField(read_only=True, allow_null=True, default=None)
    error = serializers.CharField(read_only=True, default="")


@extend_schema_serializer(component_name="Operation", examples=[OpenApiExample("started", value=EXAMPLE)])
class OperationSerializer(serializers.ModelSerializer[Operation]):
    """One accepted operation and its result."""

    # A string, because JavaScript rounds 64-bit numbers.
    id = serializers.CharField(read_only=True, help_text="Opaque; numeric today.")
    steps = StepSerializer(many=True, read_only=True)

    class Meta:
        model = Operation
        fields: ClassVar = list(EXAMPLE)
        read_only_fields: ClassVar = fields


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": MAX_IMAGE_REF_LENGTH})
class ImageRef(StrictString):
    """An image reference. The start itself checks it, so streams and REST have the same rules."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_IMAGE_REF_LENGTH, **options)


@extend_schema_serializer(
    component_name="StartRequest",
    examples=[OpenApiExample("start", value={"image_ref": "registry.example/engine:1.4.2"}, request_only=True)],
)
class StartBody(StrictBody):
    """The engine to run."""

    image_ref = ImageRef(help_text="The exact image reference.")
    no_start = StrictBoolean(required=False, help_text="Create the container but do not start it.")
    accept_empty_state = StrictBoolean(required=False, help_text=_ACCEPT_EMPTY_STATE)


@extend_schema_serializer(
    component_name="StopRequest",
    examples=[OpenApiExample("stop", value={"reason": StopReason.ADMIN_REQUEST}, request_only=True)],
)
class StopBody(StrictBody):
    """The reason of the stop."""

    reason = StrictChoice(choices=StopReason.choices)


@extend_schema_serializer(component_name="RestartRequest")
class RestartBody(StrictBody):
    """Usually empty."""

    if_ended_by = StrictChoice(
        choices=EndedBy.choices,
        required=False,
        help_text="Restart only if the runtime is still down for this cause; otherwise it is 200 and nothing changes.",
    )
    accept_empty_state = StrictBoolean(required=False, help_text=_ACCEPT_EMPTY_STATE)


@extend_schema_serializer(
    component_name="PatchRequest",
    examples=[OpenApiExample("patch", value={"image_ref": "registry.example/engine:1.4.3"}, request_only=True)],
)
class PatchBody(StrictBody):
    """The new engine version."""

    image_ref = ImageRef(help_text="Its tag must be a semantic version with the current major and minor.")
