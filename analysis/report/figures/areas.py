"""Gaze and attention on the object and its parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from beholder.analysis.findings.readings import LayerReading, ObjectLift
from beholder.analysis.report.figures.marks import draw_interval, name_rows
from beholder.analysis.report.figures.style import BLUE, INK, SOFT, VERMILION, WIDTH_IN, in_house_style
from beholder.analysis.report.labels import head_label
from beholder.analysis.results.map_names import is_head


@in_house_style
def draw_areas(areas: pd.DataFrame, sound: LayerReading) -> Figure:
    """Shares of fixated time and of attention by part of the object; a tick marks the part's share of the picture."""
    own = areas[
        (areas["kind"] == "all") & areas["model"].isin(["", sound.model]) & areas["layer"].isin([0, sound.layer])
    ]
    sources = [("people", VERMILION, "people"), (sound.ranked[0], BLUE, head_label(sound.ranked[0])),
               ("mean", INK, head_label("mean"))]  # fmt: skip
    people = own[own["source"] == "people"].sort_values("share", ascending=False)
    parts = list(people["part"])
    figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.42 * len(parts)), layout="constrained")
    axes = figure.add_subplot()
    for at, (source, colour, label) in enumerate(sources):
        rows = own[own["source"] == source].set_index("part")
        for row, part in enumerate(parts):
            if part not in rows.index:
                continue
            value, y = rows.loc[part], row + (at - 1) * 0.2
            half = [100 * (value["area"] + v / 100) for v in (value["low_pp"], value["high_pp"])]
            ends = [v for v in half if np.isfinite(v)]
            if len(ends) == 2:
                axes.plot(half, [y, y], color=colour, lw=1.4, zorder=2)
            axes.plot(100 * value["share"], y, "o", ms=4.5, color=colour, zorder=3)
            if row == 0:
                axes.annotate(
                    label,
                    (max([100 * value["share"], *ends]), y),
                    xytext=(6, (1 - at) * 3),
                    textcoords="offset points",
                    va="center",
                    color=colour,
                    fontsize=8,
                    annotation_clip=False,
                )
            if at == 0:
                axes.plot([100 * value["area"]] * 2, [row - 0.35, row + 0.35], color=SOFT, lw=1.4, zorder=1)
    name_rows(axes, parts)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("% of fixated time, or of attention; grey tick: % of the picture's area")
    return figure


@in_house_style
def draw_lift(lifts: Sequence[ObjectLift]) -> Figure:
    """Each head's lift: attention on the object beyond the object's share of the area, with intervals over pictures."""
    figure = Figure(figsize=(WIDTH_IN, 1.2 + 0.27 * len(lifts)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=SOFT, lw=1)
    axes.annotate(
        "no more than its area",
        (0, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, 2),
        color=SOFT,
        textcoords="offset points",
        fontsize=8,
        va="bottom",
    )
    for row, found in enumerate(lifts):
        draw_interval(axes, row, found.lift_pp, BLUE if is_head(found.map) else INK)
    name_rows(axes, [head_label(found.map) for found in lifts])
    axes.set_ylim(len(lifts) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_xlabel("lift (percentage points): share of attention on the object minus its share of the area")
    axes.grid(axis="x")
    return figure
