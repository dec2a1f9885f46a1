"""Fair turns: contestants are measured in the same minutes, one after the other, round by round."""

from collections.abc import Callable, Iterable, Mapping

Contestant = Callable[[], Iterable[float] | float]


def turn(names: Iterable[str], number: int) -> list[str]:
    """The order of round ``number``: each begins as often as the others, so none always follows the same one."""
    order = list(names)
    first = number % len(order) if order else 0
    return order[first:] + order[:first]


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
