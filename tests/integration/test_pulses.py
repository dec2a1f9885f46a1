"""Signs of life in the database, and what is measured from them."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from operations import pulses, vitals
from operations.models import Operation, OutboxEvent, Pulse
from operations.outbox import Message, queue
from operations.pulses import PulseName
from operations.reconciler import reconcile_all, reconcile_games
from operations.runner import worker_name
from operations.states import OpState, Topic
from runtimes.containers.base import ContainersUnavailableError
from tasks.canary import canary
from tasks.leadership import Leadership
from tests.integration.rigs import Rig


def names() -> set[str]:
    return set(Pulse.objects.values_list("name", flat=True))


def make_older(name: str, *, seconds: float) -> None:
    Pulse.objects.filter(name=name).update(beat_at=Now() - timedelta(seconds=seconds))


def test_the_last_beat_counts_and_says_whose_it_was(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    pulses.beat("canary", round_trip_seconds=1.5)
    make_older("canary", seconds=60)

    with django_assert_num_queries(1):
        pulses.beat("canary", round_trip_seconds=0.5)

    (only,) = Pulse.objects.all()
    assert (only.who, only.detail) == (worker_name(), {"round_trip_seconds": 0.5})
    assert vitals.measure().pulses["canary"].age_seconds < 30


def test_a_leader_leaves_a_pulse_when_it_leads_on_after_a_pass() -> None:
    leadership = Leadership("test-pulse")
    leadership.hold()
    after_taking_it = names()

    leadership.hold()

    assert (after_taking_it, names()) == (set(), {"test-pulse"})


def test_a_leader_whose_passes_fail_leaves_none() -> None:
    leadership = Leadership("test-pulse")
    for _failing_pass in range(3):
        assert leadership.hold()
        # What the runner does after a pass that failed.
        connection.close()

    assert names() == set()


def test_keeping_the_leadership_costs_one_query_with_a_pulse_and_without(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    leadership = Leadership("test-pulse")
    leadership.hold()

    with django_assert_num_queries(2):
        held = [leadership.hold(), leadership.hold()]

    assert held == [True, True]


def test_a_look_at_all_games_leaves_a_pulse(rig: Rig) -> None:
    del rig
    reconcile_all()

    assert names() == {PulseName.RELIST}


def test_the_watchers_look_at_all_games_leaves_one_too_but_not_one_at_some(rig: Rig) -> None:
    del rig
    reconcile_games({"g1"})
    after_some = names()

    reconcile_games(None)

    assert (after_some, names()) == (set(), {PulseName.RELIST})


def test_while_docker_is_away_no_look_is_told_of(rig: Rig) -> None:
    rig.engine.go_away()
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


def test_a_canary_tells_how_long_it_was_under_way() -> None:
    release(sent_at=time.time() - 2.5)

    assert 2.5 <= vitals.measure().pulses[PulseName.CANARY].detail["round_trip_seconds"] < 30


@pytest.mark.parametrize(
    ("headers", "told"), [({"sent_at": 9e9}, 0.0), ({}, None)], ids=["a clock behind", "no time of sending"]
)
def test_a_canary_whose_time_makes_no_sense_arrives_all_the_same(
    headers: Mapping[str, Any], told: float | None
) -> None:
    release(**headers)

    assert vitals.measure().pulses[PulseName.CANARY].detail == {"round_trip_seconds": told}


def test_on_an_empty_database_nothing_waits() -> None:
    assert vitals.measure() == vitals.Figures()


def test_open_operations_are_counted_and_the_oldest_is_named(rig: Rig) -> None:
    rig.start("done")
    oldest = rig.ask_start("g1")
    rig.ask_start("g2")
    Operation.objects.filter(pk=oldest.pk).update(accepted_at=Now() - timedelta(minutes=20))

    figures = vitals.measure()

    assert figures.open_by_state == {"accepted": 2}
    assert figures.runtimes_by_status == {"running": 1}
    assert figures.oldest_open is not None
    assert (figures.oldest_open.id, figures.oldest_open.game_id) == (oldest.pk, "g1")
    assert 1199 <= figures.oldest_open.age_seconds < 1260


def test_only_an_expired_lease_is_overdue(rig: Rig) -> None:
    held, lost = rig.ask_start("g1"), rig.ask_start("g2")
    for operation, seconds in ((held, 60), (lost, -90)):
        Operation.objects.filter(pk=operation.pk).update(
            state=OpState.RUNNING, fence=1, started_at=Now(), lease_until=Now() + timedelta(seconds=seconds)
        )

    figures = vitals.measure()

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

    figures = vitals.measure()

    assert figures.unpublished == 2
    assert 89 <= figures.oldest_unpublished_seconds < 120


def test_measuring_takes_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        figures = vitals.measure()

    assert figures.unpublished == 0


def test_measuring_finds_what_is_open_by_index_and_never_reads_the_history() -> None:
    with connection.cursor() as cursor:
        # The tables of a test are too small for an index to pay.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {vitals.MEASURE}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")

    assert {name for name in ("operation_open", "outbox_unpublished") if name in plan} == {
        "operation_open", "outbox_unpublished",
    }  # fmt: skip
    assert "Seq Scan on operations_operation" not in plan
    assert "Seq Scan on operations_outboxevent" not in plan
