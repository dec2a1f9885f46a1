"""``manage.py api_token``: creates, lists, rotates and revokes API tokens."""

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from runtimes import api_tokens
from runtimes.formatting import parse_duration, to_rfc3339
from runtimes.models import ApiToken
from runtimes.states import CallerName, Scope

_CREATED_BY = "manage.py api_token"
_LONGEST = timedelta(days=36500)
_COLUMNS = ("id", "name", "caller", "scopes", "state", "last_used_at", "expires_at")


class Command(BaseCommand):
    """Prints the secret of a token once, when it is created."""

    help = "Create, list, rotate and revoke API tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="create a token and print it once")
        create.add_argument("name", help="its purpose, for example gm-production")
        create.add_argument("--caller", required=True, choices=CallerName.values, help="the caller that uses it")
        create.add_argument(
            "--scope", required=True, action="append", choices=Scope.values, help="what it permits; may be repeated"
        )
        create.add_argument("--expires", type=_duration, metavar="90d", help="its lifetime; default: forever")
        create.add_argument("--note", default="", help="a free text")
        rotate = actions.add_parser("rotate", help="replace a current token and print the new one once")
        rotate.add_argument("token", metavar="NAME|ID")
        rotate.add_argument(
            "--grace",
            type=_duration,
            metavar="1h",
            default=api_tokens.ROTATION_GRACE,
            help="how long the old one stays valid",
        )
        revoke = actions.add_parser("revoke", help="revoke a token, or all tokens of a name, at once")
        revoke.add_argument("token", metavar="NAME|ID")
        for action in (create, rotate, revoke, actions.add_parser("list", help="list all tokens, without secrets")):
            action.add_argument("--json", action="store_true", help="write JSON")

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        """Run the subcommand. Raises CommandError, and changes nothing, if it is invalid."""
        actions = {"create": self._create, "rotate": self._rotate, "revoke": self._revoke, "list": self._list}
        try:
            actions[action](options)
        except api_tokens.TokenError as error:
            raise CommandError(str(error)) from None

    def _create(self, options: Mapping[str, Any]) -> None:
        lifetime: timedelta | None = options["expires"]
        token = ApiToken(
            name=options["name"],
            caller=options["caller"],
            scopes=api_tokens.render_scopes(options["scope"]),
            note=options["note"],
            created_by=_CREATED_BY,
            expires_at=timezone.now() + lifetime if lifetime else None,
        )
        try:
            token.clean_fields(exclude={"public_id", "secret_sha256"})
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        self._show(api_tokens.issue(token), options)

    def _rotate(self, options: Mapping[str, Any]) -> None:
        tokens = api_tokens.find(options["token"])
        # A name means its current token; the tokens it replaced expire soon.
        token = tokens.filter(replaced_at__isnull=True).first() or tokens[0]
        issued = api_tokens.rotate(token, grace=options["grace"], created_by=_CREATED_BY, now=timezone.now())
        self._show(issued, options)

    def _revoke(self, options: Mapping[str, Any]) -> None:
        tokens = api_tokens.find(options["token"])
        described = [str(token) for token in tokens]
        api_tokens.revoke(tokens, now=timezone.now())
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

    def _show(self, issued: api_tokens.IssuedToken, options: Mapping[str, Any]) -> None:
        described = _describe(issued.token, now=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps({**described, "token": issued.bearer}, indent=2))
            return
        until = f"until {described['expires_at']}" if described["expires_at"] else "forever"
        self.stdout.write(f"Token {issued.token} of caller {issued.token.caller}: {issued.token.scopes}; valid {until}")
        self.stdout.write(issued.bearer)
        self.stdout.write("Store it now: it is not shown again.")


def _describe(token: ApiToken, *, now: datetime) -> dict[str, str | None]:
    return {
        "id": token.public_id,
        "name": token.name,
        "caller": token.caller,
        "scopes": token.scopes,
        "state": token.state_at(now),
        "created_by": token.created_by,
        "last_used_at": _format_time(token.last_used_at),
        "expires_at": _format_time(token.expires_at),
        "note": token.note,
    }


def _format_time(at: datetime | None) -> str | None:
    return to_rfc3339(at, timespec="seconds") if at else None


def _duration(text: str) -> timedelta:
    try:
        duration = parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(str(error)) from None
    if duration > _LONGEST:
        message = f"{text!r} is longer than {_LONGEST.days}d; omit it for forever"
        raise ArgumentTypeError(message)
    return duration
