"""manage.py api_token creates, lists, rotates and revokes tokens, prints each secret once, and rejects bad input."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runtimes import api_tokens
from runtimes.api_tokens import TokenRefusedError
from runtimes.models import ApiToken
from tests.integration.token_factories import AT, BEARER, make


def token_command(*arguments: str) -> str:
    output = StringIO()
    call_command("api_token", *arguments, stdout=output)
    return output.getvalue()


def test_create_prints_the_token_once() -> None:
    output = token_command(
        "create", "gm-main", "--caller", "gm", "--scope", "operate", "--scope", "read", "--note", "n"
    )

    token = ApiToken.objects.get()
    (bearer,) = BEARER.findall(output)
    assert api_tokens.check(bearer, now=AT).pk == token.pk
    assert (token.name, token.caller, token.scopes, token.note, token.expires_at) == (
        "gm-main", "gm", "read operate", "n", None,
    )  # fmt: skip
    assert bearer not in token_command("list") + token_command("list", "--json")


def test_the_command_can_write_json() -> None:
    made = json.loads(
        token_command("create", "a", "--caller", "admin", "--scope", "read", "--expires", "90d", "--json")
    )

    (listed,) = json.loads(token_command("list", "--json"))
    assert BEARER.fullmatch(made.pop("token"))
    assert made == listed
    assert (listed["name"], listed["caller"], listed["scopes"], listed["state"]) == ("a", "admin", "read", "valid")
    assert listed["expires_at"].endswith("Z")


def test_the_list_shows_one_token_per_line() -> None:
    make("a")
    make("b", revoked_at=AT)

    head, first, second = token_command("list").splitlines()

    assert head.split() == ["id", "name", "caller", "scopes", "state", "last_used_at", "expires_at"]
    assert (first.split()[1], second.split()[1]) == ("a", "b")
    assert ("valid" in first, "revoked" in second) == (True, True)


@pytest.mark.parametrize("name_it", [lambda token: token.name, lambda token: token.public_id])
def test_the_command_rotates_by_name_and_by_id(name_it: Callable[[ApiToken], str]) -> None:
    old = make()

    output = token_command("rotate", name_it(old.token), "--grace", "0s", "--json")

    with pytest.raises(TokenRefusedError, match="expired"):
        api_tokens.check(old.bearer, now=timezone.now())
    assert api_tokens.check(json.loads(output)["token"], now=timezone.now()).name == "gm-main"


def test_a_rotated_name_can_be_rotated_again() -> None:
    make()
    token_command("rotate", "gm-main")
    token_command("rotate", "gm-main")

    assert [token.state_at(timezone.now()) for token in ApiToken.objects.all()] == ["valid"] * 3


def test_the_command_revokes() -> None:
    issued = make()

    output = token_command("revoke", "gm-main")

    assert issued.token.public_id in output
    with pytest.raises(TokenRefusedError, match="revoked"):
        api_tokens.check(issued.bearer, now=AT)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["create", "a b", "--caller", "gm", "--scope", "read"], "1 to 63 letters"),
        (["create", "x" * 64, "--caller", "gm", "--scope", "read"], "63"),
        (["create", "gm-main", "--caller", "gm", "--scope", "read"], "already"),
        (["create", "b", "--caller", "gm"], "--scope"),
        (["create", "b", "--caller", "lobby", "--scope", "read"], "invalid choice"),
        (["create", "b", "--caller", "gm", "--scope", "all"], "invalid choice"),
        (["create", "b", "--caller", "gm", "--scope", "read", "--expires", "soon"], "not a duration"),
        (["create", "b", "--caller", "gm", "--scope", "read", "--expires", "9999999d"], "longer than 36500d"),
        (["revoke", "missing"], "no token 'missing'"),
        (["rotate", "missing"], "no token 'missing'"),
        ([], "action"),
    ],
)
def test_invalid_arguments_are_rejected_and_change_nothing(arguments: list[str], reason: str) -> None:
    make()

    with pytest.raises(CommandError, match=reason):
        token_command(*arguments)

    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]
