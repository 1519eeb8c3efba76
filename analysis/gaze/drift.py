"""Drift measured on the dot before a picture, and fixations with the other setting of drift correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from beholder.analysis.gaze.rows import NONE_ON_PICTURE, number_of
from beholder.analysis.results.tables import FIXATION_COLUMNS
from beholder.shared.screen import Screen
from beholder.shared.stimuli.stimulus import Stimulus


def with_other_correction(
    fixations: pd.DataFrame, trials: pd.DataFrame, stimuli: Sequence[Stimulus], *, corrected: bool
) -> pd.DataFrame:
    """The fixations that would be used with the other setting of drift correction, moved by their trial's drift.

    `corrected`: whether the tables' fixations are corrected; those returned are then not corrected, and the reverse. A
    trial without a measured drift stays as it is. Trials that are left out stay out, except those left out because no
    fixation lies on the picture: moved, some may. Empty where no drift is known.
    """
    if trials[["drift_x_px", "drift_y_px"]].isna().all(axis=None):
        return fixations.iloc[:0]
    sizes = {s.name: (s.width_px, s.height_px) for s in stimuli}
    keys = ["participant", "run", "trial", "stimulus"]
    measured = trials[trials["why"].isin(["", NONE_ON_PICTURE])][[*keys, "drift_x_px", "drift_y_px"]]
    moved = fixations[fixations["why"].isin(["", "outside"])].merge(measured, on=keys, how="inner")
    if moved[["drift_x_px", "drift_y_px"]].isna().all(axis=None):
        return moved.iloc[:0]
    sign = 1 if corrected else -1
    for axis in ("x_px", "y_px"):
        moved[axis] = moved[axis] + sign * moved[f"drift_{axis}"].fillna(0.0)
    width, height = (moved["stimulus"].map({name: size[i] for name, size in sizes.items()}) for i in (0, 1))
    inside = (moved["x_px"] >= 0) & (moved["x_px"] < width) & (moved["y_px"] >= 0) & (moved["y_px"] < height)
    return moved[inside].assign(used=True, why="")[list(FIXATION_COLUMNS)].reset_index(drop=True)


def drift_of(
    measured: Mapping[str, Any], picture: Mapping[str, Any], stimulus: Stimulus, screen: Screen
) -> dict[str, float]:
    """An event's drift (gaze minus dot), in degrees and in px of the picture; NaN where it was not measured."""
    x_deg, y_deg = number_of(measured, "drift_x_deg"), number_of(measured, "drift_y_deg")
    return {
        "drift_x_deg": x_deg, "drift_y_deg": y_deg, "drift_deg": number_of(measured, "drift_deg"),
        "drift_x_px": x_deg * screen.px_per_deg * stimulus.width_px / number_of(picture, "picture_width_px"),
        "drift_y_px": y_deg * screen.px_per_deg * stimulus.height_px / number_of(picture, "picture_height_px"),
    }  # fmt: skip
