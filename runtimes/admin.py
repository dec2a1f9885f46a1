"""What operators see of the games, and the tokens they give out.

Nothing of a game is edited here: a record changes only through an operation.
"""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, StackedInline

from runtimes import tokens
from runtimes.confirmation import Question, WhyForm, ask
from runtimes.models import ApiToken, HealthSnapshot, Runtime

SHORT_ID_LENGTH = 12
# What a person reads of a list at once; twice as many take twice as long to draw.
ROWS_PER_PAGE = 50
# Time to bring the new token to where the old one is in use.
ROTATION_GRACE = timedelta(hours=1)
_ROTATED = "A new token takes its place and is shown once; this one opens doors for another hour, then no more."


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


class HealthSnapshotInline(ReadOnly, StackedInline):  # type: ignore[misc]  # django-unfold brings no types
    """The last thing seen of a game's container, on the game's page."""

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

    @admin.display(description="details")
    def pretty_details(self, snapshot: HealthSnapshot) -> SafeString:
        """The event's details."""
        return render_json(snapshot.details)


class RuntimeAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """All games and what is on record of them; registered by the console, which adds what can be done to them."""

    list_display = ("game_id", "status", "current_image_ref", "short_container_id", "last_op_at", "operations")
    list_filter: tuple[Any, ...] = ("status",)
    list_per_page = ROWS_PER_PAGE
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


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for mypy only, not at run time
    """What a new token is for. Its secret is made, never typed."""

    class Meta:
        model = ApiToken
        fields = ("name", "caller", "scopes", "expires_at", "note")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "note" in self.fields:
            self.fields["note"].required = True
            self.fields["note"].help_text = "What it is for and who asked for it. Kept with it and in the audit."

    def clean_name(self) -> str:
        """The name, if no current token has it."""
        name: str = self.cleaned_data["name"]
        if tokens.name_is_taken(name):
            message = "A current token has this name: rotate or revoke it, or choose another."
            raise forms.ValidationError(message)
        return name


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """Tokens are made, rotated and revoked; never edited, never deleted, their digests never shown."""

    form = ApiTokenForm
    list_display = ("name", "public_id", "caller", "scopes", "last_used_at", "expires_at", "state")
    list_filter = ("caller", "scopes", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name__startswith", "public_id__exact")
    actions = ("rotate", "revoke")
    actions_selection_counter = True
    view_fields = (
        "public_id", "name", "caller", "scopes", "state", "note", "created_by", "created_at", "expires_at",
        "last_used_at", "replaced_at", "revoked_at",
    )  # fmt: skip

    def get_fields(self, _request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        """What can be said of a new token; of one that exists, all but its digest."""
        return ApiTokenForm.Meta.fields if obj is None else self.view_fields

    def get_readonly_fields(self, _request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        """Nothing of a token changes by hand."""
        return () if obj is None else self.view_fields

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Whether a token may be edited: never."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Whether a token may be deleted: never, a revoked one is a record of who had access."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether this user may end tokens: who may change them."""
        return bool(request.user.has_perm("runtimes.change_apitoken"))

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        """Whether this user may rotate tokens: who may end and make them."""
        return self.has_revoke_permission(request) and self.has_add_permission(request)

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Whether it opens anything now."""
        return token.state_at(timezone.now())

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: Any) -> None:
        """Make the token and show it, this once."""
        del form, change
        obj.created_by = request.user.get_username()
        self._show(request, tokens.issue(obj))

    def construct_change_message(
        self,
        request: HttpRequest,
        form: Any,
        formsets: Any,
        add: bool = False,  # noqa: FBT001, FBT002 - Django's signature
    ) -> Any:
        """What the audit says of a new token; no other is ever edited."""
        del request, formsets, add
        return f"Made: {form.cleaned_data['note']}"

    @admin.action(description="Rotate: a new token now, the old one for another hour", permissions=["rotate"])
    def rotate(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> TemplateResponse | None:
        """Say what will happen and ask why, then replace each chosen token; those that cannot be are named."""
        form = WhyForm.read(request)
        if not form.is_valid():
            return ask(request, form, Question("rotate", "Rotate tokens", [(one, _ROTATED) for one in chosen]))
        for token in chosen:
            try:
                issued = tokens.rotate(
                    token, grace=ROTATION_GRACE, created_by=request.user.get_username(), now=timezone.now()
                )
            except tokens.TokenError as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                told = f"Rotated, its successor is {issued.token.public_id}: {form.because_given}"
                self.log_change(request, token, told)
                self._show(request, issued)
        return None

    @admin.action(description="Revoke: refused from now on", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> TemplateResponse | None:
        """Say what will happen and ask why, then refuse each chosen token from now on."""
        form = WhyForm.read(request)
        if not form.is_valid():
            return ask(request, form, Question("revoke", "Revoke tokens", [(one, _revoked(one)) for one in chosen]))
        for token in chosen.filter(revoked_at__isnull=True):
            self.log_change(request, token, f"Revoked: {form.because_given}")
        count = tokens.revoke(chosen, now=timezone.now())
        self.message_user(request, f"Revoked {count} token(s).", messages.SUCCESS)
        return None

    def _show(self, request: HttpRequest, issued: tokens.IssuedToken) -> None:
        text = f"The token of {issued.token}, shown this once: {issued.bearer}"
        self.message_user(request, text, messages.WARNING)


def _revoked(token: ApiToken) -> str:
    if token.revoked_at is not None:
        return "It is revoked already: nothing changes."
    last = f"{token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "never"
    return f"Refused from now on, for good. Last used: {last}."
