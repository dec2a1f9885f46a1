"""Ids of games that were not used before."""

import itertools

_numbers = itertools.count(1)


def fresh(prefix: str, count: int) -> list[str]:
    """Ids; no two calls in one run give the same."""
    return [f"{prefix}-{next(_numbers)}" for _ in range(count)]
