"""Games that run, for measures that ask something of running games."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.ground import Ground
from bench.names import fresh


@contextmanager
def fleet(ground: Ground, size: int) -> Iterator[list[str]]:
    """Running games for the time of a block; returns their ids."""
    game_ids = fresh("fleet", size)
    mark = ground.results.mark()
    for game_id in game_ids:
        ground.start(game_id)
    ground.succeeded(since=mark, count=size)
    try:
        yield game_ids
    finally:
        ground.clear(game_ids)
