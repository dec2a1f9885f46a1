"""What the tests on a bare machine share."""

import os

import pytest

from tests.bare.machine import missing_tools


@pytest.fixture
def bare_tools() -> None:
    """Root and the tools that make a machine. Without them the test is skipped, but fails in CI."""
    missing = missing_tools()
    if missing:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"a bare Debian cannot be made here: {', '.join(missing)} missing")
