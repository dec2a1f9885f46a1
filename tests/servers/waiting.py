"""Waiting for a state of the world with a deadline: the only place of the tests that lets time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.03


def wait_for(condition: Callable[[], T], *, what: str, timeout_seconds: float = 30) -> T:
    """Poll until the result is true; return it. On timeout, fail with ``what`` and the last result."""
    deadline = time.monotonic() + timeout_seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            message = f"waited {timeout_seconds:g} s for {what}; last seen: {result!r}"
            raise AssertionError(message)
        time.sleep(_PAUSE_SECONDS)
    return result
