"""`make demo`: starts the whole service and runs every action on a game, rejected ones included."""

import json
import time
from pathlib import Path
from typing import Any

import redis

from deploy.local.console import Console
from deploy.local.demo_client import DemoClient, expect
from deploy.local.docker.sample_images import REPOSITORY, SAMPLE_TAGS
from deploy.local.stack import Stack, running
from deploy.local.workspace import workspace_of

_IMAGE, _PATCHED = SAMPLE_TAGS
_OTHER_MINOR = f"{REPOSITORY}:1.1.0"
_ROW = "{:<6} {:<18} {:<14} {:<9} {:<18} {}"
_EXPECTED_ERRORS = {"semver_patch_only", "conflict"}


def demo(console: Console) -> None:
    """Start the stack, run the actions, stop everything. Raises LocalError at the first unexpected result."""
    console.say("Runtime Manager demo: one game from start to clean-up, on PostgreSQL, Valkey and Docker\n")
    started = time.monotonic()
    with running(workspace_of("demo"), console, fresh=True) as stack:
        with redis.Redis.from_url(stack.config.streams_url, decode_responses=True) as streams:
            client = _new_client(stack, streams, name="demo")
            console.say(f"\ngame {client.game_id}, image {_IMAGE}\n")
            play(client, console)
            adopted = _new_client(stack, streams, name="found")
            _adopt(adopted, console)
            for each in (client, adopted):
                _show_log(each, console)
        console.say()
    console.say(f"\nDemo done: {len(console.steps)} steps, all ok, in {time.monotonic() - started:.1f} s.")


def play(client: DemoClient, console: Console) -> None:
    """Run all actions on a game, and check each result."""
    container_id = _start(client, console)
    _check_running(client, container_id, version="1.0.0", console=console)
    _start_again(client, container_id, console)
    container_id = _restart(client, container_id, console)
    container_id = _patch(client, container_id, console)
    _check_running(client, container_id, version="1.0.1", console=console)
    _check_rejections(client, container_id, console)
    _stop(client, container_id, console)
    _clean_up(client, console)
    _start(client, console)
    _remove_and_recover(client, console)


def _start(client: DemoClient, console: Console) -> str:
    config = client.stack.config
    with console.step(f"start job -> {config.start_jobs_stream}"):
        client.submit_job(config.start_jobs_stream, image_ref=_IMAGE)
    with console.step(f"result <- {config.job_results_stream}") as step:
        result = client.result()
        expect(result["outcome"] == "success" and not result["error_code"], f"the result is {result}")
        step.outcome = f"success, container {result['container_id'][:12]}"
    return result["container_id"]


def _check_running(client: DemoClient, container_id: str, *, version: str, console: Console) -> None:
    with console.step("record read over REST") as step:
        record = client.record()
        expect(record["status"] == "running", f"the record is {record}")
        expect(record["current_container_id"] == container_id, f"the record names another container: {record}")
        step.outcome = f"running, {record['engine_endpoint']}"
    with console.step("engine's /healthz inside the network") as step:
        health = json.loads(client.call_engine())
        expect(health == {"status": "ok", "version": version}, f"the engine reports {health}")
        step.outcome = f"ok, version {version}"


def _start_again(client: DemoClient, container_id: str, console: Console) -> None:
    with console.step("same start job again") as step:
        client.submit_job(client.stack.config.start_jobs_stream, image_ref=_IMAGE)
        result = client.result()
        expect(result["error_code"] == "replay_no_op", f"the result is {result}")
        expect(result["container_id"] == container_id, f"another container was created: {result}")
        step.outcome = "success, replay_no_op, same container"


def _restart(client: DemoClient, container_id: str, console: Console) -> str:
    with console.step("POST restart") as step:
        record = client.record("POST", "/restart")
        expect(record["status"] == "running", f"the record is {record}")
        expect(record["current_container_id"] != container_id, "the container is still the old one")
        step.outcome = f"running, new container {record['current_container_id'][:12]}, same endpoint"
    return str(record["current_container_id"])


def _patch(client: DemoClient, container_id: str, console: Console) -> str:
    with console.step(f"POST patch to {_PATCHED}") as step:
        record = client.record("POST", "/patch", image_ref=_PATCHED)
        expect(record["current_image_ref"] == _PATCHED, f"the record is {record}")
        expect(record["current_container_id"] != container_id, "the container is still the old one")
        step.outcome = f"running, new container {record['current_container_id'][:12]}"
    return str(record["current_container_id"])


def _check_rejections(client: DemoClient, container_id: str, console: Console) -> None:
    with console.step(f"POST patch to {_OTHER_MINOR}") as step:
        step.outcome = _rejection(client, "POST", "/patch", code="semver_patch_only", image_ref=_OTHER_MINOR)
    with console.step("DELETE container of a running game") as step:
        step.outcome = _rejection(client, "DELETE", "/container", code="conflict")
    with console.step("game unchanged") as step:
        record = client.record()
        expect(record["current_container_id"] == container_id, f"the record is {record}")
        step.outcome = f"{record['status']}, same container"


def _rejection(client: DemoClient, method: str, path: str, *, code: str, **body: object) -> str:
    response = client.call(method, path, **body)
    expect(response.is_client_error, f"not rejected: {response.status_code} {response.text}")
    error = response.json()["error"]
    expect(error["code"] == code, f"rejected with another error: {error}")
    return f"rejected, {response.status_code} {code}"


def _stop(client: DemoClient, container_id: str, console: Console) -> None:
    config = client.stack.config
    with console.step(f"stop job -> {config.stop_jobs_stream}"):
        client.submit_job(config.stop_jobs_stream, reason="cancelled")
    with console.step(f"result <- {config.job_results_stream}") as step:
        result = client.result()
        expect(result["outcome"] == "success" and not result["error_code"], f"the result is {result}")
        step.outcome = "success"
    with console.step("record read over REST") as step:
        record = client.record()
        expect(record["status"] == "stopped", f"the record is {record}")
        expect(record["current_container_id"] == container_id, f"the record lost its container: {record}")
        step.outcome = f"stopped at {record['stopped_at']}"


def _clean_up(client: DemoClient, console: Console) -> None:
    with console.step("DELETE container") as step:
        record = client.record("DELETE", "/container")
        expect((record["status"], record["current_container_id"]) == ("removed", None), f"the record is {record}")
        step.outcome = "removed"
    with console.step("state directory kept") as step:
        turns = Path(record["state_path"]) / "turns.log"
        expect(turns.is_file() and turns.read_text(), f"{turns} is missing or empty")
        step.outcome = str(turns)


def _remove_and_recover(client: DemoClient, console: Console) -> None:
    with console.step("docker rm -f by hand"):
        client.remove_with_docker()
    with console.step(f"event <- {client.stack.config.health_events_stream}") as step:
        step.outcome = client.health_event("container_disappeared")["event_type"]
    with console.step("record read over REST") as step:
        step.outcome = client.wait_for_status("removed")["status"]
    _start(client, console)
    with console.step("POST stop, DELETE container") as step:
        client.record("POST", "/stop", reason="admin_request")
        step.outcome = str(client.record("DELETE", "/container")["status"])


def _adopt(client: DemoClient, console: Console) -> None:
    console.say(f"\ngame {client.game_id}, created by hand\n")
    with console.step("docker run with the labels of RTM") as step:
        container_id = client.create_by_hand()
        step.outcome = f"container {container_id[:12]}"
    with console.step("adopted") as step:
        record = client.wait_for_status("running")
        expect(record["current_container_id"] == container_id, f"the record is {record}")
        step.outcome = "running, same container"
    with console.step("POST stop, DELETE container") as step:
        client.record("POST", "/stop", reason="admin_request")
        step.outcome = str(client.record("DELETE", "/container")["status"])


def _show_log(client: DemoClient, console: Console) -> None:
    with console.step(f"operation log of {client.game_id}") as step:
        operations = client.record("GET", "/operations")["items"]
        failed = [operation for operation in operations if operation["outcome"] != "success"]
        unexpected = [operation for operation in failed if operation["error_code"] not in _EXPECTED_ERRORS]
        expect(operations and not unexpected, f"unexpected failures: {unexpected or 'no operation is on record'}")
        step.outcome = f"{len(operations)} operations"
    console.say()
    console.say("    " + _ROW.format("id", "kind", "source", "outcome", "code", "took"))
    for operation in reversed(operations):
        console.say("    " + _line(operation))
    console.say()


def _line(operation: dict[str, Any]) -> str:
    # The step revert contains other steps, whose time would count twice.
    took = sum(step["duration_ms"] or 0 for step in operation["steps"] if step["name"] != "revert")
    return _ROW.format(
        operation["id"], operation["op_kind"], operation["op_source"], operation["outcome"],
        operation["error_code"] or "-", f"{took} ms",
    )  # fmt: skip


def _new_client(stack: Stack, streams: "redis.Redis", *, name: str) -> DemoClient:
    """Return a client for a new game. It reads the streams from their current end: a Redis may have older entries."""
    names = (stack.config.job_results_stream, stack.config.health_events_stream)
    last_ids = {stream: _last_entry(streams, stream) for stream in names}
    return DemoClient(stack, streams, f"{name}-{time.time_ns() // 10**9}", last_ids)


def _last_entry(streams: "redis.Redis", stream: str) -> str:
    entries = streams.xrevrange(stream, count=1)
    return str(entries[0][0]) if entries else "0"
