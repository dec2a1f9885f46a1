"""The bridge on a real Redis, with the ids and entries that only a real Redis makes."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from operations.messages import job_parsers
from operations.models import DeadLetter, Operation
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.streams.redis.client import GROUP
from tasks.streams.redis.jobs import CONSUMER, RedisJobStreams
from tests.integration.harness import IMAGE, results
from tests.servers.databases import RedisServer

START, STOP = "runtime:start_jobs", "runtime:stop_jobs"
# The last id of a stream whose server had a clock in the far future.
AHEAD_MS = 9_000_000_000_000

pytestmark = pytest.mark.usefixtures("rig")


class Lobby:
    """Writes jobs to the streams of a bridge, which reads on request."""

    def __init__(self, redis_server: RedisServer, url: str) -> None:
        self.client: Any = redis_server.client(0)
        self.bridge = self._bridge(url)
        self._url = url

    def start(self, game_id: str = "g1", *, entry_id: str = "*") -> str:
        fields = {"game_id": game_id, "image_ref": IMAGE, "requested_at_ms": "1"}
        return str(self.client.xadd(START, fields, id=entry_id))

    def stop(self, game_id: str = "g1", *, entry_id: str = "*") -> str:
        fields = {"game_id": game_id, "reason": "cancelled", "requested_at_ms": "1"}
        return str(self.client.xadd(STOP, fields, id=entry_id))

    def wait_for_next_millisecond(self) -> None:
        """Ids order entries of two streams only if the clock has moved in between."""
        before = self._clock_ms()
        while self._clock_ms() <= before + 1:
            pass

    def replace_bridge(self) -> None:
        """Another process becomes the leader."""
        self.bridge.close()
        self.bridge = self._bridge(self._url)

    def _clock_ms(self) -> int:
        seconds, microseconds = self.client.time()
        return int(seconds * 1000 + microseconds // 1000)

    @staticmethod
    def _bridge(url: str) -> JobBridge:
        parsers = job_parsers()
        streams = RedisJobStreams(url, names=list(parsers))
        return JobBridge(streams, parsers=parsers, leadership=LeaderElection("test-bridge"))


@pytest.fixture
def lobby(redis_server: RedisServer, redis_url: str) -> Lobby:
    return Lobby(redis_server, redis_url)


def accepted() -> list[str]:
    return list(Operation.objects.order_by("id").values_list("op_kind", flat=True))


@pytest.mark.parametrize("stream", [START, STOP])
def test_a_start_and_a_stop_of_a_backlog_come_in_this_order_whichever_stream_is_ahead(
    lobby: Lobby, stream: str
) -> None:
    lobby.start("other", entry_id=f"{AHEAD_MS}-0" if stream == START else "*")
    lobby.stop("other", entry_id=f"{AHEAD_MS}-0" if stream == STOP else "*")
    first, second = lobby.start(), lobby.stop()

    with capture_logs() as logs:
        lobby.bridge.step()

    assert list(Operation.objects.filter(game_id="g1").order_by("id").values_list("op_kind", flat=True)) == [
        "start",
        "stop",
    ]
    assert f"{AHEAD_MS}-1" in {first, second}
    unknown = [(log["first"], log["second"]) for log in logs if log["event"] == "job_order_unknown"]
    assert (first, second) in unknown
    assert [log["stream"] for log in logs if log["event"] == "entry_ids_ahead_of_clock"] == [stream]


def test_jobs_that_are_read_one_by_one_keep_their_order_if_both_streams_are_ahead(lobby: Lobby) -> None:
    lobby.start("other", entry_id=f"{AHEAD_MS}-0")
    lobby.stop("other", entry_id=f"{AHEAD_MS + 5}-0")
    lobby.bridge.step()

    with capture_logs() as logs:
        for write in (lobby.start, lobby.stop, lobby.start, lobby.stop, lobby.stop, lobby.start):
            write()
            lobby.bridge.step()

    assert accepted()[2:] == ["start", "stop", "start", "stop", "stop", "start"]
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == []


def test_jobs_of_a_time_when_the_clock_was_ahead_keep_their_order(lobby: Lobby) -> None:
    for number, write in enumerate([lobby.start, lobby.stop, lobby.start, lobby.stop, lobby.stop, lobby.start]):
        write(entry_id=f"{AHEAD_MS + number}-0")

    with capture_logs() as logs:
        lobby.bridge.step()

    assert accepted() == ["start", "stop", "start", "stop", "stop", "start"]
    assert [log["event"] for log in logs if log["event"] == "job_order_unknown"] == []


def test_a_stop_that_a_former_leader_left_comes_before_a_start_written_after_it_was_delivered(lobby: Lobby) -> None:
    lobby.bridge.step()
    lobby.stop(entry_id=f"{AHEAD_MS}-0")
    lobby.client.xreadgroup(GROUP, CONSUMER, {STOP: ">"})
    lobby.wait_for_next_millisecond()
    lobby.start()
    lobby.replace_bridge()

    lobby.bridge.step()

    assert accepted() == ["stop", "start"]


def test_a_repeated_field_makes_a_dead_letter_with_all_values_and_blocks_nothing(lobby: Lobby) -> None:
    lobby.client.execute_command("XADD", STOP, "*", "game_id", "a", "reason", "timeout", "game_id", "b")
    lobby.client.execute_command("XADD", STOP, "*", "game_id", "a", "reason", "timeout", "reason", "timeout")
    lobby.start()

    lobby.bridge.step()

    dead_letters = DeadLetter.objects.order_by("id")
    assert [json.loads(row.fields) for row in dead_letters] == [
        {"game_id": ["a", "b"], "reason": "timeout"},
        {"game_id": "a", "reason": ["timeout", "timeout"]},
    ]
    assert accepted() == ["start"]
    assert [(one["game_id"], one["error_code"]) for one in results()] == [("a", "invalid_request")]
    assert lobby.client.xpending(STOP, GROUP)["pending"] == 0
