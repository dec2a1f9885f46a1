"""A browser in front of a running service. The service is the one of the acceptance tests, one per module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.acceptance.conftest import (
    allot_servers,
    game_id,
    migrated_template,
    module_playground,
    pytest_runtest_makereport,
    servers,
    service,
    service_settings,
)
from tests.browser.rigs import PATIENCE_MS, Console, find_chromium, launch, make_people
from tests.servers.service import Service

__all__ = [
    "allot_servers",
    "game_id",
    "migrated_template",
    "module_playground",
    "pytest_runtest_makereport",
    "servers",
    "service",
    "service_settings",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for a module; while it runs it holds an event loop that other modules' tests must not find."""
    find_chromium()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = launch(playwright, tmp_path_factory.mktemp("browser"))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def console(browser: Browser, service: Service) -> Console:
    """The console of the module's service, with one person in each group."""
    make_people(service)
    return Console(browser, str(service.client.base_url))
