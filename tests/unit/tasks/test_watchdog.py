"""Which workers are deaf, and which only seem to be."""

import pytest

from tasks.patience import LOOKS
from tasks.watchdog import DeafWorker

HANDS = 4
QUEUES = ("lifecycle", "periodic")
WAITING = {"lifecycle": 3, "periodic": 0}


def looks(*, waiting: dict[str, int], received: list[dict[str, int]], busy: int = 0) -> list[list[str]]:
    worker = DeafWorker(QUEUES, hands=HANDS)
    return [worker.ignored(waiting, received=seen, busy=busy) for seen in received]


def test_a_free_worker_that_takes_nothing_while_messages_wait_is_deaf() -> None:
    told = looks(waiting=WAITING, received=[{"lifecycle": 9}] * (LOOKS + 1))

    assert told == [[]] * LOOKS + [["lifecycle"]]


def test_one_that_has_never_received_anything_is_deaf_too() -> None:
    assert looks(waiting=WAITING, received=[{}] * (LOOKS + 1))[-1] == ["lifecycle"]


def test_one_that_reads_another_queue_is_still_deaf_to_this_one() -> None:
    received = [{"lifecycle": 9, "periodic": number} for number in range(LOOKS + 1)]

    assert looks(waiting={"lifecycle": 3, "periodic": 1}, received=received)[-1] == ["lifecycle"]


def test_a_worker_with_its_hands_full_is_not_deaf_however_long_that_lasts() -> None:
    assert looks(waiting=WAITING, received=[{"lifecycle": 9}] * 50, busy=HANDS) == [[]] * 50


def test_one_with_a_single_free_hand_is() -> None:
    assert looks(waiting=WAITING, received=[{"lifecycle": 9}] * 50, busy=HANDS - 1)[-1] == ["lifecycle"]


@pytest.mark.parametrize("waiting", [{"lifecycle": 0, "periodic": 0}, {}], ids=["nothing waits", "the broker is away"])
def test_one_that_has_nothing_to_take_is_not_deaf(waiting: dict[str, int]) -> None:
    assert looks(waiting=waiting, received=[{"lifecycle": 9}] * 50) == [[]] * 50


def test_a_worker_that_cannot_keep_up_is_not_deaf() -> None:
    received = [{"lifecycle": number} for number in range(50)]

    assert looks(waiting={"lifecycle": 5000}, received=received) == [[]] * 50


def test_an_outage_of_the_broker_gives_it_its_whole_time_again() -> None:
    worker = DeafWorker(QUEUES, hands=HANDS)
    seen = [WAITING] * LOOKS + [{}] + [WAITING] * LOOKS

    assert [worker.ignored(waiting, received={}, busy=0) for waiting in seen] == [[]] * len(seen)
