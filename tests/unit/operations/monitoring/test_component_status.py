"""The status of each component, derived from figures alone."""

from dataclasses import replace

import pytest

from operations.monitoring.component_status import (
    OK,
    STARTING,
    ComponentState,
    ComponentStatus,
    ComponentStatuses,
    HeartbeatStatus,
    Limits,
    OldestOperation,
    ServiceStats,
    StreamBacklog,
    evaluate,
)
from operations.monitoring.heartbeats import LOOPS, HeartbeatName

LIMITS = Limits(full_reconcile=600)
LONG_UPTIME = 3600.0
HEARTBEATS = (*LOOPS, HeartbeatName.CANARY, HeartbeatName.FULL_RECONCILE)
HEALTHY = ServiceStats(heartbeats={name: HeartbeatStatus(1.0) for name in HEARTBEATS})
EMPTY_STREAMS = {"runtime:start_jobs": StreamBacklog(0, 0, 0.0)}
TOO_OLD = {name: LIMITS.limit_for(name) + 1 for name in HEARTBEATS}


def statuses(stats: ServiceStats | None = HEALTHY, *, uptime: float = LONG_UPTIME) -> ComponentStatuses:
    return evaluate(stats, EMPTY_STREAMS, limits=LIMITS, uptime_seconds=uptime)


def problems(components: ComponentStatuses) -> dict[str, str]:
    return {name: str(status) for name, status in components.items() if status != OK}


def with_old_heartbeat(name: HeartbeatName) -> ServiceStats:
    return replace(HEALTHY, heartbeats={**HEALTHY.heartbeats, name: HeartbeatStatus(TOO_OLD[name])})


def oldest_operation(age_seconds: float) -> OldestOperation:
    return OldestOperation(id=7, game_id="g-42", op_kind="start", age_seconds=age_seconds)


def test_every_component_of_a_healthy_service_is_ok() -> None:
    assert problems(statuses()) == {}


@pytest.mark.parametrize("name", HEARTBEATS)
def test_only_the_component_with_an_old_heartbeat_fails(name: HeartbeatName) -> None:
    components = statuses(with_old_heartbeat(name))

    assert list(problems(components)) == [name]
    assert components[name].state == ComponentState.FAILED
    assert components[name].message.startswith("not for ")


@pytest.mark.parametrize("name", HEARTBEATS)
def test_a_heartbeat_exactly_at_its_limit_is_ok(name: HeartbeatName) -> None:
    at_the_limit = replace(HEALTHY, heartbeats={**HEALTHY.heartbeats, name: HeartbeatStatus(LIMITS.limit_for(name))})

    assert problems(statuses(at_the_limit)) == {}


def test_a_heartbeat_that_never_came_fails_after_its_limit() -> None:
    components = statuses(ServiceStats())

    failed = {name for name, status in components.items() if status.state == ComponentState.FAILED}
    assert failed == set(HEARTBEATS)
    assert all(components[name].message.startswith("never: ") for name in failed)


@pytest.mark.parametrize(
    "stats", [ServiceStats(), with_old_heartbeat(HeartbeatName.CANARY)], ids=["never", "before it was stopped"]
)
def test_a_missing_heartbeat_right_after_the_start_is_no_failure(stats: ServiceStats) -> None:
    assert statuses(stats, uptime=LIMITS.canary)["canary"] == STARTING
    assert statuses(stats, uptime=LIMITS.canary + 1)["canary"] != STARTING


def test_the_oldest_open_operation_is_named_with_its_game() -> None:
    components = statuses(replace(HEALTHY, oldest_open=oldest_operation(1200)))

    assert problems(components) == {
        "operations": "operation 7 (start of game g-42) has been open for 20 min. Check its steps"
    }


def test_an_operation_without_a_worker_is_named() -> None:
    components = statuses(replace(HEALTHY, overdue=oldest_operation(61)))

    assert problems(components) == {
        "leases": "operation 7 (start of game g-42) has had no worker for 61 s. Check that a worker and bridge_jobs run"
    }


def test_operations_and_leases_within_their_limits_are_ok() -> None:
    stats = replace(HEALTHY, oldest_open=oldest_operation(900), overdue=oldest_operation(60))

    assert problems(statuses(stats)) == {}


def test_the_outbox_fails_only_if_its_oldest_event_waits_too_long() -> None:
    late = replace(HEALTHY, unpublished=3, oldest_unpublished_seconds=31.0)
    many_fresh = replace(late, unpublished=5000, oldest_unpublished_seconds=29.0)

    assert str(statuses(late)["outbox"]).startswith("3 events wait to be published, the oldest for 31 s")
    assert statuses(many_fresh)["outbox"] == OK


def test_waiting_jobs_are_reported_by_stream() -> None:
    backlogs = {"starts": StreamBacklog(2, 1, 45.0), "stops": StreamBacklog(9, 0, 1.0)}

    components = evaluate(HEALTHY, backlogs, limits=LIMITS, uptime_seconds=LONG_UPTIME)

    assert problems(components) == {
        "streams": "jobs wait on the streams (starts: 3 jobs, the oldest for 45 s). Check bridge_jobs"
    }


def test_without_redis_only_the_streams_are_unknown() -> None:
    components = evaluate(HEALTHY, None, limits=LIMITS, uptime_seconds=LONG_UPTIME)

    assert components["streams"].state == ComponentState.UNKNOWN
    assert problems(components) == {"streams": "unknown: no figures from Redis"}


def test_without_the_database_all_but_the_streams_is_unknown() -> None:
    components = statuses(None)

    assert components["streams"] == OK
    assert {str(status) for name, status in components.items() if name != "streams"} == {
        "unknown: no figures from PostgreSQL"
    }
    assert components.keys() == statuses().keys()


@pytest.mark.parametrize(
    ("heartbeat", "expected"),
    [
        (HeartbeatStatus(5.0, {"slots": 4, "busy": 0, "state_root": ""}), OK),
        (HeartbeatStatus(5.0, {"slots": 4, "busy": 0}), OK),
        (
            HeartbeatStatus(5.0, {"state_root": "no marker file"}),
            ComponentStatus(ComponentState.FAILED, "worker web1:7 starts no game: no marker file"),
        ),
        (HeartbeatStatus(LIMITS.worker + 1, {"state_root": "no marker file"}), OK),
    ],
    ids=["usable", "of an earlier version", "refused", "refused by a worker that is gone"],
)
def test_the_state_root_fails_if_a_running_worker_refuses_it(
    heartbeat: HeartbeatStatus, expected: ComponentStatus
) -> None:
    components = statuses(replace(HEALTHY, heartbeats={**HEALTHY.heartbeats, "worker:web1:7": heartbeat}))

    assert components["state_root"] == expected
