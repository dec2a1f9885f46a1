"""What the admin pages share: read-only pages with titles that name them, times, links and the pages of a log."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.paginator import Page, Paginator
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin

from runtimes.formatting import format_timestamp, to_rfc3339

# More rows than an operator reads at once only slow the page down.
ROWS_PER_PAGE = 50
# The database reads and skips all earlier rows to show a page: this many pages take a few milliseconds.
_MAX_LOG_PAGES = 1000


class ReadOnly:
    """Removes the permissions to add, change and delete, from a page or an inline."""

    def _never(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _never


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """An admin whose page titles name the page, and whose empty list says what would be in it."""

    list_per_page = ROWS_PER_PAGE
    list_title = ""
    object_title = ""
    # The name of one row, if it is not the name of the model.
    row_name = ""
    empty_text = ""

    @admin.display(description="game", ordering="game_id")
    def game(self, row: Any) -> SafeString | str:
        """The game of the row, as a link to its page."""
        if not row.game_id:
            return "-"
        address = reverse("console:game", args=[row.game_id])
        return format_html('<a class="rtm-link" href="{}">{}</a>', address, row.game_id)

    @property
    def singular(self) -> str:
        return self.row_name or str(self.opts.verbose_name)

    @property
    def plural(self) -> str:
        return f"{self.row_name}s" if self.row_name else str(self.opts.verbose_name_plural)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = self.list_title or capfirst(self.plural)
        response: HttpResponse = super().changelist_view(request, {"title": title, **(extra_context or {})})
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Model | None = None, **options: Any
    ) -> HttpResponse:
        name = self.object_title or capfirst(self.singular)
        context |= {"title": f"{name} {obj}" if obj else f"New {name}", "subtitle": None}
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **options)
        return response


class LogPaginator(Paginator):  # type: ignore[type-arg]  # generic for mypy only, not at run time
    """Pages of a log of millions of rows, which is never counted. Older rows are found by game or id."""

    template_name = "console/parts/log_pages.html"
    has_more = False

    @property
    def count(self) -> int:
        """The number of rows that the pages may show; it only limits the page number and is never displayed."""
        return _MAX_LOG_PAGES * int(self.per_page)

    def page(self, number: int | str) -> Page:  # type: ignore[type-arg]  # the same
        valid_number = self.validate_number(number)
        first = (valid_number - 1) * self.per_page
        # One row more than the page shows says whether there is a next page.
        rows = list(self.object_list[first : first + self.per_page + 1])
        self.has_more = len(rows) > self.per_page
        self.first_row, self.last_row = first + 1, first + min(len(rows), self.per_page)
        return Page(rows[: self.per_page], valid_number, self)


class LogAdmin(ReadOnly, ConsoleAdmin):
    """A log of millions of rows: no page counts or sorts it."""

    ordering = ("-id",)
    paginator = LogPaginator
    show_full_result_count = False
    sortable_by = ()


def json_column(field: str, description: str) -> Callable[[Any, Model], SafeString]:
    """A column that shows a field as indented JSON."""
    return admin.display(lambda _admin, row: render_json(getattr(row, field)), description=description)


def render_json(value: Any) -> SafeString:
    """JSON as indented text."""
    return format_html('<pre class="rtm-pre">{}</pre>', json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def render_time(at: datetime | None) -> SafeString | str:
    """A time in UTC; the page's script adds the viewer's time zone."""
    if at is None:
        return "-"
    return format_html('<time datetime="{}">{}</time>', to_rfc3339(at), format_timestamp(at))


def link_to_operation(pk: int | None) -> SafeString | str:
    """The operation id as a link to the operation's page."""
    if pk is None:
        return "-"
    address = reverse("admin:operations_operation_change", args=[pk])
    return format_html('<a class="rtm-link" href="{}">#{}</a>', address, pk)
