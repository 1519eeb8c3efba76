"""Figures of data quality: each participant's recording, and loss and drift trial by trial. Drawing only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from beholder.analysis.report.figures.style import BLUE, FAINT, INK, SOFT, VERMILION, WIDTH_IN, in_house_style
from beholder.shared.study import ExclusionSettings, LimitSettings

MOST_PARTICIPANTS = 100  # with a row each in the figure of trials; of more, the spread over participants is drawn


@in_house_style
def draw_quality(quality: pd.DataFrame, trials: pd.DataFrame, limits: LimitSettings) -> Figure | None:
    """Quality by participant: a row for each, a panel for each property of the recording, with the study's limits.

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
                f"limit {limit:g}",
                (limit, 0),
                xycoords=("data", "axes fraction"),
                xytext=(-2, 3),
                fontsize=7,
                textcoords="offset points",
                color=VERMILION,
                rotation=90,
                va="bottom",
                ha="right",
            )
        axes.set_title(title, fontsize=8)
        axes.set_xlabel(unit, fontsize=7.5)
        top = float(np.nanmax([values.max(), limit or 0]))
        axes.set_xlim(0, (top or 1.0) * 1.12)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.set_ylim(len(people) - 0.3, -0.7)
        if len(people) <= MOST_PARTICIPANTS:
            axes.hlines(
                range(len(people)), 0, 1, colors="#eef0f3", lw=0.8, zorder=0, transform=axes.get_yaxis_transform()
            )
    labels = people if len(people) <= 40 else []
    grid[0].set_yticks(range(len(labels)), labels, fontsize=7)
    grid[0].set_ylabel("participant")
    return figure


@in_house_style
def draw_trials(trials: pd.DataFrame, limits: LimitSettings, exclusion: ExclusionSettings) -> Figure | None:
    """Loss and drift of every trial in the order seen: a tile a trial, a row a participant; × where it was left out.

    For more than MOST_PARTICIPANTS participants, their spread by trial. None where neither loss nor drift is known.
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
        image = axes.imshow(
            values,
            cmap="cividis_r",
            vmin=0,
            vmax=max(least, float(np.nanmax(values))),
            aspect="auto",
            extent=extent,
            interpolation="nearest",
        )
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
        # A trial without a value of any participant is not drawn.
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
    """Title, unit, values by (participant, whether the eye was used) and limit of each panel; low is good in all."""
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
