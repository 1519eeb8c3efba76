"""The primary measure over viewing time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from beholder.analysis.findings.readings import LayerReading, WindowReading
from beholder.analysis.findings.windows import steps
from beholder.analysis.report.figures.marks import REFERENCE_COLOURS, REFERENCE_LABELS, label_ends
from beholder.analysis.report.figures.style import BLUE, FAINT, INK, WIDTH_IN, in_house_style
from beholder.analysis.report.labels import head_label, measure_label


@in_house_style
def draw_windows(windows: Sequence[WindowReading], sound: LayerReading) -> Figure:
    """The primary measure in windows of viewing time: every head, the closest one and the centre bias."""
    following = steps(windows)
    figure = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    axes = figure.add_subplot()
    middle = [(w.start_s + w.end_s) / 2 for w in following]
    ends = []
    for head in sound.heads:
        y = [next((r.value.mean for r in w.heads if r.map == head.map), np.nan) for w in following]
        axes.plot(middle, y, color=FAINT, lw=0.9, zorder=1)
    lines = [(sound.ranked[0], BLUE, head_label(sound.ranked[0])), ("mean", INK, head_label("mean"))]
    lines.append(("centre-fitted", REFERENCE_COLOURS["centre-fitted"], REFERENCE_LABELS["centre-fitted"]))
    for name, colour, label in lines:
        found = [next((r.value for r in (*w.heads, *w.references) if r.map == name), None) for w in following]
        if any(e is None for e in found):
            continue
        known = [e for e in found if e is not None]
        axes.plot(middle, [e.mean for e in known], color=colour, lw=1.8, zorder=3)
        for x, e in zip(middle, known, strict=True):
            if e.low is not None and e.high is not None:
                axes.plot([x, x], [e.low, e.high], color=colour, lw=1.1, zorder=2)
        ends.append((known[-1].mean, colour, label))
    label_ends(axes, middle[-1], ends)
    axes.grid(axis="y")
    axes.set_xlabel("viewing time (s), middle of the window")
    axes.set_ylabel(measure_label(sound.measure))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    return figure
