"""The merge of two streams, alone and as the bridge uses it, with a model of a consumer that dies anywhere."""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from hypothesis import given
from hypothesis import strategies as st

from operations.messages import StreamEntry
from tasks.loops.merge_buffer import MergeBuffer
from tasks.streams.fake import FakeJobStreams, FakeStreamServer

START, STOP = NAMES = ("start_jobs", "stop_jobs")


NOW_MS = 100


def start(number: int, sequence: int = 0, *, delivered_ms: int = NOW_MS) -> StreamEntry:
    return StreamEntry(START, f"{number}-{sequence}", {"game_id": "g"}, delivered_ms)


def stop(number: int, sequence: int = 0, *, delivered_ms: int = NOW_MS) -> StreamEntry:
    return StreamEntry(STOP, f"{number}-{sequence}", {"game_id": "g"}, delivered_ms)


def merged(*reads: Sequence[StreamEntry], count: int = 10) -> list[StreamEntry]:
    """The order after these reads, one each 100 ms."""
    buffer, order = MergeBuffer(NAMES), []
    for number, read in enumerate(reads, start=1):
        delivered = [replace(entry, delivered_ms=number * NOW_MS) for entry in read]
        ready = buffer.ready(delivered, count=count, now_ms=number * NOW_MS)
        buffer.discard(ready)
        order += ready
    return order


def undecided(*entries: StreamEntry) -> list[tuple[StreamEntry, StreamEntry]]:
    buffer = MergeBuffer(NAMES)
    return buffer.undecided(buffer.ready(entries, count=10, now_ms=NOW_MS))


class Death(Enum):
    """Where a pass of the consumer ends; memory is lost everywhere but in NOWHERE."""

    NOWHERE = auto()
    AFTER_READING = auto()
    AFTER_RECORDING = auto()
    AFTER_ACKNOWLEDGING = auto()


class Consumer:
    """Reads, records once, acknowledges: the bridge without its database."""

    def __init__(self, server: FakeStreamServer, *, count: int) -> None:
        self.streams = FakeJobStreams(server, names=NAMES)
        self.count = count
        self.recorded: list[StreamEntry] = []
        self.begin_again()

    def begin_again(self) -> None:
        self.buffer = MergeBuffer(NAMES)
        self.buffer.add_pending(self.streams.pending())

    def step(self, death: Death = Death.NOWHERE) -> None:
        self._step(death)
        if death is not Death.NOWHERE:
            self.begin_again()

    def _step(self, death: Death) -> None:
        read = self.streams.read_new(count=self.count, block_ms=0)
        if death is Death.AFTER_READING:
            return
        ready = self.buffer.ready(read.entries, count=self.count, now_ms=read.now_ms)
        self.recorded += [entry for entry in ready if entry not in self.recorded]
        if death is Death.AFTER_RECORDING:
            return
        self.streams.acknowledge(ready)
        self.buffer.discard(ready)


def test_entries_of_two_streams_come_in_the_order_of_their_ids() -> None:
    assert merged([start(1), start(4), stop(2), stop(3)]) == [start(1), stop(2), stop(3), start(4)]


def test_ids_are_compared_as_numbers() -> None:
    assert merged([stop(9, 10), stop(9, 2), start(10)]) == [stop(9, 2), stop(9, 10), start(10)]


def test_in_one_millisecond_a_start_comes_before_a_stop() -> None:
    assert merged([start(9, 3), stop(9)]) == [start(9, 3), stop(9)]


def test_entries_newer_than_a_full_read_wait() -> None:
    buffer = MergeBuffer(NAMES)

    ready = buffer.ready([start(1), start(2), stop(9)], count=2, now_ms=NOW_MS)

    assert ready == [start(1), start(2)]
    buffer.discard(ready)
    assert buffer.ready([start(3), start(10)], count=3, now_ms=NOW_MS) == [start(3), stop(9), start(10)]


def test_of_two_full_reads_the_one_that_ends_earlier_decides() -> None:
    assert merged([start(1), start(8), stop(2), stop(3)], count=2) == [start(1), stop(2), stop(3)]


def test_a_read_that_is_exactly_full_may_have_left_something() -> None:
    assert merged([start(1), stop(2)], count=1) == [start(1)]


def test_after_an_empty_read_all_entries_are_ready() -> None:
    assert merged([start(1), stop(2)], [], count=1) == [start(1), stop(2)]


def test_entries_that_were_not_discarded_are_ready_again() -> None:
    buffer = MergeBuffer(NAMES)
    first = buffer.ready([start(1)], count=10, now_ms=NOW_MS)

    assert buffer.ready([], count=10, now_ms=NOW_MS) == first


def test_adding_a_pending_entry_twice_changes_nothing() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.add_pending([start(1)])
    buffer.add_pending([start(1)])

    assert len(buffer) == 1
    assert buffer.ready([], count=10, now_ms=NOW_MS) == [start(1)]


def test_one_id_in_both_streams_is_two_entries() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.add_pending([start(1), stop(1)])

    buffer.discard([start(1)])

    assert buffer.ready([], count=10, now_ms=NOW_MS) == [stop(1)]


def test_discarding_an_unknown_entry_is_harmless() -> None:
    buffer = MergeBuffer(NAMES)

    buffer.discard([start(1)])

    assert len(buffer) == 0


# Ids ahead of the clock. AHEAD was the last id of a stream when its clock was set back.

AHEAD = 1_000_000


def test_a_start_whose_id_is_ahead_comes_before_a_stop_whose_id_is_not() -> None:
    assert merged([start(AHEAD, 1), stop(50)]) == [start(AHEAD, 1), stop(50)]


def test_of_two_starts_ahead_and_two_stops_none_overtakes_its_own_stream() -> None:
    read = [start(40), start(AHEAD, 1), start(AHEAD, 2), stop(30), stop(50)]

    assert merged(read) == [stop(30), start(40), start(AHEAD, 1), start(AHEAD, 2), stop(50)]


def test_a_stop_known_to_be_older_comes_first_with_all_that_precede_it_in_its_stream() -> None:
    first = [stop(5000, 1), stop(5001)]

    assert merged([start(5002), *first]) == [*first, start(5002)]


def test_an_entry_that_was_read_earlier_comes_first_whatever_its_id() -> None:
    assert merged([stop(AHEAD, 1)], [start(150)], [start(250), stop(AHEAD, 2)]) == [
        stop(AHEAD, 1),
        start(150),
        start(250),
        stop(AHEAD, 2),
    ]


def test_a_pending_stop_ahead_comes_before_a_start_that_is_younger_than_its_delivery() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.add_pending([stop(AHEAD, 1, delivered_ms=20)])

    assert buffer.ready([start(21)], count=10, now_ms=NOW_MS) == [stop(AHEAD, 1), start(21)]


def test_a_pending_stop_ahead_comes_after_a_start_that_may_be_older() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.add_pending([stop(AHEAD, 1, delivered_ms=20)])

    assert buffer.ready([start(20)], count=10, now_ms=NOW_MS) == [start(20), stop(AHEAD, 1)]


def test_a_stop_left_unread_comes_before_a_start_ahead_of_a_later_read() -> None:
    # The second read leaves the stop 90 unread, but no start. The first read ended at 100.
    reads = [[], [stop(60), stop(70)], [stop(90), start(AHEAD, 1)]]

    assert merged(*reads, count=2) == [stop(60), stop(70), stop(90), start(AHEAD, 1)]


def test_ids_of_a_clock_that_was_ahead_order_the_entries_of_that_time() -> None:
    read = [start(AHEAD), stop(AHEAD + 4), start(AHEAD + 9), start(AHEAD + 9, 1)]

    assert merged(read) == [start(AHEAD), stop(AHEAD + 4), start(AHEAD + 9), start(AHEAD + 9, 1)]


def test_of_entries_after_the_clock_was_set_back_starts_come_first() -> None:
    assert merged([start(AHEAD + 9, 1), stop(AHEAD, 1)]) == [start(AHEAD + 9, 1), stop(AHEAD, 1)]


def test_times_of_a_clock_that_was_set_back_decide_nothing() -> None:
    buffer = MergeBuffer(NAMES)
    # This clock shows AHEAD. Both reads leave no start unread; the stop waits for the rest of its stream.
    buffer.discard(buffer.ready([], count=1, now_ms=AHEAD))
    assert buffer.ready([stop(AHEAD + 1)], count=1, now_ms=AHEAD + 1) == [stop(AHEAD + 1)]
    buffer.discard([stop(AHEAD + 1)])

    ready = buffer.ready([start(AHEAD, 5), stop(50)], count=2, now_ms=NOW_MS)

    assert ready == [start(AHEAD, 5), stop(50)]


def test_a_held_entry_of_a_clock_that_was_set_back_is_no_proof_against_an_older_one() -> None:
    buffer = MergeBuffer(NAMES)
    held = [start(AHEAD), start(AHEAD + 5)]
    assert buffer.ready([start(AHEAD), stop(AHEAD + 2), start(AHEAD + 5)], count=3, now_ms=AHEAD + 9) == [
        held[0],
        stop(AHEAD + 2),
        held[1],
    ]
    buffer.discard([stop(AHEAD + 2)])

    assert buffer.ready([stop(50)], count=3, now_ms=NOW_MS) == [*held, stop(50)]


def test_a_start_and_a_stop_of_one_game_are_undecided_if_nothing_shows_their_order() -> None:
    first, second = start(AHEAD, 1), stop(50)

    assert undecided(first, second) == [(first, second)]


def test_a_start_and_a_stop_of_one_millisecond_are_undecided() -> None:
    assert undecided(start(50), stop(50)) == [(start(50), stop(50))]


def test_of_each_game_one_undecided_pair_is_named() -> None:
    assert undecided(start(AHEAD, 1), start(AHEAD, 2), stop(50), stop(51)) == [(start(AHEAD, 1), stop(50))]


def test_entries_of_different_games_and_entries_with_a_known_order_are_not_undecided() -> None:
    other = StreamEntry(STOP, "50-0", {"game_id": "h"}, NOW_MS)

    assert undecided(start(AHEAD, 1), other) == []
    assert undecided(start(49), stop(50), start(51)) == []
    assert undecided(StreamEntry(START, "50-0", {}, NOW_MS), StreamEntry(STOP, "50-0", {}, NOW_MS)) == []


bursts = st.lists(st.sampled_from(NAMES), max_size=12)
passes = st.lists(st.tuples(bursts, st.sampled_from(Death)), max_size=12)


@given(count=st.integers(1, 4), passes=passes)
def test_jobs_are_accepted_in_order_and_once_wherever_the_consumer_dies(
    count: int, passes: list[tuple[list[str], Death]]
) -> None:
    server = FakeStreamServer()
    consumer = Consumer(server, count=count)
    produced: list[StreamEntry] = []

    for burst, death in passes:
        produced += [StreamEntry(name, server.add(name, {}), {}) for name in burst]
        consumer.step(death)
    for _ in range(len(produced) + 1):
        consumer.step()

    assert consumer.recorded == produced
    assert consumer.streams.pending() == []
    assert len(consumer.buffer) == 0
