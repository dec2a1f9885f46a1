"""Handles SIGINT, SIGTERM and SIGHUP (Ctrl-C, `make stop`, a closed terminal) in the same way."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ShutdownRequested(KeyboardInterrupt):
    """One of the signals arrived; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def listen() -> None:
    """Raise ShutdownRequested on each of the signals, even if the shell made this process ignore Ctrl-C."""
    for number in _SIGNALS:
        signal.signal(number, _raise)


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore the signals in a block that must finish, such as a clean-up."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    raise ShutdownRequested(number)
