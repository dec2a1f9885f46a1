"""One meaning for every way of being told to end: Ctrl-C, `make stop`, a closed terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending(KeyboardInterrupt):
    """Somebody wants us to end; ``number`` is the signal that said so."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def listen() -> None:
    """From now on each of the signals raises. A shell may have told us to ignore Ctrl-C: this overrules it."""
    for number in _ENDING:
        signal.signal(number, _interrupt)


@contextmanager
def deaf() -> Iterator[None]:
    """A block that impatience cannot cut short, because what it leaves undone nobody else would do."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Ending(number)
