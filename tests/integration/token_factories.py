"""Helpers of the token tests: a time, the format of a token, and a factory."""

import re
from datetime import UTC, datetime
from typing import Any

from runtimes import api_tokens
from runtimes.models import ApiToken

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
BEARER = re.compile(r"rtm_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


def make(
    name: str = "gm-main", *, caller: str = "gm", scopes: str = "read operate", **more: Any
) -> api_tokens.IssuedToken:
    """Issue a token; by default with the scopes read and operate."""
    return api_tokens.issue(ApiToken(name=name, caller=caller, scopes=scopes, created_by="test", **more))
