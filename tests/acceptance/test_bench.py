"""The benchmark, whole but short: whether all of it works, not how fast anything is."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rtmanager.local.dockerd import private_engine
from rtmanager.local.errors import LocalError
from rtmanager.local.places import CLONE, place_of

_LONGEST_SECONDS = 600
_STOP_SECONDS = 120
_PLACE = place_of("bench-test")


@pytest.mark.timeout(_LONGEST_SECONDS + _STOP_SECONDS + 20)
def test_every_figure_is_measured_and_reported(tmp_path: Path) -> None:
    _need_an_engine_of_our_own()

    code = _run_bench(tmp_path / "bench.log")

    assert code == 0
    figures = _results()["figures"]
    assert [figure["key"] for figure in figures] == _measures()
    assert all(sample >= 0 for figure in figures for series in figure["series"] for sample in series["samples"])
    assert all((_PLACE.home / "performance" / f"{figure['key']}.svg").exists() for figure in figures)


def _measures() -> list[str]:
    """Read, not imported: what the rivals need is not installed here."""
    text = (CLONE / "bench" / "measures" / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^ {8}"(\w+)": ', text, re.MULTILINE)


def _need_an_engine_of_our_own() -> None:
    try:
        private_engine(_PLACE)
    except LocalError:
        reason = "the benchmark starts a Docker engine of its own: that needs root, and dockerd or apt"
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(reason)


def _run_bench(log: Path) -> int:
    """As ``make bench`` does it, in a place of its own; returns the exit code."""
    with log.open("w") as output:
        for environment in ("bench", "service"):
            command = [sys.executable, "rtmanager/local/venv.py", environment]
            subprocess.run(command, cwd=CLONE, stdout=output, check=True)
        process = subprocess.Popen(
            [".run/bench/venv/bin/python", "-m", "bench", "--quick", "--place", _PLACE.kind],
            cwd=CLONE, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            return process.wait(timeout=_LONGEST_SECONDS)
        finally:
            # Whatever cuts this short, it must end all that it has started.
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=_STOP_SECONDS)
            print(log.read_text())  # noqa: T201 - pytest shows it when the test fails


def _results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_PLACE.home / "performance" / "results.json").read_text())
    return found
