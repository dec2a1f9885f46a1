"""The sweeper's passes on a real database."""

from collections.abc import Iterator

import pytest
from django.db import connection

from operations.models import Operation
from operations.queue import claims
from tasks.loops.leader_election import LeaderElection
from tasks.loops.sweeper import Sweeper
from tests.integration.harness import Rig
from tests.integration.notification_harness import QueuedNotifier

pytestmark = pytest.mark.usefixtures("queued_notifications")

# No session holds a lock with this key.
_DEAD = 4711


@pytest.fixture
def sweeper() -> Iterator[Sweeper]:
    one = Sweeper(settle_seconds=0.0, leadership=LeaderElection("test-sweeper"))
    yield one
    one.close()


@pytest.fixture
def of_a_dead_worker(rig: Rig) -> Operation:
    """A running operation under a lease that lasts, whose worker is gone."""
    operation = rig.ask_start()
    assert claims.claim(operation.pk, claimed_by="host-1:4711") is not None
    Operation.objects.filter(pk=operation.pk).update(worker_lock=_DEAD)
    QueuedNotifier.queue.clear()
    return operation


def test_the_second_pass_notifies_of_the_operation_of_a_dead_worker(
    sweeper: Sweeper, of_a_dead_worker: Operation
) -> None:
    sweeper.step()
    assert not QueuedNotifier.queue

    sweeper.step()

    assert list(QueuedNotifier.queue) == [of_a_dead_worker.pk]


def test_after_a_lost_connection_the_passes_are_counted_again(sweeper: Sweeper, of_a_dead_worker: Operation) -> None:
    sweeper.step()
    sweeper.reset()
    connection.close()

    sweeper.step()
    assert not QueuedNotifier.queue
    sweeper.step()

    assert list(QueuedNotifier.queue) == [of_a_dead_worker.pk]


def test_a_new_session_waits_before_it_takes_a_worker_for_dead(of_a_dead_worker: Operation) -> None:
    connection.close()
    sweeper = Sweeper(settle_seconds=3600.0, leadership=LeaderElection("test-sweeper"))

    for _pass in range(3):
        sweeper.step()

    assert not QueuedNotifier.queue
    assert Operation.objects.get(pk=of_a_dead_worker.pk).worker_lock == _DEAD
    sweeper.close()
