"""The verbs over HTTP, and the log of what was done."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

import structlog
from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.answers import answer, answer_accepted
from operations.api.bodies import StartBody, StopBody
from operations.api.records import EXAMPLE_RUNNING, OperationListSerializer, OperationSerializer
from operations.api.waiting import wait
from operations.intake import OperationRequest, accept_unless_busy
from operations.models import Operation
from operations.replies import replies
from operations.states import OpKind, OpSource
from runtimes.api.base import ContractView
from runtimes.api.callers import Caller
from runtimes.api.errors import DATABASE_AWAY
from runtimes.api.paging import answer_page, read_page
from runtimes.api.records import RuntimeRecordSerializer
from runtimes.api.schema import CALLER, GAME_ID, PAGE, REQUEST_ID, errors
from runtimes.api.strict import StrictBody
from runtimes.exceptions import ErrorCode, InvalidRequestError, RuntimeNotFoundError, ServiceUnavailableError
from runtimes.games import check_game_id

log = structlog.get_logger(__name__)

OP_SOURCES: Mapping[str, OpSource] = {"gm": OpSource.GM_REST, "admin": OpSource.ADMIN_REST}
_OPERATION_ID = re.compile(r"[1-9][0-9]{0,18}")
_STILL_RUNNING = OpenApiResponse(
    OperationSerializer,
    description="The wait ended before the operation did; `Location` is where to look.",
    examples=[OpenApiExample("still running", value=EXAMPLE_RUNNING, status_codes=["202"])],
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
]


class VerbView(ContractView):
    """One verb on one game: check the input, record the operation, wait for its outcome, answer with it.

    A subclass names the kind and the body; what the body holds becomes the operation's arguments.
    """

    op_kind: ClassVar[OpKind]
    body: ClassVar[type[StrictBody]]

    def perform(self, request: Request, game_id: str) -> Response:
        """Do the verb. Nothing is recorded when the input is wrong, the game is busy or Redis is away."""
        check_game_id(game_id)
        arguments = self._read_arguments(request)
        replies().ping()
        operation = accept_unless_busy(self._describe(request, game_id=game_id, arguments=arguments))
        return _wait_and_answer(operation)

    def _read_arguments(self, request: Request) -> Mapping[str, Any]:
        body = self.body(data=request.data)
        body.is_valid(raise_exception=True)
        arguments: Mapping[str, Any] = body.validated_data
        return arguments

    def _describe(self, request: Request, *, game_id: str, arguments: Mapping[str, Any]) -> OperationRequest:
        caller = request.user
        if not isinstance(caller, Caller):
            message = "the permission class let an unknown caller pass"
            raise TypeError(message)
        return OperationRequest(
            game_id=game_id,
            op_kind=self.op_kind,
            op_source=OP_SOURCES[caller.name],
            job_key=f"rest:{uuid.uuid4()}",
            source_ref=request.headers.get("X-Request-ID", ""),
            arguments=arguments,
        )


class StartView(VerbView):
    """Start a game."""

    op_kind = OpKind.START
    body = StartBody

    @extend_schema(
        operation_id="internalStartRuntime",
        summary="Start a game's engine",
        parameters=[GAME_ID, CALLER, REQUEST_ID, *_WHERE_TO_LOOK],
        request=StartBody,
        responses={
            200: RuntimeRecordSerializer,
            202: _STILL_RUNNING,
            **errors(
                ErrorCode.INVALID_REQUEST,
                ErrorCode.START_CONFIG_INVALID,
                ErrorCode.CONFLICT,
                ErrorCode.IMAGE_PULL_FAILED,
                ErrorCode.CONTAINER_START_FAILED,
                ErrorCode.DOCKER_UNAVAILABLE,
            ),
        },
    )
    def post(self, request: Request, game_id: str) -> Response:
        """Running with the same image already: 200 and nothing changes. Running with another image: `conflict`."""
        return self.perform(request, game_id)


class StopView(VerbView):
    """Stop a game."""

    op_kind = OpKind.STOP
    body = StopBody

    @extend_schema(
        operation_id="internalStopRuntime",
        summary="Stop a game's engine",
        parameters=[GAME_ID, CALLER, REQUEST_ID, *_WHERE_TO_LOOK],
        request=StopBody,
        responses={
            200: RuntimeRecordSerializer,
            202: _STILL_RUNNING,
            **errors(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.DOCKER_UNAVAILABLE),
        },
    )
    def post(self, request: Request, game_id: str) -> Response:
        """Stopped or removed already: 200 and nothing changes. The state directory always stays."""
        return self.perform(request, game_id)


class OperationListView(ContractView):
    """The log of one game."""

    @extend_schema(
        operation_id="internalListOperations",
        summary="List a game's operations, newest first",
        parameters=[GAME_ID, *PAGE, REQUEST_ID],
        responses={200: OperationListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request, game_id: str) -> Response:
        """One page of the log; empty for a game nobody ever asked anything of. One query whatever it holds."""
        check_game_id(game_id)
        page = read_page(request)
        rows = Operation.objects.filter(game_id=game_id).order_by("-id")
        if page.after:
            rows = rows.filter(id__lt=_parse_cursor_id(page.after))
        return answer_page(request, rows, limit=page.limit, serializer=OperationSerializer, key=lambda row: str(row.pk))


class OperationView(ContractView):
    """One operation."""

    @extend_schema(
        operation_id="internalGetOperation",
        summary="Get one operation",
        parameters=[REQUEST_ID],
        responses={200: OperationSerializer, **errors(ErrorCode.NOT_FOUND)},
    )
    def get(self, _request: Request, operation_id: str) -> Response:
        """How an operation goes or went."""
        operation = None
        if _OPERATION_ID.fullmatch(operation_id):
            operation = Operation.objects.filter(pk=int(operation_id)).first()
        if operation is None:
            message = f"there is no operation {operation_id[:20]!a}"
            raise RuntimeNotFoundError(message)
        return Response(OperationSerializer(operation).data)


def _wait_and_answer(operation: Operation) -> Response:
    try:
        return answer(wait(operation, timeout_seconds=settings.RTMANAGER.rest_wait_seconds))
    except (*DATABASE_AWAY, ServiceUnavailableError) as error:
        # It is on record and will be done: 503, which means "nothing done", would be a lie.
        log.warning("operation_wait_interrupted", operation_id=operation.pk, error=str(error).strip())
        return answer_accepted(operation)


def _parse_cursor_id(text: str) -> int:
    if not _OPERATION_ID.fullmatch(text):
        message = "cursor: not one that this service gave out"
        raise InvalidRequestError(message)
    return int(text)
