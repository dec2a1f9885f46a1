"""``manage.py preclean --stack NAME``: remove all containers of that stack from the Docker host."""

import sys
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtimes.containers import connect
from runtimes.containers.base import Container
from runtimes.exceptions import RuntimeManagerError
from runtimes.formatting import short_id


class Command(BaseCommand):
    """Remove the containers of a stack, including running ones. Idempotent. Exit code 1 if a removal failed."""

    help = "Remove every container of one stack from the Docker host. Records and state directories are not touched."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--stack", required=True, metavar="NAME", help="only containers with this stack label")
        parser.add_argument("--dry-run", action="store_true", help="list what would be removed, remove nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation at a terminal")

    def handle(self, *_args: Any, **options: Any) -> None:
        stack = options["stack"]
        if not stack:
            raise CommandError("--stack is empty; give the name of the stack")
        try:
            # Docker has already filtered; check the labels again before anything is killed.
            owned = [container for container in connect().list_owned(stack) if container.is_owned_by(stack)]
        except RuntimeManagerError as error:
            raise CommandError(error.message) from None
        containers = sorted(owned, key=lambda container: container.name)
        if options["dry_run"]:
            for container in containers:
                self.stdout.write(f"would remove {_describe(container)}")
            self.stdout.write(f"{len(containers)} container(s) of stack {stack} would be removed.")
            return
        # A script has named the stack on purpose; an operator at a terminal may have named the wrong one.
        if containers and not options["yes"] and sys.stdin.isatty():
            self._confirm(stack, containers)
        self._remove(stack, containers)

    def _confirm(self, stack: str, containers: Sequence[Container]) -> None:
        for container in containers:
            self.stdout.write(f"  {_describe(container)}")
        ours = " It is the stack of this service." if stack == settings.RTMANAGER.stack else ""
        self.stdout.write(
            f"These {len(containers)} container(s) of stack {stack} would be removed.{ours} Remove them? [y/N]"
        )
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing removed.")

    def _remove(self, stack: str, containers: Sequence[Container]) -> None:
        """Kill and remove each container. A failure does not stop the removal of the others."""
        failed = 0
        for container in containers:
            try:
                connect().remove(container.id, grace_seconds=0)
            except RuntimeManagerError as error:
                failed += 1
                self.stderr.write(f"could not remove {_describe(container)}: {error.message}")
            else:
                self.stdout.write(f"removed {_describe(container)}")
        self.stdout.write(f"{len(containers) - failed} container(s) of stack {stack} removed.")
        if failed:
            raise CommandError(f"{failed} container(s) of stack {stack} were not removed.")


def _describe(container: Container) -> str:
    return f"{container.name} {short_id(container.id)} ({container.state})"
