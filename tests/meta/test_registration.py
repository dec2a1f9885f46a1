"""Names that tie processes together: a task that is sent under a name nobody knows is lost without a word."""

from typing import Any

from django.conf import settings
from django.core.management import get_commands

from operations.dispatch import REPLAYS_TASK, TASK_NAMES
from operations.states import OpKind
from rtmanager.celery import app
from tests.servers.processes import COMMANDS


def registered() -> set[str]:
    app.loader.import_default_modules()
    return set(app.tasks)


def test_every_dispatched_task_is_registered_with_celery() -> None:
    assert {*TASK_NAMES.values(), REPLAYS_TASK} - registered() == set()


def test_every_kind_has_at_most_one_task_and_names_are_not_shared() -> None:
    assert set(TASK_NAMES) <= set(OpKind)
    assert len(set(TASK_NAMES.values())) == len(TASK_NAMES)


def test_every_scheduled_task_is_registered_with_celery() -> None:
    schedule: dict[str, dict[str, Any]] = settings.RTM_SCHEDULE

    assert {entry["task"] for entry in schedule.values()} - registered() == set()


def test_tasks_of_operations_keep_no_result() -> None:
    registered()

    assert [name for name in (*TASK_NAMES.values(), REPLAYS_TASK) if not app.tasks[name].ignore_result] == []


def test_the_commands_that_the_tests_start_exist() -> None:
    ours = {command[1] for command in COMMANDS.values() if command[0] == "manage.py"}

    assert ours <= set(get_commands())
