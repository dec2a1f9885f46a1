"""A game that ended before the database was restored: the restore is named, not a crash."""

from dataclasses import replace
from typing import Any

import pytest

from operations.explain.diagnosis import Cause, Diagnosis, Severity
from operations.explain.facts import Facts
from operations.explain.rules.order import diagnose
from runtimes.containers.base import Container
from tests.unit.operations.explain.game_facts import (
    NO_CONTAINER,
    NOW,
    UP,
    ago,
    docker_state_of,
    ended,
    operation,
    record,
)


def diagnosis_of(facts: Facts) -> Diagnosis:
    return diagnose(facts, now=NOW)


class TestRestoredDatabase:
    RESTORED = ago(minutes=3)

    def stopped_after_the_backup(self, **changes: Any) -> Facts:
        return replace(UP, docker_state=docker_state_of(ended(0)), restored_at=self.RESTORED, **changes)

    def test_a_game_that_ended_before_the_restore_names_the_restore(self) -> None:
        diagnosis = diagnosis_of(self.stopped_after_the_backup())

        assert (diagnosis.cause, diagnosis.severity) == (Cause.DATABASE_RESTORED, Severity.WARNING)
        assert "probably stopped by Runtime Manager" in diagnosis.headline
        assert "restored at 03:09:09 UTC (3 min ago)" in diagnosis.headline
        assert "exited with code 0 at 03:08:09 UTC" in diagnosis.detail
        assert diagnosis.step.verb == "restart"

    @pytest.mark.parametrize("own", [None, ended(0)])
    def test_it_is_still_named_after_the_repair_of_the_record(self, own: Container | None) -> None:
        repair = operation("reconcile_exit", 8, arguments={"restored_at": self.RESTORED.isoformat()})
        status = "stopped" if own else "removed"

        facts = replace(UP, docker_state=docker_state_of(own), record=record(status), last_change=repair)

        assert diagnosis_of(facts).cause == Cause.DATABASE_RESTORED
        assert f"probably {status} by" in diagnosis_of(facts).headline

    def test_a_container_that_was_removed_before_the_restore_names_the_restore(self) -> None:
        assert (
            diagnosis_of(replace(UP, docker_state=NO_CONTAINER, restored_at=self.RESTORED)).cause
            == Cause.DATABASE_RESTORED
        )

    def test_an_exit_after_the_restore_has_its_own_cause(self) -> None:
        facts = self.stopped_after_the_backup()

        assert diagnosis_of(replace(facts, restored_at=ago(minutes=5))).cause == Cause.EXITED_BY_ITSELF

    def test_a_game_that_was_requested_after_the_restore_has_its_own_cause(self) -> None:
        newer = operation(accepted_at=ago(minutes=1))

        facts = replace(UP, docker_state=NO_CONTAINER, restored_at=self.RESTORED, desired_by=newer)

        assert diagnosis_of(facts).cause == Cause.CONTAINER_DISAPPEARED
