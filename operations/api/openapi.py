"""The OpenAPI descriptions that all actions share."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from operations.api.completion import APPLIED_HEADER, KEY_HEADER, KEY_PATTERN, PREFER_HEADER, REPLAYED_HEADER
from operations.api.serializers import EXAMPLE_RUNNING, OperationSerializer
from runtimes.api.base.authentication import CALLER_HEADER
from runtimes.api.base.openapi import Decorator, describe, header
from runtimes.api.base.parsers import StrictBody
from runtimes.api.serializers import RuntimeRecordSerializer
from runtimes.exceptions import ErrorCode

_CALLER = header(
    CALLER_HEADER,
    "The calling service, `gm` or `admin`, with `RTMANAGER_API_AUTH=network`; any other value means `admin`. Ignored "
    "with a token, which belongs to one caller.",
    examples=[OpenApiExample("Game Master", value="gm"), OpenApiExample("Admin service", value="admin")],
)
_PREFER = header(
    PREFER_HEADER,
    "RFC 7240. `respond-async`: respond 202 as soon as the operation is recorded. `wait=N`: hold the call for at most "
    "N seconds, and never longer than the service limit.",
    examples=[
        OpenApiExample("at once", value="respond-async"),
        OpenApiExample("after five seconds", value="respond-async, wait=5"),
    ],
)
_KEY = header(
    KEY_HEADER,
    "The name that the caller gives this request. The same request within 24 hours runs once and gets the same "
    "response. The same key for another request is a `conflict`.",
    type={"type": "string", "pattern": f"^{KEY_PATTERN}$"},
)
_RESPONSE_HEADERS = [
    header(
        REPLAYED_HEADER,
        "The key was used before; this is the response of the first operation.",
        enum=["true"],
        response=True,
    ),
    header("Location", "Address of the operation.", response=[202]),
    header("Retry-After", "Seconds until the next request.", type=OpenApiTypes.INT, response=[202]),
    header(APPLIED_HEADER, "The preferences that were applied.", response=[202]),
]
_STILL_RUNNING = OpenApiResponse(
    OperationSerializer,
    description="The operation is still open. `Location` is its address.",
    examples=[OpenApiExample("still running", value=EXAMPLE_RUNNING, status_codes=["202"])],
)
_COMMON_ERRORS = (ErrorCode.INVALID_REQUEST, ErrorCode.CONFLICT, ErrorCode.DOCKER_UNAVAILABLE)


def describe_action(
    operation_id: str, summary: str, *, body: type[StrictBody] | None = None, codes: Sequence[ErrorCode]
) -> Decorator:
    """Decorate the method of an action with its OpenAPI description: headers, body, responses and errors."""
    return describe(
        operation_id,
        summary,
        {200: RuntimeRecordSerializer, 202: _STILL_RUNNING},
        *_COMMON_ERRORS,
        *codes,
        parameters=[_CALLER, _PREFER, _KEY, *_RESPONSE_HEADERS],
        request=_describe_body(body),
    )


def _describe_body(body: type[StrictBody] | None) -> Any:
    if body is None or body().fields:
        return body
    # drf-spectacular omits a body without fields. Callers may send this one, but only as {}.
    return {"application/json": {"type": "object", "additionalProperties": False, "description": body.__doc__}}
