"""Containers that Docker cannot remove, and those whose removal takes long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from operations.reconcile import survey
from operations.states import OperationKind, Outcome
from runtimes.containers.base import ContainerState
from runtimes.states import RuntimeStatus
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, health_events, reconcile, record


class TestNotRemovable:
    """Docker cannot remove a container: 20.10 lists it as ``removing`` for ever, an inspection says ``dead``."""

    def test_it_is_recorded_as_ended_and_reported_once(self, rig: Rig) -> None:
        started = rig.start()
        rig.engine.block_removal(started.container_id)

        (operation,) = reconcile()

        assert (operation.op_kind, record().status) == (OperationKind.RECONCILE_EXIT, RuntimeStatus.STOPPED)
        assert reconcile() == []
        assert health_events() == ["container_started", "container_exited"]

    def test_a_removal_under_way_is_left_for_the_next_check(self, rig: Rig) -> None:
        self.removing(rig, rig.start().container_id, since=timedelta(seconds=5))

        assert survey.reconcile_games(["g1"]) == {"g1"}
        assert record().status == RuntimeStatus.RUNNING

    def test_but_not_for_ever(self, rig: Rig) -> None:
        self.removing(rig, rig.start().container_id, since=timedelta(minutes=2))

        (operation,) = reconcile()

        assert (operation.op_kind, record().status) == (OperationKind.RECONCILE_EXIT, RuntimeStatus.STOPPED)

    def test_one_that_is_gone_when_it_is_looked_into_is_gone(self, rig: Rig) -> None:
        started = rig.start()
        self.removing(rig, started.container_id, since=timedelta(seconds=5))

        def remove_externally() -> None:
            del rig.engine.containers[started.container_id]

        rig.engine.on_call("list_owned", remove_externally)

        (operation,) = reconcile()

        assert (operation.op_kind, record().status) == (OperationKind.RECONCILE_DISPOSE, RuntimeStatus.REMOVED)

    @pytest.mark.parametrize(
        "kind", [OperationKind.START, OperationKind.RESTART, OperationKind.PATCH, OperationKind.CLEANUP_CONTAINER]
    )
    def test_an_operation_that_must_remove_it_fails_and_says_so(self, rig: Rig, kind: OperationKind) -> None:
        rig.engine.block_removal(rig.start().container_id)
        reconcile()

        image_ref = OTHER_IMAGE if kind == OperationKind.PATCH else IMAGE
        operation = rig.do(rig.ask(kind, image_ref=image_ref))

        code = "internal_error" if kind == OperationKind.CLEANUP_CONTAINER else "container_start_failed"
        assert (operation.outcome, operation.error_code) == (Outcome.FAILURE, code)
        assert "Docker cannot remove container" in operation.error_message
        assert record().status == RuntimeStatus.STOPPED

    def test_a_restart_of_a_running_game_that_cannot_remove_its_container_leaves_it_stopped(self, rig: Rig) -> None:
        started = rig.start()
        rig.engine.unremovable.add(started.container_id)

        restarted = rig.restart()

        assert (restarted.outcome, restarted.error_code) == (Outcome.FAILURE, "container_start_failed")
        assert (record().status, record().current_container_id) == (RuntimeStatus.STOPPED, started.container_id)
        assert reconcile() == []
        assert health_events() == ["container_started"]

    def removing(self, rig: Rig, container_id: str, *, since: timedelta) -> None:
        """A container that Docker has been removing for so long."""
        rig.engine.exit(container_id, exit_code=137)
        ended = rig.engine.containers[container_id]
        assert ended.finished_at is not None
        rig.engine.containers[container_id] = replace(
            ended, state=ContainerState.REMOVING, finished_at=ended.finished_at - since
        )
