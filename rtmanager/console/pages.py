"""The console's own pages besides the admin's lists: a game, a deed to be confirmed, deeds under way."""

import uuid
from http import HTTPStatus
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods

from operations.gathering import explain_game
from operations.models import Operation
from operations.states import OpState
from rtmanager.console import access
from rtmanager.console.deeds import DEEDS, Asked, Deed, ask
from rtmanager.console.guard import guarded
from rtmanager.console.sides import sides
from runtimes.games import is_game_id
from runtimes.models import Runtime

_MOST_GAMES_AT_ONCE = 200


@guarded("runtimes.view_runtime")
@require_GET
def game_page(request: HttpRequest, game_id: str) -> HttpResponse:
    """One game: why it is as it is, and what to do. What takes a look at Docker is fetched by the page itself."""
    if not is_game_id(game_id):
        raise Http404
    context = {"game_id": game_id, "runtime": Runtime.objects.filter(pk=game_id).first()}
    return _page(request, "console/game.html", {"title": f"Game {game_id}", **context})


@guarded("runtimes.view_runtime")
@require_GET
def game_state(request: HttpRequest, game_id: str) -> HttpResponse:
    """The part of a game's page that is renewed while somebody looks at it."""
    if not is_game_id(game_id):
        raise Http404
    explanation = explain_game(game_id).as_json()
    verbs = explanation["verbs"]
    deeds = {name: deed for name, deed in DEEDS.items() if access.may(request.user, deed.op_kind)}
    context = {
        "it": explanation,
        "sides": sides(explanation),
        "game_id": game_id,
        "deeds": [(name, deed, verbs.get(name, "")) for name, deed in deeds.items()],
        "recommended": deeds.get(explanation["next_step"]["verb"]),
    }
    return render(request, "console/parts/state.html", context)


@require_http_methods(["GET", "POST"])
def deed_page(request: HttpRequest, verb: str) -> HttpResponse:
    """Say what will happen to these games, ask why, and have it done."""
    deed = DEEDS.get(verb)
    if deed is None:
        raise Http404
    if not access.may(request.user, deed.op_kind):
        raise PermissionDenied
    game_ids = _chosen_games(request)
    initial = {"nonce": uuid.uuid4(), "image_ref": request.GET.get("image_ref", "")}
    form = deed.form(request.POST) if request.method == "POST" else deed.form(initial=initial)
    if request.method == "POST" and form.is_valid():
        asked = ask(deed, game_ids, form=form, user=cast("User", request.user))
        return _after(request, deed, game_ids, asked)
    status = HTTPStatus.BAD_REQUEST if form.is_bound else HTTPStatus.OK
    records = Runtime.objects.in_bulk(game_ids)
    games = [(game_id, records.get(game_id), deed.foretell(records.get(game_id))) for game_id in game_ids]
    title = f"{deed.title} {game_ids[0]}" if len(game_ids) == 1 else f"{deed.title} {len(game_ids)} games"
    context = {"title": title, "deed": deed, "verb": verb, "form": form, "games": games}
    return _page(request, "console/deed.html", context, status=status)


@guarded("operations.view_operation")
@require_GET
def progress_page(request: HttpRequest) -> HttpResponse:
    """The operations of one deed on many games, until the last one has ended."""
    operations = _operations_named(request)
    context = {"operations": operations, "is_over": all(one.state == OpState.FINISHED for one in operations)}
    if request.headers.get("HX-Request"):
        return render(request, "console/parts/progress.html", context)
    return _page(request, "console/progress.html", {"title": "Under way", **context})


def _chosen_games(request: HttpRequest) -> list[str]:
    game_ids = list(dict.fromkeys(request.POST.getlist("game") or request.GET.getlist("game")))
    if not game_ids or len(game_ids) > _MOST_GAMES_AT_ONCE or not all(map(is_game_id, game_ids)):
        raise Http404
    return game_ids


def _operations_named(request: HttpRequest) -> list[Operation]:
    ids = [int(text) for text in request.GET.getlist("operation")[:_MOST_GAMES_AT_ONCE] if text.isdecimal()]
    return list(Operation.objects.filter(pk__in=ids).order_by("id"))


def _after(request: HttpRequest, deed: Deed, game_ids: list[str], asked: Asked) -> HttpResponse:
    for game_id, reason in asked.refusals.items():
        messages.error(request, f"{deed.title} of {game_id} was not recorded: {reason}")
    if len(game_ids) == 1:
        for operation in asked.operations:
            messages.success(request, f"{deed.title} is on record as operation {operation.pk}.")
        return HttpResponseRedirect(reverse("console:game", args=game_ids))
    query = urlencode([("operation", one.pk) for one in asked.operations])
    return HttpResponseRedirect(f"{reverse('console:progress')}?{query}")


def _page(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    return render(request, template, {**admin.site.each_context(request), **context}, status=status)
