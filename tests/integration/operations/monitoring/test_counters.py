"""Counters in the database: each event is counted once, in its own transaction."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models.functions import Now

from operations import outbox
from operations.dead_letters import store
from operations.models import CounterIncrement, DeadLetter, MetricCounter, Operation, OutboxEvent
from operations.monitoring import counters
from operations.outbox import Message
from operations.queue import claims
from operations.states import Topic
from runtimes.containers.fake.adapter import FakeImage
from tasks.worker.task_counters import count_periodic, count_probes
from tests.integration.harness import Rig, end_backoff, expire_lease


def numbers(series: str) -> dict[str, int]:
    """Labels → how many."""
    return {",".join(labels): one.number for labels, one in counters.read().of(series).items()}


def everything() -> dict[tuple[str, str], tuple[list[int], float]]:
    return {
        (series, ",".join(labels)): (one.buckets, round(one.seconds, 6))
        for series, counted in counters.read().counted.items()
        for labels, one in counted.items()
    }


def test_every_finished_operation_is_counted_by_kind_outcome_and_code(rig: Rig) -> None:
    rig.start()
    rig.start()
    rig.start("g2", image_ref="unknown/image:1.0.0")
    rig.stop()

    assert numbers("operations_finished") == {
        "start,success,": 1,
        "start,success,replay_no_op": 1,
        "start,failure,image_pull_failed": 1,
        "stop,success,": 1,
    }


def test_wait_run_and_docker_time_of_an_operation_are_counted_once(rig: Rig) -> None:
    done = rig.start()

    read = counters.read()

    assert done.finished_at is not None
    assert done.started_at is not None
    waited, ran, in_docker = (
        read.of(name)["start",] for name in ("operation_wait", "operation_run", "operation_docker")
    )
    assert (waited.number, ran.number, in_docker.number) == (1, 1, 1)
    assert waited.seconds == pytest.approx((done.started_at - done.accepted_at).total_seconds())
    assert ran.seconds == pytest.approx((done.finished_at - done.started_at).total_seconds())
    own = {"settle", "prepare_state", "exit_report"}
    total = sum(step["duration_ms"] for step in done.steps if step["name"] not in own)
    assert in_docker.seconds == pytest.approx(total / 1000)


def test_invalid_steps_do_not_stop_an_operation_from_finishing(rig: Rig) -> None:
    held = claims.claim(rig.ask_start().pk, claimed_by="test")
    assert held is not None
    Operation.objects.filter(pk=held.operation_id).update(steps=[{"duration_ms": "soon"}, 7, {"duration_ms": None}])

    Operation.objects.filter(pk=held.operation_id).update(
        state="finished", outcome="success", finished_at="2100-01-01T00:00:00Z"
    )

    assert numbers("operation_docker") == {"start": 1}


def test_a_rolled_back_event_is_not_counted(rig: Rig) -> None:
    held = claims.claim(rig.ask_start().pk, claimed_by="test")
    assert held is not None

    with transaction.atomic():
        claims.write(held, state="finished", outcome="success", finished_at="2100-01-01T00:00:00Z")
        transaction.set_rollback(True)

    assert numbers("operations_finished") == {}


def test_takeovers_and_retries_are_counted(rig: Rig) -> None:
    operation = rig.ask_start()
    claims.claim(operation.pk, claimed_by="first")
    expire_lease(operation)
    rig.engine.disconnect()
    rig.do(operation)
    rig.engine.reconnect()
    end_backoff(operation)

    rig.do(operation)

    assert numbers("operations_taken_over") == {"start": 1}
    assert numbers("operations_deferred") == {"start": 1}
    assert numbers("operations_finished") == {"start,success,": 1}


def test_health_events_and_pulls_are_counted(rig: Rig) -> None:
    rig.engine.registry["far/engine:1.0.0"] = FakeImage()

    rig.start(image_ref="far/engine:1.0.0")
    rig.start("g2", image_ref="unknown/image:1.0.0")

    assert numbers("health_events") == {"container_started": 1}
    assert numbers("image_pull") == {"success": 1, "failure": 1}


def test_an_event_is_counted_when_it_is_published_not_when_it_is_queued() -> None:
    outbox.queue([Message(Topic.JOB_RESULTS, f"k{number}", "g1", {}) for number in range(3)])
    queued = numbers("event_publication")

    outbox.mark_published({one.pk: "1-0" for one in OutboxEvent.objects.all()})

    assert (queued, numbers("event_publication")) == ({}, {"job_results": 3})


def test_dead_letters_and_redrives_are_counted(rig: Rig) -> None:
    dead_letter = DeadLetter(stream="runtime:start_jobs", entry_id="1-0", reason="", fields="{}")
    store.keep([dead_letter])
    store.keep([DeadLetter(stream="runtime:start_jobs", entry_id="1-0", reason="", fields="{}")])
    waiting = counters.read().dead_letters_waiting

    DeadLetter.objects.update(redriven_at=Now(), redriven_by="ada", redriven_as=rig.ask_start())

    assert numbers("dead_letters") == numbers("dead_letters_redriven") == {"runtime:start_jobs": 1}
    assert (waiting, counters.read().dead_letters_waiting) == (1, 0)


def test_periodic_tasks_and_probes_are_counted_by_the_code() -> None:
    count_periodic(task=SimpleNamespace(name="rtmanager.reconcile"), state="SUCCESS")
    count_periodic(task=SimpleNamespace(name="rtmanager.reconcile"), state="FAILURE")
    count_periodic(task=SimpleNamespace(name="rtmanager.start_runtime"), state="SUCCESS")
    count_probes([True, False, True])

    assert numbers("periodic_tasks") == {"reconcile,success": 1, "reconcile,failure": 1}
    assert numbers("probes") == {"success": 2, "failure": 1}


def test_a_roll_up_does_not_change_the_totals(rig: Rig) -> None:
    rig.start()
    counters.roll_up()
    rig.stop()
    before = everything()

    folded = counters.roll_up()

    assert folded > 0
    assert everything() == before
    assert (CounterIncrement.objects.count(), counters.roll_up()) == (0, 0)


def test_concurrent_counts_and_roll_ups_lose_nothing() -> None:
    def work(number: int) -> None:
        for _round in range(10):
            counters.count("probes", f"of-{number % 2}")
            counters.roll_up(limit=3)
        connections.close_all()

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(work, range(4)))
    counters.roll_up()

    assert numbers("probes") == {"of-0": 20, "of-1": 20}
    assert MetricCounter.objects.count() == 2


def test_the_buckets_of_the_database_are_those_of_the_code() -> None:
    limits = [*counters.BOUNDS, 10_000.0]

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT operations_counter_bucket(s - 0.001) FROM unnest(%s::float8[]) AS s ORDER BY s", [limits]
        )
        places = [row[0] for row in cursor.fetchall()]

    assert places == list(range(len(counters.BOUNDS) + 1))


def test_reading_the_totals_scans_no_growing_table(rig: Rig) -> None:
    rig.start()
    Operation.objects.bulk_create(
        Operation(game_id=f"g{n}", op_kind="start", op_source="lobby_stream", job_key=f"old:{n}", state="finished",
                  outcome="success", finished_at="2026-01-01T00:00:00Z") for n in range(3000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE operations_operation")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {counters.GAUGES_SQL}")
        (plan,) = cursor.fetchone()

    assert "operations_operation" not in _read_whole(plan[0]["Plan"])


def _read_whole(node: dict[str, Any]) -> set[str]:
    own = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return own.union(*(_read_whole(child) for child in node.get("Plans", [])))
