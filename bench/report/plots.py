"""Plots of figures, as SVG. The only module that needs matplotlib, which is installed for the benchmark alone."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.report.figure import Figure, flat, quantile

_WIDTH, _ROW, _MARGIN = 8.0, 0.42, 1.1
_GRID = {"color": "#cccccc", "linewidth": 0.6}
_COLOURS = ("#1f6feb", "#d97706", "#4b5563", "#059669", "#b91c1c", "#7c3aed", "#0e7490", "#a16207")


def draw(figure: Figure, file: Path) -> None:
    """Write the plot of one figure. The same figure gives the same file."""
    mpl.rcParams.update({"svg.hashsalt": figure.key, "svg.fonttype": "none", "font.size": 9})
    height = _MARGIN + _ROW * len(figure.series) if figure.plot == "bars" else 3.6
    picture, axes = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
    {"bars": _bars, "cdf": _cdf}[figure.plot](figure, axes)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    picture.savefig(file, metadata={"Date": None}, facecolor="white")
    plt.close(picture)


def _bars(figure: Figure, axes: Axes) -> None:
    """Medians, with a whisker over the middle half."""
    names = list(figure.series)
    quarters = [[quantile(figure.samples(name), share) for name in names] for share in (0.25, 0.5, 0.75)]
    low, medians, high = quarters
    below = [median - one for median, one in zip(medians, low, strict=True)]
    above = [one - median for median, one in zip(medians, high, strict=True)]
    colours = [_COLOURS[index % len(_COLOURS)] for index in range(len(names))]
    axes.barh(names, medians, xerr=[below, above], color=colours, ecolor="#111111", capsize=2, height=0.6)
    axes.invert_yaxis()
    axes.grid(axis="x", **_GRID)
    axes.set_xlabel(f"{figure.unit}, median and middle half")


def _cdf(figure: Figure, axes: Axes) -> None:
    """The share of the samples that do not exceed a value."""
    for colour, (name, rounds) in zip(_COLOURS, figure.series.items(), strict=False):
        samples = sorted(flat(rounds))
        shares = [(place + 1) / len(samples) for place in range(len(samples))]
        axes.step(samples, shares, where="post", label=name, color=colour, linewidth=1.2)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.grid(**_GRID)
    axes.set_xlabel(figure.unit)
    axes.set_ylabel("share of samples")
    axes.legend(frameon=False, loc="lower right")
