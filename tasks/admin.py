"""What operators see of the edges: entries that no job could be read from, and the way to redrive them."""

from collections.abc import Mapping

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from operations.dead_letters import describe_mending, read_fields
from operations.models import DeadLetter
from runtimes.admin import ReadOnly, render_json
from runtimes.confirmation import Question, WhyForm, ask
from runtimes.exceptions import RuntimeManagerError
from tasks.redrive import Redriven, foretell, redrive, split_mending


class RedriveForm(WhyForm):
    """Why, and the fields to replace."""

    mending = forms.CharField(
        required=False,
        label="Mended fields",
        help_text="Such as reason=cancelled image_ref=galaxy-engine:1.4.2; for all of the letters. Look again to see "
        "what they would become.",
        widget=UnfoldAdminTextInputWidget,
    )
    field_order = ("mending", "because")


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # django-unfold brings no types
    """The list of dead letters. A letter changes only by being redriven."""

    list_display = ("id", "stream", "entry_id", "game_id", "reason", "received_at", "redriven_at", "became")
    list_filter = (("redriven_at", admin.EmptyFieldListFilter), "stream")
    search_fields = ("game_id__exact", "entry_id__exact", "id__exact")
    search_help_text = "A whole game id, stream entry id or letter id."
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("redrive_selected",)
    fieldsets = (
        (None, {"fields": ("id", "stream", "entry_id", "received_at", "game_id", "reason", "pretty_fields")}),
        ("Redriven", {"fields": ("redriven_at", "redriven_by", "became", "note")}),
    )

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        """Whether this person may make jobs of letters: Django's right to change dead letters."""
        return bool(request.user.has_perm("operations.change_deadletter"))

    @admin.action(description="Redrive, oldest first", permissions=["redrive"])
    def redrive_selected(self, request: HttpRequest, chosen: QuerySet[DeadLetter]) -> TemplateResponse | None:
        """Say what each letter would become and ask why, then make jobs of them; tells each that is refused."""
        letters = chosen.order_by("id")
        form = RedriveForm.read(request)
        if not form.is_valid():
            mending = form["mending"].value() or ""
            foretold = [(letter, _foretold(letter, mending)) for letter in letters]
            return ask(request, form, Question("redrive_selected", "Redrive dead letters", foretold, has_preview=True))
        for letter in letters:
            try:
                mended = split_mending(form.cleaned_data["mending"])
                done = redrive(letter.pk, mended=mended, by=request.user.get_username(), note=form.because_given)
            except RuntimeManagerError as error:
                self.message_user(request, f"Dead letter {letter.pk} not redriven: {error.message}.", messages.ERROR)
            else:
                self._tell(request, done, mended=mended, because=form.because_given)
        return None

    def _tell(self, request: HttpRequest, done: Redriven, *, mended: Mapping[str, str], because: str) -> None:
        became = f"operation {done.operation.pk}"
        if done.is_replay:
            self.message_user(request, f"Dead letter {done.letter.pk} was {became} already: nothing done.")
        else:
            note = describe_mending(mended, note=because)
            self.log_change(request, done.letter, f"Redriven as {became}: {note}")
            self.message_user(request, f"Dead letter {done.letter.pk} is {became}.")

    @admin.display(description="became", ordering="redriven_as")
    def became(self, letter: DeadLetter) -> SafeString | str:
        """The way to the operation."""
        if letter.redriven_as_id is None:
            return "-"
        address = reverse("admin:operations_operation_change", args=[letter.redriven_as_id])
        return format_html('<a href="{}">operation {}</a>', address, letter.redriven_as_id)

    @admin.display(description="fields")
    def pretty_fields(self, letter: DeadLetter) -> SafeString:
        """What the producer sent."""
        return render_json(read_fields(letter))


def _foretold(letter: DeadLetter, mending: str) -> str:
    try:
        return " ".join(foretell(letter, split_mending(mending)))
    except RuntimeManagerError as error:
        return f"Would be refused: {error.message}."
