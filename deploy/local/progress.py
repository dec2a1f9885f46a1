"""Prints dots while something runs. Standard library only: ``venv.py`` uses it on a bare Python."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_DOT_EVERY_SECONDS = 2.0


@contextmanager
def dots() -> Iterator[list[str]]:
    """Print a dot every two seconds during the block. Yields the list of printed dots."""
    done = threading.Event()
    printed: list[str] = []

    def print_dots() -> None:
        while not done.wait(_DOT_EVERY_SECONDS):
            printed.append(".")
            write(".")

    thread = threading.Thread(target=print_dots, daemon=True)
    thread.start()
    try:
        yield printed
    finally:
        done.set()
        thread.join()


def write(text: str) -> None:
    """Write to standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
