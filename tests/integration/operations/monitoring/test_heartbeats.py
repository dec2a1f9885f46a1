"""Heartbeats in the database, and the stats derived from them."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from operations.models import Heartbeat, Operation, OutboxEvent
from operations.monitoring import component_status, heartbeats
from operations.monitoring.heartbeats import HeartbeatName
from operations.outbox import Message, queue
from operations.queue.claims import worker_name
from operations.reconcile.survey import reconcile_all, reconcile_games
from operations.states import OperationState, Topic
from rtmanager import __version__
from runtimes.containers.base import ContainersUnavailableError
from tasks.loops.leader_election import LeaderElection
from tasks.periodic import canary
from tests.integration.harness import Rig


def names() -> set[str]:
    return set(Heartbeat.objects.values_list("name", flat=True))


def make_older(name: str, *, seconds: float) -> None:
    Heartbeat.objects.filter(name=name).update(seen_at=Now() - timedelta(seconds=seconds))


def test_the_last_heartbeat_replaces_the_earlier_one_and_names_its_process(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    heartbeats.record_heartbeat("canary", round_trip_seconds=1.5)
    make_older("canary", seconds=60)

    with django_assert_num_queries(1):
        heartbeats.record_heartbeat("canary", round_trip_seconds=0.5)

    (only,) = Heartbeat.objects.all()
    assert only.process == worker_name()
    assert only.detail == {"round_trip_seconds": 0.5, "version": __version__, "stack": "default"}
    assert component_status.measure().heartbeats["canary"].age_seconds < 30


def test_a_leader_reports_a_heartbeat_after_a_pass() -> None:
    leadership = LeaderElection("test-pulse")
    leadership.hold()
    after_taking_it = names()

    leadership.hold()

    assert (after_taking_it, names()) == (set(), {"test-pulse"})


def test_a_leader_whose_passes_fail_reports_no_heartbeat() -> None:
    leadership = LeaderElection("test-pulse")
    for _failing_pass in range(3):
        assert leadership.hold()
        # What the runner does after a pass that failed.
        connection.close()

    assert names() == set()


def test_keeping_the_leadership_costs_one_query_with_and_without_a_heartbeat(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    leadership = LeaderElection("test-pulse")
    leadership.hold()

    with django_assert_num_queries(2):
        held = [leadership.hold(), leadership.hold()]

    assert held == [True, True]


def test_a_full_reconcile_reports_a_heartbeat(rig: Rig) -> None:
    del rig
    reconcile_all()

    assert names() == {HeartbeatName.FULL_RECONCILE}


def test_only_a_full_reconcile_of_the_watcher_reports_a_heartbeat(rig: Rig) -> None:
    del rig
    reconcile_games({"g1"})
    after_some = names()

    reconcile_games(None)

    assert (after_some, names()) == (set(), {HeartbeatName.FULL_RECONCILE})


def test_a_reconcile_without_docker_reports_no_heartbeat(rig: Rig) -> None:
    rig.engine.disconnect()
    reconcile_all()
    with pytest.raises(ContainersUnavailableError):
        reconcile_games(None)

    assert names() == set()


def release(**headers: Any) -> None:
    """Let a canary arrive that was sent with these headers."""
    canary.push_request(**headers)
    try:
        canary.run()
    finally:
        canary.pop_request()


def test_a_canary_reports_its_round_trip_time() -> None:
    release(sent_at=time.time() - 2.5)

    assert 2.5 <= component_status.measure().heartbeats[HeartbeatName.CANARY].detail["round_trip_seconds"] < 30


@pytest.mark.parametrize(
    ("headers", "round_trip"), [({"sent_at": 9e9}, 0.0), ({}, None)], ids=["a clock behind", "no time of sending"]
)
def test_a_canary_with_an_invalid_time_still_arrives(headers: Mapping[str, Any], round_trip: float | None) -> None:
    release(**headers)

    assert component_status.measure().heartbeats[HeartbeatName.CANARY].detail["round_trip_seconds"] == round_trip


def test_on_an_empty_database_nothing_waits() -> None:
    assert component_status.measure() == component_status.ServiceStats()


def test_open_operations_are_counted_and_the_oldest_is_named(rig: Rig) -> None:
    rig.start("done")
    oldest = rig.ask_start("g1")
    rig.ask_start("g2")
    Operation.objects.filter(pk=oldest.pk).update(accepted_at=Now() - timedelta(minutes=20))

    figures = component_status.measure()

    assert figures.open_by_state == {"accepted": 2}
    assert figures.runtimes_by_status == {"running": 1}
    assert figures.oldest_open is not None
    assert (figures.oldest_open.id, figures.oldest_open.game_id) == (oldest.pk, "g1")
    assert 1199 <= figures.oldest_open.age_seconds < 1260


def test_only_an_expired_lease_is_overdue(rig: Rig) -> None:
    held, lost = rig.ask_start("g1"), rig.ask_start("g2")
    for operation, seconds in ((held, 60), (lost, -90)):
        Operation.objects.filter(pk=operation.pk).update(
            state=OperationState.RUNNING, fence=1, started_at=Now(), lease_until=Now() + timedelta(seconds=seconds)
        )

    figures = component_status.measure()

    assert figures.open_by_state == {"running": 2}
    assert figures.overdue is not None
    assert figures.overdue.game_id == "g2"
    assert 89 <= figures.overdue.age_seconds < 120


def test_only_events_that_still_wait_count_in_the_outbox() -> None:
    queue([Message(Topic.JOB_RESULTS, key, "g1", {}) for key in ("published", "late", "new")])
    OutboxEvent.objects.filter(dedupe_key="published").update(
        created_at=Now() - timedelta(hours=9), published_at=Now(), stream_entry_id="1-0"
    )
    OutboxEvent.objects.filter(dedupe_key="late").update(created_at=Now() - timedelta(seconds=90))

    figures = component_status.measure()

    assert figures.unpublished == 2
    assert 89 <= figures.oldest_unpublished_seconds < 120


def test_the_stats_take_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        figures = component_status.measure()

    assert figures.unpublished == 0


def test_the_stats_query_uses_indexes_and_never_reads_the_history() -> None:
    with connection.cursor() as cursor:
        # The tables of a test are too small for an index to pay.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {component_status.STATS_SQL}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")

    assert {name for name in ("operation_open", "outbox_unpublished") if name in plan} == {
        "operation_open", "outbox_unpublished",
    }  # fmt: skip
    assert "Seq Scan on operations_operation" not in plan
    assert "Seq Scan on operations_outboxevent" not in plan
