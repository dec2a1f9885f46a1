"""A Redis that lost its data gets again what an operator asks for."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from operations import outbox
from operations.models import OutboxEvent
from operations.outbox import Message
from operations.states import Topic
from tasks.loops.leader_election import LeaderElection
from tasks.loops.relay import Relay, event_streams
from tasks.streams.fake import FakeEventStreams, FakeStreamServer


@pytest.fixture
def server() -> FakeStreamServer:
    """A stream server to which a result and a dead letter have been published."""
    server = FakeStreamServer()
    outbox.queue(
        [
            Message(Topic.JOB_RESULTS, "result", "g1", {"key": "result"}),
            Message(Topic.DEAD_LETTERS, "dead-letter", "g1", {"key": "dead-letter"}),
        ]
    )
    publish(server)
    return server


def publish(server: FakeStreamServer) -> None:
    Relay(FakeEventStreams(server), names=event_streams(), leadership=LeaderElection("test-republish")).step()


def republish(*arguments: str) -> str:
    said = StringIO()
    call_command("republish", *arguments, stdout=said)
    return said.getvalue()


def on(server: FakeStreamServer) -> dict[str, int]:
    return {stream: len(entries) for stream, entries in server.streams.items() if entries}


def test_a_server_that_lost_everything_gets_it_again(server: FakeStreamServer) -> None:
    server.flush()

    said = republish("--since", "1h")

    publish(server)
    assert said == "2 events will be published again by relay_events\n"
    assert on(server) == {"runtime:job_results": 1, "runtime:dead_letters": 1}


def test_a_server_that_lost_nothing_gets_nothing_twice(server: FakeStreamServer) -> None:
    republish("--since", "1h")

    publish(server)
    assert on(server) == {"runtime:job_results": 1, "runtime:dead_letters": 1}
    assert not OutboxEvent.objects.filter(published_at=None).exists()


def test_one_topic_may_be_asked_for_alone(server: FakeStreamServer) -> None:
    server.flush()

    republish("--since", "1h", "--topic", "job_results")

    waiting = OutboxEvent.objects.filter(published_at=None).values_list("topic", flat=True)
    assert list(waiting) == [Topic.JOB_RESULTS]


@pytest.mark.usefixtures("server")
def test_a_dry_run_only_counts() -> None:
    assert republish("--since", "1h", "--dry-run") == "2 events would be published again\n"
    assert not OutboxEvent.objects.filter(published_at=None).exists()


@pytest.mark.usefixtures("server")
def test_what_is_older_is_left_alone() -> None:
    assert republish("--since", "0s") == "0 events will be published again by relay_events\n"


def test_a_duration_without_a_unit_is_refused_with_an_example() -> None:
    with pytest.raises(CommandError, match="write for example"):
        republish("--since", "2")
