"""What operators see of the games. Nothing is edited here: a record changes only through an operation."""

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runtimes.models import HealthSnapshot, Runtime

SHORT_ID_LENGTH = 12


class ReadOnly:
    """Takes the three permissions away that change something, from a page or from an inline."""

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Whether a row may be added: never."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Whether a row may be changed: never."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Whether a row may be deleted: never."""
        return False


def render_json(value: Any) -> SafeString:
    """JSON for people."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


class HealthSnapshotInline(ReadOnly, admin.StackedInline):  # type: ignore[type-arg]  # generic for mypy only, not at run time
    """The last thing seen of a game's container, on the game's page."""

    model = HealthSnapshot
    fields = ("event_type", "container_id", "pretty_details", "occurred_at", "observed_at")
    readonly_fields = fields
    can_delete = False
    verbose_name_plural = "last health observation"

    @admin.display(description="details")
    def pretty_details(self, snapshot: HealthSnapshot) -> SafeString:
        """The event's details."""
        return render_json(snapshot.details)


@admin.register(Runtime)
class RuntimeAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for mypy only, not at run time
    """All games and what is on record of them."""

    list_display = ("game_id", "status", "current_image_ref", "short_container_id", "last_op_at", "operations")
    list_filter = ("status",)
    # Left-anchored and case-sensitive, so that the indexes serve them at any number of games.
    search_fields = ("game_id__startswith", "current_container_id__startswith")
    search_help_text = "The beginning of a game id or of a container id."
    show_full_result_count = False
    inlines = (HealthSnapshotInline,)
    fieldsets = (
        (None, {"fields": ("game_id", "status", "operations")}),
        ("Container", {"fields": ("current_container_id", "current_image_ref", "image_id")}),
        ("Place", {"fields": ("engine_endpoint", "docker_network", "state_path")}),
        ("Times", {"fields": ("created_at", "started_at", "stopped_at", "removed_at", "last_op_at")}),
        ("Protocol", {"fields": ("fence",), "classes": ("collapse",)}),
    )

    @admin.display(description="container", ordering="current_container_id", empty_value="-")
    def short_container_id(self, runtime: Runtime) -> str | None:
        """As ``docker ps`` shows it."""
        return runtime.current_container_id and runtime.current_container_id[:SHORT_ID_LENGTH]

    @admin.display(description="operations")
    def operations(self, runtime: Runtime) -> SafeString:
        """The way to everything ever done to this game."""
        address = reverse("admin:operations_operation_changelist")
        query = urlencode({"game_id__exact": runtime.game_id})
        return format_html('<a href="{}?{}">operations</a>', address, query)
