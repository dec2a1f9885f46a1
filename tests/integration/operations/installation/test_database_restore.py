"""A restored backup is detected, its numbers advance, and its records are corrected without events."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from structlog.testing import capture_logs

from operations.installation import database_restore
from operations.models import Heartbeat, Operation, OutboxEvent
from operations.monitoring import heartbeats
from operations.reconcile import survey
from operations.states import OperationKind, OperationSource, Outcome, Topic
from runtimes.models import HealthSnapshot, Installation, Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, health_events, reconcile, record

TABLES = (HealthSnapshot, Runtime, OutboxEvent, Operation)
SEQUENCES = ("operations_fence_seq", "operations_operation_id_seq", "operations_outboxevent_id_seq")


def fetch(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


@pytest.fixture
def backup(rig: Rig) -> Callable[[], Callable[[], None]]:
    """Back up what operations write, sequences included; the returned function restores it."""
    del rig

    def take() -> Callable[[], None]:
        rows: dict[Any, list[Any]] = {model: list(model.objects.all()) for model in reversed(TABLES)}
        numbers = {name: fetch(f"SELECT last_value FROM {name}") for name in SEQUENCES}  # noqa: S608 - constant names

        def restore() -> None:
            for model in TABLES:
                model.objects.all().delete()
            for model, kept in rows.items():
                model.objects.bulk_create(kept)
            for name, value in numbers.items():
                fetch(f"SELECT setval('{name}', {value})")

        return restore

    return take


Backup = Callable[[], Callable[[], None]]


def test_a_restart_with_an_operation_id_that_was_used_before_still_restarts(rig: Rig, backup: Backup) -> None:
    rig.start()
    restore = backup()
    before = rig.restart()
    restore()

    after = rig.restart()

    assert after.pk == before.pk
    assert (after.outcome, after.error_code) == (Outcome.SUCCESS, "")
    assert after.container_id != before.container_id
    assert list(rig.engine.containers) == [after.container_id]


def test_a_container_with_a_fence_not_issued_yet_proves_a_restore(rig: Rig, backup: Backup) -> None:
    rig.start()
    restore = backup()
    later = rig.restart()
    assert later.fence is not None
    restore()

    with capture_logs() as logs:
        survey.survey()
        survey.survey()

    assert [entry["event"] for entry in logs].count("database_restored") == 1
    assert Installation.load().restored_at is not None
    new = rig.ask_stop()
    assert new.pk >= later.pk + database_restore.OPERATION_ID_GAP
    assert (rig.do(new).fence or 0) > later.fence + database_restore.FENCE_GAP


def test_a_record_made_outdated_by_later_operations_is_corrected_without_events(rig: Rig, backup: Backup) -> None:
    rig.start()
    restore = backup()
    restarted = rig.restart()
    restore()

    (operation,) = reconcile()

    assert operation.op_kind == OperationKind.RECONCILE_ADOPT
    assert record().current_container_id == restarted.container_id
    assert health_events() == ["container_started"]


def test_a_game_cleaned_up_after_the_backup_is_not_reported_as_disappeared(rig: Rig, backup: Backup) -> None:
    rig.start()
    rig.start("g2")
    restore = backup()
    rig.stop()
    rig.cleanup()
    rig.restart("g2")
    restore()

    reconcile()

    assert record().status == RuntimeStatus.REMOVED
    assert health_events() == ["container_started", "container_started"]


def test_a_game_stopped_after_the_backup_is_not_reported_as_exited(rig: Rig, backup: Backup) -> None:
    rig.start()
    rig.start("g2")
    restore = backup()
    rig.stop()
    rig.restart("g2")
    restore()

    reconcile()

    assert record().status == RuntimeStatus.STOPPED
    assert "container_exited" not in health_events()


def test_exits_and_losses_after_the_restore_are_reported(rig: Rig, backup: Backup) -> None:
    rig.start()
    ended, lost = rig.start("g2"), rig.start("g3")
    restore = backup()
    rig.restart()
    restore()
    reconcile()

    rig.engine.exit(ended.container_id, exit_code=3)
    rig.engine.remove_externally(lost.container_id)
    reconcile()

    assert sorted(health_events())[:2] == ["container_disappeared", "container_exited"]


def test_an_exit_between_the_restore_and_the_first_reconcile_is_reported(rig: Rig) -> None:
    started = rig.start()
    database_restore.declare([])
    rig.engine.exit(started.container_id, exit_code=3)

    reconcile()

    assert health_events() == ["container_started", "container_exited"]


def test_a_stop_before_the_first_reconcile_reports_no_loss(rig: Rig, backup: Backup) -> None:
    rig.start()
    restore = backup()
    rig.stop()
    rig.cleanup()
    restore()
    database_restore.declare([])

    assert rig.stop().outcome == Outcome.SUCCESS
    assert record().status == RuntimeStatus.REMOVED
    assert health_events() == ["container_started"]


def test_a_game_with_an_open_operation_keeps_the_restore_unsettled(rig: Rig) -> None:
    rig.start()
    database_restore.declare([])
    rig.ask_stop()

    survey.reconcile_all()
    assert database_restore.restored_at() is not None

    rig.do(Operation.objects.get(op_kind=OperationKind.STOP))
    survey.reconcile_all()
    assert database_restore.restored_at() is None


def test_a_reconcile_of_one_game_does_not_settle_a_restore(rig: Rig) -> None:
    rig.start()
    database_restore.declare([])

    survey.reconcile_games({"g1"})

    assert database_restore.restored_at() is not None


@pytest.mark.parametrize("label", ["999999999999999999", "²", "-1", "1" * 400, "12a"])
def test_a_fence_written_by_hand_proves_nothing(rig: Rig, label: str) -> None:
    started = rig.start()
    before = fetch("SELECT last_value FROM operations_fence_seq")
    rig.engine.containers[started.container_id].labels["com.galaxy.fence"] = label  # type: ignore[index]

    survey.survey()

    assert Installation.load().restored_at is None
    assert fetch("SELECT last_value FROM operations_fence_seq") == before


class TestCommand:
    def test_it_advances_the_numbers_and_lists_the_open_operations(self, rig: Rig) -> None:
        rig.start()
        waiting = rig.ask(OperationKind.PATCH, source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE)
        last = rig.start("g2")
        printed = StringIO()

        call_command("database_restored", stdout=printed)

        assert f"operation {waiting.pk}, patch of game g1" in printed.getvalue()
        assert rig.ask_start("g3", image_ref=IMAGE).pk >= last.pk + database_restore.OPERATION_ID_GAP
        assert database_restore.restored_at() is not None

    @pytest.mark.parametrize("name", ["relay", "worker:web1:7"])
    def test_it_refuses_while_a_loop_or_a_worker_is_running(self, name: str) -> None:
        heartbeats.record_heartbeat(name)

        with pytest.raises(CommandError, match=r"RTM is running: .*--force"):
            call_command("database_restored", stdout=StringIO())

        assert database_restore.restored_at() is None

    def test_it_runs_in_spite_of_fresh_heartbeats_with_force(self, rig: Rig) -> None:
        rig.start()
        heartbeats.record_heartbeat("relay")

        call_command("database_restored", "--force", stdout=StringIO())

        assert database_restore.restored_at() is not None

    def test_heartbeats_of_stopped_processes_do_not_stop_it(self, rig: Rig) -> None:
        rig.start()
        heartbeats.record_heartbeat("relay")
        Heartbeat.objects.update(seen_at=Now() - timedelta(seconds=61))

        call_command("database_restored", stdout=StringIO())

        assert database_restore.restored_at() is not None

    def test_it_works_without_docker(self, rig: Rig) -> None:
        rig.start()
        rig.engine.disconnect()
        complaints = StringIO()

        call_command("database_restored", stdout=StringIO(), stderr=complaints)

        assert "by the gap alone" in complaints.getvalue()
        assert database_restore.restored_at() is not None

    def test_old_messages_of_the_backup_are_not_published_again(self, rig: Rig) -> None:
        rig.start()
        OutboxEvent.objects.filter(topic=Topic.JOB_RESULTS).update(created_at=Now() - timedelta(days=8))

        call_command("database_restored", stdout=StringIO())

        unpublished = OutboxEvent.objects.filter(published_at__isnull=True).values_list("topic", flat=True)
        assert set(unpublished) == {Topic.HEALTH_EVENTS}
