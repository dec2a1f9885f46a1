"""Properties of what is read from streams and written to them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from itertools import combinations

from hypothesis import strategies as st

from operations.messages import (
    EVENT_FIELDS,
    StreamEntry,
    dead_letter_fields,
    epoch_ms,
    in_contract_order,
    parse_start_job,
    parse_stop_job,
)
from runtimes.exceptions import InvalidRequestError
from runtimes.game_ids import is_game_id
from tasks.loops.merge_buffer import MergeBuffer
from tasks.streams.fake import FakeJobStreams, FakeStreamServer
from tests.properties.cases import holds_for

NAMES = ["start", "stop"]
LATEST_MS = 253_402_300_799_999
JUMP_MS = 1_000_000

# Each step of the clock: which stream got an entry, and whether a read follows, and whether the reader crashed.
ticks = st.lists(st.integers(0, 11), max_size=10)


def entry(stream: str, number: int) -> StreamEntry:
    return StreamEntry(stream, f"{1_700_000_000_000 + number}-0", {}, LATEST_MS)


@holds_for(ticks, st.integers(1, 3), cases=5_000)
def test_jobs_of_two_streams_are_taken_over_in_the_order_of_their_ids_each_once(ticks: list[int], count: int) -> None:
    waiting: dict[str, list[StreamEntry]] = {"start": [], "stop": []}
    buffer, delivered, taken, written = MergeBuffer(NAMES), [], [], []

    def look() -> None:
        read = [one for name in NAMES for one in waiting[name][:count]]
        for name in NAMES:
            del waiting[name][:count]
        delivered.extend(read)
        ready = buffer.ready(read, count=count, now_ms=LATEST_MS)
        taken.extend(ready)
        buffer.discard(ready)

    for number, tick in enumerate(ticks):
        written.append(entry(NAMES[tick % 2], number))
        waiting[NAMES[tick % 2]].append(written[-1])
        if tick % 3 == 0:
            look()
        if tick == 7:
            # Killed: the next one begins with what was delivered and not acknowledged.
            buffer = MergeBuffer(NAMES)
            buffer.add_pending([one for one in delivered if one not in taken])
    for _ in range(len(ticks) + 1):
        look()

    assert taken == written


class Move(Enum):
    """What happens to the server or its reader."""

    START = auto()
    STOP = auto()
    STOP_IN_SAME_MS = auto()
    CLOCK_JUMPS_AHEAD = auto()
    CLOCK_IS_SET_BACK = auto()
    READS = auto()
    DIES = auto()


class Reader:
    """The bridge without its database, on streams whose server has a clock that is wrong for some time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.server = FakeStreamServer()
        self.streams, self.buffer = FakeJobStreams(self.server, names=NAMES), MergeBuffer(NAMES)
        self.written: list[StreamEntry] = []
        self.taken: list[StreamEntry] = []
        # It jumps once, and is set back once: ids that were ahead look right after the clock has passed them.
        self.jumps = {Move.CLOCK_IS_SET_BACK: -JUMP_MS, Move.CLOCK_JUMPS_AHEAD: JUMP_MS}

    def do(self, move: Move) -> None:
        if move is Move.READS:
            self.look()
        elif move is Move.DIES:
            self.buffer = MergeBuffer(NAMES)
            self.buffer.add_pending(self.streams.pending())
        elif move in {Move.START, Move.STOP, Move.STOP_IN_SAME_MS}:
            name = NAMES[move is not Move.START]
            self.server.now_ms -= move is Move.STOP_IN_SAME_MS and self.server.now_ms > 0
            self.written.append(StreamEntry(name, self.server.add(name, {}), {}))
        elif move in self.jumps and (move is Move.CLOCK_JUMPS_AHEAD or Move.CLOCK_JUMPS_AHEAD not in self.jumps):
            self.server.now_ms += self.jumps.pop(move)

    def look(self) -> None:
        read = self.streams.read_new(count=self.count, block_ms=0)
        ready = self.buffer.ready(read.entries, count=self.count, now_ms=read.now_ms)
        self.taken += ready
        self.streams.acknowledge(ready)
        self.buffer.discard(ready)


@holds_for(st.lists(st.sampled_from(Move), max_size=16), st.integers(1, 3), cases=5_000)
def test_a_start_comes_before_each_later_stop_even_if_the_clock_was_ahead(moves: Sequence[Move], count: int) -> None:
    reader = Reader(count)
    for move in moves:
        reader.do(move)
    for _ in range(len(moves) + 1):
        reader.look()

    places = [reader.taken.index(one) for one in reader.written]
    assert sorted(places) == list(range(len(reader.taken)))
    for (one, place), (later, later_place) in combinations(zip(reader.written, places, strict=True), 2):
        if (one.stream, later.stream) != ("stop", "start"):
            assert place < later_place


@holds_for(st.integers(0, LATEST_MS), st.integers(0, 2**20), cases=3_000)
def test_a_job_is_read_as_it_was_sent(requested_at_ms: int, number: int) -> None:
    fields = {"game_id": f"g-{number}", "image_ref": f"engine:{number}", "requested_at_ms": str(requested_at_ms)}

    request = parse_start_job(StreamEntry("start", f"{number}-0", fields))

    assert request.requested_at is not None
    assert (request.game_id, request.arguments["image_ref"]) == (fields["game_id"], fields["image_ref"])
    assert epoch_ms(request.requested_at) == requested_at_ms
    assert request.job_key == f"start:{number}-0"


@holds_for(st.lists(st.text(max_size=6), min_size=4, max_size=4), cases=3_000)
def test_whatever_an_entry_holds_it_is_a_job_or_a_refusal(values: Sequence[str]) -> None:
    fields = dict(zip(["game_id", "image_ref", "reason", "requested_at_ms"], values, strict=True))
    for parse in (parse_start_job, parse_stop_job):
        with suppress(InvalidRequestError):
            assert is_game_id(parse(StreamEntry("jobs", "1-0", fields)).game_id)


@holds_for(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4), cases=2_000)
def test_a_dead_letter_keeps_every_field_unchanged(fields: dict[str, str]) -> None:
    dead_letter = dead_letter_fields(stream="s", entry_id="1-0", reason="r", fields=fields)

    assert json.loads(dead_letter["fields_json"]) == fields
    assert dead_letter["fields_json"].isascii()


@holds_for(st.sampled_from(list(EVENT_FIELDS)), st.permutations(range(6)), cases=2_000)
def test_an_event_is_written_in_the_order_of_the_contract(topic: str, order: Sequence[int]) -> None:
    names = EVENT_FIELDS[topic]  # type: ignore[index]
    shuffled = {names[place]: "x" for place in order if place < len(names)}

    written = in_contract_order(topic, {"new": "y", **shuffled})  # type: ignore[arg-type]

    assert list(written) == [*names, "new"]
    assert written == {"new": "y", **shuffled}
