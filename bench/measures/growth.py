"""The same actions on a log of ten operations and on one of a million, in turns."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from bench import rows
from bench.databases import migrated
from bench.figure import Figure, Goal, Series
from bench.ground import PYTHON, Ground, Grounds
from bench.inside.asked import Inside
from bench.rivals.queues import socket_of
from bench.rounds import Contestant, interleave

_FEW, _MANY, _QUICK_MANY = 10, 1_000_000, 2_000
_GAMES = 10_000
_LIMIT = 1.2
_DATABASE = 8
_WORKLOADS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "GET of a record": ("get", {"game_id": rows.OBSERVED}),
    "one page of a game's log": ("list", {"game_id": rows.OBSERVED}),
    "a claim": ("claim", {}),
    "intake of 50 jobs": ("intake", {}),
}


def measure(grounds: Grounds) -> Figure:
    """Each action by turns on both."""
    ground = grounds.get()
    many, rounds, each = (_QUICK_MANY, 1, 3) if grounds.quick else (_MANY, 10, 12)
    series: list[Series] = []
    with ExitStack() as up:
        contestants = {}
        for count in (_FEW, many):
            grounds.progress(f"writing {count:,} operations")
            contestants[count] = _inside(ground, up, count)
        for title, (name, arguments) in _WORKLOADS.items():
            turns = {_named(title, count): _turn(one, name, arguments, each) for count, one in contestants.items()}
            interleave(turns, rounds=1)
            found = interleave(turns, rounds=rounds)
            grounds.progress(title)
            series += [Series.of(one, "ms", samples) for one, samples in found.items()]
    return Figure("growth", "The log grows", tuple(series), _goals(series, many), _notes(many))


def _inside(ground: Ground, up: ExitStack, count: int) -> Inside:
    address = up.enter_context(migrated(ground, f"growth_{count}"))
    rows.fill_log(address, operations=count, games=min(count, _GAMES))
    # The notifications go to the logical database after this one, which no worker reads.
    redis_url = f"unix://{socket_of(ground.streams)}?db={_DATABASE}"
    settings = {"DATABASE_URL": address, "REDIS_URL": redis_url, "API_AUTH": "network"}
    inside = Inside("bench.inside.growing", python=PYTHON, workspace=ground.stack.workspace, settings=settings)
    return up.enter_context(inside)


def _turn(inside: Inside, name: str, arguments: Mapping[str, Any], times: int) -> Contestant:
    def turn() -> Sequence[float]:
        took: list[float] = inside.ask(name, times=times, **arguments)
        return took

    return turn


def _named(title: str, count: int) -> str:
    return f"{title}, {count:,} rows"


def _goals(series: Sequence[Series], many: int) -> tuple[Goal, ...]:
    named = {one.name: one.median for one in series}
    return tuple(
        Goal(f"{title}, {many:,} rows against {_FEW}", named[_named(title, many)] / named[_named(title, _FEW)], _LIMIT)
        for title in _WORKLOADS
    )


def _notes(many: int) -> tuple[str, ...]:
    return (
        (
            f"Two databases on one PostgreSQL: {_FEW} finished operations, and {many:,} of {min(many, _GAMES):,} "
            "games. The game that is read has ten operations in both."
        ),
        "Reading is timed from request to answer inside the web application, claim and intake with their commit.",
    )
