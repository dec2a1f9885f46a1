"""The admin's API tokens and audit log."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from operations.kinds import REQUESTABLE
from rtmanager.console.admin.base import ConsoleAdmin, ReadOnly
from rtmanager.console.confirmation import ReasonForm, Target, render_confirmation
from runtimes import api_tokens
from runtimes.formatting import format_duration
from runtimes.models import ApiToken
from runtimes.states import CallerName, Scope

# Time to bring the new token to the clients of the old one.
_GRACE = format_duration(api_tokens.ROTATION_GRACE)
# The permissions of the console for what the scopes of a token permit.
_READ = frozenset(
    {"runtimes.view_runtime"}
    | {f"operations.view_{model}" for model in ("operation", "outboxevent", "deadletter", "exitreport")}
)
_OPERATE = frozenset(kind.permission for kind in REQUESTABLE.values())
_OPERATE_AS_ADMIN = frozenset({"operations.change_deadletter"})
_ROTATE_PREVIEW = f"Creates a new token and shows it once. The current token stays valid for {_GRACE}."


def rights_beyond(user: User | AnonymousUser, *, caller: str, scopes: str) -> str:
    """Return what a token permits and the user may not do, as a sentence for the user; empty: nothing.

    A user who creates or rotates a token gets its secret, and so its rights.
    """
    needed: frozenset[str] = frozenset()
    if Scope.READ in scopes.split():
        needed |= _READ
    if Scope.OPERATE in scopes.split():
        needed |= _OPERATE | (_OPERATE_AS_ADMIN if caller == CallerName.ADMIN else frozenset())
    missing = sorted(permission for permission in needed if not user.has_perm(permission))
    return f"The token would give you permissions that you do not have: {', '.join(missing)}." if missing else ""


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for mypy only, not at run time
    """A new token's name, caller and scopes. The service generates its secret. ``user`` creates it."""

    user: User | AnonymousUser = AnonymousUser()

    class Meta:
        model = ApiToken
        fields = ("name", "caller", "scopes", "expires_at", "note")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "note" in self.fields:
            self.fields["note"].required = True
            self.fields["note"].help_text = "Its purpose and who requested it. Recorded in the audit log."

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if api_tokens.name_is_taken(name):
            raise forms.ValidationError("A current token has this name. Rotate or revoke it, or choose another name.")
        return name

    def clean(self) -> None:
        super().clean()
        caller, scopes = self.cleaned_data.get("caller", ""), self.cleaned_data.get("scopes", "")
        if refusal := rights_beyond(self.user, caller=caller, scopes=scopes):
            self.add_error("scopes", refusal)


@admin.register(ApiToken)
class ApiTokenAdmin(ConsoleAdmin):
    """The API tokens without their digests: created, rotated and revoked; never edited, deleted or shown again.

    A revoked token stays: it is the record of who had access.
    """

    empty_text = "A caller of the API needs a token. Add one; its secret is shown once."
    form = ApiTokenForm
    list_display = ("name", "public_id", "caller", "scopes", "last_used_at", "expires_at", "state")
    list_filter = ("caller", "scopes", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name__startswith", "public_id__exact")
    search_help_text = "Beginning of a name, or whole public id"
    actions = ("rotate", "revoke")
    actions_selection_counter = True
    view_fields = (
        "public_id", "name", "caller", "scopes", "state", "note", "created_by", "created_at", "expires_at",
        "last_used_at", "replaced_at", "revoked_at",
    )  # fmt: skip

    def get_fields(self, _request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        return ApiTokenForm.Meta.fields if obj is None else self.view_fields

    def get_readonly_fields(self, _request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        return () if obj is None else self.view_fields

    def get_form(self, request: HttpRequest, obj: ApiToken | None = None, **options: Any) -> Any:
        form = super().get_form(request, obj, **options)
        form.user = request.user
        return form

    has_change_permission = has_delete_permission = ReadOnly.has_change_permission

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("runtimes.change_apitoken"))

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self.has_revoke_permission(request) and self.has_add_permission(request)

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        return token.state_at(timezone.now())

    def save_model(self, request: HttpRequest, obj: ApiToken, _form: Any, _change: Any) -> None:
        """Create the token and show its secret once."""
        obj.created_by = request.user.get_username()
        self._show_once(request, api_tokens.issue(obj))

    def construct_change_message(
        self,
        _request: HttpRequest,
        form: Any,
        _formsets: Any,
        _add: bool = False,  # noqa: FBT001, FBT002 - Django's signature
    ) -> Any:
        return f"Created: {form.cleaned_data['note']}"

    @admin.action(description=f"Rotate: create a new token, keep the old one for {_GRACE}", permissions=["rotate"])
    def rotate(self, request: HttpRequest, selected: QuerySet[ApiToken]) -> TemplateResponse | None:
        """Ask for confirmation, then replace each selected token; a refused one does not stop the others."""
        form = ReasonForm.from_list_action(request)
        if not form.is_valid():
            targets = [Target(str(token.pk), str(token), _ROTATE_PREVIEW) for token in selected]
            return render_confirmation(request, form, "Rotate tokens", targets, list_action="rotate")
        for token in selected:
            if refusal := rights_beyond(request.user, caller=token.caller, scopes=token.scopes):
                self.message_user(request, f"{token} not rotated: {refusal}", messages.ERROR)
                continue
            try:
                issued = api_tokens.rotate(
                    token, grace=api_tokens.ROTATION_GRACE, created_by=request.user.get_username(), now=timezone.now()
                )
            except api_tokens.TokenError as error:
                self.message_user(request, str(error), messages.ERROR)
                continue
            change = f"Rotated, its successor is {issued.token.public_id}: {form.reason_given}"
            self.log_change(request, token, change)
            self._show_once(request, issued)
        return None

    @admin.action(description="Revoke: refuse it from now on", permissions=["revoke"])
    def revoke(self, request: HttpRequest, selected: QuerySet[ApiToken]) -> TemplateResponse | None:
        """Ask for confirmation, then revoke each selected token."""
        form = ReasonForm.from_list_action(request)
        if not form.is_valid():
            targets = [Target(str(token.pk), str(token), _revoke_preview(token)) for token in selected]
            return render_confirmation(request, form, "Revoke tokens", targets, list_action="revoke")
        for token in selected.filter(revoked_at__isnull=True):
            self.log_change(request, token, f"Revoked: {form.reason_given}")
        count = api_tokens.revoke(selected, now=timezone.now())
        self.message_user(request, f"Revoked {count} token{'' if count == 1 else 's'}.", messages.SUCCESS)
        return None

    def _show_once(self, request: HttpRequest, issued: api_tokens.IssuedToken) -> None:
        text = f"The secret of {issued.token}, shown only now: {issued.bearer}"
        self.message_user(request, text, messages.WARNING)


def _revoke_preview(token: ApiToken) -> str:
    if token.revoked_at is not None:
        return "Already revoked: nothing changes."
    last = f"{token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "never"
    return f"Refused permanently from now on. Last used: {last}."


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnly, ConsoleAdmin):
    """Which user did what, when and why."""

    list_title, row_name, object_title = "Audit log", "audit record", "Audit record"
    empty_text = "Each action of an operator is recorded here with its reason."
    list_display = ("action_time", "user", "object_type", "object_name", "change_and_reason")
    list_filter = ("content_type", "action_flag")
    search_fields = ("object_id__exact", "user__username__exact")
    search_help_text = "Whole game id, other object id or user name"
    ordering = ("-id",)
    list_select_related = ("user", "content_type")
    show_full_result_count = False
    object_name = admin.display(lambda _admin, entry: entry.object_repr, description="name", ordering="object_repr")

    @admin.display(description="object")
    def object_type(self, entry: LogEntry) -> str:
        return str(entry.content_type.name if entry.content_type else "")

    @admin.display(description="change and reason")
    def change_and_reason(self, entry: LogEntry) -> str:
        """Readable also where Django stores a structure."""
        return entry.get_change_message()
