"""The page of one game: its state, and as JSON the last log lines and the resource usage of its container.

The data is that of the API, for signed-in users instead of token holders.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime

from operations.explain.collect import explain_game
from operations.kinds import REQUESTABLE
from operations.models import ExitReport
from rtmanager.console.ansi import render_ansi, strip_ansi
from rtmanager.console.views import render_page
from runtimes.api.containers import LogLineSerializer, stats_of
from runtimes.api.views import container_or_404, current_container_id
from runtimes.containers import connect
from runtimes.exceptions import RuntimeManagerError
from runtimes.formatting import short_id
from runtimes.game_ids import is_game_id
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

_LAST_LINES = 30
_TAIL = 500
_TO_THE_SECOND = len("2026-11-21T08:30:00")
# Row of the table of states → the field of the desired, the recorded and the observed state.
_ROWS = {
    "status": ("status", "status", "state"),
    "image": ("image_ref", "current_image_ref", "image_ref"),
    "container": ("", "current_container_id", "container_id"),
    "network": ("", "docker_network", "networks"),
    "started at": ("", "started_at", "started_at"),
    "health": ("", "", "health"),
}


def game_view(request: HttpRequest, game_id: str) -> HttpResponse:
    """The page. It fetches everything that needs Docker after it has loaded."""
    _check(game_id)
    runtime = Runtime.objects.filter(pk=game_id).first()
    context = {"title": f"Game {game_id}", "game_id": game_id, "runtime": runtime}
    return render_page(request, "console/game.html", context)


def state_view(request: HttpRequest, game_id: str) -> HttpResponse:
    """The part of the page that is refreshed while the page is visible."""
    _check(game_id)
    explanation = explain_game(game_id).as_json()
    kinds = {verb: kind for verb, kind in REQUESTABLE.items() if request.user.has_perm(kind.permission)}
    context = {
        "it": explanation,
        "rows": _state_rows(explanation),
        "game_id": game_id,
        "actions": [(verb, kind, _why_not(verb, explanation)) for verb, kind in kinds.items()],
        "recommended": kinds.get(explanation["next_step"]["verb"]),
        "exit_report": _exit_report(explanation["exit_report"]),
    }
    return render(request, "console/parts/state.html", context)


def log_view(request: HttpRequest, game_id: str) -> JsonResponse:
    """The last lines, or the lines since ``?since=`` (RFC 3339 with a time zone); an invalid time is ignored."""
    since = _parse_time(request.GET.get("since", ""))
    return _respond(game_id, lambda container_id: {"items": _lines(container_id, since)})


def stats_view(_request: HttpRequest, game_id: str) -> JsonResponse:
    """Current CPU, memory and network usage; takes one second, over which the CPU is measured."""
    return _respond(game_id, stats_of)


def _check(game_id: str) -> None:
    if not is_game_id(game_id):
        raise Http404


def _why_not(verb: str, explanation: Mapping[str, Any]) -> str:
    """Why the page does not offer this action; empty when it does. It offers no action that would change nothing."""
    refusal: str = explanation["verbs"].get(verb, "")
    recorded, observed = explanation["recorded"] or {}, explanation["observed"]
    states = {recorded.get("status") == RuntimeStatus.RUNNING, observed["state"] == "running"}
    if not refusal and verb == "start" and states == {True}:
        return "the game is running"
    if not refusal and verb == "stop" and states == {False}:
        return "the game is not running"
    return refusal


def _exit_report(pk: str | None) -> ExitReport | None:
    report = ExitReport.objects.filter(pk=pk).only("cause", "exit_code", "occurred_at", "log").first() if pk else None
    if report is not None:
        report.log = report.log[-_LAST_LINES:]
    return report


def _state_rows(explanation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Desired, recorded and observed state as rows. The explanation decides what differs; texts are not compared."""
    differing = {difference["what"] for difference in explanation["differences"]}
    states = ("desired", "recorded", "observed")
    return [
        {
            "name": name,
            "differs": name in differing,
            **{state: _text(explanation[state], field) for state, field in zip(states, fields, strict=True)},
        }
        for name, fields in _ROWS.items()
    ]


def _text(state: Mapping[str, Any] | None, field: str) -> str:
    value = state.get(field) if state and field else None
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = "" if value is None else str(value)
    if field.endswith("container_id"):
        return short_id(text)
    return f"{text[:_TO_THE_SECOND].replace('T', ' ')} UTC" if field.endswith("_at") and text else text


def _lines(container_id: str, since: datetime | None) -> list[dict[str, Any]]:
    """Each line as text to search in and as HTML to show."""
    lines = [LogLineSerializer(line).data for line in connect().logs(container_id, tail=_TAIL, since=since)]
    return [{**line, "line": strip_ansi(line["line"]), "html": render_ansi(line["line"])} for line in lines]


def _parse_time(text: str) -> datetime | None:
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _respond(game_id: str, read: Callable[[str], dict[str, Any]]) -> JsonResponse:
    """Respond with data of the game's container. An error becomes a ``note`` for the page."""
    _check(game_id)
    container_id = ""
    try:
        container_id = current_container_id(game_id)
        with container_or_404(game_id):
            data = read(container_id)
    except RuntimeManagerError as error:
        data = {"items": [], "note": error.message}
    return JsonResponse({"note": "", **data, "container_id": container_id})
