"""Exit reports, logs and stats of containers on a real Docker."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from runtimes.containers.log_followers import MAX_FOLLOWERS
from tests.servers.engine_images import SECRET, build_talking_engine
from tests.servers.service import Service
from tests.servers.waiting import wait_for

REDACTED = "«redacted»"


@pytest.fixture(scope="module")
def image(docker_client: docker.DockerClient, engine_image: str) -> str:
    return build_talking_engine(docker_client, engine_image)


class Game:
    """A game on the talking engine, seen over HTTP."""

    def __init__(self, service: Service, game_id: str) -> None:
        self.service = service
        self.address = f"/api/v1/internal/runtimes/{game_id}"
        self.state = Path(service.playground.state_root) / game_id
        self.game_id = game_id

    def get(self, what: str, **query: str) -> Any:
        answer = self.service.client.get(f"{self.address}/{what}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def start(self, image: str) -> httpx.Response:
        return self.service.post(self.game_id, "start", image_ref=image)

    def lay(self, name: str, text: str = "now") -> None:
        self.state.mkdir(exist_ok=True)
        with (self.state / name).open("a") as file:
            file.write(f"{text}\n")

    def report(self) -> dict[str, Any]:
        """The one exit report of the game, as soon as it is there."""
        reports = wait_for(lambda: self.get("exit-reports")["items"], what=f"an exit report of {self.game_id}")
        assert len(reports) == 1, reports
        answer = self.service.client.get(f"/api/v1/internal/exit-reports/{reports[0]['id']}")
        assert SECRET not in answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait_for_status(self, status: str) -> None:
        wait_for(lambda: self.service.record(self.game_id)["status"] == status, what=f"status {status}")


@pytest.fixture
def game(service: Service, game_id: str) -> Game:
    return Game(service, game_id)


@pytest.fixture
def running(game: Game, image: str) -> Game:
    assert game.start(image).status_code == 200
    wait_for(lambda: len(game.get("logs")["items"]) == 2, what="the first two lines")
    return game


def lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((one["stream"], one["line"]) for one in report["log"])


FIRST_LINES = [("stderr", f"api_key={REDACTED}"), ("stdout", "turn 1")]


def test_a_crash_at_start_keeps_its_last_lines_without_its_secrets(game: Game, image: str) -> None:
    game.lay("exit")

    answer = game.start(image)

    report = game.report()
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "container_start_failed")
    assert game.service.playground.containers(game.game_id) == []
    assert (report["cause"], report["exit_code"], report["oom_killed"], report["note"]) == (
        "crash_at_start",
        3,
        False,
        "",
    )
    assert lines(report) == FIRST_LINES
    assert f"TURN_TOKEN={REDACTED}" in report["inspect"]["Config"]["Env"]
    assert (report["image_ref"], report["image_id"][:7]) == (image, "sha256:")
    assert (report["limits"]["memory_bytes"], report["limits"]["cap_drop"]) == (64 * 1024**2, ["ALL"])
    (operation,) = game.get("operations")["items"]
    assert report["operation_id"] == operation["id"]
    assert [step["name"] for step in operation["steps"]][-2:] == ["exit_report", "remove"]


def test_running_out_of_memory_is_kept_as_that(running: Game) -> None:
    running.lay("eat")
    running.wait_for_status("stopped")

    report = running.report()

    assert (report["cause"], report["exit_code"], report["oom_killed"]) == ("oom", 137, True)
    assert lines(report) == FIRST_LINES
    assert [one["event_type"] for one in report["probes"]["events"]] == ["container_started"]


def test_of_a_container_removed_from_outside_what_is_known_is_kept(
    running: Game, docker_client: docker.DockerClient
) -> None:
    record = running.service.record(running.game_id)
    docker_client.api.remove_container(record["current_container_id"], force=True)
    running.wait_for_status("removed")

    report = running.report()

    assert (report["cause"], report["container_id"]) == ("disappeared", record["current_container_id"])
    assert (report["image_ref"], report["log"]) == (record["current_image_ref"], [])
    assert "its log is not available" in report["note"]


def test_a_cleanup_keeps_what_the_container_takes_along(running: Game) -> None:
    running.lay("said", "turn 2")
    wait_for(lambda: running.get("logs", tail="1")["items"][0]["line"] == "turn 2", what="the third line")
    running.service.post(running.game_id, "stop", reason="finished")

    cleaned = running.service.client.delete(f"{running.address}/container")

    assert cleaned.json()["status"] == "removed"
    assert running.service.client.get(f"{running.address}/logs").status_code == 404
    assert (running.report()["cause"], lines(running.report())) == (
        "stopped",
        [*FIRST_LINES, ("stdout", "turn 2")],
    )


def test_a_log_is_followed_until_the_game_ends(running: Game) -> None:
    with running.service.client.stream("GET", f"{running.address}/logs", params={"follow": "true"}) as answer:
        heard = (json.loads(line)["line"] for line in answer.iter_lines() if line)
        assert {next(heard), next(heard)} == {"turn 1", f"api_key={SECRET}"}
        running.lay("said", "turn 2")
        assert next(heard) == "turn 2"
        running.lay("exit")

        assert list(heard) == []
    assert answer.headers["Content-Type"] == "application/x-ndjson"


def test_a_caller_that_hangs_up_makes_room_for_another(running: Game) -> None:
    def follow() -> httpx.Response:
        client = running.service.client
        request = client.build_request("GET", f"{running.address}/logs", params={"follow": "true"})
        return client.send(request, stream=True)

    with ExitStack() as followers:
        for _ in range(MAX_FOLLOWERS):
            answer = follow()
            followers.callback(answer.close)
            assert next(_lines(answer))
        one_more = follow()
        one_more.read()
        assert (one_more.status_code, one_more.json()["error"]["code"]) == (503, "service_unavailable")

    def is_let_in() -> bool:
        answer = follow()
        answer.close()
        return answer.status_code == 200

    wait_for(is_let_in, what="a place to follow from")


def test_a_running_game_is_measured(running: Game) -> None:
    stats = running.get("stats")

    assert 0 < stats["memory_bytes"] < stats["memory_limit_bytes"] == 64 * 1024**2
    assert stats["pids"] >= 2


def _lines(answer: httpx.Response) -> Iterator[str]:
    return (line for line in answer.iter_lines() if line)
