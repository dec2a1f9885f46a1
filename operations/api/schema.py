"""What the verbs share in the OpenAPI document."""

from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from operations.api.preferences import APPLIED_HEADER, KEY_HEADER, PREFER_HEADER, REPLAYED_HEADER
from operations.api.records import EXAMPLE_RUNNING, OperationSerializer
from runtimes.api.paging import ROW_ID_PATTERN
from runtimes.api.records import RuntimeRecordSerializer
from runtimes.api.schema import ALWAYS, CALLER, GAME_ID, errors
from runtimes.api.strict import StrictBody
from runtimes.exceptions import ErrorCode

OPERATION_ID = OpenApiParameter(
    "operation_id",
    {"type": "string", "pattern": f"^{ROW_ID_PATTERN}$"},
    OpenApiParameter.PATH,
    description="The operation; opaque to callers.",
)
_PREFER = OpenApiParameter(
    PREFER_HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description=(
        "RFC 7240. `respond-async`: answer 202 as soon as the operation is on record. `wait=N`: hold the call for N "
        "seconds at most, never longer than the service would."
    ),
    examples=[
        OpenApiExample("at once", value="respond-async"),
        OpenApiExample("after five seconds", value="respond-async, wait=5"),
    ],
)
_KEY = OpenApiParameter(
    KEY_HEADER,
    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    OpenApiParameter.HEADER,
    description=(
        "The caller's own name for this request: asked again within 24 hours, it is done once and answered alike. "
        "The same key for another request is a `conflict`."
    ),
)
_REPLAYED = OpenApiParameter(
    REPLAYED_HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    enum=["true"],
    response=True,
    description="This key was used before: the answer is that of the operation it was used for.",
)
_WHERE_TO_LOOK = [
    OpenApiParameter(
        "Location", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[202], description="The operation's address."
    ),
    OpenApiParameter(
        "Retry-After",
        OpenApiTypes.INT,
        OpenApiParameter.HEADER,
        response=[202],
        description="Seconds until a look pays.",
    ),
    OpenApiParameter(
        APPLIED_HEADER,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        response=[202],
        description="Which of the preferences were honoured.",
    ),
]
_STILL_RUNNING = OpenApiResponse(
    OperationSerializer,
    description="The answer was preferred before the end, or the wait ended first; `Location` is where to look.",
    examples=[OpenApiExample("still running", value=EXAMPLE_RUNNING, status_codes=["202"])],
)
_OF_EVERY_VERB = (ErrorCode.INVALID_REQUEST, ErrorCode.CONFLICT, ErrorCode.DOCKER_UNAVAILABLE)


def describe_verb(
    operation_id: str, summary: str, *, body: type[StrictBody] | None = None, codes: Sequence[ErrorCode]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a verb's method with its part of the document: headers, body, answers, and the errors it may give."""
    decorate: Callable[[Callable[..., Any]], Callable[..., Any]] = extend_schema(
        operation_id=operation_id,
        summary=summary,
        parameters=[GAME_ID, CALLER, _PREFER, _KEY, *ALWAYS, _REPLAYED, *_WHERE_TO_LOOK],
        request=_describe_body(body),
        responses={200: RuntimeRecordSerializer, 202: _STILL_RUNNING, **errors(*_OF_EVERY_VERB, *codes)},
    )
    return decorate


def _describe_body(body: type[StrictBody] | None) -> Any:
    if body is None or body().fields:
        return body
    # drf-spectacular leaves out a body without fields; this one may be sent, but only as {}.
    return {"application/json": {"type": "object", "additionalProperties": False, "description": body.__doc__}}
