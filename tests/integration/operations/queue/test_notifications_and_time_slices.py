"""A crowd of jobs for one game sends no crowd of messages, and leaves the others their turn."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from operations import runner
from operations.intake import OperationRequest, accept
from operations.models import Operation
from operations.queue import claims
from operations.states import OperationKind, OperationSource, OperationState
from runtimes.process import shutting_down
from tests.integration.harness import Rig, expire_lease
from tests.integration.notification_harness import (
    QueuedNotifier,
    follow_all_notifications,
    follow_one_notification,
    in_a_thread_with_its_own_connection,
    notified_games,
)

CROWD = 10_000

pytestmark = pytest.mark.usefixtures("queued_notifications")


def stops(game_id: str, count: int, *, batch: str = "") -> list[OperationRequest]:
    """Jobs that end at once and touch nothing: the game was never started."""
    return [
        OperationRequest(
            game_id=game_id,
            op_kind=OperationKind.STOP,
            op_source=OperationSource.LOBBY_STREAM,
            job_key=f"{game_id}:{batch}:{number}",
            arguments={"reason": "cancelled"},
        )
        for number in range(count)
    ]


def accept_in_batches(requests: Sequence[OperationRequest], *, size: int = 50) -> None:
    for first in range(0, len(requests), size):
        accept(requests[first : first + size])


def most_executions(node: dict[str, Any]) -> int:
    """How often PostgreSQL executed the node of the plan that it executed most often."""
    return max([int(node["Actual Loops"]), *(most_executions(child) for child in node.get("Plans", []))])


class TestHints:
    def test_a_batch_notifies_the_first_operation_of_each_game(self) -> None:
        first, *_rest = accept([*stops("crowd", 40), *stops("other", 2)])

        assert notified_games() == ["crowd", "other"]
        assert QueuedNotifier.queue[0] == first.pk

    def test_ten_thousand_jobs_of_one_game_are_one_notification(self) -> None:
        accept_in_batches(stops("crowd", CROWD))

        assert notified_games() == ["crowd"]

    def test_a_job_of_a_busy_game_is_not_notified(self) -> None:
        (running,) = accept(stops("g1", 1))
        assert claims.claim(running.pk, claimed_by="another") is not None
        QueuedNotifier.queue.clear()

        accept(stops("g1", 3, batch="later"))

        assert not QueuedNotifier.queue

    def test_jobs_read_again_after_a_lost_notification_are_notified(self) -> None:
        accept(stops("g1", 3))
        QueuedNotifier.queue.clear()

        accept(stops("g1", 3))

        assert notified_games() == ["g1"]

    def test_an_operation_that_waits_for_docker_is_not_notified_before_its_time(self, rig: Rig) -> None:
        rig.engine.disconnect()
        rig.ask_start()
        follow_all_notifications()

        rig.ask_stop()

        assert not QueuedNotifier.queue

    def test_what_is_on_record_is_accepted_even_if_the_database_is_gone_right_after(self) -> None:
        def gone_after_the_commit(execute: Any, statement: str, *rest: Any) -> Any:
            if statement.lstrip().startswith("SELECT id, op_kind"):
                message = "the connection was closed"
                raise DatabaseError(message)
            return execute(statement, *rest)

        with connection.execute_wrapper(gone_after_the_commit):
            (accepted,) = accept(stops("g1", 1))

        assert accepted.state == OperationState.ACCEPTED
        assert [found for found, _kind in claims.find_unattended(grace_seconds=0)] == [accepted.pk]


class TestTheRaceOfAHintWithTheEndOfARunner:
    """An operation accepted while another of its game runs gets no hint; the runner must find it, whenever it ends."""

    def test_no_job_is_left_lying_however_accepting_and_ending_meet(self) -> None:
        rounds, callers = 60, 3
        gate = threading.Barrier(callers + 1)

        def ask(caller: int) -> None:
            for number in range(rounds):
                gate.wait()
                accept(stops(f"g{number}", 1, batch=str(caller)))
            connection.close()

        threads = [threading.Thread(target=ask, args=[caller]) for caller in range(callers)]
        for thread in threads:
            thread.start()
        for number in range(rounds):
            accept(stops(f"g{number}", 1))
            # The worker comes to the end of this game while the callers accept: that is the race.
            gate.wait()
            follow_all_notifications()
        for thread in threads:
            thread.join()
        follow_all_notifications()

        # Without a sweep, the notifications alone completed every operation.
        assert Operation.objects.exclude(state=OperationState.FINISHED).count() == 0
        assert Operation.objects.count() == rounds * (callers + 1)

    def test_an_operation_committed_after_the_last_query_of_the_runner_is_notified(self) -> None:
        (first,) = accept(stops("g1", 1))
        QueuedNotifier.queue.clear()

        with transaction.atomic():
            (second,) = accept(stops("g1", 1, batch="late"))
            in_a_thread_with_its_own_connection(lambda: runner.run(first.pk)).join()
            assert not QueuedNotifier.queue

        assert list(QueuedNotifier.queue) == [second.pk]


class TestTurns:
    def test_a_game_with_ten_thousand_jobs_does_not_hold_up_another(self, rig: Rig) -> None:
        accept_in_batches(stops("crowd", CROWD))
        other = rig.ask_start("other")

        follow_one_notification()
        follow_one_notification()

        other.refresh_from_db()
        assert other.outcome == "success"
        assert (
            Operation.objects.filter(game_id="crowd", state=OperationState.FINISHED).count()
            == claims.TIME_SLICE_OPERATIONS
        )
        assert notified_games() == ["crowd"]

    @pytest.mark.usefixtures("rig")
    def test_statistics_from_before_the_queue_do_not_repeat_the_search_for_each_job(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE operations_operation")
            accept_in_batches(stops("crowd", 500))
            statement = claims._FIND_NEXT_OF_GAMES  # noqa: SLF001 - its plan is the subject
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", {"game_ids": ["crowd"]})
            (plan,) = cursor.fetchone()

        assert most_executions(plan[0]["Plan"]) == 1

    def test_games_with_many_jobs_share_the_workers(self) -> None:
        for game_id in ("a", "b", "c"):
            accept(stops(game_id, 2 * claims.TIME_SLICE_OPERATIONS))
        order = []
        while QueuedNotifier.queue:
            order += notified_games()[:1]
            follow_one_notification()

        assert order[:6] == ["a", "b", "c", "a", "b", "c"]
        assert not Operation.objects.exclude(state=OperationState.FINISHED).exists()

    def test_a_slow_operation_ends_the_time_slice(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(claims, "TIME_SLICE_SECONDS", 0.0)
        first, second = rig.ask_start(), rig.ask_stop()

        follow_one_notification()

        assert [Operation.objects.get(pk=one.pk).state for one in (first, second)] == ["finished", "accepted"]
        assert list(QueuedNotifier.queue) == [second.pk]

    def test_the_notification_after_a_time_slice_is_not_repeated_by_the_sweep(self) -> None:
        accept(stops("g1", claims.TIME_SLICE_OPERATIONS + 1))
        Operation.objects.update(notified_at=None)
        follow_one_notification()

        assert claims.find_unattended(grace_seconds=2.0) == []
        assert len(QueuedNotifier.queue) == 1

    def test_the_sweep_repeats_a_lost_notification_after_a_time_slice(self) -> None:
        *_done, last = accept(stops("g1", claims.TIME_SLICE_OPERATIONS + 1))
        follow_one_notification()
        QueuedNotifier.queue.clear()

        Operation.objects.filter(pk=last.pk).update(notified_at="2020-01-01T00:00Z")

        assert [found for found, _kind in claims.find_unattended(grace_seconds=2.0)] == [last.pk]

    def test_a_worker_that_shuts_down_notifies_others_of_the_rest(self) -> None:
        first, second = accept(stops("g1", 2))
        shutting_down.set()
        try:
            follow_one_notification()
        finally:
            shutting_down.clear()

        assert Operation.objects.get(pk=first.pk).state == OperationState.FINISHED
        assert list(QueuedNotifier.queue) == [second.pk]

    def test_order_within_a_game_survives_time_slices_and_dead_workers(self, rig: Rig) -> None:
        asked = accept(stops("g1", 3 * claims.TIME_SLICE_OPERATIONS))
        dead = claims.claim(asked[0].pk, claimed_by="killed")
        assert dead is not None
        expire_lease(dead.operation)

        follow_all_notifications()

        ended = Operation.objects.order_by("finished_at").values_list("pk", flat=True)
        assert list(ended) == [one.pk for one in asked]
        assert rig.engine.containers == {}
