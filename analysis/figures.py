"""The report's figures: what is drawn, in the house style. Drawing only; numbers come from findings/readings.py.

Each `draw_...` takes what it shows and returns a matplotlib Figure; `to_svg` and `to_png` turn one into bytes that are
the same for the same numbers. Colours: perceptually even or from the Okabe-Ito set, safe for colour-blind readers.
Text in SVG stays text, so that a journal can set it in its own font.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import Curve, Lift, MapReading, Reference, Replication, Sound, WindowReading
from beholder.analysis.statistics.crossed import Estimate
from beholder.shared.study import ExclusionSettings, LimitSettings

INK, SOFT, FAINT = "#1d1f24", "#6b7280", "#c9cdd4"
BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#a8578a"
REFERENCE_COLOURS = {"centre": GREEN, "centre-fitted": "#00664b", "uniform": ORANGE, "object": PURPLE,
                     "random": SOFT, "others": "#5b3a8e"}  # fmt: skip
REFERENCE_LABELS = {
    "centre": "centre Gaussian", "centre-fitted": "centre bias, fitted", "uniform": "even spread",
    "object": "the object, evenly", "random": "random weights", "others": "other viewers",
}  # fmt: skip
UNITS = {"deg": "°", "px": " px", "patch": " patches", "percent": " % of the width"}
AXIS_UNITS = {"deg": "degrees", "px": "px of the picture", "patch": "patches", "percent": "% of the picture's width"}

FONT = "DejaVu Sans"  # comes with matplotlib, so a figure is laid out alike everywhere
SVG_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
STYLE: dict[Any, Any] = {
    "font.family": [FONT],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": SOFT,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,  # names are a study's own: what stands between two dollars is no formula
    "xtick.color": SOFT,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.labelcolor": SOFT,
    "grid.color": "#e8eaee",
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "beholder",
    "path.simplify": True,
}
WIDTH_IN = 7.2
MOST_PARTICIPANTS = 100  # that have a row each in the figure of trials; of more, their spread is drawn

P = ParamSpec("P")
Drawn = TypeVar("Drawn", Figure, Figure | None)


def in_house_style(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Draw with the house style, whatever the reader's matplotlibrc says."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        with mpl.rc_context(_whole_style()):
            return draw(*args, **kwargs)

    return styled


def _whole_style() -> dict[Any, Any]:
    """The style over matplotlib's own defaults, not over the reader's; the backend stays as it is."""
    return {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")} | STYLE


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a date; text set in the reader's own interface font."""
    buffer = io.BytesIO()
    with mpl.rc_context(_whole_style()):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().replace(f"'{FONT}'".encode(), SVG_FONTS.encode())


def to_png(figure: Figure) -> bytes:
    """The figure as PNG at 300 dots per inch, without the program's name."""
    buffer = io.BytesIO()
    with mpl.rc_context(_whole_style()):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def head_label(name: str) -> str:
    """A `map` as it is read.

    >>> head_label("head-03"), head_label("mean")
    ('head 3', 'mean of heads')
    """
    return (
        f"head {int(name.removeprefix('head-'))}"
        if name.startswith("head-")
        else {"mean": "mean of heads"}.get(name, name)
    )


def measure_label(measure: str) -> str:
    """A measure with its unit and which way is closer, as an axis is labelled."""
    m = MEASURES[measure]
    unit = f" ({m.unit})" if m.unit else ""
    return f"{m.label}{unit}, {m.closer} is closer"


@in_house_style
def draw_heads(sound: Sound) -> Figure:
    """Every head with its interval, the same head's attention on other pictures, and bands for the references."""
    order = [sound.head(h) for h in sound.ranked]
    figure = Figure(figsize=(WIDTH_IN, 1.7 + 0.3 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    references = _drawn(sound)
    _limit_to(axes, order, references, margin=0.2)
    _bands(axes, references)
    closest = {sound.ranked[0], *sound.ties}
    for row, head in enumerate(order):
        _dumbbell(axes, row, head, BLUE if head.map in closest else INK)
    _name_rows(axes, [head_label(h.map) for h in order], bold={0})
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
    _towards_people(axes, sound.measure)
    return figure


@in_house_style
def draw_measures(sounds: Sequence[Sound]) -> Figure:
    """Every head by every measure at the fixed sigma, heads in the order of their numbers."""
    heads = [h.map for h in sounds[0].heads]
    columns = min(2, len(sounds))
    rows = -(-len(sounds) // columns)
    figure = Figure(figsize=(WIDTH_IN, rows * (1.3 + 0.21 * len(heads))), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, sound in zip(grid.flat, sounds, strict=False):
        references = _drawn(sound)
        _limit_to(axes, sound.heads, references, margin=0.06)
        _bands(axes, references, size=7)
        closest = {sound.ranked[0], *sound.ties}
        for row, head in enumerate(sound.heads):
            _dumbbell(axes, row, head, BLUE if head.map in closest else INK)
        _name_rows(axes, [head_label(h) for h in heads])
        axes.set_ylim(len(heads) - 0.4, -1.0)
        axes.set_title(MEASURES[sound.measure].label + (" (primary)" if sound.primary else ""), pad=33)
        _towards_people(axes, sound.measure, short=True)
    for axes in list(grid.flat)[len(sounds) :]:
        axes.remove()
    return figure


@in_house_style
def draw_windows(windows: Sequence[WindowReading], sound: Sound) -> Figure:
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
    _label_ends(axes, middle[-1], ends)
    axes.grid(axis="y")
    axes.set_xlabel("viewing time (s), middle of the window")
    axes.set_ylabel(measure_label(sound.measure))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    return figure


def steps(windows: Sequence[WindowReading]) -> list[WindowReading]:
    """The windows that follow one upon the other: those of the most common length, in order."""
    lengths = [round(w.end_s - w.start_s, 6) for w in windows]
    common = max(set(lengths), key=lambda length: (lengths.count(length), -length))
    return sorted((w for w, n in zip(windows, lengths, strict=True) if n == common), key=lambda w: w.start_s)


@in_house_style
def draw_areas(areas: pd.DataFrame, sound: Sound) -> Figure:
    """Shares of looking and of attention by part of the object, side by side; a tick marks the part's share of area."""
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
                axes.annotate(label, (max([100 * value["share"], *ends]), y), xytext=(6, (1 - at) * 3),
                              textcoords="offset points", va="center", color=colour, fontsize=8,
                              annotation_clip=False)  # fmt: skip
            if at == 0:
                axes.plot([100 * value["area"]] * 2, [row - 0.35, row + 0.35], color=SOFT, lw=1.4, zorder=1)
    _name_rows(axes, parts)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("% of fixated time, or of attention; grey tick: % of the picture's area")
    return figure


@in_house_style
def draw_models(readings: Sequence[tuple[str, Sound]]) -> Figure:
    """Models side by side by the primary measure: the closest head, the mean of heads, the network untrained.

    readings: the layer shown of each model, with its label. Bands are the references that know no network.
    """
    rows: list[tuple[str, MapReading | Reference, str]] = []
    for label, sound in readings:
        rows.append((f"{label}: {head_label(sound.ranked[0])}", sound.best, BLUE))
        rows += [(head_label(m.map), m, INK) for m in sound.summaries]
        rows += [(REFERENCE_LABELS[r.map], r, SOFT) for r in sound.references if r.map == "random"]
    main = readings[0][1]
    references = [r for r in _drawn(main) if r.map != "random"]
    figure = Figure(figsize=(WIDTH_IN, 1.5 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    _limit_to(axes, [r for _, r, _ in rows if isinstance(r, MapReading)], references, margin=0.1)
    _bands(axes, references)
    for row, (_, reading, colour) in enumerate(rows):
        if isinstance(reading, MapReading):
            _dumbbell(axes, row, reading, colour)
        else:
            _interval(axes, row, reading.value, colour)
    _name_rows(axes, [name for name, _, _ in rows], bold={i for i, r in enumerate(rows) if r[2] == BLUE})
    axes.set_ylim(len(rows) - 0.4, -0.8)
    _towards_people(axes, main.measure)
    return figure


@in_house_style
def draw_layers(readings: Sequence[tuple[str, Sequence[Sound]]]) -> Figure:
    """Heads by layers, one tile map a model, the same colours for all: the share of the way from the fitted centre
    bias, which is one floor for all heads, to the other viewers in %, or else the gain over chance, or else the score.
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
        axes.set_xticks(range(len(sounds[0].heads)), [str(int(h.map[-2:])) for h in sounds[0].heads])
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


def shown_by_layers(readings: Sequence[tuple[str, Sequence[Sound]]]) -> Literal["share", "gain", "score"]:
    """What `draw_layers` shows: the first of share, gain and score that every head of every layer has."""
    every_head = [h for _, sounds in readings for s in sounds for h in s.heads]
    if all(h.share_over_centre.ratio is not None for h in every_head):
        return "share"
    return "gain" if all(h.gain is not None for h in every_head) else "score"


@in_house_style
def draw_sigma(replications: Sequence[Replication], fixed_sigma: float) -> Figure:
    """Each measure against sigma: heads, their mean, and the shuffled pictures, each with its best sigma marked."""
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
        axes.annotate("fixed σ", (fixed_sigma, 1), xycoords=("data", "axes fraction"), xytext=(3, -2),
                      textcoords="offset points", va="top", color=SOFT, fontsize=7.5)  # fmt: skip
        _label_ends(axes, float(x[-1]), ends)
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


@in_house_style
def draw_lift(lifts: Sequence[Lift]) -> Figure:
    """How much more attention than area each head gives the object, with intervals over pictures."""
    figure = Figure(figsize=(WIDTH_IN, 1.2 + 0.27 * len(lifts)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=SOFT, lw=1)
    axes.annotate("no more than its area", (0, 1), xycoords=("data", "axes fraction"), xytext=(4, 2), color=SOFT,
                  textcoords="offset points", fontsize=8, va="bottom")  # fmt: skip
    for row, found in enumerate(lifts):
        _interval(axes, row, found.lift_pp, BLUE if found.map.startswith("head-") else INK)
    _name_rows(axes, [head_label(found.map) for found in lifts])
    axes.set_ylim(len(lifts) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_xlabel("lift (percentage points): share of attention on the object minus its share of the area")
    axes.grid(axis="x")
    return figure


@in_house_style
def draw_quality(quality: pd.DataFrame, trials: pd.DataFrame, limits: LimitSettings) -> Figure | None:
    """One row a participant, one panel a property of the recording, the study's limits drawn in.

    Filled: the eye whose gaze was analysed. None where nothing is known, as for imported fixations.
    """
    people = sorted({*quality["participant"], *trials["participant"]})
    panels = [p for p in _quality_panels(quality, trials, limits) if p[2].notna().any()]
    if not panels:
        return None
    row_in = 0.17 if len(people) <= 40 else 6.8 / len(people)
    figure = Figure(figsize=(WIDTH_IN, 1.0 + row_in * max(4, len(people))), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    rows = {person: i for i, person in enumerate(people)}
    for axes, (title, unit, values, limit) in zip(grid, panels, strict=True):
        known = values.dropna()
        used = known.index.get_level_values("used").to_numpy(dtype=bool)
        row = np.array([rows[str(person)] for person in known.index.get_level_values("participant")])
        beyond = np.zeros(len(known), bool) if limit is None else known.to_numpy() > limit
        small = 1.0 if len(people) <= MOST_PARTICIPANTS else 0.4
        for chosen, colour, size in ((~used, FAINT, 3.2), (used & ~beyond, INK, 4.2), (used & beyond, VERMILION, 4.3)):
            fill = colour if size > 4 else "white"
            axes.plot(known[chosen], row[chosen], "o", ms=size * small, mfc=fill, mec=colour, mew=small, zorder=size)
        if limit is not None:
            axes.axvline(limit, color=VERMILION, lw=1, ls=(0, (3, 2)))
            axes.annotate(
                f"limit {limit:g}", (limit, 0), xycoords=("data", "axes fraction"), xytext=(-2, 3), fontsize=7,
                textcoords="offset points", color=VERMILION, rotation=90, va="bottom", ha="right",
            )  # fmt: skip
        axes.set_title(title, fontsize=8)
        axes.set_xlabel(unit, fontsize=7.5)
        top = float(np.nanmax([values.max(), limit or 0]))
        axes.set_xlim(0, (top or 1.0) * 1.12)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.set_ylim(len(people) - 0.3, -0.7)
        if len(people) <= MOST_PARTICIPANTS:
            axes.hlines(range(len(people)), 0, 1, colors="#eef0f3", lw=0.8, zorder=0,
                        transform=axes.get_yaxis_transform())  # fmt: skip
    labels = people if len(people) <= 40 else []
    grid[0].set_yticks(range(len(labels)), labels, fontsize=7)
    grid[0].set_ylabel("participant")
    return figure


@in_house_style
def draw_trials(trials: pd.DataFrame, limits: LimitSettings, exclusion: ExclusionSettings) -> Figure | None:
    """Loss and drift of every trial in the order seen: a tile a trial, a row a participant; × where it was left out.

    Of more than MOST_PARTICIPANTS, the spread over participants by trial. None where neither is known.
    """
    placed = trials.sort_values(["participant", "run", "trial"], kind="stable")
    row, names = pd.factorize(placed["participant"])
    column = placed.groupby("participant").cumcount().to_numpy()

    def tiles(name: str) -> NDArray[np.float64]:
        values = np.full((len(names), column.max() + 1), np.nan)
        values[row, column] = placed[name]
        return values

    panels = [
        (title, unit, tiles(name), limit, least)
        for title, unit, name, limit, least in (
            ("loss", "% of samples", "loss_percent", exclusion.trial_loss_percent, 10.0),
            ("drift", "degrees", "drift_deg", exclusion.trial_drift_deg or limits.drift_deg, 1.0),
        )
        if trials[name].notna().any()
    ]
    if not panels:
        return None
    people = len(names)
    if people > MOST_PARTICIPANTS:
        return _trial_spread(panels)
    out = ~placed["included"].to_numpy()
    row_in = 0.17 if people <= 40 else 6.8 / people
    figure = Figure(figsize=(WIDTH_IN, 1.2 + row_in * max(4, people)), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, unit, values, _, least) in zip(grid, panels, strict=True):
        extent = (0.5, values.shape[1] + 0.5, people - 0.5, -0.5)
        image = axes.imshow(values, cmap="cividis_r", vmin=0, vmax=max(least, float(np.nanmax(values))), aspect="auto",
                            extent=extent, interpolation="nearest")  # fmt: skip
        axes.plot(column[out] + 1, row[out], "x", color=VERMILION, ms=min(5.0, 72 * row_in * 0.5), mew=1.3)
        axes.set_title(title)
        axes.set_xlabel("trial, in the order seen")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, location="bottom", aspect=40, pad=0.03)
        bar.set_label(unit)
        bar.outline.set_visible(False)
    labels = [str(name) for name in names] if people <= 40 else []
    grid[0].set_yticks(range(len(labels)), labels, fontsize=7)
    grid[0].set_ylabel("participant")
    return figure


def _trial_spread(panels: Sequence[tuple[str, str, NDArray[np.float64], float | None, float]]) -> Figure:
    """Median, 5 to 95 % and maximum over participants, trial by trial; values (participants, trials)."""
    figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
    for axes, (title, unit, values, limit, _) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        # Of a trial that nobody has a figure of, nothing is drawn.
        x = np.flatnonzero(np.isfinite(values).any(axis=0))
        low, median, high, most = np.nanquantile(values[:, x], [0.05, 0.5, 0.95, 1], axis=0)
        axes.fill_between(x + 1, low, high, color=BLUE, alpha=0.2, lw=0)
        axes.plot(x + 1, median, color=BLUE, lw=1.8)
        axes.plot(x + 1, most, "o", color=INK, ms=2.5)
        if limit is not None:
            axes.axhline(limit, color=VERMILION, lw=1, ls=(0, (3, 2)))
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("trial, in the order seen")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(axis="y", labelcolor=SOFT)
        axes.grid(axis="y")
    return figure


def _quality_panels(
    quality: pd.DataFrame, trials: pd.DataFrame, limits: LimitSettings
) -> list[tuple[str, str, pd.Series, float | None]]:
    """Title, unit, values by (participant, whether the eye was used), and limit; low is good in all."""
    by_eye = quality.groupby(["participant", "used"]).mean(numeric_only=True)
    by_person = trials.groupby("participant").agg(lost=("loss_percent", "mean"), drift=("drift_deg", "median"))
    by_person.index = pd.MultiIndex.from_tuples([(p, True) for p in by_person.index], names=["participant", "used"])
    return [
        ("accuracy", "degrees, mean", by_eye["accuracy_deg"], limits.accuracy_mean_deg),
        ("worst point", "degrees", by_eye["accuracy_worst_deg"], limits.accuracy_worst_deg),
        ("precision", "degrees, RMS-S2S", by_eye["rms_s2s_deg"], None),
        ("loss, validation", "%", by_eye["loss_percent"], limits.loss_percent),
        ("loss, viewing", "%, mean", by_person["lost"], None),
        ("drift, median", "degrees", by_person["drift"], limits.drift_deg),
    ]


def _edge(estimate: Estimate, left: bool) -> float:
    edge = estimate.low if left else estimate.high
    return estimate.mean if edge is None else edge


def _interval(axes: Axes, row: float, estimate: Estimate, colour: str, *, filled: bool = True) -> None:
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


def _dumbbell(axes: Axes, row: float, head: MapReading, colour: str) -> None:
    if head.shuffled is not None:
        axes.plot([head.value.mean, head.shuffled.mean], [row, row], color=FAINT, lw=0.9, zorder=1)
        _interval(axes, row, head.shuffled, SOFT, filled=False)
    _interval(axes, row, head.value, colour)


def _drawn(sound: Sound) -> list[Reference]:
    """The references that a figure has room for: of two Gaussians at the centre the fitted one, which is the stronger;
    no object where its score says only what epsilon is; and no other viewers where they are no ceiling.
    """
    maps = {r.map for r in sound.references}
    hidden = {"centre"} if "centre-fitted" in maps else set()
    hidden |= {"object"} if sound.measure in ("kl", "ig") else set()
    hidden |= {"others"} if MEASURES[sound.measure].no_best_map else set()
    return [r for r in sound.references if r.map not in hidden]


def _limit_to(axes: Axes, heads: Sequence[MapReading], references: Sequence[Reference], margin: float) -> None:
    """Set the range to what the heads need, and to the references unless they lie farther off than the heads' range."""
    shown = [e for h in heads for e in (h.value, h.shuffled) if e is not None]
    low, high = min(_edge(e, True) for e in shown), max(_edge(e, False) for e in shown)
    span = (high - low) or 1.0
    near = [r.value for r in references if low - span <= r.value.mean <= high + span]
    low, high = min([low, *(_edge(e, True) for e in near)]), max([high, *(_edge(e, False) for e in near)])
    span = (high - low) or 1.0
    axes.set_xlim(low - margin * span, high + margin * span)


def _bands(axes: Axes, references: Sequence[Reference], size: float = 8.5) -> None:
    """A vertical band for each reference's interval, its name above; neighbours' names stand at three heights.

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
            place, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, height), textcoords="offset points",
            ha=alignment, va="bottom", color=colour, fontsize=size,
        )  # fmt: skip


def _name_rows(axes: Axes, names: Sequence[str], bold: set[int] | None = None) -> None:
    axes.set_yticks(range(len(names)), names)
    for i in bold or ():
        axes.get_yticklabels()[i].set_fontweight("bold")
    axes.hlines(range(len(names)), 0, 1, colors="#eef0f3", lw=0.8, zorder=0, transform=axes.get_yaxis_transform())


def _towards_people(axes: Axes, measure: str, *, short: bool = False) -> None:
    m = MEASURES[measure]
    unit = f" ({m.unit})" if m.unit else ""
    arrow = "← closer to people" if m.closer == "lower" else "closer to people →"
    axes.set_xlabel(f"{arrow}" if short else f"{m.label}{unit}      {arrow}")
    axes.xaxis.set_major_locator(MaxNLocator(5 if short else 7))


def _values(c: Curve) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in c.mean], dtype=np.float64)


def _label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names beside the ends of curves, moved apart, each as little as the other, where they would meet."""
    low, high = axes.get_ylim()
    gap = 0.085 * (high - low)
    placed: list[float] = []
    for y, _, _ in sorted(ends):
        placed.append(max(y, placed[-1] + gap) if placed else y)
    moved = np.mean([at - y for at, (y, _, _) in zip(placed, sorted(ends), strict=True)]) if ends else 0.0
    for at, (_, colour, text) in zip(np.array(placed) - moved, sorted(ends), strict=True):
        axes.annotate(text, (x, at), xytext=(5, 0), textcoords="offset points", color=colour, fontsize=8, va="center",
                      annotation_clip=False)  # fmt: skip
