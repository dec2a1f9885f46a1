"""The same actions with a log of ten operations and with one of a million."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.contest import Contest, Contestant
from bench.inside.asked import Inside
from bench.report.figure import Goal
from bench.rivals.queues import socket_of
from bench.testbed import rows
from bench.testbed.databases import migrated
from bench.testbed.testbed import PYTHON, Testbed, Testbeds

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


@contextmanager
def growth(testbeds: Testbeds, each: int) -> Iterator[Contest]:
    """Every action ``each`` times on both databases, in the same rounds."""
    testbed = testbeds.get()
    many = _QUICK_MANY if testbeds.quick else _MANY
    contestants: dict[str, Contestant] = {}
    with ExitStack() as opened:
        for count in (_FEW, many):
            testbeds.progress(f"writing {count:,} operations")
            inside = opened.enter_context(_installation(testbed, count))
            for title, (name, arguments) in _WORKLOADS.items():
                contestants[_named(title, count)] = _turn(inside, name, arguments, each)
        yield Contest(
            "The log grows",
            "ms",
            contestants,
            tuple(
                Goal(f"{title}, {many:,} rows ÷ {_FEW}", (_named(title, many),), (_named(title, _FEW),), limit=_LIMIT)
                for title in _WORKLOADS
            ),
            notes=[
                (
                    f"Two databases on one PostgreSQL: {_FEW} finished operations, and {many:,} of "
                    f"{min(many, _GAMES):,} games. The game that is read has ten operations in both."
                ),
                "Reading is from request to response inside the web application; claim and intake are with commit.",
            ],
        )


@contextmanager
def _installation(testbed: Testbed, count: int) -> Iterator[Inside]:
    with migrated(testbed, f"growth_{count}") as address:
        rows.fill_log(address, operations=count, games=min(count, _GAMES))
        # Notifications go to the logical database after this one, which no worker reads.
        redis_url = f"unix://{socket_of(testbed.streams)}?db={_DATABASE}"
        settings = {"DATABASE_URL": address, "REDIS_URL": redis_url, "API_AUTH": "network"}
        workspace = testbed.stack.workspace
        with Inside("bench.inside.growing", python=PYTHON, workspace=workspace, settings=settings) as inside:
            yield inside


def _turn(inside: Inside, name: str, arguments: Mapping[str, Any], times: int) -> Contestant:
    def turn() -> Sequence[float]:
        took: list[float] = inside.ask(name, times=times, **arguments)
        return took

    return turn


def _named(title: str, count: int) -> str:
    return f"{title}, {count:,} rows"
