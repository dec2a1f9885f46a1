"""A worker survives a database outage: its attempt is retried later, and does not count as a crash."""

import threading
from contextlib import suppress

import pytest
from django.db import DatabaseError, InterfaceError, connection

from operations import runner
from operations.models import Operation
from operations.queue import claims
from operations.queue.lease_renewer import lease_renewer
from operations.states import OperationState, Outcome
from tests.conftest import RtmSettings
from tests.integration.harness import Rig, end_backoff, expire_lease, results


def lose_database() -> None:
    """PostgreSQL ends the session of the caller."""
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def lose_it_in_the_middle(rig: Rig, operation: Operation) -> Operation:
    """Let an attempt end so; returns the operation as it is when the worker has done what it then does."""
    rig.engine.on_call("network_exists", lose_database)
    with pytest.raises((DatabaseError, InterfaceError)):
        runner.run(operation.pk)
    # As Celery does after each task.
    connection.close_if_unusable_or_obsolete()
    is_settled = threading.Event()
    lease_renewer.run_when_db_is_back(is_settled.set)
    assert is_settled.wait(timeout=30)
    operation.refresh_from_db()
    return operation


def test_the_claim_is_given_back_before_its_lease_is_over(rig: Rig) -> None:
    operation = lose_it_in_the_middle(rig, rig.ask_start())

    assert (operation.state, operation.lease_until, operation.retries) == (OperationState.ACCEPTED, None, 1)
    assert operation.not_before is not None
    assert "PostgreSQL" in operation.error_message


def test_however_often_it_happens_the_job_is_done_in_the_end(rig: Rig) -> None:
    operation = rig.ask_start()
    for _ in range(2 * runner.MAX_ATTEMPTS):
        lose_it_in_the_middle(rig, operation)
        end_backoff(operation)

    assert rig.do(operation).outcome == Outcome.SUCCESS
    assert operation.error_message == ""
    assert len(results()) == 1


def test_beyond_its_deadline_each_attempt_counts_and_the_job_fails_with_one_result(
    rig: Rig, rtm_settings: RtmSettings
) -> None:
    rtm_settings(job_deadline=rtm_settings().job_deadline * 0)
    operation = rig.ask_start()
    for _ in range(runner.MAX_ATTEMPTS):
        assert lose_it_in_the_middle(rig, operation).state == OperationState.RUNNING
        expire_lease(operation)

    assert rig.do(operation).error_code == "internal_error"
    assert [one["error_code"] for one in results()] == ["internal_error"]


def test_a_claim_that_another_worker_has_taken_over_is_not_requeued(rig: Rig) -> None:
    operation = rig.ask_start()

    def be_overtaken() -> None:
        expire_lease(operation)
        assert claims.claim(operation.pk, claimed_by="another") is not None

    rig.engine.on_call("network_exists", be_overtaken)
    lose_it_in_the_middle(rig, operation)

    assert (operation.state, operation.claimed_by, operation.retries) == (OperationState.RUNNING, "another", 0)
