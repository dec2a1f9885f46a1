"""Notify the workers of ready operations, as Celery messages. A message may be lost or doubled: the row is the job."""

from collections.abc import Sequence
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError

from operations.kinds import KINDS
from operations.states import OperationKind

log = structlog.get_logger(__name__)

LIFECYCLE_QUEUE = "lifecycle"
READS_QUEUE = "reads"
NO_OPS_TASK = "rtmanager.complete_no_ops"


class Notifier:
    """Notifies some worker that an operation may be ready. Best effort: never raises, never blocks for long.

    This one sends nothing, so that only the sweep notifies: for tests that run operations step by step.
    """

    def send(self, operations: Sequence[tuple[int, OperationKind]]) -> None:
        """Send one notification for each (operation id, kind), in order."""

    def complete_no_ops(self, game_ids: Sequence[str]) -> None:
        """Send one notification that the next operations of these games may be no-ops."""


class CeleryNotifier(Notifier):
    """Sends Celery messages that carry only the operation id."""

    def send(self, operations: Sequence[tuple[int, OperationKind]]) -> None:
        """Send until the broker fails. The sweep sends the rest when the broker is back."""
        for operation_id, op_kind in operations:
            if not send(KINDS[op_kind].task, [operation_id], queue=LIFECYCLE_QUEUE):
                return

    def complete_no_ops(self, game_ids: Sequence[str]) -> None:
        """Send one message for all games."""
        send(NO_OPS_TASK, [list(game_ids)], queue=LIFECYCLE_QUEUE)


def send(task_name: str, arguments: Sequence[Any], *, queue: str, expires_seconds: float | None = None) -> bool:
    """Send one Celery message, once; return whether the broker took it. Workers drop a message that has expired."""
    try:
        current_app.send_task(
            task_name, args=arguments, queue=queue, expires=expires_seconds, ignore_result=True, retry=False
        )
    except OperationalError as error:
        log.warning("notification_failed", task=task_name, subject=arguments[0], error=str(error))
        return False
    return True


def notifier() -> Notifier:
    """The adapter that ``settings.RTM_NOTIFIER`` names."""
    adapter: Notifier = import_string(settings.RTM_NOTIFIER)()
    return adapter
