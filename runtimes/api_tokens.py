"""Create, check, rotate and revoke API tokens. A secret is returned once and never stored."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from runtimes.models import ApiToken
from runtimes.states import Scope, TokenScopes

_BEARER = re.compile(r"rtm_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
# Precise enough to find unused tokens, and rare enough that most read requests write nothing.
# How long a replaced token stays valid unless the operator says otherwise.
ROTATION_GRACE = timedelta(hours=1)
_USE_RECORDED_EVERY = timedelta(minutes=1)
# Raw SQL: every API request runs this query, and the ORM takes longer to build it than the database to execute it.
_BY_PUBLIC_ID = "SELECT * FROM runtimes_apitoken WHERE public_id = %s"


class TokenRefusedError(Exception):
    """The bearer token is rejected. The caller may see the message; ``public_id`` may be logged."""

    def __init__(self, message: str, *, public_id: str = "") -> None:
        super().__init__(message)
        self.public_id = public_id


class TokenError(Exception):
    """A token cannot be created, found or changed; the message says why."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token and the bearer text that its holder sends. The text cannot be read again."""

    token: ApiToken
    bearer: str = field(repr=False)


def issue(token: ApiToken) -> IssuedToken:
    """Set the id and the secret of an unsaved token, and save it. Raises TokenError if its name is in use."""
    if name_is_taken(token.name):
        raise TokenError(f"token {token.name!r} exists already: rotate or revoke it, or choose another name")
    secret = secrets.token_urlsafe(32)
    token.public_id = secrets.token_hex(8)
    token.secret_sha256 = _digest(secret)
    token.save(force_insert=True)
    return IssuedToken(token, f"rtm_{token.public_id}_{secret}")


def name_is_taken(name: str) -> bool:
    """Whether a token that is neither revoked nor replaced has this name."""
    return ApiToken.objects.filter(name=name, revoked_at__isnull=True, replaced_at__isnull=True).exists()


def check(bearer: str, *, now: datetime) -> ApiToken:
    """Return the valid token of this text, and record its use at most once a minute. Raises TokenRefusedError."""
    match = _BEARER.fullmatch(bearer)
    if match is None:
        raise TokenRefusedError("invalid token")
    public_id, secret = match.groups()
    token = next(iter(ApiToken.objects.raw(_BY_PUBLIC_ID, [public_id])), None)
    # Without a token, an invalid digest takes the same time to compare.
    expected = token.secret_sha256 if token else "0" * 64
    if not hmac.compare_digest(_digest(secret), expected) or token is None:
        raise TokenRefusedError("unknown token", public_id=public_id)
    # Checked after the secret: only its holder learns that the token existed.
    if (state := token.state_at(now)) != "valid":
        raise TokenRefusedError(f"this token is {state}", public_id=public_id)
    _record_use(token, now=now)
    return token


def find(name_or_id: str) -> QuerySet[ApiToken]:
    """Return the tokens of this name that are not revoked (current and replaced ones), or the one with this id.

    Raises TokenError if there is none.
    """
    tokens = ApiToken.objects.filter(Q(public_id=name_or_id) | Q(name=name_or_id), revoked_at__isnull=True)
    if not tokens:
        raise TokenError(f"no token {name_or_id!r}, or it is revoked")
    return tokens


def revoke(tokens: QuerySet[ApiToken], *, now: datetime) -> int:
    """Reject these tokens from now on; returns how many were not revoked before. Idempotent."""
    return tokens.filter(revoked_at__isnull=True).update(revoked_at=now)


def rotate(token: ApiToken, *, grace: timedelta, created_by: str, now: datetime) -> IssuedToken:
    """Create a new token with the name, caller, scopes and lifetime of this one.

    The old token stays valid during the grace period, but not longer than before. Raises TokenError if it was revoked
    or replaced already.
    """
    with transaction.atomic():
        old = ApiToken.objects.select_for_update().get(pk=token.pk)
        if old.revoked_at is not None or old.replaced_at is not None:
            raise TokenError(f"token {old} has been revoked or replaced already")
        new = ApiToken(
            name=old.name,
            caller=old.caller,
            scopes=old.scopes,
            note=old.note,
            created_by=created_by,
            expires_at=old.expires_at and now + (old.expires_at - old.created_at),
        )
        until = now + grace
        old.replaced_at, old.expires_at = now, min(until, old.expires_at) if old.expires_at else until
        old.save(update_fields=["replaced_at", "expires_at"])
        return issue(new)


def render_scopes(scopes: Collection[str]) -> str:
    """The stored form of a set of scopes. Raises ValueError for an empty set and for unknown scopes."""
    return TokenScopes(" ".join(sorted(set(scopes), key=Scope.values.index))).value


def _record_use(token: ApiToken, *, now: datetime) -> None:
    due = now - _USE_RECORDED_EVERY
    if token.last_used_at is None or token.last_used_at < due:
        rows = ApiToken.objects.filter(pk=token.pk).filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=due))
        rows.update(last_used_at=now)


def _digest(secret: str) -> str:
    # A fast hash without a salt is enough: an attacker cannot guess 256 random bits from their digest.
    return hashlib.sha256(secret.encode()).hexdigest()
