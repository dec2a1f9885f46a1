"""A worker whose clock is wrong by hours: only database time decides."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from operations.models import Operation
from operations.queue import claims
from operations.queue.database import database_now
from operations.reconcile.survey import reconcile_all
from operations.states import OperationState, Outcome
from runtimes.models import Runtime
from tests.conftest import RtmSettings
from tests.integration.harness import Rig, end_backoff, expire_lease

Step = Callable[[timedelta], None]
A_MOMENT = timedelta(minutes=1)


@pytest.fixture
def step_clock(monkeypatch: pytest.MonkeyPatch) -> Step:
    """Set the clock of this Python process; the database keeps the right time."""
    now = time.time

    def step(by: timedelta) -> None:
        monkeypatch.setattr(time, "time", lambda: now() + by.total_seconds())
        monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(now() + by.total_seconds(), UTC))

    return step


@pytest.fixture(params=[-26, 26], ids=["behind", "ahead"])
def wrong_clock(request: pytest.FixtureRequest, step_clock: Step) -> None:
    """A clock that is wrong by more than a day."""
    step_clock(timedelta(hours=request.param))


@pytest.mark.usefixtures("wrong_clock")
class TestAWrongClock:
    def test_a_lease_lasts_exactly_its_time(self, rig: Rig) -> None:
        operation = rig.ask_start()
        assert claims.claim(operation.pk, claimed_by="first") is not None

        assert claims.claim(operation.pk, claimed_by="second") is None
        assert claims.find_unattended(grace_seconds=0) == []
        expire_lease(operation)
        assert claims.claim(operation.pk, claimed_by="second") is not None

    def test_a_back_off_lasts_its_time(self, rig: Rig) -> None:
        rig.engine.disconnect()
        operation = rig.start()
        rig.engine.reconnect()

        assert rig.do(operation).state == OperationState.ACCEPTED
        end_backoff(operation)
        assert rig.do(operation).outcome == Outcome.SUCCESS

    def test_a_new_job_is_not_overdue(self, rig: Rig) -> None:
        rig.engine.disconnect()

        assert rig.start().state == OperationState.ACCEPTED

    def test_an_old_job_is_overdue(self, rig: Rig, rtm_settings: RtmSettings) -> None:
        rig.engine.disconnect()
        operation = rig.ask_start()
        Operation.objects.update(accepted_at=F("accepted_at") - rtm_settings().job_deadline - A_MOMENT)

        assert rig.do(operation).error_code == "docker_unavailable"

    def test_records_have_the_time_of_the_database(self, rig: Rig) -> None:
        rig.start()
        rig.stop()

        record = Runtime.objects.get()
        written = [record.started_at, record.stopped_at, record.last_op_at, record.created_at]
        assert [at for at in written if at is None or abs(at - database_now()) > A_MOMENT] == []

    def test_the_leftover_of_a_failed_operation_is_still_recognised(self, rig: Rig) -> None:
        rig.start()
        Operation.objects.update(outcome=Outcome.FAILURE, error_code="internal_error")
        Runtime.objects.all().delete()

        assert reconcile_all() == 1

        (asked,) = Operation.objects.filter(state=OperationState.ACCEPTED)
        assert asked.arguments["is_leftover"]
