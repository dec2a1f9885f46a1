"""The Celery tasks that run operations. A message carries an operation id and means no more than "look at it"."""

from celery import shared_task

from operations import replays
from operations.dispatch import REPLAYS_TASK, TASK_NAMES
from operations.runner import run
from operations.states import OpKind


@shared_task(name=TASK_NAMES[OpKind.START], ignore_result=True)
def start_runtime(operation_id: int) -> None:
    """Run a start."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.STOP], ignore_result=True)
def stop_runtime(operation_id: int) -> None:
    """Run a stop."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.RESTART], ignore_result=True)
def restart_runtime(operation_id: int) -> None:
    """Run a restart."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.PATCH], ignore_result=True)
def patch_runtime(operation_id: int) -> None:
    """Run a patch."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.CLEANUP_CONTAINER], ignore_result=True)
def cleanup_container(operation_id: int) -> None:
    """Run a cleanup."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.RECONCILE_ADOPT], ignore_result=True)
def reconcile_adopt(operation_id: int) -> None:
    """Run an adoption."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.RECONCILE_DISPOSE], ignore_result=True)
def reconcile_dispose(operation_id: int) -> None:
    """Run a disposal."""
    run(operation_id)


@shared_task(name=TASK_NAMES[OpKind.RECONCILE_EXIT], ignore_result=True)
def reconcile_exit(operation_id: int) -> None:
    """Run an observed exit."""
    run(operation_id)


@shared_task(name=REPLAYS_TASK, ignore_result=True)
def answer_replays(game_ids: list[str]) -> None:
    """Close what has nothing to do, for many games at once."""
    replays.answer(game_ids)
