"""The upgrade from version 0.1.0 with running games and open operations of every state, on real containers.

Version 0.1.0 was stopped in the middle of its work. After ``migrate``, this version completes what it left.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from runtimes.container_spec import container_name, engine_endpoint
from tests.servers.old_release import VERSION_0_1_0, OldDatabase
from tests.servers.processes import TOGETHER
from tests.servers.sandbox import Playground, open_playground
from tests.servers.service import HEALTH_EVENTS, START_JOBS, STOP_JOBS, Servers, Service, opened
from tests.servers.waiting import wait_for

# Within RTMANAGER_JOB_DEADLINE: an older job would fail if Docker does not answer once.
_NOW = datetime.now(UTC)
_ACCEPTED, _STARTED, _CREATED, _FINISHED = (_NOW - timedelta(minutes=minutes) for minutes in (10, 8, 7, 6))
_MOUNT = "/var/lib/galaxy-game"


@dataclass(frozen=True, slots=True)
class OldInstallation:
    """What version 0.1.0 left: its database and its containers."""

    database: OldDatabase
    playground: Playground
    image: str

    def insert(self, table: str, **columns: Any) -> Any:
        """Insert one row; returns its first column."""
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        statement = f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING {table}.*"  # noqa: S608 - our own names
        return self.database.rows(statement, *columns.values())[0][0]

    def operation(self, name: str, op_kind: str, state: str = "accepted", **columns: Any) -> int:
        """An operation of a game; its id. A running one has a lease that has expired."""
        stream = STOP_JOBS if op_kind == "stop" else START_JOBS
        arguments = {"stop": {"reason": "cancelled"}, "start": {"image_ref": self.image}}.get(op_kind, {})
        claimed = {"attempt": 1, "fence": 1, "lease_until": _STARTED, "started_at": _STARTED}
        row: dict[str, Any] = {
            "game_id": self.playground.game_id(name), "op_kind": op_kind, "op_source": "lobby_stream",
            "source_ref": f"{name}-0", "job_key": f"{stream}:{name}-0", "arguments": json.dumps(arguments),
            "image_ref": arguments.get("image_ref", ""), "state": state, "error_code": "", "error_message": "",
            "container_id": "", "engine_endpoint": "", "steps": "[]", "attempt": 0, "deferrals": 0, "awaits_image": "",
            "claimed_by": "", "accepted_at": _ACCEPTED,
        }  # fmt: skip
        finished = {"outcome": "success", "finished_at": _FINISHED, "lease_until": None}
        by_state = {"accepted": {}, "running": claimed, "finished": claimed | finished}
        return int(self.insert("operations_operation", **row | by_state[state] | columns))

    def container(self, name: str, operation_id: int, *, is_started: bool = True) -> Container:
        """A container with the labels of version 0.1.0, which had no job key."""
        game_id = self.playground.game_id(name)
        directory = self.playground.state_root / game_id
        directory.mkdir()
        labels = {
            "owner": "rtmanager", "stack": self.playground.stack, "kind": "game-engine", "game_id": game_id,
            "engine_image_ref": self.image, "started_at_ms": str(int(_CREATED.timestamp() * 1000)),
            "operation_id": str(operation_id), "fence": "1",
        }  # fmt: skip
        made = self.playground.client.containers.create(
            self.image,
            name=container_name(game_id),
            hostname=container_name(game_id),
            network=self.playground.network,
            volumes={str(directory): {"bind": _MOUNT, "mode": "rw"}},
            environment={"GAME_STATE_PATH": _MOUNT, "STORAGE_PATH": _MOUNT},
            labels={f"com.galaxy.{label}": text for label, text in labels.items()},
        )
        if is_started:
            made.start()
        return made

    def running_game(self, name: str) -> Container:
        """A game that runs: its finished start, its container and its record."""
        game_id, ground = self.playground.game_id(name), self.playground
        made = self.container(name, self.operation(name, "start", "finished"))
        self.insert(
            "runtimes_runtime", game_id=game_id, status="running", current_container_id=made.id, image_id="",
            current_image_ref=self.image, engine_endpoint=engine_endpoint(game_id), docker_network=ground.network,
            state_path=str(ground.state_root / game_id), started_at=_FINISHED, last_op_at=_FINISHED,
            created_at=_FINISHED, fence=1,
        )  # fmt: skip
        return made


def fill(old: OldInstallation) -> dict[str, str]:
    """One game for each state in which 0.1.0 may have been stopped; game → the id of its container, if it has one."""
    containers = {name: old.running_game(name) for name in ("steady", "stopping", "restarting", "removing")}
    old.operation("stopping", "stop", "running")
    old.operation("restarting", "restart", op_source="gm_rest", job_key="rest:1")
    containers["removing"].kill()
    stop = "UPDATE runtimes_runtime SET status = 'stopped' WHERE game_id = %s RETURNING 1"
    old.database.rows(stop, old.playground.game_id("removing"))
    old.operation("removing", "cleanup_container", op_source="admin_rest", job_key="rest:2")
    containers["begun"] = old.container("begun", old.operation("begun", "start", "running"))
    created = old.operation("created", "start", "running")
    containers["created"] = old.container("created", created, is_started=False)
    old.operation("claimed", "start", "running")
    old.operation("waiting", "start")
    old.operation("deferred", "start", deferrals=3, awaits_image=old.image, not_before=_FINISHED)
    _leave_an_unpublished_result(old, "unpublished")
    old.database.server.execute(old.database.name, "SELECT setval('operations_fence_seq', 100)")
    return {name: str(made.id) for name, made in containers.items()}


def _leave_an_unpublished_result(old: OldInstallation, name: str) -> None:
    old.operation(name, "stop", "finished", error_code="replay_no_op")
    fields = {
        "game_id": old.playground.game_id(name), "outcome": "success", "container_id": "", "engine_endpoint": "",
        "error_code": "replay_no_op", "error_message": "",
    }  # fmt: skip
    old.insert(
        "operations_outboxevent", topic="job_results", dedupe_key=f"result:{STOP_JOBS}:{name}-0",
        game_id=fields["game_id"], fields=json.dumps(fields), stream_entry_id="",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The service of this version, after it has completed everything, and what 0.1.0 had left."""

    service: Service
    containers: Mapping[str, str]
    started_at: str

    def game(self, name: str) -> str:
        return self.service.playground.game_id(name)

    def now(self, name: str) -> list[tuple[str, str]]:
        """Id and status of all containers of a game."""
        return [
            (str(one.id), one.attrs["State"]["Status"]) for one in self.service.playground.containers(self.game(name))
        ]

    def results(self, name: str) -> list[tuple[str, str]]:
        return [(one.outcome, one.error_code) for one in self.service.results(self.game(name), 0)]


@pytest.fixture(scope="module")
def upgraded(
    docker_client: docker.DockerClient,
    allot_servers: Callable[[], Servers],
    engine_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Upgraded]:
    """Fill a database of 0.1.0, migrate it, start this version and let it complete everything."""
    servers = allot_servers()
    servers = replace(servers, database=servers.postgres.create_database())
    database = OldDatabase(servers.postgres, servers.database)
    database.migrate(*VERSION_0_1_0.items())
    with ExitStack() as stack:
        ground = open_playground(docker_client, tmp_path_factory.mktemp("games"))
        stack.callback(ground.clear)
        containers = fill(OldInstallation(database, ground, engine_image))
        started_at = str(ground.inspect(ground.game_id("steady"))["State"]["StartedAt"])
        database.migrate()
        service = Service(servers, ground, log_folder=tmp_path_factory.mktemp("logs"), kinds=TOGETHER)
        stack.enter_context(opened(service)).start()
        open_operations = (
            "SELECT game_id, op_kind, state, error_message FROM operations_operation WHERE state <> 'finished'"
        )
        wait_for(lambda: not service.rows(open_operations), what="all operations to be finished", timeout_seconds=60)
        waiting = "SELECT 1 FROM operations_outboxevent WHERE published_at IS NULL"
        wait_for(lambda: not service.rows(waiting), what="all messages to be published")
        yield Upgraded(service, containers, started_at)


def test_a_running_game_is_not_touched(upgraded: Upgraded) -> None:
    assert upgraded.now("steady") == [(upgraded.containers["steady"], "running")]
    game_id = upgraded.game("steady")
    assert upgraded.service.playground.inspect(game_id)["State"]["StartedAt"] == upgraded.started_at
    assert upgraded.service.record(game_id)["status"] == "running"


@pytest.mark.parametrize("name", ["begun", "created", "claimed", "waiting", "deferred"])
def test_an_open_start_is_completed_with_one_container_and_one_result(upgraded: Upgraded, name: str) -> None:
    assert upgraded.results(name) == [("success", "")], upgraded.service.operations(upgraded.game(name))
    ((container_id, status),) = upgraded.now(name)
    assert status == "running"
    record = upgraded.service.record(upgraded.game(name))
    assert (record["status"], record["current_container_id"]) == ("running", container_id)


def test_a_start_whose_container_runs_already_keeps_it(upgraded: Upgraded) -> None:
    assert upgraded.now("begun") == [(upgraded.containers["begun"], "running")]


def test_an_interrupted_stop_is_completed(upgraded: Upgraded) -> None:
    assert upgraded.now("stopping") == [(upgraded.containers["stopping"], "exited")]
    assert upgraded.results("stopping") == [("success", "")]


def test_an_open_restart_is_done_once(upgraded: Upgraded) -> None:
    ((container_id, status),) = upgraded.now("restarting")

    assert (status, container_id != upgraded.containers["restarting"]) == ("running", True)
    kinds = [one["op_kind"] for one in upgraded.service.operations(upgraded.game("restarting"))]
    assert [kind for kind in kinds if not kind.startswith("reconcile")] == ["restart", "start"]


def test_an_open_cleanup_is_completed(upgraded: Upgraded) -> None:
    assert upgraded.now("removing") == []
    assert upgraded.service.record(upgraded.game("removing"))["status"] == "removed"


def test_a_result_that_was_not_published_is_published_once(upgraded: Upgraded) -> None:
    assert upgraded.results("unpublished") == [("success", "replay_no_op")]


def test_no_game_is_reported_as_lost_or_exited(upgraded: Upgraded) -> None:
    events = {entry["event_type"] for entry in upgraded.service.entries(HEALTH_EVENTS)}

    assert events == {"container_started"}
