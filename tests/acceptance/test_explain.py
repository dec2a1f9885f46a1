"""Break games on a real Docker: within ten seconds the service names the cause, and its proposal repairs the game."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import docker
import pytest

from deploy.local.workspace import CLONE
from runtimes.container_spec import container_name
from tests.acceptance.conftest import MakeService
from tests.servers.engine_images import derive_engine
from tests.servers.service import Service
from tests.servers.sessions import SESSION_LABELS
from tests.servers.waiting import wait_for

SECONDS = 10


@pytest.fixture(scope="module")
def build(docker_client: docker.DockerClient, engine_image: str) -> Callable[..., str]:
    """Builds an engine like the healthy one, changed by the given lines of a Dockerfile."""
    return partial(derive_engine, docker_client, engine_image)


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    """Frequent inspections, and no pulls: a missing image fails at once."""
    return {"IMAGE_PULL_POLICY": "never", "INSPECT_INTERVAL": "1s"}


def explain(service: Service, game_id: str) -> dict[str, Any]:
    answer = service.client.get(f"/api/v1/internal/runtimes/{game_id}/explain")
    assert answer.status_code == 200, answer.text
    explanation: dict[str, Any] = answer.json()
    return explanation


def explained(service: Service, game_id: str, cause: str) -> dict[str, Any]:
    """Wait until this is the cause; return the explanation."""
    explanations: list[dict[str, Any]] = []

    def has_cause() -> bool:
        explanations.append(explain(service, game_id))
        return bool(explanations[-1]["cause"] == cause)

    wait_for(has_cause, what=f"{game_id} to be explained as {cause}", timeout_seconds=SECONDS)
    return explanations[-1]


def do_next_step(service: Service, game_id: str, explanation: dict[str, Any]) -> None:
    step = explanation["next_step"]
    answer = service.post(game_id, step["verb"], **step["arguments"])
    assert answer.status_code == 200, answer.text


def test_a_running_game_is_healthy_with_its_limits(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)

    explanation = explain(service, game_id)

    assert (explanation["cause"], explanation["severity"], explanation["differences"]) == ("healthy", "ok", [])
    assert explanation["observed"]["networks"] == [service.playground.network]
    assert (explanation["limits"]["memory_bytes"], explanation["limits"]["read_only"]) == (64 * 1024**2, True)
    assert explanation["recorded"] == service.record(game_id)
    assert explanation["last_operations"] == service.operations(game_id)


def test_a_killed_game_is_named_and_brought_back_as_proposed(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.kill()

    explanation = explained(service, game_id, "killed_outside")
    wait_for(lambda: service.record(game_id)["status"] == "stopped", what="the end to be on record")
    do_next_step(service, game_id, explained(service, game_id, "killed_outside"))

    assert "exit code 137" in explanation["headline"]
    explained(service, game_id, "healthy")


def test_a_game_removed_by_hand_is_named_and_brought_back_as_proposed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.remove(force=True)
    wait_for(lambda: service.record(game_id)["status"] == "removed", what="the loss to be on record")

    explanation = explained(service, game_id, "container_disappeared")
    do_next_step(service, game_id, explanation)

    assert str(container.id)[:12] in explanation["headline"]
    explained(service, game_id, "healthy")


def test_a_crash_at_the_start_leads_to_its_exit_report(service: Service, game_id: str, crashing_image: str) -> None:
    service.post(game_id, "start", image_ref=crashing_image)

    explanation = explained(service, game_id, "crash_at_start")

    assert explanation["exit_report"]
    assert f"exit report {explanation['exit_report']}" in explanation["next_step"]["text"]


@pytest.mark.parametrize("seconds", [0, 2])
@pytest.mark.parametrize(
    "case",
    [
        ("USER 1000", "echo 1 > $GAME_STATE_PATH/world", "permission_denied", "RTMANAGER_GAME_STATE_OWNER_UID=1000"),
        ("", "echo 1 > /bin/world", "read_only_filesystem", "RTMANAGER_CONTAINER_READ_ONLY"),
    ],
)
def test_an_engine_that_may_not_write_is_explained_by_the_setting_at_its_start_and_later(
    service: Service, game_id: str, build: Callable[..., str], case: tuple[str, str, str, str], *, seconds: int
) -> None:
    user, writes, cause, setting = case
    program = f"sleep {seconds}; {writes} || exit 1"
    words = f"{user}\nCMD {json.dumps(['sh', '-c', program])}"
    image_ref = build(name=f"{cause.replace('_', '-')}-{seconds}", lines=words)
    started = service.post(game_id, "start", image_ref=image_ref)

    explanation = explained(service, game_id, cause)

    assert started.status_code == (200 if seconds else 500)
    assert setting in explanation["next_step"]["text"]


def test_an_image_that_is_not_there_is_named(service: Service, game_id: str) -> None:
    service.post(game_id, "start", image_ref="galaxy-engine:9.9.9")

    explanation = explained(service, game_id, "image_missing")

    assert "galaxy-engine:9.9.9" in explanation["headline"]
    assert explanation["next_step"]["verb"] is None


def test_a_game_taken_off_its_network_is_put_back_as_proposed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    service.playground.client.networks.get(service.playground.network).disconnect(container)

    do_next_step(service, game_id, explained(service, game_id, "wrong_network"))

    explained(service, game_id, "healthy")


def test_a_paused_game_is_let_go_on_as_proposed(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.pause()

    explanation = explained(service, game_id, "docker_unhealthy")
    container.unpause()

    assert explanation["next_step"]["command"].endswith(f"unpause {str(container.id)[:12]}")


def test_what_docker_update_and_a_second_network_change_is_named_and_ended_as_proposed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.update(mem_limit="32m", restart_policy={"Name": "always"})
    second = service.playground.client.networks.create(f"{service.playground.stack}-second", labels=SESSION_LABELS)
    second.connect(container)

    explanation = explained(service, game_id, "configuration_drift")
    do_next_step(service, game_id, explanation)
    after = explained(service, game_id, "healthy")
    second.remove()

    assert [one["kind"] for one in explanation["configuration"]] == ["restart_policy", "limits", "networks"]
    assert (explanation["severity"], explanation["differences"]) == ("warning", [])
    assert after["configuration"] == []


def test_a_renamed_container_is_named_and_gets_its_name_back_as_proposed(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    (container,) = service.playground.containers(game_id)
    container.rename(f"keep-{game_id}")

    explanation = explained(service, game_id, "endpoint_dead")
    do_next_step(service, game_id, explanation)
    after = explained(service, game_id, "healthy")

    assert f"keep-{game_id}" in explanation["headline"]
    assert after["observed"]["container_id"] == str(container.id)


def test_a_foreign_container_with_the_games_name_is_named_and_not_touched(
    service: Service, game_id: str, engine_image: str
) -> None:
    foreign = service.playground.client.containers.create(engine_image, name=container_name(game_id))
    try:
        service.post(game_id, "start", image_ref=engine_image)
        explanation = explained(service, game_id, "foreign_container")
        foreign.reload()
    finally:
        foreign.remove(force=True)

    assert explanation["observed"]["foreign_container_id"] == foreign.id
    assert f"rename {str(foreign.id)[:12]}" in explanation["next_step"]["command"]


def test_the_command_on_the_server_says_the_same(service: Service, game_id: str, engine_image: str) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    service.post(game_id, "stop", reason="finished")

    text, as_json = command(service, game_id), json.loads(command(service, game_id, "--json"))

    explanation = explain(service, game_id)
    assert text.startswith(f"OK  stopped_on_request  (game {game_id})")
    assert {**as_json, "as_of": "", "headline": ""} == {**explanation, "as_of": "", "headline": ""}


def test_a_job_that_no_worker_takes_is_explained(
    make_service: MakeService, engine_image: str
) -> None:  # fmt: skip
    service = make_service()
    service.start()
    game_id = service.playground.game_id("w")
    service.post(game_id, "start", image_ref=engine_image)
    service.kill("worker", "scheduler")
    service.stop_job(game_id)

    explanation = explained(service, game_id, "worker_down")

    assert [one["what"] for one in explanation["blocked_by"]] == ["worker"]
    assert explanation["next_step"]["verb"] is None


def command(service: Service, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "explain", *arguments],
        cwd=CLONE,
        env=service.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
