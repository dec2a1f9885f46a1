"""A run continues after an interruption, and no figure that fails ends it."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.contest import Contest, NotMeasurableError
from bench.report.figure import Goal
from bench.report.runs import Archive, Measurement, Outcome
from bench.session import Measure, Runner, Session, open_session, time_limit
from deploy.local.system.errors import LocalError

SETTING: Mapping[str, Any] = {
    "commit": "0123456789",
    "engine": "20.10.24",
    "machine": "2 cores",
    "names": ["starts", "rest", "swarm"],
    "quick": True,
}


@dataclass(slots=True)
class FakeTestbeds:
    """Counts how often it was closed."""

    quick: bool = True
    closed: int = 0

    def progress(self, text: str) -> None:
        """Print nothing."""

    def close(self) -> None:
        """Count."""
        self.closed += 1


@dataclass
class Bench:
    """A run in a folder of a test, with measures that it replaces."""

    folder: Path
    testbeds: FakeTestbeds = field(default_factory=FakeTestbeds)
    said: list[str] = field(default_factory=list)
    published: list[Measurement] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)

    @property
    def archive(self) -> Archive:
        return Archive(self.folder / "performance")

    @property
    def file(self) -> Path:
        return self.folder / "unfinished.json"

    def open(self, changes: Mapping[str, Any] | None = None, *, fresh: bool = False) -> Session:
        setting = {**SETTING, **(changes or {})}
        return open_session(self.file, setting, self.archive, say=self.said.append, fresh=fresh)

    def run(self, session: Session, **replaced: Measure) -> None:
        names = session.names
        measures = {name: replaced.get(name) or measure_of(partial(self._measured, name)) for name in names}
        Runner(
            session=session,
            testbeds=self.testbeds,
            measures=measures,
            archive=self.archive,
            load=lambda: 0.01,
            publish=self.published.append,
            say=self.said.append,
        ).run()

    def outcomes(self) -> list[tuple[str, str]]:
        return [(one.figure, one.outcome.value) for one in self.archive.attempts()]

    def _measured(self, name: str) -> float:
        self.measured.append(name)
        return 1.5


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def measure_of(contestant: Callable[[], float]) -> Measure:
    @contextmanager
    def measure(_testbeds: Any, _each: int) -> Iterator[Contest]:
        yield Contest("A figure", "ms", {"ours": contestant}, (Goal("median", ("ours",), limit=2),))

    return measure


def raising(error: BaseException) -> Measure:
    def contestant() -> float:
        raise error

    return measure_of(contestant)


def test_a_run_measures_logs_and_publishes_every_figure(bench: Bench) -> None:
    bench.run(bench.open())

    assert bench.outcomes() == [(name, "measured") for name in SETTING["names"]]
    assert [one.figure.series for one in bench.published] == [{"ours": ((1.5,),)}] * 3
    assert bench.published[0].attempt.load == (0.01, 0.01)
    assert not bench.file.exists()


def test_a_figure_that_fails_is_logged_with_its_reason_and_ends_no_other(bench: Bench) -> None:
    session = bench.open()

    bench.run(session, rest=raising(OSError("the engine is gone")))

    assert bench.outcomes() == [("starts", "measured"), ("rest", "failed"), ("swarm", "measured")]
    assert session.failed == {"rest": "OSError: the engine is gone"}
    assert bench.archive.attempts()[1].reason == "OSError: the engine is gone"


def test_the_figure_after_a_failure_gets_another_testbed(bench: Bench) -> None:
    bench.run(bench.open(), rest=raising(LocalError("network x stays in use")))

    assert bench.testbeds.closed == 1


def test_a_figure_that_cannot_be_measured_here_is_skipped_with_its_reason(bench: Bench) -> None:
    session = bench.open()

    bench.run(session, swarm=raising(NotMeasurableError("it is no engine of our own")))

    assert bench.outcomes()[-1] == ("swarm", "skipped")
    assert bench.said[-1] == "  skipped: it is no engine of our own"
    assert session.failed == {}


def test_an_interrupted_run_continues_with_the_figure_that_was_interrupted(bench: Bench) -> None:
    first = bench.open()
    with pytest.raises(KeyboardInterrupt):
        bench.run(first, rest=raising(KeyboardInterrupt()))

    second = bench.open()
    bench.run(second)

    assert second.run == first.run
    assert bench.measured == ["starts", "rest", "swarm"]
    assert bench.outcomes() == [
        ("starts", "measured"), ("rest", "interrupted"), ("rest", "measured"), ("swarm", "measured")
    ]  # fmt: skip
    assert f"continuing run {first.run}: 1 of 3 figures are done" in bench.said


def test_a_killed_run_continues_and_the_log_has_the_figure_at_which_it_was_killed(bench: Bench) -> None:
    killed = bench.open()
    killed.done["starts"] = Outcome.MEASURED.value
    killed.current = "rest"
    killed.save()

    bench.run(bench.open())

    assert bench.measured == ["rest", "swarm"]
    assert bench.outcomes() == [("rest", "interrupted"), ("rest", "measured"), ("swarm", "measured")]


def test_opening_a_killed_run_twice_logs_it_once(bench: Bench) -> None:
    killed = bench.open()
    killed.current = "rest"
    killed.save()

    bench.open()
    bench.open()

    assert bench.outcomes() == [("rest", "interrupted")]


def test_a_figure_that_failed_before_an_interruption_is_measured_again(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.run(bench.open(), starts=raising(OSError("busy")), rest=raising(KeyboardInterrupt()))

    second = bench.open()
    bench.run(second)

    assert bench.measured == ["starts", "rest", "swarm"]
    assert second.failed == {}


@pytest.mark.parametrize(("name", "value"), [
    ("commit", "fedcba9876"), ("machine", "4 cores"), ("names", ["starts"]), ("quick", False),
])  # fmt: skip
def test_a_run_of_another_setting_is_not_continued_and_the_reason_is_printed(
    bench: Bench, name: str, value: object
) -> None:
    first = bench.open()
    first.done["starts"] = Outcome.MEASURED.value
    first.save()

    second = bench.open({name: value})

    assert second.done == {}
    assert bench.said == [f"run {first.run} is not continued: it has another {name}"]


def test_a_fresh_start_on_request_measures_everything_again(bench: Bench) -> None:
    first = bench.open()
    first.done["starts"] = Outcome.MEASURED.value
    first.save()

    bench.run(bench.open(fresh=True))

    assert bench.measured == SETTING["names"]


def test_extra_time_that_was_used_stays_used_after_an_interruption(bench: Bench) -> None:
    first = bench.open()
    first.extra_seconds = 12.5
    first.save()

    assert bench.open().extra_seconds == 12.5


def test_the_file_of_a_run_says_what_is_measured_now(bench: Bench) -> None:
    current = []

    def contestant() -> float:
        current.append(json.loads(bench.file.read_text(encoding="utf-8"))["current"])
        return 1.0

    bench.run(bench.open(), rest=measure_of(contestant))

    assert current == ["rest"]


def test_a_time_limit_ends_a_wait() -> None:
    with pytest.raises(LocalError, match="it took longer than"), time_limit(0.001):
        # Never readable: only the alarm ends this.
        os.read(os.pipe()[0], 1)


def test_a_time_limit_ends_with_its_block() -> None:
    handler, (seconds, _interval) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)

    with time_limit(minutes=1000):
        pass

    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] <= seconds
