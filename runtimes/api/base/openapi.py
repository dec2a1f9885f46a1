"""Parts of the OpenAPI document that many endpoints share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from inspect import signature
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from runtimes.api.base.exceptions import STATUS_OF_CODE, AccessCode, envelope
from runtimes.api.base.pagination import ROW_ID_PATTERN
from runtimes.api.base.parsers import StrictBody
from runtimes.exceptions import ErrorCode
from runtimes.game_ids import GAME_ID_PATTERN

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

ERROR_CODES = [
    *(str(code) for code in ErrorCode if code != ErrorCode.REPLAY_NO_OP),
    *(str(code) for code in AccessCode),
]


class ErrorSerializer(serializers.Serializer[Any]):
    """Why a request failed: a stable code for programs, and a message for operators."""

    code = serializers.ChoiceField(choices=ERROR_CODES, read_only=True)
    message = serializers.CharField(read_only=True)


class EnvelopeSerializer(serializers.Serializer[Any]):
    """The body of every error response."""

    error = ErrorSerializer(read_only=True)


def _in_path(name: str, pattern: str, description: str) -> OpenApiParameter:
    schema = {"type": "string", "pattern": f"^{pattern}$"}
    return OpenApiParameter(name, schema, OpenApiParameter.PATH, description=description)


def header(name: str, description: str, **options: Any) -> OpenApiParameter:
    """A header of the request, or with ``response`` of the responses with these statuses (True: of all)."""
    schema = options.pop("type", OpenApiTypes.STR)
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=description, **options)


# A path parameter has its description wherever a view takes it.
_PATH_PARAMETERS = {
    "game_id": _in_path("game_id", GAME_ID_PATTERN, "The game."),
    "operation_id": _in_path("operation_id", ROW_ID_PATTERN, "The operation; opaque to callers."),
    "report_id": _in_path("report_id", ROW_ID_PATTERN, "The exit report."),
    "dead_letter_id": _in_path("dead_letter_id", ROW_ID_PATTERN, "The dead letter; opaque to callers."),
}
# The headers of every request and response.
COMMON_PARAMETERS = [
    header(
        "X-Request-ID",
        "Identifies the request in logs and as an operation's `source_ref`; the response repeats it. RTM generates one "
        "if it is missing or not 1 to 128 visible ASCII characters.",
    ),
    header("X-Request-ID", "The id of the request.", response=True),
    header("WWW-Authenticate", "`Bearer`: the required scheme.", response=[HTTPStatus.UNAUTHORIZED]),
]
_LINK = header("Link", '`<URL>; rel="next"` if there are more items.', response=[HTTPStatus.OK])

_EXAMPLES: dict[str, str] = {
    ErrorCode.INVALID_REQUEST: "image_ref: This field is required.",
    ErrorCode.START_CONFIG_INVALID: 'network "galaxy-net" does not exist on the Docker host',
    ErrorCode.NOT_FOUND: "game g-42 has no runtime record",
    ErrorCode.CONFLICT: "game g-42 is busy with operation 7 (start, running); retry later, or follow that operation",
    ErrorCode.IMAGE_PULL_FAILED: "image registry.example/engine:9.9.9 could not be pulled",
    ErrorCode.CONTAINER_START_FAILED: "the container exited with code 1 right after its start",
    ErrorCode.SERVICE_UNAVAILABLE: "the database cannot be reached; try again later",
    ErrorCode.DOCKER_UNAVAILABLE: "Docker does not respond",
    ErrorCode.INTERNAL_ERROR: "unexpected error; search the log for this request id",
    ErrorCode.IMAGE_REF_NOT_SEMVER: "image reference engine:latest has no semantic version like 1.4.2",
    ErrorCode.SEMVER_PATCH_ONLY: "engine:1.4.2 and engine:1.5.0 differ in more than the patch level",
    AccessCode.UNAUTHORIZED: "this token is expired",
    AccessCode.FORBIDDEN: "this token lacks the scope 'operate'",
}


_COMMON_ERRORS = (
    AccessCode.UNAUTHORIZED, AccessCode.FORBIDDEN, ErrorCode.SERVICE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR,
)  # fmt: skip


def error_responses(*codes: str) -> dict[int, OpenApiResponse]:
    """The responses for these codes and the common ones: one per HTTP status, with an example for each code."""
    by_status: dict[int, list[str]] = {}
    for code in (*_COMMON_ERRORS, *codes):
        by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
    return {status: _error_response(by_status[status]) for status in sorted(by_status)}


def describe(
    operation_id: str, summary: str, response: Any, *codes: str, parameters: Sequence[Any] = (), **options: Any
) -> Decorator:
    """Decorate the method of a view with its OpenAPI description.

    ``response``: the serializer of the 200, or a mapping of responses. ``codes``: the errors besides the common ones.
    ``parameters``: query and headers. The other options are those of ``extend_schema``.
    """
    responses = response if isinstance(response, Mapping) else {200: response}

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        in_path = [_PATH_PARAMETERS[name] for name in signature(method).parameters if name in _PATH_PARAMETERS]
        describe_method: Decorator = extend_schema(
            operation_id=operation_id,
            summary=summary,
            parameters=[*in_path, *parameters, *COMMON_PARAMETERS],
            responses={**responses, **error_responses(*codes)},
            **options,
        )
        return describe_method(method)

    return decorate


def describe_list(operation_id: str, summary: str, response: Any, query: Any) -> Decorator:
    """Decorate the method of a list in pages."""
    return describe(operation_id, summary, response, ErrorCode.INVALID_REQUEST, parameters=[query, _LINK])


class StrictBodySchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # registers itself when defined
    """Request bodies reject unknown fields."""

    target_class = StrictBody
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001  # the documented way
        return {**schema, "additionalProperties": False}


def _error_response(codes: Iterable[str]) -> OpenApiResponse:
    examples = [OpenApiExample(str(code), value=envelope(code, _EXAMPLES[code]), response_only=True) for code in codes]
    return OpenApiResponse(EnvelopeSerializer, description=", ".join(f"`{code}`" for code in codes), examples=examples)
