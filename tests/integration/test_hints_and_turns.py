"""A crowd of jobs for one game sends no crowd of messages, and leaves the others their turn."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from operations import claims, runner
from operations.intake import OperationRequest, accept
from operations.models import Operation
from operations.states import OpKind, OpSource, OpState
from tests.integration.hint_rigs import (
    QueuedHints,
    follow_all_hints,
    follow_one_hint,
    games_hinted,
    on_a_connection_of_its_own,
)
from tests.integration.rigs import Rig, expire_lease

CROWD = 10_000

pytestmark = pytest.mark.usefixtures("queued_hints")


def stops(game_id: str, count: int, *, batch: str = "") -> list[OperationRequest]:
    """Jobs that end at once and touch nothing: the game was never started."""
    return [
        OperationRequest(
            game_id=game_id,
            op_kind=OpKind.STOP,
            op_source=OpSource.LOBBY_STREAM,
            job_key=f"{game_id}:{batch}:{number}",
            arguments={"reason": "cancelled"},
        )
        for number in range(count)
    ]


def accept_in_batches(requests: Sequence[OperationRequest], *, size: int = 50) -> None:
    for first in range(0, len(requests), size):
        accept(requests[first : first + size])


class TestHints:
    def test_a_batch_hints_the_first_operation_of_each_of_its_games(self) -> None:
        first, *_rest = accept([*stops("crowd", 40), *stops("other", 2)])

        assert games_hinted() == ["crowd", "other"]
        assert QueuedHints.queue[0] == first.pk

    def test_ten_thousand_jobs_of_one_game_are_one_hint(self) -> None:
        accept_in_batches(stops("crowd", CROWD))

        assert games_hinted() == ["crowd"]

    def test_a_job_of_a_game_that_is_busy_is_no_hint(self) -> None:
        (running,) = accept(stops("g1", 1))
        assert claims.claim(running.pk, claimed_by="somebody") is not None
        QueuedHints.queue.clear()

        accept(stops("g1", 3, batch="later"))

        assert not QueuedHints.queue

    def test_jobs_read_a_second_time_after_their_hint_was_lost_are_hinted(self) -> None:
        accept(stops("g1", 3))
        QueuedHints.queue.clear()

        accept(stops("g1", 3))

        assert games_hinted() == ["g1"]

    def test_an_operation_that_waits_for_docker_is_not_hinted_before_its_time(self, rig: Rig) -> None:
        rig.engine.go_away()
        rig.ask_start()
        follow_all_hints()

        rig.ask_stop()

        assert not QueuedHints.queue

    def test_what_is_on_record_is_accepted_even_if_the_database_is_gone_right_after(self) -> None:
        def gone_after_the_commit(execute: Any, statement: str, *rest: Any) -> Any:
            if statement.lstrip().startswith("SELECT id, op_kind"):
                message = "the connection was closed"
                raise DatabaseError(message)
            return execute(statement, *rest)

        with connection.execute_wrapper(gone_after_the_commit):
            (accepted,) = accept(stops("g1", 1))

        assert accepted.state == OpState.ACCEPTED
        assert [found for found, _kind in claims.sweep(patience_seconds=0)] == [accepted.pk]


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
            follow_all_hints()
        for thread in threads:
            thread.join()
        follow_all_hints()

        # Nobody has swept: the hints alone brought every one to its end.
        assert Operation.objects.exclude(state=OpState.FINISHED).count() == 0
        assert Operation.objects.count() == rounds * (callers + 1)

    def test_an_operation_whose_commit_comes_after_the_last_look_of_the_runner_is_hinted(self) -> None:
        (first,) = accept(stops("g1", 1))
        QueuedHints.queue.clear()

        with transaction.atomic():
            (second,) = accept(stops("g1", 1, batch="late"))
            on_a_connection_of_its_own(lambda: runner.run(first.pk)).join()
            assert not QueuedHints.queue

        assert list(QueuedHints.queue) == [second.pk]


class TestTurns:
    def test_a_game_with_ten_thousand_jobs_does_not_hold_up_another(self, rig: Rig) -> None:
        accept_in_batches(stops("crowd", CROWD))
        other = rig.ask_start("other")

        follow_one_hint()
        follow_one_hint()

        other.refresh_from_db()
        assert other.outcome == "success"
        assert Operation.objects.filter(game_id="crowd", state=OpState.FINISHED).count() == runner.TURN_OPERATIONS
        assert games_hinted() == ["crowd"]

    def test_games_with_many_jobs_take_turns(self) -> None:
        for game_id in ("a", "b", "c"):
            accept(stops(game_id, 2 * runner.TURN_OPERATIONS))
        order = []
        while QueuedHints.queue:
            order += games_hinted()[:1]
            follow_one_hint()

        assert order[:6] == ["a", "b", "c", "a", "b", "c"]
        assert not Operation.objects.exclude(state=OpState.FINISHED).exists()

    def test_a_slow_operation_ends_the_turn_by_itself(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner, "TURN_SECONDS", 0.0)
        first, second = rig.ask_start(), rig.ask_stop()

        follow_one_hint()

        assert [Operation.objects.get(pk=one.pk).state for one in (first, second)] == ["finished", "accepted"]
        assert list(QueuedHints.queue) == [second.pk]

    def test_the_end_of_a_turn_is_a_hint_that_the_sweep_does_not_double(self) -> None:
        accept(stops("g1", runner.TURN_OPERATIONS + 1))
        Operation.objects.update(hinted_at=None)
        follow_one_hint()

        assert claims.sweep(patience_seconds=2.0) == []
        assert len(QueuedHints.queue) == 1

    def test_a_hint_of_a_turn_that_got_lost_is_made_good_by_the_sweep(self) -> None:
        *_done, last = accept(stops("g1", runner.TURN_OPERATIONS + 1))
        follow_one_hint()
        QueuedHints.queue.clear()

        Operation.objects.filter(pk=last.pk).update(hinted_at="2020-01-01T00:00Z")

        assert [found for found, _kind in claims.sweep(patience_seconds=2.0)] == [last.pk]

    def test_a_worker_that_is_asked_to_leave_hints_the_rest_for_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        leaving = threading.Event()
        leaving.set()
        monkeypatch.setattr(runner, "_draining", leaving)
        first, second = accept(stops("g1", 2))

        follow_one_hint()

        assert Operation.objects.get(pk=first.pk).state == OpState.FINISHED
        assert list(QueuedHints.queue) == [second.pk]

    def test_order_within_a_game_survives_turns_and_dead_workers(self, rig: Rig) -> None:
        asked = accept(stops("g1", 3 * runner.TURN_OPERATIONS))
        dead = claims.claim(asked[0].pk, claimed_by="killed")
        assert dead is not None
        expire_lease(dead.operation)

        follow_all_hints()

        ended = Operation.objects.order_by("finished_at").values_list("pk", flat=True)
        assert list(ended) == [one.pk for one in asked]
        assert rig.engine.containers == {}
