"""Property tests: the pure ones need nothing, those marked ``django_db`` use the session's real PostgreSQL."""

import pytest

from tests.conftest import RtmSettings
from tests.integration.conftest import django_db_modify_db_settings, rig
from tests.properties import cases
from tests.properties.bench import MachineClock

__all__ = ["bench_rules", "django_db_modify_db_settings", "rig"]
_LAST = "test_total.py"


@pytest.fixture
def unkept_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black boxes are filled as always, with every question to Docker; there is only nowhere to keep them."""
    monkeypatch.setattr("operations.evidence.snapshot_of", lambda *_whose: None)
    monkeypatch.setattr("operations.evidence.probes_of", lambda *_whose: {})
    monkeypatch.setattr("operations.black_boxes._is_kept", lambda *_end: False)
    monkeypatch.setattr("operations.black_boxes._keep", lambda _box: None)


@pytest.fixture
def bench_rules(unkept_boxes: None, rtm_settings: RtmSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bench needs to do without a database: its own clock, and no pulls, which are shared over rows."""
    del unkept_boxes
    rtm_settings(image_pull_policy="never")
    monkeypatch.setattr("operations.clock.connection", MachineClock())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever the order of the others, the one that counts their cases runs last."""
    items.sort(key=lambda item: item.path.name == _LAST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases were really tried."""
    if cases.generated:
        names = len(cases.generated.keys() | cases.enumerated.keys())
        terminalreporter.write_line(
            f"properties: {names} held over {cases.generated.total():,} generated cases"
            f" and {cases.enumerated.total():,} of spaces tried whole"
        )
