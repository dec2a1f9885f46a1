"""What the tests of tokens share: an instant, the look of a token, and how one is made."""

import re
from datetime import UTC, datetime
from typing import Any

from runtimes import tokens
from runtimes.models import ApiToken

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
BEARER = re.compile(r"rtm_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


def make(name: str = "gm-main", *, caller: str = "gm", scopes: str = "read operate", **more: Any) -> tokens.IssuedToken:
    """A token that was just issued; it may read and operate, unless told otherwise."""
    return tokens.issue(ApiToken(name=name, caller=caller, scopes=scopes, created_by="test", **more))
