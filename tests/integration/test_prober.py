"""Rounds of probes on real engines over loopback: real database, Docker in memory."""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from operations.states import Topic
from runtimes.containers.base import ContainersUnavailableError
from runtimes.models import HealthSnapshot, Runtime
from tasks.leadership import Leadership
from tasks.prober import Prober
from tasks.probes import HttpProbes
from tests.conftest import RtmSettings
from tests.integration.rigs import Rig, health_events, published
from tests.servers.waiting import wait_for


class Engine(ThreadingHTTPServer):
    """Lets every request wait until the test says which status is its answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.waiting: set[object] = set()
        self.hosts: set[str | None] = set()

    def let_go(self) -> None:
        """Answer whoever waits, whether it still listens or not."""
        for _ in list(self.waiting):
            self.script.put(200)
        wait_for(lambda: not self.waiting, what="the requests under way to end")


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        self.server.hosts.add(self.headers["Host"])
        self.server.waiting.add(self)
        status = self.server.script.get()
        self.server.waiting.discard(self)
        with suppress(OSError):
            self.send_response(status)
            self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield engine
        engine.let_go()
        engine.shutdown()
        thread.join()


@dataclass
class Probing:
    """A prober moved by hand, on games whose engines are all this one server."""

    prober: Prober
    rig: Rig
    engine: Engine

    def start(self, game_id: str = "g1") -> str:
        container_id = self.rig.start(game_id).container_id
        self.at_engine(game_id)
        return container_id

    def at_engine(self, game_id: str = "g1") -> None:
        address = f"http://galaxy-game-{game_id}:{self.engine.server_port}"
        Runtime.objects.filter(pk=game_id).update(engine_endpoint=address)

    def play(self, *statuses: int, engines: int = 1) -> None:
        """Go on until the next probes were answered like this, and the ones after them are under way."""
        for status in statuses:
            self.engine.script.put(status)

        def look() -> bool:
            self.prober.step()
            return self.engine.script.empty() and len(self.engine.waiting) == engines

        # An engine is asked again only when its last answer was judged.
        wait_for(look, what="the probes")


def new_prober() -> Prober:
    return Prober(leadership=Leadership("test-prober"), probes=HttpProbes())


@pytest.fixture
def probing(rig: Rig, engine: Engine, rtm_settings: RtmSettings) -> Iterator[Probing]:
    rtm_settings(probe_interval=timedelta(milliseconds=200), probe_timeout=timedelta(seconds=60))
    probing = Probing(new_prober(), rig, engine)
    yield probing
    probing.prober.close()


def told() -> list[tuple[str, dict[str, Any]]]:
    events = [one for one in published(Topic.HEALTH_EVENTS) if one["event_type"].startswith("probe_")]
    return [(one["event_type"], json.loads(one["details"])) for one in events]


def failed(times: int) -> tuple[str, dict[str, Any]]:
    return "probe_failed", {"consecutive_failures": times, "last_status": 500, "last_error": "answered 500"}


def recovered(times: int) -> tuple[str, dict[str, Any]]:
    return "probe_recovered", {"prior_failure_count": times}


def test_failing_is_told_once_at_the_threshold_and_so_is_the_recovery(probing: Probing) -> None:
    probing.start()
    probing.play(200, 500, 500)
    before_the_third = told()
    probing.play(500, 500)
    failing = HealthSnapshot.objects.get()
    probing.play(200, 200)

    assert before_the_third == []
    assert told() == [failed(3), recovered(4)]
    assert (failing.event_type, failing.probe_failures, failing.probe_last_status) == ("probe_failed", 3, 500)
    assert HealthSnapshot.objects.get().probe_failures == 0
    assert probing.engine.hosts == {f"galaxy-game-g1:{probing.engine.server_port}"}


def test_an_engine_that_fails_now_and_then_is_not_told(probing: Probing) -> None:
    probing.start()

    probing.play(500, 500, 200, 500, 500, 200, 500, 200)

    assert told() == []


def test_another_prober_neither_tells_the_same_failing_again_nor_forgets_it(probing: Probing) -> None:
    probing.start()
    probing.play(500, 500, 500, 500)
    probing.prober.close()
    probing.engine.let_go()
    probing.prober = new_prober()
    probing.play(500, 500, 500)
    while_failing = told()
    probing.play(200)

    assert while_failing == [failed(3)]
    assert told() == [failed(3), recovered(6)]


def test_a_new_container_begins_anew(probing: Probing) -> None:
    probing.start()
    probing.play(500, 500)
    probing.rig.restart()
    probing.at_engine()
    # The first answer is still the former container's: its third.
    probing.play(500, 500, 500)
    before_the_third = told()
    probing.play(500)

    assert before_the_third == []
    assert told() == [failed(3)]


def test_a_game_that_an_operation_has_in_hand_is_not_asked(probing: Probing) -> None:
    probing.start("g1")
    probing.start("g2")
    probing.rig.ask_stop("g1")

    probing.play(200, 200)

    assert {host.partition(":")[0] for host in probing.engine.hosts if host} == {"galaxy-game-g2"}


def test_while_docker_is_away_no_engine_has_failed(probing: Probing) -> None:
    probing.start()
    probing.play(500, 500)
    probing.rig.engine.go_away()
    probing.engine.script.put(500)
    for _ in range(5):
        with suppress(ContainersUnavailableError):
            probing.prober.step()
        probing.prober.reset()
    meanwhile = told()
    probing.rig.engine.come_back()
    probing.play(500)

    assert meanwhile == []
    assert [kind for kind, _details in told()] == ["probe_failed"]


def test_a_container_that_has_ended_meanwhile_is_not_a_failing_engine(probing: Probing) -> None:
    container_id = probing.start()
    probing.play(500, 500)
    probing.rig.engine.exit(container_id, exit_code=1)
    probing.engine.script.put(500)

    wait_for(lambda: probing.prober.step() or not probing.engine.waiting, what="the last answer")
    for _ in range(3):
        probing.prober.step()

    assert told() == []


def test_each_engine_is_told_for_itself(probing: Probing) -> None:
    for number in range(5):
        probing.start(f"g{number}")

    probing.play(*[500] * 20, engines=5)

    assert health_events().count("probe_failed") == 5
