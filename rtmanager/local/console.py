"""What the person at the keyboard sees: each step with its outcome and duration, as it happens."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_WIDTH = 62
_DOT_EVERY_SECONDS = 2.0


@dataclass(slots=True)
class Step:
    """One line of progress. Whoever does the work may set ``outcome`` to say more than ``ok``."""

    title: str
    outcome: str = "ok"
    seconds: float = 0.0
    failed: bool = False


@dataclass(slots=True)
class Console:
    """Prints steps and remembers them for the summary."""

    steps: list[Step] = field(default_factory=list)

    def say(self, text: str = "") -> None:
        """One line, at once."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce, time and close a step; a dot every two seconds shows that it is alive."""
        step = Step(title)
        self.steps.append(step)
        sys.stdout.write(f"  {title} ")
        sys.stdout.flush()
        started = time.monotonic()
        try:
            with _dots() as written:
                yield step
        except BaseException:
            step.failed, step.outcome = True, "FAILED"
            raise
        finally:
            step.seconds = time.monotonic() - started
            filler = "." * max(2, _WIDTH - len(title) - len(written))
            self.say(f"{filler} {step.outcome}  ({step.seconds:.1f} s)")

    @property
    def failed_step(self) -> Step | None:
        """The step that failed, or None."""
        return next((step for step in self.steps if step.failed), None)


@contextmanager
def _dots() -> Iterator[list[str]]:
    done = threading.Event()
    written: list[str] = []

    def tick() -> None:
        while not done.wait(_DOT_EVERY_SECONDS):
            written.append(".")
            sys.stdout.write(".")
            sys.stdout.flush()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield written
    finally:
        done.set()
        thread.join()
