"""How a caller wants to be answered: ``Prefer`` (RFC 7240) and ``Idempotency-Key``."""

import re
from dataclasses import dataclass

from rest_framework.request import Request

from runtimes.exceptions import InvalidRequestError

PREFER_HEADER = "Prefer"
APPLIED_HEADER = "Preference-Applied"
KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
KEY_PATTERN = r"[\x21-\x7e]{1,255}"

_KEY = re.compile(KEY_PATTERN)
_SECONDS = re.compile(r"[0-9]{1,9}")
# Commas separate preferences but for those inside quotes.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the caller prefers; anything unknown or malformed was ignored, as a preference may be."""

    respond_async: bool = False
    wait_seconds: int | None = None

    def patience(self, longest_seconds: float) -> float:
        """How long to hold the call: as long as the caller wants, never longer than the service does."""
        if self.wait_seconds is not None:
            return min(self.wait_seconds, longest_seconds)
        return 0.0 if self.respond_async else longest_seconds

    def applied(self, longest_seconds: float) -> str:
        """The value of ``Preference-Applied`` on a 202; empty when nothing was preferred."""
        is_kept = self.wait_seconds is not None and self.wait_seconds <= longest_seconds
        applied = ["respond-async"] if self.respond_async else []
        return ", ".join([*applied, f"wait={self.wait_seconds}"] if is_kept else applied)


def read_preferences(request: Request) -> Preferences:
    """What the request prefers; of a preference named twice, the first counts."""
    found: dict[str, str] = {}
    for preference in _PREFERENCE.findall(request.headers.get(PREFER_HEADER, "")):
        name, _separator, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    return Preferences(
        respond_async="respond-async" in found, wait_seconds=int(wait) if _SECONDS.fullmatch(wait) else None
    )


def read_key(request: Request) -> str:
    """The idempotency key, empty when there is none. Raises InvalidRequestError for one that cannot be meant."""
    key: str | None = request.headers.get(KEY_HEADER)
    if key is None:
        return ""
    if not _KEY.fullmatch(key):
        message = f"{KEY_HEADER}: must be 1 to 255 visible ASCII characters"
        raise InvalidRequestError(message)
    return key
