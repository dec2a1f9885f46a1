"""From an operation to the Celery task that runs it. A hint may be lost or doubled: the row is the job."""

from collections.abc import Sequence
from typing import Protocol

import structlog
from celery import current_app
from django.conf import settings
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError

from operations.states import OpKind

log = structlog.get_logger(__name__)

LIFECYCLE_QUEUE = "lifecycle"

TASK_NAMES: dict[OpKind, str] = {
    OpKind.START: "rtmanager.start_runtime",
    OpKind.STOP: "rtmanager.stop_runtime",
    OpKind.RESTART: "rtmanager.restart_runtime",
    OpKind.PATCH: "rtmanager.patch_runtime",
    OpKind.CLEANUP_CONTAINER: "rtmanager.cleanup_container",
    OpKind.RECONCILE_ADOPT: "rtmanager.reconcile_adopt",
    OpKind.RECONCILE_DISPOSE: "rtmanager.reconcile_dispose",
    OpKind.RECONCILE_EXIT: "rtmanager.reconcile_exit",
}

REPLAYS_TASK = "rtmanager.answer_replays"


class Hints(Protocol):
    """Tells some worker that an operation may be ready. Best effort: never raises, never blocks for long."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        """Hint each (operation id, kind), in order."""

    def answer(self, game_ids: Sequence[str]) -> None:
        """Hint, all in one, that replays may be waiting in front for these games."""


class CeleryHints:
    """Hints as Celery messages that carry the operation id alone."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        """Send until the broker fails; the sweep hints the rest again when it is back."""
        for operation_id, op_kind in operations:
            if not _send(TASK_NAMES[op_kind], operation_id):
                return

    def answer(self, game_ids: Sequence[str]) -> None:
        """One message for all of them."""
        _send(REPLAYS_TASK, list(game_ids))


def _send(task_name: str, subject: int | list[str]) -> bool:
    try:
        current_app.send_task(task_name, args=[subject], queue=LIFECYCLE_QUEUE, ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("hint_not_sent", task=task_name, subject=subject, error=str(error))
        return False
    return True


class NoHints:
    """Loses every hint: what remains is the sweep. For tests and for work that is driven by hand."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        """Do nothing."""

    def answer(self, game_ids: Sequence[str]) -> None:
        """Do nothing."""


def hints() -> Hints:
    """The adapter that ``settings.RTM_HINTS`` names."""
    adapter: Hints = import_string(settings.RTM_HINTS)()
    return adapter
