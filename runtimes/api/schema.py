"""The pieces of the OpenAPI document that many endpoints share."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from runtimes.api.callers import CALLER_HEADER
from runtimes.api.errors import HTTP_STATUS, AccessCode, envelope
from runtimes.api.paging import DEFAULT_LIMIT, MAX_LIMIT
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
    {"type": "string", "maxLength": 128},
    OpenApiParameter.HEADER,
    description="Names the request in logs and as an operation's `source_ref`; made up when missing, always echoed.",
)
CALLER = OpenApiParameter(
    CALLER_HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    enum=["gm", "admin"],
    description="The calling service; anything else counts as `admin`.",
)
PAGE = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        description="How many items at most.",
    ),
    OpenApiParameter(
        "cursor", OpenApiTypes.STR, description='Where to go on: follow the `Link: <…>; rel="next"` of an answer.'
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
    AccessCode.UNAUTHORIZED: "a valid bearer token is required",
}


def errors(*codes: str) -> dict[int, OpenApiResponse]:
    """Responses for these codes, one per HTTP status, each code with its example; 401 always belongs to them."""
    by_status: dict[int, list[str]] = {}
    for code in (AccessCode.UNAUTHORIZED, ErrorCode.SERVICE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR, *codes):
        by_status.setdefault(HTTP_STATUS.get(code, HTTPStatus.UNAUTHORIZED), []).append(code)
    return {status: _error_response(same) for status, same in by_status.items()}


def _error_response(codes: Iterable[str]) -> OpenApiResponse:
    examples = [OpenApiExample(str(code), value=envelope(code, _SENTENCES[code]), response_only=True) for code in codes]
    return OpenApiResponse(EnvelopeSerializer, description=", ".join(f"`{code}`" for code in codes), examples=examples)
