"""A bounded storm in each test run; ``make chaos`` runs longer ones."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local.docker.daemon import private_docker
from deploy.local.system.errors import LocalError
from deploy.local.workspace import CLONE, workspace_of

_SCALE = (
    "--jobs", "120", "--kills", "20", "--server-kills", "4", "--pauses", "2", "--manual-changes", "4", "--seed", "7",
    "--drain-seconds", "240",
)  # fmt: skip
_LONGEST_SECONDS = 480
_STOP_SECONDS = 120


@pytest.mark.timeout(_LONGEST_SECONDS + _STOP_SECONDS + 20)
def test_nothing_is_lost_or_doubled_while_everything_is_killed(tmp_path: Path) -> None:
    _need_an_engine_of_our_own()

    report = _run_storm(tmp_path)

    assert report["violations"] == {name: [] for name in report["violations"]}, report["violations"]
    assert report["figures"]["jobs"] == report["figures"]["results"] == 120
    assert sum(report["figures"]["process kills"].values()) == 20
    assert sum(report["figures"]["server kills"].values()) == 4


def _need_an_engine_of_our_own() -> None:
    try:
        private_docker(workspace_of("chaos-test"))
    except LocalError:
        reason = "the storm kills its Docker engine, so it starts one of its own: that needs root, and dockerd or apt"
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(reason)


def _run_storm(folder: Path) -> dict[str, Any]:
    """Run in a separate process: the storm needs its own environment, signals and workspace."""
    report, log = folder / "report.json", folder / "storm.log"
    command = [sys.executable, "-m", "tests.chaos.storm", "--workspace", "chaos-test", "--report", str(report), *_SCALE]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=CLONE, stdout=output, stderr=subprocess.STDOUT)
        try:
            process.wait(timeout=_LONGEST_SECONDS)
        finally:
            # Also after an error the storm must stop everything it started.
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=_STOP_SECONDS)
            print(log.read_text())  # noqa: T201 - pytest shows it when the test fails
    assert report.exists(), "the storm could not be carried through; its output is above"
    found: dict[str, Any] = json.loads(report.read_text())
    return found
