"""Tokens: what is stored opens nothing, what is over is refused, and a rotation or a revocation ends what it should."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import DjangoAssertNumQueries

from runtimes import api_tokens
from runtimes.api_tokens import TokenError, TokenRefusedError
from runtimes.models import ApiToken
from tests.integration.token_factories import AT, BEARER, make


def test_what_is_stored_opens_nothing() -> None:
    issued = make()

    stored = ApiToken.objects.values().get()
    # The secret itself may contain underscores.
    _prefix, _public_id, secret = issued.bearer.split("_", 2)
    assert BEARER.fullmatch(issued.bearer)
    assert not [value for value in stored.values() if isinstance(value, str) and secret in value]
    with pytest.raises(TokenRefusedError):
        api_tokens.check(f"rtm_{issued.token.public_id}_{issued.token.secret_sha256[:43]}", now=AT)


def test_a_token_shown_by_accident_does_not_show_its_secret() -> None:
    issued = make()

    assert issued.bearer not in repr(issued)


def test_two_tokens_share_neither_id_nor_secret() -> None:
    assert len({part for name in "abc" for part in make(name).bearer.split("_", 2)}) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_at": AT}, "expired"),
        ({"expires_at": AT - timedelta(days=1)}, "expired"),
        ({"revoked_at": AT - timedelta(days=1)}, "revoked"),
        ({"revoked_at": AT, "expires_at": AT}, "revoked"),
    ],
)
def test_a_token_that_is_over_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    issued = make(**changes)

    with pytest.raises(TokenRefusedError, match=f"this token is {reason}"):
        api_tokens.check(issued.bearer, now=AT)


def test_who_does_not_know_the_secret_learns_nothing_of_the_token() -> None:
    revoked = make(revoked_at=AT)
    guessed = [f"rtm_{revoked.token.public_id}_{'x' * 43}", f"rtm_{'0' * 16}_{'x' * 43}"]

    reasons = set()
    for bearer in guessed:
        with pytest.raises(TokenRefusedError) as refused:
            api_tokens.check(bearer, now=AT)
        reasons.add(str(refused.value))

    assert reasons == {"unknown token"}


def test_the_last_use_is_recorded_at_most_once_a_minute(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    issued = make()
    api_tokens.check(issued.bearer, now=AT)

    with django_assert_num_queries(1):
        api_tokens.check(issued.bearer, now=AT + timedelta(seconds=60))
    with django_assert_num_queries(2):
        api_tokens.check(issued.bearer, now=AT + timedelta(seconds=61))

    issued.token.refresh_from_db()
    assert issued.token.last_used_at == AT + timedelta(seconds=61)


def test_a_rotated_token_works_until_its_grace_is_over_and_its_successor_at_once() -> None:
    old = make(note="of the live system", scopes="read")

    new = api_tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=AT)

    assert (new.token.name, new.token.caller, new.token.scopes, new.token.note, new.token.created_by) == (
        "gm-main", "gm", "read", "of the live system", "me",
    )  # fmt: skip
    assert api_tokens.check(new.bearer, now=AT).pk == new.token.pk
    assert api_tokens.check(old.bearer, now=AT + timedelta(minutes=59)).pk == old.token.pk
    with pytest.raises(TokenRefusedError, match="expired"):
        api_tokens.check(old.bearer, now=AT + timedelta(hours=1))


def test_a_rotation_gives_the_same_length_of_life_and_prolongs_nothing() -> None:
    old = make(expires_at=AT + timedelta(minutes=30))
    ApiToken.objects.update(created_at=AT - timedelta(days=90))

    new = api_tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=AT)

    old.token.refresh_from_db()
    assert old.token.expires_at == AT + timedelta(minutes=30)
    assert new.token.expires_at == AT + timedelta(days=90, minutes=30)


def test_what_was_replaced_or_revoked_cannot_be_rotated() -> None:
    old = make().token
    api_tokens.rotate(old, grace=timedelta(0), created_by="me", now=AT)
    gone = make("gone", revoked_at=AT).token

    for token in (old, gone):
        with pytest.raises(TokenError, match="already"):
            api_tokens.rotate(token, grace=timedelta(0), created_by="me", now=AT)

    assert ApiToken.objects.count() == 3


def test_a_name_belongs_to_one_current_token_and_is_free_after_its_end() -> None:
    first = make().token
    with pytest.raises(TokenError, match="already"):
        make()
    with pytest.raises(IntegrityError, match="api_token_one_current_per_name"):
        ApiToken.objects.create(name="gm-main", caller="gm", public_id="x", secret_sha256="x", created_by="x")

    api_tokens.revoke(api_tokens.find(first.public_id), now=AT)

    assert make().token.name == "gm-main"


def test_revoking_a_name_ends_what_it_replaced_too() -> None:
    old = make()
    new = api_tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=AT)
    other = make("other")

    ended = api_tokens.revoke(api_tokens.find("gm-main"), now=AT)

    assert ended == 2
    for bearer in (old.bearer, new.bearer):
        with pytest.raises(TokenRefusedError):
            api_tokens.check(bearer, now=AT)
    assert api_tokens.check(other.bearer, now=AT)
