"""Fair turns: contestants are measured in the same minutes, one after the other, round by round."""

from collections.abc import Callable, Iterable, Mapping
from itertools import count

Contestant = Callable[[], Iterable[float] | float]


def turn(names: Iterable[str], number: int) -> list[str]:
    """The order of round ``number``: each begins as often as the others, and each comes right after each other one
    equally often, for what one leaves to the next must not fall to the same one every time.

    That is a Williams design (E. J. Williams, 1949): balanced after as many rounds as there are names, or twice as many
    when their number is odd.
    """
    order = list(names)
    size = len(order)
    # 0, 1, n - 1, 2, n - 2 ...: each difference between neighbours comes once.
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(size)]
    row = [order[(step + number) % size] for step in zigzag]
    is_mirrored = size % 2 == 1 and number // max(size, 1) % 2 == 1
    return row[::-1] if is_mirrored else row


def every(rounds: int, contestant: Contestant) -> Contestant:
    """One that takes part in the first round and in each such round after it, and sits out the others: for what takes
    long to set up.
    """
    number = count()

    def take_part_or_not() -> Iterable[float] | float:
        return [] if next(number) % rounds else contestant()

    return take_part_or_not


def interleave(
    contestants: Mapping[str, Contestant], *, rounds: int, progress: Callable[[str], None] = lambda _text: None
) -> dict[str, tuple[float, ...]]:
    """Let each have its turn in every round; returns all samples of each, by name.

    A contestant returns one sample or several, in its own unit. What it raises ends everything.
    """
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in turn(contestants, number):
            progress(f"round {number + 1} of {rounds}: {name}")
            found = contestants[name]()
            samples[name] += [found] if isinstance(found, int | float) else list(found)
    return {name: tuple(found) for name, found in samples.items()}
