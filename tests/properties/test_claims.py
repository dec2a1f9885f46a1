"""Accepting, claiming and ending operations in any order, with crashes, on a real PostgreSQL against a model."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from operations.execution import completion
from operations.execution.attempt import Result
from operations.intake import OperationRequest, accept, accept_unless_busy
from operations.models import Operation, OutboxEvent
from operations.queue import claims
from operations.queue.claims import Claim, LeaseLostError
from operations.states import OperationKind, OperationSource, OperationState, Topic
from runtimes.exceptions import ConflictError, RuntimeManagerError
from tests.integration.harness import Rig, end_backoff, expire_lease
from tests.properties.cases import assert_holds

pytestmark = pytest.mark.django_db(transaction=True)

GAMES = ["g1", "g2"]
SOURCES = [OperationSource.LOBBY_STREAM, OperationSource.AUTO_RECONCILE]

games = st.sampled_from(GAMES)
keys = st.integers(0, 11)
picks = st.integers(0, 30)


def request_of(number: int) -> OperationRequest:
    """The same key is always the same request, as with every producer of ours."""
    return OperationRequest(
        game_id=GAMES[number % 2],
        op_kind=OperationKind.STOP,
        op_source=SOURCES[number // 2 % 2],
        job_key=f"key:{number}",
        arguments={"reason": "cancelled"},
    )


class Claiming(RuleBasedStateMachine):
    """The model is a list in the order of acceptance: what is open, who holds it, what is due."""

    def __init__(self) -> None:
        super().__init__()
        OutboxEvent.objects.all().delete()
        Operation.objects.all().delete()
        self.order: list[int] = []
        self.game: dict[int, str] = {}
        self.state: dict[int, str] = {}
        self.holder: dict[int, Claim] = {}
        self.expired: set[int] = set()
        self.waits: set[int] = set()
        self.claims: list[Claim] = []
        self.finished: dict[int, dict[str, Any]] = {}
        self.ended: list[int] = []

    # What is asked for

    @rule(numbers=st.lists(keys, min_size=1, max_size=3, unique=True))
    def is_accepted(self, numbers: Sequence[int]) -> None:
        recorded = accept([request_of(number) for number in numbers])
        assert {one.job_key for one in recorded} == {f"key:{number}" for number in numbers}
        self._remember(recorded)

    @rule(number=keys)
    def is_accepted_unless_busy(self, number: int) -> None:
        request = request_of(number)
        known = Operation.objects.filter(job_key=request.job_key).first()
        busy = self._head(request.game_id) is not None
        if known is None and busy:
            with pytest.raises(ConflictError):
                accept_unless_busy(request)
        else:
            self._remember([accept_unless_busy(request)])

    # What workers do

    @precondition(lambda self: self.order)
    @rule(pick=picks)
    def is_claimed(self, pick: int) -> None:
        pk = self.order[pick % len(self.order)]
        self._take(claims.claim(pk, claimed_by="worker"), expected=pk if self._is_claimable(pk) else None)

    @rule(game_id=games)
    def the_next_of_a_game_is_claimed(self, game_id: str) -> None:
        head = self._head(game_id)
        fits = head is not None and self.state[head] == OperationState.ACCEPTED and self._is_claimable(head)
        self._take(claims.claim_next(game_id, claimed_by="worker"), expected=head if fits else None)

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def a_claim_is_renewed(self, pick: int) -> None:
        held = self.claims[pick % len(self.claims)]
        if self._do(held, lambda: claims.renew(held, steps=[])):
            self.expired.discard(held.operation_id)

    @rule()
    def all_claims_are_renewed(self) -> None:
        lost = claims.renew_all(self.claims)
        assert lost == [held for held in self.claims if not self._is_held(held)]
        self.expired.clear()

    @precondition(lambda self: self.claims)
    @rule(pick=picks, is_success=st.booleans())
    def an_operation_ends(self, pick: int, *, is_success: bool) -> None:
        held = self.claims[pick % len(self.claims)]

        def end() -> None:
            if is_success:
                completion.succeed(held, Result(), runtime=None, steps=[])
            else:
                completion.fail(held, RuntimeManagerError("broken"), runtime=None, steps=[])

        if self._do(held, end):
            self._note_end(held.operation_id)

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def an_operation_is_deferred(self, pick: int) -> None:
        held = self.claims[pick % len(self.claims)]
        if self._do(held, lambda: claims.retry_later(held, delay_seconds=3600, reason="away", steps=[])):
            self.state[held.operation_id] = OperationState.ACCEPTED
            self.waits.add(held.operation_id)
            del self.holder[held.operation_id]

    # What happens to them

    @precondition(lambda self: self.holder)
    @rule(pick=picks)
    def a_worker_crashes(self, pick: int) -> None:
        pk = sorted(self.holder)[pick % len(self.holder)]
        expire_lease(Operation(pk=pk))
        self.expired.add(pk)

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def a_worker_leaves(self, pick: int) -> None:
        held = self.claims[pick % len(self.claims)]
        claims.release_leases([held])
        if self._is_held(held):
            self.expired.add(held.operation_id)

    @precondition(lambda self: self.waits)
    @rule(pick=picks)
    def a_backoff_is_over(self, pick: int) -> None:
        pk = sorted(self.waits)[pick % len(self.waits)]
        end_backoff(Operation(pk=pk))
        self.waits.discard(pk)

    @rule()
    def the_sweep_finds_unattended_operations(self) -> None:
        Operation.objects.exclude(state=OperationState.FINISHED).update(notified_at=Now() - timedelta(days=1))
        heads = [head for game_id in GAMES if (head := self._head(game_id)) is not None]

        found = claims.find_unattended(grace_seconds=1)

        assert [pk for pk, _kind in found] == sorted(head for head in heads if self._is_claimable(head))
        assert claims.find_unattended(grace_seconds=60) == []

    # What must hold at any time

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        rows = {row["id"]: row for row in Operation.objects.order_by("id").values()}
        assert list(rows) == self.order
        assert {pk: row["state"] for pk, row in rows.items()} == self.state
        assert len({row["job_key"] for row in rows.values()}) == len(rows)
        running = [row["game_id"] for row in rows.values() if row["state"] == OperationState.RUNNING]
        assert len(running) == len(set(running)), "two operations of one game run"
        assert {pk: row["fence"] for pk, row in rows.items() if row["state"] == OperationState.RUNNING} == {
            pk: held.fence for pk, held in self.holder.items()
        }
        assert {pk: rows[pk] for pk in self.finished} == self.finished, "a finished operation has changed"

    @invariant()
    def each_finished_stream_job_has_one_result(self) -> None:
        published = (
            OutboxEvent.objects.filter(topic=Topic.JOB_RESULTS).order_by("id").values_list("dedupe_key", flat=True)
        )
        jobs = [pk for pk in self.ended if self.finished[pk]["op_source"] == OperationSource.LOBBY_STREAM]
        assert list(published) == [f"result:{self.finished[pk]['job_key']}" for pk in jobs]

    @invariant()
    def each_game_ends_its_operations_in_the_order_of_acceptance(self) -> None:
        for game_id in GAMES:
            ended = [pk for pk in self.ended if self.game[pk] == game_id]
            assert ended == [pk for pk in self.order if self.game[pk] == game_id][: len(ended)]

    def teardown(self) -> None:
        """Nothing is lost: whatever was accepted ends once workers stay alive."""
        for pk in self.order:
            expire_lease(Operation(pk=pk))
            end_backoff(Operation(pk=pk))
        for _ in self.order:
            Operation.objects.update(notified_at=Now() - timedelta(days=1))
            for pk, _kind in claims.find_unattended(grace_seconds=1):
                held = claims.claim(pk, claimed_by="drain")
                assert held is not None
                completion.succeed(held, Result(), runtime=None, steps=[])
        assert not Operation.objects.exclude(state=OperationState.FINISHED).exists()
        jobs = Operation.objects.filter(op_source=OperationSource.LOBBY_STREAM).count()
        assert OutboxEvent.objects.filter(topic=Topic.JOB_RESULTS).count() == jobs

    def _remember(self, recorded: Sequence[Operation]) -> None:
        for operation in recorded:
            if operation.pk not in self.state:
                assert operation.pk > max(self.order, default=0)
                self.order.append(operation.pk)
                self.game[operation.pk], self.state[operation.pk] = operation.game_id, OperationState.ACCEPTED

    def _head(self, game_id: str) -> int | None:
        return next((pk for pk in self.order if self.game[pk] == game_id and pk not in self.finished), None)

    def _is_claimable(self, pk: int) -> bool:
        if self.state[pk] == OperationState.RUNNING:
            return pk in self.expired
        return pk == self._head(self.game[pk]) and pk not in self.waits

    def _is_held(self, held: Claim) -> bool:
        return self.holder.get(held.operation_id) is held

    def _take(self, claim: Claim | None, *, expected: int | None) -> None:
        assert (claim.operation_id if claim else None) == expected
        if claim is not None:
            assert all(claim.fence > earlier.fence for earlier in self.claims), "a fence did not grow"
            self.claims.append(claim)
            self.holder[claim.operation_id] = claim
            self.state[claim.operation_id] = OperationState.RUNNING
            self.expired.discard(claim.operation_id)

    def _do(self, held: Claim, write: Any) -> bool:
        """A write by a claim: it succeeds for who holds the operation and changes nothing for who does not."""
        if self._is_held(held):
            write()
            return True
        before = list(Operation.objects.order_by("id").values())
        with pytest.raises(LeaseLostError):
            write()
        assert list(Operation.objects.order_by("id").values()) == before
        return False

    def _note_end(self, pk: int) -> None:
        self.state[pk] = OperationState.FINISHED
        self.finished[pk] = dict(Operation.objects.filter(pk=pk).values().get())
        self.ended.append(pk)
        self.expired.discard(pk)
        del self.holder[pk]


def test_one_at_a_time_in_order_with_growing_fences_and_one_result_each(rig: Rig) -> None:
    del rig  # only for its settings: no hint reaches a worker
    assert_holds(Claiming, cases=20, steps=25)
