"""Every page of the console in light, in dark and on a phone: accessible by the rules of axe, and not too wide."""

from collections.abc import Mapping
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.harness import PHONE, Console, serious_violations
from tests.servers.service import START_JOBS, Service
from tests.servers.waiting import wait_for

SCREENS: Mapping[str, Mapping[str, Any]] = {
    "light": {"color_scheme": "light", "timezone_id": "Europe/Berlin"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True, "timezone_id": "America/Sao_Paulo"},
}


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"INSPECT_INTERVAL": "1s", "IMAGE_PULL_POLICY": "never"}


@pytest.fixture(scope="module")
def pages(service: Service, engine_image: str) -> dict[str, str]:
    """The path of each page by a short name. There are a running, a killed and a never started game."""
    running, killed, never_started = (service.playground.game_id(name) for name in ("running", "killed", "new"))
    for game, image in ((running, engine_image), (killed, engine_image), (never_started, "galaxy-engine:9.9.9")):
        service.start_job(game, image)
        service.result(game)
    service.playground.containers(killed)[0].kill()
    wait_for(lambda: service.record(killed)["status"] == "stopped", what="the recorded exit")
    (container,) = service.playground.containers(running)
    container.update(mem_limit="32m", restart_policy={"Name": "always"})
    entry_id = service.add_job(START_JOBS, game_id="", image_ref="x", requested_at_ms="1700000000000")
    query = "SELECT id FROM operations_deadletter WHERE entry_id = %s"
    wait_for(lambda: service.rows(query, entry_id), what="dead letter")
    service.run_command("api_token", "create", "gm-main", "--caller", "gm", "--scope", "read")

    def newest(table: str) -> str:
        return str(service.rows(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1")[0][0])  # noqa: S608 - our tables

    return {
        "dashboard": "/admin/",
        "games": "/admin/runtimes/runtime/",
        "games-none": "/admin/runtimes/runtime/?q=no-such-game",
        "game-running": f"/admin/games/{running}/",
        "game-killed": f"/admin/games/{killed}/",
        "game-never-started": f"/admin/games/{never_started}/",
        "record": f"/admin/runtimes/runtime/{running}/change/",
        "action": f"/admin/actions/start/?game={killed}",
        "actions": f"/admin/actions/stop/?game={running}&game={killed}",
        "progress": f"/admin/progress/?operation={newest('operations_operation')}",
        "operations": "/admin/operations/operation/",
        "operation": f"/admin/operations/operation/{newest('operations_operation')}/change/",
        "outbox": "/admin/operations/outboxevent/",
        "outbox-event": f"/admin/operations/outboxevent/{newest('operations_outboxevent')}/change/",
        "exit-reports": "/admin/operations/exitreport/",
        "exit-report": f"/admin/operations/exitreport/{newest('operations_exitreport')}/change/",
        "dead-letters": "/admin/operations/deadletter/",
        "dead-letters-none": "/admin/operations/deadletter/?redriven_at__isempty=0",
        "dead-letter": f"/admin/operations/deadletter/{newest('operations_deadletter')}/change/",
        "api-tokens": "/admin/runtimes/apitoken/",
        "api-token": f"/admin/runtimes/apitoken/{newest('runtimes_apitoken')}/change/",
        "api-token-new": "/admin/runtimes/apitoken/add/",
        "users": "/admin/auth/user/",
        "user": f"/admin/auth/user/{newest('auth_user')}/change/",
        "audit-log": "/admin/admin/logentry/",
    }


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_is_accessible_and_fits_the_screen(console: Console, pages: dict[str, str], screen: str) -> None:
    violations: dict[str, list[str]] = {}
    too_wide: dict[str, int] = {}
    with console.visit("admin", **SCREENS[screen]) as visitor:
        width = visitor.page.viewport_size["width"] if visitor.page.viewport_size else 0
        for name, path in pages.items():
            visitor.go(path)
            if name.startswith("game-"):
                expect(visitor.page.locator(".rtm-headline")).to_be_visible()
            if name == "dashboard":
                expect(visitor.page.locator("#servers .rtm-badge").first).to_be_visible()
            visitor.screenshot(f"every-{name}-{screen}")
            violations |= {name: problems} if (problems := serious_violations(visitor.page)) else {}
            page_width = visitor.page.evaluate("document.documentElement.scrollWidth")
            too_wide |= {name: page_width} if page_width > width else {}

    assert (violations, too_wide) == ({}, {})


def test_the_login_page_is_accessible(console: Console) -> None:
    with console.visit() as visitor:
        visitor.go("/admin/login/")

        visitor.screenshot("every-login")
        assert serious_violations(visitor.page) == []


def test_times_are_also_shown_in_the_viewers_time_zone(console: Console, pages: dict[str, str]) -> None:
    with console.visit("admin", timezone_id="Asia/Tokyo") as visitor:
        visitor.go(pages["operations"])

        assert "GMT+9" in visitor.page.locator("#result_list .rtm-local").first.inner_text()
