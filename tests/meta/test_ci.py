"""What continuous integration reports: the verdict of each run of tests, and a failure of any of them."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

_MAKE = """#!/bin/sh
case "$1" in
lint) exit $LINT;;
test) echo "=== 9 passed in 1s ==="; echo cleared; exit $TEST;;
test-newer) [ $NEWER = 2 ] || echo "=== 4 passed in 2s ==="; echo cleared; exit $NEWER;;
esac
"""


def run_ci(folder: Path, **exit_codes: int) -> "subprocess.CompletedProcess[str]":
    """Run it with a make whose targets end with these codes."""
    make = folder / "make"
    make.write_text(_MAKE)
    make.chmod(0o755)
    codes = {name.upper(): str(code) for name, code in exit_codes.items()}
    environment = {**os.environ, "LINT": "0", "TEST": "0", "NEWER": "0", **codes, "PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False)


def test_both_verdicts_are_the_last_lines(tmp_path: Path) -> None:
    done = run_ci(tmp_path)

    assert done.returncode == 0
    assert done.stdout.splitlines()[-4:] == [
        "make test-newer:", "=== 4 passed in 2s ===", "make test:", "=== 9 passed in 1s ===",
    ]  # fmt: skip


@pytest.mark.parametrize("failing", ["test", "newer"])
def test_a_failure_of_either_run_is_a_failure_of_all_and_both_run(tmp_path: Path, failing: str) -> None:
    done = run_ci(tmp_path, **{failing: 1})

    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines()[-4:] if line.startswith("===")] == [
        "=== 4 passed in 2s ===", "=== 9 passed in 1s ===",
    ]  # fmt: skip


def test_a_run_that_ends_before_its_tests_is_a_failure(tmp_path: Path) -> None:
    done = run_ci(tmp_path, newer=2)

    assert done.returncode == 2
    assert done.stdout.splitlines()[-4:-2] == ["make test-newer:", ""]


def test_without_clean_code_no_test_runs(tmp_path: Path) -> None:
    done = run_ci(tmp_path, lint=1)

    assert (done.returncode == 0, done.stdout) == (False, "")
