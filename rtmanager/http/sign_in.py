"""Limits failed sign-ins to the console, with django-axes, and logs every sign-in.

django-axes stores one row per account, address and browser, with the number of its failures and the time of the last
one. A row counts for ``AXES_COOLOFF_TIME`` after that; a success deletes the rows of the account from the same address.
Beyond a limit, an attempt is refused without a check of the password and does not count.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import structlog
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest

from runtimes.formatting import to_rfc3339

log = structlog.get_logger(__name__)

# Failures of one address with any accounts. AXES_FAILURE_LIMIT limits those of one account from one address.
ADDRESS_LIMIT = 50
# A customer of a provider has a whole network of this size, and so 2^64 addresses.
_IPV6_PREFIX_LENGTH = 64
# All clients whose address is unknown count as one.
_UNKNOWN_ADDRESS = str(IPv4Address(0))
# No account has a longer name, and the table of django-axes takes no text without a limit.
_LONGEST_NAME = 150


class SignInHandler(AxesDatabaseHandler):  # type: ignore[misc]  # django-axes brings no types
    """What django-axes calls after each sign-in. Adds the limit of an address, and the log."""

    def get_failures(self, request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> int:
        """Return the failures that count for this attempt: at least ``AXES_FAILURE_LIMIT`` while it is refused."""
        return settings.AXES_FAILURE_LIMIT if locked_until(request, credentials) else 0

    def user_login_failed(
        self, sender: Any, credentials: Mapping[str, Any], request: Any = None, **options: Any
    ) -> None:
        was_locked = request.axes_locked_out
        client = _describe(request, counted_username(request, credentials))
        log.info("user_login_failed", **client, reason="locked" if was_locked else "credentials")
        super().user_login_failed(sender, credentials, request, **options)
        if not was_locked and (until := locked_until(request, credentials)):
            log.warning("sign_in_locked", **client, until=to_rfc3339(until))

    def user_logged_in(self, sender: Any, request: Any, user: User, **options: Any) -> None:
        super().user_logged_in(sender, request, user, **options)
        log.info("user_logged_in", **_describe(request, user.get_username()))


def counted_address(request: HttpRequest) -> str:
    """Return the address under which the failures of this client count (``AXES_CLIENT_IP_CALLABLE``).

    An IPv6 client counts with its whole network. A proxy may name a client by something that is no address.
    """
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return _UNKNOWN_ADDRESS
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(IPv6Network((int(address), _IPV6_PREFIX_LENGTH), strict=False).network_address)
    return str(address)


def counted_username(_request: HttpRequest, credentials: Mapping[str, Any] | None) -> str:
    """Return the account under which a failure counts (``AXES_USERNAME_CALLABLE``): the given name, bounded."""
    return str((credentials or {}).get("username") or "")[:_LONGEST_NAME]


def locked_until(request: Any, credentials: Mapping[str, Any] | None) -> datetime | None:
    """Return when this client may try this account again; None: now."""
    lifetime: timedelta = settings.AXES_COOLOFF_TIME
    failures = list(
        AccessAttempt.objects.filter(
            ip_address=request.axes_ip_address, attempt_time__gt=request.axes_attempt_time - lifetime
        )
        .order_by("-attempt_time")
        .values_list("username", "failures_since_start", "attempt_time")
    )
    username = counted_username(request, credentials)
    of_address = [(count, at) for _name, count, at in failures]
    of_account = [(count, at) for name, count, at in failures if name == username]
    ends = [reached_at(of_account, limit=settings.AXES_FAILURE_LIMIT), reached_at(of_address, limit=ADDRESS_LIMIT)]
    return max((end + lifetime for end in ends if end), default=None)


def reached_at(failures: Iterable[tuple[int, datetime]], *, limit: int) -> datetime | None:
    """Return the time of the failure at which a count from the newest to the oldest reaches the limit. Pure."""
    total = 0
    for count, at in failures:
        total += count
        if total >= limit:
            return at
    return None


def _describe(request: HttpRequest, username: str) -> dict[str, str]:
    """The client of a sign-in for the log. The client may have invented both texts."""
    return {"user": _printable(username), "address": _printable(request.META.get("REMOTE_ADDR", ""))}


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST_NAME])
