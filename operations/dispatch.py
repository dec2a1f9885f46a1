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


class Hints(Protocol):
    """Tells some worker that an operation may be ready. Best effort: never raises, never blocks for long."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        """Hint each (operation id, kind), in order."""


class CeleryHints:
    """Hints as Celery messages that carry the operation id alone."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        """Send until the broker fails; the sweep hints the rest again when it is back."""
        for operation_id, op_kind in operations:
            try:
                current_app.send_task(
                    TASK_NAMES[op_kind], args=[operation_id], queue=LIFECYCLE_QUEUE, ignore_result=True, retry=False
                )
            except OperationalError as error:
                log.warning("hint_not_sent", operation_id=operation_id, error=str(error))
                return


class NoHints:
    """Loses every hint: what remains is the sweep. For tests and for work that is driven by hand."""

    def send(self, operations: Sequence[tuple[int, OpKind]]) -> None:
        """Do nothing."""


def hints() -> Hints:
    """The adapter that ``settings.RTM_HINTS`` names."""
    adapter: Hints = import_string(settings.RTM_HINTS)()
    return adapter
