"""The promises of the job streams port, held by the adapter in memory and by that on a real Redis."""

import pytest

from operations.messages import StreamEntry, parse_entry_id
from tasks.streams.base import StreamsUnavailableError
from tests.contract.stream_backends import MANY, NAMES, START, STOP, Site, ids, ready

# Reading jobs


def test_the_adapter_says_which_streams_it_reads(site: Site) -> None:
    assert tuple(site.jobs().names) == NAMES


def test_a_new_group_begins_with_the_oldest_entry(site: Site) -> None:
    oldest = site.produce(START, game_id="a")
    newer = site.produce(START, game_id="b")

    read = ready(site.jobs()).read_new(count=10, block_ms=0).entries

    assert [(entry.stream, entry.entry_id, entry.fields) for entry in read] == [
        (START, oldest, {"game_id": "a"}),
        (START, newer, {"game_id": "b"}),
    ]


def test_making_the_group_again_changes_nothing(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")
    delivered = jobs.read_new(count=10, block_ms=0).entries

    jobs.ensure_group()

    assert jobs.read_new(count=10, block_ms=0).entries == []
    assert jobs.pending() == delivered


def test_nothing_is_read_from_missing_streams(site: Site) -> None:
    jobs = ready(site.jobs())

    assert jobs.read_new(count=10, block_ms=0).entries == []
    assert jobs.pending() == []


def test_the_count_holds_for_each_stream_by_itself(site: Site) -> None:
    jobs = ready(site.jobs())
    starts, stops = site.produce_many(START, count=5), site.produce_many(STOP, count=3)

    first = jobs.read_new(count=2, block_ms=0).entries
    second = jobs.read_new(count=2, block_ms=0).entries
    third = jobs.read_new(count=2, block_ms=0).entries

    assert [ids(read, START) for read in (first, second, third)] == [starts[:2], starts[2:4], starts[4:]]
    assert [ids(read, STOP) for read in (first, second, third)] == [stops[:2], stops[2:], []]


def test_an_entry_is_new_only_once(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(STOP, game_id="a")
    jobs.read_new(count=10, block_ms=0)

    assert jobs.read_new(count=10, block_ms=0).entries == []


def test_what_was_read_is_pending_until_it_is_acknowledged(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")
    site.produce(STOP, game_id="a")
    start, stop = jobs.read_new(count=10, block_ms=0).entries

    jobs.acknowledge([start])

    assert jobs.pending() == [stop]


def test_looking_at_pending_entries_does_not_consume_them(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")
    read = jobs.read_new(count=10, block_ms=0).entries

    assert jobs.pending() == read
    assert jobs.pending() == read


def test_an_entry_that_was_never_delivered_is_not_pending(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")

    assert jobs.pending() == []


def test_a_second_process_inherits_what_the_first_left(site: Site) -> None:
    first = ready(site.jobs())
    site.produce(START, game_id="a")
    left = first.read_new(count=10, block_ms=0).entries

    second = ready(site.jobs())

    assert second.pending() == left
    second.acknowledge(left)
    assert first.pending() == []


def test_what_is_unacknowledged_is_counted_of_any_reader(site: Site) -> None:
    first, second = ready(site.jobs()), ready(site.jobs())
    before = second.read_new(count=10, block_ms=0)
    site.produce(START, game_id="a")
    site.produce(STOP, game_id="a")
    site.produce(STOP, game_id="b")

    read = first.read_new(count=10, block_ms=0)
    first.acknowledge(read.entries[:1])
    site.produce(START, game_id="c")
    after = second.read_new(count=10, block_ms=0)

    assert before[:3] == ([], 0, 0)
    assert (read.pending, read.pending_of_others) == (3, 0)
    assert len(after.entries) == 1
    assert (after.pending, after.pending_of_others) == (3, 0)


def test_acknowledging_twice_or_nothing_or_the_unknown_is_harmless(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")
    read = jobs.read_new(count=10, block_ms=0).entries

    jobs.acknowledge(read)
    jobs.acknowledge(read)
    jobs.acknowledge([])
    jobs.acknowledge([StreamEntry(STOP, "1-1", {})])

    assert jobs.pending() == []


def test_many_pending_entries_come_whole_and_oldest_first(site: Site) -> None:
    jobs = ready(site.jobs())
    produced = site.produce_many(START, count=MANY)
    jobs.read_new(count=MANY, block_ms=0)

    assert ids(jobs.pending()) == produced


def test_a_read_returns_the_time_at_which_its_entries_were_in_the_stream(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")
    site.produce_as("99999999999999-0", STOP)
    after = site.produce(STOP, game_id="a")

    read = jobs.read_new(count=10, block_ms=0)

    assert after == "99999999999999-1"
    assert {entry.delivered_ms for entry in read.entries} == {read.now_ms}
    assert [entry.order[0] <= read.now_ms for entry in read.entries] == [True, False, False]


def test_reading_a_pending_entry_again_does_not_change_when_it_was_delivered(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="a")
    jobs.read_new(count=10, block_ms=0)
    (first,) = jobs.pending()
    jobs.pending()
    # The clock goes on until a new entry is later than the previous read of the pending one.
    while parse_entry_id(site.produce(STOP, game_id="a"))[0] <= first.delivered_ms + 1:
        pass

    (pending,) = jobs.pending()

    assert pending.delivered_ms <= first.delivered_ms + 1


def test_a_pending_entry_that_was_deleted_comes_as_a_tombstone_in_its_place(site: Site) -> None:
    jobs = ready(site.jobs())
    older, deleted, newer = site.produce_many(START, count=3)
    jobs.read_new(count=10, block_ms=0)
    site.delete(START, deleted)

    pending = jobs.pending()

    assert ids(pending) == [older, deleted, newer]
    assert [entry.fields is None for entry in pending] == [False, True, False]


def test_a_tombstone_that_was_acknowledged_is_gone(site: Site) -> None:
    jobs = ready(site.jobs())
    site.delete(START, *site.produce_many(START, count=1))
    site.produce_many(START, count=2)
    site.delete(START, *ids(jobs.read_new(count=10, block_ms=0).entries))

    jobs.acknowledge(jobs.pending())

    assert jobs.pending() == []


def test_deleting_what_was_done_does_not_hide_what_is_new(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce_many(START, count=3)
    done = jobs.read_new(count=10, block_ms=0).entries
    jobs.acknowledge(done)
    site.delete(START, *ids(done))

    new = site.produce(START, game_id="b")

    assert ids(jobs.read_new(count=10, block_ms=0).entries) == [new]


def test_after_the_server_lost_everything_reading_goes_on_with_the_next_entry(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce(START, game_id="lost")
    jobs.read_new(count=10, block_ms=0)
    site.flush()
    start, stop = site.produce(START, game_id="a"), site.produce(STOP, game_id="a")

    read = jobs.read_new(count=10, block_ms=0).entries

    assert (ids(read, START), ids(read, STOP)) == ([start], [stop])
    assert jobs.pending() == read


def test_jobs_whose_delivery_got_lost_on_the_way_are_pending(site: Site) -> None:
    jobs = ready(site.jobs())
    produced = site.produce(START, game_id="a")
    site.lose_replies(lose=True)
    with pytest.raises(StreamsUnavailableError):
        jobs.read_new(count=10, block_ms=0)
    site.lose_replies(lose=False)

    assert ids(jobs.pending()) == [produced]


# What waits


def waits(site: Site) -> dict[str, tuple[int, int]]:
    """Per stream the entries never read and those not acknowledged."""
    return {name: (one.lag, one.pending) for name, one in site.jobs().backlogs().items()}


def test_before_the_first_read_every_entry_waits(site: Site) -> None:
    site.produce_many(START, count=3)

    assert waits(site) == {START: (3, 0), STOP: (0, 0)}


def test_what_was_read_waits_until_it_is_acknowledged(site: Site) -> None:
    jobs = ready(site.jobs())
    site.produce_many(START, count=5)
    site.produce_many(STOP, count=1)
    read = jobs.read_new(count=2, block_ms=0).entries
    seen = waits(site)

    jobs.acknowledge(read)

    assert seen == {START: (3, 2), STOP: (0, 1)}
    assert waits(site) == {START: (3, 0), STOP: (0, 0)}


def test_entries_deleted_before_they_were_read_do_not_wait(site: Site) -> None:
    jobs = ready(site.jobs())
    _read, deleted, *_left = site.produce_many(START, count=5)
    jobs.acknowledge(jobs.read_new(count=1, block_ms=0).entries)

    site.delete(START, deleted)

    assert waits(site)[START] == (3, 0)


def test_looking_at_what_waits_takes_nothing_and_makes_nothing(site: Site) -> None:
    produced = site.produce(START, game_id="a")
    waits(site)

    assert ids(ready(site.jobs()).read_new(count=10, block_ms=0).entries) == [produced]
