"""What operators see of the deeds: the log of operations and the messages that tell the outside of them."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from operations.models import BlackBox, Operation, OutboxEvent
from runtimes.admin import ROWS_PER_PAGE, ReadOnly, render_json
from runtimes.badges import badge, tone

# Each page costs a look at all before it; so many take a few milliseconds.
_MOST_PAGES = 1000


def link_to_runtime(game_id: str) -> SafeString | str:
    """The game's id as a link to its record; Django says so kindly when there is no record."""
    if not game_id:
        return "-"
    return format_html('<a href="{}">{}</a>', reverse("console:game", args=[game_id]), game_id)


class LogPaginator(InfinitePaginator):  # type: ignore[misc]  # django-unfold brings no types
    """Pages of a log that nobody counts. There is an end to leafing: further back, one asks for a game or an id."""

    @property
    def count(self) -> int:
        """As many rows as may be leafed through; a page behind them is refused."""
        return _MOST_PAGES * int(self.per_page)


@admin.register(Operation)
class OperationAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """The log. Rows are written by the protocol alone."""

    list_display = ("id", "op_kind", "game", "how", "op_source", "source_ref", "accepted_at", "took")
    list_filter = ("state", "outcome", "op_kind", "op_source")
    search_fields = ("game_id__exact", "source_ref__exact", "id__exact")
    search_help_text = "A whole game id, source reference (stream entry, request id) or operation id."
    ordering = ("-id",)
    # Nothing here may count or sort a log of millions: there is a next page, not a last one.
    paginator = LogPaginator
    list_per_page = ROWS_PER_PAGE
    show_full_result_count = False
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("id", "op_kind", "game", "state", "outcome", "error_code", "error_message")}),
        ("Asked for", {"fields": ("op_source", "source_ref", "pretty_arguments", "requested_at", "accepted_at")}),
        ("Done", {"fields": ("started_at", "finished_at", "took", "image_ref", "container_id", "engine_endpoint")}),
        ("Steps", {"fields": ("step_table",)}),
        (
            "Protocol",
            {
                "classes": ("collapse",),
                "fields": (
                    "job_key", "attempt", "deferrals", "not_before", "hinted_at", "claimed_by", "lease_until", "fence",
                ),
            },
        ),
    )  # fmt: skip

    @admin.display(description="game", ordering="game_id")
    def game(self, operation: Operation) -> SafeString | str:
        """The way to the game's record."""
        return link_to_runtime(operation.game_id)

    @admin.display(description="state", ordering="state")
    def how(self, operation: Operation) -> SafeString:
        """Where it is, or how it ended."""
        return badge(operation.error_code or operation.outcome or operation.state, _colour(operation))

    @admin.display(description="took")
    def took(self, operation: Operation) -> str:
        """From the last claim to the end, in seconds."""
        if operation.started_at is None or operation.finished_at is None:
            return "-"
        return f"{(operation.finished_at - operation.started_at).total_seconds():.3f} s"

    @admin.display(description="arguments")
    def pretty_arguments(self, operation: Operation) -> SafeString:
        """What was asked for."""
        return render_json(operation.arguments)

    @admin.display(description="steps")
    def step_table(self, operation: Operation) -> SafeString | str:
        """What was done, step by step."""
        if not operation.steps:
            return "-"
        rows = format_html_join(
            "", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", map(_step_cells, operation.steps)
        )
        head = "<thead><tr><th>step</th><th>started</th><th>ms</th><th>error</th></tr></thead>"
        return format_html('<table class="rtm-table">' + head + "<tbody>{}</tbody></table>", rows)


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """What was told to the outside, and what still waits to be."""

    list_display = ("id", "topic", "game", "dedupe_key", "created_at", "published_at", "stream_entry_id")
    list_filter = ("topic", ("published_at", admin.EmptyFieldListFilter))
    search_fields = ("game_id__exact", "dedupe_key__exact", "id__exact")
    search_help_text = "A whole game id, dedupe key or event id."
    ordering = ("-id",)
    paginator = LogPaginator
    list_per_page = ROWS_PER_PAGE
    show_full_result_count = False
    sortable_by = ()
    fields = (
        "id", "topic", "game", "dedupe_key", "pretty_fields", "created_at", "published_at", "stream_entry_id",
    )  # fmt: skip

    @admin.display(description="game", ordering="game_id")
    def game(self, event: OutboxEvent) -> SafeString | str:
        """The way to the game's record."""
        return link_to_runtime(event.game_id)

    @admin.display(description="fields")
    def pretty_fields(self, event: OutboxEvent) -> SafeString:
        """The message as it goes to the stream."""
        return render_json(event.fields)


@admin.register(BlackBox)
class BlackBoxAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for mypy only, not at run time
    """How containers ended, and what they left."""

    list_display = ("id", "game", "cause", "exit_code", "oom_killed", "image_ref", "occurred_at", "operation_link")
    list_filter = ("cause", "oom_killed")
    search_fields = ("game_id__exact", "container_id__startswith", "id__exact")
    search_help_text = "A whole game id or box id, or the beginning of a container id."
    ordering = ("-id",)
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("id", "game", "cause", "exit_code", "oom_killed", "occurred_at", "captured_at", "note")}),
        ("Container", {"fields": ("container_id", "image_ref", "image_id", "image_digest", "operation_link")}),
        ("Last lines", {"fields": ("last_lines",)}),
        ("Health", {"fields": ("pretty_probes",)}),
        ("Limits", {"fields": ("pretty_limits",)}),
        ("Inspection", {"fields": ("pretty_inspect",), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[BlackBox]:
        """Without the large columns, which the page of one box then reads by itself."""
        return super().get_queryset(request).defer("log", "inspect", "limits", "probes")

    @admin.display(description="game", ordering="game_id")
    def game(self, box: BlackBox) -> SafeString | str:
        """The way to the game's record."""
        return link_to_runtime(box.game_id)

    @admin.display(description="operation", ordering="operation")
    def operation_link(self, box: BlackBox) -> SafeString | str:
        """The way to the operation that kept it."""
        if box.operation_id is None:
            return "-"
        address = reverse("admin:operations_operation_change", args=[box.operation_id])
        return format_html('<a href="{}">#{}</a>', address, box.operation_id)

    @admin.display(description="log")
    def last_lines(self, box: BlackBox) -> SafeString | str:
        """What the container wrote last."""
        if not box.log:
            return "-"
        lines = format_html_join("\n", "{} {} {}", ((one["at"] or "", one["stream"], one["line"]) for one in box.log))
        return format_html("<pre>{}</pre>", lines)

    @admin.display(description="probes")
    def pretty_probes(self, box: BlackBox) -> SafeString:
        """What was observed of its health."""
        return render_json(box.probes)

    @admin.display(description="in force")
    def pretty_limits(self, box: BlackBox) -> SafeString:
        """Limits and hardening."""
        return render_json(box.limits)

    @admin.display(description="Docker's own words")
    def pretty_inspect(self, box: BlackBox) -> SafeString:
        """The inspection."""
        return render_json(box.inspect)


def _colour(operation: Operation) -> str:
    return tone(operation.outcome or operation.state)


def _step_cells(step: Mapping[str, Any]) -> tuple[Any, ...]:
    duration = step.get("duration_ms")
    return (
        step.get("name", ""),
        step.get("started_at") or "",
        "" if duration is None else duration,
        step.get("error", ""),
    )
