"""The result of a check: its status, what was found, and what to do about it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

F = TypeVar("F")


class Status(StrEnum):
    """``warning``: works, but is not right for production. ``failed``: does not work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One result. ``advice`` is empty if no action is needed."""

    name: str
    status: Status
    found: str
    advice: str = ""


# A result without its name: status, what was found, advice.
Result = tuple[Status, str, str]


def ok(found: str) -> Result:
    return Status.OK, found, ""


def warn(found: str, advice: str) -> Result:
    return Status.WARNING, found, advice


def fail(found: str, advice: str) -> Result:
    return Status.FAILED, found, advice


def run_each(checks: Mapping[str, Callable[[F], Result]], facts: F) -> Iterator[Check]:
    """Run each of these checks on the facts, in order."""
    return (Check(name, *check(facts)) for name, check in checks.items())
