"""The promises of the streams ports, held by the adapters in memory and by those on a real Redis."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
import redis

from tasks.streams.base import (
    Delivery,
    EventStreams,
    JobStreams,
    Publication,
    StreamEntry,
    StreamsUnavailableError,
    Unacknowledged,
)
from tasks.streams.fake import FakeEventStreams, FakeJobStreams, FakeStreamServer
from tasks.streams.redis import CONSUMER, GROUP, RedisEventStreams, RedisJobStreams
from tests.servers.waiting import wait_for

START, STOP = NAMES = ("start_jobs", "stop_jobs")
RESULTS, HEALTH = "job_results", "health_events"
# More than two pages of anything the adapter reads page by page.
MANY = 450


class Site(Protocol):
    """A server with its streams, as its other users and its operators see it."""

    def jobs(self) -> JobStreams: ...
    def events(self) -> EventStreams: ...
    def produce(self, stream: str, **fields: str) -> str: ...
    def produce_many(self, stream: str, *, count: int) -> list[str]: ...
    def delete(self, stream: str, *entry_ids: str) -> None: ...
    def entries(self, stream: str) -> dict[str, Mapping[str, str]]: ...
    def flush(self) -> None: ...
    def be_away(self, *, away: bool) -> None: ...
    def lose_replies(self, *, lose: bool) -> None: ...


class FakeSite:
    """Everything in memory."""

    def __init__(self) -> None:
        self.server = FakeStreamServer()

    def jobs(self) -> JobStreams:
        return FakeJobStreams(self.server, names=NAMES)

    def events(self) -> EventStreams:
        return FakeEventStreams(self.server)

    def produce(self, stream: str, **fields: str) -> str:
        return self.server.add(stream, fields)

    def produce_many(self, stream: str, *, count: int) -> list[str]:
        return [self.server.add(stream, {"n": str(number)}) for number in range(count)]

    def delete(self, stream: str, *entry_ids: str) -> None:
        self.server.delete(stream, *entry_ids)

    def entries(self, stream: str) -> dict[str, Mapping[str, str]]:
        return dict(self.server.streams[stream])

    def flush(self) -> None:
        self.server.flush()

    def be_away(self, *, away: bool) -> None:
        self.server.is_away = away

    def lose_replies(self, *, lose: bool) -> None:
        self.server.loses_replies = lose


class Wire:
    """Stands between the adapters and the server: can be cut, can swallow answers, can swallow everything."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self.swallows_answers = False
        self.swallows_requests = False
        self._ends: list[socket.socket] = []
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        for end in (self._listener, *self._ends):
            _close(end)
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._upstream)
                self._ends += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                is_answer = source.getpeername() == self._upstream
                if is_answer and self.swallows_answers:
                    break
                if is_answer or not self.swallows_requests:
                    sink.sendall(chunk)
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    # Closing alone does not wake the thread that reads from it.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class RedisSite:
    """A real server; the adapters reach it over a wire that tests may damage, the outside reaches it directly."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # Untyped on purpose: redis-py cannot say in types that answers come decoded.
        self.client: Any = redis.Redis.from_url(url, decode_responses=True)
        self.wire = Wire((socket.gethostbyname(parts.hostname or ""), parts.port or 6379))
        self.url = f"redis://127.0.0.1:{self.wire.port}{parts.path}"

    def jobs(self) -> JobStreams:
        return RedisJobStreams(self.url, names=NAMES)

    def events(self) -> EventStreams:
        return RedisEventStreams(self.url)

    def produce(self, stream: str, **fields: str) -> str:
        return str(self.client.xadd(stream, fields))

    def produce_many(self, stream: str, *, count: int) -> list[str]:
        pipeline = self.client.pipeline()
        for number in range(count):
            pipeline.xadd(stream, {"n": str(number)})
        return [str(entry_id) for entry_id in pipeline.execute()]

    def delete(self, stream: str, *entry_ids: str) -> None:
        self.client.xdel(stream, *entry_ids)

    def entries(self, stream: str) -> dict[str, Mapping[str, str]]:
        return dict(self.client.xrange(stream))

    def flush(self) -> None:
        self.client.flushall()

    def be_away(self, *, away: bool) -> None:
        if away:
            self.wire.cut()
        else:
            self.wire.mend()

    def lose_replies(self, *, lose: bool) -> None:
        self.wire.swallows_answers = lose

    def close(self) -> None:
        self.wire.cut()
        self.client.close()


@pytest.fixture
def real_site(redis_url: str) -> Iterator[RedisSite]:
    with contextlib.closing(RedisSite(redis_url)) as site:
        yield site


@pytest.fixture(params=["fake", "redis"])
def site(request: pytest.FixtureRequest) -> Site:
    if request.param == "fake":
        return FakeSite()
    real: Site = request.getfixturevalue("real_site")
    return real


def ready(jobs: JobStreams) -> JobStreams:
    jobs.ensure_group()
    return jobs


def ids(entries: Sequence[StreamEntry], stream: str | None = None) -> list[str]:
    return [entry.entry_id for entry in entries if stream in {None, entry.stream}]


def results(*keys: str, stream: str = RESULTS) -> list[Publication]:
    return [Publication(stream, key, {"game_id": key, "outcome": "success", "error_code": ""}) for key in keys]


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


def test_nothing_is_read_from_streams_that_nobody_has_written_yet(site: Site) -> None:
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


def test_what_is_unacknowledged_is_counted_whoever_read_it(site: Site) -> None:
    first, second = ready(site.jobs()), ready(site.jobs())
    before = second.read_new(count=10, block_ms=0)
    site.produce(START, game_id="a")
    site.produce(STOP, game_id="a")
    site.produce(STOP, game_id="b")

    read = first.read_new(count=10, block_ms=0)
    first.acknowledge(read.entries[:1])
    site.produce(START, game_id="c")
    after = second.read_new(count=10, block_ms=0)

    assert before == Delivery([], Unacknowledged(ours=0, of_others=0))
    assert read.unacknowledged == Unacknowledged(ours=3, of_others=0)
    assert len(after.entries) == 1
    assert after.unacknowledged == Unacknowledged(ours=3, of_others=0)


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


def test_where_nobody_has_read_yet_every_entry_waits(site: Site) -> None:
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


# Publishing events


def test_a_publication_is_an_entry_with_its_fields(site: Site) -> None:
    (entry_id,) = site.events().publish_once(results("a"))

    assert site.entries(RESULTS) == {entry_id: {"game_id": "a", "outcome": "success", "error_code": ""}}


def test_publishing_again_adds_nothing_and_gives_the_same_id(site: Site) -> None:
    first = site.events().publish_once(results("a"))

    second = site.events().publish_once(results("a"))

    assert second == first
    assert len(site.entries(RESULTS)) == 1


def test_a_key_may_be_used_once_in_each_stream(site: Site) -> None:
    site.events().publish_once([*results("a"), *results("a", stream=HEALTH)])

    assert [len(site.entries(stream)) for stream in (RESULTS, HEALTH)] == [1, 1]


def test_a_batch_keeps_its_order(site: Site) -> None:
    keys = [str(number) for number in range(50)]

    entry_ids = site.events().publish_once(results(*keys))

    entries = site.entries(RESULTS)
    assert list(entries) == entry_ids
    assert [fields["game_id"] for fields in entries.values()] == keys


def test_a_batch_that_was_published_in_part_is_completed(site: Site) -> None:
    first_ids = site.events().publish_once(results("a", "b"))

    entry_ids = site.events().publish_once(results("a", "b", "c"))

    assert entry_ids[:2] == first_ids
    assert list(site.entries(RESULTS)) == entry_ids


def test_publishing_nothing_is_allowed(site: Site) -> None:
    assert site.events().publish_once([]) == []


def test_an_event_whose_reply_got_lost_is_published_once(site: Site) -> None:
    events = site.events()
    events.last_entry_id(RESULTS)  # the connection stands before replies get lost
    site.lose_replies(lose=True)
    with pytest.raises(StreamsUnavailableError):
        events.publish_once(results("a", "b"))
    assert len(site.entries(RESULTS)) == 2
    site.lose_replies(lose=False)

    entry_ids = events.publish_once(results("a", "b"))

    assert list(site.entries(RESULTS)) == entry_ids


def test_the_last_id_is_that_of_the_newest_entry(site: Site) -> None:
    entry_ids = site.events().publish_once(results("a", "b"))

    assert site.events().last_entry_id(RESULTS) == entry_ids[-1]


def test_the_last_id_stays_when_the_newest_entry_is_deleted(site: Site) -> None:
    entry_ids = site.events().publish_once(results("a", "b"))

    site.delete(RESULTS, *entry_ids)

    assert site.events().last_entry_id(RESULTS) == entry_ids[-1]


def test_the_last_id_of_a_stream_that_does_not_exist_is_zero(site: Site) -> None:
    assert site.events().last_entry_id(RESULTS) == "0-0"


# Servers that are away


def test_while_the_server_is_away_every_call_says_so_and_afterwards_all_goes_on(site: Site) -> None:
    jobs, events = ready(site.jobs()), site.events()
    produced = site.produce(START, game_id="a")
    site.be_away(away=True)

    for call in (
        jobs.ensure_group,
        jobs.pending,
        lambda: jobs.read_new(count=1, block_ms=0).entries,
        lambda: jobs.acknowledge([StreamEntry(START, produced, {})]),
        lambda: events.publish_once(results("a")),
        lambda: events.last_entry_id(RESULTS),
    ):
        with pytest.raises(StreamsUnavailableError, match="Redis does not answer"):
            call()

    site.be_away(away=False)
    assert ids(jobs.read_new(count=1, block_ms=0).entries) == [produced]
    assert len(events.publish_once(results("a"))) == len(site.entries(RESULTS)) == 1


# What only a real server does


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


def read_as_somebody_else(site: RedisSite) -> None:
    site.client.xreadgroup(GROUP, "somebody-else", {START: ">"}, count=MANY)


def test_what_a_consumer_that_is_gone_left_is_taken_over(real_site: RedisSite) -> None:
    ready(real_site.jobs())
    produced = real_site.produce_many(START, count=MANY)
    read_as_somebody_else(real_site)
    jobs = RedisJobStreams(real_site.url, names=NAMES, foreign_idle_ms=0)

    pending = jobs.pending()

    assert ids(pending) == produced
    owners = {one["consumer"] for one in real_site.client.xpending_range(START, GROUP, "-", "+", MANY)}
    assert owners == {CONSUMER}
    jobs.acknowledge(pending)
    assert jobs.pending() == []


def test_what_a_consumer_that_is_not_gone_yet_holds_is_left_to_it(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.produce_many(START, count=1)
    read_as_somebody_else(real_site)

    assert jobs.pending() == []
    assert jobs.read_new(count=10, block_ms=0).unacknowledged == Unacknowledged(ours=0, of_others=1)


def test_entries_of_a_gone_consumer_that_were_trimmed_away_come_as_tombstones(real_site: RedisSite) -> None:
    ready(real_site.jobs())
    trimmed, kept = real_site.produce_many(START, count=2)
    read_as_somebody_else(real_site)
    real_site.client.xtrim(START, maxlen=1, approximate=False)
    jobs = RedisJobStreams(real_site.url, names=NAMES, foreign_idle_ms=0)

    pending = jobs.pending()

    assert [(entry.entry_id, entry.fields) for entry in pending] == [(trimmed, None), (kept, {"n": "1"})]


def test_bytes_that_are_no_text_come_out_as_visible_escapes(real_site: RedisSite) -> None:
    jobs = ready(real_site.jobs())
    real_site.client.xadd(START, {b"game_id": b"g\xff1", b"\xfe": "grün".encode()})

    (entry,) = jobs.read_new(count=1, block_ms=0).entries

    assert entry.fields == {"game_id": "g\\xff1", "\\xfe": "grün"}


def test_when_one_stream_lost_its_group_the_same_look_still_shows_both(real_site: RedisSite) -> None:
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
