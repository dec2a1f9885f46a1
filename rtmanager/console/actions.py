"""Actions on games from the console: a form with a reason, a preview, and one operation per game.

Every action goes through ``operations.intake``: it waits its turn, is refused when its game is busy, and one submitted
form is one operation per game, however often the browser sends it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from operations.intake import OperationRequest, accept_unless_busy
from operations.kinds import Kind
from operations.models import Operation
from operations.states import OperationKind, OperationSource, StopReason
from rtmanager.console.confirmation import ReasonForm
from runtimes.exceptions import RuntimeManagerError
from runtimes.image_refs import check_image_ref
from runtimes.models import Runtime
from runtimes.states import EndedBy, RuntimeStatus

NO_RECORD = "no record"
# Kind → status of the record → what the action will do; "" for every other status.
_PREVIEWS: Mapping[str, Mapping[str, str]] = {
    OperationKind.START: {
        NO_RECORD: "Creates and starts its first container.",
        RuntimeStatus.RUNNING: "Recorded as running: the same image changes nothing, another image is refused.",
        "": "Replaces the old container with a new one and starts it. The state directory is kept.",
    },
    OperationKind.STOP: {
        RuntimeStatus.RUNNING: "Sends SIGTERM to the engine and kills it after {grace} s. Players are disconnected. "
        "The container is kept.",
        "": "Not running: nothing changes.",
    },
    OperationKind.RESTART: {
        RuntimeStatus.RUNNING: "Replaces its container with a new one of {image}. Players are disconnected.",
        RuntimeStatus.STOPPED: "Not running: starts a new container of {image} in place of the old one.",
        "": "Has no container: the restart is refused. Start it instead.",
    },
    OperationKind.PATCH: {
        **dict.fromkeys(
            (RuntimeStatus.RUNNING, RuntimeStatus.STOPPED),
            "Pulls the new image, then replaces {image}. Players are disconnected. "
            "If the new container does not stay up, the old image is restored.",
        ),
        "": "Has no container: the patch is refused. Start it with the new image instead.",
    },
    OperationKind.CLEANUP_CONTAINER: {
        RuntimeStatus.RUNNING: "Running: the cleanup is refused. Stop it first.",
        RuntimeStatus.STOPPED: "Removes its container. The state directory, the history and the exit reports are kept.",
        "": "Has no container: nothing changes.",
    },
}


class ActionForm(ReasonForm):
    """The form of an action: its arguments, the reason, and an id that makes repeated submissions one operation."""

    submission_id = forms.UUIDField(widget=forms.HiddenInput)
    if_ended_by = forms.ChoiceField(choices=EndedBy.choices, required=False, widget=forms.HiddenInput)
    image_ref = forms.CharField(
        label="New image",
        help_text="The same major and minor version, another patch version.",
        widget=UnfoldAdminTextInputWidget,
    )
    reason = forms.ChoiceField(
        label="Kind of stop",
        choices=StopReason.choices,
        initial=StopReason.ADMIN_REQUEST,
        widget=UnfoldAdminSelectWidget,
    )
    accept_empty_state = forms.BooleanField(
        label="Accept an empty state directory",
        required=False,
        help_text="Only if the state directory is missing on purpose: the game starts with an empty one.",
        widget=UnfoldBooleanWidget,
    )
    field_order = ("image_ref", "reason", "because", "accept_empty_state")

    def __init__(self, kind: Kind, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        unused = {"if_ended_by", "image_ref", "reason", "accept_empty_state"} - set(kind.arguments)
        if not kind.needs_record:
            image = self.fields["image_ref"]
            image.required, image.label, image.help_text = (
                False,
                "Image",
                "Leave it empty to use the game's last image.",
            )
        if "if_ended_by" not in unused and self["if_ended_by"].value():
            # An operator accepts an empty state directory for one game, never for all games of a list.
            unused.add("accept_empty_state")
        for name in unused:
            del self.fields[name]

    def clean_image_ref(self) -> str:
        """Check the syntax of the image."""
        image_ref: str = self.cleaned_data["image_ref"]
        if image_ref:
            try:
                check_image_ref(image_ref)
            except RuntimeManagerError as error:
                raise forms.ValidationError(error.message) from None
        return image_ref

    def arguments(self, runtime: Runtime | None) -> dict[str, Any]:
        """The operation's arguments for one game. Raises RuntimeManagerError when the form has none for it."""
        arguments = {name: value for name, value in self.cleaned_data.items() if value and name != "submission_id"}
        if "image_ref" in self.fields and "image_ref" not in arguments:
            if runtime is None or not runtime.current_image_ref:
                raise RuntimeManagerError("the game has no recorded image; name the image to start it with")
            arguments["image_ref"] = runtime.current_image_ref
        return arguments


def submit(
    kind: Kind, game_ids: Sequence[str], *, form: ActionForm, user: User
) -> tuple[list[Operation], dict[str, str]]:
    """Request an operation of a valid form for each game. A refused game does not stop the others.

    Return the recorded operations, and for each refused game the reason.
    """
    records = Runtime.objects.in_bulk(game_ids)
    operations: list[Operation] = []
    refusals: dict[str, str] = {}
    for game_id in game_ids:
        try:
            request = OperationRequest(
                game_id=game_id,
                op_kind=OperationKind(kind.name),
                op_source=OperationSource.ADMIN_CONSOLE,
                job_key=f"console:{form.cleaned_data['submission_id']}:{game_id}",
                source_ref=user.get_username(),
                arguments=form.arguments(records.get(game_id)),
            )
            operation = accept_unless_busy(request)
        except RuntimeManagerError as error:
            refusals[game_id] = error.message
            continue
        operations.append(operation)
        # get_or_create: a form that is sent twice is one operation and one entry.
        LogEntry.objects.get_or_create(
            user=user,
            content_type=ContentType.objects.get_for_model(Runtime),
            object_id=game_id,
            change_message=f"{kind.label} (operation {operation.pk}): {form.reason_given}",
            defaults={"object_repr": game_id, "action_flag": CHANGE},
        )
    return operations, refusals


def preview(kind: Kind, record: Runtime | None) -> str:
    """What the action will do to the game with this record."""
    texts = _PREVIEWS.get(kind.name, {})
    text = texts.get(record.status if record else NO_RECORD, texts.get("", kind.summary))
    grace = settings.RTMANAGER.container_stop_timeout_seconds
    return text.format(image=record.current_image_ref if record else "", grace=grace)
