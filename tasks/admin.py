"""What operators see of the edges: entries that no job could be read from, and the way to redrive them."""

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from operations.dead_letters import read_fields
from operations.models import DeadLetter
from runtimes.admin import ReadOnly, render_json
from runtimes.exceptions import RuntimeManagerError
from tasks.redrive import redrive, split_mending


class MendingForm(ActionForm):
    """The action's drop-down, with a line for fields to replace."""

    mending = forms.CharField(
        required=False,
        label="Mended fields:",
        widget=forms.TextInput(attrs={"placeholder": "reason=cancelled image_ref=…", "size": 40}),
    )


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
    action_form = MendingForm
    fieldsets = (
        (None, {"fields": ("id", "stream", "entry_id", "received_at", "game_id", "reason", "pretty_fields")}),
        ("Redriven", {"fields": ("redriven_at", "redriven_by", "became", "note")}),
    )

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        """Whether this person may make jobs of letters: Django's right to change dead letters."""
        return bool(request.user.has_perm("operations.change_deadletter"))

    @admin.action(description="Redrive, oldest first", permissions=["redrive"])
    def redrive_selected(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        """Make jobs of the letters; tells each that is refused."""
        for letter_id in letters.order_by("id").values_list("id", flat=True):
            try:
                mended = split_mending(request.POST.get("mending", ""))
                done = redrive(letter_id, mended=mended, by=request.user.get_username())
            except RuntimeManagerError as error:
                self.message_user(request, f"Dead letter {letter_id} not redriven: {error.message}.", messages.ERROR)
            else:
                told = f"Redriven as operation {done.operation.pk}" + (f" with {mended}" if mended else "")
                self.log_change(request, DeadLetter.objects.get(pk=letter_id), f"{told}.")
                self.message_user(request, f"Dead letter {letter_id} is operation {done.operation.pk}.")

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
