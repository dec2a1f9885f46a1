"""What continuous integration reports: the verdict of the tests as its last line, and every failure."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

_MAKE = """#!/bin/sh
case "$1" in
lint) exit $LINT;;
test) [ $TEST = 2 ] || echo "=== 9 passed in 1s ==="; echo cleared; exit $TEST;;
esac
"""


def run_ci(folder: Path, **exit_codes: int) -> "subprocess.CompletedProcess[str]":
    """Run it with a make whose targets end with these codes."""
    make = folder / "make"
    make.write_text(_MAKE)
    make.chmod(0o755)
    codes = {name.upper(): str(code) for name, code in exit_codes.items()}
    environment = {**os.environ, "LINT": "0", "TEST": "0", **codes, "PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [0, 1])
def test_the_verdict_is_the_last_line_and_a_failure_is_kept(tmp_path: Path, code: int) -> None:
    done = run_ci(tmp_path, test=code)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "=== 9 passed in 1s ===")


def test_a_run_that_ends_before_its_tests_is_a_failure(tmp_path: Path) -> None:
    done = run_ci(tmp_path, test=2)

    assert (done.returncode, done.stdout) == (2, "cleared\n")


def test_without_clean_code_no_test_runs(tmp_path: Path) -> None:
    done = run_ci(tmp_path, lint=1)

    assert (done.returncode == 0, done.stdout) == (False, "")
