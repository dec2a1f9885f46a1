"""The operation log over HTTP."""

from rest_framework.request import Request
from rest_framework.response import Response

from operations.api.serializers import OperationSerializer
from operations.models import Operation
from operations.states import OperationKind, OperationState, Outcome
from runtimes.api.base.openapi import describe, describe_list
from runtimes.api.base.pagination import PageQuery, get_row, page_of, paginate
from runtimes.api.base.parsers import QueryChoice, QueryGameId
from runtimes.api.base.views import ApiView
from runtimes.exceptions import ErrorCode
from runtimes.game_ids import check_game_id

OperationList = page_of(OperationSerializer, "OperationList", "One page of a game's operations, newest first.")


class OperationQuery(PageQuery):
    """The filters of the operations of all games."""

    state = QueryChoice(OperationState.values, help_text="Only with this state.")
    outcome = QueryChoice(Outcome.values, help_text="Only with this outcome.")
    op_kind = QueryChoice(OperationKind.values, help_text="Only with this op_kind.")
    game_id = QueryGameId(help_text="Only of this game.")


class OperationListView(ApiView):
    """The operations of one game."""

    @describe_list("internalListOperations", "List a game's operations, newest first", OperationList, PageQuery)
    def get(self, request: Request, game_id: str) -> Response:
        """One page; empty for an unknown game. Always one query."""
        check_game_id(game_id)
        return paginate(request, Operation.objects.filter(game_id=game_id), OperationSerializer)


class AllOperationsView(ApiView):
    """The operations of all games."""

    @describe_list(
        "internalListAllOperations", "List the operations of all games, newest first", OperationList, OperationQuery
    )
    def get(self, request: Request) -> Response:
        """One page of the filtered operations. Always one query."""
        return paginate(request, Operation.objects.all(), OperationSerializer, query=OperationQuery)


class OperationView(ApiView):
    """One operation."""

    @describe("internalGetOperation", "Get one operation", OperationSerializer, ErrorCode.NOT_FOUND)
    def get(self, _request: Request, operation_id: str) -> Response:
        """The state, steps and outcome of the operation."""
        operation = get_row(Operation.objects.all(), operation_id, what="operation")
        return Response(OperationSerializer(operation).data)
