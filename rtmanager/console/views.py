"""The confirmation of an action on games, and its progress."""

import uuid
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from operations.kinds import REQUESTABLE, Kind
from operations.models import Operation
from operations.states import OperationState
from rtmanager.console.actions import NO_RECORD, ActionForm, preview, submit
from rtmanager.console.confirmation import Target, render_confirmation
from runtimes.game_ids import is_game_id
from runtimes.models import Runtime
from runtimes.states import EndedBy

_MAX_GAMES = 200


@vary_on_headers("Accept")
def root(request: HttpRequest) -> HttpResponse:
    """Redirect a browser to the console. A client that does not accept HTML gets the API's 404."""
    if request.method not in {"GET", "HEAD"} or not request.accepts("text/html"):
        raise Http404
    return HttpResponseRedirect(reverse("admin:index"))


@require_http_methods(["GET", "POST"])
def action_view(request: HttpRequest, name: str) -> HttpResponse:
    """GET says what the action will do to each game and asks for a reason; POST submits it."""
    kind = REQUESTABLE.get(name)
    if kind is None:
        raise Http404
    if not request.user.has_perm(kind.permission):
        raise PermissionDenied
    cause = _cause(request)
    down = Runtime.objects.filter(ended_by=cause).order_by("game_id") if cause else Runtime.objects.none()
    if request.method == "POST":
        game_ids = _named_games(request)
        form = ActionForm(kind, request.POST)
        if form.is_valid():
            operations, refusals = submit(kind, game_ids, form=form, user=cast("User", request.user))
            for game_id, reason in refusals.items():
                messages.error(request, f"{kind.label} of {game_id} refused: {reason}")
            return _redirect_after(request, kind, game_ids, operations, cause=cause)
    else:
        if cause and not down.exists():
            messages.info(request, "No game is down for this cause any more.")
            return HttpResponseRedirect(reverse("admin:runtimes_runtime_changelist"))
        # A limited number at a time: other games wait for the same workers, and a failure shows before all are tried.
        game_ids = list(down.values_list("game_id", flat=True)[:_MAX_GAMES]) if cause else _named_games(request)
        image_ref = request.GET.get("image_ref", "")
        form = ActionForm(kind, initial={"submission_id": uuid.uuid4(), "image_ref": image_ref, "if_ended_by": cause})
    return _confirm(request, kind, game_ids, form, remaining=down.count() - len(game_ids))


def _confirm(
    request: HttpRequest, kind: Kind, game_ids: list[str], form: ActionForm, *, remaining: int
) -> HttpResponse:
    records = Runtime.objects.in_bulk(game_ids)
    targets = [
        Target(game_id, game_id, preview(kind, record), status=record.status if record else NO_RECORD)
        for game_id, record in ((game_id, records.get(game_id)) for game_id in game_ids)
    ]
    is_single = len(game_ids) == 1
    more = f"{remaining} more {'game is' if remaining == 1 else 'games are'} down for the same cause."
    return render_confirmation(
        request,
        form,
        f"{kind.label} {game_ids[0] if is_single else f'{len(game_ids)} games'}",
        targets,
        target_field="game",
        cancel_url=reverse("console:game", args=game_ids)
        if is_single
        else reverse("admin:runtimes_runtime_changelist"),
        is_destructive=kind.is_destructive,
        notice=f"{more} Restart them after these." if remaining > 0 else "",
    )


def progress_view(request: HttpRequest) -> HttpResponse:
    """The operations of one action on many games, refreshed until all have finished."""
    pks = [int(text) for text in request.GET.getlist("operation")[:_MAX_GAMES] if text.isdecimal()]
    operations = list(Operation.objects.filter(pk__in=pks).order_by("id"))
    cause = _cause(request)
    context = {
        "title": "Progress",
        "operations": operations,
        "is_over": all(operation.state == OperationState.FINISHED for operation in operations),
        "cause": cause,
        "still_down": Runtime.objects.filter(ended_by=cause).count() if cause else 0,
    }
    if request.headers.get("HX-Request"):
        return render(request, "console/parts/progress.html", context)
    return render_page(request, "console/progress.html", context)


def render_page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A whole page, with the admin's side bar and header."""
    return render(request, template, {**admin.site.each_context(request), **context})


def _cause(request: HttpRequest) -> str:
    """The cause that selects the games; empty when the request names the games, or an unknown cause."""
    cause = request.POST.get("if_ended_by") or request.GET.get("if_ended_by", "")
    return cause if cause in EndedBy.values else ""


def _named_games(request: HttpRequest) -> list[str]:
    game_ids = list(dict.fromkeys(request.POST.getlist("game") or request.GET.getlist("game")))
    if not game_ids or len(game_ids) > _MAX_GAMES or not all(map(is_game_id, game_ids)):
        raise Http404
    return game_ids


def _redirect_after(
    request: HttpRequest, kind: Kind, game_ids: list[str], operations: list[Operation], *, cause: str
) -> HttpResponse:
    if len(game_ids) == 1:
        for operation in operations:
            messages.success(request, f"{kind.label} requested: operation {operation.pk}.")
        return HttpResponseRedirect(reverse("console:game", args=game_ids))
    query = [("if_ended_by", cause)] if cause else []
    query += [("operation", str(operation.pk)) for operation in operations]
    return HttpResponseRedirect(f"{reverse('console:progress')}?{urlencode(query)}")
