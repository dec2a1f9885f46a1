"""The request bodies of the verbs. What they hold becomes the operation's ``arguments``."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer

from operations.states import StopReason
from runtimes.api.strict import StrictBody, StrictBoolean, StrictChoice, StrictString

MAX_IMAGE_REF_LENGTH = 1024


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": MAX_IMAGE_REF_LENGTH})
class ImageRef(StrictString):
    """An image as Docker names it. The start itself judges the text, so that stream and REST refuse alike."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_IMAGE_REF_LENGTH, **options)


@extend_schema_serializer(
    component_name="StartRequest",
    examples=[OpenApiExample("start", value={"image_ref": "registry.example/engine:1.4.2"}, request_only=True)],
)
class StartBody(StrictBody):
    """Which engine to run."""

    image_ref = ImageRef(help_text="The exact image; RTM resolves no versions.")
    no_start = StrictBoolean(required=False, help_text="Prepare everything but do not start.")


@extend_schema_serializer(
    component_name="StopRequest",
    examples=[OpenApiExample("stop", value={"reason": StopReason.ADMIN_REQUEST}, request_only=True)],
)
class StopBody(StrictBody):
    """Why the game is stopped."""

    reason = StrictChoice(choices=StopReason.choices)


@extend_schema_serializer(component_name="RestartRequest")
class RestartBody(StrictBody):
    """Nothing: a restart has no choices."""


@extend_schema_serializer(
    component_name="PatchRequest",
    examples=[OpenApiExample("patch", value={"image_ref": "registry.example/engine:1.4.3"}, request_only=True)],
)
class PatchBody(StrictBody):
    """Which engine to run instead."""

    image_ref = ImageRef(help_text="Its tag: a semantic version with the old one's major and minor.")
