"""What a check says: how it stands, what was found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """``warning``: it works, but not as it should in production. ``failed``: something does not work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict. ``advice`` is empty when there is nothing to do."""

    name: str
    status: Status
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name, Status.OK, found)


def warn(name: str, found: str, advice: str) -> Check:
    """It works for now."""
    return Check(name, Status.WARNING, found, advice)


def fail(name: str, found: str, advice: str) -> Check:
    """It does not work."""
    return Check(name, Status.FAILED, found, advice)
