"""What ``make run`` and ``make demo`` put on a machine, and that ``make stop`` and ``make clean`` take it away again.

Each test works in a clone of its own. The engine is the one of the tests, or the one that the commands find or start.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from deploy.local.docker.cleanup import bridge_of
from deploy.local.docker.daemon import connect_docker, reachable_host
from runtimes.container_spec import LABEL_STACK
from tests.servers.waiting import wait_for
from tests.servers.working_copy import copy_project

_UP_SECONDS = 150
_STATE = """
import json, os
from deploy.local.system.process_cleanup import leftovers
from deploy.local.workspace import KINDS, workspace_of
print(json.dumps({kind: [workspace_of(kind).identity, len(leftovers(workspace_of(kind)))] for kind in KINDS}))
"""


class Clone:
    """A clone in which the commands are run as make runs them."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = environment
        copy_project(home)
        states = self._ask()
        self.identities = {kind: str(identity) for kind, (identity, _count) in states.items()}

    def do(self, command: str) -> str:
        """Run a command to its end; returns what it wrote."""
        done = subprocess.run(
            self._command(command), cwd=self.home, env=self.environment, capture_output=True, text=True, check=False,
            timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, command: str, *, log: Path) -> "subprocess.Popen[bytes]":
        """Start a command, its output into ``log``."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self._command(command), cwd=self.home, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def traces(self) -> list[str]:
        """Everything on this machine that carries the name of one of the clone's stacks, and runs or exists now."""
        names = tuple(self.identities.values())
        folders = [path for root in ("/tmp", "/run", "/var/lib", "/sys/class/net") for path in Path(root).iterdir()]  # noqa: S108
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        sockets = Path("/proc/net/unix").read_text().splitlines()
        running = [f"{count} processes of {kind}" for kind, (_name, count) in self._ask().items() if count]
        found = [*map(str, folders), *mounts, *sockets, *self._filter_rules()]
        return [*running, *(one for one in found if any(name in one for name in names) or str(self.home) in one)]

    def on_the_engine(self, host: str | None) -> list[str]:
        """The containers and networks of the clone's stacks on an engine that outlives them."""
        if host is None:
            return []
        with connect_docker(host) as client:
            stacks = [f"{kind}-{name}" for kind, name in self.identities.items()]
            containers = client.api.containers(all=True, filters={"label": LABEL_STACK})
            networks = [one["Name"] for one in client.api.networks()]
        owned = [one["Names"][0] for one in containers if one["Labels"][LABEL_STACK] in stacks]
        return owned + [name for name in networks if name.endswith(tuple(self.identities.values()))]

    def _ask(self) -> dict[str, tuple[str, int]]:
        done = subprocess.run(
            [sys.executable, "-c", _STATE], cwd=self.home, env=self.environment, capture_output=True, check=True
        )
        states: dict[str, tuple[str, int]] = json.loads(done.stdout)
        return states

    @staticmethod
    def _command(command: str) -> list[str]:
        return [sys.executable, "-m", "deploy.local", command]

    @staticmethod
    def _filter_rules() -> list[str]:
        with suppress(OSError):
            return subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout.splitlines()
        return []


@pytest.fixture(params=["an engine that was named", "the engine that is found or started"])
def engine_variables(request: pytest.FixtureRequest, docker_host: str) -> Mapping[str, str]:
    return {"RTMANAGER_DOCKER_HOST": docker_host} if "named" in request.param else {}


@pytest.fixture
def clone(tmp_path: Path, engine_variables: Mapping[str, str]) -> Iterator[Clone]:
    ours = ("RTMANAGER_", "DOCKER_HOST", "DJANGO_SETTINGS_MODULE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    made = Clone(tmp_path / "clone", {**inherited, **engine_variables})
    yield made
    made.do("clean")


@pytest.fixture
def outside(engine_variables: Mapping[str, str]) -> str | None:
    """The address of the engine that outlives the commands; None when they start a private one."""
    return reachable_host(engine_variables)


def stays_after_stop(clone: Clone, outside: str | None) -> set[str]:
    """The data of the databases, and the interface of the games' network on an engine that outlives the commands."""
    identity = clone.identities["run"]
    network = set() if outside is None else {f"/sys/class/net/{bridge_of(identity)}"}
    return {f"/var/lib/rtm-{identity}", *network}


def bring_up(clone: Clone, log: Path) -> "subprocess.Popen[bytes]":
    """``make run`` with a game that runs."""
    process = clone.begin("run", log=log)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        return "stops everything" in log.read_text()

    wait_for(is_up, what="make run to come up", timeout_seconds=_UP_SECONDS)
    (address,) = [word for word in log.read_text().split() if word.endswith("/api/v1/internal/runtimes")]
    image = {"image_ref": "galaxy-engine:1.0.0"}
    answer = httpx.post(f"{address}/left-{clone.identities['run']}/start", json=image, timeout=60)
    assert answer.status_code == 200, answer.text
    return process


def test_after_a_killed_run_stop_and_clean_leave_nothing_behind(
    clone: Clone, outside: str | None, tmp_path: Path
) -> None:
    process = bring_up(clone, tmp_path / "run.log")
    process.kill()
    process.wait()
    assert clone.traces() != []

    clone.do("stop")

    assert [one for one in clone.traces() if one not in stays_after_stop(clone, outside)] == []
    clone.do("clean")
    assert clone.traces() == []
    assert clone.on_the_engine(outside) == []
    assert not (clone.home / ".run").exists()


def test_a_run_is_stopped_from_another_terminal(clone: Clone, outside: str | None, tmp_path: Path) -> None:
    process = bring_up(clone, tmp_path / "run.log")

    clone.do("stop")

    assert process.wait(timeout=10) == 0
    assert [one for one in clone.traces() if one not in stays_after_stop(clone, outside)] == []
    assert len(clone.on_the_engine(outside)) == (0 if outside is None else 2), "the game and its network stay"


def test_after_a_killed_demo_stop_leaves_nothing_on_the_engine(
    clone: Clone, outside: str | None, tmp_path: Path
) -> None:
    log = tmp_path / "demo.log"
    process = clone.begin("demo", log=log)
    wait_for(lambda: "result <-" in log.read_text(), what="the demo to start a game", timeout_seconds=_UP_SECONDS)
    process.kill()
    process.wait()

    clone.do("stop")

    data = f"/var/lib/rtm-{clone.identities['demo']}"
    assert [one for one in clone.traces() if one != data] == []
    assert clone.on_the_engine(outside) == []
