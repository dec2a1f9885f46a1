"""From stream entries to operations: real database, streams in memory, crashes wherever they can happen."""

from collections.abc import Sequence

import pytest
from django.db import DatabaseError, OperationalError, connection
from structlog.testing import capture_logs

from operations.intake import OperationRequest
from operations.messages import StreamEntry, job_parsers
from operations.models import Operation
from operations.states import Topic
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.streams.base import StreamsUnavailableError
from tasks.streams.fake import FakeJobStreams, FakeStreamServer
from tests.integration.harness import IMAGE, published, results

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
    return JobBridge(kind(server, names=list(parsers)), parsers=parsers, leadership=LeaderElection("test-bridge"))


def kinds() -> list[tuple[str, str]]:
    return list(Operation.objects.order_by("id").values_list("game_id", "op_kind"))


def test_both_streams_are_accepted_in_the_order_of_their_entries() -> None:
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


def test_a_start_and_a_stop_without_a_known_order_are_logged_for_their_game() -> None:
    server = FakeStreamServer()
    server.add(START, {"game_id": "other", "image_ref": IMAGE, "requested_at_ms": "1"}, entry_id="1000-0")
    add_start(server, "g1")
    add_stop(server, "g1")
    one = bridge(server)

    with capture_logs() as logs:
        one.step()
        add_stop(server, "other")
        one.step()

    assert kinds() == [("other", "start"), ("g1", "start"), ("g1", "stop"), ("other", "stop")]
    assert [log for log in logs if log["event"] == "job_order_unknown"] == [
        {"event": "job_order_unknown", "log_level": "warning", "game_id": "g1", "first": "1000-1", "second": "3-0"}
    ]


def test_ids_ahead_of_the_clock_are_logged_once_when_they_begin_and_end() -> None:
    server = FakeStreamServer()
    one = bridge(server)

    with capture_logs() as logs:
        for _ in range(2):
            server.add(STOP, {"game_id": "g1"}, entry_id="" if server.streams[STOP] else "1000-0")
            add_start(server)
            one.step()
        server.now_ms = 1000
        add_stop(server)
        one.step()

    assert [(log["event"], log["stream"], log["entry_id"]) for log in logs if "clock" in log["event"]] == [
        ("entry_ids_ahead_of_clock", STOP, "1000-0"),
        ("entry_ids_follow_clock", STOP, "1001-0"),
    ]


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


def test_an_entry_read_by_a_former_leader_is_accepted_before_newer_ones() -> None:
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


def test_an_entry_read_by_a_former_leader_is_accepted_without_newer_ones() -> None:
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


def test_a_database_outage_leaves_the_entries_pending() -> None:
    server = FakeStreamServer()
    entry_id = add_start(server)

    def dies(_entry: StreamEntry) -> OperationRequest:
        message = "server closed the connection unexpectedly"
        raise OperationalError(message)

    broken = JobBridge(
        FakeJobStreams(server, names=[START, STOP]),
        parsers={START: dies, STOP: dies},
        leadership=LeaderElection("test-bridge"),
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
    server.is_unavailable = True
    with pytest.raises(StreamsUnavailableError):
        one.step()
    one.reset()
    server.is_unavailable = False

    one.step()

    assert len(kinds()) == 1


def test_an_invalid_entry_becomes_a_dead_letter_and_a_result_and_blocks_nothing() -> None:
    server = FakeStreamServer()
    bad = server.add(STOP, {"game_id": "g1", "reason": "boredom", "requested_at_ms": "1"})
    add_start(server)

    bridge(server).step()

    assert kinds() == [("g1", "start")]
    dead_letter = published(Topic.DEAD_LETTERS)[0]
    assert (dead_letter["stream"], dead_letter["entry_id"]) == (STOP, bad)
    assert "boredom" in dead_letter["reason"]
    assert "boredom" in dead_letter["fields_json"]
    assert [(one["game_id"], one["error_code"]) for one in results()] == [("g1", "invalid_request")]
    assert not any(server.pending.values())


def test_a_bad_entry_without_a_game_gets_no_result() -> None:
    server = FakeStreamServer()
    server.add(START, {"game_id": "not a game", "image_ref": IMAGE})

    bridge(server).step()

    assert len(published(Topic.DEAD_LETTERS)) == 1
    assert results() == []


def test_an_entry_that_its_producer_trimmed_is_acknowledged() -> None:
    server = FakeStreamServer()
    entry_id = add_start(server)
    server.pending[START][entry_id] = server.now_ms
    del server.streams[START][entry_id]

    bridge(server).step()

    assert kinds() == []
    assert not any(server.pending.values())


class RefusesOneGame:
    """A database that refuses the operations of one game with this SQLSTATE, as a trigger."""

    def __init__(self, game_id: str, sqlstate: str) -> None:
        refusal = f"RAISE EXCEPTION 'refused' USING ERRCODE = '{sqlstate}'"
        self._raise = f"IF NEW.game_id = '{game_id}' THEN {refusal}; END IF"

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN {self._raise}; RETURN NEW; END $$"
            )
            cursor.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON operations_operation FOR EACH ROW EXECUTE FUNCTION refuse()"
            )

    def __exit__(self, *_error: object) -> None:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION refuse CASCADE")


# Feature not supported (SQL_ASCII), program limit exceeded, invalid text, check violation, error of a trigger.
@pytest.mark.parametrize("sqlstate", ["0A000", "54000", "22P05", "23514", "P0001"])
def test_an_entry_that_the_database_never_accepts_becomes_a_dead_letter_and_blocks_no_other(sqlstate: str) -> None:
    server = FakeStreamServer()
    add_start(server, "bad")
    add_start(server, "good")

    with RefusesOneGame("bad", sqlstate):
        bridge(server).step()

    assert kinds() == [("good", "start")]
    assert len(published(Topic.DEAD_LETTERS)) == 1
    assert not any(server.pending.values())


# A read-only session, a lock timeout, a full disk, a missing privilege, a deadlock, a shutdown.
@pytest.mark.parametrize("sqlstate", ["25006", "55P03", "53100", "42501", "40P01", "57P01"])
def test_a_database_that_refuses_for_now_makes_no_dead_letter(sqlstate: str) -> None:
    server = FakeStreamServer()
    add_start(server, "bad")
    add_start(server, "good")

    with RefusesOneGame("bad", sqlstate), pytest.raises(DatabaseError):
        bridge(server).step()
    bridge(server).step()

    assert kinds() == [("bad", "start"), ("good", "start")]
    assert published(Topic.DEAD_LETTERS) == []
