"""A loop command with a loop that hangs for ever in its second pass; started as a process by a test."""

import os
import threading
from collections.abc import Sequence

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")
django.setup()

from tasks.loops.base import Loop, LoopCommand  # noqa: E402 - needs Django's settings


class Hanging(Loop):
    """Works once, then waits for what never comes."""

    name = "hanging"

    def __init__(self) -> None:
        super().__init__()
        self._passes = 0

    def step(self) -> float:
        """See Loop."""
        self._passes += 1
        if self._passes > 1:
            self.wait_for_ever()
        return 0.0

    def wait_for_ever(self) -> None:
        """What the stack in the log must name."""
        threading.Event().wait()

    def close(self) -> None:
        """See Loop."""


class Command(LoopCommand):
    """Run it."""

    def loops(self) -> Sequence[Loop]:
        """The loop that hangs."""
        return [Hanging()]


if __name__ == "__main__":
    call_command(Command())
