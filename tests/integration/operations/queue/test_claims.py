"""Who may work on an operation, on a real database."""

import threading
from collections.abc import Sequence

import pytest
from django.db import IntegrityError, connection
from structlog.testing import capture_logs

from operations.execution import completion
from operations.models import Operation
from operations.queue import claims
from operations.queue.claims import Claim, LeaseLostError
from operations.queue.lease_renewer import LeaseRenewer
from operations.states import OperationState
from runtimes.exceptions import RuntimeManagerError
from tests.integration.harness import Rig, end_backoff, expire_lease


def claim(operation: Operation) -> Claim | None:
    return claims.claim(operation.pk, claimed_by="test")


def held(operation: Operation) -> Claim:
    one = claim(operation)
    assert one is not None
    return one


def test_the_first_open_operation_of_a_game_can_be_claimed(rig: Rig) -> None:
    first = rig.ask_start()

    taken = held(first)

    assert taken.operation.state == OperationState.RUNNING
    assert taken.operation.attempt == 1
    assert taken.operation.claimed_by == "test"


def test_a_later_operation_of_the_same_game_waits(rig: Rig) -> None:
    rig.ask_start()
    second = rig.ask_stop()

    assert claim(second) is None


def test_another_game_does_not_wait(rig: Rig) -> None:
    rig.ask_start("g1")
    other = rig.ask_start("g2")

    assert claim(other) is not None


def test_a_claimed_operation_cannot_be_claimed_again(rig: Rig) -> None:
    operation = rig.ask_start()
    held(operation)

    assert claim(operation) is None


def test_an_expired_lease_is_claimed_under_a_higher_fence(rig: Rig) -> None:
    operation = rig.ask_start()
    first = held(operation)
    expire_lease(operation)

    second = held(operation)

    assert second.fence > first.fence
    assert second.operation.attempt == 2


def test_fences_rise_over_all_games_and_claims(rig: Rig) -> None:
    fences = [held(rig.ask_start(f"g{number}")).fence for number in range(5)]

    assert fences == sorted(set(fences))


def test_the_old_claim_is_dead_once_a_new_one_exists(rig: Rig) -> None:
    operation = rig.ask_start()
    zombie = held(operation)
    expire_lease(operation)
    held(operation)

    with pytest.raises(LeaseLostError):
        claims.renew(zombie, steps=[])
    with pytest.raises(LeaseLostError):
        claims.retry_later(zombie, delay_seconds=1, reason="late", steps=[])


def test_an_expired_but_unclaimed_lease_can_still_be_renewed(rig: Rig) -> None:
    operation = rig.ask_start()
    slow = held(operation)
    expire_lease(operation)

    claims.renew(slow, steps=[{"name": "create"}])

    operation.refresh_from_db()
    assert operation.steps == [{"name": "create"}]
    assert claim(operation) is None


def test_many_leases_are_renewed_at_once_and_the_lost_ones_are_reported(rig: Rig) -> None:
    kept, lost = held(rig.ask_start("g1")), held(rig.ask_start("g2"))
    expire_lease(lost.operation)
    held(lost.operation)

    assert claims.renew_all([kept, lost]) == [lost]


def test_a_process_with_two_claims_of_an_operation_loses_the_older_one(rig: Rig) -> None:
    operation = rig.ask_start()
    lost = held(operation)
    expire_lease(operation)
    kept = held(operation)

    assert claims.renew_all([lost, kept]) == [lost]


def test_a_thread_that_was_overtaken_in_its_own_process_leaves_the_lease_of_the_other_alone(rig: Rig) -> None:
    operation, lease_renewer = rig.ask_start(), LeaseRenewer()
    with lease_renewer.renewing(held(operation)):
        expire_lease(operation)
        successor = held(operation)
        lease_renewer.add(successor)
    expire_lease(operation)

    lease_renewer.renew_now()

    assert claim(operation) is None
    assert lease_renewer.remove(successor)


def test_only_an_operation_that_another_worker_took_is_reported_as_lost(rig: Rig) -> None:
    lease_renewer = LeaseRenewer()
    completed, requeued, taken = (held(rig.ask_start(game_id)) for game_id in ("g1", "g2", "g3"))
    for one in (completed, requeued, taken):
        lease_renewer.add(one)
    completion.fail(completed, RuntimeManagerError("broken"), runtime=None, steps=[])
    claims.retry_later(requeued, delay_seconds=600, reason="Docker is away", steps=[])
    expire_lease(taken.operation)
    held(taken.operation)

    with capture_logs() as lines:
        lease_renewer.renew_now()

    assert [(line["event"], line["game_id"], line["op_kind"]) for line in lines] == [("lease_lost", "g3", "start")]


def test_leases_let_go_while_they_are_being_extended_end_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, lease_renewer = rig.ask_start(), LeaseRenewer()
    lease_renewer.add(held(operation))
    extend = claims.renew_all

    def leave() -> None:
        lease_renewer.release_all()
        connection.close()

    leaver = threading.Thread(target=leave)

    def extend_late(claims_held: Sequence[Claim]) -> list[Claim]:
        leaver.start()
        leaver.join(0.3)
        return extend(claims_held)

    monkeypatch.setattr(claims, "renew_all", extend_late)

    lease_renewer.renew_now()
    leaver.join()

    assert claim(operation) is not None


def test_a_deferred_operation_cannot_be_claimed_before_its_time(rig: Rig) -> None:
    operation = rig.ask_start()
    claims.retry_later(held(operation), delay_seconds=600, reason="Docker is away", steps=[])

    assert claim(operation) is None
    end_backoff(operation)
    assert claim(operation) is not None


def test_the_database_refuses_two_running_operations_of_one_game(rig: Rig) -> None:
    held(rig.ask_start())
    second = rig.ask_stop()

    with pytest.raises(IntegrityError, match="operation_one_running_per_game"):
        Operation.objects.filter(pk=second.pk).update(
            state=OperationState.RUNNING, fence=1, lease_until="2030-01-01T00:00Z", started_at="2030-01-01T00:00Z"
        )


def test_an_operation_that_commits_late_with_a_lower_id_waits_for_the_running_one(rig: Rig) -> None:
    earlier, later = rig.ask_start(), rig.ask_stop()
    Operation.objects.filter(pk=earlier.pk).update(game_id="not-yet-visible")
    running = held(later)
    Operation.objects.filter(pk=earlier.pk).update(game_id="g1")

    assert claim(earlier) is None
    expire_lease(running.operation)
    assert [found for found, _kind in claims.find_unattended(grace_seconds=0)] == [later.pk]
    assert claim(later) is not None


def test_of_many_workers_at_the_same_moment_exactly_one_gets_the_claim(rig: Rig) -> None:
    operations = [rig.ask_start(f"g{number}") for number in range(10)]
    won: list[int] = []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        won.extend(operation.pk for operation in operations if claims.claim(operation.pk, claimed_by="racer"))
        connection.close()

    racers = [threading.Thread(target=work) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert sorted(won) == [operation.pk for operation in operations]


def test_the_next_of_a_game_is_its_oldest_waiting_one(rig: Rig) -> None:
    first, second, third = rig.ask_start(), rig.ask_stop(), rig.ask_start()
    rig.do(first)

    assert claims.claim_next("g1", claimed_by="test") is None
    assert [Operation.objects.get(pk=one.pk).state for one in (second, third)] == [
        OperationState.FINISHED,
        OperationState.FINISHED,
    ]


class TestSweep:
    def test_it_finds_next_operations_whose_notification_was_lost(self, rig: Rig) -> None:
        first = rig.ask_start("g1")
        rig.ask_stop("g1")
        other = rig.ask_start("g2")

        assert [found for found, _kind in claims.find_unattended(grace_seconds=0)] == [first.pk, other.pk]

    def test_it_leaves_out_operations_notified_just_now(self, rig: Rig) -> None:
        rig.ask_start()

        assert claims.find_unattended(grace_seconds=60) == []

    def test_it_does_not_repeat_itself_at_once(self, rig: Rig) -> None:
        rig.ask_start()
        claims.find_unattended(grace_seconds=0)

        assert claims.find_unattended(grace_seconds=5) == []

    def test_it_finds_expired_leases_but_not_living_ones(self, rig: Rig) -> None:
        dead, alive = rig.ask_start("g1"), rig.ask_start("g2")
        held(dead)
        held(alive)
        expire_lease(dead)

        assert [found for found, _kind in claims.find_unattended(grace_seconds=0)] == [dead.pk]

    def test_it_waits_for_the_end_of_a_back_off(self, rig: Rig) -> None:
        operation = rig.ask_start()
        claims.retry_later(held(operation), delay_seconds=600, reason="Docker is away", steps=[])

        assert claims.find_unattended(grace_seconds=0) == []
        end_backoff(operation)
        assert [found for found, _kind in claims.find_unattended(grace_seconds=60)] == [operation.pk]
