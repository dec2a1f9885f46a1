"""List and get runtime records; find the container of a game."""

from collections.abc import Iterator
from contextlib import contextmanager

from rest_framework.request import Request
from rest_framework.response import Response

from runtimes.api.base.openapi import describe, describe_list
from runtimes.api.base.pagination import PageQuery, page_of, paginate
from runtimes.api.base.parsers import QueryChoice
from runtimes.api.base.views import ApiView
from runtimes.api.serializers import RuntimeRecordSerializer, serialize
from runtimes.containers.base import NoSuchContainerError
from runtimes.exceptions import ErrorCode, RuntimeNotFoundError
from runtimes.game_ids import check_game_id
from runtimes.models import Runtime
from runtimes.states import EndedBy, RuntimeStatus

RuntimeList = page_of(RuntimeRecordSerializer, "RuntimeList", "One page of runtimes, ordered by game id.")


class RuntimeQuery(PageQuery):
    """The filters of the list."""

    status = QueryChoice(RuntimeStatus.values, help_text="Only runtimes in this status.")
    ended_by = QueryChoice(
        EndedBy.values,
        help_text="Only runtimes that are down for this cause and that no operation has stopped or started since. "
        "`docker_restarted`: their containers exited because Docker or its host went down.",
    )


class RuntimeListView(ApiView):
    """All runtimes."""

    @describe_list("internalListRuntimes", "List runtimes, ordered by game id", RuntimeList, RuntimeQuery)
    def get(self, request: Request) -> Response:
        """One page of the records, ordered by game id."""
        rows = Runtime.objects.all()
        return paginate(request, rows, RuntimeRecordSerializer, query=RuntimeQuery, order_by="game_id")


class RuntimeView(ApiView):
    """One runtime."""

    @describe(
        "internalGetRuntime", "Get one runtime", RuntimeRecordSerializer, ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND
    )
    def get(self, _request: Request, game_id: str) -> Response:
        """The record of one game, in any status."""
        check_game_id(game_id)
        return Response(serialize(find_runtime(game_id)))


def find_runtime(game_id: str) -> Runtime:
    """The record of a game. Raises RuntimeNotFoundError."""
    runtime = Runtime.objects.filter(game_id=game_id).first()
    if runtime is None:
        message = f"game {game_id} has no runtime record"
        raise RuntimeNotFoundError(message)
    return runtime


def current_container_id(game_id: str) -> str:
    """The recorded container of a game. Raises RuntimeNotFoundError without a record or a container."""
    check_game_id(game_id)
    container_id = find_runtime(game_id).current_container_id
    if not container_id:
        message = f"game {game_id} has no container; see its exit reports for earlier ones"
        raise RuntimeNotFoundError(message)
    return container_id


@contextmanager
def container_or_404(game_id: str) -> Iterator[None]:
    """Translate a container that Docker does not have into a 404."""
    try:
        yield
    except NoSuchContainerError as error:
        message = f"the container of game {game_id} no longer exists in Docker; the next reconcile records that"
        raise RuntimeNotFoundError(message) from error
