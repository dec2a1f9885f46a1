"""Which health observations are stored and which are dropped, with a real database and the fake Docker."""

from datetime import UTC, datetime
from typing import Any

import pytest

from operations.health.reports import Report, report, report_all, report_oom
from operations.messages import HealthEvent, HealthEventType
from operations.models import OutboxEvent
from operations.states import Topic
from runtimes.models import HealthSnapshot
from tests.integration.harness import Rig, health_events, published

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def probe_failed(container_id: str, *, exit_key: str = "1") -> HealthEvent:
    details = {"consecutive_failures": 3, "last_status": 503, "last_error": "answered 503"}
    return HealthEvent(HealthEventType.PROBE_FAILED, container_id, NOW, details, exit_key)


def failing(game_id: str, container_id: str, **more: Any) -> Report:
    return Report(
        game_id=game_id,
        container_id=container_id,
        observed={"probe_failures": 3},
        expected={"probe_failures": 0},
        event=probe_failed(container_id),
        **more,
    )


def test_the_snapshot_and_the_event_are_written_together(rig: Rig) -> None:
    container_id = rig.start().container_id

    assert report("g1", probe_failed(container_id))

    snapshot = HealthSnapshot.objects.get()
    assert (snapshot.event_type, snapshot.container_id, snapshot.occurred_at) == ("probe_failed", container_id, NOW)
    assert snapshot.details["last_status"] == 503
    assert published(Topic.HEALTH_EVENTS)[-1] == {
        "game_id": "g1",
        "container_id": container_id,
        "event_type": "probe_failed",
        "occurred_at_ms": "1767323045000",
        "details": '{"consecutive_failures":3,"last_error":"answered 503","last_status":503}',
    }


def test_a_game_without_a_record_is_not_reported(rig: Rig) -> None:
    del rig

    assert not report("unknown", probe_failed("c"))

    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("what", ["stopped", "another container"])
def test_a_container_that_is_not_running_on_record_is_not_reported(rig: Rig, what: str) -> None:
    container_id = rig.start().container_id
    if what == "stopped":
        rig.stop()
    else:
        rig.restart()

    assert not report("g1", probe_failed(container_id))

    assert "probe_failed" not in health_events()


def test_observations_during_an_operation_are_dropped(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.ask_stop()

    assert not report("g1", probe_failed(container_id))


def test_an_oom_kill_during_an_operation_is_reported(rig: Rig) -> None:
    container_id = rig.start().container_id
    rig.ask_stop()

    assert report_oom("g1", container_id, at_ns=10**18)


def test_each_occurrence_is_one_event(rig: Rig) -> None:
    container_id = rig.start().container_id

    for exit_key in ("1", "1", "2"):
        report("g1", probe_failed(container_id, exit_key=exit_key))

    assert health_events() == ["container_started", "probe_failed", "probe_failed"]


def test_repeated_oom_kills_of_one_container_are_reported_once_a_minute(rig: Rig) -> None:
    container_id = rig.start().container_id
    minute_ns = 60 * 10**9

    for at_ns in (0, 10**9, minute_ns - 1, minute_ns, minute_ns + 1):
        report_oom("g1", container_id, at_ns=10**4 * minute_ns + at_ns)

    assert health_events() == ["container_started", "container_oom", "container_oom"]
    assert published(Topic.HEALTH_EVENTS)[-1]["details"] == '{"exit_code":0}'


def test_the_report_of_the_slower_of_two_observers_is_dropped(rig: Rig) -> None:
    container_id = rig.start().container_id

    first, second = report_all([failing("g1", container_id)])[0], report_all([failing("g1", container_id)])[0]

    assert (first, second) == (True, False)
    assert health_events() == ["container_started", "probe_failed"]


def test_reports_of_one_batch_are_independent(rig: Rig) -> None:
    started = {f"g{number}": rig.start(f"g{number}").container_id for number in range(5)}
    rig.stop("g2")

    counted = report_all(failing(game_id, container_id) for game_id, container_id in started.items())

    assert counted == [True, True, False, True, True]
    assert health_events().count("probe_failed") == 4
    assert HealthSnapshot.objects.filter(probe_failures=3).count() == 4


def test_the_snapshot_of_a_new_container_starts_empty(rig: Rig) -> None:
    report_all([failing("g1", rig.start().container_id)])

    rig.restart()

    snapshot = HealthSnapshot.objects.get()
    assert (snapshot.event_type, snapshot.probe_failures) == ("container_started", 0)
