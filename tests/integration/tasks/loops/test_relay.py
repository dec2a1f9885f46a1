"""From the outbox to the streams, whatever dies in between: real database, streams in memory."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
from django.db import transaction

from operations import outbox
from operations.models import OutboxEvent
from operations.outbox import Message
from operations.states import Topic
from tasks.loops.leader_election import LeaderElection
from tasks.loops.relay import Relay, event_streams
from tasks.streams.base import Publication, StreamRefusedError, StreamsUnavailableError
from tasks.streams.fake import FakeEventStreams, FakeStreamServer

RESULTS = "runtime:job_results"


class DiesAfterPublishing(FakeEventStreams):
    """A relay that is killed between its publication and its mark."""

    def publish_once(self, publications: Sequence[Publication]) -> list[str]:
        super().publish_once(publications)
        message = "died after publishing"
        raise StreamsUnavailableError(message)


def queue(*keys: str, topic: Topic = Topic.JOB_RESULTS) -> None:
    outbox.queue([Message(topic, key, "g1", {"key": key}) for key in keys])


def relay(server: FakeStreamServer, kind: type[FakeEventStreams] = FakeEventStreams) -> Relay:
    return Relay(kind(server), names=event_streams(), leadership=LeaderElection("test-relay"))


def on_stream(server: FakeStreamServer, stream: str = RESULTS) -> list[str]:
    return [fields["key"] for fields in server.streams[stream].values()]


def test_events_are_published_in_the_order_they_were_queued() -> None:
    server = FakeStreamServer()
    queue("a", "b")
    queue("c")

    relay(server).step()

    assert on_stream(server) == ["a", "b", "c"]
    assert list(OutboxEvent.objects.order_by("id").values_list("stream_entry_id", flat=True)) == ["1-0", "2-0", "3-0"]


def test_each_topic_goes_to_its_stream() -> None:
    server = FakeStreamServer()
    for topic in Topic:
        queue(topic.value, topic=topic)

    relay(server).step()

    assert {stream: on_stream(server, stream) for stream in server.streams} == {
        "runtime:job_results": ["job_results"],
        "runtime:health_events": ["health_events"],
        "notification:intents": ["notification_intents"],
        "runtime:dead_letters": ["dead_letters"],
    }


def test_an_event_is_queued_once_per_key() -> None:
    server = FakeStreamServer()
    queue("a")
    queue("a", "b")

    relay(server).step()

    assert on_stream(server) == ["a", "b"]


def test_dying_between_publication_and_mark_publishes_nothing_twice() -> None:
    server = FakeStreamServer()
    queue("a", "b")
    with pytest.raises(StreamsUnavailableError):
        relay(server, DiesAfterPublishing).step()

    relay(server).step()

    assert on_stream(server) == ["a", "b"]
    assert not OutboxEvent.objects.filter(published_at=None).exists()


def test_an_event_is_not_published_before_its_transaction_has_committed() -> None:
    class TakenBackError(Exception):
        pass

    server = FakeStreamServer()
    with suppress(TakenBackError), transaction.atomic():
        queue("never happened")
        raise TakenBackError

    relay(server).step()

    assert on_stream(server) == []


def test_a_server_that_lost_its_tail_gets_it_again() -> None:
    server = FakeStreamServer()
    queue("a", "b", "c")
    relay(server).step()
    lose_tail(server)

    relay(server).step()

    assert on_stream(server) == ["a", "b", "c"]


def test_events_lost_in_an_unnoticed_restart_are_published_before_new_ones() -> None:
    server = FakeStreamServer()
    queue("a", "b", "c")
    running = relay(server)
    running.step()
    lose_tail(server)
    server.restart()
    queue("d")

    with pytest.raises(StreamsUnavailableError):
        running.step()
    running.reset()
    running.step()

    assert on_stream(server) == ["a", "b", "c", "d"]


def lose_tail(server: FakeStreamServer) -> None:
    """What a server that is cut off from its power forgets: all but the first result, and their marks."""
    tail = list(server.streams[RESULTS])[1:]
    for entry_id in tail:
        del server.streams[RESULTS][entry_id]
    server.markers = {key: value for key, value in server.markers.items() if value not in tail}


def test_a_stream_that_is_refused_does_not_hold_up_the_others() -> None:
    class RefusesResults(FakeEventStreams):
        """Another program has stored another type under the key of the results."""

        def publish_once(self, publications: Sequence[Publication]) -> list[str]:
            if any(one.stream == RESULTS for one in publications):
                message = "Redis refuses: WRONGTYPE"
                raise StreamRefusedError(message)
            return super().publish_once(publications)

    server = FakeStreamServer()
    queue("result")
    queue("dead-letter", topic=Topic.DEAD_LETTERS)
    refusing = relay(server, RefusesResults)

    refusing.step()

    assert on_stream(server, "runtime:dead_letters") == ["dead-letter"]
    assert list(OutboxEvent.objects.filter(published_at=None).values_list("dedupe_key", flat=True)) == ["result"]
    relay(server).step()
    assert on_stream(server) == ["result"]


def test_events_wait_while_redis_is_unavailable() -> None:
    server = FakeStreamServer()
    one = relay(server)
    queue("a")
    server.is_unavailable = True
    with pytest.raises(StreamsUnavailableError):
        one.step()
    one.reset()
    server.is_unavailable = False

    one.step()

    assert on_stream(server) == ["a"]
