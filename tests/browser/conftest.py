"""A browser and a running service: the service of the acceptance tests, one per module."""

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
from tests.browser.harness import TIMEOUT_MS, Console, create_users, find_chromium, launch
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
    """One browser per module. It runs an event loop, which must end before the tests of other modules."""
    find_chromium()
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        launched = launch(playwright, tmp_path_factory.mktemp("browser"))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def console(browser: Browser, service: Service) -> Console:
    """The console of the module's service, with one user in each group."""
    create_users(service)
    return Console(browser, str(service.client.base_url))
