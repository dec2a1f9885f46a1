"""What people have done from the admin's lists: told before what will happen, asked why, and only then done."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.validators import MaxLengthValidator
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

LONGEST_REASON = 500
# The names of the page's two buttons.
_CONFIRM, _LOOK_AGAIN = "confirm", "look_again"


class WhyForm(forms.Form):
    """What everything that is done by hand asks for: why."""

    because = forms.CharField(
        label="Why",
        help_text="Kept in the audit; whoever looks later will want to know.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        validators=[MaxLengthValidator(LONGEST_REASON)],
    )

    @classmethod
    def read(cls, request: HttpRequest) -> Self:
        """The form as it was sent: valid only when it is filled in and confirmed."""
        if _CONFIRM in request.POST:
            return cls(request.POST)
        return cls(initial=request.POST.dict() if _LOOK_AGAIN in request.POST else None)

    @property
    def because_given(self) -> str:
        """The reason of a valid form."""
        return str(self.cleaned_data["because"])


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before an action is done: its name, a title, and what will become of each chosen row."""

    action: str
    title: str
    foretold: Iterable[tuple[Model, str]]
    has_preview: bool = False


def ask(request: HttpRequest, form: WhyForm, question: Question) -> TemplateResponse:
    """The page that says what will happen and asks why; it is sent to where the action was chosen. Changes nothing."""
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": question.title,
        "question": question,
        "form": form,
        "chosen_name": ACTION_CHECKBOX_NAME,
        "confirm": _CONFIRM,
        "look_again": _LOOK_AGAIN,
    }
    status = 400 if form.is_bound else 200
    return TemplateResponse(request, "runtimes/confirmation.html", context, status=status)
