"""What a game's page fetches while it is open: the container's last log lines and what it uses.

The same as the API tells, for people who have signed in instead of for tokens; what cannot be had is said in words.
"""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from rtmanager.console.guard import guarded
from runtimes.api.live import container_of, present
from runtimes.api.logs import LogLineSerializer
from runtimes.api.stats import stats_of
from runtimes.containers import connect
from runtimes.exceptions import RuntimeManagerError
from runtimes.games import is_game_id

_TAIL = 500


@guarded("runtimes.view_runtime")
@require_GET
def log(request: HttpRequest, game_id: str) -> JsonResponse:
    """The last lines, or those since ``?since=`` (RFC 3339); a time that is none counts as not given."""
    return _tell(game_id, lambda container_id: _lines(container_id, since=request.GET.get("since", "")))


@guarded("runtimes.view_runtime")
@require_GET
def stats(request: HttpRequest, game_id: str) -> JsonResponse:
    """CPU, memory and network of this moment; takes the second over which the processor is measured."""
    del request
    return _tell(game_id, stats_of)


def _lines(container_id: str, *, since: str) -> dict[str, Any]:
    lines = connect().logs(container_id, tail=_TAIL, since=_moment(since))
    return {"items": [LogLineSerializer(line).data for line in lines]}


def _moment(text: str) -> Any:
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _tell(game_id: str, look: Callable[[str], dict[str, Any]]) -> JsonResponse:
    if not is_game_id(game_id):
        raise Http404
    container_id = ""
    try:
        container_id = container_of(game_id)
        with present(game_id):
            told = look(container_id)
    except RuntimeManagerError as error:
        told = {"items": [], "note": error.message}
    return JsonResponse({"note": "", **told, "container_id": container_id})
