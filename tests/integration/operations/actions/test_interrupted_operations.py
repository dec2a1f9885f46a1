"""An operation that loses Docker or its worker on the way is gone on from, and has one result: Docker in memory."""

import pytest

from operations import runner
from operations.models import Operation
from operations.states import OperationSource, OperationState, Outcome
from runtimes.containers.base import ContainersUnavailableError
from runtimes.models import Runtime
from runtimes.states import RuntimeStatus
from tests.conftest import RtmSettings
from tests.integration.harness import Rig, WorkerDiedError, end_backoff, expire_lease, health_events, record, results

AWAY = ContainersUnavailableError("Docker is away")


def die_at(operation: Operation) -> None:
    """A worker takes it up and is killed; then its lease ends."""
    with pytest.raises(WorkerDiedError):
        runner.run(operation.pk)
    expire_lease(operation)


class TestDockerAway:
    def test_a_job_waits_and_nothing_is_changed(self, rig: Rig) -> None:
        rig.engine.disconnect()

        operation = rig.start()

        assert (operation.state, operation.retries) == (OperationState.ACCEPTED, 1)
        assert results() == []
        assert not Runtime.objects.exists()

    def test_the_job_is_done_once_docker_is_back(self, rig: Rig) -> None:
        rig.engine.disconnect()
        operation = rig.start()
        rig.engine.reconnect()
        end_backoff(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert len(results()) == 1

    def test_waiting_is_no_failure_however_often(self, rig: Rig) -> None:
        rig.engine.disconnect()
        operation = rig.start()
        for _ in range(10):
            end_backoff(operation)
            rig.do(operation)

        assert (operation.state, operation.retries) == (OperationState.ACCEPTED, 11)

    def test_beyond_its_deadline_the_job_fails_with_one_result(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rtm_settings(job_deadline=rtm_settings().job_deadline * 0)
        rig.engine.disconnect()

        assert rig.start().error_code == "docker_unavailable"
        assert [one["error_code"] for one in results()] == ["docker_unavailable"]

    def test_a_rest_caller_gets_the_failure_at_once(self, rig: Rig) -> None:
        rig.engine.disconnect()

        assert rig.start(source=OperationSource.ADMIN_REST).error_code == "docker_unavailable"

    @pytest.mark.parametrize("call", ["create", "start", "find", "network_exists", "find_image", "wait_until_exited"])
    def test_a_call_whose_answer_got_lost_is_looked_up_and_gone_on_from(self, rig: Rig, call: str) -> None:
        rig.engine.fail_after(call, AWAY)
        operation = rig.start()
        end_backoff(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert len(rig.engine.containers) == 1
        # A container that was created but not started is created again: the start of the lost attempt may still arrive.
        assert rig.engine.calls["create"] == (2 if call == "create" else 1)
        assert len(results()) == 1

    def test_a_stop_whose_answer_got_lost_is_one_stop(self, rig: Rig) -> None:
        rig.start()
        rig.engine.fail_after("stop", AWAY)
        operation = rig.stop()
        end_backoff(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert record().status == RuntimeStatus.STOPPED
        assert rig.engine.calls["stop"] == 1


class TestDeadWorkers:
    @pytest.mark.parametrize("moment", ["fail_before", "fail_after"])
    @pytest.mark.parametrize("call", ["find_image", "create", "start", "wait_until_exited"])
    def test_the_next_worker_goes_on_from_what_it_sees(self, rig: Rig, call: str, moment: str) -> None:
        getattr(rig.engine, moment)(call, WorkerDiedError())
        operation = rig.ask_start()
        die_at(operation)

        assert rig.do(operation).outcome == Outcome.SUCCESS
        assert operation.attempt == 2
        assert len(rig.engine.containers) == 1
        assert rig.engine.calls["create"] <= 2
        assert len(results()) == 1
        assert health_events() == ["container_started"]

    def test_a_job_that_kills_every_worker_is_failed_in_the_end(self, rig: Rig) -> None:
        operation = rig.ask_start()
        for _ in range(runner.MAX_ATTEMPTS):
            rig.engine.fail_after("create", WorkerDiedError())
            die_at(operation)
            rig.engine.containers.clear()

        assert rig.do(operation).error_code == "internal_error"
        assert "3 attempts ended without a result" in operation.error_message
        assert len(results()) == 1

    def test_giving_up_takes_back_what_was_made(self, rig: Rig) -> None:
        operation = rig.ask_start()
        for _ in range(runner.MAX_ATTEMPTS):
            rig.engine.fail_before("start", WorkerDiedError())
            die_at(operation)

        assert rig.do(operation).error_code == "internal_error"
        assert rig.engine.containers == {}

    def test_a_defect_ends_in_one_honest_failure(self, rig: Rig) -> None:
        rig.engine.fail_before("find_image", ZeroDivisionError())

        operation = rig.start()

        assert (operation.outcome, operation.error_code) == (Outcome.FAILURE, "internal_error")
        assert len(results()) == 1
