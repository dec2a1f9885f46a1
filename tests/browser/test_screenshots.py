"""A story of an evening with a few games, played on real Docker, and the pictures of it for the docs.

``make screenshots`` renews ``docs/screenshots``. Any other run plays the same story under names of its own, because
names of containers are shared by all who use a Docker host, and keeps the pictures apart.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from playwright.sync_api import expect

from tests.browser.rigs import PHONE, PICTURES, Console, Visitor
from tests.servers.engine_images import derive_engine
from tests.servers.service import Service
from tests.servers.waiting import wait_for

IS_FOR_DOCS = "SCREENSHOTS_FOLDER" in os.environ
MOST_BYTES = 300_000
PLAYED = ("andromeda-7", "betelgeuse-3", "cygnus-12", "draco-5", "eridanus-9")
STARVING, CRASHING, LOST = "fornax-2", "gliese-4", "hydra-8"
_TALK = """httpd -p 8080 -h /www
n=40; while true; do n=$((n+1)); echo "turn $n opened: 4 empires, 31 planets"; sleep 1; echo "turn $n closed"; done"""


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"IMAGE_PULL_POLICY": "never", "INSPECT_INTERVAL": "1s", "PROBE_INTERVAL": "1s"}


@pytest.fixture(scope="module")
def talking_image(docker_client: docker.DockerClient, engine_image: str) -> str:
    """A healthy engine that tells of its turns."""
    return derive_engine(docker_client, engine_image, name="telling", words=f'CMD ["sh", "-c", {_quoted(_TALK)}]')


@dataclass(frozen=True, slots=True)
class Names:
    """What games and images are called in the pictures."""

    service: Service
    client: docker.DockerClient
    made: list[str] = field(default_factory=list)

    def game(self, name: str) -> str:
        return name if IS_FOR_DOCS else self.service.playground.game_id(name)

    def image(self, image_ref: str, version: str) -> str:
        """The image under the name that a picture shows."""
        name = f"galaxy-engine:{version}" if IS_FOR_DOCS else f"{image_ref.partition(':')[0]}:{version}"
        self.client.images.get(image_ref).tag(name)
        self.made.append(name)
        return name


@pytest.fixture(scope="module")
def names(service: Service, docker_client: docker.DockerClient) -> Iterator[Names]:
    given = Names(service, docker_client)
    yield given
    for image_ref in given.made:
        docker_client.images.remove(image_ref, force=True)


@pytest.fixture(scope="module")
def story(service: Service, names: Names, talking_image: str, crashing_image: str, switched_image: str) -> Names:
    """Five games that are well, one of them patched and one finished; three that are not."""
    usual, newer = names.image(talking_image, "1.4.2"), names.image(talking_image, "1.4.3")
    for name in PLAYED:
        service.start_job(names.game(name), usual)
    service.start_job(names.game(STARVING), names.image(switched_image, "1.5.0"))
    service.start_job(names.game(CRASHING), names.image(crashing_image, "1.6.0"))
    service.start_job(names.game(LOST), "galaxy-engine:9.9.9")
    for name in (*PLAYED, STARVING, CRASHING, LOST):
        service.results(names.game(name))
    service.post(names.game("betelgeuse-3"), "patch", image_ref=newer)
    service.stop_job(names.game("cygnus-12"), reason="finished")
    (service.playground.state_root / names.game(STARVING) / "eat").touch()
    wait_for(lambda: service.record(names.game(STARVING))["status"] == "stopped", what="the end to be on record")
    return names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_picture_of_the_dashboard(console: Console, story: Names, scheme: str) -> None:
    with console.visit("operator", color_scheme=scheme) as visitor:
        visitor.go("/admin/")
        expect(visitor.page.locator("#figures")).to_contain_text("image_pull_failed")
        expect(visitor.page.locator("#servers .rtm-badge").first).to_be_visible()

        assert_small(visitor.picture(f"dashboard-{scheme}", whole=False))
    assert story


def test_picture_of_a_broken_game_and_of_the_deed_that_mends_it(console: Console, story: Names) -> None:
    with console.visit("operator") as visitor:
        open_at(visitor, story.game(STARVING), "out_of_memory")
        game = visitor.picture("game", whole=False)
        visitor.page.click("#recommended")
        visitor.page.fill("#id_because", "The host has more memory now; turn 41 is due at nine.")

        assert_small(game, visitor.picture("deed", whole=False))


def test_picture_of_a_healthy_game_with_its_log_and_what_it_uses(console: Console, story: Names) -> None:
    with console.visit("operator", color_scheme="dark") as visitor:
        open_at(visitor, story.game("andromeda-7"), "healthy")
        expect(visitor.page.locator("#log")).to_contain_text("planets")
        # Three points make a line.
        expect(visitor.page.locator("#plot-rx polyline")).to_have_attribute("points", re.compile(r" .+ "))
        visitor.page.locator("#use").scroll_into_view_if_needed()

        assert_small(visitor.picture("log", whole=False))


def test_picture_of_a_broken_game_on_a_phone(console: Console, story: Names) -> None:
    with console.visit("operator", viewport=PHONE, is_mobile=True, has_touch=True) as visitor:
        open_at(visitor, story.game(CRASHING), "crash_at_start")

        assert_small(visitor.picture("phone", whole=False))


def test_picture_of_the_list_of_games(console: Console, story: Names) -> None:
    with console.visit("operator") as visitor:
        visitor.go("/admin/runtimes/runtime/")
        expect(visitor.page.get_by_role("link", name=story.game("andromeda-7"))).to_be_visible()

        assert_small(visitor.picture("games", whole=False))


def open_at(visitor: Visitor, game_id: str, cause: str) -> None:
    visitor.open_game(game_id)
    visitor.expect_cause(cause)


def assert_small(*pictures: Path) -> None:
    """Small enough for a repository, and where the docs look for them."""
    assert {path.parent for path in pictures} == {PICTURES}
    assert [path.name for path in pictures if path.stat().st_size > MOST_BYTES] == []


def _quoted(script: str) -> str:
    return '"' + script.replace('"', '\\"').replace("\n", "; ") + '"'
