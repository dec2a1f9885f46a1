"""What the streams adapters promise about things that only a real Redis does."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from operations.messages import StreamEntry
from tasks.streams.base import StreamsUnavailableError
from tasks.streams.redis.client import GROUP
from tasks.streams.redis.jobs import CONSUMER, RedisJobStreams
from tests.contract.stream_backends import HEALTH, MANY, NAMES, RESULTS, START, STOP, RedisSite, ids, ready, results
from tests.servers.waiting import wait_for


def test_a_server_that_accepts_and_keeps_silent_is_given_up_within_the_time_out(real_site: RedisSite) -> None:
    jobs = ready(RedisJobStreams(f"{real_site.url}?socket_timeout=0.2", names=NAMES))
    real_site.wire.swallows_requests = True
    began = time.monotonic()

    with pytest.raises(StreamsUnavailableError, match="reading jobs"):
        jobs.read_new(count=1, block_ms=0)

    assert 0.2 <= time.monotonic() - began < 2


def test_a_waiting_read_comes_back_with_the_first_entry(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(jobs.read_new, count=10, block_ms=4000)
        wait_for(lambda: real_site.client.info("clients")["blocked_clients"], what="a blocked client")
        produced = real_site.produce(STOP, game_id="a")

        assert ids(reading.result(timeout=3).entries) == [produced]


def test_a_waiting_read_under_which_everything_is_lost_goes_on_with_the_next_entry(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(jobs.read_new, count=10, block_ms=4000)
        wait_for(lambda: real_site.client.info("clients")["blocked_clients"], what="a blocked client")
        real_site.flush()
        produced = real_site.produce(STOP, game_id="a")

        assert ids(reading.result(timeout=9).entries) == [produced]


def test_a_waiting_read_ends_with_nothing_when_nothing_comes(real_site: RedisSite) -> None:
    began = time.monotonic()

    read = ready(real_site.jobs()).read_new(count=10, block_ms=60).entries

    assert read == []
    assert time.monotonic() - began >= 0.05


def read_as_other_consumer(site: RedisSite) -> None:
    site.client.xreadgroup(GROUP, "other-consumer", {START: ">"}, count=MANY)


def test_what_a_consumer_that_is_gone_left_is_taken_over(real_site: RedisSite) -> None:
    ready(real_site.jobs())
    produced = real_site.produce_many(START, count=MANY)
    read_as_other_consumer(real_site)
    jobs = RedisJobStreams(real_site.url, names=NAMES, stale_after_ms=0)

    pending = jobs.pending()

    assert ids(pending) == produced
    owners = {one["consumer"] for one in real_site.client.xpending_range(START, GROUP, "-", "+", MANY)}
    assert owners == {CONSUMER}
    jobs.acknowledge(pending)
    assert jobs.pending() == []


def test_what_a_consumer_that_is_not_gone_yet_holds_is_left_to_it(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.produce_many(START, count=1)
    read_as_other_consumer(real_site)

    assert jobs.pending() == []
    read = jobs.read_new(count=10, block_ms=0)
    assert (read.pending, read.pending_of_others) == (0, 1)


def test_entries_of_a_gone_consumer_that_were_trimmed_away_come_as_tombstones(real_site: RedisSite) -> None:
    ready(real_site.jobs())
    trimmed, kept = real_site.produce_many(START, count=2)
    read_as_other_consumer(real_site)
    real_site.client.xtrim(START, maxlen=1, approximate=False)
    jobs = RedisJobStreams(real_site.url, names=NAMES, stale_after_ms=0)

    pending = jobs.pending()

    assert [(entry.entry_id, entry.fields) for entry in pending] == [(trimmed, None), (kept, {"n": "1"})]


def test_bytes_that_are_no_text_come_out_as_visible_escapes(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.client.xadd(START, {b"game_id": b"g\xff1", b"\xfe": "grün".encode()})

    (entry,) = jobs.read_new(count=1, block_ms=0).entries

    assert entry.fields == {"game_id": "g\\xff1", "\\xfe": "grün"}


def test_all_values_of_a_repeated_field_are_read_as_new_and_as_pending(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.client.execute_command("XADD", START, "*", "game_id", "a", "n", "1", "game_id", "b")

    read = jobs.read_new(count=1, block_ms=0).entries

    assert [entry.fields for entry in read] == [{"game_id": ["a", "b"], "n": "1"}]
    assert jobs.pending() == read


def test_if_one_stream_lost_its_group_the_query_still_returns_both(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.client.delete(STOP)
    start, stop = real_site.produce(START, game_id="a"), real_site.produce(STOP, game_id="a")

    read = jobs.read_new(count=10, block_ms=0).entries

    assert (ids(read, START), ids(read, STOP)) == ([start], [stop])


def test_a_key_of_another_type_is_refused_by_name_until_it_is_gone(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.client.set(START, "no stream")

    for call in (
        jobs.ensure_group,
        jobs.pending,
        lambda: jobs.read_new(count=1, block_ms=0).entries,
        lambda: jobs.acknowledge([StreamEntry(START, "1-1", {})]),
        jobs.backlogs,
    ):
        with pytest.raises(StreamsUnavailableError, match=rf"Redis refuses .*{START}.*WRONGTYPE"):
            call()

    real_site.client.delete(START)
    produced = real_site.produce(START, game_id="a")
    assert ids(ready(jobs).read_new(count=1, block_ms=0).entries) == [produced]


def test_an_event_stream_of_another_type_is_refused_by_name_and_short(real_site: RedisSite) -> None:
    real_site.client.set(RESULTS, "no stream")
    events = real_site.events()

    with pytest.raises(StreamsUnavailableError, match=rf"Redis refuses .*{RESULTS}.*WRONGTYPE") as published:
        events.publish_once(results("a"))
    with pytest.raises(StreamsUnavailableError, match=rf"Redis refuses .*{RESULTS}.*WRONGTYPE"):
        events.last_entry_id(RESULTS)

    assert "redis.call" not in published.value.message


def test_a_batch_refused_in_part_ends_with_each_event_once_and_in_order(real_site: RedisSite) -> None:
    real_site.client.set(RESULTS, "no stream")
    events = real_site.events()
    pairs = zip(results("a", "b", "c"), results("a", "b", "c", stream=HEALTH), strict=True)
    batch = list(itertools.chain.from_iterable(pairs))
    with pytest.raises(StreamsUnavailableError):
        events.publish_once(batch)
    real_site.client.delete(RESULTS)

    events.publish_once(batch)

    for stream in (RESULTS, HEALTH):
        assert [fields["game_id"] for fields in real_site.entries(stream).values()] == ["a", "b", "c"]


@pytest.mark.parametrize("is_read", [False, True], ids=["never read", "not acknowledged"])
def test_the_age_of_the_oldest_job_that_waits_is_that_of_its_entry(real_site: RedisSite, *, is_read: bool) -> None:
    jobs = ready(real_site.jobs())
    seconds, _microseconds = real_site.client.time()
    real_site.client.xadd(START, {"game_id": "old"}, id=f"{(seconds - 90) * 1000}-0")
    real_site.produce(START, game_id="new")
    if is_read:
        jobs.read_new(count=10, block_ms=0)

    ages = {name: one.oldest_age_seconds for name, one in jobs.backlogs().items()}

    assert 89 <= ages[START] < 120
    assert ages[STOP] == 0
