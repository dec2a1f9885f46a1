"""Coloured badges for statuses and health, and the view that refreshes them in the list of games."""

from django.http import HttpRequest, JsonResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from runtimes.health import UNHEALTHY
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

_MAX_GAMES = 200
_EMPTY = mark_safe("-")
_TONES = {
    "running": "good", "success": "good", "ok": "good", "healthy": "good", "finished": "calm",
    "stopped": "calm", "removed": "faint", "accepted": "calm", "info": "calm",
    "warning": "warn", "starting": "warn", "failure": "bad", "critical": "bad", "failed": "bad",
}  # fmt: skip


def tone(status: str | None) -> str:
    """The colour class of a status."""
    return _TONES.get(status or "", "calm")


def badge(text: str, colour: str = "") -> SafeString:
    """A badge in the given colour, or in the colour of the status it names. Colour never stands alone."""
    return format_html('<span class="rtm-badge rtm-{}">{}</span>', colour or tone(text), text)


def health_badge(runtime: Runtime) -> SafeString:
    """The last reported health of a running game; a dash for other games."""
    health = getattr(runtime, "health", None)
    if health is None or runtime.status != RuntimeStatus.RUNNING:
        return _EMPTY
    if not health.is_unhealthy:
        return badge("healthy", "good")
    if health.probe_failures:
        return badge("probe fails", "bad")
    return badge(UNHEALTHY if health.docker_health == UNHEALTHY else health.docker_state, "bad")


def badges(request: HttpRequest) -> JsonResponse:
    """The status and health badges of the named games, as HTML."""
    runtimes = Runtime.objects.filter(pk__in=request.GET.getlist("game")[:_MAX_GAMES]).select_related("health")
    return JsonResponse(
        {runtime.game_id: {"status": badge(runtime.status), "health": health_badge(runtime)} for runtime in runtimes}
    )
