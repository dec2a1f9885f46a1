"""What keeps a loop running, with a stop event that only records the pauses."""

import threading
from collections.abc import Callable, Iterator

import pytest
import structlog
from django.db import OperationalError
from structlog.testing import capture_logs

from runtimes.exceptions import ServiceUnavailableError
from tasks.loops.base import Loop, LoopRunner
from tasks.stall_detector import CHECKS

LONGEST_PAUSE_SECONDS = 5.0


class RecordingEvent(threading.Event):
    """A stop event that records the pauses instead of waiting, and is set after the last pass."""

    def __init__(self, *, passes: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._passes = passes

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        if len(self.pauses) == self._passes:
            self.set()
        return self.is_set()


class Script(Loop):
    """A loop with given passes: each a pause to return or an error to raise."""

    name = "script"

    def __init__(self, *passes: float | Exception) -> None:
        super().__init__()
        self._passes: Iterator[float | Exception] = iter(passes)
        self.resets = 0
        self.closed = 0

    def step(self) -> float:
        outcome = next(self._passes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed += 1


def outage(message: str = "Redis does not answer") -> ServiceUnavailableError:
    return ServiceUnavailableError(message)


def run(*passes: float | Exception) -> tuple[Script, list[float], list[structlog.typing.EventDict]]:
    script, stopping = Script(*passes), RecordingEvent(passes=len(passes))
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        LoopRunner(script, stopping).run()
    return script, stopping.pauses, list(logs)


def test_the_loop_sets_the_pause_between_two_passes() -> None:
    script, pauses, logs = run(0.0, 2.5, 1.0)

    assert pauses == [0.0, 2.5, 1.0]
    assert (script.resets, script.closed, logs) == (0, 1, [])


def test_an_outage_is_logged_once_at_its_start_and_once_at_its_end() -> None:
    _, _, logs = run(0.0, outage(" no route \n"), outage(), outage(), 0.0, 0.0)

    assert logs == [
        {"event": "loop_interrupted", "log_level": "warning", "loop": "script", "reason": "no route"},
        {"event": "loop_recovered", "log_level": "info", "loop": "script", "failed_passes": 3},
    ]


def test_the_next_outage_is_logged_again() -> None:
    _, _, logs = run(outage(), 0.0, OperationalError("server closed the connection"), 0.0)

    assert [line["event"] for line in logs] == ["loop_interrupted", "loop_recovered"] * 2


def test_a_database_outage_is_an_outage_like_any_other() -> None:
    _, _, logs = run(OperationalError("server closed the connection unexpectedly\n"), 0.0)

    assert [line["event"] for line in logs] == ["loop_interrupted", "loop_recovered"]
    assert logs[0]["reason"] == "server closed the connection unexpectedly"


def test_a_defect_does_not_end_the_loop_and_is_logged_with_its_traceback() -> None:
    defect = ZeroDivisionError("a defect")

    script, pauses, logs = run(defect, 0.0)

    assert (logs[0]["event"], logs[0]["log_level"], logs[0]["exc_info"]) == (
        "loop_failed_unexpectedly",
        "error",
        defect,
    )
    assert logs[1]["event"] == "loop_recovered"
    assert (len(pauses), script.closed) == (2, 1)


def test_a_failed_pass_resets_the_loop() -> None:
    script, _, _ = run(outage(), ZeroDivisionError(), 0.0)

    assert script.resets == 2


def test_pauses_grow_with_each_failure_up_to_a_limit() -> None:
    _, pauses, _ = run(*(outage() for _ in range(40)))

    full = [min(0.2 * 2**failures, LONGEST_PAUSE_SECONDS) for failures in range(40)]
    assert all(0.75 * most <= pause <= most for pause, most in zip(pauses, full, strict=True))


def test_after_a_recovery_pauses_start_small_again() -> None:
    _, pauses, _ = run(*(outage() for _ in range(6)), 0.0, outage())

    assert pauses[-1] <= 0.2


def test_a_loop_stopped_before_its_first_pass_only_closes() -> None:
    script, stopping = Script(), threading.Event()
    stopping.set()

    LoopRunner(script, stopping).run()

    assert (script.resets, script.closed) == (0, 1)


@pytest.mark.parametrize("outcome", [lambda: 3600.0, outage], ids=["idle", "in an outage"])
def test_a_pausing_loop_stops_at_once(outcome: Callable[[], float | Exception]) -> None:
    stopping = PausedEvent()
    script = Script(*(outcome() for _ in range(100)))
    thread = threading.Thread(target=LoopRunner(script, stopping).run)
    thread.start()
    assert stopping.pausing.wait(timeout=5)

    stopping.set()

    thread.join(timeout=5)
    assert not thread.is_alive()
    assert script.closed == 1


class PausedEvent(threading.Event):
    """A real stop event that also shows when a thread waits on it."""

    def __init__(self) -> None:
        super().__init__()
        self.pausing = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.pausing.set()
        return super().wait(timeout)


class Hanging(Script):
    """A loop whose pass does not end before the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def step(self) -> float:
        self.entered.set()
        self.released.wait(60)
        return 3600.0


@pytest.fixture
def hanging() -> Iterator[tuple[LoopRunner, Hanging]]:
    loop, stopping = Hanging(), threading.Event()
    runner = LoopRunner(loop, stopping)
    runner.start()
    assert loop.entered.wait(5)
    yield runner, loop
    loop.released.set()
    stopping.set()
    runner.join(timeout=5)


def test_a_pass_that_does_not_end_is_stuck_after_enough_checks(hanging: tuple[LoopRunner, Hanging]) -> None:
    runner, _loop = hanging

    assert [runner.is_stuck() for _ in range(CHECKS + 1)] == [False] * CHECKS + [True]


def test_the_stack_shows_where_a_pass_hangs(hanging: tuple[LoopRunner, Hanging]) -> None:
    runner, _loop = hanging

    assert "in step\n    self.released.wait(60)" in runner.stack()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_whose_thread_died_is_stuck() -> None:
    class Dying(Script):
        def reset(self) -> None:
            raise RuntimeError

    runner = LoopRunner(Dying(outage()), threading.Event())
    runner.start()
    runner.join(timeout=5)

    assert [runner.is_stuck() for _ in range(CHECKS + 1)] == [False] * CHECKS + [True]
    assert runner.stack() == "the thread has ended"


def test_a_pausing_loop_is_not_stuck() -> None:
    stopping = PausedEvent()
    runner = LoopRunner(Script(3600.0), stopping)
    runner.start()
    assert stopping.pausing.wait(timeout=5)

    assert not any(runner.is_stuck() for _ in range(CHECKS * 3))

    stopping.set()
    runner.join(timeout=5)
