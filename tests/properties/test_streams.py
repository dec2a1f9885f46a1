"""Properties of what is read from streams and written to them."""

import json
from collections.abc import Sequence
from contextlib import suppress

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
from tests.properties.cases import holds_for

NAMES = ["start", "stop"]
LATEST_MS = 253_402_300_799_999

# Each step of the clock: which stream got an entry, and whether a read follows, and whether the reader crashed.
ticks = st.lists(st.integers(0, 11), max_size=10)


def entry(stream: str, number: int) -> StreamEntry:
    return StreamEntry(stream, f"{1_700_000_000_000 + number // 3}-{number}", {})


@holds_for(ticks, st.integers(1, 3), cases=5_000)
def test_jobs_of_two_streams_are_taken_over_in_the_order_of_their_ids_each_once(ticks: list[int], count: int) -> None:
    waiting: dict[str, list[StreamEntry]] = {"start": [], "stop": []}
    buffer, delivered, taken, written = MergeBuffer(NAMES), [], [], []

    def look() -> None:
        read = [one for name in NAMES for one in waiting[name][:count]]
        for name in NAMES:
            del waiting[name][:count]
        delivered.extend(read)
        ready = buffer.ready(read, count=count)
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
            buffer.add([one for one in delivered if one not in taken])
    for _ in range(len(ticks) + 1):
        look()

    assert taken == written


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
