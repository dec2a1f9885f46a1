"""``python -m deploy.local demo|run|stop|clean|test|test-newer``, called by the Makefile."""

import argparse
import sys
import traceback

from deploy.local.console import Console
from deploy.local.demo import demo
from deploy.local.run import run
from deploy.local.stop import clean, stop
from deploy.local.system import signals
from deploy.local.system.errors import LocalError
from deploy.local.testing import test, test_newer
from deploy.local.workspace import RUN_ROOT

_INTERRUPTED = 130
_COMMANDS = {"demo": demo, "run": run, "stop": stop, "clean": clean}
_TESTS = {"test": test, "test-newer": test_newer}


def main() -> int:
    """Run the command; return the exit code, 0 only on success."""
    parser = argparse.ArgumentParser(prog="deploy.local", description=__doc__)
    parser.add_argument("command", choices=[*_COMMANDS, *_TESTS])
    command, arguments = parser.parse_known_args()
    signals.listen()
    console = Console()
    try:
        if command.command in _TESTS:
            return _TESTS[command.command](console, arguments)
        _COMMANDS[command.command](console)
    except KeyboardInterrupt:
        console.say("\ninterrupted")
        return _INTERRUPTED
    except LocalError as error:
        _report(console, command.command, str(error))
        return 1
    except Exception as error:  # noqa: BLE001 (the step and the logs help with every error)
        traceback.print_exc()
        _report(console, command.command, f"{type(error).__name__}: {error}")
        return 1
    return 0


def _report(console: Console, command: str, reason: str) -> None:
    failed = console.failed_step
    console.say(f"\n`make {command}` failed" + (f" at: {failed.title}" if failed else ""))
    console.say(f"{reason}\n\nLogs: {RUN_ROOT / command / 'logs'}")


sys.exit(main())
