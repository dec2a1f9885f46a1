"""The admin's lists as the console shows them: games with their deeds, people, and the audit."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from rtmanager.console import access
from rtmanager.console.badges import health_badge
from rtmanager.console.deeds import DEEDS
from runtimes.admin import ReadOnly, RuntimeAdmin
from runtimes.badges import badge
from runtimes.health import UNHEALTHY
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus

admin.site.unregister([User, Group])


class HealthFilter(admin.SimpleListFilter):
    """Games that run and are not well."""

    title = "health"
    parameter_name = "health"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        """The one question worth asking."""
        return [("unwell", "running but unwell")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Runtime]) -> QuerySet[Runtime]:
        """Those whose probe or health check fails."""
        if self.value() != "unwell":
            return queryset
        unwell = Q(health__probe_failures__gt=0) | Q(health__docker_health=UNHEALTHY)
        return queryset.filter(unwell, status=RuntimeStatus.RUNNING)


@admin.register(Runtime)
class GameAdmin(RuntimeAdmin):
    """All games, their pages, and the deeds on many of them."""

    list_display = ("game", "status_badge", "health_badge", "current_image_ref", "short_container_id", "last_op_at")
    list_display_links = None
    list_filter = ("status", HealthFilter)
    list_select_related = ("health",)
    actions = tuple(f"{name}_selected" for name in DEEDS)

    @admin.display(description="game", ordering="game_id")
    def game(self, runtime: Runtime) -> SafeString:
        """The way to the game's page."""
        return format_html('<a href="{}">{}</a>', reverse("console:game", args=[runtime.game_id]), runtime.game_id)

    @admin.display(description="status", ordering="status")
    def status_badge(self, runtime: Runtime) -> SafeString:
        """The recorded status; the page renews it by itself."""
        return _live(runtime.game_id, "status", badge(runtime.status))

    @admin.display(description="health")
    def health_badge(self, runtime: Runtime) -> SafeString:
        """What was last reported of a running game."""
        return _live(runtime.game_id, "health", health_badge(runtime))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The deeds that this person may have done."""
        allowed = access.allowed_kinds(request.user)
        return {
            name: (_ask_about(verb), name, f"{DEEDS[verb].title} the selected games")
            for verb in DEEDS
            if DEEDS[verb].op_kind in allowed and (name := f"{verb}_selected")
        }


def _ask_about(verb: str) -> Any:
    def go(_admin: Any, _request: HttpRequest, chosen: QuerySet[Runtime]) -> HttpResponseRedirect:
        games = [("game", game_id) for game_id in chosen.order_by("game_id").values_list("game_id", flat=True)]
        return HttpResponseRedirect(f"{reverse('console:deed', args=[verb])}?{urlencode(games)}")

    return go


def _live(game_id: str, what: str, content: SafeString) -> SafeString:
    return format_html(
        '<span data-game="{}" data-what="{}" data-url="{}">{}</span>', game_id, what, reverse("console:badges"), content
    )


@admin.register(LogEntry)
class AuditAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """Who did what, when and why. Nobody edits it."""

    list_display = ("action_time", "user", "about", "which", "what_and_why")
    list_filter = ("content_type", "action_flag")
    search_fields = ("object_id__exact", "user__username__exact")
    search_help_text = "A whole game id (or another object's id) or a whole user name."
    ordering = ("-id",)
    list_select_related = ("user", "content_type")
    show_full_result_count = False

    @admin.display(description="about")
    def about(self, entry: LogEntry) -> str:
        """The kind of thing."""
        return str(entry.content_type.name if entry.content_type else "")

    @admin.display(description="which", ordering="object_repr")
    def which(self, entry: LogEntry) -> str:
        """The thing by its name."""
        return entry.object_repr

    @admin.display(description="what, and why")
    def what_and_why(self, entry: LogEntry) -> str:
        """In words, also where Django keeps a structure."""
        return entry.get_change_message()


@admin.register(User)
class PersonAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # django-unfold brings no types
    """People who sign in. What they may do comes from the groups viewer, operator and admin."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupOfPeopleAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """The groups, for installations that want others."""
