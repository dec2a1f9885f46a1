"""``rtm`` as operators run it: a process of its own, against the whole service on real Docker."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import docker
import pytest

from deploy.local.workspace import CLONE
from tests.servers.service import Service
from tests.servers.waiting import wait_for

_RTM = (sys.executable, "-m", "rtmanager.cli")
_LONG_ENOUGH_SECONDS = 60


def environment(service: Service) -> Mapping[str, str]:
    """All that the program sees: no setting of the service is among it."""
    address = f"http://{service.settings['INTERNAL_HTTP_ADDR']}"
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RTM_URL": address, "PYTHONUNBUFFERED": "1"}


def rtm(service: Service, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [*_RTM, *arguments],
        cwd=CLONE,
        env={**environment(service), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONG_ENOUGH_SECONDS,
        check=False,
    )


def begin(service: Service, *arguments: str, terminal: int | None = None) -> "subprocess.Popen[str]":
    """Start a command that a test then talks to."""
    kept = subprocess.PIPE if terminal is None else terminal
    stdin = subprocess.DEVNULL if terminal is None else terminal
    return subprocess.Popen(
        [*_RTM, *arguments], cwd=CLONE, env=environment(service), stdin=stdin, stdout=kept, stderr=kept, text=True
    )


def interrupt(process: "subprocess.Popen[str]") -> int:
    """Ctrl-C; the exit code."""
    process.send_signal(signal.SIGINT)
    return process.wait(_LONG_ENOUGH_SECONDS)


def write_to_log(docker_client: docker.DockerClient, container_id: str, line: str) -> None:
    """Let the engine say something."""
    code, output = docker_client.containers.get(container_id).exec_run(["sh", "-c", f"echo {line} > /proc/1/fd/1"])
    assert code == 0, output


def next_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def test_a_game_lives_and_goes_by_the_command_line(
    service: Service, game_id: str, engine_image: str, engine_image_next: str
) -> None:
    done = [
        rtm(service, "start", game_id, engine_image),
        rtm(service, "patch", game_id, engine_image_next),
        rtm(service, "restart", game_id),
        rtm(service, "stop", game_id, "--reason", "finished"),
        rtm(service, "cleanup", game_id),
    ]
    shown = json.loads(rtm(service, "show", game_id, "--json").stdout)

    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 5
    assert (shown["status"], shown["current_container_id"]) == ("removed", None)
    assert service.playground.containers(game_id) == []
    assert {one["op_source"] for one in service.operations(game_id)} == {"admin_rest"}


def test_each_kind_of_failure_has_its_exit_code(
    service: Service, game_id: str, engine_image: str, crashing_image: str
) -> None:
    rtm(service, "start", game_id, engine_image)

    codes = {
        "failed": rtm(service, "start", f"{game_id}x", crashing_image).returncode,
        "usage": rtm(service, "start", game_id).returncode,
        "not found": rtm(service, "show", f"{game_id}y").returncode,
        "conflict": rtm(service, "cleanup", game_id).returncode,
        "unreachable": rtm(service, "list", RTM_URL="http://127.0.0.1:1").returncode,
    }

    assert codes == {"failed": 1, "usage": 2, "not found": 3, "conflict": 4, "unreachable": 5}


def test_the_log_is_followed_until_ctrl_c(
    service: Service, game_id: str, engine_image: str, docker_client: docker.DockerClient
) -> None:
    rtm(service, "start", game_id, engine_image)
    container_id = service.record(game_id)["current_container_id"]
    write_to_log(docker_client, container_id, "before")

    following = begin(service, "logs", game_id, "-f", "--tail", "10")
    first = next_line(following.stdout)
    write_to_log(docker_client, container_id, "meanwhile")
    second = next_line(following.stdout)

    assert (first, second) == ("before", "meanwhile")
    assert interrupt(following) == 130


def test_a_followed_log_ends_with_its_container(
    service: Service, game_id: str, engine_image: str, docker_client: docker.DockerClient
) -> None:
    rtm(service, "start", game_id, engine_image)
    write_to_log(docker_client, service.record(game_id)["current_container_id"], "last-line")
    following = begin(service, "logs", game_id, "--follow")
    said = next_line(following.stdout)

    rtm(service, "stop", game_id)

    assert said == "last-line"
    assert following.wait(_LONG_ENOUGH_SECONDS) == 0


def test_events_are_followed_as_they_come(service: Service, game_id: str, engine_image: str) -> None:
    following = begin(service, "events", "-f", "--game", game_id, "--topic", "health_events", "--json")
    rtm(service, "start", game_id, engine_image)

    event = json.loads(next_line(following.stdout))

    assert (event["game_id"], event["fields"]["event_type"]) == (game_id, "container_started")
    assert interrupt(following) == 130


@pytest.mark.parametrize("arguments", [("list", "--watch", "--every", "100ms"), ("stats", "{game}", "--watch")])
def test_what_is_watched_comes_again_until_ctrl_c(
    service: Service, game_id: str, engine_image: str, *, arguments: tuple[str, ...]
) -> None:
    rtm(service, "start", game_id, engine_image)
    watching = begin(service, *(word.format(game=game_id) for word in arguments), "--json")

    seen = [json.loads(next_line(watching.stdout)) for _ in range(2)]

    assert seen[0].keys() == seen[1].keys()
    assert interrupt(watching) == 130


def test_ctrl_c_ends_the_waiting_and_not_the_operation(service: Service, game_id: str, stubborn_image: str) -> None:
    rtm(service, "start", game_id, stubborn_image)
    stopping = begin(service, "stop", game_id)
    wait_for(lambda: service.operations(game_id)[0]["op_kind"] == "stop", what="the stop to be on record")

    code = interrupt(stopping)

    assert code == 130
    wait_for(lambda: service.record(game_id)["status"] == "stopped", what="the stop to be done")


def test_a_verb_outlives_a_restart_of_the_web_process(service: Service, game_id: str, stubborn_image: str) -> None:
    rtm(service, "start", game_id, stubborn_image)
    stopping = begin(service, "stop", game_id)
    wait_for(lambda: service.operations(game_id)[0]["op_kind"] == "stop", what="the stop to be on record")

    service.kill("web")
    service.restart("web")

    assert stopping.wait(_LONG_ENOUGH_SECONDS) == 0
    assert [one["op_kind"] for one in service.operations(game_id)] == ["stop", "start"]


def test_an_order_to_a_web_process_that_is_away_is_done_once_when_it_is_back(
    service: Service, game_id: str, engine_image: str
) -> None:
    service.kill("web")
    starting = begin(service, "start", game_id, engine_image)

    service.restart("web")

    assert starting.wait(_LONG_ENOUGH_SECONDS) == 0
    assert len(service.operations(game_id)) == 1


@pytest.mark.parametrize("answer", ["n", "y"])
def test_on_a_terminal_a_stop_asks_first_and_shows_its_steps(
    service: Service, game_id: str, engine_image: str, *, answer: str
) -> None:
    rtm(service, "start", game_id, engine_image)
    ours, theirs = pty.openpty()
    stopping = begin(service, "stop", game_id, terminal=theirs)
    os.close(theirs)
    asked = read_until(ours, "[y/N]")

    os.write(ours, f"{answer}\n".encode())

    said = read_until(ours, "")
    os.close(ours)
    code, status = stopping.wait(_LONG_ENOUGH_SECONDS), service.record(game_id)["status"]
    assert f"Stop game {game_id}?" in asked
    assert ("is accepted as operation" in said) == (answer == "y")
    assert (code, status) == ((0, "stopped") if answer == "y" else (1, "running"))


def test_a_question_left_unanswered_does_nothing(service: Service, game_id: str, engine_image: str) -> None:
    rtm(service, "start", game_id, engine_image)
    ours, theirs = pty.openpty()
    stopping = begin(service, "stop", game_id, terminal=theirs)
    os.close(theirs)
    read_until(ours, "[y/N]")

    os.write(ours, b"\x04")

    # A process leaves the terminal only after its output was read.
    read_until(ours, "")
    os.close(ours)
    assert (stopping.wait(_LONG_ENOUGH_SECONDS), service.record(game_id)["status"]) == (130, "running")


def test_the_doctor_finds_a_running_service_without_failures(service: Service) -> None:
    done = rtm(service, "doctor", "--json")

    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert [check for check in checks.values() if check["status"] == "failed"] == []
    assert done.returncode == 0
    assert checks["workers"]["found"].startswith("1: ")
    assert checks["game network"]["status"] == checks["migrations"]["status"] == "ok"


def test_manage_py_passes_its_words_on(service: Service, tmp_path: Path) -> None:
    command = [sys.executable, str(CLONE / "manage.py"), "rtm", "list", "--json"]

    done = subprocess.run(command, cwd=tmp_path, env=environment(service), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "items" in json.loads(done.stdout)


def read_until(terminal: int, text: str) -> str:
    """What appears on a terminal until this text does; without one, until the program has left it."""
    seen = ""
    while not text or text not in seen:
        try:
            more = os.read(terminal, 4096)
        except OSError:
            # Linux reports so that no process has the other end open.
            return seen
        seen += more.decode()
    return seen
