"""One run of the benchmark: all its figures in order, kept in a file after each, so that the next start continues."""

import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

from bench.contest import Contest, ExtraTime, NotMeasurableError, measure
from bench.plans import EXTRA_SECONDS, PLANS
from bench.report.figure import Figure
from bench.report.page import summary
from bench.report.runs import Archive, Attempt, Measurement, Outcome, goal_lines, write_json
from deploy.local.system.errors import LocalError


class Testbeds(Protocol):
    """What measures run on; see ``bench.testbed.testbed``."""

    quick: bool

    def progress(self, text: str) -> None:
        """Print a line about the progress."""

    def close(self) -> None:
        """Stop everything. Idempotent; never fails because of a clean-up."""


# Sets up, yields the contest, cleans up. Gets the samples that a contestant takes in a round.
Measure = Callable[[Any, int], AbstractContextManager[Contest]]


@dataclass(slots=True)
class Session:
    """The state of a run. ``setting``: commit, engine, machine and names of the figures; a run continues on the same.

    ``done`` has the outcome of each figure that needs no other attempt. ``current`` is the one that is being measured:
    if it is set when the file is opened, the process was killed.
    """

    file: Path
    run: str
    setting: Mapping[str, Any]
    extra_seconds: float = EXTRA_SECONDS
    done: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    current: str = ""

    @property
    def names(self) -> list[str]:
        """The figures of this run."""
        return list(self.setting["names"])

    def save(self) -> None:
        """Write the file."""
        state = {name: getattr(self, name) for name in ("run", "setting", "extra_seconds", "done", "failed", "current")}
        write_json(self.file, state)

    def attempt(self, figure: str, outcome: Outcome, **more: Any) -> Attempt:
        """A line of the log about a figure of this run."""
        setting = {name: self.setting[name] for name in ("commit", "engine", "machine")}
        return Attempt(run=self.run, at=now(), figure=figure, outcome=outcome, **setting, **more)


def open_session(
    file: Path, setting: Mapping[str, Any], archive: Archive, *, say: Callable[[str], None], fresh: bool = False
) -> Session:
    """Continue the unfinished run of the file if it has the same setting, else begin a run. Idempotent.

    A figure at which the process was killed gets its line in the log.
    """
    stored = Session(file=file, **json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None
    if stored and stored.current:
        reason = "the process ended without a clean-up"
        archive.append(stored.attempt(stored.current, Outcome.INTERRUPTED, reason=reason))
        stored.current = ""
        stored.save()
    if stored and not fresh:
        differing = [name for name, value in setting.items() if stored.setting.get(name) != value]
        if not differing:
            say(f"continuing run {stored.run}: {len(stored.done)} of {len(stored.names)} figures are done")
            return stored
        say(f"run {stored.run} is not continued: it has another {' and another '.join(differing)}")
    session = Session(file, now(), setting)
    session.save()
    return session


@dataclass(slots=True, kw_only=True)
class Runner:
    """Measures what is not done yet. ``load``: the share of the processors in use; ``publish`` gets each figure."""

    session: Session
    testbeds: Testbeds
    measures: Mapping[str, Measure]
    archive: Archive
    load: Callable[[], float]
    publish: Callable[[Measurement], None]
    say: Callable[[str], None]

    def run(self) -> None:
        """Measure all figures. One that fails has its reason in ``session.failed`` and ends no other.

        Deletes the file of the session at the end. After an interruption it stays, and KeyboardInterrupt is raised.
        """
        session = self.session
        session.failed.clear()
        for position, name in enumerate(session.names, start=1):
            self.say(f"\n{position} of {len(session.names)}: {name}")
            if name in session.done:
                self.say(f"  {session.done[name]} before the interruption")
                continue
            session.current = name
            session.save()
            attempt, figure = self._attempt(name)
            self._keep(attempt, figure)
            if attempt.outcome is Outcome.INTERRUPTED:
                raise KeyboardInterrupt
        session.file.unlink()

    def _attempt(self, name: str) -> tuple[Attempt, Figure | None]:
        session, began = self.session, time.monotonic()
        try:
            before = self.load()
            figure = self._measure(name)
            after = self.load()
        except NotMeasurableError as error:
            return session.attempt(name, Outcome.SKIPPED, reason=str(error)), None
        except KeyboardInterrupt:
            return session.attempt(name, Outcome.INTERRUPTED, reason="a signal"), None
        except Exception as error:  # noqa: BLE001 (whatever one figure meets, the others are measured; the log has it)
            traceback.print_exc()
            # What it left behind must not affect the next figure.
            self.testbeds.close()
            return session.attempt(name, Outcome.FAILED, reason=f"{type(error).__name__}: {error}"), None
        more = {"seconds": round(time.monotonic() - began, 1), "load": (before, after), "goals": goal_lines(figure)}
        return session.attempt(name, Outcome.MEASURED, **more), figure

    def _measure(self, name: str) -> Figure:
        plan = PLANS[name].quick() if self.testbeds.quick else PLANS[name]
        extra = ExtraTime(self.session.extra_seconds)
        with time_limit(plan.minutes), self.measures[name](self.testbeds, plan.each) as contest:
            figure = measure(name, contest, plan, extra=extra, progress=self.testbeds.progress)
        self.session.extra_seconds = extra.left
        return figure

    def _keep(self, attempt: Attempt, figure: Figure | None) -> None:
        session, name = self.session, attempt.figure
        self.archive.append(attempt)
        session.current = ""
        if attempt.outcome in {Outcome.MEASURED, Outcome.SKIPPED}:
            session.done[name] = attempt.outcome.value
        elif attempt.outcome is Outcome.FAILED:
            session.failed[name] = attempt.reason
        session.save()
        if figure is None:
            self.say(f"  {attempt.outcome}: {attempt.reason}")
            return
        self.publish(Measurement(attempt, figure))
        self.say(summary(figure))


@contextmanager
def time_limit(minutes: float) -> Iterator[None]:
    """Raise LocalError in the block after this time, also while it waits for a server. Main thread only."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise LocalError(f"it took longer than {minutes:g} minutes")

    handler = signal.signal(signal.SIGALRM, end)
    timer = signal.setitimer(signal.ITIMER_REAL, minutes * 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def now() -> str:
    """The time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
