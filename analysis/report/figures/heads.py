"""Figures of heads: by the primary measure, by every measure, of several models, and over layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import LayerReading, MapReading, Reference
from beholder.analysis.report.figures.marks import (
    REFERENCE_LABELS,
    draw_bands,
    draw_dumbbell,
    draw_interval,
    drawn_references,
    limit_to,
    name_rows,
    towards_people,
)
from beholder.analysis.report.figures.style import BLUE, INK, SOFT, WIDTH_IN, in_house_style
from beholder.analysis.report.labels import head_label, measure_label
from beholder.analysis.results.map_names import head_number


@in_house_style
def draw_heads(sound: LayerReading) -> Figure:
    """Every head with its interval, the same head's attention on other pictures, and bands for the references."""
    order = [sound.head(h) for h in sound.ranked]
    figure = Figure(figsize=(WIDTH_IN, 1.7 + 0.3 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    references = drawn_references(sound)
    limit_to(axes, order, references, margin=0.2)
    draw_bands(axes, references)
    closest = {sound.ranked[0], *sound.ties}
    for row, head in enumerate(order):
        draw_dumbbell(axes, row, head, BLUE if head.map in closest else INK)
    name_rows(axes, [head_label(h.map) for h in order], bold={0})
    axes.set_ylim(len(order) - 0.4, -1.15)
    first = order[0]
    if first.shuffled is not None:
        on_the_left = first.value.mean <= first.shuffled.mean
        for estimate, text, colour, left in (
            (first.value, "on the picture that was seen", BLUE, on_the_left),
            (first.shuffled, "on other pictures: chance", SOFT, not on_the_left),
        ):
            axes.annotate(
                text, (estimate.mean, 0), xytext=(-3 if left else 3, 9), textcoords="offset points", va="bottom",
                ha="right" if left else "left", color=colour, fontsize=8.5, annotation_clip=False,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )  # fmt: skip
    towards_people(axes, sound.measure)
    return figure


@in_house_style
def draw_measures(sounds: Sequence[LayerReading]) -> Figure:
    """Every head by every measure at the fixed sigma, heads in the order of their numbers."""
    heads = [h.map for h in sounds[0].heads]
    columns = min(2, len(sounds))
    rows = -(-len(sounds) // columns)
    figure = Figure(figsize=(WIDTH_IN, rows * (1.3 + 0.21 * len(heads))), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, sound in zip(grid.flat, sounds, strict=False):
        references = drawn_references(sound)
        limit_to(axes, sound.heads, references, margin=0.06)
        draw_bands(axes, references, size=7)
        closest = {sound.ranked[0], *sound.ties}
        for row, head in enumerate(sound.heads):
            draw_dumbbell(axes, row, head, BLUE if head.map in closest else INK)
        name_rows(axes, [head_label(h) for h in heads])
        axes.set_ylim(len(heads) - 0.4, -1.0)
        axes.set_title(MEASURES[sound.measure].label + (" (primary)" if sound.primary else ""), pad=33)
        towards_people(axes, sound.measure, short=True)
    for axes in list(grid.flat)[len(sounds) :]:
        axes.remove()
    return figure


@in_house_style
def draw_models(readings: Sequence[tuple[str, LayerReading]]) -> Figure:
    """Models side by side by the primary measure: closest head, mean of heads, the network with random weights.

    readings: each model's label, and the layer shown of it. Bands are the references that depend on no network.
    """
    rows: list[tuple[str, MapReading | Reference, str]] = []
    for label, sound in readings:
        rows.append((f"{label}: {head_label(sound.ranked[0])}", sound.best, BLUE))
        rows += [(head_label(m.map), m, INK) for m in sound.summaries]
        rows += [(REFERENCE_LABELS[r.map], r, SOFT) for r in sound.references if r.map == "random"]
    main = readings[0][1]
    references = [r for r in drawn_references(main) if r.map != "random"]
    figure = Figure(figsize=(WIDTH_IN, 1.5 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    limit_to(axes, [r for _, r, _ in rows if isinstance(r, MapReading)], references, margin=0.1)
    draw_bands(axes, references)
    for row, (_, reading, colour) in enumerate(rows):
        if isinstance(reading, MapReading):
            draw_dumbbell(axes, row, reading, colour)
        else:
            draw_interval(axes, row, reading.value, colour)
    name_rows(axes, [name for name, _, _ in rows], bold={i for i, r in enumerate(rows) if r[2] == BLUE})
    axes.set_ylim(len(rows) - 0.4, -0.8)
    towards_people(axes, main.measure)
    return figure


@in_house_style
def draw_layers(readings: Sequence[tuple[str, Sequence[LayerReading]]]) -> Figure:
    """Heads by layers, one tile map a model, the same colours for all models.

    A tile has the share of the way, in %, from the fitted centre bias (one floor for all heads) to the other viewers,
    else the gain over chance, else the score: see `shown_by_layers`. readings: each model's label, and its layers.
    """
    what = shown_by_layers(readings)
    shares, gains = what == "share", what != "score"

    def shown(h: MapReading) -> float:
        if shares and h.share_over_centre.ratio is not None:
            return 100 * h.share_over_centre.ratio.ratio
        return h.gain.mean if gains and h.gain is not None else h.value.mean

    cells = [[[shown(h) for h in s.heads] for s in sounds] for _, sounds in readings]
    every = np.array([v for model in cells for layer in model for v in layer])
    low, high = min(0.0, float(every.min())) if gains else float(every.min()), float(every.max())
    measure = readings[0][1][0].measure
    lower_is_closer = not gains and MEASURES[measure].closer == "lower"
    colours = mpl.colormaps["viridis_r" if lower_is_closer else "viridis"]
    heights = [0.75 + 0.3 * len(sounds) for _, sounds in readings]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.6), layout="constrained")
    grid = figure.subplots(len(readings), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    image = None
    for axes, (label, sounds), values in zip(grid[:, 0], readings, cells, strict=True):
        table = np.array(values)
        image = axes.imshow(table, cmap=colours, vmin=low, vmax=high, aspect="auto")
        small = len(sounds[0].heads) > 16
        for (i, j), v in np.ndenumerate(table):
            share = (v - low) / (high - low) if high > low else 0.5
            dark = share > 0.6 if not lower_is_closer else share < 0.4
            if not small:
                text = f"{v:.0f}" if shares else f"{v:.2f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=INK if dark else "white")
        axes.set_title(label)
        axes.set_yticks(range(len(sounds)), [f"layer {s.layer}" for s in sounds])
        axes.set_xticks(range(len(sounds[0].heads)), [str(head_number(h.map)) for h in sounds[0].heads])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    grid[-1, 0].set_xlabel("head")
    assert image is not None
    unit = f" ({MEASURES[measure].unit})" if MEASURES[measure].unit else ""
    name = f"gain over chance{unit}" if gains else measure_label(measure)
    if shares:
        name = f"% of the way from the fitted centre bias to the other viewers, {MEASURES[measure].label}"
    bar = figure.colorbar(image, ax=list(grid[:, 0]), location="bottom", aspect=60, pad=0.04)
    bar.set_label(name)
    bar.outline.set_visible(False)
    return figure


def shown_by_layers(readings: Sequence[tuple[str, Sequence[LayerReading]]]) -> Literal["share", "gain", "score"]:
    """What `draw_layers` shows: the first of share, gain and score that every head of every layer has."""
    every_head = [h for _, sounds in readings for s in sounds for h in s.heads]
    if all(h.share_over_centre.ratio is not None for h in every_head):
        return "share"
    return "gain" if all(h.gain is not None for h in every_head) else "score"
