"""Twelve games broken in twelve ways: the open page of the game shows the cause and the next step within 10 s.

``docs/twelve.md`` contains the texts of the pages. Every run compares them; ``make twelve`` writes them.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from playwright.sync_api import expect

from deploy.local.workspace import CLONE
from tests.browser.faults import TWELVE, Breakage, Stage
from tests.browser.harness import Console, Visitor
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
    """A connection to Docker that a test can cut."""
    if not docker_host.startswith("unix://"):
        pytest.skip("the gate needs a Docker socket")
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
    """A Redis that a test may kill, and a database on the shared server."""
    database = postgres_server.create_database(template=migrated_template)
    return Servers(postgres_server, own_redis, database, own_redis.next_database())


@pytest.fixture(scope="module")
def service_settings(gate: DockerGate) -> Mapping[str, str]:
    """Check every game each second, so that three failures in a row take less than 10 s."""
    return {"DOCKER_HOST": gate.host, "INSPECT_INTERVAL": "1s", "PROBE_INTERVAL": "1s"}


@pytest.fixture(scope="module")
def registry() -> Iterator[SlowRegistry]:
    with running_registry() as running:
        yield running


@pytest.fixture
def stage(  # noqa: PLR0913 - one fixture for each part that can be broken
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
def rows() -> Iterator[dict[str, str]]:
    """The rows of this run by description. A writing run that has all twelve writes the page."""
    collected: dict[str, str] = {}
    yield collected
    if IS_WRITING and len(collected) == len(TWELVE):
        table = "\n".join([*HEADER, *(collected[breakage.description] for breakage in TWELVE)])
        before, _begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


@pytest.mark.parametrize("breakage", TWELVE, ids=lambda breakage: breakage.make.__name__)
def test_the_open_page_shows_the_cause_and_the_next_step_in_time(
    console: Console, stage: Stage, breakage: Breakage, rows: dict[str, str]
) -> None:
    with console.visit("operator") as visitor:
        visitor.open_game(stage.game_id)
        visitor.mark()
        with breakage.make(stage):
            since = time.monotonic()

            visitor.expect_cause(breakage.cause)

            taken = time.monotonic() - since
            row = rows[breakage.description] = row_of(visitor, breakage, stage)
            visitor.screenshot(f"twelve-{breakage.cause}")
            assert visitor.is_still_the_same_page

    assert taken <= allowed_seconds()
    assert IS_WRITING or row in written_rows(), (
        f"docs/twelve.md is out of date, see `make twelve`; the page says\n{row}"
    )


@pytest.mark.skipif(IS_WRITING, reason="the page is being written")
def test_the_documentation_has_a_row_for_each_of_the_twelve() -> None:
    descriptions = [row.split("|")[1].strip() for row in written_rows()]

    assert descriptions == [breakage.description for breakage in TWELVE]


def allowed_seconds() -> float:
    """Ten seconds, or more on a machine that is busy with other work."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return SECONDS * max(1.0, busy / 2)


def written_rows() -> list[str]:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return table.strip().splitlines()[len(HEADER) :]


def row_of(visitor: Visitor, breakage: Breakage, stage: Stage) -> str:
    """The texts of the page, with the parts that differ between runs made equal."""
    page = visitor.page
    expect(page.locator(".rtm-headline")).to_be_visible()
    headline, text, command, button = page.evaluate(
        """() => {
          const text = (selector) => (document.querySelector(selector)?.innerText ?? "").trim();
          const step = document.querySelector(".rtm-next dd").cloneNode(true);
          for (const element of step.querySelectorAll("code, a")) element.remove();
          return [text(".rtm-headline"), step.textContent.trim(), text(".rtm-command"), text("#recommended")];
        }"""
    )
    step = f"{text}<br>`{command}`" if command else text
    cells = [breakage.description, f"`{breakage.cause}`", headline, step, button or "none"]
    return f"| {' | '.join(make_equal(cell, stage) for cell in cells)} |"


def make_equal(text: str, stage: Stage) -> str:
    playground = stage.service.playground
    for actual, shown in {
        stage.game_id: "g-42",
        f" -H {stage.gate.host}": "",
        stage.gate.host: "unix:///var/run/docker.sock",
        stage.registry.address: "registry.example",
        REPOSITORY: "engine",
        playground.network: "galaxy-net",
        str(playground.state_root): "/var/lib/rtmanager/games",
    }.items():
        text = text.replace(actual, shown)
    for pattern, shown in {
        r"\d\d:\d\d:\d\d UTC \(\d+ s ago\)": "03:08:09 UTC (4 s ago)",
        r"\b[0-9a-f]{12}\b": "3f4e0d7a9c1b",
        r"\(operation \d+\)": "(operation 9)",
        r"exit(.)report \d+": r"exit\1report 12",
    }.items():
        text = re.sub(pattern, shown, text)
    return text
