"""What people have done from the console: asked with a reason, told before what will happen, recorded like any other.

Every deed goes through ``operations.intake`` and so waits its turn, is refused when its game is busy, and is done once
however often the form is sent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django import forms
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from operations.intake import OperationRequest, accept_unless_busy
from operations.models import Operation
from operations.states import OpKind, OpSource, StopReason
from runtimes.confirmation import WhyForm
from runtimes.exceptions import RuntimeManagerError
from runtimes.images import check_image_ref
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus


class DeedForm(WhyForm):
    """What every deed asks for: why. The nonce makes one form one deed, also when it is sent twice."""

    nonce = forms.UUIDField(widget=forms.HiddenInput)

    def arguments(self, runtime: Runtime | None) -> dict[str, str]:
        """The operation's arguments for one game."""
        del runtime
        return {"because": self.because_given}


class StartForm(DeedForm):
    """A start may bring an image along; without one each game comes up on the image it had."""

    image_ref = forms.CharField(
        label="Image",
        required=False,
        help_text="Leave it empty for the image that the game had last.",
        widget=UnfoldAdminTextInputWidget,
    )
    field_order = ("image_ref", "because")

    def clean_image_ref(self) -> str:
        """The reference, if it is one."""
        return _checked_image(self.cleaned_data["image_ref"])

    def arguments(self, runtime: Runtime | None) -> dict[str, str]:
        """The image asked for, else the one on record. Raises RuntimeManagerError when there is neither."""
        image_ref = self.cleaned_data["image_ref"] or (runtime and runtime.current_image_ref)
        if not image_ref:
            message = "it never had an image; name the one to start it with"
            raise RuntimeManagerError(message)
        return {"image_ref": image_ref, **super().arguments(runtime)}


class StopForm(DeedForm):
    """A stop names one of the contract's reasons besides the words."""

    reason = forms.ChoiceField(
        choices=StopReason.choices, initial=StopReason.ADMIN_REQUEST, widget=UnfoldAdminSelectWidget
    )
    field_order = ("reason", "because")

    def arguments(self, runtime: Runtime | None) -> dict[str, str]:
        """The reason and the words."""
        return {"reason": self.cleaned_data["reason"], **super().arguments(runtime)}


class PatchForm(DeedForm):
    """A patch names the new image."""

    image_ref = forms.CharField(
        label="New image",
        help_text="The same major and minor version as now, another patch version.",
        widget=UnfoldAdminTextInputWidget,
    )
    field_order = ("image_ref", "because")

    def clean_image_ref(self) -> str:
        """The reference, if it is one."""
        return _checked_image(self.cleaned_data["image_ref"])

    def arguments(self, runtime: Runtime | None) -> dict[str, str]:
        """The new image."""
        return {"image_ref": self.cleaned_data["image_ref"], **super().arguments(runtime)}


@dataclass(frozen=True, slots=True)
class Deed:
    """One verb of the console."""

    op_kind: OpKind
    title: str
    icon: str
    foretell: Callable[[Runtime | None], str]
    form: type[DeedForm] = DeedForm
    is_harsh: bool = False


@dataclass(slots=True)
class Asked:
    """What came of asking: operations on record, and per game why nothing was recorded."""

    operations: list[Operation] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)


def ask(deed: Deed, game_ids: Sequence[str], *, form: DeedForm, user: User) -> Asked:
    """Have a valid form's deed done to these games. One that is busy is refused alone; the rest go on."""
    records = Runtime.objects.in_bulk(game_ids)
    asked = Asked()
    for game_id in game_ids:
        try:
            operation = accept_unless_busy(_request(deed, game_id, records.get(game_id), form=form, user=user))
        except RuntimeManagerError as error:
            asked.refusals[game_id] = error.message
        else:
            asked.operations.append(operation)
            _note_in_audit(deed, operation, user=user, because=form.because_given)
    return asked


def _request(
    deed: Deed, game_id: str, record: Runtime | None, *, form: DeedForm, user: User
) -> OperationRequest:  # fmt: skip
    return OperationRequest(
        game_id=game_id,
        op_kind=deed.op_kind,
        op_source=OpSource.ADMIN_CONSOLE,
        job_key=f"console:{form.cleaned_data['nonce']}:{game_id}",
        source_ref=user.get_username(),
        arguments=form.arguments(record),
    )


def _note_in_audit(deed: Deed, operation: Operation, *, user: User, because: str) -> None:
    message = f"{deed.title} (operation {operation.pk}): {because}"
    content_type = ContentType.objects.get_for_model(Runtime)
    # Sent twice, the form is one deed and one line.
    LogEntry.objects.get_or_create(
        user=user,
        content_type=content_type,
        object_id=operation.game_id,
        change_message=message,
        defaults={"object_repr": operation.game_id, "action_flag": CHANGE},
    )


def _checked_image(image_ref: str) -> str:
    if image_ref:
        try:
            check_image_ref(image_ref)
        except RuntimeManagerError as error:
            raise forms.ValidationError(error.message) from None
    return image_ref


def _start(record: Runtime | None) -> str:
    if record is None:
        return "A first container is made and started."
    if record.status == RuntimeStatus.RUNNING:
        return "It is recorded as running: on the same image nothing changes, another image is refused."
    return "A new container takes the place of the old one and is started; the state directory stays as it is."


def _stop(record: Runtime | None) -> str:
    if record is None or record.status != RuntimeStatus.RUNNING:
        return "It does not run: nothing changes."
    grace = settings.RTMANAGER.container_stop_timeout_seconds
    return f"The engine is told to end and is killed after {grace} s; its players are cut off. The container is kept."


def _restart(record: Runtime | None) -> str:
    if record is None or record.status == RuntimeStatus.REMOVED:
        return "It has no container: this is refused. Start it instead."
    return f"A new container of {record.current_image_ref} takes the place of the old one; players are cut off."


def _patch(record: Runtime | None) -> str:
    if record is None or record.status == RuntimeStatus.REMOVED:
        return "It has no container: this is refused. Start it with the new image instead."
    return (
        f"The new image is fetched first; then it takes the place of {record.current_image_ref}, players are cut off. "
        "If it does not stay up, the old image is put back."
    )


def _cleanup(record: Runtime | None) -> str:
    if record is None or record.status == RuntimeStatus.REMOVED:
        return "It has no container: nothing changes."
    if record.status == RuntimeStatus.RUNNING:
        return "It is running: this is refused. Stop it first."
    return "Its container is removed. The state directory, the history and the black boxes stay."


DEEDS: Mapping[str, Deed] = {
    "start": Deed(OpKind.START, "Start", "play_arrow", _start, StartForm),
    "stop": Deed(OpKind.STOP, "Stop", "stop", _stop, StopForm, is_harsh=True),
    "restart": Deed(OpKind.RESTART, "Restart", "restart_alt", _restart, is_harsh=True),
    "patch": Deed(OpKind.PATCH, "Patch", "upgrade", _patch, PatchForm, is_harsh=True),
    "cleanup": Deed(OpKind.CLEANUP_CONTAINER, "Clean up", "delete_sweep", _cleanup, is_harsh=True),
}
