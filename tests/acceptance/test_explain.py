"""Games broken for real, and what the service says of each within ten seconds; what it proposes is done and helps."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from rtmanager.local.places import CLONE
from runtimes.specs import container_name
from tests.acceptance.conftest import MakeService
from tests.servers.service import Service
from tests.servers.waiting import wait_for

SECONDS = 10


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """An operator's patience, and an image that nobody looks for outside."""
    return {"IMAGE_PULL_POLICY": "never", "INSPECT_INTERVAL": "1s"}


def explain(service: Service, game_id: str) -> dict[str, Any]:
    answer = service.client.get(f"/api/v1/internal/runtimes/{game_id}/explain")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def explained(service: Service, game_id: str, cause: str) -> dict[str, Any]:
    """Wait until this is the cause; the whole explanation."""
    seen: list[dict[str, Any]] = []

    def look() -> bool:
        seen.append(explain(service, game_id))
        return bool(seen[-1]["cause"] == cause)

    wait_for(look, what=f"{game_id} to be explained as {cause}", timeout_seconds=SECONDS)
    return seen[-1]


def do(service: Service, game_id: str, told: dict[str, Any]) -> None:
    step = told["next_step"]
    answer = service.post(game_id, step["verb"], **step["arguments"])
    assert answer.status_code == 200, answer.text


def test_a_running_game_is_healthy_with_its_limits(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)

    told = explain(service, game_id)

    assert (told["cause"], told["severity"], told["differences"]) == ("healthy", "ok", [])
    assert told["observed"]["networks"] == [service.playground.network]
    assert (told["limits"]["memory_bytes"], told["limits"]["read_only"]) == (64 * 1024**2, True)
    assert told["recorded"] == service.record(game_id)
    assert told["last_operations"] == service.operations(game_id)


def test_a_killed_game_is_named_and_brought_back_as_proposed(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.kill()

    told = explained(service, game_id, "killed_outside")
    wait_for(lambda: service.record(game_id)["status"] == "stopped", what="the end to be on record")
    do(service, game_id, explained(service, game_id, "killed_outside"))

    assert "exit code 137" in told["headline"]
    explained(service, game_id, "healthy")


def test_a_game_removed_by_hand_is_named_and_brought_back_as_proposed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.remove(force=True)
    wait_for(lambda: service.record(game_id)["status"] == "removed", what="the loss to be on record")

    told = explained(service, game_id, "container_disappeared")
    do(service, game_id, told)

    assert str(container.id)[:12] in told["headline"]
    explained(service, game_id, "healthy")


def test_a_crash_at_the_start_leads_to_its_last_words(service: Service, game_id: str, crashing_image: str) -> None:
    service.post(game_id, "start", image_ref=crashing_image)

    told = explained(service, game_id, "crash_at_start")

    assert told["black_box"]
    assert f"black box {told['black_box']}" in told["next_step"]["text"]


def test_an_image_that_is_not_there_is_named(service: Service, game_id: str) -> None:
    service.post(game_id, "start", image_ref="galaxy-engine:9.9.9")

    told = explained(service, game_id, "image_missing")

    assert "galaxy-engine:9.9.9" in told["headline"]
    assert told["next_step"]["verb"] is None


def test_a_game_taken_off_its_network_is_put_back_as_proposed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    service.playground.client.networks.get(service.playground.network).disconnect(container)

    do(service, game_id, explained(service, game_id, "wrong_network"))

    explained(service, game_id, "healthy")


def test_a_paused_game_is_let_go_on_as_proposed(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.pause()

    told = explained(service, game_id, "docker_unhealthy")
    container.unpause()

    assert told["next_step"]["command"].endswith(f"unpause {str(container.id)[:12]}")


def test_a_stranger_under_the_games_name_is_named_and_not_touched(
    service: Service, game_id: str, engine_image: str
) -> None:
    stranger = service.playground.client.containers.create(engine_image, name=container_name(game_id))
    try:
        service.post(game_id, "start", image_ref=engine_image)
        told = explained(service, game_id, "foreign_container")
        stranger.reload()
    finally:
        stranger.remove(force=True)

    assert told["observed"]["foreign_container_id"] == stranger.id
    assert f"rename {str(stranger.id)[:12]}" in told["next_step"]["command"]


def test_the_command_on_the_server_says_the_same(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    service.post(game_id, "stop", reason="finished")

    text, as_json = command(service, game_id), json.loads(command(service, game_id, "--json"))

    told = explain(service, game_id)
    assert text.startswith(f"OK  stopped_as_asked  (game {game_id})")
    assert {**as_json, "as_of": "", "headline": ""} == {**told, "as_of": "", "headline": ""}


def test_a_job_that_no_worker_takes_up_is_explained(
    make_service: MakeService, engine_image: str
) -> None:  # fmt: skip
    service = make_service()
    service.start()
    game_id = service.playground.game_id("w")
    service.post(game_id, "start", image_ref=engine_image)
    service.kill("worker", "clock")
    service.stop_job(game_id)

    told = explained(service, game_id, "worker_down")

    assert [one["what"] for one in told["blocked_by"]] == ["worker"]
    assert told["next_step"]["verb"] is None


def command(service: Service, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "explain", *words],
        cwd=CLONE,
        env=service.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
