"""Operations that kill their workers, and records that the database refuses: one clear failure, and a whole game."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from operations import runner
from operations.models import Operation
from operations.reconcile.survey import reconcile_all
from operations.states import OperationKind, OperationSource, OperationState, Outcome
from runtimes.containers.base import ContainerState
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import (
    IMAGE,
    OTHER_IMAGE,
    Rig,
    WorkerDiedError,
    expire_lease,
    health_events,
    record,
    results,
)

REPLACEMENTS = [OperationKind.RESTART, OperationKind.PATCH]


def ask_to_replace(rig: Rig, op_kind: OperationKind) -> Operation:
    arguments = {"image_ref": OTHER_IMAGE} if op_kind == OperationKind.PATCH else {}
    return rig.ask(op_kind, source=OperationSource.ADMIN_REST, **arguments)


def die_again_and_again(rig: Rig, operation: Operation, *calls: str) -> None:
    """Let a worker die right after each of these calls, and time pass until its lease is over."""
    for call in calls:
        rig.engine.fail_after(call, WorkerDiedError())
        with pytest.raises(WorkerDiedError):
            runner.run(operation.pk)
        expire_lease(operation)


def do_what_is_open(rig: Rig) -> None:
    for operation in Operation.objects.exclude(state=OperationState.FINISHED).order_by("id"):
        rig.do(operation)


@contextmanager
def refusing(condition: str) -> Iterator[None]:
    """A database that takes no record of which this is true."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE runtimes_runtime ADD CONSTRAINT refused CHECK (NOT ({condition})) NOT VALID")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE runtimes_runtime DROP CONSTRAINT refused")


class TestAReplacementThatIsGivenUp:
    @pytest.mark.parametrize("op_kind", REPLACEMENTS)
    def test_its_live_container_becomes_the_record_when_the_old_one_is_gone(
        self, rig: Rig, op_kind: OperationKind
    ) -> None:
        old = rig.start().container_id
        operation = ask_to_replace(rig, op_kind)
        die_again_and_again(rig, operation, "start", *["find"] * (runner.MAX_ATTEMPTS - 1))

        assert rig.do(operation).error_code == "internal_error"

        (alive,) = rig.engine.containers.values()
        image_ref = OTHER_IMAGE if op_kind == OperationKind.PATCH else IMAGE
        assert (alive.state, alive.id != old) == (ContainerState.RUNNING, True)
        assert (record().status, record().current_container_id) == (RuntimeStatus.RUNNING, alive.id)
        assert (record().current_image_ref, record().image_id) == (image_ref, alive.image_id)
        assert health_events() == ["container_started", "container_started"]
        assert reconcile_all() == 0

    @pytest.mark.parametrize("op_kind", REPLACEMENTS)
    def test_its_container_that_never_ran_is_removed_and_the_record_says_so(
        self, rig: Rig, op_kind: OperationKind
    ) -> None:
        rig.start()
        operation = ask_to_replace(rig, op_kind)
        die_again_and_again(rig, operation, "create", "find", "find")

        assert rig.do(operation).error_code == "internal_error"

        assert rig.engine.containers == {}
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)
        assert reconcile_all() == 0

    @pytest.mark.parametrize("op_kind", REPLACEMENTS)
    def test_a_game_it_had_not_touched_stays_as_it_is(self, rig: Rig, op_kind: OperationKind) -> None:
        started = rig.start()
        before = Runtime.objects.values().get()
        operation = ask_to_replace(rig, op_kind)
        die_again_and_again(rig, operation, *["network_exists"] * runner.MAX_ATTEMPTS)

        assert rig.do(operation).error_code == "internal_error"

        assert list(rig.engine.containers) == [started.container_id]
        assert Runtime.objects.values().get() == before

    @pytest.mark.parametrize("op_kind", REPLACEMENTS)
    def test_when_even_looking_kills_the_worker_reconcile_keeps_what_is_alive(
        self, rig: Rig, op_kind: OperationKind
    ) -> None:
        rig.start()
        operation = ask_to_replace(rig, op_kind)
        die_again_and_again(rig, operation, "start", *["find"] * (2 * runner.MAX_ATTEMPTS - 1))
        assert rig.do(operation).error_code == "internal_error"
        (alive,) = rig.engine.containers.values()

        while reconcile_all():
            do_what_is_open(rig)

        assert list(rig.engine.containers) == [alive.id]
        assert (record().status, record().current_container_id) == (RuntimeStatus.RUNNING, alive.id)

    def test_never_are_there_two_live_containers(self, rig: Rig) -> None:
        rig.start()
        operation = ask_to_replace(rig, OperationKind.RESTART)
        die_again_and_again(rig, operation, "start", *["find"] * (runner.MAX_ATTEMPTS - 1))
        rig.do(operation)

        assert rig.restart().outcome == Outcome.SUCCESS
        (alive,) = rig.engine.containers.values()
        assert record().current_container_id == alive.id


class TestAStartThatIsGivenUp:
    def test_it_leaves_nothing_even_if_the_container_on_record_is_gone(self, rig: Rig) -> None:
        rig.engine.remove_externally(rig.start().container_id)
        operation = rig.ask_start()
        die_again_and_again(rig, operation, "start", *["find"] * (runner.MAX_ATTEMPTS - 1))

        assert rig.do(operation).error_code == "internal_error"

        assert rig.engine.containers == {}
        do_what_is_open(rig)
        reconcile_all()
        do_what_is_open(rig)
        assert record().status == RuntimeStatus.REMOVED

    def test_what_it_left_because_cleaning_up_kills_too_is_removed_by_reconcile(self, rig: Rig) -> None:
        operation = rig.ask_start()
        die_again_and_again(rig, operation, "start", *["find"] * (2 * runner.MAX_ATTEMPTS - 1))
        assert rig.do(operation).error_code == "internal_error"
        assert len(rig.engine.containers) == 1

        reconcile_all()
        do_what_is_open(rig)

        assert rig.engine.containers == {}
        assert not Runtime.objects.exists()


class TestARecordThatTheDatabaseRefuses:
    def test_a_start_fails_at_once_and_leaves_nothing(self, rig: Rig) -> None:
        with refusing("current_container_id IS NOT NULL"):
            operation = rig.start()

        assert (operation.error_code, operation.attempt) == ("container_start_failed", 1)
        assert rig.engine.containers == {}
        assert not Runtime.objects.exists()
        assert [one["error_code"] for one in results()] == ["container_start_failed"]

    def test_a_restart_fails_at_once_and_the_game_is_removed_on_record_and_in_docker(self, rig: Rig) -> None:
        old = rig.start().container_id

        with refusing(f"current_container_id <> '{old}'"):
            operation = rig.restart()

        assert (operation.error_code, operation.attempt) == ("container_start_failed", 1)
        assert "could not be stored" in operation.error_message
        assert rig.engine.containers == {}
        assert (record().status, record().current_container_id) == (RuntimeStatus.REMOVED, None)

    @pytest.mark.parametrize("stopped_first", [False, True], ids=["running", "stopped"])
    def test_a_patch_fails_at_once_and_puts_the_old_image_back(self, rig: Rig, *, stopped_first: bool) -> None:
        rig.start()
        if stopped_first:
            rig.stop()
        status = record().status

        with refusing(f"current_image_ref = '{OTHER_IMAGE}'"):
            operation = rig.patch(OTHER_IMAGE)

        assert (operation.error_code, operation.attempt) == ("container_start_failed", 1)
        (container,) = rig.engine.containers.values()
        assert (record().status, record().current_image_ref) == (status, IMAGE)
        assert record().current_container_id == container.id
        assert container.is_alive == (status == RuntimeStatus.RUNNING)
        assert reconcile_all() == 0

    def test_a_patch_of_which_nothing_can_be_stored_is_one_failure_all_the_same(self, rig: Rig) -> None:
        old = rig.start().container_id

        with refusing(f"current_container_id <> '{old}'"):
            operation = rig.patch(OTHER_IMAGE)
        while reconcile_all():
            do_what_is_open(rig)

        assert (operation.error_code, operation.attempt) == ("container_start_failed", 1)
        (alive,) = rig.engine.containers.values()
        assert (record().status, record().current_container_id) == (RuntimeStatus.RUNNING, alive.id)
        assert record().current_image_ref == IMAGE

    def test_a_stop_fails_at_once_and_reconcile_reports_the_exit_later(self, rig: Rig) -> None:
        rig.start()

        with refusing("status = 'stopped'"):
            operation = rig.stop()

        assert (operation.error_code, operation.attempt) == ("internal_error", 1)
        while reconcile_all():
            do_what_is_open(rig)
        assert record().status == RuntimeStatus.STOPPED


class TestAnEndForWantOfMemory:
    def test_it_is_reported_as_removed(self, rig: Rig) -> None:
        rig.engine.exit(rig.start().container_id, exit_code=137, oom_killed=True)

        reconcile_all()
        do_what_is_open(rig)

        assert health_events() == ["container_started", "container_oom", "container_exited"]

    def test_a_mark_that_docker_kept_from_an_earlier_moment_is_not(self, rig: Rig) -> None:
        rig.engine.exit(rig.start().container_id, exit_code=1, oom_killed=True)

        reconcile_all()
        do_what_is_open(rig)

        assert health_events() == ["container_started", "container_exited"]
