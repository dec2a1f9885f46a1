"""The Celery tasks that run operations: one for each kind of operation, and one for no-ops.

A message carries an operation id and only means "this operation may be ready".
"""

from celery import shared_task

from operations.dispatch import NO_OPS_TASK
from operations.execution import no_ops
from operations.kinds import KINDS
from operations.runner import run

for _kind in KINDS.values():
    shared_task(name=_kind.task, ignore_result=True)(run)


@shared_task(name=NO_OPS_TASK, ignore_result=True)
def complete_no_ops(game_ids: list[str]) -> None:
    """Complete the operations that have nothing to do, for many games at once."""
    no_ops.complete_waiting(game_ids)
