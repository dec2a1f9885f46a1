"""Property tests: the pure ones need nothing, those marked ``django_db`` use the session's real PostgreSQL."""

import pytest

from runtimes.storage.state_root import make_root
from tests.conftest import RtmSettings
from tests.integration.conftest import django_db_modify_db_settings, rig
from tests.properties.simulation import MachineClock

__all__ = ["bench_rules", "django_db_modify_db_settings", "rig"]


@pytest.fixture
def unkept_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit reports are filled as always, with every question to Docker; there is only nowhere to keep them."""
    monkeypatch.setattr("operations.exit_reports.contents.health_snapshot", lambda *_whose: None)
    monkeypatch.setattr("operations.exit_reports.contents.health_history", lambda *_whose: {})
    monkeypatch.setattr("operations.exit_reports.capture._is_complete", lambda *_end: False)
    monkeypatch.setattr("operations.exit_reports.capture._store", lambda _box: None)


@pytest.fixture
def any_state_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept every state root: the id of the recorded one is a row, and bench and rig have a root each."""
    root_type = "operations.installation.state_root.RecordedRoot"
    monkeypatch.setattr(f"{root_type}.make_if_first", lambda root: make_root(root._root))  # noqa: SLF001 - as the method does
    monkeypatch.setattr(f"{root_type}.check", lambda _root, _root_fd: None)


@pytest.fixture
def bench_rules(
    unkept_boxes: None, any_state_root: None, rtm_settings: RtmSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a bench needs to do without a database: its own clock, and no pulls, which are shared over rows."""
    del unkept_boxes, any_state_root
    rtm_settings(image_pull_policy="never")
    monkeypatch.setattr("operations.queue.database.connection", MachineClock())
    # The starts of the engine are rows; here it has always run.
    monkeypatch.setattr("operations.health.docker_starts.record_current", lambda _containers: None)
    monkeypatch.setattr("operations.health.docker_starts.known_starts", list)
    # Whether a game has run before is a query too.
    monkeypatch.setattr("operations.installation.state_root.has_run_before", lambda _attempt: False)
