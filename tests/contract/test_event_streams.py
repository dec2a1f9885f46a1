"""The promises of the event streams port, and of both ports while the server is away, in memory and on a real Redis."""

import pytest

from operations.messages import StreamEntry
from tasks.streams.base import StreamsUnavailableError
from tests.contract.stream_backends import HEALTH, RESULTS, START, Site, ids, ready, results

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


def test_a_new_connection_publishes_nothing_before_a_check_of_the_stream(site: Site) -> None:
    events = site.events()
    events.last_entry_id(RESULTS)
    events.publish_once(results("a"))
    site.restart()

    with pytest.raises(StreamsUnavailableError, match="the connection broke"):
        events.publish_once(results("b"))

    assert [entry["game_id"] for entry in site.entries(RESULTS).values()] == ["a"]
    assert events.last_entry_id(RESULTS) in site.entries(RESULTS)
    events.publish_once(results("b"))
    assert [entry["game_id"] for entry in site.entries(RESULTS).values()] == ["a", "b"]


def test_last_ids_seen_over_two_connections_are_not_taken_for_one_observation(site: Site) -> None:
    events = site.events()
    events.last_entry_id(RESULTS)
    site.restart()

    with pytest.raises(StreamsUnavailableError, match="the connection broke"):
        events.last_entry_id(HEALTH)

    assert [events.last_entry_id(stream) for stream in (RESULTS, HEALTH)] == ["0-0", "0-0"]


def test_a_client_that_has_read_nothing_sees_no_gap(site: Site) -> None:
    events = site.events()
    events.publish_once(results("a"))
    site.restart()

    events.publish_once(results("b"))

    assert len(site.entries(RESULTS)) == 2


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
