"""What is counted in the database: in the transaction in which it happens, once, and for ever."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections, transaction

from operations import claims, dead_letters, outbox, tallies
from operations.models import DeadLetter, Operation, OutboxEvent, Tally, TallyEntry
from operations.outbox import Message
from operations.states import Topic
from runtimes.containers.fake import FakeImage
from tasks.tallying import count_periodic, count_probes
from tests.integration.rigs import Rig, end_backoff, expire_lease


def numbers(series: str) -> dict[str, int]:
    """Labels → how many."""
    return {",".join(labels): one.number for labels, one in tallies.read().of(series).items()}


def everything() -> dict[tuple[str, str], tuple[list[int], float]]:
    return {
        (series, ",".join(labels)): (one.places, round(one.seconds, 6))
        for series, counted in tallies.read().counted.items()
        for labels, one in counted.items()
    }


def test_every_end_of_an_operation_is_counted_by_kind_outcome_and_code(rig: Rig) -> None:
    rig.start()
    rig.start()
    rig.start("g2", image_ref="nobody/knows:1.0.0")
    rig.stop()

    assert numbers("operations_finished") == {
        "start,success,": 1,
        "start,success,replay_no_op": 1,
        "start,failure,image_pull_failed": 1,
        "stop,success,": 1,
    }


def test_how_long_an_operation_waited_ran_and_was_with_docker_is_counted_once(rig: Rig) -> None:
    done = rig.start()

    read = tallies.read()

    assert done.finished_at is not None
    assert done.started_at is not None
    waited, ran, in_docker = (
        read.of(name)["start",] for name in ("operation_wait", "operation_run", "operation_docker")
    )
    assert (waited.number, ran.number, in_docker.number) == (1, 1, 1)
    assert waited.seconds == pytest.approx((done.started_at - done.accepted_at).total_seconds())
    assert ran.seconds == pytest.approx((done.finished_at - done.started_at).total_seconds())
    own = {"settle", "prepare_state", "black_box"}
    told = sum(step["duration_ms"] for step in done.steps if step["name"] not in own)
    assert in_docker.seconds == pytest.approx(told / 1000)


def test_steps_that_make_no_sense_do_not_keep_an_operation_from_ending(rig: Rig) -> None:
    held = claims.claim(rig.ask_start().pk, claimed_by="test")
    assert held is not None
    Operation.objects.filter(pk=held.operation_id).update(steps=[{"duration_ms": "soon"}, 7, {"duration_ms": None}])

    Operation.objects.filter(pk=held.operation_id).update(
        state="finished", outcome="success", finished_at="2100-01-01T00:00:00Z"
    )

    assert numbers("operation_docker") == {"start": 1}


def test_what_is_rolled_back_is_not_counted(rig: Rig) -> None:
    held = claims.claim(rig.ask_start().pk, claimed_by="test")
    assert held is not None

    with transaction.atomic():
        claims.write(held, state="finished", outcome="success", finished_at="2100-01-01T00:00:00Z")
        transaction.set_rollback(True)

    assert numbers("operations_finished") == {}


def test_work_taken_over_and_work_put_off_is_counted(rig: Rig) -> None:
    operation = rig.ask_start()
    claims.claim(operation.pk, claimed_by="first")
    expire_lease(operation)
    rig.engine.go_away()
    rig.do(operation)
    rig.engine.come_back()
    end_backoff(operation)

    rig.do(operation)

    assert numbers("operations_taken_over") == {"start": 1}
    assert numbers("operations_deferred") == {"start": 1}
    assert numbers("operations_finished") == {"start,success,": 1}


def test_health_events_and_pulls_are_counted(rig: Rig) -> None:
    rig.engine.registry["far/engine:1.0.0"] = FakeImage()

    rig.start(image_ref="far/engine:1.0.0")
    rig.start("g2", image_ref="nobody/knows:1.0.0")

    assert numbers("health_events") == {"container_started": 1}
    assert numbers("image_pull") == {"success": 1, "failure": 1}


def test_an_event_is_counted_when_it_is_published_and_not_when_it_is_queued() -> None:
    outbox.queue([Message(Topic.JOB_RESULTS, f"k{number}", "g1", {}) for number in range(3)])
    queued = numbers("event_publication")

    outbox.mark_published({one.pk: "1-0" for one in OutboxEvent.objects.all()})

    assert (queued, numbers("event_publication")) == ({}, {"job_results": 3})


def test_dead_letters_and_their_second_lives_are_counted(rig: Rig) -> None:
    letter = DeadLetter(stream="runtime:start_jobs", entry_id="1-0", reason="", fields="{}")
    dead_letters.keep([letter])
    dead_letters.keep([DeadLetter(stream="runtime:start_jobs", entry_id="1-0", reason="", fields="{}")])
    waiting = tallies.read().letters_waiting

    dead_letters.mark_redriven(DeadLetter.objects.get(), rig.ask_start(), by="ada", note="")

    assert numbers("dead_letters") == numbers("dead_letters_redriven") == {"runtime:start_jobs": 1}
    assert (waiting, tallies.read().letters_waiting) == (1, 0)


def test_periodic_tasks_and_probes_are_counted_by_hand() -> None:
    count_periodic(task=SimpleNamespace(name="rtmanager.reconcile"), state="SUCCESS")
    count_periodic(task=SimpleNamespace(name="rtmanager.reconcile"), state="FAILURE")
    count_periodic(task=SimpleNamespace(name="rtmanager.start_runtime"), state="SUCCESS")
    count_probes([True, False, True])

    assert numbers("periodic_tasks") == {"reconcile,success": 1, "reconcile,failure": 1}
    assert numbers("probes") == {"success": 2, "failure": 1}


def test_to_sum_up_changes_no_figure(rig: Rig) -> None:
    rig.start()
    tallies.fold()
    rig.stop()
    before = everything()

    folded = tallies.fold()

    assert folded > 0
    assert everything() == before
    assert (TallyEntry.objects.count(), tallies.fold()) == (0, 0)


def test_many_who_sum_up_and_count_at_once_lose_nothing() -> None:
    def work(number: int) -> None:
        for _round in range(10):
            tallies.count("probes", f"of-{number % 2}")
            tallies.fold(limit=3)
        connections.close_all()

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(work, range(4)))
    tallies.fold()

    assert numbers("probes") == {"of-0": 20, "of-1": 20}
    assert Tally.objects.count() == 2


def test_the_places_of_the_database_are_those_of_the_code() -> None:
    limits = [*tallies.BOUNDS, 10_000.0]

    with connection.cursor() as cursor:
        cursor.execute("SELECT operations_tally_bucket(s - 0.001) FROM unnest(%s::float8[]) AS s ORDER BY s", [limits])
        places = [row[0] for row in cursor.fetchall()]

    assert places == list(range(len(tallies.BOUNDS) + 1))


def test_reading_the_figures_looks_through_no_table_that_grows(rig: Rig) -> None:
    rig.start()
    Operation.objects.bulk_create(
        Operation(game_id=f"g{n}", op_kind="start", op_source="lobby_stream", job_key=f"old:{n}", state="finished",
                  outcome="success", finished_at="2026-01-01T00:00:00Z") for n in range(3000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE operations_operation")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {tallies.MOMENT}")
        (plan,) = cursor.fetchone()

    assert "operations_operation" not in _read_whole(plan[0]["Plan"])


def _read_whole(node: dict[str, Any]) -> set[str]:
    own = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return own.union(*(_read_whole(child) for child in node.get("Plans", [])))
