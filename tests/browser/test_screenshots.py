"""Screenshots for the documentation: a few games on real Docker, healthy and broken.

``make screenshots`` writes ``docs/screenshots``. Any other run uses its own container names, because all users of a
Docker host share them, and writes the screenshots elsewhere.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from playwright.sync_api import expect

from tests.browser.harness import PHONE, SCREENSHOTS, Console, Visitor
from tests.servers.engine_images import derive_engine
from tests.servers.service import Service
from tests.servers.waiting import wait_for

IS_FOR_DOCS = "SCREENSHOTS_FOLDER" in os.environ
MAX_BYTES = 300_000
HEALTHY = ("andromeda-7", "betelgeuse-3", "cygnus-12", "draco-5", "eridanus-9")
OUT_OF_MEMORY, CRASHING, WITHOUT_IMAGE = "fornax-2", "gliese-4", "hydra-8"
_TURNS = """httpd -p 8080 -h /www
n=40; while true; do n=$((n+1)); echo "turn $n opened: 4 empires, 31 planets"; sleep 1; echo "turn $n closed"; done"""


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"IMAGE_PULL_POLICY": "never", "INSPECT_INTERVAL": "1s", "PROBE_INTERVAL": "1s"}


@pytest.fixture(scope="module")
def logging_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """A healthy engine that logs its turns."""
    return derive_engine(docker_client, engine_image, name="logging", lines=f'CMD ["sh", "-c", {_quoted(_TURNS)}]')


@dataclass(frozen=True, slots=True)
class Names:
    """The names of games and images in the screenshots."""

    service: Service
    client: docker.DockerClient
    tags: list[str] = field(default_factory=list)

    def game(self, name: str) -> str:
        return name if IS_FOR_DOCS else self.service.playground.game_id(name)

    def image(self, image_ref: str, version: str) -> str:
        """Tag the image with the name that a screenshot shows."""
        name = f"galaxy-engine:{version}" if IS_FOR_DOCS else f"{image_ref.partition(':')[0]}:{version}"
        self.client.images.get(image_ref).tag(name)
        self.tags.append(name)
        return name


@pytest.fixture(scope="module")
def names(service: Service, docker_client: docker.DockerClient) -> Iterator[Names]:
    names = Names(service, docker_client)
    yield names
    for image_ref in names.tags:
        docker_client.images.remove(image_ref, force=True)


@pytest.fixture(scope="module")
def story(service: Service, names: Names, logging_image: str, crashing_image: str, switched_image: str) -> Names:
    """Five healthy games, one of them patched and one finished, and three broken games."""
    usual, newer = names.image(logging_image, "1.4.2"), names.image(logging_image, "1.4.3")
    for name in HEALTHY:
        service.start_job(names.game(name), usual)
    service.start_job(names.game(OUT_OF_MEMORY), names.image(switched_image, "1.5.0"))
    service.start_job(names.game(CRASHING), names.image(crashing_image, "1.6.0"))
    service.start_job(names.game(WITHOUT_IMAGE), "galaxy-engine:9.9.9")
    for name in (*HEALTHY, OUT_OF_MEMORY, CRASHING, WITHOUT_IMAGE):
        service.results(names.game(name))
    service.post(names.game("betelgeuse-3"), "patch", image_ref=newer)
    service.stop_job(names.game("cygnus-12"), reason="finished")
    (service.playground.state_root / names.game(OUT_OF_MEMORY) / "eat").touch()
    wait_for(lambda: service.record(names.game(OUT_OF_MEMORY))["status"] == "stopped", what="the recorded exit")
    return names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screenshot_of_the_dashboard(console: Console, story: Names, scheme: str) -> None:
    with console.visit("operator", color_scheme=scheme) as visitor:
        visitor.go("/admin/")
        expect(visitor.page.locator("#figures")).to_contain_text("image_pull_failed")
        expect(visitor.page.locator("#servers .rtm-badge").first).to_be_visible()

        assert_small(visitor.screenshot(f"dashboard-{scheme}", whole=False))
    assert story


def test_screenshots_of_a_broken_game_and_of_its_restart(console: Console, story: Names) -> None:
    with console.visit("operator") as visitor:
        open_at(visitor, story.game(OUT_OF_MEMORY), "out_of_memory")
        game = visitor.screenshot("game", whole=False)
        visitor.page.click("#recommended")
        visitor.page.fill("#id_because", "The host has more memory now; turn 41 is due at nine.")

        assert_small(game, visitor.screenshot("action", whole=False))


def test_screenshot_of_a_healthy_game_with_its_log_and_its_resource_usage(console: Console, story: Names) -> None:
    with console.visit("operator", color_scheme="dark") as visitor:
        open_at(visitor, story.game("andromeda-7"), "healthy")
        expect(visitor.page.locator("#log")).to_contain_text("planets")
        # A line has at least three points.
        expect(visitor.page.locator("#gauge-rx polyline")).to_have_attribute("points", re.compile(r" .+ "))
        visitor.page.locator("#usage").scroll_into_view_if_needed()

        assert_small(visitor.screenshot("log", whole=False))


def test_screenshot_of_a_broken_game_on_a_phone(console: Console, story: Names) -> None:
    with console.visit("operator", viewport=PHONE, is_mobile=True, has_touch=True) as visitor:
        open_at(visitor, story.game(CRASHING), "crash_at_start")

        assert_small(visitor.screenshot("phone", whole=False))


def test_screenshot_of_the_list_of_games(console: Console, story: Names) -> None:
    with console.visit("operator") as visitor:
        visitor.go("/admin/runtimes/runtime/")
        expect(visitor.page.get_by_role("link", name=story.game("andromeda-7"))).to_be_visible()

        assert_small(visitor.screenshot("games", whole=False))


def open_at(visitor: Visitor, game_id: str, cause: str) -> None:
    visitor.open_game(game_id)
    visitor.expect_cause(cause)


def assert_small(*screenshots: Path) -> None:
    """Small enough for a repository, and in the folder that the documentation reads."""
    assert {path.parent for path in screenshots} == {SCREENSHOTS}
    assert [path.name for path in screenshots if path.stat().st_size > MAX_BYTES] == []


def _quoted(script: str) -> str:
    return '"' + script.replace('"', '\\"').replace("\n", "; ") + '"'
