"""Docker is restarted, killed, or lost with its host, under running games: seen by the whole service."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.workspace import CLONE
from tests.servers.engine_images import build_engine, build_switched_engine
from tests.servers.own_docker import OwnDocker, own_docker
from tests.servers.sandbox import open_playground
from tests.servers.service import HEALTH_EVENTS, Servers, Service, opened
from tests.servers.waiting import wait_for

GAMES = ("a", "b", "c")
_DOWN = {
    "shut down": OwnDocker.stop,
    "killed": OwnDocker.kill,
    "lost with its host": OwnDocker.lose_power,
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket lies below it."""
    made = Path(tempfile.mkdtemp(prefix="rtm-d"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


class World:
    """One service on an engine of its own, and games on it."""

    def __init__(self, service: Service, image: str, switched: str) -> None:
        self.service, self.image, self.switched = service, image, switched
        self.games = [service.playground.game_id(name) for name in GAMES]

    def start(self, game_id: str, image: str = "") -> None:
        self.service.start_job(game_id, image or self.image)
        assert self.service.result(game_id).outcome == "success"

    def stop(self, game_id: str) -> None:
        assert self.service.post(game_id, "stop", reason="finished").status_code == 200

    def crash(self, game_id: str) -> None:
        """Let the engine exit, and wait until that is on record."""
        (Path(self.service.playground.state_root) / game_id / "exit").write_text("3")
        wait_for(lambda: self.ended_by("exited") == [game_id], what=f"the crash of {game_id} on record")

    def ended_by(self, cause: str) -> list[str]:
        answer = self.service.client.get("/api/v1/internal/runtimes", params={"ended_by": cause})
        return [one["game_id"] for one in answer.json()["items"]]

    def exits(self) -> list[str]:
        """The games of which an exit was reported."""
        events = self.service.entries(HEALTH_EVENTS)
        return sorted(one["game_id"] for one in events if one["event_type"] == "container_exited")

    def look_at_all(self) -> None:
        """Have records and Docker compared and repaired, as often as it takes to be sure that nothing is left."""
        self.service.run_command("reconcile")
        rows = "SELECT count(*) FROM operations_operation WHERE state <> 'finished'"
        wait_for(lambda: self.service.rows(rows) == [(0,)], what="all repairs to be done")

    def rtm(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "rtmanager.cli", *arguments]
        environment = {**os.environ, "RTM_URL": str(self.service.client.base_url)}
        return subprocess.run(command, cwd=CLONE, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def world_on(engine: OwnDocker, servers: Servers, folder: Path) -> Iterator[World]:
    with engine.client() as client:
        image, switched = build_engine(client, "1.0.0"), build_switched_engine(client)
        ground = open_playground(client, folder / "games")
        log_folder = folder / "logs"
        log_folder.mkdir()
        with opened(Service(servers, ground, log_folder=log_folder, DOCKER_HOST=engine.host)) as service:
            service.start()
            yield World(service, image, switched)


@pytest.mark.parametrize("how", _DOWN)
def test_every_game_that_ran_is_recognised_reported_once_and_brought_back(
    how: str, folder: Path, allot_servers: Callable[[], Servers]
) -> None:
    with own_docker(folder) as engine, world_on(engine, allot_servers(), folder) as world:
        stopped, crashed = (world.service.playground.game_id(name) for name in ("stopped", "crashed"))
        for game_id in (*world.games, stopped):
            world.start(game_id)
        world.start(crashed, world.switched)
        world.stop(stopped)
        world.crash(crashed)
        before = [world.service.record(one) for one in (stopped, crashed)]

        _DOWN[how](engine)
        world.service.wait_until_ready(503)
        engine.start()

        wait_for(
            lambda: world.ended_by("docker_restarted") == world.games, what="all games on record", timeout_seconds=90
        )
        world.look_at_all()
        assert world.exits() == sorted([*world.games, crashed])
        assert [world.service.record(one) for one in (stopped, crashed)] == before
        assert world.ended_by("exited") == [crashed]
        _plan_and_restart(world)


def _plan_and_restart(world: World) -> None:
    command: Sequence[str] = ("restart", "--ended-by", "docker_restarted")
    explained = world.rtm("explain", world.games[0])
    plan = world.rtm(*command, "--plan")
    down = [world.service.record(game_id)["status"] for game_id in world.games]

    done = world.rtm(*command, "--yes", "--parallel", "2")

    assert "docker_restarted" in explained.stdout
    assert (plan.returncode, down) == (0, ["stopped"] * 3)
    assert [game_id in plan.stdout for game_id in world.games] == [True] * 3
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 restarted, 0 skipped, 0 failed, 0 left."
    assert [world.service.record(game_id)["status"] for game_id in world.games] == ["running"] * 3
    assert world.ended_by("docker_restarted") == []


def test_with_live_restore_nothing_happens_to_the_games_and_nothing_is_claimed(
    folder: Path, allot_servers: Callable[[], Servers]
) -> None:
    with own_docker(folder, live_restore=True) as engine, world_on(engine, allot_servers(), folder) as world:
        for game_id in world.games:
            world.start(game_id)
        before = [world.service.record(game_id) for game_id in world.games]

        engine.stop()
        world.service.wait_until_ready(503)
        engine.start()

        world.service.wait_until_ready()
        world.look_at_all()
        assert [world.service.record(game_id) for game_id in world.games] == before
        assert world.ended_by("docker_restarted") == []
        assert world.exits() == []
