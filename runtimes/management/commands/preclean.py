"""``manage.py preclean --stack NAME``: no container of that stack is left on the Docker host."""

import sys
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtimes.containers import connect
from runtimes.containers.base import Container
from runtimes.exceptions import RuntimeManagerError
from runtimes.preclean import find_stack, remove_all


class Command(BaseCommand):
    """Remove a stack's containers, running ones too. Idempotent. The exit code is 1 when one could not be removed."""

    help = "Remove every container of one stack from the Docker host. Records and state directories are not touched."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The words of the command line."""
        parser.add_argument("--stack", required=True, metavar="NAME", help="only containers with this stack label")
        parser.add_argument("--dry-run", action="store_true", help="tell what would be removed, remove nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask, even at a terminal")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Find them, ask if there is somebody to ask, remove them one by one."""
        stack = options["stack"]
        if not stack:
            message = "--stack is empty; a stack has a name"
            raise CommandError(message)
        try:
            doomed = find_stack(connect(), stack)
        except RuntimeManagerError as error:
            raise CommandError(error.message) from None
        if options["dry_run"]:
            self._tell(stack, doomed)
        elif doomed and not options["yes"]:
            self._ask(stack, doomed)
        if not options["dry_run"]:
            self._remove(stack, doomed)

    def _tell(self, stack: str, doomed: Sequence[Container]) -> None:
        for one in doomed:
            self.stdout.write(f"would remove {_describe(one)}")
        self.stdout.write(f"{len(doomed)} container(s) of stack {stack} would be removed.")

    def _ask(self, stack: str, doomed: Sequence[Container]) -> None:
        # A script has said what it wants by naming the stack; a person may have named the wrong one.
        if not sys.stdin.isatty():
            return
        for one in doomed:
            self.stdout.write(f"  {_describe(one)}")
        ours = " It is the stack of this very service." if stack == settings.RTMANAGER.stack else ""
        self.stdout.write(
            f"These {len(doomed)} container(s) of stack {stack} would be removed.{ours} Remove them? [y/N]"
        )
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            message = "Nothing removed."
            raise CommandError(message)

    def _remove(self, stack: str, doomed: Sequence[Container]) -> None:
        failed = 0
        for removal in remove_all(connect(), doomed):
            if removal.error:
                failed += 1
                self.stderr.write(f"could not remove {_describe(removal.container)}: {removal.error}")
            else:
                self.stdout.write(f"removed {_describe(removal.container)}")
        self.stdout.write(f"{len(doomed) - failed} container(s) of stack {stack} removed.")
        if failed:
            message = f"{failed} container(s) of stack {stack} are still there."
            raise CommandError(message)


def _describe(container: Container) -> str:
    return f"{container.name} {container.id[:12]} ({container.state})"
