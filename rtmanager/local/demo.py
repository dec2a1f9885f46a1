"""`make demo`: the whole service, real parts, one game from its first job to its stop."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis

from rtmanager.local.commands import wait_until
from rtmanager.local.console import Console
from rtmanager.local.dockerd import client
from rtmanager.local.errors import LocalError
from rtmanager.local.images import SAMPLE_TAGS
from rtmanager.local.places import place_of
from rtmanager.local.stack import Stack, running
from runtimes.specs import engine_endpoint

_RESULT_SECONDS = 60.0
_HEALTHY_SECONDS = 20.0
_IMAGE = SAMPLE_TAGS[0]
_FORM = "{:<6} {:<18} {:<13} {:<9} {:<13} {}"


@dataclass(slots=True)
class Player:
    """Acts as Game Lobby and as an operator for one game."""

    stack: Stack
    streams: "redis.Redis"
    game_id: str
    seen: str = ""

    def order(self, stream: str, **fields: str) -> None:
        """Write a job as Lobby does."""
        job: dict[Any, Any] = {"game_id": self.game_id, **fields, "requested_at_ms": str(time.time_ns() // 10**6)}
        self.streams.xadd(stream, job)

    def result(self) -> dict[str, str]:
        """The next result of this game; those of others are passed over. LocalError when none comes."""
        stream = self.stack.config.job_results_stream
        deadline = time.monotonic() + _RESULT_SECONDS
        while time.monotonic() < deadline:
            # Below the client's own time-out, which would repeat the read.
            answer: Any = self.streams.xread({stream: self.seen}, block=1000)
            for _stream, entries in answer or []:
                for entry_id, fields in entries:
                    self.seen = entry_id
                    if fields["game_id"] == self.game_id:
                        return dict(fields)
        message = f"no result appeared in {stream} within {_RESULT_SECONDS:.0f} s"
        raise LocalError(message)

    def get(self, path: str = "") -> dict[str, Any]:
        """Read over REST what RTM knows of the game."""
        response = httpx.get(f"{self.stack.url}/api/v1/internal/runtimes/{self.game_id}{path}", timeout=10.0)
        expect(response.is_success, f"GET answered {response.status_code}: {response.text}")
        return dict(response.json())

    def ask_engine(self) -> str:
        """Call the engine's health address from a container of its own in the games' network."""
        answer = ""

        def is_healthy() -> bool:
            nonlocal answer
            code, answer = self._wget(f"{engine_endpoint(self.game_id)}/healthz")
            return code == 0 and answer != ""

        healthy = wait_until(is_healthy, timeout_seconds=_HEALTHY_SECONDS)
        expect(healthy, f"the engine did not answer; a caller in its network saw: {answer or 'nothing'}")
        return answer

    def _wget(self, address: str) -> tuple[int, str]:
        command = ["timeout", "5", "wget", "-q", "-O", "-", address]
        with client(self.stack.docker_host) as engine:
            caller = engine.containers.create(_IMAGE, command, network=self.stack.config.docker_network)
            try:
                caller.start()
                code = int(caller.wait()["StatusCode"])
                return code, caller.logs().decode(errors="replace")
            finally:
                caller.remove(force=True)


def demo(console: Console) -> None:
    """Bring the stack up, play the game, take everything down. Raises LocalError at the first thing that is wrong."""
    console.say("Runtime Manager demo: one game on real PostgreSQL, Valkey and Docker\n")
    started = time.monotonic()
    with running(place_of("demo"), console, fresh=True) as stack:
        game_id = f"demo-{time.time_ns() // 10**9}"
        console.say(f"\ngame {game_id}, image {_IMAGE}\n")
        with redis.Redis.from_url(stack.config.streams_url, decode_responses=True) as streams:
            play(Player(stack, streams, game_id, seen=_last_entry(streams, stack.config.job_results_stream)), console)
        console.say()
    console.say(f"\nDemo done: {len(console.steps)} steps, all ok, in {time.monotonic() - started:.1f} s.")


def play(player: Player, console: Console) -> None:
    """Start, look, start again, stop, look: each step checked."""
    first = _start(player, console)
    _look_at_running(player, first, console)
    _start_again(player, first, console)
    _stop(player, first, console)
    _look_at_stopped(player, first, console)
    _show_log(player, console)


def expect(condition: object, otherwise: str) -> None:
    """Raises LocalError saying what was found instead."""
    if not condition:
        raise LocalError(otherwise)


def _start(player: Player, console: Console) -> dict[str, str]:
    config = player.stack.config
    with console.step(f"start job -> {config.start_jobs_stream}"):
        player.order(config.start_jobs_stream, image_ref=_IMAGE)
    with console.step(f"result <- {config.job_results_stream}") as step:
        result = player.result()
        expect(result["outcome"] == "success" and not result["error_code"], f"the result is {result}")
        step.outcome = f"success, container {result['container_id'][:12]}"
    return result


def _look_at_running(player: Player, result: dict[str, str], console: Console) -> None:
    with console.step("record read over REST") as step:
        record = player.get()
        expect(record["status"] == "running", f"the record is {record}")
        same = all(record[ours] == result[theirs] for ours, theirs in _SAME_IN_BOTH.items())
        expect(same, f"record and result disagree: {record} / {result}")
        step.outcome = f"running, {record['engine_endpoint']}"
    with console.step("engine's /healthz inside the network") as step:
        answer = json.loads(player.ask_engine())
        expect(answer["status"] == "ok", f"the engine says {answer}")
        step.outcome = f"ok, version {answer['version']}"


_SAME_IN_BOTH = {"current_container_id": "container_id", "engine_endpoint": "engine_endpoint"}


def _start_again(player: Player, first: dict[str, str], console: Console) -> None:
    with console.step("the same start job again") as step:
        player.order(player.stack.config.start_jobs_stream, image_ref=_IMAGE)
        result = player.result()
        expect(result["error_code"] == "replay_no_op", f"the result is {result}")
        expect(result["container_id"] == first["container_id"], f"another container was made: {result}")
        step.outcome = "success, replay_no_op, same container"


def _stop(player: Player, first: dict[str, str], console: Console) -> None:
    config = player.stack.config
    with console.step(f"stop job -> {config.stop_jobs_stream}"):
        player.order(config.stop_jobs_stream, reason="cancelled")
    with console.step(f"result <- {config.job_results_stream}") as step:
        result = player.result()
        expect(result["outcome"] == "success" and not result["error_code"], f"the result is {result}")
        expect(result["container_id"] in ("", first["container_id"]), f"another container was stopped: {result}")
        step.outcome = "success"


def _look_at_stopped(player: Player, first: dict[str, str], console: Console) -> None:
    with console.step("record read over REST") as step:
        record = player.get()
        expect(record["status"] == "stopped", f"the record is {record}")
        expect(record["current_container_id"] == first["container_id"], f"the record lost its container: {record}")
        step.outcome = f"stopped at {record['stopped_at']}"
    with console.step("state directory kept") as step:
        turns = Path(record["state_path"]) / "turns.log"
        expect(turns.is_file() and turns.read_text(), f"{turns} is not there or empty")
        step.outcome = str(turns)


def _show_log(player: Player, console: Console) -> None:
    with console.step("operation log") as step:
        operations = player.get("/operations")["items"]
        wrong = [operation for operation in operations if operation["outcome"] != "success"]
        expect(operations and not wrong, f"operations that did not succeed: {wrong or 'none was logged'}")
        step.outcome = f"{len(operations)} operations"
    console.say()
    console.say("    " + _FORM.format("id", "kind", "source", "outcome", "code", "took"))
    for operation in reversed(operations):
        console.say("    " + _line(operation))


def _line(operation: dict[str, Any]) -> str:
    took = sum(step["duration_ms"] for step in operation["steps"])
    return _FORM.format(
        operation["id"], operation["op_kind"], operation["op_source"], operation["outcome"],
        operation["error_code"] or "-", f"{took} ms",
    )  # fmt: skip


def _last_entry(streams: "redis.Redis", stream: str) -> str:
    """Where the stream ends now, so that results of earlier runs on a shared Redis are not taken for ours."""
    entries = streams.xrevrange(stream, count=1)
    return str(entries[0][0]) if entries else "0"
