"""Processes of two releases side by side: all jobs are done, and what does not fit says so and harms nothing.

This release upgrades to the next one, and that to a later one. The fixture walks through both upgrades and notes what
it observes; each test checks one promise.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import docker
import pytest

from deploy.local.workspace import CLONE
from rtmanager import __version__
from tests.servers.processes import TOGETHER
from tests.servers.sandbox import open_playground
from tests.servers.service import Servers, Service, opened

NEXT, LATER = "tests.servers.releases.next.settings", "tests.servers.releases.later.settings"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command or a process ended."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What was observed. ``jobs``: what ran → the outcomes of a start, a restart over REST and a stop."""

    too_early: Mapping[str, Ended]
    expand: Ended
    jobs: Mapping[str, list[str]]
    mixed_doctor: str
    refused_contract: Ended
    refused_undo: Ended
    contract: Ended
    too_old: Mapping[str, Ended]
    log_of_old: str


def run(service: Service, *arguments: str) -> Ended:
    """Run a management command of the service's release."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=CLONE, env=service.environment, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout + done.stderr)


def try_to_start(service: Service) -> dict[str, Ended]:
    """Start each process, which is expected to end by itself."""
    for process in service.processes.values():
        process.start()
    return {name: Ended(process.wait(timeout_seconds=30), process.log) for name, process in service.processes.items()}


def play(service: Service, name: str, image: str, *, web: Service) -> list[str]:
    """Start a game by stream, restart it over REST, stop it by stream; returns the outcomes."""
    game_id = service.playground.game_id(name)
    service.start_job(game_id, image)
    service.results(game_id, 1)
    restarted = web.post(game_id, "restart")
    service.stop_job(game_id)
    results = [one.outcome for one in service.results(game_id, 2)]
    return [results[0], str(restarted.status_code), *results[1:], str(service.record(game_id)["status"])]


@pytest.fixture(scope="module")
def upgrade(
    docker_client: docker.DockerClient,
    allot_servers: Callable[[], Servers],
    engine_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Upgrade]:
    """Walk through both upgrades."""
    servers = allot_servers()
    with ExitStack() as stack:
        ground = open_playground(docker_client, tmp_path_factory.mktemp("games"))
        stack.callback(ground.clear)

        def make(release: str) -> Service:
            logs = tmp_path_factory.mktemp("logs")
            return stack.enter_context(
                opened(Service(servers, ground, log_folder=logs, kinds=TOGETHER, release=release))
            )

        old, new, later = make(""), make(NEXT), make(LATER)
        old.start()
        jobs = {"old": play(old, "before", engine_image, web=old)}
        too_early = try_to_start(new)
        expand = run(new, "migrate", "--no-input")
        jobs["old on newer tables"] = play(old, "expanded", engine_image, web=old)
        new.start()
        mixed_doctor = run(new, "doctor").output
        old.stop("worker")
        jobs["new worker, old bridge and web"] = play(old, "worker", engine_image, web=old)
        old.restart("worker")
        new.stop("worker")
        old.stop("loops")
        jobs["old worker, new bridge and web"] = play(old, "bridge", engine_image, web=new)
        refused_undo = run(new, "migrate", "--no-input", "operations", "0011")
        refused_contract = run(later, "migrate", "--no-input")
        log_of_old = "".join(text for _name, text in old.logs())
        old.stop()
        new.restart("worker")
        contract = run(later, "migrate", "--no-input")
        jobs["new on later tables"] = play(new, "contracted", engine_image, web=new)
        yield Upgrade(
            too_early, expand, jobs, mixed_doctor, refused_contract, refused_undo, contract, try_to_start(old),
            log_of_old,
        )  # fmt: skip


def test_every_mixture_of_two_releases_does_its_jobs(upgrade: Upgrade) -> None:
    assert upgrade.jobs == {name: ["success", "200", "success", "stopped"] for name in upgrade.jobs}
    assert len(upgrade.jobs) == 5
    assert '"level": "error"' not in upgrade.log_of_old
    assert '"level": "critical"' not in upgrade.log_of_old


def test_a_process_without_its_migrations_ends_with_one_sentence(upgrade: Upgrade) -> None:
    for ended in upgrade.too_early.values():
        assert ended.code == 1
        assert "the database lacks 1 migration of this version (operations.9001_add_column)" in ended.output
        assert "run: manage.py migrate" in ended.output
        assert "Traceback" not in ended.output


def test_a_migration_that_only_adds_runs_beside_older_processes(upgrade: Upgrade) -> None:
    assert upgrade.expand.code == 0, upgrade.expand.output


def test_the_doctor_names_the_processes_of_another_version(upgrade: Upgrade) -> None:
    assert f"has version {__version__}" in upgrade.mixed_doctor
    assert "this is 0.3.0" in upgrade.mixed_doctor


def test_a_migration_that_takes_away_waits_for_the_end_of_older_processes(upgrade: Upgrade) -> None:
    assert upgrade.refused_contract.code == 1
    assert "these migrations need version 0.3.0 or newer, but RTM is running: " in upgrade.refused_contract.output
    assert f"of version {__version__}" in upgrade.refused_contract.output
    assert "of version 0.3.0" not in upgrade.refused_contract.output
    assert upgrade.contract.code == 0, upgrade.contract.output


def test_migrations_are_not_undone_below_running_processes(upgrade: Upgrade) -> None:
    assert upgrade.refused_undo.code == 1
    assert "migrations are undone, but RTM is running: " in upgrade.refused_undo.output


def test_a_process_that_is_too_old_for_the_tables_ends_with_one_sentence(upgrade: Upgrade) -> None:
    for ended in upgrade.too_old.values():
        assert ended.code == 1
        assert f"the database needs version 0.3.0 or newer, this is {__version__}" in ended.output
        assert "Traceback" not in ended.output
