"""``python -m tests.bare SUITE 'COMMAND'``: run a command in a bare Debian, as ``make bare`` does."""

import argparse
import sys

from deploy.local.system.errors import LocalError
from tests.bare.machine import SUITES, require_tools, run_in_bare_debian

_LONGEST_SECONDS = 3600.0


def main() -> int:
    """Returns the exit code of the command."""
    parser = argparse.ArgumentParser(prog="tests.bare", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("command")
    asked = parser.parse_args()
    try:
        require_tools()
        outcome = run_in_bare_debian(asked.suite, asked.command, timeout_seconds=_LONGEST_SECONDS, shown=True)
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return outcome.code


sys.exit(main())
