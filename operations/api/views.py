"""The log of what was done."""

from collections.abc import Mapping, Sequence

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.records import OperationListSerializer, OperationSerializer
from operations.api.schema import OPERATION_ID
from operations.models import Operation
from operations.states import OpKind, OpState, Outcome
from runtimes.api.base import ContractView
from runtimes.api.paging import answer_page_by_id, find_row
from runtimes.api.schema import ALWAYS, GAME_ID, PAGE, errors
from runtimes.exceptions import ErrorCode, InvalidRequestError, RuntimeNotFoundError
from runtimes.games import GAME_ID_PATTERN, check_game_id

_CHOICES: Mapping[str, Sequence[str]] = {
    "state": OpState.values,
    "outcome": Outcome.values,
    "op_kind": OpKind.values,
}
_FILTERS = [
    *(
        OpenApiParameter(name, enum=choices, description=f"Only with this {name}.")
        for name, choices in _CHOICES.items()
    ),
    OpenApiParameter(
        "game_id", {"type": "string", "pattern": f"^{GAME_ID_PATTERN}$"}, description="Only of this game."
    ),
]


class OperationListView(ContractView):
    """The log of one game."""

    @extend_schema(
        operation_id="internalListOperations",
        summary="List a game's operations, newest first",
        parameters=[GAME_ID, *PAGE, *ALWAYS],
        responses={200: OperationListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request, game_id: str) -> Response:
        """One page of the log; empty for a game nobody ever asked anything of. One query whatever it holds."""
        check_game_id(game_id)
        rows = Operation.objects.filter(game_id=game_id)
        return answer_page_by_id(request, rows, serializer=OperationSerializer)


class AllOperationsView(ContractView):
    """The log of all games."""

    @extend_schema(
        operation_id="internalListAllOperations",
        summary="List the operations of all games, newest first",
        parameters=[*_FILTERS, *PAGE, *ALWAYS],
        responses={200: OperationListSerializer, **errors(ErrorCode.INVALID_REQUEST)},
    )
    def get(self, request: Request) -> Response:
        """One page of the log, filtered as asked. One query whatever it holds."""
        return answer_page_by_id(request, _filtered(request), serializer=OperationSerializer)


class OperationView(ContractView):
    """One operation."""

    @extend_schema(
        operation_id="internalGetOperation",
        summary="Get one operation",
        parameters=[OPERATION_ID, *ALWAYS],
        responses={200: OperationSerializer, **errors(ErrorCode.NOT_FOUND)},
    )
    def get(self, _request: Request, operation_id: str) -> Response:
        """How an operation goes or went."""
        operation = find_row(Operation.objects.all(), operation_id)
        if operation is None:
            message = f"there is no operation {operation_id[:20]!a}"
            raise RuntimeNotFoundError(message)
        return Response(OperationSerializer(operation).data)


def _filtered(request: Request) -> QuerySet[Operation]:
    rows = Operation.objects.all()
    for name, choices in _CHOICES.items():
        value = request.query_params.get(name)
        if value is not None and value not in choices:
            message = f"{name}: must be one of {', '.join(choices)}"
            raise InvalidRequestError(message)
        rows = rows.filter(**{name: value}) if value is not None else rows
    game_id = request.query_params.get("game_id")
    if game_id is None:
        return rows
    check_game_id(game_id)
    return rows.filter(game_id=game_id)
