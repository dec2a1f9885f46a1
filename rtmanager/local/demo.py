"""`make demo`: the whole service, real parts, and the whole life of a game, with everything that can be refused."""

import json
import time
from pathlib import Path
from typing import Any

import redis

from rtmanager.local.console import Console
from rtmanager.local.images import REPOSITORY, SAMPLE_TAGS
from rtmanager.local.places import place_of
from rtmanager.local.player import Player, expect
from rtmanager.local.stack import Stack, running

_IMAGE, _PATCHED = SAMPLE_TAGS
_OTHER_MINOR = f"{REPOSITORY}:1.1.0"
_FORM = "{:<6} {:<18} {:<14} {:<9} {:<18} {}"
_REFUSED_ON_PURPOSE = {"semver_patch_only", "conflict"}


def demo(console: Console) -> None:
    """Bring the stack up, play, take everything down. Raises LocalError at the first thing that is wrong."""
    console.say("Runtime Manager demo: the life of a game on real PostgreSQL, Valkey and Docker\n")
    started = time.monotonic()
    with running(place_of("demo"), console, fresh=True) as stack:
        with redis.Redis.from_url(stack.config.streams_url, decode_responses=True) as streams:
            player = _player(stack, streams, name="demo")
            console.say(f"\ngame {player.game_id}, image {_IMAGE}\n")
            play(player, console)
            adopted = _player(stack, streams, name="found")
            _adopt(adopted, console)
            for one in (player, adopted):
                _show_log(one, console)
        console.say()
    console.say(f"\nDemo done: {len(console.steps)} steps, all ok, in {time.monotonic() - started:.1f} s.")


def play(player: Player, console: Console) -> None:
    """From the first job to the last cleanup: each step checked."""
    container_id = _start(player, console)
    _look_at_running(player, container_id, version="1.0.0", console=console)
    _start_again(player, container_id, console)
    container_id = _restart(player, container_id, console)
    container_id = _patch(player, container_id, console)
    _look_at_running(player, container_id, version="1.0.1", console=console)
    _be_refused(player, container_id, console)
    _stop(player, container_id, console)
    _clean_up(player, console)
    _start(player, console)
    _lose_and_recover(player, console)


def _start(player: Player, console: Console) -> str:
    config = player.stack.config
    with console.step(f"start job -> {config.start_jobs_stream}"):
        player.order(config.start_jobs_stream, image_ref=_IMAGE)
    with console.step(f"result <- {config.job_results_stream}") as step:
        result = player.result()
        expect(result["outcome"] == "success" and not result["error_code"], f"the result is {result}")
        step.outcome = f"success, container {result['container_id'][:12]}"
    return result["container_id"]


def _look_at_running(player: Player, container_id: str, *, version: str, console: Console) -> None:
    with console.step("record read over REST") as step:
        record = player.record()
        expect(record["status"] == "running", f"the record is {record}")
        expect(record["current_container_id"] == container_id, f"the record names another container: {record}")
        step.outcome = f"running, {record['engine_endpoint']}"
    with console.step("engine's /healthz inside the network") as step:
        answer = json.loads(player.ask_engine())
        expect(answer == {"status": "ok", "version": version}, f"the engine says {answer}")
        step.outcome = f"ok, version {version}"


def _start_again(player: Player, container_id: str, console: Console) -> None:
    with console.step("the same start job again") as step:
        player.order(player.stack.config.start_jobs_stream, image_ref=_IMAGE)
        result = player.result()
        expect(result["error_code"] == "replay_no_op", f"the result is {result}")
        expect(result["container_id"] == container_id, f"another container was made: {result}")
        step.outcome = "success, replay_no_op, same container"


def _restart(player: Player, container_id: str, console: Console) -> str:
    with console.step("POST restart") as step:
        record = player.record("POST", "/restart")
        expect(record["status"] == "running", f"the record is {record}")
        expect(record["current_container_id"] != container_id, "the container is still the old one")
        step.outcome = f"running, new container {record['current_container_id'][:12]}, same endpoint"
    return str(record["current_container_id"])


def _patch(player: Player, container_id: str, console: Console) -> str:
    with console.step(f"POST patch to {_PATCHED}") as step:
        record = player.record("POST", "/patch", image_ref=_PATCHED)
        expect(record["current_image_ref"] == _PATCHED, f"the record is {record}")
        expect(record["current_container_id"] != container_id, "the container is still the old one")
        step.outcome = f"running, new container {record['current_container_id'][:12]}"
    return str(record["current_container_id"])


def _be_refused(player: Player, container_id: str, console: Console) -> None:
    with console.step(f"POST patch to {_OTHER_MINOR}") as step:
        step.outcome = _refusal(player, "POST", "/patch", code="semver_patch_only", image_ref=_OTHER_MINOR)
    with console.step("DELETE container while it runs") as step:
        step.outcome = _refusal(player, "DELETE", "/container", code="conflict")
    with console.step("the game was not disturbed") as step:
        record = player.record()
        expect(record["current_container_id"] == container_id, f"the record is {record}")
        step.outcome = f"{record['status']}, same container"


def _refusal(player: Player, method: str, path: str, *, code: str, **body: object) -> str:
    response = player.call(method, path, **body)
    expect(response.is_client_error, f"it was not refused: {response.status_code} {response.text}")
    error = response.json()["error"]
    expect(error["code"] == code, f"it was refused for another reason: {error}")
    return f"refused, {response.status_code} {code}"


def _stop(player: Player, container_id: str, console: Console) -> None:
    config = player.stack.config
    with console.step(f"stop job -> {config.stop_jobs_stream}"):
        player.order(config.stop_jobs_stream, reason="cancelled")
    with console.step(f"result <- {config.job_results_stream}") as step:
        result = player.result()
        expect(result["outcome"] == "success" and not result["error_code"], f"the result is {result}")
        step.outcome = "success"
    with console.step("record read over REST") as step:
        record = player.record()
        expect(record["status"] == "stopped", f"the record is {record}")
        expect(record["current_container_id"] == container_id, f"the record lost its container: {record}")
        step.outcome = f"stopped at {record['stopped_at']}"


def _clean_up(player: Player, console: Console) -> None:
    with console.step("DELETE container") as step:
        record = player.record("DELETE", "/container")
        expect((record["status"], record["current_container_id"]) == ("removed", None), f"the record is {record}")
        step.outcome = "removed"
    with console.step("state directory kept") as step:
        turns = Path(record["state_path"]) / "turns.log"
        expect(turns.is_file() and turns.read_text(), f"{turns} is not there or empty")
        step.outcome = str(turns)


def _lose_and_recover(player: Player, console: Console) -> None:
    with console.step("docker rm -f from outside"):
        player.remove_from_outside()
    with console.step(f"event <- {player.stack.config.health_events_stream}") as step:
        step.outcome = player.health_event("container_disappeared")["event_type"]
    with console.step("record read over REST") as step:
        step.outcome = player.wait_for_status("removed")["status"]
    _start(player, console)
    with console.step("POST stop, DELETE container") as step:
        player.record("POST", "/stop", reason="admin_request")
        step.outcome = str(player.record("DELETE", "/container")["status"])


def _adopt(player: Player, console: Console) -> None:
    console.say(f"\ngame {player.game_id}, made by hand\n")
    with console.step("docker run with our labels") as step:
        container_id = player.make_by_hand()
        step.outcome = f"container {container_id[:12]}"
    with console.step("adopted") as step:
        record = player.wait_for_status("running")
        expect(record["current_container_id"] == container_id, f"the record is {record}")
        step.outcome = "running, same container"
    with console.step("POST stop, DELETE container") as step:
        player.record("POST", "/stop", reason="admin_request")
        step.outcome = str(player.record("DELETE", "/container")["status"])


def _show_log(player: Player, console: Console) -> None:
    with console.step(f"operation log of {player.game_id}") as step:
        operations = player.record("GET", "/operations")["items"]
        failed = [one for one in operations if one["outcome"] != "success"]
        wrong = [one for one in failed if one["error_code"] not in _REFUSED_ON_PURPOSE]
        expect(operations and not wrong, f"operations that did not succeed: {wrong or 'none was logged'}")
        step.outcome = f"{len(operations)} operations"
    console.say()
    console.say("    " + _FORM.format("id", "kind", "source", "outcome", "code", "took"))
    for operation in reversed(operations):
        console.say("    " + _line(operation))
    console.say()


def _line(operation: dict[str, Any]) -> str:
    # A revert or a patch holds other steps; only the outermost time would count twice.
    took = sum(step["duration_ms"] or 0 for step in operation["steps"] if step["name"] != "revert")
    return _FORM.format(
        operation["id"], operation["op_kind"], operation["op_source"], operation["outcome"],
        operation["error_code"] or "-", f"{took} ms",
    )  # fmt: skip


def _player(stack: Stack, streams: "redis.Redis", *, name: str) -> Player:
    """A new game. Streams are read from where they end now: on a shared Redis, earlier runs left theirs there."""
    names = (stack.config.job_results_stream, stack.config.health_events_stream)
    seen = {stream: _last_entry(streams, stream) for stream in names}
    return Player(stack, streams, f"{name}-{time.time_ns() // 10**9}", seen)


def _last_entry(streams: "redis.Redis", stream: str) -> str:
    entries = streams.xrevrange(stream, count=1)
    return str(entries[0][0]) if entries else "0"
