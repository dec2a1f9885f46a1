"""Jobs that find nothing to do are closed many at a time, without a claim, and only while that is the truth."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
from django.db import transaction

from operations.execution import no_ops
from operations.intake import OperationRequest, accept
from operations.models import Operation
from operations.queue import claims
from operations.states import OperationKind, OperationSource, OperationState
from runtimes.containers.base import ContainerState
from runtimes.models import Runtime
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, results
from tests.integration.notification_harness import (
    QueuedNotifier,
    follow_all_notifications,
    follow_one_notification,
    in_a_thread_with_its_own_connection,
    notified_games,
)
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.usefixtures("queued_notifications")


def up(rig: Rig, *game_ids: str) -> None:
    """Games that run."""
    for game_id in game_ids:
        rig.start(game_id)
    QueuedNotifier.queue.clear()


def outcomes(game_id: str = "g1") -> list[tuple[str, str]]:
    """State and code of the game's operations, oldest first, without the start that brought it up."""
    rows = Operation.objects.filter(game_id=game_id).order_by("id").values_list("state", "error_code")
    return list(rows)[1:]


def start_of(game_id: str, number: int) -> OperationRequest:
    """A job as the bridge records it."""
    return OperationRequest(
        game_id=game_id,
        op_kind=OperationKind.START,
        op_source=OperationSource.LOBBY_STREAM,
        job_key=f"batch:{number}",
        arguments={"image_ref": IMAGE},
    )


def write_record(game_id: str) -> None:
    """As an operation would that has just ended."""
    Runtime.objects.filter(pk=game_id).update(fence=1_000_000)


def accept_a_stop(rig: Rig) -> None:
    rig.ask_stop()


def claim_and_give_back(operation: Operation) -> None:
    claim = claims.claim(operation.pk, claimed_by="another")
    assert claim is not None
    claims.retry_later(claim, delay_seconds=0, reason="to try again")


@contextmanager
def holding(operation_id: int) -> Iterator[None]:
    """Another transaction has locked the row inside the block."""
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Operation.objects.select_for_update().filter(pk=operation_id))
            is_held.set()
            is_over.wait()

    thread = in_a_thread_with_its_own_connection(hold)
    is_held.wait()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def answer_all(game_ids: Sequence[str]) -> Callable[[], None]:
    return lambda: no_ops.complete_waiting(game_ids)


class TestJobsFromTheStream:
    def test_starts_of_running_games_are_one_notification_and_one_docker_call(self, rig: Rig) -> None:
        up(rig, "g1", "g2", "g3")
        rig.engine.calls.clear()

        accept([start_of(game_id, number) for number, game_id in enumerate(["g1", "g2", "g3", "g1", "g2"])])

        assert notified_games() == ["g1", "g2", "g3"]
        assert len(QueuedNotifier.queue) == 1
        follow_all_notifications()

        assert {one["error_code"] for one in results()[3:]} == {"replay_no_op"}
        assert rig.engine.calls == {"list_by_ids": 1}
        assert not Operation.objects.filter(state=OperationState.ACCEPTED).exists()

    def test_a_no_op_reports_the_running_container(self, rig: Rig) -> None:
        up(rig, "g1")
        operation = rig.ask_start()

        follow_all_notifications()

        operation.refresh_from_db()
        first, second = results()
        assert second == {**first, "error_code": "replay_no_op"}
        assert (operation.container_id, operation.engine_endpoint) == (first["container_id"], first["engine_endpoint"])
        assert operation.image_ref == IMAGE
        assert [step["name"] for step in operation.steps] == ["observe"]
        assert operation.finished_at is not None
        assert operation.started_at is not None
        assert operation.accepted_at <= operation.started_at <= operation.finished_at

    def test_stops_of_a_stopped_game_need_no_look_at_docker(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.stop()
        QueuedNotifier.queue.clear()
        rig.ask_stop()
        rig.engine.calls.clear()

        follow_all_notifications()

        assert outcomes() == [("finished", ""), ("finished", "replay_no_op")]
        assert not rig.engine.calls

    def test_a_container_that_has_died_is_no_replay_and_is_started_again(self, rig: Rig) -> None:
        up(rig, "g1")
        container = rig.container()
        assert container is not None
        rig.engine.exit(container.id, exit_code=1)
        rig.ask_start()

        follow_all_notifications()

        assert outcomes() == [("finished", "")]
        renewed = rig.container()
        assert renewed is not None
        assert renewed.id != container.id
        assert renewed.state == ContainerState.RUNNING

    def test_what_stands_behind_a_job_that_is_no_replay_waits_for_it(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.ask_stop()
        rig.ask_start()

        follow_one_notification()

        assert outcomes() == [("finished", "replay_no_op"), ("accepted", ""), ("accepted", "")]
        assert notified_games() == ["g1"]
        follow_all_notifications()
        assert outcomes() == [("finished", "replay_no_op"), ("finished", ""), ("finished", "")]

    def test_a_start_of_another_image_is_refused(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start(image_ref=OTHER_IMAGE)

        follow_all_notifications()

        assert outcomes() == [("finished", "conflict")]

    def test_without_docker_nothing_is_completed_and_the_job_waits(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.engine.disconnect()

        follow_one_notification()

        assert outcomes() == [("accepted", "")]
        assert notified_games() == ["g1"]

    def test_what_is_accepted_while_replays_are_answered_is_seen_afterwards(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.engine.on_call("list_by_ids", partial(accept_a_stop, rig))

        follow_one_notification()

        assert outcomes() == [("finished", "replay_no_op"), ("accepted", "")]
        assert notified_games() == ["g1"]


class TestInBetween:
    """What may happen between the observation and the completion."""

    def test_an_operation_that_was_claimed_since_is_left_alone(self, rig: Rig) -> None:
        up(rig, "g1")
        operation = rig.ask_start()
        rig.engine.on_call("list_by_ids", lambda: claim_and_give_back(operation))

        no_ops.complete_waiting(["g1"])

        assert outcomes() == [("accepted", "")]

    def test_a_record_written_since_is_believed_instead(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.engine.on_call("list_by_ids", lambda: write_record("g1"))
        rig.engine.on_call("list_by_ids", rig.engine.disconnect, skip=1)

        no_ops.complete_waiting(["g1"])

        assert outcomes() == [("accepted", "")]

    def test_rows_that_another_transaction_holds_are_left_to_it(self, rig: Rig) -> None:
        up(rig, "g1", "g2")
        held = rig.ask_start("g1")
        rig.ask_start("g1")
        rig.ask_start("g2")

        with holding(held.pk):
            thread = in_a_thread_with_its_own_connection(answer_all(["g1", "g2"]))
            wait_for(lambda: outcomes("g2") == [("finished", "replay_no_op")], what="the free game to be answered")
            assert outcomes("g1") == [("accepted", ""), ("accepted", "")]

        thread.join()
        follow_all_notifications()
        assert outcomes("g1") == [("finished", "replay_no_op")] * 2

    def test_answered_by_two_at_once_each_job_has_one_result(self, rig: Rig) -> None:
        games = [f"g{number}" for number in range(20)]
        up(rig, *games)
        for game_id in games * 3:
            rig.ask_start(game_id)

        threads = [in_a_thread_with_its_own_connection(answer_all(order)) for order in (games, games[::-1])]
        for thread in threads:
            thread.join()
        follow_all_notifications()

        assert [one["error_code"] for one in results()].count("replay_no_op") == 60
        assert not Operation.objects.exclude(state=OperationState.FINISHED).exists()


class TestCallsOverRest:
    """A worker executes each of them."""

    def test_a_no_op_is_on_record_and_has_no_result_on_the_stream(self, rig: Rig) -> None:
        up(rig, "g1")

        operation = rig.start(source=OperationSource.GM_REST)

        assert (operation.state, operation.outcome, operation.error_code) == ("finished", "success", "replay_no_op")
        assert operation.attempt == 1
        assert len(results()) == 1

    def test_a_call_on_a_busy_game_waits_for_the_earlier_operation(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_stop()

        assert rig.start(source=OperationSource.GM_REST).state == OperationState.ACCEPTED

    def test_a_container_that_has_died_is_started_again(self, rig: Rig) -> None:
        up(rig, "g1")
        container = rig.container()
        assert container is not None
        rig.engine.exit(container.id, exit_code=1)

        operation = rig.start(source=OperationSource.GM_REST)

        assert (operation.outcome, operation.error_code) == ("success", "")

    def test_without_docker_the_call_is_refused(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.engine.disconnect()

        assert rig.start(source=OperationSource.GM_REST).error_code == "docker_unavailable"

    def test_a_start_of_another_image_is_a_conflict(self, rig: Rig) -> None:
        up(rig, "g1")

        assert rig.start(image_ref=OTHER_IMAGE, source=OperationSource.GM_REST).error_code == "conflict"

    def test_a_container_other_than_the_recorded_one_is_no_no_op(self, rig: Rig) -> None:
        up(rig, "g1")
        Runtime.objects.filter(pk="g1").update(current_container_id="f" * 64)

        assert rig.start(source=OperationSource.GM_REST).error_code != "replay_no_op"

    def test_a_stop_of_what_does_not_run_needs_no_look_at_docker(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.stop()
        rig.engine.calls.clear()

        operation = rig.stop(source=OperationSource.GM_REST)

        assert operation.error_code == "replay_no_op"
        assert not rig.engine.calls
