"""The admin's log of operations, the outbox and the exit reports."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from operations.models import ExitReport, Operation, OutboxEvent
from rtmanager.console.admin.base import ConsoleAdmin, LogAdmin, ReadOnly, json_column, link_to_operation, render_time
from rtmanager.console.ansi import render_ansi
from rtmanager.console.badges import badge, tone

_STEP_TITLES = ("step", "started", "ms", "error")


@admin.register(Operation)
class OperationAdmin(LogAdmin):
    """The log of operations. Only the protocol writes its rows."""

    empty_text = "Each start, stop, restart, patch and cleanup is an operation, with its result and its steps."
    list_display = ("id", "kind", "game", "result", "source", "source_ref", "accepted_at", "took")
    list_filter = ("state", "outcome", "op_kind", "op_source")
    search_fields = ("game_id__exact", "source_ref__exact", "id__exact")
    search_help_text = "Whole game id, source reference or operation id"
    fieldsets = (
        (None, {"fields": ("id", "kind", "game", "state", "outcome", "error_code", "error_message")}),
        ("Request", {"fields": ("source", "source_ref", "pretty_arguments", "requested_at", "accepted_at")}),
        ("Result", {"fields": ("started_at", "finished_at", "took", "image_ref", "container_id", "engine_endpoint")}),
        ("Steps", {"fields": ("step_table",)}),
        (
            "Protocol",
            {
                "classes": ("collapse",),
                "fields": (
                    "job_key", "attempt", "retries", "not_before", "notified_at", "claimed_by", "lease_until", "fence",
                ),
            },
        ),
    )  # fmt: skip

    kind = admin.display(lambda _admin, operation: operation.get_op_kind_display(), description="operation")
    source = admin.display(lambda _admin, operation: operation.get_op_source_display(), description="source")
    pretty_arguments = json_column("arguments", "arguments")

    @admin.display(description="result", ordering="state")
    def result(self, operation: Operation) -> SafeString:
        colour = tone(operation.outcome or operation.state)
        return badge(operation.error_code or operation.outcome or operation.state, colour)

    @admin.display(description="took")
    def took(self, operation: Operation) -> str:
        """Seconds from the last claim to the end."""
        if operation.started_at is None or operation.finished_at is None:
            return "-"
        return f"{(operation.finished_at - operation.started_at).total_seconds():.3f} s"

    @admin.display(description="steps")
    def step_table(self, operation: Operation) -> SafeString | str:
        if not operation.steps:
            return "-"
        head = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in _STEP_TITLES))
        rows = format_html_join("", '<tr role="row">{}</tr>', ((_step_cells(step),) for step in operation.steps))
        return format_html(
            '<table class="rtm-table" role="table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, rows
        )


@admin.register(OutboxEvent)
class OutboxEventAdmin(LogAdmin):
    """Results, health events and notification intents, published or not."""

    list_title, row_name = "Outbox", "message"
    empty_text = "Each job result, health event and notification intent is a message here, before and after publishing."
    list_display = ("id", "topic", "game", "dedupe_key", "created_at", "published_at", "stream_entry_id")
    list_filter = ("topic", ("published_at", admin.EmptyFieldListFilter))
    search_fields = ("game_id__exact", "dedupe_key__exact", "id__exact")
    search_help_text = "Whole game id, dedupe key or event id"
    fields = (
        "id", "topic", "game", "dedupe_key", "pretty_fields", "created_at", "published_at", "stream_entry_id",
    )  # fmt: skip
    # The message as it is added to the stream.
    pretty_fields = json_column("fields", "fields")


@admin.register(ExitReport)
class ExitReportAdmin(ReadOnly, ConsoleAdmin):
    """Why containers exited, with their last log lines and settings."""

    empty_text = "Each container that exits, disappears or is replaced while unhealthy leaves an exit report."
    list_display = ("id", "game", "cause", "exit_code", "oom_killed", "image_ref", "occurred_at", "operation_link")
    list_filter = ("cause", "oom_killed")
    search_fields = ("game_id__exact", "container_id__startswith", "id__exact")
    search_help_text = "Whole game id or report id, or beginning of a container id"
    ordering = ("-id",)
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("id", "game", "cause", "exit_code", "oom_killed", "occurred_at", "captured_at", "note")}),
        ("Container", {"fields": ("container_id", "image_ref", "image_id", "image_digest", "operation_link")}),
        ("Last log lines", {"fields": ("last_lines",)}),
        ("Health", {"fields": ("pretty_probes",)}),
        ("Limits", {"fields": ("pretty_limits",)}),
        ("Inspection", {"fields": ("pretty_inspect",), "classes": ("collapse",)}),
    )
    pretty_probes = json_column("probes", "probes")
    pretty_limits = json_column("limits", "in effect")
    pretty_inspect = json_column("inspect", "docker inspect")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExitReport]:
        """Defer the large columns: the list does not show them, and the page of one report reads them on access."""
        return super().get_queryset(request).defer("log", "inspect", "limits", "probes")  # type: ignore[no-any-return]

    @admin.display(description="operation", ordering="operation")
    def operation_link(self, report: ExitReport) -> SafeString | str:
        return link_to_operation(report.operation_id)

    @admin.display(description="log")
    def last_lines(self, report: ExitReport) -> SafeString | str:
        if not report.log:
            return "-"
        lines = format_html_join(
            "\n", "{} {} {}", ((line["at"] or "", line["stream"], render_ansi(line["line"])) for line in report.log)
        )
        return format_html('<pre class="rtm-pre">{}</pre>', lines)


def _step_cells(step: Mapping[str, Any]) -> SafeString:
    duration = step.get("duration_ms")
    started = render_time(parse_datetime(step.get("started_at") or ""))
    values = (step.get("name", ""), started, "" if duration is None else duration, step.get("error", ""))
    cells = zip(_STEP_TITLES, values, strict=True)
    return format_html_join("", '<td role="cell" data-label="{}">{}</td>', cells)
