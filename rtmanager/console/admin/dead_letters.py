"""The admin's dead letters: stream entries that could not be read as jobs, and their redrive."""

from collections.abc import Mapping

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from operations.dead_letters.redrive import (
    RedriveResult,
    describe_corrections,
    preview,
    read_job,
    redrive,
    split_corrections,
)
from operations.dead_letters.store import read_fields
from operations.kinds import KINDS
from operations.models import DeadLetter
from rtmanager.console.admin.base import ConsoleAdmin, ReadOnly, link_to_operation, render_json
from rtmanager.console.confirmation import ReasonForm, Target, render_confirmation
from runtimes.exceptions import InvalidRequestError, RuntimeManagerError


class RedriveForm(ReasonForm):
    """The reason, and the fields to replace."""

    corrections = forms.CharField(
        required=False,
        label="Corrected fields",
        help_text="For example reason=cancelled image_ref=galaxy-engine:1.4.2. They apply to every selected "
        "dead letter. Preview shows the resulting jobs.",
        widget=UnfoldAdminTextInputWidget,
    )
    field_order = ("corrections", "because")


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly, ConsoleAdmin):
    """The dead letters. A redrive is the only thing that changes one."""

    empty_text = "An entry of a job stream that cannot be read as a job appears here, with the reason."
    list_display = ("id", "stream", "entry_id", "game_id", "reason", "received_at", "redriven_at", "became")
    list_filter = (("redriven_at", admin.EmptyFieldListFilter), "stream")
    search_fields = ("game_id__exact", "entry_id__exact", "id__exact")
    search_help_text = "Whole game id, stream entry id or dead letter id"
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("redrive_selected",)
    fieldsets = (
        (None, {"fields": ("id", "stream", "entry_id", "received_at", "game_id", "reason", "pretty_fields")}),
        ("Redrive", {"fields": ("redriven_at", "redriven_by", "became", "note")}),
    )

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("operations.change_deadletter"))

    @admin.action(description="Redrive, oldest first", permissions=["redrive"])
    def redrive_selected(self, request: HttpRequest, selected: QuerySet[DeadLetter]) -> TemplateResponse | None:
        """Ask for confirmation, then redrive each selected dead letter; a refused one does not stop the others."""
        dead_letters = selected.order_by("id")
        form = RedriveForm.from_list_action(request)
        if not form.is_valid():
            corrections = form["corrections"].value() or ""
            targets = [
                Target(str(dead_letter.pk), str(dead_letter), _preview(dead_letter, corrections))
                for dead_letter in dead_letters
            ]
            return render_confirmation(
                request, form, "Redrive dead letters", targets, list_action="redrive_selected", can_preview=True
            )
        for dead_letter in dead_letters:
            try:
                corrected = split_corrections(form.cleaned_data["corrections"])
                _check_permission(request, dead_letter, corrected)
                result = redrive(
                    dead_letter.pk, corrected=corrected, by=request.user.get_username(), note=form.reason_given
                )
            except RuntimeManagerError as error:
                message = f"Dead letter {dead_letter.pk} not redriven: {error.message}."
                self.message_user(request, message, messages.ERROR)
            else:
                self._report(request, result, corrected=corrected, reason=form.reason_given)
        return None

    def _report(
        self, request: HttpRequest, result: RedriveResult, *, corrected: Mapping[str, str], reason: str
    ) -> None:
        became = f"operation {result.operation.pk}"
        if result.is_no_op:
            self.message_user(request, f"Dead letter {result.dead_letter.pk} is already {became}: nothing changed.")
        else:
            note = describe_corrections(corrected, note=reason)
            self.log_change(request, result.dead_letter, f"Redriven as {became}: {note}")
            self.message_user(request, f"Dead letter {result.dead_letter.pk} is now {became}.")

    @admin.display(description="redriven as", ordering="redriven_as")
    def became(self, dead_letter: DeadLetter) -> SafeString | str:
        return link_to_operation(dead_letter.redriven_as_id)

    @admin.display(description="fields")
    def pretty_fields(self, dead_letter: DeadLetter) -> SafeString:
        """The fields of the stream entry."""
        return render_json(read_fields(dead_letter))


def _check_permission(request: HttpRequest, dead_letter: DeadLetter, corrected: Mapping[str, str]) -> None:
    """Raise InvalidRequestError if the user may not request the operation that the dead letter becomes."""
    if dead_letter.redriven_at is not None:
        return
    kind = KINDS[read_job(dead_letter, corrected).op_kind]
    if not request.user.has_perm(kind.permission):
        raise InvalidRequestError(f"your account lacks the permission {kind.permission}")


def _preview(dead_letter: DeadLetter, corrections: str) -> str:
    try:
        return " ".join(preview(dead_letter, split_corrections(corrections)))
    except RuntimeManagerError as error:
        return f"Would be refused: {error.message}."
