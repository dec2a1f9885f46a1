"""Which workers have stalled queues, and which only seem to."""

import pytest

from tasks.stall_detector import CHECKS
from tasks.worker.watchdog import ConsumerWatchdog

SLOTS = 4
QUEUES = ("lifecycle", "periodic")
WAITING = {"lifecycle": 3, "periodic": 0}


def stalled_queues(*, waiting: dict[str, int], received: list[dict[str, int]], busy: int = 0) -> list[list[str]]:
    watchdog = ConsumerWatchdog(QUEUES, slots=SLOTS)
    return [watchdog.stalled_queues(waiting, received=counts, busy=busy) for counts in received]


def test_a_free_worker_that_reads_nothing_while_messages_wait_is_stalled() -> None:
    stalled = stalled_queues(waiting=WAITING, received=[{"lifecycle": 9}] * (CHECKS + 1))

    assert stalled == [[]] * CHECKS + [["lifecycle"]]


def test_a_worker_that_never_received_a_message_is_stalled() -> None:
    assert stalled_queues(waiting=WAITING, received=[{}] * (CHECKS + 1))[-1] == ["lifecycle"]


def test_reading_one_queue_does_not_hide_that_another_is_stalled() -> None:
    received = [{"lifecycle": 9, "periodic": number} for number in range(CHECKS + 1)]

    assert stalled_queues(waiting={"lifecycle": 3, "periodic": 1}, received=received)[-1] == ["lifecycle"]


def test_a_worker_without_free_slots_is_never_stalled() -> None:
    assert stalled_queues(waiting=WAITING, received=[{"lifecycle": 9}] * 50, busy=SLOTS) == [[]] * 50


def test_a_worker_with_one_free_slot_can_be_stalled() -> None:
    assert stalled_queues(waiting=WAITING, received=[{"lifecycle": 9}] * 50, busy=SLOTS - 1)[-1] == ["lifecycle"]


@pytest.mark.parametrize(
    "waiting", [{"lifecycle": 0, "periodic": 0}, {}], ids=["no message waits", "broker unreachable"]
)
def test_a_worker_is_not_stalled_while_no_message_is_known_to_wait(waiting: dict[str, int]) -> None:
    assert stalled_queues(waiting=waiting, received=[{"lifecycle": 9}] * 50) == [[]] * 50


def test_a_worker_that_reads_too_slowly_is_not_stalled() -> None:
    received = [{"lifecycle": number} for number in range(50)]

    assert stalled_queues(waiting={"lifecycle": 5000}, received=received) == [[]] * 50


def test_a_broker_outage_restarts_the_count_of_checks() -> None:
    watchdog = ConsumerWatchdog(QUEUES, slots=SLOTS)
    lengths = [WAITING] * CHECKS + [{}] + [WAITING] * CHECKS

    assert [watchdog.stalled_queues(waiting, received={}, busy=0) for waiting in lengths] == [[]] * len(lengths)
