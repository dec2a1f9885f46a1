"""Jobs that find nothing to do are closed many at a time, without a claim, and only while that is the truth."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
from django.db import transaction

from operations import claims, replays
from operations.intake import OperationRequest, accept
from operations.models import Operation, OutboxEvent
from operations.states import OpKind, OpSource, OpState
from runtimes.containers.base import ContainerState
from runtimes.models import Runtime
from tests.integration.hint_rigs import (
    QueuedHints,
    follow_all_hints,
    follow_one_hint,
    games_hinted,
    on_a_connection_of_its_own,
)
from tests.integration.rigs import IMAGE, OTHER_IMAGE, Rig, results
from tests.servers.waiting import wait_for

pytestmark = pytest.mark.usefixtures("queued_hints")


def up(rig: Rig, *game_ids: str) -> None:
    """Games that run."""
    for game_id in game_ids:
        rig.start(game_id)
    QueuedHints.queue.clear()


def outcomes(game_id: str = "g1") -> list[tuple[str, str]]:
    """State and code of the game's operations, oldest first, without the start that brought it up."""
    rows = Operation.objects.filter(game_id=game_id).order_by("id").values_list("state", "error_code")
    return list(rows)[1:]


def start_of(game_id: str, number: int) -> OperationRequest:
    """A job as the bridge records it."""
    return OperationRequest(
        game_id=game_id,
        op_kind=OpKind.START,
        op_source=OpSource.LOBBY_STREAM,
        job_key=f"batch:{number}",
        arguments={"image_ref": IMAGE},
    )


def a_call(op_kind: OpKind, *, image_ref: str) -> OperationRequest:
    """As a view makes it."""
    arguments = {"image_ref": image_ref} if image_ref else {}
    return OperationRequest(
        game_id="g1", op_kind=op_kind, op_source=OpSource.GM_REST, job_key="rest:1", arguments=arguments
    )


def replace_container(game_id: str) -> None:
    """As another operation would that has just ended."""
    Runtime.objects.filter(pk=game_id).update(current_container_id="f" * 64)


def ask_by_call(rig: Rig, op_kind: OpKind, *, image_ref: str) -> Operation | None:
    """The row of a call that was answered at once; None when it was not."""
    del rig
    record = replays.answer_call(a_call(op_kind, image_ref=image_ref))
    row = Operation.objects.filter(job_key="rest:1").first()
    assert (record is not None) == (row is not None)
    assert record is None or record == Runtime.objects.get(pk="g1")
    return row


def write_record(game_id: str) -> None:
    """As an operation would that has just ended."""
    Runtime.objects.filter(pk=game_id).update(fence=1_000_000)


def accept_a_stop(rig: Rig) -> None:
    rig.ask_stop()


def claim_and_give_back(operation: Operation) -> None:
    claim = claims.claim(operation.pk, claimed_by="somebody")
    assert claim is not None
    claims.defer(claim, delay_seconds=0, reason="to try again")


@contextmanager
def holding(operation_id: int) -> Iterator[None]:
    """Another transaction has locked the row inside the block."""
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Operation.objects.select_for_update().filter(pk=operation_id))
            is_held.set()
            is_over.wait()

    thread = on_a_connection_of_its_own(hold)
    is_held.wait()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def answer_all(game_ids: Sequence[str]) -> Callable[[], None]:
    return lambda: replays.answer(game_ids)


class TestJobsFromTheStream:
    def test_starts_of_running_games_are_one_hint_and_one_look_at_docker(self, rig: Rig) -> None:
        up(rig, "g1", "g2", "g3")
        rig.engine.calls.clear()

        accept([start_of(game_id, number) for number, game_id in enumerate(["g1", "g2", "g3", "g1", "g2"])])

        assert games_hinted() == ["g1", "g2", "g3"]
        assert len(QueuedHints.queue) == 1
        follow_all_hints()

        assert {one["error_code"] for one in results()[3:]} == {"replay_no_op"}
        assert rig.engine.calls == {"find_all": 1}
        assert not Operation.objects.filter(state=OpState.ACCEPTED).exists()

    def test_a_replay_tells_the_container_that_runs(self, rig: Rig) -> None:
        up(rig, "g1")
        operation = rig.ask_start()

        follow_all_hints()

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
        QueuedHints.queue.clear()
        rig.ask_stop()
        rig.engine.calls.clear()

        follow_all_hints()

        assert outcomes() == [("finished", ""), ("finished", "replay_no_op")]
        assert not rig.engine.calls

    def test_a_container_that_has_died_is_no_replay_and_is_started_again(self, rig: Rig) -> None:
        up(rig, "g1")
        container = rig.container()
        assert container is not None
        rig.engine.exit(container.id, exit_code=1)
        rig.ask_start()

        follow_all_hints()

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

        follow_one_hint()

        assert outcomes() == [("finished", "replay_no_op"), ("accepted", ""), ("accepted", "")]
        assert games_hinted() == ["g1"]
        follow_all_hints()
        assert outcomes() == [("finished", "replay_no_op"), ("finished", ""), ("finished", "")]

    def test_a_start_of_another_image_is_refused_as_ever(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start(image_ref=OTHER_IMAGE)

        follow_all_hints()

        assert outcomes() == [("finished", "conflict")]

    def test_without_docker_nothing_is_closed_and_the_job_is_hinted_to_wait(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.engine.go_away()

        follow_one_hint()

        assert outcomes() == [("accepted", "")]
        assert games_hinted() == ["g1"]

    def test_what_is_accepted_while_replays_are_answered_is_seen_afterwards(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.engine.on_call("find_all", partial(accept_a_stop, rig))

        follow_one_hint()

        assert outcomes() == [("finished", "replay_no_op"), ("accepted", "")]
        assert games_hinted() == ["g1"]


class TestInBetween:
    """What may happen between the look and the close."""

    def test_what_somebody_has_worked_on_since_is_left_alone(self, rig: Rig) -> None:
        up(rig, "g1")
        operation = rig.ask_start()
        rig.engine.on_call("find_all", lambda: claim_and_give_back(operation))

        replays.answer(["g1"])

        assert outcomes() == [("accepted", "")]

    def test_a_record_written_since_is_believed_instead(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_start()
        rig.engine.on_call("find_all", lambda: write_record("g1"))
        rig.engine.on_call("find_all", rig.engine.go_away, skip=1)

        replays.answer(["g1"])

        assert outcomes() == [("accepted", "")]

    def test_rows_that_another_transaction_holds_are_left_to_it(self, rig: Rig) -> None:
        up(rig, "g1", "g2")
        held = rig.ask_start("g1")
        rig.ask_start("g1")
        rig.ask_start("g2")

        with holding(held.pk):
            thread = on_a_connection_of_its_own(answer_all(["g1", "g2"]))
            wait_for(lambda: outcomes("g2") == [("finished", "replay_no_op")], what="the free game to be answered")
            assert outcomes("g1") == [("accepted", ""), ("accepted", "")]

        thread.join()
        follow_all_hints()
        assert outcomes("g1") == [("finished", "replay_no_op")] * 2

    def test_answered_by_two_at_once_each_job_has_one_result(self, rig: Rig) -> None:
        games = [f"g{number}" for number in range(20)]
        up(rig, *games)
        for game_id in games * 3:
            rig.ask_start(game_id)

        threads = [on_a_connection_of_its_own(answer_all(order)) for order in (games, games[::-1])]
        for thread in threads:
            thread.join()
        follow_all_hints()

        assert [one["error_code"] for one in results()].count("replay_no_op") == 60
        assert not Operation.objects.exclude(state=OpState.FINISHED).exists()


class TestCallsOverRest:
    def test_a_replay_is_put_on_record_as_done(self, rig: Rig) -> None:
        up(rig, "g1")
        operation = ask_by_call(rig, OpKind.START, image_ref=IMAGE)

        assert operation is not None
        assert (operation.state, operation.outcome, operation.error_code) == ("finished", "success", "replay_no_op")
        assert operation.op_source == OpSource.GM_REST
        assert operation.attempt == 1
        assert OutboxEvent.objects.filter(game_id="g1", dedupe_key__contains="rest").count() == 0

    def test_a_busy_game_takes_the_usual_way(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.ask_stop()

        assert ask_by_call(rig, OpKind.START, image_ref=IMAGE) is None

    def test_a_dead_container_takes_the_usual_way(self, rig: Rig) -> None:
        up(rig, "g1")
        container = rig.container()
        assert container is not None
        rig.engine.exit(container.id, exit_code=1)

        assert ask_by_call(rig, OpKind.START, image_ref=IMAGE) is None

    def test_without_docker_the_call_takes_the_usual_way(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.engine.go_away()

        assert ask_by_call(rig, OpKind.START, image_ref=IMAGE) is None

    @pytest.mark.parametrize("deed", [(OpKind.START, OTHER_IMAGE), (OpKind.STOP, ""), (OpKind.RESTART, "")])
    def test_what_has_something_to_do_takes_the_usual_way(self, rig: Rig, deed: tuple[OpKind, str]) -> None:
        up(rig, "g1")

        assert ask_by_call(rig, deed[0], image_ref=deed[1]) is None

    def test_a_record_of_another_container_since_the_look_is_believed_instead(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.engine.on_call("find", lambda: replace_container("g1"))

        assert ask_by_call(rig, OpKind.START, image_ref=IMAGE) is None

    def test_a_stop_of_what_does_not_run_needs_no_look_at_docker(self, rig: Rig) -> None:
        up(rig, "g1")
        rig.stop()
        rig.engine.calls.clear()

        operation = ask_by_call(rig, OpKind.STOP, image_ref="")

        assert operation is not None
        assert operation.error_code == "replay_no_op"
        assert not rig.engine.calls

    def test_the_same_call_twice_is_on_record_once(self, rig: Rig) -> None:
        up(rig, "g1")
        first = ask_by_call(rig, OpKind.START, image_ref=IMAGE)

        assert first is not None
        assert replays.answer_call(a_call(OpKind.START, image_ref=IMAGE)) is None
        assert Operation.objects.filter(job_key="rest:1").count() == 1
