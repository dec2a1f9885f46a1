"""Waiting for a state of the world with a deadline: the only place of the tests that lets time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.03


def wait_for(look: Callable[[], T], *, what: str, timeout_seconds: float = 30) -> T:
    """Look until the answer is true and return it; fail saying ``what`` was awaited and what was seen last."""
    deadline = time.monotonic() + timeout_seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            message = f"waited {timeout_seconds:g} s for {what}; last seen: {seen!r}"
            raise AssertionError(message)
        time.sleep(_PAUSE_SECONDS)
    return seen
