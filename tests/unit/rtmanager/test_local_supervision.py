import configparser
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtmanager.config import Config
from rtmanager.local.commands import wait_until
from rtmanager.local.leftovers import MARKER, alive, end_leftovers, leftovers
from rtmanager.local.places import Place
from rtmanager.local.programs import service_programs
from rtmanager.local.supervision import Program, configuration

DATABASE = Program(name="postgres", command=("postgres", "-D", "/data/a b"), group="servers", stop_signal="INT")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(kind="test", home=tmp_path / "home", identity=f"unit{os.getpid()}")


def parsed(place: Place, *programs: Program) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(place, programs, directory=Path("/clone")))
    return parser


def test_servers_start_at_once_and_the_service_when_told_to(place: Place) -> None:
    found = parsed(place, DATABASE, *service_programs(Config()))

    assert found["program:postgres"]["autostart"] == "true"
    assert found["program:web"]["autostart"] == "false"


def test_the_service_stops_before_the_servers(place: Place) -> None:
    found = parsed(place, DATABASE, *service_programs(Config()))

    assert int(found["group:servers"]["priority"]) < int(found["group:service"]["priority"])
    assert found["group:service"]["programs"] == "web,worker,run_loops"


def test_every_process_of_the_service_has_longer_than_its_shutdown_time_out(place: Place) -> None:
    config = Config()
    found = parsed(place, *service_programs(config))

    waits = [int(found[f"program:{name}"]["stopwaitsecs"]) for name in ("web", "worker", "run_loops")]

    assert min(waits) > config.shutdown_timeout.total_seconds()


def test_several_processes_of_a_kind_have_names_of_their_own(place: Place) -> None:
    found = parsed(place, *service_programs(Config(), copies={"worker": 2}))

    assert found["group:service"]["programs"] == "web,worker,worker-2,run_loops"
    assert "worker2@" in found["program:worker-2"]["command"]


def test_a_big_installation_runs_each_loop_in_a_process_of_its_own(place: Place) -> None:
    found = parsed(place, *service_programs(Config(), split=True, copies={"bridge_jobs": 2}))

    assert found["group:service"]["programs"] == (
        "web,worker,bridge_jobs,bridge_jobs-2,relay_events,watch_runtimes,keep_time"
    )
    assert found["program:keep_time"]["command"].endswith("manage.py keep_time")


def test_what_servers_stand_on_starts_first_and_stops_last(place: Place) -> None:
    containerd = Program(name="containerd", command=("containerd",), group="base")
    found = parsed(place, containerd, DATABASE)

    assert found["program:containerd"]["autostart"] == "true"
    assert int(found["group:base"]["priority"]) < int(found["group:servers"]["priority"])


def test_a_command_with_spaces_and_percent_signs_survives_the_supervisors_rules(place: Place) -> None:
    program = Program(name="odd", command=("run", "two words", "100%", "worker1@%h"), group="service")

    written = parsed(place, program)["program:odd"]["command"]

    assert shlex.split(written % {}) == list(program.command)


def test_a_stack_without_servers_of_its_own_has_no_group_for_them(place: Place) -> None:
    assert "group:servers" not in parsed(place, *service_programs(Config()))


def test_an_unprivileged_server_is_not_started_in_the_clone(place: Place) -> None:
    assert parsed(place, DATABASE)["program:postgres"]["directory"] == "/"


def test_a_process_that_outlived_its_parent_is_found_and_ended(place: Place) -> None:
    # The child waits for a signal; its shell, which carries the marker, is killed at once.
    script = f"{sys.executable} -c 'import signal; signal.pause()' & wait"
    parent = subprocess.Popen(["sh", "-c", script], env={**os.environ, MARKER: place.identity})
    assert wait_until(lambda: len(leftovers(place)) == 2, timeout_seconds=10)
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    end_leftovers(place)

    assert leftovers(place) == set()


def test_a_child_that_hides_its_origin_goes_with_its_family(place: Place) -> None:
    # Like a game: an environment of its own, and deaf to TERM.
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    parent = subprocess.Popen(
        ["sh", "-c", f'env -i {sys.executable} -c "{deaf}" & wait'],
        env={**os.environ, MARKER: place.identity}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"deaf\n"
    child = next(one for one in leftovers(place) if one.parent == parent.pid)

    end_leftovers(place, patience_seconds=0.1, grace_seconds=0.1)

    assert alive([child]) == set()
    parent.wait()
    parent.stdout.close()


def test_processes_of_another_stack_are_not_ours(place: Place) -> None:
    other = Place(kind="test", home=place.home, identity=f"{place.identity}x")
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], env={**os.environ, MARKER: other.identity}
    )
    try:
        end_leftovers(place)

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
