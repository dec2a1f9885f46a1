"""Rounds of probes of a real HTTP server: real database, fake Docker."""

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
from tasks.loops.http_probes import HttpProbes
from tasks.loops.leader_election import LeaderElection
from tasks.loops.prober import Prober
from tests.conftest import RtmSettings
from tests.integration.harness import Rig, health_events, published
from tests.servers.waiting import wait_for


class Engine(ThreadingHTTPServer):
    """Holds each request until the test gives the status of its response."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.waiting: set[object] = set()
        self.hosts: set[str | None] = set()

    def release_all(self) -> None:
        """Respond to all waiting requests."""
        for _ in list(self.waiting):
            self.script.put(200)
        wait_for(lambda: not self.waiting, what="the running requests to end")


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
        engine.release_all()
        engine.shutdown()
        thread.join()


@dataclass
class Probing:
    """A prober that the test steps, and games whose engines are all the same server."""

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
        """Step until the next probes got these responses, and the probes after them are running."""
        for status in statuses:
            self.engine.script.put(status)

        def next_probes_run() -> bool:
            self.prober.step()
            return self.engine.script.empty() and len(self.engine.waiting) == engines

        # An engine is probed again only after its last result was evaluated.
        wait_for(next_probes_run, what="the probes")


def new_prober() -> Prober:
    return Prober(leadership=LeaderElection("test-prober"), probes=HttpProbes())


@pytest.fixture
def probing(rig: Rig, engine: Engine, rtm_settings: RtmSettings) -> Iterator[Probing]:
    rtm_settings(probe_interval=timedelta(milliseconds=200), probe_timeout=timedelta(seconds=60))
    probing = Probing(new_prober(), rig, engine)
    yield probing
    probing.prober.close()


def probe_events() -> list[tuple[str, dict[str, Any]]]:
    events = [event for event in published(Topic.HEALTH_EVENTS) if event["event_type"].startswith("probe_")]
    return [(event["event_type"], json.loads(event["details"])) for event in events]


def failed(times: int) -> tuple[str, dict[str, Any]]:
    return "probe_failed", {"consecutive_failures": times, "last_status": 500, "last_error": "answered 500"}


def recovered(times: int) -> tuple[str, dict[str, Any]]:
    return "probe_recovered", {"prior_failure_count": times}


def test_a_failure_is_reported_once_at_the_threshold_and_its_recovery_once(probing: Probing) -> None:
    probing.start()
    probing.play(200, 500, 500)
    before_the_third = probe_events()
    probing.play(500, 500)
    failing = HealthSnapshot.objects.get()
    probing.play(200, 200)

    assert before_the_third == []
    assert probe_events() == [failed(3), recovered(4)]
    assert (failing.event_type, failing.probe_failures, failing.probe_last_status) == ("probe_failed", 3, 500)
    assert HealthSnapshot.objects.get().probe_failures == 0
    assert probing.engine.hosts == {f"galaxy-game-g1:{probing.engine.server_port}"}


def test_failures_below_the_threshold_are_not_reported(probing: Probing) -> None:
    probing.start()

    probing.play(500, 500, 200, 500, 500, 200, 500, 200)

    assert probe_events() == []


def test_a_new_prober_does_not_repeat_a_reported_failure_and_reports_its_recovery(probing: Probing) -> None:
    probing.start()
    probing.play(500, 500, 500, 500)
    probing.prober.close()
    probing.engine.release_all()
    probing.prober = new_prober()
    probing.play(500, 500, 500)
    while_failing = probe_events()
    probing.play(200)

    assert while_failing == [failed(3)]
    assert probe_events() == [failed(3), recovered(6)]


def test_a_new_container_starts_without_failures(probing: Probing) -> None:
    probing.start()
    probing.play(500, 500)
    probing.rig.restart()
    probing.at_engine()
    # The first result still belongs to the previous container, as its third.
    probing.play(500, 500, 500)
    before_the_third = probe_events()
    probing.play(500)

    assert before_the_third == []
    assert probe_events() == [failed(3)]


def test_a_game_with_an_open_operation_is_not_probed(probing: Probing) -> None:
    probing.start("g1")
    probing.start("g2")
    probing.rig.ask_stop("g1")

    probing.play(200, 200)

    assert {host.partition(":")[0] for host in probing.engine.hosts if host} == {"galaxy-game-g2"}


def test_no_engine_fails_while_docker_is_unavailable(probing: Probing) -> None:
    probing.start()
    probing.play(500, 500)
    probing.rig.engine.disconnect()
    probing.engine.script.put(500)
    for _ in range(5):
        with suppress(ContainersUnavailableError):
            probing.prober.step()
        probing.prober.reset()
    meanwhile = probe_events()
    probing.rig.engine.reconnect()
    probing.play(500)

    assert meanwhile == []
    assert [kind for kind, _details in probe_events()] == ["probe_failed"]


def test_a_container_that_exited_meanwhile_is_not_a_failed_engine(probing: Probing) -> None:
    container_id = probing.start()
    probing.play(500, 500)
    probing.rig.engine.exit(container_id, exit_code=1)
    probing.engine.script.put(500)

    wait_for(lambda: probing.prober.step() or not probing.engine.waiting, what="the last response")
    for _ in range(3):
        probing.prober.step()

    assert probe_events() == []


def test_each_engine_is_reported_separately(probing: Probing) -> None:
    for number in range(5):
        probing.start(f"g{number}")

    probing.play(*[500] * 20, engines=5)

    assert health_events().count("probe_failed") == 5
