"""The engines of the benchmark and their Docker answer every caller, and are controlled over a pipe."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.inside.asked import Inside
from bench.inside.engines import response
from deploy.local.docker.daemon import connect_docker
from deploy.local.system.errors import LocalError
from deploy.local.workspace import Workspace

ADDRESSES = ("127.0.0.2", "127.0.0.3")
CONTAINERS = [{"Id": "c1", "Names": ["/galaxy-game-1"], "State": "running"}]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "logs").mkdir()
    return Workspace(kind="bench-ready", home=tmp_path, identity="unit-test")


@pytest.fixture
def engines(workspace: Workspace) -> Iterator[Inside]:
    with Inside("bench.inside.engines", python=sys.executable, workspace=workspace, settings={}) as inside:
        yield inside


@pytest.fixture
def port(engines: Inside, tmp_path: Path) -> int:
    served = engines.ask("serve", addresses=ADDRESSES, socket=str(tmp_path / "docker.sock"), containers=CONTAINERS)
    return int(served)


def test_an_answer_says_how_long_it_is() -> None:
    assert response(b"ok").endswith(b"Content-Length: 2\r\n\r\nok")


def test_every_address_answers_on_the_same_port_and_is_counted(engines: Inside, port: int) -> None:
    answers = [httpx.get(f"http://{address}:{port}/healthz").text for address in ADDRESSES]

    assert (answers, engines.ask("count")) == (["ok", "ok"], 2)


@pytest.mark.usefixtures("port")
def test_the_sdk_takes_it_for_docker(tmp_path: Path) -> None:
    with connect_docker(f"unix://{tmp_path / 'docker.sock'}") as docker:
        assert docker.api.containers(all=True) == CONTAINERS


def test_what_cannot_be_done_inside_is_reported_outside(engines: Inside) -> None:
    with pytest.raises(LocalError, match="KeyError: 'dance'"):
        engines.ask("dance")
