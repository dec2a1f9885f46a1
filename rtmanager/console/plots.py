"""Numbers as small pictures, drawn on the server: they work without scripts, in any theme and for screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 600.0, 120.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a plot, in the units of its view box; ``label`` is what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Stacked bars over time. ``summary`` says in words what the picture shows."""

    bars: Sequence[Bar]
    highest: int
    summary: str
    width: float = _WIDTH
    height: float = _HEIGHT


def stacked(columns: Sequence[tuple[str, Sequence[tuple[str, int]]]], *, summary: str) -> Plot:
    """Columns from left to right, each a label and its parts (kind, count) from bottom to top."""
    highest = max((sum(count for _kind, count in parts) for _label, parts in columns), default=0)
    step = _WIDTH / max(len(columns), 1)
    bars = []
    for index, (label, parts) in enumerate(columns):
        top = _HEIGHT
        for kind, count in parts:
            height = _HEIGHT * count / highest if highest else 0.0
            top -= height
            if count:
                bars.append(Bar(index * step, top, step * 0.8, height, kind, f"{label}: {count} {kind}"))
    return Plot(bars, highest, summary)
