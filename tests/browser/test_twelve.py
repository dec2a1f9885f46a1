"""Twelve games broken in twelve ways: the page that an operator has open names cause and next step within 10 s.

``docs/twelve.md`` holds what the page said. ``make twelve`` writes it anew; here it is held against every run.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from playwright.sync_api import expect

from rtmanager.local.places import CLONE
from tests.browser.breakages import TWELVE, Breakage, Stage
from tests.browser.rigs import Console, Visitor
from tests.servers import databases
from tests.servers.databases import PostgresServer, RedisServer
from tests.servers.docker_gate import DockerGate, opened_gate
from tests.servers.engine_images import REPOSITORY
from tests.servers.server_images import ServerImages
from tests.servers.service import Servers, Service
from tests.servers.slow_registry import SlowRegistry, running_registry

SECONDS = 10
PAGE = CLONE / "docs" / "twelve.md"
BEGIN, END = "<!-- twelve:begin -->", "<!-- twelve:end -->"
HEADER = ["| what was done | cause | what the page said | next step | button |", "|---|---|---|---|---|"]
IS_WRITING = os.environ.get("TWELVE") == "write"


@pytest.fixture(scope="module")
def gate(docker_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerGate]:
    """A way to Docker that can be cut."""
    if not docker_host.startswith("unix://"):
        pytest.skip("the gate stands before a socket")
    path = tmp_path_factory.mktemp("gate") / "docker.sock"
    with opened_gate(path, Path(docker_host.removeprefix("unix://"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def own_redis(server_images: ServerImages) -> Iterator[RedisServer]:
    launched = databases.launch_redis(server_images.redis)
    yield databases.ready_redis(launched)
    launched[0].stop()


@pytest.fixture(scope="module")
def servers(postgres_server: PostgresServer, migrated_template: str, own_redis: RedisServer) -> Servers:
    """A Redis that may be killed, and a database on the server of all."""
    database = postgres_server.create_database(template=migrated_template)
    return Servers(postgres_server, own_redis, database, own_redis.next_database())


@pytest.fixture(scope="module")
def service_settings(gate: DockerGate) -> Mapping[str, str]:
    """Looks at every game each second: what takes three looks in a row is then known within 10 s as well."""
    return {"DOCKER_HOST": gate.host, "INSPECT_INTERVAL": "1s", "PROBE_INTERVAL": "1s"}


@pytest.fixture(scope="module")
def registry() -> Iterator[SlowRegistry]:
    with running_registry() as running:
        yield running


@pytest.fixture
def stage(  # noqa: PLR0913 - pytest's way of asking for all that can be broken
    *,
    service: Service,
    gate: DockerGate,
    registry: SlowRegistry,
    docker_client: docker.DockerClient,
    game_id: str,
    engine_image: str,
    crashing_image: str,
    switched_image: str,
) -> Stage:
    return Stage(game_id, service, gate, registry, docker_client, engine_image, crashing_image, switched_image)


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, str]]:
    """The rows of this run by what was done; a run that writes and has met all twelve renews the page."""
    rows: dict[str, str] = {}
    yield rows
    if IS_WRITING and len(rows) == len(TWELVE):
        table = "\n".join([*HEADER, *(rows[one.words] for one in TWELVE)])
        before, _begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


@pytest.mark.parametrize("breakage", TWELVE, ids=lambda one: one.make.__name__)
def test_the_open_page_names_the_cause_and_the_next_step_in_time(
    console: Console, stage: Stage, breakage: Breakage, told: dict[str, str]
) -> None:
    with console.visit("operator") as visitor:
        visitor.open_game(stage.game_id)
        visitor.mark()
        with breakage.make(stage):
            since = time.monotonic()

            visitor.expect_cause(breakage.cause)

            taken = time.monotonic() - since
            row = told[breakage.words] = row_of(visitor, breakage, stage)
            visitor.picture(f"twelve-{breakage.cause}")
            assert visitor.is_still_the_same_page

    assert taken <= allowed_seconds()
    assert IS_WRITING or row in written_rows(), (
        f"docs/twelve.md is out of date, see `make twelve`; the page says\n{row}"
    )


@pytest.mark.skipif(IS_WRITING, reason="the page is being written")
def test_the_page_of_the_docs_has_a_row_for_each_of_the_twelve() -> None:
    words = [row.split("|")[1].strip() for row in written_rows()]

    assert words == [one.words for one in TWELVE]


def allowed_seconds() -> float:
    """Ten; more on a machine that is busy with other work and gives the service only part of the time."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return SECONDS * max(1.0, busy / 2)


def written_rows() -> list[str]:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return table.strip().splitlines()[len(HEADER) :]


def row_of(visitor: Visitor, breakage: Breakage, stage: Stage) -> str:
    """What stands on the page, with what differs from run to run made the same."""
    page = visitor.page
    expect(page.locator(".rtm-headline")).to_be_visible()
    headline, text, command, button = page.evaluate(
        """() => {
          const text = (selector) => (document.querySelector(selector)?.innerText ?? "").trim();
          const step = document.querySelector(".rtm-next dd").cloneNode(true);
          for (const one of step.querySelectorAll("code, a")) one.remove();
          return [text(".rtm-headline"), step.textContent.trim(), text(".rtm-command"), text("#recommended")];
        }"""
    )
    step = f"{text}<br>`{command}`" if command else text
    cells = [breakage.words, f"`{breakage.cause}`", headline, step, button or "none"]
    return f"| {' | '.join(same_in_every_run(cell, stage) for cell in cells)} |"


def same_in_every_run(text: str, stage: Stage) -> str:
    playground = stage.service.playground
    for found, shown in {
        stage.game_id: "g-42",
        f" -H {stage.gate.host}": "",
        stage.gate.host: "unix:///var/run/docker.sock",
        stage.registry.address: "registry.example",
        REPOSITORY: "engine",
        playground.network: "galaxy-net",
        str(playground.state_root): "/var/lib/rtmanager/games",
    }.items():
        text = text.replace(found, shown)
    for pattern, shown in {
        r"\d\d:\d\d:\d\d UTC \(\d+ s ago\)": "03:08:09 UTC (4 s ago)",
        r"\b[0-9a-f]{12}\b": "3f4e0d7a9c1b",
        r"\(operation \d+\)": "(operation 9)",
        r"black(.)box \d+": r"black\1box 12",
    }.items():
        text = re.sub(pattern, shown, text)
    return text
