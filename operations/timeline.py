"""The timeline of an operation: its steps with when, how long and what went wrong, as operators read it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone

# The history of an operation that is tried again and again stays readable: the newest steps are kept, and the first
# one of each name, for "was this ever begun?" decides what a later attempt takes for its own doing.
MAX_STEPS = 100


class Timeline:
    """Records steps in order; those of earlier attempts stay in front."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self.steps = list(steps)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the block as one step; an exception is noted by its text and goes on."""
        entry: dict[str, Any] = {"name": name, "started_at": _rfc3339(), "duration_ms": None, "error": ""}
        self.steps = _bounded([*self.steps, entry])
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            entry["error"] = str(error)
            raise
        finally:
            entry["duration_ms"] = round((time.monotonic() - began) * 1000)

    def has(self, name: str) -> bool:
        """Whether a step of this name was begun, in this attempt or an earlier one."""
        return any(step["name"] == name for step in self.steps)

    def last_error_before(self, name: str) -> str:
        """The error of the last failed step before the first of this name; empty when there is none."""
        error = ""
        for step in self.steps:
            if step["name"] == name:
                break
            error = step["error"] or error
        return error


def _bounded(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(steps) <= MAX_STEPS:
        return steps
    first_places = {step["name"]: place for place, step in reversed(list(enumerate(steps)))}
    dropped = next((place for place, step in enumerate(steps) if first_places[step["name"]] != place), 0)
    return steps[:dropped] + steps[dropped + 1 :]


def _rfc3339() -> str:
    return timezone.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
