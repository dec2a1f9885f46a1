"""The console in a browser, on a running service, with games on real Docker."""

import json
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Page, expect

from tests.browser.harness import PHONE, Console, Visitor
from tests.servers.service import Service
from tests.servers.waiting import wait_for

REASON = "players are waiting"
# The contrast of text and its effective background, by the formula of WCAG 2.
CONTRASTS = """selectors => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (element) => {
    for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
      const colour = rgba(getComputedStyle(ancestor).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const lowest = {};
  for (const selector of selectors) {
    for (const element of document.querySelectorAll(selector)) {
      if (!element.checkVisibility()) continue;
      const pair = [light(rgba(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
      const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
      lowest[selector] = Math.min(lowest[selector] ?? 99, Math.round(ratio * 100) / 100);
    }
  }
  return lowest;
}"""


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"INSPECT_INTERVAL": "1s"}


@pytest.fixture
def running_game(service: Service, game_id: str, engine_image: str) -> str:
    service.start_job(game_id, engine_image)
    assert service.result(game_id).error_code == ""
    return game_id


@pytest.fixture
def killed_game(service: Service, running_game: str) -> str:
    """A game whose container was killed outside of RTM, after the exit is on record."""
    (container,) = service.playground.containers(running_game)
    container.kill()
    wait_for(lambda: service.record(running_game)["status"] == "stopped", what="the recorded exit")
    return running_game


@pytest.fixture
def operator(console: Console) -> Iterator[Visitor]:
    with console.visit("operator") as visitor:
        yield visitor


def give_reason(page: Page) -> None:
    page.fill("#id_because", REASON)
    page.click("form.rtm-form button[type=submit]")


def last_operation(service: Service, game_id: str) -> tuple[str, str, str]:
    newest = service.operations(game_id)[0]
    return newest["op_kind"], newest["op_source"], newest["source_ref"]


def test_the_dashboard_follows_the_login_and_refreshes_automatically(
    console: Console, service: Service, game_id: str, engine_image: str
) -> None:
    with console.visit() as visitor:
        visitor.sign_in("viewer")
        visitor.mark()
        expect(visitor.page.locator("#servers .rtm-badge").first).to_be_visible()

        service.start_job(game_id, engine_image)

        expect(visitor.page.locator("#figures").get_by_role("link", name=game_id)).to_be_visible()
        assert visitor.is_still_the_same_page
        visitor.screenshot("dashboard")


def test_a_broken_game_is_found_explained_and_restarted_without_a_reload(
    operator: Visitor, service: Service, killed_game: str
) -> None:
    page = operator.page
    operator.go("/admin/runtimes/runtime/?status__exact=stopped")
    page.fill("#searchbar", killed_game)
    page.press("#searchbar", "Enter")
    page.get_by_role("link", name=killed_game, exact=True).click()
    operator.expect_cause("killed_outside")
    expect(page.locator(".rtm-headline")).to_contain_text("exit code 137")
    operator.screenshot("broken-game")

    page.click("#recommended")
    operator.screenshot("action")
    give_reason(page)

    expect(page.locator(".rtm-headline")).to_be_visible()
    operator.mark()
    operator.expect_cause("healthy")
    expect(page.locator(".rtm-operation").first).to_contain_text("success")
    assert operator.is_still_the_same_page
    assert last_operation(service, killed_game) == ("restart", "admin_console", "operator")
    operator.screenshot("restarted-game")


def test_an_open_page_shows_a_new_result(
    operator: Visitor, service: Service, running_game: str
) -> None:  # fmt: skip
    operator.open_game(running_game)
    operator.expect_cause("healthy")
    operator.mark()

    service.stop_job(running_game)

    operator.expect_cause("stopped_on_request")
    assert operator.is_still_the_same_page


def test_two_games_are_stopped_at_once_and_their_progress_is_shown(
    operator: Visitor, service: Service, engine_image: str
) -> None:
    page, games = operator.page, [service.playground.game_id(name) for name in ("pair-1", "pair-2")]
    for game in games:
        service.start_job(game, engine_image)
        assert service.result(game).error_code == ""
    operator.go("/admin/runtimes/runtime/?status__exact=running")
    for game in games:
        page.locator("tr", has_text=game).locator("input.action-select").check()
    page.select_option("select[name=action]", "stop_selected")
    page.locator("button[name=index]").click()
    expect(page.locator(".rtm-preview li")).to_have_count(2)
    give_reason(page)

    expect(page.locator("#progress")).to_contain_text("All operations have finished.")

    operator.screenshot("progress")
    assert [service.record(game)["status"] for game in games] == ["stopped", "stopped"]
    expect(page.locator("#progress .rtm-badge")).to_have_text(["success", "success"])


def test_a_viewer_sees_no_buttons_and_a_forged_request_is_refused(
    console: Console, service: Service, killed_game: str
) -> None:
    before = service.operations(killed_game)
    with console.visit("viewer") as visitor:
        visitor.open_game(killed_game)
        visitor.expect_cause("killed_outside")
        expect(visitor.page.locator("main .rtm-button, #recommended")).to_have_count(0)
        visitor.screenshot("viewer")
        cookies = {cookie["name"]: cookie["value"] for cookie in visitor.page.context.cookies()}

        response = visitor.page.request.post(
            f"{console.base}/admin/actions/restart/",
            form={"game": killed_game, "because": REASON, "submission_id": "00000000-0000-4000-8000-000000000001"},
            headers={"X-CSRFToken": cookies["csrftoken"], "Referer": visitor.page.url},
        )
        refused = response.status, "CSRF" in response.text()

    assert refused == (403, False)
    assert service.operations(killed_game) == before


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, and check that the focus is visible."""
    for _press in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            break
    style = page.evaluate(
        "() => { const s = getComputedStyle(document.activeElement); "
        "return {id: document.activeElement.id, line: s.outlineStyle, width: parseFloat(s.outlineWidth), "
        "shadow: s.boxShadow}; }"
    )
    assert page.evaluate("selector => document.activeElement.matches(selector)", selector), style
    assert (style["line"] != "none" and style["width"] > 0) or style["shadow"] != "none", style


def test_a_game_is_restarted_with_the_keyboard_alone(operator: Visitor, service: Service, killed_game: str) -> None:
    page = operator.page
    operator.open_game(killed_game)
    expect(page.locator("#recommended")).to_be_visible()

    tab_to(page, "#recommended")
    operator.screenshot("focus", whole=False)
    page.keyboard.press("Enter")
    expect(page.locator("#id_because")).to_be_visible()
    tab_to(page, "#id_because")
    page.keyboard.type(REASON)
    tab_to(page, "form.rtm-form button[type=submit]")
    page.keyboard.press("Enter")

    operator.expect_cause("healthy")
    assert last_operation(service, killed_game)[0] == "restart"


def test_a_refresh_of_the_page_keeps_the_focus(operator: Visitor, killed_game: str) -> None:
    page = operator.page
    operator.open_game(killed_game)
    page.focus("#recommended")
    page.evaluate("document.querySelector('#recommended').dataset.old = 'yes'")

    expect(page.locator("#recommended")).not_to_have_attribute("data-old", "yes")

    assert page.evaluate("document.activeElement.id") == "recommended"


_BUTTON_BOXES = """[...document.querySelectorAll('.rtm-button')].map(button => {
    button.scrollIntoView();
    const box = button.getBoundingClientRect();
    return [box.x, box.width, box.height];
})"""


def test_everything_fits_on_a_phone(console: Console, killed_game: str) -> None:
    pages = {
        "dashboard": "/admin/",
        "list": "/admin/runtimes/runtime/",
        "game": f"/admin/games/{killed_game}/",
        "action": f"/admin/actions/restart/?game={killed_game}",
    }
    with console.visit("operator", viewport=PHONE, is_mobile=True, has_touch=True) as visitor:
        page, widths = visitor.page, {}
        for name, path in pages.items():
            visitor.go(path)
            if name == "game":
                visitor.expect_cause("killed_outside")
            widths[name] = page.evaluate("document.documentElement.scrollWidth")
            visitor.screenshot(f"phone-{name}")
            # One call, because the open page replaces its parts.
            boxes = page.evaluate(_BUTTON_BOXES)
            assert all(x >= 0 and x + width <= PHONE["width"] and height >= 24 for x, width, height in boxes), boxes

    assert {name: width for name, width in widths.items() if width > PHONE["width"]} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(console: Console, killed_game: str, scheme: str) -> None:
    with console.visit("operator", color_scheme=scheme) as visitor:
        visitor.go("/admin/")
        expect(visitor.page.locator("#servers .rtm-badge").first).to_be_visible()
        on_dashboard = visitor.page.evaluate(
            CONTRASTS, [".rtm-card h2", ".rtm-faint", ".rtm-tile", ".rtm-number", ".rtm-badge", ".rtm-card a"]
        )
        visitor.screenshot(f"dashboard-{scheme}")
        visitor.open_game(killed_game)
        expect(visitor.page.locator("#recommended")).to_be_visible()
        on_game = visitor.page.evaluate(
            CONTRASTS, [".rtm-headline", ".rtm-badge", ".rtm-button", ".rtm-next dd", ".rtm-next dt", ".rtm-command",
                        ".rtm-table td", ".rtm-table th", ".rtm-log", ".rtm-faint", ".rtm-card a"]
        )  # fmt: skip
        visitor.screenshot(f"game-{scheme}")
        is_dark = visitor.page.evaluate("document.documentElement.classList.contains('dark')")

    assert is_dark == (scheme == "dark")
    assert min([*on_dashboard.values(), *on_game.values()]) >= 4.5, json.dumps([on_dashboard, on_game])
