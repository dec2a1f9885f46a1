"""The merge of two streams, alone and as the bridge uses it, with a model of a consumer that dies anywhere."""

from enum import Enum, auto

from hypothesis import given
from hypothesis import strategies as st

from operations.messages import StreamEntry
from tasks.loops.merge_buffer import MergeBuffer
from tasks.streams.fake import FakeJobStreams, FakeStreamServer

START, STOP = NAMES = ("start_jobs", "stop_jobs")


def start(number: int) -> StreamEntry:
    return StreamEntry(START, f"{number}-0", {})


def stop(number: int) -> StreamEntry:
    return StreamEntry(STOP, f"{number}-0", {})


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
        self.buffer.add(self.streams.pending())

    def step(self, death: Death = Death.NOWHERE) -> None:
        self._step(death)
        if death is not Death.NOWHERE:
            self.begin_again()

    def _step(self, death: Death) -> None:
        read = self.streams.read_new(count=self.count, block_ms=0).entries
        if death is Death.AFTER_READING:
            return
        ready = self.buffer.ready(read, count=self.count)
        self.recorded += [entry for entry in ready if entry not in self.recorded]
        if death is Death.AFTER_RECORDING:
            return
        self.streams.acknowledge(ready)
        self.buffer.discard(ready)


def test_entries_of_two_streams_come_in_the_order_of_their_ids() -> None:
    buffer = MergeBuffer(NAMES)

    ready = buffer.ready([start(1), start(4), stop(2), stop(3)], count=10)

    assert ready == [start(1), stop(2), stop(3), start(4)]


def test_ids_are_compared_as_numbers() -> None:
    earlier, later = StreamEntry(STOP, "9-2", {}), StreamEntry(START, "9-10", {})

    assert MergeBuffer(NAMES).ready([later, earlier, start(10)], count=10) == [earlier, later, start(10)]


def test_entries_newer_than_a_full_read_wait() -> None:
    buffer = MergeBuffer(NAMES)

    ready = buffer.ready([start(1), start(2), stop(9)], count=2)

    assert ready == [start(1), start(2)]
    buffer.discard(ready)
    assert buffer.ready([start(3), start(9)], count=2) == [start(3), stop(9), start(9)]


def test_of_two_full_reads_the_one_that_ends_earlier_decides() -> None:
    assert MergeBuffer(NAMES).ready([start(1), start(8), stop(2), stop(3)], count=2) == [start(1), stop(2), stop(3)]


def test_a_read_that_is_exactly_full_may_have_left_something() -> None:
    buffer = MergeBuffer(NAMES)

    assert buffer.ready([start(1), stop(2)], count=1) == [start(1)]


def test_after_an_empty_read_all_entries_are_ready() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.discard(buffer.ready([start(1), stop(2)], count=1))

    assert buffer.ready([], count=1) == [stop(2)]


def test_entries_that_were_not_discarded_are_ready_again() -> None:
    buffer = MergeBuffer(NAMES)
    first = buffer.ready([start(1)], count=10)

    assert buffer.ready([], count=10) == first


def test_adding_an_entry_twice_changes_nothing() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.add([start(1)])
    buffer.add([start(1)])

    assert len(buffer) == 1
    assert buffer.ready([start(1)], count=10) == [start(1)]


def test_one_id_in_both_streams_is_two_entries() -> None:
    buffer = MergeBuffer(NAMES)
    buffer.add([start(1), stop(1)])

    buffer.discard([start(1)])

    assert buffer.ready([], count=10) == [stop(1)]


def test_discarding_an_unknown_entry_is_harmless() -> None:
    buffer = MergeBuffer(NAMES)

    buffer.discard([start(1)])

    assert len(buffer) == 0


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
