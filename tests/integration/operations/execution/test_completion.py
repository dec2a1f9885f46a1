"""A completion is stored completely or not at all, and waits for other writers of the same rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from operations.execution import completion
from operations.execution.attempt import Result
from operations.messages import HealthEvent, HealthEventType
from operations.models import Operation, OutboxEvent
from operations.queue import claims
from operations.queue.claims import Claim, LeaseLostError
from operations.states import Outcome, Topic
from runtimes.exceptions import StaleRuntimeError
from runtimes.models import HealthSnapshot, Runtime
from runtimes.states import RuntimeStatus
from tests.integration.harness import Rig, published, results
from tests.integration.notification_harness import in_a_thread_with_its_own_connection
from tests.servers.waiting import wait_for

_PLACE = {"state_path": "/games/g1", "docker_network": "net", "engine_endpoint": "http://g1:8080"}


def held(operation: Operation) -> Claim:
    claim = claims.claim(operation.pk, claimed_by="worker")
    assert claim is not None
    return claim


def everything() -> tuple[object, ...]:
    return tuple(list(model.objects.values()) for model in (Operation, Runtime, HealthSnapshot, OutboxEvent))


def end_start(start: Claim, **changes: Any) -> None:
    now = timezone.now()
    up = {"current_container_id": "c1", "current_image_ref": "e:1.0.0", "started_at": now, **_PLACE, **changes}
    event = HealthEvent(HealthEventType.CONTAINER_STARTED, "c1", now, {"image_ref": "e:1.0.0"})
    result = Result(status=RuntimeStatus.RUNNING, changes=up, container_id="c1", health=(event,))
    steps = [{"name": "start", "started_at": "2026-11-21T00:00:00.000Z", "duration_ms": 3, "error": ""}]
    completion.succeed(start, result, runtime=None, steps=steps)


def end_stop(stop: Claim, runtime: Runtime) -> None:
    result = Result(status=RuntimeStatus.STOPPED, changes={"stopped_at": timezone.now()})
    completion.succeed(stop, result, runtime=runtime, steps=[])


def test_all_that_came_of_it_is_stored_as_it_was(rig: Rig) -> None:
    start = held(rig.ask_start())

    end_start(start, started_at=timezone.now().replace(microsecond=123_456))

    operation, runtime, health = Operation.objects.get(), Runtime.objects.get(), HealthSnapshot.objects.get()
    assert (operation.outcome, operation.container_id, operation.lease_until) == (Outcome.SUCCESS, "c1", None)
    assert [step["duration_ms"] for step in operation.steps] == [3]
    assert operation.finished_at is not None
    assert (runtime.status, runtime.fence, runtime.removed_at) == (RuntimeStatus.RUNNING, start.fence, None)
    assert runtime.started_at is not None
    assert runtime.started_at.microsecond == 123_456
    assert (health.pk, health.container_id, health.details) == ("g1", "c1", {"image_ref": "e:1.0.0"})
    assert [one["container_id"] for one in published(Topic.HEALTH_EVENTS)] == ["c1"]
    assert [one["container_id"] for one in results()] == ["c1"]


@pytest.mark.parametrize(
    "newer",
    [
        {"fence": F("fence") + 10**6},
        {"status": RuntimeStatus.REMOVED, "removed_at": Now(), "current_container_id": None},
    ],
    ids=["under a higher fence", "in another status"],
)
def test_a_newer_record_prevents_the_whole_completion(rig: Rig, newer: dict[str, Any]) -> None:
    rig.start()
    runtime = Runtime.objects.get()
    stop = held(rig.ask_stop())
    Runtime.objects.update(**newer)
    before = everything()

    with pytest.raises(StaleRuntimeError, match="no longer running"):
        end_stop(stop, runtime)

    assert everything() == before


def test_a_record_that_should_not_be_there_takes_the_whole_end_back(rig: Rig) -> None:
    start = held(rig.ask_start())
    now = timezone.now()
    Runtime.objects.create(
        game_id="g1",
        status=RuntimeStatus.STOPPED,
        current_container_id="other",
        last_op_at=now,
        created_at=now,
        **_PLACE,
    )
    before = everything()

    with pytest.raises(StaleRuntimeError, match="no longer missing"):
        end_start(start)

    assert everything() == before


def test_a_status_that_the_record_cannot_take_is_not_written(rig: Rig) -> None:
    rig.start()
    stop = held(rig.ask_stop())
    removed = Runtime.objects.get()
    removed.status = RuntimeStatus.REMOVED
    before = everything()

    with pytest.raises(StaleRuntimeError, match="cannot become stopped"):
        end_stop(stop, removed)

    assert everything() == before


@pytest.mark.parametrize(
    ("refused", "changes"),
    [
        (DataError, {"current_image_ref": "e\x00"}),
        (DataError, {"current_container_id": "c" * 65}),
        (IntegrityError, {"current_container_id": None}),
    ],
    ids=["no text", "too long", "against a constraint"],
)
def test_a_record_that_the_database_refuses_takes_the_whole_end_back(
    rig: Rig, refused: type[Exception], changes: dict[str, Any]
) -> None:
    start = held(rig.ask_start())
    before = everything()

    with pytest.raises(refused):
        end_start(start, **changes)

    assert everything() == before


@contextmanager
def _ending_meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Start the action in another thread after the block has written; it continues when that is committed."""
    raised: list[BaseException] = []

    def catching() -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the test below checks it
            raised.append(error)

    with transaction.atomic():
        yield
        thread = in_a_thread_with_its_own_connection(catching)
        wait_for(_a_session_waits, what="the completion to wait for us")
    thread.join(10)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def _a_session_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


def test_it_waits_for_the_lease_to_be_extended_by_the_keeper(rig: Rig) -> None:
    start = held(rig.ask_start())

    with _ending_meanwhile(lambda: end_start(start)):
        assert claims.renew_all([start]) == []

    operation = Operation.objects.get()
    assert (operation.state, operation.outcome, operation.lease_until) == ("finished", Outcome.SUCCESS, None)
    assert len(results()) == 1


def test_it_waits_for_another_who_takes_the_operation_over_and_then_writes_nothing(rig: Rig) -> None:
    start = held(rig.ask_start())

    with pytest.raises(LeaseLostError), _ending_meanwhile(lambda: end_start(start)):
        Operation.objects.update(fence=F("fence") + 1, lease_until=Now() + timedelta(seconds=60))

    assert (Operation.objects.get().state, Runtime.objects.count(), results()) == ("running", 0, [])


def test_it_waits_for_a_report_on_the_same_record(rig: Rig) -> None:
    rig.start()
    runtime = Runtime.objects.get()
    stop = held(rig.ask_stop())

    with _ending_meanwhile(lambda: end_stop(stop, runtime)):
        Runtime.objects.select_for_update(no_key=True).get()
        HealthSnapshot.objects.update(restart_count=7)

    assert Runtime.objects.get().status == RuntimeStatus.STOPPED
    assert HealthSnapshot.objects.get().restart_count == 7
    assert len(results()) == 2
