"""A disk that is not mounted, on a real Docker: nothing is started on an empty directory in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeService
from tests.servers.service import INTENTS, Service
from tests.servers.waiting import wait_for

MARKER = ".rtmanager-state-root"


@pytest.fixture
def own_service(make_service: MakeService) -> Service:
    """A service whose state root this test may take away."""
    service = make_service()
    service.start()
    return service


@pytest.fixture
def game(own_service: Service, engine_image: str) -> str:
    """A game that runs and has saved a turn."""
    game_id = own_service.playground.game_id("mounted")
    assert own_service.post(game_id, "start", image_ref=engine_image).status_code == 200
    (own_service.playground.state_root / game_id / "turn-1").write_text("saved")
    return game_id


@contextmanager
def unmounted(service: Service) -> Iterator[Path]:
    """The state root as an unmounted disk leaves it: an empty mount point."""
    root = service.playground.state_root
    disk = root.with_name("disk")
    root.rename(disk)
    root.mkdir()
    yield root
    root.rmdir()
    disk.rename(root)


def test_without_its_disk_no_game_is_started_and_with_it_all_are_there_again(
    own_service: Service, game: str, engine_image: str, engine_image_next: str
) -> None:
    new = own_service.playground.game_id("new")
    (container,) = own_service.playground.containers(game)
    with unmounted(own_service) as root:
        answers = [
            own_service.post(game, "restart"),
            own_service.post(game, "restart", accept_empty_state=True),
            own_service.post(game, "patch", image_ref=engine_image_next),
            own_service.post(new, "start", image_ref=engine_image),
        ]
        own_service.start_job(new, engine_image)
        result = own_service.result(new)
        left = list(root.iterdir())
        component = wait_for(lambda: _bad_component(own_service), what="readyz to report the state root")
        checks = own_service.client.get("/api/v1/internal/doctor").json()["checks"]

    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(400, "start_config_invalid")] * 4
    assert all("no marker file" in one.json()["error"]["message"] for one in answers)
    assert (result.outcome, result.error_code) == ("failure", "start_config_invalid")
    assert left == []
    assert "no marker file" in component
    (check,) = [one for one in checks if one["name"] == "state root"]
    assert (check["status"], "accept_state_root" in check["found"]) == ("failed", True)
    container.reload()
    assert container.status == "running"
    # One of the two refusals of the new game: by REST and by stream, as the contract has it for failed starts.
    assert {one["notification_type"] for one in own_service.entries(INTENTS)} == {"runtime.start_config_invalid"}

    assert own_service.post(game, "restart").status_code == 200
    assert (own_service.playground.state_root / game / "turn-1").read_text() == "saved"


def test_a_game_whose_directory_is_missing_is_refused_until_the_caller_accepts_an_empty_one(
    own_service: Service, game: str, engine_image: str
) -> None:
    root = own_service.playground.state_root
    own_service.post(game, "stop", reason="finished")
    (root / game / "turn-1").unlink()
    (root / game).rmdir()

    own_service.start_job(game, engine_image)
    result = own_service.result(game)
    restarted = own_service.post(game, "restart")
    explained = own_service.client.get(f"/api/v1/internal/runtimes/{game}/explain").json()
    not_made = (root / game).exists()
    accepted = own_service.post(game, "restart", accept_empty_state=True)

    assert (result.error_code, restarted.json()["error"]["code"]) == ("start_config_invalid", "start_config_invalid")
    assert "is missing, but the game has run before" in result.error_message
    assert not not_made
    assert explained["cause"] == "state_directory_unusable"
    assert "mount" in str(explained["next_step"])
    assert "accept-empty-state" in str(explained["next_step"])
    assert (accepted.status_code, accepted.json()["status"]) == (200, "running")
    last = own_service.operations(game)[0]
    assert "started with an empty one, as accepted" in last["error_message"]


def test_a_restored_root_is_accepted_by_a_command(own_service: Service, game: str) -> None:
    marker = own_service.playground.state_root / MARKER
    recorded = marker.read_text()
    marker.unlink()
    refused = own_service.post(game, "restart")

    output = own_service.run_command("accept_state_root", "--yes")

    assert refused.json()["error"]["code"] == "start_config_invalid"
    assert "1 of 1 games" in output
    assert marker.read_text() == recorded
    assert own_service.post(game, "restart").status_code == 200


def _bad_component(service: Service) -> Any:
    verdict = service.client.get("/readyz").json()["components"]["state_root"]
    return verdict if verdict not in {"ok", "starting"} else ""
