"""Figure of the scores over sigma, from the replication of the published analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import Curve, Replication
from beholder.analysis.report.figures.marks import label_ends
from beholder.analysis.report.figures.style import BLUE, FAINT, INK, SOFT, VERMILION, WIDTH_IN, in_house_style
from beholder.analysis.report.labels import AXIS_UNITS, head_label


@in_house_style
def draw_sigma(replications: Sequence[Replication], fixed_sigma: float) -> Figure:
    """Each measure against sigma: heads, their mean, and the shuffled pictures; dots mark the best sigma."""
    columns = min(2, len(replications))
    rows = -(-len(replications) // columns)
    figure = Figure(figsize=(WIDTH_IN, 2.75 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, found in zip(grid.flat, replications, strict=False):
        x = np.array(found.sigmas)
        one = found.curves[[c.map for c in found.curves].index(found.ranked[0])]
        for c in found.curves:
            axes.plot(x, _values(c), color=FAINT, lw=0.9)
        labels = [(one, BLUE, head_label(one.map), 1.6), (found.mean_curve, INK, "mean of heads", 2.2)]
        if found.shuffled_curve is not None:
            labels.append((found.shuffled_curve, VERMILION, "other pictures", 1.8))
        ends = []
        for c, colour, text, width in labels:
            y = _values(c)
            axes.plot(x, y, color=colour, lw=width, ls=(0, (4, 2)) if c is found.shuffled_curve else "-")
            if c.best_sigma is not None:
                at = found.sigmas.index(c.best_sigma)
                axes.plot(x[at], y[at], "o", ms=6, mfc="white" if c.at_edge else colour, mec=colour, mew=1.4, zorder=5)
            if np.isfinite(y).any():
                ends.append((float(y[np.isfinite(y)][-1]), colour, text))
        axes.axvline(fixed_sigma, color=SOFT, lw=0.8, ls=":", zorder=0)
        axes.annotate(
            "fixed σ",
            (fixed_sigma, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            color=SOFT,
            fontsize=7.5,
        )
        label_ends(axes, float(x[-1]), ends)
        axes.grid(axis="y")
        axes.set_title(MEASURES[found.measure].label)
        axes.set_xlabel(f"σ ({AXIS_UNITS[found.sigma_unit]})")
        axes.set_ylabel(f"{MEASURES[found.measure].unit or 'score'}, {MEASURES[found.measure].closer} is closer")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.tick_params(axis="y", labelcolor=SOFT)
    for axes in list(grid.flat)[len(replications) :]:
        axes.remove()
    return figure


def _values(c: Curve) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in c.mean], dtype=np.float64)
