"""What the browser tests share: users who sign in, pages that are watched for errors, and screenshots."""

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
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, Response, expect

from deploy.local.workspace import CLONE
from tests.servers.service import Service

PASSWORD = "let-me-in-for-a-minute"
TIMEOUT_MS = 45_000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
_REJECTED_IMPACTS = {"serious", "critical"}
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS_FOLDER") or CLONE / ".run" / "screenshots")

_CREATE_USERS = f"""
from django.contrib.auth.models import Group, User
for name in ("viewer", "operator", "admin"):
    user = User.objects.create_user(name, password={PASSWORD!r}, is_staff=True)
    user.groups.add(Group.objects.get(name=name))
"""
_WITHOUT_NETWORK = Path(__file__).with_name("console_without_network.py")
# The browser aborts open requests when it leaves a page. That is not an error.
_ABORTED = "net::ERR_ABORTED"


def find_chromium() -> str:
    """The path of Chromium. Without it the test fails in CI and is skipped elsewhere."""
    path = shutil.which("chromium")
    if path is None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse("no browser: apt-get install chromium, or run `make test` as root, which does")
    return str(path)


def launch(playwright: Playwright, folder: Path) -> Browser:
    """A headless browser, without its sandbox, which root cannot use in a container."""
    program = folder / "chromium"
    command = shlex.join([sys.executable, str(_WITHOUT_NETWORK), find_chromium()])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    return playwright.chromium.launch(executable_path=program, args=arguments)


def create_users(service: Service) -> None:
    """One user in each group, named like the group."""
    service.run_command("shell", "--verbosity", "0", "--command", _CREATE_USERS)


@dataclass
class PageErrors:
    """Errors of a page that only the browser's developer tools show."""

    messages: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.messages.append(f"script failed: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._responded)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.messages.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.messages.append(f"{request.url}: {request.failure}")

    def _responded(self, response: Response) -> None:
        if response.status >= 400:
            self.messages.append(f"{response.url}: {response.status}")


class Visitor:
    """A user of the console: one browser context, one page."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self._base = base
        self.errors = PageErrors()
        self.errors.watch(page)

    def go(self, path: str) -> None:
        self.page.goto(f"{self._base}{path}")

    def open_game(self, game_id: str) -> None:
        """The page of a game, after it has read Docker."""
        self.go(f"/admin/games/{quote(game_id)}/")
        expect(self.page.locator(".rtm-headline")).to_be_visible()

    def sign_in(self, name: str) -> None:
        self.go("/admin/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.press("#id_password", "Enter")
        expect(self.page.locator("#figures")).to_be_visible()

    def expect_cause(self, cause: str, *, timeout_ms: float = TIMEOUT_MS) -> None:
        """Wait until the page shows this cause, without a reload."""
        expect(self.page.locator(".rtm-cause")).to_have_text(re.compile(rf"^\s*{cause}\s*$"), timeout=timeout_ms)

    def mark(self) -> None:
        """Mark the page with something that a reload removes."""
        self.page.evaluate("window.stillTheSamePage = true")

    @property
    def is_still_the_same_page(self) -> bool:
        return bool(self.page.evaluate("window.stillTheSamePage === true"))

    def screenshot(self, name: str, *, folder: Path = SCREENSHOTS, whole: bool = True) -> Path:
        """Save a screenshot."""
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
        """A visitor, signed in as ``name`` if given. At the end the browser must have reported no error."""
        state = self._state_of(name) if name else None
        settings = {"viewport": DESKTOP, "locale": "en-GB", **options}
        with self.browser.new_context(storage_state=state, **settings) as context:
            context.set_default_timeout(TIMEOUT_MS)
            visitor = Visitor(context.new_page(), self.base)
            yield visitor
            assert not is_checked or visitor.errors.messages == [], visitor.errors.messages

    def _state_of(self, name: str) -> Any:
        """The cookies of this user. A login computes a password hash, so each user signs in once."""
        if name not in self._signed_in:
            with self.visit() as visitor:
                visitor.sign_in(name)
                self._signed_in[name] = visitor.page.context.storage_state()
        return self._signed_in[name]


def serious_violations(page: Page) -> list[str]:
    """Each serious or critical violation of axe's rules, with the elements."""
    return [
        f"{violation['id']}: {', '.join(node['html'][:160] for node in violation['nodes'])}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in _REJECTED_IMPACTS
    ]
