"""What the browser tests share: people who sign in, a page that is watched for errors, and what stands on it."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, Response, expect

from rtmanager.local.places import CLONE
from tests.servers.service import Service

PASSWORD = "let-me-in-for-a-minute"
PATIENCE_MS = 45_000
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
PICTURES = Path(os.environ.get("SCREENSHOTS_FOLDER") or CLONE / ".run" / "screenshots")

_MAKE_PEOPLE = f"""
from django.contrib.auth.models import Group, User
for name in ("viewer", "operator", "admin"):
    person = User.objects.create_user(name, password={PASSWORD!r}, is_staff=True)
    person.groups.add(Group.objects.get(name=name))
"""
_DEAF = Path(__file__).with_name("deaf.py")
# A request that is under way when its page is left is cut off, and nothing is wrong with that.
_LEFT = "net::ERR_ABORTED"


def find_chromium() -> str:
    """Debian's browser. Without it the test is skipped, but fails in CI."""
    found = shutil.which("chromium")
    if found is None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse("no browser: apt-get install chromium, or run `make test` as root, which does")
    return str(found)


def launch(playwright: Playwright, folder: Path) -> Browser:
    """A headless browser. The sandbox wants a user of its own, which a container's root is not."""
    program = folder / "chromium"
    words = shlex.join([sys.executable, str(_DEAF), find_chromium()])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    return playwright.chromium.launch(executable_path=program, args=arguments)


def make_people(service: Service) -> None:
    """One person in each group, named like it."""
    service.run_command("shell", "--verbosity", "0", "--command", _MAKE_PEOPLE)


@dataclass
class Watched:
    """What went wrong on a page that a person would only see in the browser's own tools."""

    wrong: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"script failed: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != _LEFT:
            self.wrong.append(f"{request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.url}: {response.status}")


class Visitor:
    """Somebody in front of the console: one browser context, one page."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self._base = base
        self.watched = Watched()
        self.watched.watch(page)

    def go(self, path: str) -> None:
        self.page.goto(f"{self._base}{path}")

    def open_game(self, game_id: str) -> None:
        """The game's page, with its part that looks at Docker."""
        self.go(f"/admin/games/{quote(game_id)}/")
        expect(self.page.locator(".rtm-headline")).to_be_visible()

    def sign_in(self, name: str) -> None:
        self.go("/admin/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.press("#id_password", "Enter")
        expect(self.page.locator("#figures")).to_be_visible()

    def expect_cause(self, cause: str, *, timeout_ms: float = PATIENCE_MS) -> None:
        """Wait until the page names this cause, without being loaded again."""
        expect(self.page.locator(".rtm-cause")).to_have_text(re.compile(rf"^\s*{cause}\s*$"), timeout=timeout_ms)

    def mark(self) -> None:
        """Leave something on the page that would not outlive its being loaded anew."""
        self.page.evaluate("window.stillTheSamePage = true")

    @property
    def is_still_the_same_page(self) -> bool:
        return bool(self.page.evaluate("window.stillTheSamePage === true"))

    def picture(self, name: str, *, folder: Path = PICTURES, whole: bool = True) -> Path:
        """Keep what is to be seen now."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path


@dataclass
class Console:
    """The console of one running service, as a browser sees it."""

    browser: Browser
    base: str
    _signed_in: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def visit(self, name: str = "", *, is_checked: bool = True, **options: Any) -> Iterator[Visitor]:
        """A visitor who has signed in, or not yet; at the end nothing may have gone wrong in the browser."""
        state = self._state_of(name) if name else None
        settings = {"viewport": DESK, "locale": "en-GB", **options}
        with self.browser.new_context(storage_state=state, **settings) as context:
            context.set_default_timeout(PATIENCE_MS)
            visitor = Visitor(context.new_page(), self.base)
            yield visitor
            assert not is_checked or visitor.watched.wrong == [], visitor.watched.wrong

    def _state_of(self, name: str) -> Any:
        """Cookies of this person. Signing in costs a password hash, so it is done once."""
        if name not in self._signed_in:
            with self.visit() as visitor:
                visitor.sign_in(name)
                self._signed_in[name] = visitor.page.context.storage_state()
        return self._signed_in[name]
