"""The admin's list of games and the record of each game. An operation changes a game; a form here never does."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import StackedInline

from operations.kinds import REQUESTABLE
from operations.models import Operation
from operations.states import OPEN_STATES, OperationKind, Outcome
from rtmanager.console.admin.base import ConsoleAdmin, ReadOnly, json_column
from rtmanager.console.badges import badge, health_badge
from runtimes.formatting import short_id, short_image_id
from runtimes.image_refs import is_id_of
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus

# Games without a record are looked for among this many of the newest failed operations.
_RECENT_FAILURES = 1000
_MAX_WITHOUT_RECORD = 50


class HealthSnapshotInline(ReadOnly, StackedInline):  # type: ignore[misc]  # django-unfold brings no types
    """The last health observation, on the page of the record."""

    model = HealthSnapshot
    fields = (
        ("event_type", "occurred_at", "observed_at"),
        "pretty_details",
        ("container_id", "exit_code"),
        ("docker_state", "docker_health", "restart_count", "inspected_at"),
        ("probe_failures", "probe_last_status", "probe_last_error", "probed_at"),
    )
    readonly_fields = tuple(flatten(fields))
    can_delete = False
    verbose_name_plural = "last health observation"
    pretty_details = json_column("details", "details")


class HealthFilter(admin.SimpleListFilter):
    """Running games that are unhealthy."""

    title = "health"
    parameter_name = "health"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("unhealthy", "running, unhealthy")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Runtime]) -> QuerySet[Runtime]:
        if self.value() != "unhealthy":
            return queryset
        return queryset.filter(pk__in=HealthSnapshot.objects.unhealthy().values("pk"), status=RuntimeStatus.RUNNING)


@admin.register(Runtime)
class GameAdmin(ReadOnly, ConsoleAdmin):
    """All games, with links to their pages and actions on the selected ones."""

    row_name, object_title = "game", "Record of game"
    empty_text = "A game appears here with its first start job."
    list_display = ("game", "status_badge", "health_badge", "image", "short_container_id", "last_operation")
    list_display_links = None
    list_filter = ("status", "ended_by", HealthFilter)
    list_select_related = ("health",)
    list_before_template = "console/parts/games_without_record.html"
    # Anchored at the beginning and case-sensitive, so that the indexes serve them for any number of games.
    search_fields = ("game_id__startswith", "current_container_id__startswith")
    search_help_text = "Beginning of a game id or container id"
    show_full_result_count = False
    actions = tuple(f"{verb}_selected" for verb in REQUESTABLE)
    inlines = (HealthSnapshotInline,)
    fieldsets = (
        (None, {"fields": ("game", "status", "operations")}),
        ("Container", {"fields": ("current_container_id", "current_image_ref", "image_id")}),
        ("Location", {"fields": ("engine_endpoint", "docker_network", "state_path")}),
        ("Times", {"fields": ("created_at", "started_at", "stopped_at", "removed_at", "last_op_at")}),
        ("Protocol", {"fields": ("fence",), "classes": ("collapse",)}),
    )
    last_operation = admin.display(
        lambda _admin, runtime: runtime.last_op_at, description="last operation", ordering="last_op_at"
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = request.GET.get("q", "").strip().replace("\x00", "")
        without_record = [] if set(request.GET) - {"q"} else _starts_without_record(query)
        return super().changelist_view(request, {"without_record": without_record, **(extra_context or {})})

    @admin.display(description="status", ordering="status")
    def status_badge(self, runtime: Runtime) -> SafeString:
        return _refreshed(runtime.game_id, "status", badge(runtime.status))

    @admin.display(description="health")
    def health_badge(self, runtime: Runtime) -> SafeString:
        return _refreshed(runtime.game_id, "health", health_badge(runtime))

    @admin.display(description="image", ordering="current_image_ref")
    def image(self, runtime: Runtime) -> str:
        image_ref = runtime.current_image_ref or "-"
        return short_image_id(image_ref) if is_id_of(image_ref, runtime.image_id) else image_ref

    @admin.display(description="container", ordering="current_container_id", empty_value="-")
    def short_container_id(self, runtime: Runtime) -> str | None:
        return runtime.current_container_id and short_id(runtime.current_container_id)

    @admin.display(description="operations")
    def operations(self, runtime: Runtime) -> SafeString:
        address = reverse("admin:operations_operation_changelist")
        query = urlencode({"game_id__exact": runtime.game_id})
        return format_html('<a class="rtm-link" href="{}?{}">All operations of this game</a>', address, query)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The actions that this user may request, each of which leads to its confirmation page."""
        return {
            f"{verb}_selected": (_confirm_selected(verb), f"{verb}_selected", f"{kind.label} the selected games")
            for verb, kind in REQUESTABLE.items()
            if request.user.has_perm(kind.permission)
        }


def _starts_without_record(query: str) -> list[Operation]:
    """The last start of each game that has no record, because its first start failed or is still in progress."""
    failed = Operation.objects.filter(outcome=Outcome.FAILURE).order_by("-id").values("pk")[:_RECENT_FAILURES]
    starts = Operation.objects.filter(
        ~Exists(Runtime.objects.filter(pk=OuterRef("game_id"))),
        Q(pk__in=failed) | Q(state__in=OPEN_STATES),
        op_kind=OperationKind.START,
        game_id__startswith=query,
    )
    last_starts: dict[str, Operation] = {}
    for start in starts.order_by("-id")[:_RECENT_FAILURES]:
        last_starts.setdefault(start.game_id, start)
    return list(last_starts.values())[:_MAX_WITHOUT_RECORD]


def _confirm_selected(name: str) -> Any:
    def redirect(_admin: Any, _request: HttpRequest, selected: QuerySet[Runtime]) -> HttpResponseRedirect:
        games = [("game", game_id) for game_id in selected.order_by("game_id").values_list("game_id", flat=True)]
        return HttpResponseRedirect(f"{reverse('console:action', args=[name])}?{urlencode(games)}")

    return redirect


def _refreshed(game_id: str, part: str, content: SafeString) -> SafeString:
    """Content that the page's script replaces every few seconds."""
    return format_html(
        '<span data-game="{}" data-part="{}" data-url="{}">{}</span>', game_id, part, reverse("console:badges"), content
    )
