"""Pictures of figures, as SVG. Only here matplotlib is met, which is installed for the benchmark alone."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.figure import Figure

_WIDTH, _ROW, _MARGIN = 8.0, 0.42, 1.1
_GRID = {"color": "#cccccc", "linewidth": 0.6}
_COLOURS = ("#1f6feb", "#d97706", "#4b5563", "#059669", "#b91c1c", "#7c3aed", "#0e7490", "#a16207")


def draw(figure: Figure, file: Path) -> None:
    """Write the picture of one figure. The same figure gives the same file."""
    mpl.rcParams.update({"svg.hashsalt": figure.key, "svg.fonttype": "none", "font.size": 9})
    height = _MARGIN + _ROW * len(figure.series) if figure.plot == "bars" else 3.6
    picture, axes = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
    {"bars": _bars, "lines": _lines, "cdf": _cdf}[figure.plot](figure, axes)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    picture.savefig(file, metadata={"Date": None}, facecolor="white")
    plt.close(picture)


def _bars(figure: Figure, axes: Axes) -> None:
    """Medians, with a whisker over the middle half."""
    names = [one.name for one in figure.series]
    medians = [one.median for one in figure.series]
    below = [one.median - one.low_quartile for one in figure.series]
    above = [one.high_quartile - one.median for one in figure.series]
    colours = [_COLOURS[index % len(_COLOURS)] for index in range(len(names))]
    axes.barh(names, medians, xerr=[below, above], color=colours, ecolor="#111111", capsize=2, height=0.6)
    axes.invert_yaxis()
    axes.grid(axis="x", **_GRID)
    axes.set_xlabel(f"{figure.series[0].unit}, median and middle half")


def _lines(figure: Figure, axes: Axes) -> None:
    """Samples in the order in which they were taken."""
    for colour, one in zip(_COLOURS, figure.series, strict=False):
        axes.plot(range(1, len(one.samples) + 1), one.samples, label=one.name, color=colour, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.grid(**_GRID)
    axes.set_ylabel(figure.series[0].unit)
    axes.legend(frameon=False)


def _cdf(figure: Figure, axes: Axes) -> None:
    """Which share of the samples is no greater than what."""
    for colour, one in zip(_COLOURS, figure.series, strict=False):
        shares = [(place + 1) / len(one.samples) for place in range(len(one.samples))]
        axes.step(sorted(one.samples), shares, where="post", label=one.name, color=colour, linewidth=1.2)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.grid(**_GRID)
    axes.set_xlabel(figure.series[0].unit)
    axes.set_ylabel("share of samples")
    axes.legend(frameon=False, loc="lower right")
