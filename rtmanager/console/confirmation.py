"""The confirmation page of the console: what will happen to each object, a reason, then the action.

Actions on games (``actions``) and the actions of the admin's lists both use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.validators import MaxLengthValidator
from django.http import HttpRequest
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

LONGEST_REASON = 500


class ReasonForm(forms.Form):
    """The reason, which every action of an operator needs."""

    because = forms.CharField(
        label="Reason",
        help_text="Recorded in the audit log.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        validators=[MaxLengthValidator(LONGEST_REASON)],
    )

    @classmethod
    def from_list_action(cls, request: HttpRequest) -> Self:
        """The form of an action on an admin list: bound, and so possibly valid, only when the operator confirmed."""
        if "confirm" in request.POST:
            return cls(request.POST)
        return cls(initial=request.POST.dict() if "preview" in request.POST else None)

    @property
    def reason_given(self) -> str:
        """The reason of a valid form."""
        return str(self.cleaned_data["because"])


@dataclass(frozen=True, slots=True)
class Target:
    """One object on the confirmation page: its value in the form, its name, what will happen to it, its status."""

    value: str
    name: str
    preview: str
    status: str = ""


def render_confirmation(
    request: HttpRequest, form: ReasonForm, title: str, targets: Sequence[Target], **options: str | bool
) -> TemplateResponse:
    """The confirmation page. Its form goes to the address that shows it. Changes nothing.

    ``options`` are variables of its template. ``list_action`` names the action of the admin list that shows the page.
    """
    context = {
        **admin.site.each_context(request),
        "title": title,
        "form": form,
        "targets": targets,
        "target_field": ACTION_CHECKBOX_NAME,
        "cancel_url": request.get_full_path(),
        "is_destructive": True,
        **options,
    }
    return TemplateResponse(request, "console/confirmation.html", context, status=400 if form.is_bound else 200)
