"""An invalid setting stops each process at its start, and its last log lines name the setting."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.servers.processes import COMMANDS, ServiceProcess


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("setting", "value"), [("RTMANAGER_GAME_LEASE_TTL_SECONDS", "soon"), ("RTMANAGER_PROBE_INTERVAL", "15")]
)
def test_a_bad_setting_stops_the_process_and_is_named(tmp_path: Path, *, name: str, setting: str, value: str) -> None:
    environment: Mapping[str, str] = {"PATH": "/usr/bin:/bin", setting: value}
    process = ServiceProcess(name, COMMANDS[name], environment, tmp_path / "log")

    process.start()

    assert process.wait(timeout_seconds=30) != 0
    assert setting in process.log
    assert "Traceback" not in process.log
