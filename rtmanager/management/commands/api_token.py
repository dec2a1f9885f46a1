"""``manage.py api_token``: make, list, rotate and revoke the tokens that open the API."""

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from rtmanager.durations import parse_duration
from runtimes import tokens
from runtimes.models import ApiToken
from runtimes.states import CallerName, Scope

_CREATED_BY = "manage.py api_token"
_LONGEST = timedelta(days=36500)
_COLUMNS = ("id", "name", "caller", "scopes", "state", "last_used_at", "expires_at")


class Command(BaseCommand):
    """The text of a token is printed once, when it is made; it cannot be had again."""

    help = "Make, list, rotate and revoke API tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand per deed."""
        deeds = parser.add_subparsers(dest="deed", required=True)
        create = deeds.add_parser("create", help="make a token and print it, once")
        create.add_argument("name", help="what it is for, for example gm-production")
        create.add_argument("--caller", required=True, choices=CallerName.values, help="whose calls these are")
        create.add_argument(
            "--scope", required=True, action="append", choices=Scope.values, help="what it allows; may be given twice"
        )
        create.add_argument("--expires", type=_duration, metavar="90d", help="how long it is valid; default: for ever")
        create.add_argument("--note", default="", help="anything worth knowing")
        rotate = deeds.add_parser("rotate", help="put a new token in the place of a current one and print it, once")
        rotate.add_argument("token", metavar="NAME|ID")
        rotate.add_argument(
            "--grace", type=_duration, metavar="1h", default=timedelta(hours=1), help="how long the old one still works"
        )
        revoke = deeds.add_parser("revoke", help="refuse a token, or all of a name, from now on")
        revoke.add_argument("token", metavar="NAME|ID")
        for deed in (create, rotate, revoke, deeds.add_parser("list", help="show all tokens, without their secrets")):
            deed.add_argument("--json", action="store_true", help="write JSON")

    def handle(self, *_args: Any, deed: str, **options: Any) -> None:
        """Do the deed. Raises CommandError when it cannot be done; nothing has changed then."""
        deeds = {"create": self._create, "rotate": self._rotate, "revoke": self._revoke, "list": self._list}
        try:
            deeds[deed](options)
        except tokens.TokenError as error:
            raise CommandError(str(error)) from None

    def _create(self, options: Mapping[str, Any]) -> None:
        lifetime: timedelta | None = options["expires"]
        token = ApiToken(
            name=options["name"],
            caller=options["caller"],
            scopes=tokens.render_scopes(options["scope"]),
            note=options["note"],
            created_by=_CREATED_BY,
            expires_at=timezone.now() + lifetime if lifetime else None,
        )
        try:
            token.clean_fields(exclude={"public_id", "secret_sha256"})
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        self._show(tokens.issue(token), options)

    def _rotate(self, options: Mapping[str, Any]) -> None:
        found = tokens.find(options["token"])
        # A name stands for its current token; what that replaced is on its way out already.
        token = found.filter(replaced_at__isnull=True).first() or found[0]
        issued = tokens.rotate(token, grace=options["grace"], created_by=_CREATED_BY, now=timezone.now())
        self._show(issued, options)

    def _revoke(self, options: Mapping[str, Any]) -> None:
        found = tokens.find(options["token"])
        described = [str(token) for token in found]
        tokens.revoke(found, now=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps({"revoked": described}))
        else:
            self.stdout.write(f"Revoked: {', '.join(described)}.")

    def _list(self, options: Mapping[str, Any]) -> None:
        now = timezone.now()
        rows = [_describe(token, now=now) for token in ApiToken.objects.all()]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        table = [_COLUMNS, *(tuple(row[column] or "-" for column in _COLUMNS) for row in rows)]
        widths = [max(len(line[index]) for line in table) for index in range(len(_COLUMNS))]
        for line in table:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def _show(self, issued: tokens.IssuedToken, options: Mapping[str, Any]) -> None:
        described = _describe(issued.token, now=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps({**described, "token": issued.bearer}, indent=2))
            return
        until = f"until {described['expires_at']}" if described["expires_at"] else "for ever"
        self.stdout.write(f"Token {issued.token} of caller {issued.token.caller}: {issued.token.scopes}; valid {until}")
        self.stdout.write(issued.bearer)
        self.stdout.write("Keep it now: it is not shown again.")


def _describe(token: ApiToken, *, now: datetime) -> dict[str, str | None]:
    return {
        "id": token.public_id,
        "name": token.name,
        "caller": token.caller,
        "scopes": token.scopes,
        "state": token.state_at(now),
        "created_by": token.created_by,
        "last_used_at": _moment(token.last_used_at),
        "expires_at": _moment(token.expires_at),
        "note": token.note,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def _duration(text: str) -> timedelta:
    try:
        duration = parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(str(error)) from None
    if duration > _LONGEST:
        message = f"{text!r} is longer than {_LONGEST.days}d; leave it out for ever"
        raise ArgumentTypeError(message)
    return duration
