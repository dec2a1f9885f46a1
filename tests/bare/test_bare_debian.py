"""The two commands of the README pass on each supported Debian release, from an empty machine."""

import pytest

from tests.bare.machine import SUITES, run_in_bare_debian

_LONGEST_SECONDS = 1800
# Tests of the local stack itself, and images and containers on the private engine. All tests run elsewhere.
_PART = "tests/unit/deploy tests/unit/tasks tests/contract/test_sample_images.py tests/contract/test_container_names.py"
_COMMAND = f"""
set -e
make demo
make test ARGS="-q {_PART}"
make clean
echo "left behind:"
ls -d .run /var/lib/rtm-* /tmp/rtm-* 2>/dev/null || true
grep -o ' [^ ]*/rtm-[^ ]*' /proc/self/mounts || true
grep -lz RTM_LOCAL_STACK= /proc/[0-9]*/environ 2>/dev/null || true
"""


@pytest.mark.timeout(_LONGEST_SECONDS + 300)
@pytest.mark.parametrize("suite", SUITES)
def test_demo_and_test_pass_on_bare_debian_and_leave_nothing_behind(suite: str, bare_tools: None) -> None:
    del bare_tools

    outcome = run_in_bare_debian(suite, _COMMAND, timeout_seconds=_LONGEST_SECONDS)

    passed, _, left = outcome.output.rpartition("left behind:\n")
    assert outcome.code == 0, f"to repeat: make bare SUITE={suite}\n{outcome.output[-4000:]}"
    assert "steps, all ok" in passed
    assert left.strip() == ""
