"""What is on record: reading runtimes."""

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runtimes.api.base import ContractView
from runtimes.api.paging import answer_page, read_page
from runtimes.api.records import RuntimeListSerializer, RuntimeRecordSerializer, show
from runtimes.api.schema import ALWAYS, GAME_ID, PAGE, errors
from runtimes.exceptions import ErrorCode, InvalidRequestError, RuntimeNotFoundError
from runtimes.games import check_game_id
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

STATUS = OpenApiParameter("status", enum=RuntimeStatus.values, description="Only runtimes in this status.")


def find_runtime(game_id: str) -> Runtime:
    """The record of a game. Raises RuntimeNotFoundError when there is none."""
    runtime = Runtime.objects.filter(game_id=game_id).first()
    if runtime is None:
        message = f"there is no runtime of game {game_id}"
        raise RuntimeNotFoundError(message)
    return runtime


class RuntimeListView(ContractView):
    """All runtimes."""

    @extend_schema(
        operation_id="internalListRuntimes",
        summary="List runtimes, by game id",
        parameters=[STATUS, *PAGE, *ALWAYS],
        responses={200: RuntimeListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request) -> Response:
        """One page of the records, ordered by game id. One query whatever the page holds."""
        page = read_page(request)
        rows = _with_status(request.query_params.get("status")).filter(game_id__gt=page.after).order_by("game_id")
        return answer_page(
            request, rows, limit=page.limit, serializer=RuntimeRecordSerializer, key=lambda row: row.game_id
        )


class RuntimeView(ContractView):
    """One runtime."""

    @extend_schema(
        operation_id="internalGetRuntime",
        summary="Get one runtime",
        parameters=[GAME_ID, *ALWAYS],
        responses={200: RuntimeRecordSerializer, **errors(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND)},
    )
    def get(self, _request: Request, game_id: str) -> Response:
        """The record of one game, whatever its status."""
        check_game_id(game_id)
        return Response(show(find_runtime(game_id)))


def _with_status(status: str | None) -> QuerySet[Runtime]:
    if status is None:
        return Runtime.objects.all()
    if status not in RuntimeStatus.values:
        message = f"status: must be one of {', '.join(RuntimeStatus.values)}"
        raise InvalidRequestError(message)
    return Runtime.objects.filter(status=status)
