"""``python -m rtmanager.local demo|run|stop|clean|test``, called by the Makefile."""

import argparse
import sys
import traceback

from rtmanager.local import interrupts
from rtmanager.local.console import Console
from rtmanager.local.demo import demo
from rtmanager.local.ending import clean, stop
from rtmanager.local.errors import LocalError
from rtmanager.local.places import RUN_ROOT
from rtmanager.local.run import run
from rtmanager.local.testing import test

_INTERRUPTED = 130
_COMMANDS = {"demo": demo, "run": run, "stop": stop, "clean": clean}


def main() -> int:
    """Do the command; returns the exit code, 0 only when everything went well."""
    parser = argparse.ArgumentParser(prog="rtmanager.local", description=__doc__)
    parser.add_argument("command", choices=[*_COMMANDS, "test"])
    command, arguments = parser.parse_known_args()
    interrupts.listen()
    console = Console()
    try:
        if command.command == "test":
            return test(console, arguments)
        _COMMANDS[command.command](console)
    except KeyboardInterrupt:
        console.say("\ninterrupted")
        return _INTERRUPTED
    except LocalError as error:
        _report(console, command.command, str(error))
        return 1
    except Exception as error:  # noqa: BLE001 (whatever it is, the step and the logs are what helps)
        traceback.print_exc()
        _report(console, command.command, f"{type(error).__name__}: {error}")
        return 1
    return 0


def _report(console: Console, command: str, why: str) -> None:
    failed = console.failed_step
    console.say(f"\n`make {command}` failed" + (f" at: {failed.title}" if failed else ""))
    console.say(f"{why}\n\nLogs: {RUN_ROOT / command / 'logs'}")


sys.exit(main())
