"""From stream entries to operations: real database, streams in memory, crashes wherever they can happen."""

from collections.abc import Sequence

import pytest
from django.db import OperationalError, connection

from operations.intake import OperationRequest
from operations.models import Operation
from operations.states import Topic
from tasks.bridge import JobBridge, job_parsers
from tasks.leadership import Leadership
from tasks.streams.base import StreamEntry, StreamsUnavailableError
from tasks.streams.fake import FakeJobStreams, FakeStreamServer
from tests.integration.rigs import IMAGE, published, results

START, STOP = "runtime:start_jobs", "runtime:stop_jobs"

pytestmark = pytest.mark.usefixtures("rig")


class DiesBeforeAcknowledging(FakeJobStreams):
    """A bridge that is killed between its commit and its acknowledgement."""

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        message = f"died with {len(entries)} entries recorded but not acknowledged"
        raise StreamsUnavailableError(message)


def add_start(server: FakeStreamServer, game_id: str = "g1") -> str:
    return server.add(START, {"game_id": game_id, "image_ref": IMAGE, "requested_at_ms": "1700000000000"})


def add_stop(server: FakeStreamServer, game_id: str = "g1") -> str:
    return server.add(STOP, {"game_id": game_id, "reason": "cancelled", "requested_at_ms": "1700000000000"})


def bridge(server: FakeStreamServer, kind: type[FakeJobStreams] = FakeJobStreams) -> JobBridge:
    parsers = job_parsers()
    return JobBridge(kind(server, names=list(parsers)), parsers=parsers, leadership=Leadership("test-bridge"))


def kinds() -> list[tuple[str, str]]:
    return list(Operation.objects.order_by("id").values_list("game_id", "op_kind"))


def test_both_streams_are_taken_over_in_the_order_of_their_entries() -> None:
    server = FakeStreamServer()
    for add, game_id in [(add_start, "a"), (add_stop, "a"), (add_start, "b"), (add_stop, "b"), (add_start, "a")]:
        add(server, game_id)

    bridge(server).step()

    assert kinds() == [("a", "start"), ("a", "stop"), ("b", "start"), ("b", "stop"), ("a", "start")]
    assert not any(server.pending.values())


def test_a_long_backlog_on_one_stream_does_not_overtake_the_other() -> None:
    server = FakeStreamServer()
    for number in range(120):
        add_start(server, f"g{number}")
    add_stop(server, "g0")
    one = bridge(server)

    for _ in range(4):
        one.step()

    assert kinds()[-1] == ("g0", "stop")
    assert len(kinds()) == 121


def test_where_a_job_came_from_is_on_record() -> None:
    server = FakeStreamServer()
    entry_id = add_start(server)

    bridge(server).step()

    operation = Operation.objects.get()
    assert (operation.op_source, operation.source_ref) == ("lobby_stream", entry_id)
    assert operation.job_key == f"{START}:{entry_id}"
    assert operation.requested_at is not None


def test_a_crash_before_the_acknowledgement_neither_loses_nor_doubles() -> None:
    server = FakeStreamServer()
    add_start(server)
    with pytest.raises(StreamsUnavailableError):
        bridge(server, DiesBeforeAcknowledging).step()

    bridge(server).step()

    assert len(kinds()) == 1
    assert not any(server.pending.values())


def test_what_a_former_leader_still_reads_is_taken_over_before_anything_newer() -> None:
    server = FakeStreamServer()
    former, leader = FakeJobStreams(server, names=[START, STOP]), bridge(server)
    leader.step()
    add_start(server)
    assert len(former.read_new(count=10, block_ms=0).entries) == 1
    add_stop(server)

    for _ in range(3):
        leader.step()

    assert kinds() == [("g1", "start"), ("g1", "stop")]
    assert not any(server.pending.values())


def test_what_a_former_leader_still_reads_is_taken_over_also_when_nothing_else_comes() -> None:
    server = FakeStreamServer()
    former, leader = FakeJobStreams(server, names=[START, STOP]), bridge(server)
    leader.step()
    add_start(server)
    former.read_new(count=10, block_ms=0)

    for _ in range(3):
        leader.step()

    assert kinds() == [("g1", "start")]


def test_nothing_is_acknowledged_before_it_is_on_record() -> None:
    on_record: list[int] = []

    class Witness(FakeJobStreams):
        """Looks into the database, as another process would, at the moment of the acknowledgement."""

        def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
            assert not connection.in_atomic_block
            on_record.append(Operation.objects.count())
            super().acknowledge(entries)

    server = FakeStreamServer()
    add_start(server)

    bridge(server, Witness).step()

    assert on_record == [1]


def test_a_database_that_goes_away_leaves_the_entries_pending() -> None:
    server = FakeStreamServer()
    entry_id = add_start(server)

    def dies(_entry: StreamEntry) -> OperationRequest:
        message = "server closed the connection unexpectedly"
        raise OperationalError(message)

    broken = JobBridge(
        FakeJobStreams(server, names=[START, STOP]),
        parsers={START: dies, STOP: dies},
        leadership=Leadership("test-bridge"),
    )
    with pytest.raises(OperationalError):
        broken.step()

    assert list(server.pending[START]) == [entry_id]
    bridge(server).step()
    assert len(kinds()) == 1


def test_an_outage_in_the_middle_is_gone_on_from() -> None:
    server = FakeStreamServer()
    one = bridge(server)
    add_start(server)
    server.is_away = True
    with pytest.raises(StreamsUnavailableError):
        one.step()
    one.reset()
    server.is_away = False

    one.step()

    assert len(kinds()) == 1


def test_a_bad_entry_becomes_a_dead_letter_and_a_result_and_blocks_nothing() -> None:
    server = FakeStreamServer()
    bad = server.add(STOP, {"game_id": "g1", "reason": "boredom", "requested_at_ms": "1"})
    add_start(server)

    bridge(server).step()

    assert kinds() == [("g1", "start")]
    letter = published(Topic.DEAD_LETTERS)[0]
    assert (letter["stream"], letter["entry_id"]) == (STOP, bad)
    assert "boredom" in letter["reason"]
    assert "boredom" in letter["fields_json"]
    assert [(one["game_id"], one["error_code"]) for one in results()] == [("g1", "invalid_request")]
    assert not any(server.pending.values())


def test_a_bad_entry_without_a_game_gets_no_result() -> None:
    server = FakeStreamServer()
    server.add(START, {"game_id": "not a game", "image_ref": IMAGE})

    bridge(server).step()

    assert len(published(Topic.DEAD_LETTERS)) == 1
    assert results() == []


def test_an_entry_that_its_producer_trimmed_away_is_acknowledged() -> None:
    server = FakeStreamServer()
    entry_id = add_start(server)
    server.pending[START][entry_id] = None
    del server.streams[START][entry_id]

    bridge(server).step()

    assert kinds() == []
    assert not any(server.pending.values())
