"""The commands of docs/backup.md on real servers: a restore and a move lose no game and no result, and repeat nothing.

One installation lives through both, in this order: backup, further life, restore, move. The tests compare what was
observed at each point.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.servers.databases import PostgresServer, launch_postgres, ready_postgres
from tests.servers.operator_shell import OperatorShell, make_server
from tests.servers.processes import TOGETHER
from tests.servers.sandbox import open_playground
from tests.servers.server_images import ServerImages
from tests.servers.service import HEALTH_EVENTS, Servers, Service, opened
from tests.servers.waiting import wait_for

DATABASE = "rtmanager"
# As docs/production.md does it.
CREATE_ROLE = "CREATE ROLE rtmanager LOGIN"
NAMES = ("renewed", "again", "ended", "fresh", "lost", "unread")


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of each game: its container, its record, and the outcomes of its results."""

    containers: Mapping[str, tuple[str, str, str]]
    records: Mapping[str, tuple[str, str | None]]
    results: Mapping[str, list[tuple[str, str]]]
    health: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class History:
    """The installation, its games by their short names, and the observations around the restore."""

    service: Service
    shell: OperatorShell
    games: Mapping[str, str]
    before: Observation
    after: Observation
    said: str
    state_before: tuple[Any, ...]
    state_after: tuple[Any, ...]
    stop_of_again: int


def observe(service: Service, games: Mapping[str, str]) -> Observation:
    """Observe all games now."""
    containers, records = {}, {}
    for name, game_id in games.items():
        for container in service.playground.containers(game_id):
            state = container.attrs["State"]
            containers[name] = (str(container.id), state["Status"], state["StartedAt"])
        row = service.rows("SELECT status, current_container_id FROM runtimes_runtime WHERE game_id = %s", game_id)
        if row:
            records[name] = row[0]
    results = {
        name: [(one.outcome, one.error_code) for one in service.results(game_id, 0)] for name, game_id in games.items()
    }
    health = [(entry["game_id"], entry["event_type"]) for entry in service.entries(HEALTH_EVENTS)]
    return Observation(containers, records, results, health)


def wait_until_accepted(service: Service, game_id: str, op_kind: str) -> int:
    """Wait until the operation is on record; its id."""
    query = "SELECT max(id) FROM operations_operation WHERE game_id = %s AND op_kind = %s HAVING max(id) IS NOT NULL"
    rows = wait_for(lambda: service.rows(query, game_id, op_kind), what=f"{op_kind} of {game_id} to be on record")
    return int(rows[0][0])


def agree(service: Service) -> bool:
    """Whether records and Docker agree, and no operation is open."""
    return service.run_command("reconcile", "--dry-run").strip() == "records and Docker agree"


def facts_of(path: Path) -> tuple[Any, ...]:
    """What a restored file must have again."""
    status = path.stat()
    owner = (status.st_mode, status.st_uid, status.st_gid)
    return (*owner, status.st_mtime_ns, os.getxattr(path, "user.rtm"), path.read_text())


@pytest.fixture(scope="module")
def history(
    docker_client: docker.DockerClient,
    allot_servers: Callable[[], Servers],
    migrated_template: str,
    engine_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[History]:
    """Live through backup and restore."""
    root = tmp_path_factory.mktemp("server")
    servers = replace(allot_servers(), database=DATABASE)
    servers.postgres.execute("postgres", CREATE_ROLE)
    servers.postgres.execute("postgres", f"CREATE DATABASE {DATABASE} TEMPLATE {migrated_template}")
    with ExitStack() as stack:
        stack.callback(_drop_databases, servers.postgres)
        ground = open_playground(docker_client, make_server(root))
        stack.callback(ground.clear)
        logs = tmp_path_factory.mktemp("logs")
        service = stack.enter_context(opened(Service(servers, ground, log_folder=logs, kinds=TOGETHER)))
        shell = OperatorShell(service, servers.postgres, root=root)
        games = {name: ground.game_id(name) for name in NAMES}
        note, stop_of_again = _live_until_backup(service, shell, games, engine_image)
        state_before = facts_of(note)
        _live_after_backup(service, games, engine_image)
        before = observe(service, games)

        said = shell.follow("backup.md", "restore")

        service.results(games["lost"]), service.results(games["unread"])
        service.wait_until_ready()
        service.run_command("reconcile")
        wait_for(partial(agree, service), what="records and Docker to agree")
        shutil.rmtree(note.parent)
        shell.variables["game"] = games["ended"]
        shell.follow("backup.md", "state")
        after = observe(service, games)
        yield History(service, shell, games, before, after, said, state_before, facts_of(note), stop_of_again)


def _drop_databases(postgres: PostgresServer) -> None:
    for name in (DATABASE, "rtmanager_before_restore", "rtmanager_moved"):
        postgres.drop_database(name)
    postgres.execute("postgres", "DROP ROLE rtmanager")


def _live_until_backup(
    service: Service, shell: OperatorShell, games: Mapping[str, str], image: str
) -> tuple[Path, int]:
    """Two games run; a start and a stop are open in the backup. Returns a file of a game, and the open stop."""
    service.start()
    for name in ("renewed", "again"):
        service.start_job(games[name], image)
        service.result(games[name])
    service.stop("worker")
    service.start_job(games["ended"], image)
    url = f"/api/v1/internal/runtimes/{games['again']}/stop"
    answer = service.client.post(url, json={"reason": "admin_request"}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    wait_until_accepted(service, games["ended"], "start")
    note = service.playground.state_root / games["ended"] / "notes"
    note.parent.mkdir(mode=0o750)
    note.write_text("turn 1")
    note.chmod(0o640)
    os.chown(note, os.geteuid(), os.getegid())
    os.setxattr(note, "user.rtm", b"kept")
    shell.follow("backup.md", "backup")
    return note, int(answer.json()["id"])


def _live_after_backup(service: Service, games: Mapping[str, str], image: str) -> None:
    """What is open in the backup is done and undone; other games start. At the end RTM has taken a job, and not done
    it, and another job waits in Redis.
    """
    service.restart("worker")
    service.result(games["ended"])
    wait_for(lambda: service.record(games["again"])["status"] == "stopped", what="the open stop to be done")
    for name in ("again", "renewed"):
        answer = service.post(games[name], *_REST[name], **({"image_ref": image} if name == "again" else {}))
        assert answer.status_code == 200, answer.text
    service.start_job(games["fresh"], image)
    service.result(games["fresh"])
    service.stop_job(games["ended"])
    service.results(games["ended"], 2)
    service.stop("worker")
    service.start_job(games["lost"], image)
    wait_until_accepted(service, games["lost"], "start")
    service.stop("loops")
    service.start_job(games["unread"], image)


_REST = {"again": ("start",), "renewed": ("restart",)}


class TestRestore:
    """A restore on the same host, while the games continue."""

    def test_no_container_is_touched_and_every_game_has_the_record_that_docker_shows(self, history: History) -> None:
        old = history.before.containers
        assert {name: history.after.containers[name] for name in old} == old
        statuses = {name: status for name, (_id, status, _started_at) in history.after.containers.items()}
        assert statuses == {**dict.fromkeys(NAMES, "running"), "ended": "exited"}
        assert history.after.records == {
            name: ("running", container_id)
            for name, (container_id, status, _started_at) in history.after.containers.items()
            if status == "running"
        }

    def test_each_job_has_one_result(self, history: History) -> None:
        done = ("success", "")
        assert history.before.results == {
            "renewed": [done], "again": [done], "ended": [done, done], "fresh": [done], "lost": [], "unread": [],
        }  # fmt: skip
        assert history.after.results == {**history.before.results, "lost": [done], "unread": [done]}

    def test_nothing_that_happened_before_is_reported_again(self, history: History) -> None:
        new = history.after.health[len(history.before.health) :]

        assert history.after.health[: len(history.before.health)] == history.before.health
        assert sorted(new) == sorted((history.games[name], "container_started") for name in ("lost", "unread"))

    def test_an_open_stop_over_rest_is_not_done_again_and_its_record_says_so(self, history: History) -> None:
        answer = history.service.client.get(f"/api/v1/internal/operations/{history.stop_of_again}")

        assert (answer.json()["outcome"], answer.json()["error_code"]) == ("failure", "service_unavailable")
        assert f"not done again; repeat it if it is still needed: operation {history.stop_of_again}" in history.said

    def test_the_log_has_the_jobs_of_the_lost_time_again(self, history: History) -> None:
        for name, expected in (("ended", ["stop", "start"]), ("fresh", ["start"]), ("lost", ["start"])):
            # Those of the streams: what reconcile has corrected comes after them.
            jobs = [
                one for one in history.service.operations(history.games[name]) if one["op_source"] == "lobby_stream"
            ]
            assert [(one["op_kind"], one["outcome"]) for one in jobs] == [(kind, "success") for kind in expected]

    def test_a_restored_state_directory_has_its_owners_modes_and_attributes(self, history: History) -> None:
        assert history.state_after == history.state_before


@dataclass(frozen=True, slots=True)
class Move:
    """Both hosts after a move; ``retired`` is the log of the old host's loops after its database was renamed."""

    old: Service
    new: Service
    old_shell: OperatorShell
    games: Mapping[str, str]
    before: Observation
    after: Observation
    retired: str


@pytest.fixture(scope="module")
def moved(
    history: History,
    server_images: ServerImages,
    docker_client: docker.DockerClient,
    engine_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Move]:
    """Move to a host with a PostgreSQL of its own and a Docker without these games. Redis is the same."""
    old, shell, root = history.service, history.shell, tmp_path_factory.mktemp("new")
    launched = launch_postgres(server_images.postgres)
    with ExitStack() as stack:
        stack.callback(launched[0].stop)
        before = observe(old, history.games)
        for part in ("leave", "backup", "retire"):
            shell.follow("backup.md", part)
        old.processes["loops"].start()
        old.processes["loops"].wait_for_log('database \\"rtmanager\\" does not exist')
        old.stop("loops")
        for container in old.playground.containers():
            docker_client.api.remove_container(str(container.id), force=True, v=True)
        postgres = ready_postgres(launched)
        postgres.execute("postgres", CREATE_ROLE)
        postgres.execute("postgres", f"CREATE DATABASE {DATABASE}")
        ground = replace(old.playground, state_root=make_server(root))
        servers = replace(old.servers, postgres=postgres)
        logs = tmp_path_factory.mktemp("logs-new")
        new = stack.enter_context(opened(Service(servers, ground, log_folder=logs, kinds=TOGETHER)))
        new_shell = OperatorShell(new, postgres, root=root)
        new_shell.variables["backup"] = _copy(shell, root)

        new_shell.follow("backup.md", "arrive")

        wait_for(partial(agree, new), what="records and Docker to agree")
        after = observe(new, history.games)
        retired = old.processes["loops"].log
        yield Move(old, new, shell, history.games, before, after, retired)
        new.stop()
    del engine_image


def _copy(shell: OperatorShell, root: Path) -> str:
    """Copy the backup and the list of games to the new host; returns the path of the backup there."""
    old_root = Path(shell.variables["backup"]).parents[3]
    shutil.copytree(old_root / "var/backups", root / "var/backups")
    shutil.copy2(old_root / "root/running-games", root / "root")
    return shell.variables["backup"].replace(str(old_root), str(root))


class TestMove:
    """A move to another host, and an old host that comes back."""

    def test_the_games_that_ran_run_on_the_new_host_with_their_state(self, moved: Move) -> None:
        running = {name for name, (_id, status, _at) in moved.before.containers.items() if status == "running"}

        assert running == set(NAMES) - {"ended"}
        assert {name: status for name, (_id, status, _at) in moved.after.containers.items()} == dict.fromkeys(
            running, "running"
        )
        for name in running:
            assert moved.after.records[name] == ("running", moved.after.containers[name][0])
        assert facts_of(moved.new.playground.state_root / moved.games["ended"] / "notes")[-1] == "turn 1"

    def test_no_result_is_published_again_and_no_loss_is_reported(self, moved: Move) -> None:
        assert moved.after.results == moved.before.results
        new = moved.after.health[len(moved.before.health) :]
        assert {event_type for _game, event_type in new} == {"container_started"}

    def test_the_old_host_does_nothing_without_its_database(self, moved: Move) -> None:
        assert "leadership_taken" not in moved.retired

    def test_the_bridge_of_an_old_host_that_kept_its_database_is_refused(self, moved: Move, engine_image: str) -> None:
        moved.old.servers.postgres.execute("postgres", f"ALTER DATABASE rtmanager_moved RENAME TO {DATABASE}")
        loops = moved.old.processes["loops"]
        loops.start()
        loops.wait_for_log("belongs to another installation")
        game_id = moved.new.playground.game_id("after")

        moved.new.start_job(game_id, engine_image)

        assert moved.new.result(game_id).outcome == "success"
        assert moved.old.rows("SELECT 1 FROM operations_operation WHERE game_id = %s", game_id) == []
        checks = json.loads(moved.old_shell.run("rtmanager doctor --json || true"))
        (streams,) = [check for check in checks["checks"] if check["name"] == "job streams"]
        assert streams["status"] == "failed"
        assert "database_restored" in streams["advice"]
        moved.old.stop("loops")
