"""Prints each step of a command, with its outcome and duration."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.local.progress import dots, write

_WIDTH = 62


@dataclass(slots=True)
class Step:
    """One line of progress. The body of the step may set ``outcome`` to more than ``ok``."""

    title: str
    outcome: str = "ok"
    seconds: float = 0.0
    failed: bool = False


@dataclass(slots=True)
class Console:
    """Prints steps, and keeps them for the summary."""

    steps: list[Step] = field(default_factory=list)

    def say(self, text: str = "") -> None:
        """Print one line at once."""
        write(f"{text}\n")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Print the title, then dots while the block runs, then the outcome and the duration."""
        step = Step(title)
        self.steps.append(step)
        write(f"  {title} ")
        started = time.monotonic()
        try:
            with dots() as printed:
                yield step
        except BaseException:
            step.failed, step.outcome = True, "FAILED"
            raise
        finally:
            step.seconds = time.monotonic() - started
            filler = "." * max(2, _WIDTH - len(title) - len(printed))
            self.say(f"{filler} {step.outcome}  ({step.seconds:.1f} s)")

    @property
    def failed_step(self) -> Step | None:
        """The step that failed, or None."""
        return next((step for step in self.steps if step.failed), None)
