"""``manage.py explain GAME``: why a game is as it is, what to do, and what happens by itself."""

import json
import shutil
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.diagnosis.verdicts import Severity
from operations.explain_text import render
from operations.gathering import explain_game
from runtimes.exceptions import InvalidRequestError
from runtimes.games import check_game_id

_WIDEST = 120


class Command(BaseCommand):
    """Looks at database, Redis and Docker from here; needs no web process. Changes nothing."""

    help = "Tell why a game is as it is, what to do about it, and what happens next by itself."
    # It must also work where little else does.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The words of the command line."""
        parser.add_argument("game", metavar="GAME", help="the id of the game")
        parser.add_argument("--json", action="store_true", help="the same as JSON, as the API answers it")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print it. Exit code 1 for something that is no game id; whatever the game's state is, that is no error."""
        try:
            check_game_id(options["game"])
        except InvalidRequestError as error:
            raise CommandError(error.message) from None
        explanation = explain_game(options["game"])
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_json(), indent=2))
            return
        style = self.style.SUCCESS if explanation.severity == Severity.OK else self.style.NOTICE
        first, _newline, rest = render(explanation.as_json(), width=_width()).partition("\n")
        self.stdout.write(style(first))
        self.stdout.write(rest)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST)
