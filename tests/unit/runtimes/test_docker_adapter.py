"""The Docker adapter against an engine that misbehaves: an HTTP server with scripted answers."""

import collections
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rtmanager.config import Config
from runtimes.containers.base import (
    ContainerEvent,
    ContainerStartFailedError,
    ContainersUnavailableError,
    EventAction,
    ImagePullFailedError,
    NoSuchContainerError,
)
from runtimes.containers.docker import DockerContainers

CONTAINER_ID = "c" * 64
RUNNING = {
    "Id": CONTAINER_ID,
    "Name": "/galaxy-game-g1",
    "Config": {"Labels": {}},
    "State": {"Status": "running", "StartedAt": "", "FinishedAt": ""},
}

Answer = tuple[int, Any]


class ScriptedEngine(ThreadingHTTPServer):
    """Answers each "METHOD last-part-of-the-path" as the script says.

    HANG means not before the test ends. A list is streamed, one object after the other; BREAK in it cuts the line.
    """

    HANG: Answer = (0, None)
    BREAK = "break"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: dict[str, Answer] = {"GET version": (200, {"ApiVersion": "1.52"})}
        self.asked: list[str] = []
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedEngine
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        question = f"{self.command} {path.rpartition('/')[2]}"
        self.server.asked.append(question)
        status, body = self.server.script[question]
        if status == 0:
            self.server.ended.wait()
            self.close_connection = True
        elif isinstance(body, list):
            self._stream(body)
        else:
            self._reply(status, body)

    def _reply(self, status: int, body: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, entries: list[object]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for entry in entries:
            if entry == ScriptedEngine.BREAK:
                self.close_connection = True
                return
            line = json.dumps(entry).encode() + b"\r\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (the names http.server looks for)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    with ScriptedEngine() as engine:
        thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield engine
        engine.ended.set()
        engine.shutdown()
        thread.join()


@pytest.fixture
def containers(engine: ScriptedEngine) -> Iterator[DockerContainers]:
    with closing(DockerContainers(engine.address, call_seconds=20)) as containers:
        yield containers


@pytest.fixture
def impatient(engine: ScriptedEngine) -> Iterator[DockerContainers]:
    """For engines that hang: what it waits is what the test lasts."""
    with closing(DockerContainers(engine.address, call_seconds=0.3)) as containers:
        yield containers


def test_an_engine_that_is_too_old_is_named_with_both_versions(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script["GET version"] = (200, {"ApiVersion": "1.40"})

    with pytest.raises(ContainersUnavailableError, match=r"API 1\.40, but 1\.41 \(Docker 20\.10\)"):
        containers.ping()


def test_an_upgraded_engine_is_taken_without_a_restart_of_ours(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script |= {"GET version": (200, {"ApiVersion": "1.40"}), "GET _ping": (200, b"OK")}
    with pytest.raises(ContainersUnavailableError):
        containers.ping()

    engine.script["GET version"] = (200, {"ApiVersion": "1.41"})

    containers.ping()


def test_a_call_without_an_answer_ends_in_time_and_the_next_one_may_succeed(
    engine: ScriptedEngine, impatient: DockerContainers
) -> None:
    engine.script["GET _ping"] = ScriptedEngine.HANG
    with pytest.raises(ContainersUnavailableError, match="timed out"):
        impatient.ping()

    engine.script["GET _ping"] = (200, b"OK")

    impatient.ping()


@pytest.mark.parametrize("answer", [(500, {"message": "oops"}), (403, {"message": "oops"}), (502, b"oops")])
def test_an_error_of_the_engine_says_nothing_about_the_container(
    engine: ScriptedEngine, containers: DockerContainers, answer: Answer
) -> None:
    engine.script["GET json"] = answer

    with pytest.raises(ContainersUnavailableError, match="inspect container galaxy-game-g1: oops"):
        containers.find("galaxy-game-g1")


@pytest.mark.parametrize("body", [b"not json", {}, {**RUNNING, "State": {"Status": "levitating"}}])
def test_an_answer_that_is_not_understood_is_unknown(
    engine: ScriptedEngine, containers: DockerContainers, body: object
) -> None:
    engine.script["GET json"] = (200, body)

    with pytest.raises(ContainersUnavailableError):
        containers.find(CONTAINER_ID)


def test_a_wait_without_an_answer_believes_a_look_at_the_container(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script |= {"POST wait": ScriptedEngine.HANG, "GET json": (200, RUNNING)}

    assert containers.wait_exit(CONTAINER_ID, timeout_seconds=0.05) is False


def test_a_wait_on_an_engine_that_hangs_is_unknown(engine: ScriptedEngine, impatient: DockerContainers) -> None:
    engine.script |= {"POST wait": ScriptedEngine.HANG, "GET json": ScriptedEngine.HANG}

    with pytest.raises(ContainersUnavailableError):
        impatient.wait_exit(CONTAINER_ID, timeout_seconds=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"message": "OCI runtime create failed: no such file"}),
        (500, {"message": "mkdir /var/lib/docker/overlay2/x/merged: no space left on device"}),
        (400, {"message": "bad"}),
        (403, {"message": "denied"}),
    ],
)
def test_a_refused_start_is_a_failure(engine: ScriptedEngine, containers: DockerContainers, answer: Answer) -> None:
    engine.script["POST start"] = answer

    with pytest.raises(ContainerStartFailedError, match=answer[1]["message"]):
        containers.start(CONTAINER_ID)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"message": "context canceled"}),
        (500, {"message": "ttrpc: closed: unknown"}),
        (409, {"message": "container is marked for removal"}),
        (503, {"message": "shutting down"}),
    ],
)
def test_a_start_interrupted_by_trouble_of_the_engine_is_unknown(
    engine: ScriptedEngine, containers: DockerContainers, answer: Answer
) -> None:
    engine.script["POST start"] = answer

    with pytest.raises(ContainersUnavailableError):
        containers.start(CONTAINER_ID)


def test_a_start_that_misses_something_else_than_the_container_is_a_failure(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script |= {"POST start": (404, {"message": "network x not found"}), "GET json": (200, RUNNING)}

    with pytest.raises(ContainerStartFailedError, match="network x not found"):
        containers.start(CONTAINER_ID)


def test_a_start_of_a_container_that_is_gone_says_so(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script |= {"POST start": (404, {"message": "gone"}), "GET json": (404, {"message": "gone"})}

    with pytest.raises(NoSuchContainerError):
        containers.start(CONTAINER_ID)


def test_a_removal_already_in_progress_is_success(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script[f"DELETE {CONTAINER_ID}"] = (409, {"message": "removal of container c is already in progress"})

    containers.remove(CONTAINER_ID)

    assert engine.asked[-1] == f"DELETE {CONTAINER_ID}"


def test_any_other_conflict_of_a_removal_is_unknown(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script[f"DELETE {CONTAINER_ID}"] = (409, {"message": "container is paused"})

    with pytest.raises(ContainersUnavailableError):
        containers.remove(CONTAINER_ID)


def test_a_pull_that_breaks_in_the_middle_fails_with_the_words_of_the_engine(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script["POST create"] = (200, [{"status": "Pulling"}, {"error": "manifest unknown"}])

    with pytest.raises(ImagePullFailedError, match=r"game:1\.0\.0 could not be pulled: manifest unknown"):
        containers.pull("game:1.0.0")


@pytest.mark.parametrize("status", [404, 500])
def test_a_pull_that_the_registry_refuses_fails_with_the_words_of_the_engine(
    engine: ScriptedEngine, containers: DockerContainers, status: int
) -> None:
    engine.script["POST create"] = (status, {"message": "pull access denied"})

    with pytest.raises(ImagePullFailedError, match="pull access denied"):
        containers.pull("game:1.0.0")


def test_a_pull_that_ends_without_an_image_is_no_success(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script |= {"POST create": (200, [{"status": "Pulling"}]), "GET json": (404, {"message": "No such image"})}

    with pytest.raises(ImagePullFailedError, match="does not hold the image"):
        containers.pull("game:1.0.0")


def test_a_pull_cut_short_with_the_engine_is_unknown(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script |= {
        "POST create": (200, [{"status": "Pulling"}, ScriptedEngine.BREAK]),
        "GET json": (503, {"message": "shutting down"}),
    }

    with pytest.raises(ContainersUnavailableError):
        containers.pull("game:1.0.0")


def test_a_call_ends_well_within_half_of_the_lease(rtm_settings: Callable[..., Config]) -> None:
    rtm_settings(game_lease_ttl_seconds=2.0)

    assert DockerContainers.from_settings().call_seconds < 1.0


LABELS = {"com.galaxy.game_id": "g1"}
DIED = {"Type": "container", "Action": "die", "Actor": {"ID": CONTAINER_ID, "Attributes": LABELS}, "timeNano": 17}


@pytest.mark.parametrize("end", [[], [ScriptedEngine.BREAK]], ids=["clean", "broken"])
def test_a_feed_gives_everything_out_before_it_says_that_it_has_ended(
    engine: ScriptedEngine, containers: DockerContainers, end: list[object]
) -> None:
    engine.script["GET events"] = (200, [DIED, *end])
    with closing(containers.events("blue", since_ns=0)) as feed:
        assert feed.read(5) == [ContainerEvent(CONTAINER_ID, "g1", EventAction.DIE, 17)]
        for _ in range(2):
            with pytest.raises(ContainersUnavailableError):
                feed.read(5)


def test_a_feed_that_does_not_open_in_time_is_unknown(engine: ScriptedEngine, impatient: DockerContainers) -> None:
    engine.script["GET events"] = ScriptedEngine.HANG

    with pytest.raises(ContainersUnavailableError, match="tell the events of stack blue"):
        impatient.events("blue", since_ns=0)


def test_a_feed_that_the_engine_refuses_has_ended(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script["GET events"] = (500, {"message": "oops"})

    with closing(containers.events("blue", since_ns=0)) as feed, pytest.raises(ContainersUnavailableError):
        feed.read(5)


def test_an_event_that_is_not_understood_ends_the_feed(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script["GET events"] = (200, [{"Type": "container", "Action": "die"}])

    with closing(containers.events("blue", since_ns=0)) as feed, pytest.raises(ContainersUnavailableError):
        feed.read(5)


def test_all_calls_within_a_time_together_take_no_longer(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script |= {"GET json": ScriptedEngine.HANG, "GET logs": ScriptedEngine.HANG}
    containers.find("")
    began = time.monotonic()

    with containers.within(0.3):
        for ask in (lambda: containers.details(CONTAINER_ID), lambda: containers.logs(CONTAINER_ID, tail=5)):
            with pytest.raises(ContainersUnavailableError, match=r"timed out|was over"):
                ask()

    assert time.monotonic() - began < 3


def test_what_is_asked_after_a_hurry_has_its_usual_time_again(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script["GET json"] = (200, RUNNING)
    with containers.within(0.0), pytest.raises(ContainersUnavailableError):
        containers.find(CONTAINER_ID)

    found = containers.find(CONTAINER_ID)

    assert found is not None


def test_a_followed_log_that_breaks_off_is_unknown_and_not_at_its_end(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script["GET logs"] = (200, ["2026-11-21T08:30:00Z hello", ScriptedEngine.BREAK])

    with closing(containers.follow_logs(CONTAINER_ID)) as feed, pytest.raises(ContainersUnavailableError):
        collections.deque(iter(lambda: feed.read(5), None), maxlen=0)


def test_a_container_whose_removal_is_under_way_has_no_log(
    engine: ScriptedEngine, containers: DockerContainers
) -> None:
    engine.script["GET logs"] = (409, {"message": "dead or marked for removal"})

    with pytest.raises(NoSuchContainerError):
        containers.logs(CONTAINER_ID, tail=5)


def test_an_image_has_the_digest_its_registry_knows_it_by(engine: ScriptedEngine, containers: DockerContainers) -> None:
    engine.script["GET json"] = (200, {"Id": "sha256:1", "RepoDigests": ["registry.example/engine@sha256:2"]})

    image = containers.find_image("registry.example/engine:1.0.0")

    assert image is not None
    assert image.digest == "sha256:2"
