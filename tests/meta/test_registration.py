"""Names that processes share: a message for an unregistered task is lost without an error."""

from typing import Any

from django.conf import settings
from django.core.management import get_commands

from operations.api.actions import ACTION_VIEWS
from operations.dispatch import NO_OPS_TASK
from operations.kinds import KINDS, REQUESTABLE
from operations.states import OperationKind
from rtmanager.celery import app
from runtimes.models import Runtime
from tests.servers.processes import COMMANDS

TASKS = [kind.task for kind in KINDS.values()]


def registered() -> set[str]:
    app.loader.import_default_modules()
    return set(app.tasks)


def test_every_dispatched_task_is_registered_with_celery() -> None:
    assert {*TASKS, NO_OPS_TASK} - registered() == set()


def test_every_kind_has_one_row_and_a_task_of_its_own() -> None:
    assert list(KINDS) == list(OperationKind)
    assert len(set(TASKS)) == len(TASKS)


def test_every_kind_that_a_caller_can_request_has_an_endpoint_with_its_arguments() -> None:
    of_views = {op_kind: set(view.body().fields) if view.body else set() for op_kind, view in ACTION_VIEWS.items()}

    assert of_views == {kind.name: set(kind.arguments) for kind in REQUESTABLE.values()}


def test_every_kind_that_a_caller_can_request_has_a_permission() -> None:
    permissions = [f"runtimes.{codename}" for codename, _name in Runtime._meta.permissions]  # noqa: SLF001 - a public name of Django

    assert permissions == [kind.permission for kind in REQUESTABLE.values()]


def test_every_scheduled_task_is_registered_with_celery() -> None:
    schedule: dict[str, dict[str, Any]] = settings.RTM_SCHEDULE

    assert {entry["task"] for entry in schedule.values()} - registered() == set()


def test_tasks_of_operations_keep_no_result() -> None:
    registered()

    assert [name for name in (*TASKS, NO_OPS_TASK) if not app.tasks[name].ignore_result] == []


def test_the_commands_that_the_tests_start_exist() -> None:
    ours = {command[1] for command in COMMANDS.values() if command[0] == "manage.py"}

    assert ours <= set(get_commands())
