"""``manage.py accept_state_root``: make the state root of this host a root of this installation."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.installation import state_root
from runtimes.exceptions import RuntimeManagerError


class Command(BaseCommand):
    """Write the marker file of the state root, after a move, a restore, or on a further host. Idempotent."""

    help = (
        "Write the marker file of the directory RTMANAGER_GAME_STATE_ROOT on this host, so that games can start there. "
        "Needed after a move or a restore, if the file is lost, and on each further worker host."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what the directory contains, change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *_args: Any, **options: Any) -> None:
        root = settings.RTMANAGER.game_state_root
        try:
            found, games = state_root.directories_found(root)
            refusal = state_root.refusal_of_root(root)
        except RuntimeManagerError as error:
            message = f"{error.message}; first create the directory, or mount its disk"
            raise CommandError(message) from None
        self.stdout.write(f"{root}: {found} of {games} games that were started before have their directory here.")
        self.stdout.write(f"Now: {refusal or 'games can start here'}.")
        if options["dry_run"]:
            return
        if not options["yes"] and sys.stdin.isatty():
            self._ask()
        try:
            marker_id, is_changed = state_root.accept()
        except RuntimeManagerError as error:
            raise CommandError(error.message) from None
        if is_changed:
            self.stdout.write(f"The marker file of {root} is written ({marker_id}). Games can start.")
        else:
            self.stdout.write(f"The marker file of {root} is already correct ({marker_id}); nothing was changed.")

    def _ask(self) -> None:
        self.stdout.write("Games will start on this directory. Is it the right one? [y/N]")
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            message = "Nothing was changed."
            raise CommandError(message)
