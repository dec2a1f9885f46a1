import configparser
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.servers.programs import gateway_programs, service_programs
from deploy.local.servers.supervision import Program, configuration
from deploy.local.system.process_cleanup import MARKER, alive, end_leftovers, leftovers
from deploy.local.system.shell import wait_until
from deploy.local.workspace import Workspace
from rtmanager.config import Config

DATABASE = Program(name="postgres", command=("postgres", "-D", "/data/a b"), group="servers", stop_signal="INT")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(kind="test", home=tmp_path / "home", identity=f"unit{os.getpid()}")


def parsed(workspace: Workspace, *programs: Program) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(workspace, programs, directory=Path("/clone")))
    return parser


def test_servers_start_with_the_supervisor_and_the_service_on_request(workspace: Workspace) -> None:
    parser = parsed(workspace, DATABASE, *service_programs(Config()))

    assert parser["program:postgres"]["autostart"] == "true"
    assert parser["program:web"]["autostart"] == "false"


def test_the_service_stops_before_the_servers(workspace: Workspace) -> None:
    parser = parsed(workspace, DATABASE, *service_programs(Config()))

    assert int(parser["group:servers"]["priority"]) < int(parser["group:service"]["priority"])
    assert parser["group:service"]["programs"] == "web,worker,run_loops"


def test_the_supervisor_waits_longer_than_the_shutdown_timeout_of_each_process(workspace: Workspace) -> None:
    config = Config()
    parser = parsed(workspace, *service_programs(config))

    waits = [int(parser[f"program:{name}"]["stopwaitsecs"]) for name in ("web", "worker", "run_loops")]

    assert min(waits) > config.shutdown_timeout.total_seconds()


def test_several_processes_of_a_kind_have_different_names(workspace: Workspace) -> None:
    parser = parsed(workspace, *service_programs(Config(), copies={"worker": 2}))

    assert parser["group:service"]["programs"] == "web,worker,worker-2,run_loops"
    assert "worker2@" in parser["program:worker-2"]["command"]


def test_with_split_each_loop_runs_in_its_own_process(workspace: Workspace) -> None:
    parser = parsed(workspace, *service_programs(Config(), split=True, copies={"bridge_jobs": 2}))

    assert parser["group:service"]["programs"] == (
        "web,worker,bridge_jobs,bridge_jobs-2,relay_events,watch_runtimes,run_scheduler"
    )
    assert parser["program:run_scheduler"]["command"].endswith("manage.py run_scheduler")


def test_each_process_uses_the_socket_of_the_gateway_that_it_needs(workspace: Workspace) -> None:
    config = Config(docker_gateway_dir="/run/gateway")
    parser = parsed(workspace, *gateway_programs(config), *service_programs(config))

    sockets = {name: parser[f"program:{name}"]["environment"] for name in ("web", "worker", "run_loops")}
    assert sockets == {
        "web": 'RTMANAGER_DOCKER_HOST="unix:///run/gateway/watch.sock"',
        "worker": 'RTMANAGER_DOCKER_HOST="unix:///run/gateway/operate.sock"',
        "run_loops": 'RTMANAGER_DOCKER_HOST="unix:///run/gateway/watch.sock"',
    }
    assert parser["group:servers"]["programs"] == "docker_gateway"
    assert "environment" not in parser["program:docker_gateway"]


def test_a_docker_on_another_machine_is_used_without_the_gateway(workspace: Workspace) -> None:
    config = Config(docker_host="tcp://docker.example:2375")
    parser = parsed(workspace, *gateway_programs(config), *service_programs(config))

    assert "program:docker_gateway" not in parser
    assert "environment" not in parser["program:worker"]


def test_the_base_group_starts_first_and_stops_last(workspace: Workspace) -> None:
    containerd = Program(name="containerd", command=("containerd",), group="base")
    parser = parsed(workspace, containerd, DATABASE)

    assert parser["program:containerd"]["autostart"] == "true"
    assert int(parser["group:base"]["priority"]) < int(parser["group:servers"]["priority"])


def test_spaces_and_percent_signs_in_a_command_are_escaped(workspace: Workspace) -> None:
    program = Program(name="odd", command=("run", "two words", "100%", "worker1@%h"), group="service")

    written = parsed(workspace, program)["program:odd"]["command"]

    assert shlex.split(written % {}) == list(program.command)


def test_a_stack_without_embedded_servers_has_no_servers_group(workspace: Workspace) -> None:
    assert "group:servers" not in parsed(workspace, *service_programs(Config()))


def test_an_unprivileged_server_is_not_started_in_the_clone(workspace: Workspace) -> None:
    assert parsed(workspace, DATABASE)["program:postgres"]["directory"] == "/"


def test_a_process_that_outlives_its_parent_is_found_and_ended(workspace: Workspace) -> None:
    # The child waits for a signal; its shell, which also has the marker, is killed at once.
    script = f"{sys.executable} -c 'import signal; signal.pause()' & wait"
    parent = subprocess.Popen(["sh", "-c", script], env={**os.environ, MARKER: workspace.identity})
    assert wait_until(lambda: len(leftovers(workspace)) == 2, timeout_seconds=10)
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    end_leftovers(workspace)

    assert leftovers(workspace) == set()


def test_a_child_without_the_marker_is_ended_with_its_parent(workspace: Workspace) -> None:
    # Like a game: without the marker, and it ignores SIGTERM.
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    )
    parent = subprocess.Popen(
        ["sh", "-c", f'env -i {sys.executable} -c "{stubborn}" & wait'],
        env={**os.environ, MARKER: workspace.identity}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    child = next(process for process in leftovers(workspace) if process.parent == parent.pid)

    end_leftovers(workspace, parents_seconds=0.1, grace_seconds=0.1)

    assert alive([child]) == set()
    parent.wait()
    parent.stdout.close()


def test_processes_of_another_stack_are_not_ended(workspace: Workspace) -> None:
    other = Workspace(kind="test", home=workspace.home, identity=f"{workspace.identity}x")
    other_process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], env={**os.environ, MARKER: other.identity}
    )
    try:
        end_leftovers(workspace)

        assert other_process.poll() is None
    finally:
        other_process.kill()
        other_process.wait()
