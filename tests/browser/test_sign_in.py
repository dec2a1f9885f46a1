"""Sign-in in a browser: the end of a session while a page is open, and a locked sign-in."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.harness import PASSWORD, Console, Visitor, serious_violations
from tests.servers.service import Service

_EXPIRE = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
"""


@pytest.fixture
def visitor(console: Console) -> Iterator[Visitor]:
    """A user in a session of its own, which a test may end."""
    with console.visit() as visitor:
        visitor.sign_in("operator")
        yield visitor


@pytest.fixture
def game(service: Service, game_id: str, engine_image: str) -> str:
    service.start_job(game_id, engine_image)
    assert service.result(game_id).error_code == ""
    return game_id


def end_sessions(service: Service) -> None:
    service.run_command("shell", "--verbosity", "0", "--command", _EXPIRE)


def expect_sign_in_for(page: Page, path: str) -> None:
    """Wait until the whole page is the sign-in page, which leads back to this path."""
    expect(page).to_have_url(re.compile(rf"/admin/login/\?next={re.escape(quote(path, safe=''))}$"))
    expect(page.locator("#login-form")).to_have_count(1)
    assert page.locator("#figures, #state, #log, #result_list").count() == 0


def sign_in_again(page: Page, path: str) -> None:
    page.fill("#id_username", "operator")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    expect(page).to_have_url(re.compile(rf"{re.escape(path)}$"))


@pytest.mark.parametrize(
    ("path", "part"),
    [
        # Parts that htmx fetches.
        ("/admin/", "#figures"),
        # The same, and JSON that the script fetches.
        ("/admin/games/{game}/", ".rtm-headline"),
        # JSON only.
        ("/admin/runtimes/runtime/?status__exact=running", "[data-game='{game}']"),
    ],
)
def test_a_session_that_ends_while_a_page_is_open_leads_to_the_sign_in_page_and_back(
    visitor: Visitor, service: Service, game: str, path: str, part: str
) -> None:
    path, part = path.replace("{game}", game), part.replace("{game}", game)
    visitor.go(path)
    expect(visitor.page.locator(part).first).to_be_visible()

    end_sessions(service)

    expect_sign_in_for(visitor.page, path)
    visitor.screenshot("session-ended")
    sign_in_again(visitor.page, path)
    expect(visitor.page.locator(part).first).to_be_visible()


@pytest.mark.parametrize("requested", ["htmx", "script"])
def test_each_way_of_fetching_a_part_notices_the_end_of_the_session_by_itself(
    visitor: Visitor, service: Service, game: str, requested: str
) -> None:
    path = f"/admin/games/{game}/"
    suppressed = {"htmx": ["log", "stats"], "script": ["state"]}[requested]
    for part in suppressed:
        # These requests stay without an answer, so that only the other ones can notice it.
        visitor.page.route(f"**{path}{part}*", lambda _route: None)
    visitor.go(path)
    expect(visitor.page.locator("#log" if requested == "script" else ".rtm-headline")).to_be_visible()

    end_sessions(service)

    expect_sign_in_for(visitor.page, path)


@pytest.fixture
def locked_page(console: Console) -> Iterator[Visitor]:
    """The answer to the last of too many failed attempts on an account of its own."""
    with console.visit(is_checked=False) as visitor:
        page = visitor.page
        visitor.go("/admin/login/?next=/admin/operations/operation/")
        for _attempt in range(5):
            page.fill("#id_username", "no-such-account")
            page.fill("#id_password", "wrong")
            with page.expect_navigation():
                page.press("#id_password", "Enter")
            if page.locator("#login-form").count() == 0:
                break
        yield visitor


def test_a_locked_sign_in_says_when_to_try_again_and_leads_back(locked_page: Visitor) -> None:
    page = locked_page.page
    expect(page.locator("main")).to_contain_text("Too many failed attempts")
    expect(page.locator("main time")).to_have_attribute("datetime", re.compile(r"^\d{4}-"))
    locked_page.screenshot("sign-in-locked")

    page.get_by_role("link", name="Back to the sign-in page").click()

    expect(page.locator("#login-form")).to_be_visible()
    assert page.url.endswith("/admin/login/?next=/admin/operations/operation/")


def test_the_pages_of_errors_are_accessible(locked_page: Visitor, console: Console) -> None:
    found = {"locked": serious_violations(locked_page.page)}
    with console.visit(is_checked=False) as visitor:
        visitor.sign_in("operator")
        visitor.go("/admin/no-such-page/")
        expect(visitor.page.get_by_role("link", name="Back to the overview")).to_be_visible()
        visitor.screenshot("page-not-found")
        found["not found"] = serious_violations(visitor.page)

    assert found == {"locked": [], "not found": []}
