"""Actions of the admin's lists in a real browser: preview, reason, action."""

from playwright.sync_api import expect

from tests.browser.harness import Console, Visitor
from tests.servers.service import STOP_JOBS, Service
from tests.servers.waiting import wait_for

REASON = "Lobby 2.3 sends an unknown reason; agreed with Ann."


def choose(visitor: Visitor, path: str, row: str, action: str) -> None:
    """Select a row of a list and choose an action for it."""
    page = visitor.page
    visitor.go(path)
    page.locator("tr", has_text=row).locator("input.action-select").check()
    page.select_option("select[name=action]", action)
    page.locator("button[name=index]").first.click()
    expect(page.locator("form.rtm-form")).to_be_visible()


def test_a_dead_letter_is_corrected_previewed_and_redriven_with_a_reason(
    console: Console, service: Service, game_id: str, engine_image: str
) -> None:
    service.start_job(game_id, engine_image)
    assert service.result(game_id).error_code == ""
    entry_id = service.add_job(STOP_JOBS, game_id=game_id, reason="boredom", requested_at_ms="1700000000000")
    wait_for(
        lambda: service.rows("SELECT 1 FROM operations_deadletter WHERE entry_id = %s", entry_id), what="dead letter"
    )
    with console.visit("operator") as visitor:
        page = visitor.page
        choose(visitor, "/admin/operations/deadletter/", entry_id, "redrive_selected")
        expect(page.locator(".rtm-preview")).to_contain_text("Would be refused")
        visitor.screenshot("redrive-refused")
        page.fill("#id_corrections", "reason=cancelled")
        page.fill("#id_because", REASON)
        page.click("button[name=preview]")
        expect(page.locator(".rtm-preview")).to_contain_text(f"Would stop game {game_id} (reason cancelled).")
        visitor.screenshot("redrive")

        page.click("button[name=confirm]")

        expect(page.locator("body")).to_contain_text("is now operation")
        wait_for(lambda: service.record(game_id)["status"] == "stopped", what="the stop")
        visitor.go("/admin/admin/logentry/")
        expect(page.locator("body")).to_contain_text(REASON)
        visitor.screenshot("audit")


def test_a_token_is_revoked_with_a_reason(console: Console, service: Service) -> None:
    service.run_command("api_token", "create", "leaked", "--caller", "gm", "--scope", "read")
    with console.visit("admin") as visitor:
        page = visitor.page
        choose(visitor, "/admin/runtimes/apitoken/", "leaked", "revoke")
        expect(page.locator(".rtm-preview")).to_contain_text("Refused permanently from now on. Last used: never.")
        visitor.screenshot("revoke")
        page.fill("#id_because", REASON)

        page.click("button[name=confirm]")

        expect(page.locator("body")).to_contain_text("Revoked 1 token.")
        expect(page.locator("tr", has_text="leaked")).to_contain_text("revoked")
    query = "SELECT change_message FROM django_admin_log WHERE object_repr LIKE %s"
    assert service.rows(query, "leaked%") == [(f"Revoked: {REASON}",)]
