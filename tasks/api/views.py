"""Dead letters over HTTP: the list, one of them, and its second life."""

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from operations.models import DeadLetter
from runtimes.api.base import ContractView
from runtimes.api.callers import Caller
from runtimes.api.paging import ROW_ID_PATTERN, answer_page_by_id, read_row_id
from runtimes.api.schema import ALWAYS, PAGE, errors
from runtimes.exceptions import ErrorCode, InvalidRequestError
from runtimes.games import GAME_ID_PATTERN, check_game_id
from tasks.api.records import DeadLetterListSerializer, DeadLetterSerializer, RedriveBody, RedrivenSerializer
from tasks.redrive import NoSuchLetterError, find_letter, redrive

_WAITING = {"true": True, "false": False}

LETTER_ID = OpenApiParameter(
    "letter_id",
    {"type": "string", "pattern": f"^{ROW_ID_PATTERN}$"},
    OpenApiParameter.PATH,
    description="The letter; opaque to callers.",
)
_FILTERS = [
    OpenApiParameter("waiting", enum=list(_WAITING), description="Only letters that wait, or only those redriven."),
    OpenApiParameter(
        "game_id", {"type": "string", "pattern": f"^{GAME_ID_PATTERN}$"}, description="Only letters about this game."
    ),
]


class DeadLetterListView(ContractView):
    """All letters."""

    @extend_schema(
        operation_id="internalListDeadLetters",
        summary="List dead letters, oldest first",
        parameters=[*_FILTERS, *PAGE, *ALWAYS],
        responses={200: DeadLetterListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request) -> Response:
        """One page of the stream entries that no job could be read from. One query whatever it holds."""
        return answer_page_by_id(request, _chosen(request), serializer=DeadLetterSerializer, newest_first=False)


class DeadLetterView(ContractView):
    """One letter."""

    @extend_schema(
        operation_id="internalGetDeadLetter",
        summary="Get one dead letter",
        parameters=[LETTER_ID, *ALWAYS],
        responses={200: DeadLetterSerializer, **errors(ErrorCode.NOT_FOUND)},
    )
    def get(self, _request: Request, letter_id: str) -> Response:
        """The letter, and what became of it."""
        return Response(DeadLetterSerializer(find_letter(_read_id(letter_id))).data)


class RedriveView(ContractView):
    """Make the job a letter should have been."""

    @extend_schema(
        operation_id="internalRedriveDeadLetter",
        summary="Make a job of a dead letter, mended if need be",
        parameters=[LETTER_ID, *ALWAYS],
        request=RedriveBody,
        responses={
            200: RedrivenSerializer,
            **errors(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
        },
    )
    def post(self, request: Request, letter_id: str) -> Response:
        """It is accepted after everything accepted before; its result goes to the result stream.

        Redriven again, the first operation is answered and nothing is done; as another job, `conflict`.
        """
        number = _read_id(letter_id)
        body = RedriveBody(data=self.read_body(request))
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        done = redrive(number, mended=asked.get("set", {}), by=_who(request), note=asked.get("note", ""))
        told = {"letter": find_letter(number), "operation": done.operation, "is_replay": done.is_replay}
        return Response(RedrivenSerializer(told).data)


def _chosen(request: Request) -> QuerySet[DeadLetter]:
    rows = DeadLetter.objects.all()
    waiting, game_id = request.query_params.get("waiting"), request.query_params.get("game_id")
    if waiting is not None:
        if waiting not in _WAITING:
            message = "waiting: must be true or false"
            raise InvalidRequestError(message)
        rows = rows.filter(redriven_at__isnull=_WAITING[waiting])
    if game_id is not None:
        check_game_id(game_id)
        rows = rows.filter(game_id=game_id)
    return rows


def _who(request: Request) -> str:
    caller = request.user
    if not isinstance(caller, Caller):
        message = "the permission class let an unknown caller pass"
        raise TypeError(message)
    return f"{caller.name} (request {request.headers.get('X-Request-ID', '')})"


def _read_id(text: str) -> int:
    number = read_row_id(text)
    if number is None:
        message = f"there is no dead letter {text[:20]!a}"
        raise NoSuchLetterError(message)
    return number
