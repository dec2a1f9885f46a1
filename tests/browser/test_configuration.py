"""The page of a game whose container was changed outside: each difference by kind, and a refusal as a note."""

import re
from collections.abc import Mapping

import pytest
from playwright.sync_api import expect

from tests.browser.harness import Console
from tests.servers.service import Service


@pytest.fixture(scope="module")
def service_settings() -> Mapping[str, str]:
    return {"INSPECT_INTERVAL": "1s"}


def test_differences_and_a_refused_cleanup_are_shown_while_the_game_runs(
    console: Console, service: Service, game_id: str, engine_image: str
) -> None:
    service.post(game_id, "start", image_ref=engine_image)
    refused = service.client.delete(f"/api/v1/internal/runtimes/{game_id}/container")
    (container,) = service.playground.containers(game_id)
    container.update(mem_limit="32m", restart_policy={"Name": "always"})

    with console.visit("operator") as visitor:
        visitor.go("/")
        expect(visitor.page).to_have_url(re.compile("/admin/$"))
        visitor.open_game(game_id)
        visitor.expect_cause("configuration_drift")

        rows = visitor.page.locator("#configuration tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("restart policy")
        expect(rows.nth(1)).to_contain_text("32 MiB")
        expect(visitor.page.locator("#notes")).to_contain_text("Its last cleanup_container was refused")
    assert refused.status_code == 409
