"""API tokens: made, checked, rotated and revoked here. A secret leaves this module once and is never stored."""

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
_SECRET_BYTES = 32
_PUBLIC_ID_BYTES = 8
# Often enough for "is it still in use?", rare enough that reading stays reading.
_USE_RECORDED_EVERY = timedelta(minutes=1)
_NO_DIGEST = "0" * 64
# Asked with every call of the API: to have this written by the ORM takes longer than to have it answered.
_BY_PUBLIC_ID = "SELECT * FROM runtimes_apitoken WHERE public_id = %s"


class TokenRefusedError(Exception):
    """A bearer token that opens nothing. The text may be told to its holder; ``public_id`` may be logged."""

    def __init__(self, message: str, *, public_id: str = "") -> None:
        super().__init__(message)
        self.public_id = public_id


class TokenError(Exception):
    """A token cannot be made, found or changed; the text says why."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token and, this once, the text that its holder sends."""

    token: ApiToken
    bearer: str = field(repr=False)


def issue(token: ApiToken) -> IssuedToken:
    """Give an unsaved token its id and its secret, and save it. Raises TokenError when its name is in use."""
    if name_is_taken(token.name):
        message = f"there is a token {token.name!r} already: rotate or revoke it, or choose another name"
        raise TokenError(message)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    token.public_id = secrets.token_hex(_PUBLIC_ID_BYTES)
    token.secret_sha256 = _digest(secret)
    token.save(force_insert=True)
    return IssuedToken(token, f"rtm_{token.public_id}_{secret}")


def name_is_taken(name: str) -> bool:
    """Whether a token that is neither revoked nor replaced has this name."""
    return ApiToken.objects.filter(name=name, revoked_at__isnull=True, replaced_at__isnull=True).exists()


def check(bearer: str, *, now: datetime) -> ApiToken:
    """The valid token with this text; records its use, at most once a minute. Raises TokenRefusedError."""
    match = _BEARER.fullmatch(bearer)
    if match is None:
        message = "this is no token of this service"
        raise TokenRefusedError(message)
    public_id, secret = match.groups()
    token = next(iter(ApiToken.objects.raw(_BY_PUBLIC_ID, [public_id])), None)
    expected = token.secret_sha256 if token else _NO_DIGEST
    if not hmac.compare_digest(_digest(secret), expected) or token is None:
        message = "this token is not known"
        raise TokenRefusedError(message, public_id=public_id)
    # Only who knows the secret learns that the token existed once.
    if (state := token.state_at(now)) != "valid":
        message = f"this token is {state}"
        raise TokenRefusedError(message, public_id=public_id)
    _record_use(token, now=now)
    return token


def find(name_or_id: str) -> QuerySet[ApiToken]:
    """The unrevoked tokens of this name (the current one and those it replaced), or the one of this id.

    Raises TokenError when there is none.
    """
    found = ApiToken.objects.filter(Q(public_id=name_or_id) | Q(name=name_or_id), revoked_at__isnull=True)
    if not found:
        message = f"there is no token {name_or_id!r} that is not revoked"
        raise TokenError(message)
    return found


def revoke(tokens: QuerySet[ApiToken], *, now: datetime) -> int:
    """Refuse these tokens from now on; returns how many were not revoked before. Idempotent."""
    return tokens.filter(revoked_at__isnull=True).update(revoked_at=now)


def rotate(token: ApiToken, *, grace: timedelta, created_by: str, now: datetime) -> IssuedToken:
    """Put a new token in place of this one, with its name, caller, scopes and length of life.

    The old one stays valid until the grace is over, never longer than it would have been. Raises TokenError
    when it has been revoked or replaced already.
    """
    with transaction.atomic():
        old = ApiToken.objects.select_for_update().get(pk=token.pk)
        if old.revoked_at is not None or old.replaced_at is not None:
            message = f"token {old} has been revoked or replaced already"
            raise TokenError(message)
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
    """Scopes as a token stores them. Raises ValueError for none and for unknown ones."""
    return TokenScopes(" ".join(sorted(set(scopes), key=Scope.values.index))).value


def _record_use(token: ApiToken, *, now: datetime) -> None:
    due = now - _USE_RECORDED_EVERY
    if token.last_used_at is None or token.last_used_at < due:
        rows = ApiToken.objects.filter(pk=token.pk).filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=due))
        rows.update(last_used_at=now)


def _digest(secret: str) -> str:
    # 256 random bits cannot be guessed from their digest, however fast it is made: no salt, no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()
