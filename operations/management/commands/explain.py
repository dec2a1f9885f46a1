"""``manage.py explain GAME``: the state of a game, its cause, and the next step."""

import json
import shutil
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.explain.collect import explain_game
from operations.explain.diagnosis import Severity
from operations.explain.text import render
from runtimes.exceptions import InvalidRequestError
from runtimes.game_ids import check_game_id

_MAX_WIDTH = 120


class Command(BaseCommand):
    """Reads the database, Redis and Docker directly; needs no web process. Changes nothing."""

    help = "Explain the state of a game, what to do about it, and what happens next automatically."
    # The command must work even if other parts of the installation do not.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("game", metavar="GAME", help="the id of the game")
        parser.add_argument("--json", action="store_true", help="print the JSON of the API")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Exit code 1 only for an invalid game id. No state of a game is an error."""
        try:
            check_game_id(options["game"])
        except InvalidRequestError as error:
            raise CommandError(error.message) from None
        explanation = explain_game(options["game"])
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_json(), indent=2))
            return
        style = self.style.SUCCESS if explanation.severity == Severity.OK else self.style.NOTICE
        width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
        first, _newline, rest = render(explanation.as_json(), width=width).partition("\n")
        self.stdout.write(style(first))
        self.stdout.write(rest)
