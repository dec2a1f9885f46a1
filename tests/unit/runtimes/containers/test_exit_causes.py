"""The cause of an exit: Docker only if the times prove it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.containers.base import Container, ContainerState
from runtimes.containers.exit_causes import DockerStart, exit_cause
from runtimes.states import EndedBy

GRACE = timedelta(seconds=30)
# The grace, and what a shutdown of Docker may take beyond it.
TOLERANCE = timedelta(seconds=45)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
ENDED = Container("c1", "galaxy-game-g1", ContainerState.EXITED, started_at=NOON - HOUR, finished_at=NOON)
# Docker answered until noon and was back five seconds later.
RESTART = DockerStart(NOON + 5 * SECOND, up_until=NOON)

moments = st.integers(-100_000, 100_000).map(lambda seconds: NOON + seconds * SECOND)
maybe_moments = st.none() | moments
starts = st.lists(st.builds(DockerStart, moments, maybe_moments), max_size=5)
ends = st.builds(
    replace,
    st.just(ENDED),
    started_at=maybe_moments,
    finished_at=maybe_moments,
    exit_code=st.sampled_from([0, 1, 3, 137, 143, 255]),
    oom_killed=st.booleans(),
)


def cause(container: Container, *engine_starts: DockerStart) -> EndedBy:
    return exit_cause(container, engine_starts, stop_grace=GRACE)


@pytest.mark.parametrize("exit_code", [0, 3, 137, 143, 255])
def test_a_container_that_ended_while_docker_was_down_ended_with_docker(exit_code: int) -> None:
    assert cause(replace(ENDED, exit_code=exit_code), RESTART) == EndedBy.DOCKER_RESTARTED


@pytest.mark.parametrize(
    ("exit_code", "oom_killed", "expected"),
    [
        (0, False, EndedBy.EXITED),
        (3, False, EndedBy.EXITED),
        (137, False, EndedBy.KILLED),
        (143, False, EndedBy.KILLED),
        (137, True, EndedBy.OUT_OF_MEMORY),
        # The kernel killed a child; the engine kept running and exited later.
        (1, True, EndedBy.EXITED),
    ],
)
def test_without_a_restart_the_exit_code_decides(exit_code: int, oom_killed: bool, expected: EndedBy) -> None:  # noqa: FBT001
    assert cause(replace(ENDED, exit_code=exit_code, oom_killed=oom_killed)) == expected


def test_the_engines_grace_to_end_counts_as_part_of_the_shutdown() -> None:
    early = replace(ENDED, finished_at=NOON - TOLERANCE)

    assert cause(early, RESTART) == EndedBy.DOCKER_RESTARTED
    assert cause(replace(early, finished_at=NOON - TOLERANCE - SECOND), RESTART) == EndedBy.EXITED


def test_of_several_restarts_the_one_in_between_counts() -> None:
    later = DockerStart(NOON + HOUR, up_until=NOON + HOUR - 10 * SECOND)

    assert cause(ENDED, later) == EndedBy.EXITED
    assert cause(ENDED, later, RESTART) == EndedBy.DOCKER_RESTARTED


@given(ends, moments, st.integers(46, 100_000), st.integers(0, 3600))
def test_a_crash_well_before_the_restart_is_the_games_own(
    container: Container, finished_at: datetime, earlier: int, down: int
) -> None:
    up_until = finished_at + earlier * SECOND

    crashed = replace(container, finished_at=finished_at)

    assert cause(crashed, DockerStart(up_until + down * SECOND, up_until)) != EndedBy.DOCKER_RESTARTED


@given(ends, starts)
def test_a_crash_after_the_restart_is_the_games_own(container: Container, engine_starts: list[DockerStart]) -> None:
    before = [
        one for one in engine_starts if container.finished_at is not None and one.started_at < container.finished_at
    ]

    assert cause(container, *before) != EndedBy.DOCKER_RESTARTED


@given(ends, starts)
def test_a_container_started_after_docker_did_not_exit_with_it(
    container: Container, engine_starts: list[DockerStart]
) -> None:
    older = [
        one for one in engine_starts if container.started_at is not None and one.started_at <= container.started_at
    ]

    assert cause(container, *older) != EndedBy.DOCKER_RESTARTED


@given(ends, starts)
def test_what_is_unknown_is_never_taken_for_a_restart(container: Container, engine_starts: list[DockerStart]) -> None:
    unseen = [replace(one, up_until=None) for one in engine_starts]

    assert cause(container, *unseen) != EndedBy.DOCKER_RESTARTED
    assert cause(replace(container, started_at=None), *engine_starts) != EndedBy.DOCKER_RESTARTED
    assert cause(replace(container, finished_at=None), *engine_starts) != EndedBy.DOCKER_RESTARTED


@given(st.integers(1, 10**6), st.floats(0, 60), st.floats(0, 45), st.floats(0, 3600), starts)
def test_every_game_that_docker_took_along_is_recognised(
    age: int, unwatched: float, shutdown: float, down: float, others: list[DockerStart]
) -> None:
    """The last pulse is ``unwatched`` seconds before the shutdown, in which the game takes ``shutdown`` to end."""
    game = replace(ENDED, started_at=NOON - age * SECOND, finished_at=NOON + shutdown * SECOND)
    restart = DockerStart(NOON + (shutdown + down) * SECOND, up_until=NOON - unwatched * SECOND)

    assert cause(game, *others, restart) == EndedBy.DOCKER_RESTARTED


@given(ends, starts)
def test_the_order_of_the_starts_decides_nothing(container: Container, engine_starts: list[DockerStart]) -> None:
    assert cause(container, *engine_starts) == cause(container, *reversed(engine_starts))
