"""The pieces of the OpenAPI document that many endpoints share."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from runtimes.api.callers import CALLER_HEADER
from runtimes.api.errors import STATUS_OF_CODE, AccessCode, envelope
from runtimes.api.paging import DEFAULT_LIMIT, MAX_CURSOR_LENGTH, MAX_LIMIT
from runtimes.api.strict import StrictBody
from runtimes.exceptions import ErrorCode
from runtimes.games import GAME_ID_PATTERN

ERROR_CODES = [
    *(str(code) for code in ErrorCode if code != ErrorCode.REPLAY_NO_OP),
    *(str(code) for code in AccessCode),
]


class ErrorSerializer(serializers.Serializer[Any]):
    """Why a call failed: a stable code for programs, a sentence for people."""

    code = serializers.ChoiceField(choices=ERROR_CODES, read_only=True)
    message = serializers.CharField(read_only=True)


class EnvelopeSerializer(serializers.Serializer[Any]):
    """The body of every answer that is not a success."""

    error = ErrorSerializer(read_only=True)


GAME_ID = OpenApiParameter(
    "game_id", {"type": "string", "pattern": f"^{GAME_ID_PATTERN}$"}, OpenApiParameter.PATH, description="The game."
)
REQUEST_ID = OpenApiParameter(
    "X-Request-ID",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description=(
        "Names the request in logs and as an operation's `source_ref`, and is echoed back. Made up when missing or not "
        "1 to 128 visible ASCII characters."
    ),
)
_ECHO = OpenApiParameter(
    "X-Request-ID", OpenApiTypes.STR, OpenApiParameter.HEADER, response=True, description="The request's name."
)
_CHALLENGE = OpenApiParameter(
    "WWW-Authenticate",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    response=[HTTPStatus.UNAUTHORIZED],
    description="`Bearer`: what is asked for.",
)
# What every call of the API takes and every answer carries.
ALWAYS = [REQUEST_ID, _ECHO, _CHALLENGE]
CALLER = OpenApiParameter(
    CALLER_HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    examples=[OpenApiExample("Game Master", value="gm"), OpenApiExample("Admin service", value="admin")],
    description=(
        "The calling service, `gm` or `admin`, where `RTMANAGER_API_AUTH=network`; anything else counts as `admin`. "
        "A token says by itself whose it is, and this header is not looked at."
    ),
)
PAGE = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        description="How many items at most.",
    ),
    OpenApiParameter(
        "cursor",
        {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{0,{MAX_CURSOR_LENGTH}}}$"},
        description='Where to go on: follow the `Link: <…>; rel="next"` of an answer.',
    ),
    OpenApiParameter(
        "Link",
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        response=[HTTPStatus.OK],
        description='`<address>; rel="next"` when there is more.',
    ),
]

_SENTENCES: dict[str, str] = {
    ErrorCode.INVALID_REQUEST: "image_ref: This field is required.",
    ErrorCode.START_CONFIG_INVALID: 'network "galaxy-net" does not exist on the Docker host',
    ErrorCode.NOT_FOUND: "there is no runtime of game g-42",
    ErrorCode.CONFLICT: "game g-42 is busy: start (operation 7, running) must end first",
    ErrorCode.IMAGE_PULL_FAILED: "image registry.example/engine:9.9.9 could not be had",
    ErrorCode.CONTAINER_START_FAILED: "the container exited with code 1 at once",
    ErrorCode.SERVICE_UNAVAILABLE: "the database cannot be reached; try again later",
    ErrorCode.DOCKER_UNAVAILABLE: "Docker does not answer",
    ErrorCode.INTERNAL_ERROR: "unexpected error; the log tells more under this request id",
    ErrorCode.IMAGE_REF_NOT_SEMVER: "image reference engine:latest names no semantic version like 1.4.2",
    ErrorCode.SEMVER_PATCH_ONLY: "engine:1.4.2 and engine:1.5.0 differ in more than the patch level",
    AccessCode.UNAUTHORIZED: "this token is expired",
    AccessCode.FORBIDDEN: "this token lacks the scope 'operate'",
}


_OF_EVERY_CALL = (
    AccessCode.UNAUTHORIZED, AccessCode.FORBIDDEN, ErrorCode.SERVICE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR,
)  # fmt: skip


def errors(*codes: str) -> dict[int, OpenApiResponse]:
    """Responses for these codes and for those of every call: one per HTTP status, each code with its example."""
    by_status: dict[int, list[str]] = {}
    for code in (*_OF_EVERY_CALL, *codes):
        by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
    return {status: _error_response(by_status[status]) for status in sorted(by_status)}


class StrictBodySchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # registers itself when defined
    """Request bodies take no other fields than theirs."""

    target_class = StrictBody
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        """The schema of a body, closed."""
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001  # the documented way
        return {**schema, "additionalProperties": False}


def _error_response(codes: Iterable[str]) -> OpenApiResponse:
    examples = [OpenApiExample(str(code), value=envelope(code, _SENTENCES[code]), response_only=True) for code in codes]
    return OpenApiResponse(EnvelopeSerializer, description=", ".join(f"`{code}`" for code in codes), examples=examples)
