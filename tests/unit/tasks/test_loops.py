"""What keeps a loop going, with a clock that only takes notes."""

import threading
from collections.abc import Callable, Iterator

import pytest
import structlog
from django.db import OperationalError
from structlog.testing import capture_logs

from runtimes.exceptions import ServiceUnavailableError
from tasks.loops import Runner
from tasks.patience import LOOKS

LONGEST_PAUSE_SECONDS = 5.0


class Notebook(threading.Event):
    """A stop signal nobody waits on for long: it writes down the pauses and rings after the last pass."""

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


class Script:
    """A loop whose passes are written down beforehand: a pause, or an error to raise."""

    name = "script"

    def __init__(self, *passes: float | Exception) -> None:
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


def away(message: str = "Redis does not answer") -> ServiceUnavailableError:
    return ServiceUnavailableError(message)


def play(*passes: float | Exception) -> tuple[Script, list[float], list[structlog.typing.EventDict]]:
    script, notebook = Script(*passes), Notebook(passes=len(passes))
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        Runner(script, notebook).run()
    return script, notebook.pauses, list(logs)


def test_the_pause_between_two_passes_is_the_one_the_loop_asks_for() -> None:
    script, pauses, logs = play(0.0, 2.5, 1.0)

    assert pauses == [0.0, 2.5, 1.0]
    assert (script.resets, script.closed, logs) == (0, 1, [])


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    _, _, logs = play(0.0, away(" no route \n"), away(), away(), 0.0, 0.0)

    assert logs == [
        {"event": "loop_waits", "log_level": "warning", "loop": "script", "reason": "no route"},
        {"event": "loop_recovered", "log_level": "info", "loop": "script", "failed_passes": 3},
    ]


def test_the_next_outage_is_told_again() -> None:
    _, _, logs = play(away(), 0.0, OperationalError("server closed the connection"), 0.0)

    assert [line["event"] for line in logs] == ["loop_waits", "loop_recovered"] * 2


def test_the_database_being_away_is_an_outage_like_any_other() -> None:
    _, _, logs = play(OperationalError("server closed the connection unexpectedly\n"), 0.0)

    assert [line["event"] for line in logs] == ["loop_waits", "loop_recovered"]
    assert logs[0]["reason"] == "server closed the connection unexpectedly"


def test_a_defect_does_not_end_the_loop_and_is_told_with_its_traceback() -> None:
    defect = ZeroDivisionError("a defect")

    script, pauses, logs = play(defect, 0.0)

    assert (logs[0]["event"], logs[0]["log_level"], logs[0]["exc_info"]) == (
        "loop_failed_unexpectedly",
        "error",
        defect,
    )
    assert logs[1]["event"] == "loop_recovered"
    assert (len(pauses), script.closed) == (2, 1)


def test_a_failed_pass_makes_the_loop_forget_what_it_knew() -> None:
    script, _, _ = play(away(), ZeroDivisionError(), 0.0)

    assert script.resets == 2


def test_pauses_grow_with_each_failure_up_to_a_bound() -> None:
    _, pauses, _ = play(*(away() for _ in range(40)))

    full = [min(0.2 * 2**failures, LONGEST_PAUSE_SECONDS) for failures in range(40)]
    assert all(0.75 * most <= pause <= most for pause, most in zip(pauses, full, strict=True))


def test_after_a_recovery_pauses_begin_small_again() -> None:
    _, pauses, _ = play(*(away() for _ in range(6)), 0.0, away())

    assert pauses[-1] <= 0.2


def test_a_loop_that_is_told_to_stop_before_it_began_does_nothing_but_close() -> None:
    script, stopping = Script(), threading.Event()
    stopping.set()

    Runner(script, stopping).run()

    assert (script.resets, script.closed) == (0, 1)


@pytest.mark.parametrize("outcome", [lambda: 3600.0, away], ids=["idle", "in an outage"])
def test_a_loop_that_pauses_stops_at_once_when_asked(outcome: Callable[[], float | Exception]) -> None:
    stopping = PausedEvent()
    script = Script(*(outcome() for _ in range(100)))
    thread = threading.Thread(target=Runner(script, stopping).run)
    thread.start()
    assert stopping.pausing.wait(timeout=5)

    stopping.set()

    thread.join(timeout=5)
    assert not thread.is_alive()
    assert script.closed == 1


class PausedEvent(threading.Event):
    """A real stop signal that also says when somebody waits on it."""

    def __init__(self) -> None:
        super().__init__()
        self.pausing = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.pausing.set()
        return super().wait(timeout)


class Hanging(Script):
    """A loop whose pass does not end before the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = threading.Event(), threading.Event()

    def step(self) -> float:
        self.entered.set()
        self.let_go.wait(60)
        return 3600.0


@pytest.fixture
def hanging() -> Iterator[tuple[Runner, Hanging]]:
    loop, stopping = Hanging(), threading.Event()
    runner = Runner(loop, stopping)
    runner.start()
    assert loop.entered.wait(5)
    yield runner, loop
    loop.let_go.set()
    stopping.set()
    runner.join(timeout_seconds=5)


def test_a_pass_that_does_not_end_is_stuck_after_enough_looks(hanging: tuple[Runner, Hanging]) -> None:
    runner, _loop = hanging

    assert [runner.is_stuck() for _look in range(LOOKS + 1)] == [False] * LOOKS + [True]


def test_the_stack_tells_where_it_hangs(hanging: tuple[Runner, Hanging]) -> None:
    runner, _loop = hanging

    assert "in step\n    self.let_go.wait(60)" in runner.stack()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_whose_thread_has_died_is_stuck_as_well() -> None:
    class Dying(Script):
        def reset(self) -> None:
            raise RuntimeError

    runner = Runner(Dying(away()), threading.Event())
    runner.start()
    runner.join(timeout_seconds=5)

    assert [runner.is_stuck() for _look in range(LOOKS + 1)] == [False] * LOOKS + [True]
    assert runner.stack() == "the thread has ended"


def test_a_loop_that_pauses_between_two_passes_is_not_stuck() -> None:
    stopping = PausedEvent()
    runner = Runner(Script(3600.0), stopping)
    runner.start()
    assert stopping.pausing.wait(timeout=5)

    assert not any(runner.is_stuck() for _look in range(LOOKS * 3))

    stopping.set()
    runner.join(timeout_seconds=5)
