"""What gets on record, and what is refused at the door."""

import threading
from contextlib import suppress

import pytest
from django.db import connection, transaction

from operations.intake import OperationRequest, accept, accept_unless_busy
from operations.models import Operation
from operations.states import OperationKind, OperationSource, OperationState
from runtimes.exceptions import ConflictError, InvalidRequestError
from tests.integration.harness import IMAGE, Rig


def request(key: str = "rest:1", *, game_id: str = "g1", image_ref: str = IMAGE) -> OperationRequest:
    return OperationRequest(
        game_id=game_id,
        op_kind=OperationKind.START,
        op_source=OperationSource.ADMIN_REST,
        job_key=key,
        arguments={"image_ref": image_ref},
    )


@pytest.mark.usefixtures("rig")
class TestAccept:
    def test_requests_are_recorded_in_the_order_given(self) -> None:
        keys = [f"stream:{number}" for number in (3, 1, 2)]

        accepted = accept([request(key) for key in keys])

        assert [row.job_key for row in accepted] == keys
        assert [row.pk for row in accepted] == sorted(row.pk for row in accepted)

    def test_the_same_key_is_recorded_once(self) -> None:
        first = accept([request()])

        again = accept([request(), request("rest:2", game_id="g2")])

        assert again[0].pk == first[0].pk
        assert Operation.objects.count() == 2

    def test_nothing_is_recorded_when_the_transaction_is_taken_back(self) -> None:
        class TakenBackError(Exception):
            pass

        with suppress(TakenBackError), transaction.atomic():
            accept([request()])
            raise TakenBackError

        assert not Operation.objects.exists()

    @pytest.mark.parametrize("image_ref", ["nul\x00", "lone \ud800 surrogate"])
    def test_text_that_the_database_cannot_hold_is_refused_with_everything_it_came_with(self, image_ref: str) -> None:
        with pytest.raises(InvalidRequestError, match="image_ref"):
            accept([request(), request("rest:2", image_ref=image_ref)])

        assert not Operation.objects.exists()

    @pytest.mark.parametrize("game_id", ["", "-g", "g" * 52, "g 1", "g/1", "ü"])
    def test_a_bad_game_id_is_refused(self, game_id: str) -> None:
        with pytest.raises(InvalidRequestError, match="game_id"):
            accept([request(game_id=game_id)])


@pytest.mark.usefixtures("rig")
class TestAcceptUnlessBusy:
    def test_an_idle_game_is_accepted(self) -> None:
        assert accept_unless_busy(request()).state == OperationState.ACCEPTED

    def test_a_busy_game_is_a_conflict_that_names_what_it_waits_for(self) -> None:
        busy = accept_unless_busy(request())

        with pytest.raises(ConflictError, match=f"operation {busy.pk}"):
            accept_unless_busy(request("rest:2"))

        assert Operation.objects.count() == 1

    def test_the_same_request_again_gets_its_own_operation_not_a_conflict(self) -> None:
        assert accept_unless_busy(request()).pk == accept_unless_busy(request()).pk

    def test_of_many_callers_at_the_same_moment_one_is_accepted(self) -> None:
        gate = threading.Barrier(5)
        conflicts: list[str] = []

        def call(number: int) -> None:
            gate.wait()
            try:
                accept_unless_busy(request(f"rest:{number}"))
            except ConflictError as error:
                conflicts.append(error.message)
            finally:
                connection.close()

        callers = [threading.Thread(target=call, args=[number]) for number in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

        assert Operation.objects.count() == 1
        assert len(conflicts) == 4


def test_a_game_is_free_again_once_its_operation_has_ended(rig: Rig) -> None:
    rig.start()

    assert accept_unless_busy(request()).state == OperationState.ACCEPTED
