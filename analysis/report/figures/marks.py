"""Marks that several figures share: intervals, dumbbells, bands for references, names of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import LayerReading, MapReading, Reference
from beholder.analysis.report.figures.style import FAINT, GREEN, ORANGE, PURPLE, SOFT
from beholder.analysis.statistics.crossed import Estimate

REFERENCE_COLOURS = {"centre": GREEN, "centre-fitted": "#00664b", "uniform": ORANGE, "object": PURPLE,
                     "random": SOFT, "others": "#5b3a8e"}  # fmt: skip


REFERENCE_LABELS = {
    "centre": "centre Gaussian", "centre-fitted": "centre bias, fitted", "uniform": "even spread",
    "object": "the object, evenly", "random": "random weights", "others": "other viewers",
}  # fmt: skip


def _edge(estimate: Estimate, left: bool) -> float:
    edge = estimate.low if left else estimate.high
    return estimate.mean if edge is None else edge


def draw_interval(axes: Axes, row: float, estimate: Estimate, colour: str, *, filled: bool = True) -> None:
    """Draw a mean with its interval in a row: a dot on a bar, hollow and thin where not `filled`."""
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [row, row], color=colour, lw=2.2 if filled else 1.3, zorder=3)
    axes.plot(
        estimate.mean,
        row,
        "o",
        ms=6.5 if filled else 5,
        mfc=colour if filled else "white",
        mec=colour,
        mew=1.2,
        zorder=4,
    )


def draw_dumbbell(axes: Axes, row: float, head: MapReading, colour: str) -> None:
    """Draw a head's score and, hollow, the score of its attention on other pictures, joined by a line."""
    if head.shuffled is not None:
        axes.plot([head.value.mean, head.shuffled.mean], [row, row], color=FAINT, lw=0.9, zorder=1)
        draw_interval(axes, row, head.shuffled, SOFT, filled=False)
    draw_interval(axes, row, head.value, colour)


def drawn_references(sound: LayerReading) -> list[Reference]:
    """The references that a figure shows.

    Of two Gaussians at the centre, only the fitted one, which is the stronger; the object not for measures where the
    zeros outside it decide its score; other viewers not for measures without a ceiling.
    """
    maps = {r.map for r in sound.references}
    hidden = {"centre"} if "centre-fitted" in maps else set()
    hidden |= {"object"} if sound.measure in ("kl", "ig") else set()
    hidden |= {"others"} if MEASURES[sound.measure].no_best_map else set()
    return [r for r in sound.references if r.map not in hidden]


def limit_to(axes: Axes, heads: Sequence[MapReading], references: Sequence[Reference], margin: float) -> None:
    """Set the range to hold the heads, and those references that lie no farther off than the heads' range is wide."""
    shown = [e for h in heads for e in (h.value, h.shuffled) if e is not None]
    low, high = min(_edge(e, True) for e in shown), max(_edge(e, False) for e in shown)
    span = (high - low) or 1.0
    near = [r.value for r in references if low - span <= r.value.mean <= high + span]
    low, high = min([low, *(_edge(e, True) for e in near)]), max([high, *(_edge(e, False) for e in near)])
    span = (high - low) or 1.0
    axes.set_xlim(low - margin * span, high + margin * span)


def draw_bands(axes: Axes, references: Sequence[Reference], size: float = 8.5) -> None:
    """Draw a vertical band for each reference's interval with its name above, neighbours' names at three heights.

    A reference beyond the range is named at that edge with its value.
    """
    low, high = axes.get_xlim()
    for i, reference in enumerate(sorted(references, key=lambda r: r.value.mean)):
        colour, e, label = REFERENCE_COLOURS[reference.map], reference.value, REFERENCE_LABELS[reference.map]
        height = 2 + (i % 3) * (size + 2)
        if low <= e.mean <= high:
            place, x, alignment = label, e.mean, "center"
            if e.low is not None and e.high is not None:
                axes.axvspan(e.low, e.high, color=colour, alpha=0.13, lw=0, zorder=0)
            axes.axvline(e.mean, color=colour, lw=1.2, zorder=0)
        elif e.mean < low:
            place, x, alignment = f"← {label}: {e.mean:.2f}", low, "left"
        else:
            place, x, alignment = f"{label}: {e.mean:.2f} →", high, "right"
        axes.annotate(
            place,
            (x, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, height),
            textcoords="offset points",
            ha=alignment,
            va="bottom",
            color=colour,
            fontsize=size,
        )


def name_rows(axes: Axes, names: Sequence[str], bold: set[int] | None = None) -> None:
    """Write names at the left of the rows; those of the rows in `bold` in bold."""
    axes.set_yticks(range(len(names)), names)
    for i in bold or ():
        axes.get_yticklabels()[i].set_fontweight("bold")
    axes.hlines(range(len(names)), 0, 1, colors="#eef0f3", lw=0.8, zorder=0, transform=axes.get_yaxis_transform())


def towards_people(axes: Axes, measure: str, *, short: bool = False) -> None:
    """Label the axis of scores, with an arrow that says which side is closer to people."""
    m = MEASURES[measure]
    unit = f" ({m.unit})" if m.unit else ""
    arrow = "← closer to people" if m.closer == "lower" else "closer to people →"
    axes.set_xlabel(f"{arrow}" if short else f"{m.label}{unit}      {arrow}")
    axes.xaxis.set_major_locator(MaxNLocator(5 if short else 7))


def label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the ends of curves at `x`, moved apart evenly where they would overlap.

    ends: height, colour and name of each curve.
    """
    low, high = axes.get_ylim()
    gap = 0.085 * (high - low)
    placed: list[float] = []
    for y, _, _ in sorted(ends):
        placed.append(max(y, placed[-1] + gap) if placed else y)
    moved = np.mean([at - y for at, (y, _, _) in zip(placed, sorted(ends), strict=True)]) if ends else 0.0
    for at, (_, colour, text) in zip(np.array(placed) - moved, sorted(ends), strict=True):
        axes.annotate(
            text,
            (x, at),
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
        )
