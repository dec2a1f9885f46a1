"""The status and the health of games in a list, and what renews them there."""

from django.http import HttpRequest, JsonResponse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_GET

from rtmanager.console.guard import guarded
from runtimes.badges import badge
from runtimes.health import UNHEALTHY
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

_MOST = 200
_NOTHING_TO_SAY = mark_safe("-")


def health_badge(runtime: Runtime) -> SafeString:
    """What was last reported of a running game; of others there is nothing to say."""
    health = getattr(runtime, "health", None)
    if health is None or runtime.status != RuntimeStatus.RUNNING:
        return _NOTHING_TO_SAY
    if health.probe_failures:
        return badge("probe fails", "bad")
    return badge("unhealthy", "bad") if health.docker_health == UNHEALTHY else badge("well", "good")


@guarded("runtimes.view_runtime")
@require_GET
def badges(request: HttpRequest) -> JsonResponse:
    """The badges of the games named, as HTML, by game and by what they tell."""
    chosen = Runtime.objects.filter(pk__in=request.GET.getlist("game")[:_MOST]).select_related("health")
    told = {one.game_id: {"status": badge(one.status), "health": health_badge(one)} for one in chosen}
    return JsonResponse(told)
