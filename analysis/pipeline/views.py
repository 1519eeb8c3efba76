"""Gaze on each picture, as the alignment compares it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from beholder.analysis.gaze.maps import Grid, coverage, grid_for, sigma_in_map_px
from beholder.analysis.gaze.picture_gaze import PictureGaze, picture_gaze
from beholder.analysis.gaze.windows import in_windows, untimed, windows
from beholder.analysis.pipeline.fixation_stage import ViewedTrials
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import Remark
from beholder.shared.stimuli.label_maps import read_object
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study


@dataclass(frozen=True)
class PictureViews:
    """People's gaze on one picture; see `OverSigma` and `AtFixedSigma`. `width_deg` is NaN where it is not known."""

    stimulus: Stimulus
    gaze: PictureGaze
    drift_alternative: PictureGaze
    windows: tuple[tuple[float, float, PictureGaze], ...]
    equal_counts: PictureGaze
    object_share: FloatArray | None
    shown_s: float
    width_deg: float

    @property
    def grid(self) -> Grid:
        """The grid of people's maps."""
        return self.gaze.grid


def picture_views(
    study: Study, stimuli: Sequence[Stimulus], people: ViewedTrials
) -> tuple[dict[str, PictureViews], list[Remark]]:
    """What there is of gaze on each picture that anybody looked at."""
    used = people.fixations[people.fixations["used"]]
    by_picture = {str(name): rows for name, rows in used.groupby("stimulus", sort=True)}
    moved = {str(name): rows for name, rows in people.moved.groupby("stimulus", sort=True)}
    shown_s = people.trials.groupby("stimulus")["shown_s"].max().to_dict()
    remarks = [
        Remark(s.file.name, "nobody has a fixation on it; it has no human map and is not compared")
        for s in stimuli
        if s.name not in by_picture
    ]
    if study.alignment.window_step_s and (late := untimed(used)):
        who = ", ".join(late[:5]) + (f" and {len(late) - 5} more" if len(late) > 5 else "")
        remarks.append(Remark("windows of time", f"fixations of {who} have no onset, and so no part in them"))
    views = {}
    for s in stimuli:
        if s.name not in by_picture:
            continue
        rows, shown = by_picture[s.name], float(shown_s.get(s.name, np.nan))
        width_deg = people.width_deg.get(s.name, np.nan)
        grid = grid_for(s.width_px, s.height_px, study.maps.longer_side_px)
        on_map = partial(
            picture_gaze, stimulus=s, grid=grid, weight=study.maps.weight, unit_px=_unit_px(s, grid, width_deg)
        )
        gaze, mask = on_map(rows), read_object(s)
        views[s.name] = PictureViews(
            stimulus=s,
            gaze=gaze.with_pooled() if study.alignment.pooled else gaze,
            drift_alternative=on_map(moved.get(s.name, rows.iloc[:0])),
            windows=_windows(study, rows, shown, on_map),
            equal_counts=on_map(_first_of_everybody(rows) if study.alignment.groups else rows.iloc[:0]),
            object_share=None if mask is None else coverage(mask.astype(np.float64), grid.height, grid.width),
            shown_s=shown,
            width_deg=width_deg,
        )
    return views, remarks


def _unit_px(stimulus: Stimulus, grid: Grid, width_deg: float) -> float:
    """Map px per degree; per percent of the picture's width where degrees are not known."""
    if np.isnan(width_deg):
        return grid.width / 100
    return sigma_in_map_px(1.0, "deg", grid=grid, picture_width_px=stimulus.width_px, picture_width_deg=width_deg)


def _windows(
    study: Study, rows: pd.DataFrame, shown_s: float, on_map: Callable[[pd.DataFrame], PictureGaze]
) -> tuple[tuple[float, float, PictureGaze], ...]:
    """Everybody's gaze in each window of viewing time but the whole."""
    ends = rows["onset_s"] + rows["duration_s"]
    shown_s = float(ends.max()) if np.isnan(shown_s) else shown_s
    if not study.alignment.window_step_s or not shown_s > 0:
        return ()
    _, *parts = windows(shown_s, study.alignment.window_step_s)
    cut = in_windows(rows, parts, study.maps.weight)
    found = []
    for window in parts:
        own = cut[(cut["window_start_s"] == window.start_s) & (cut["window_end_s"] == window.end_s)]
        found.append((window.start_s, window.end_s, on_map(own)))
    return tuple(found)


def _first_of_everybody(rows: pd.DataFrame) -> pd.DataFrame:
    """The first fixations of everybody, as many of each: how good a map is depends on how many it is made of.

    The number is the smallest of those who have at least half of the median; who has fewer is left out.
    """
    counts = rows.groupby(["participant", "run"])["fixation"].transform("size")
    enough = rows[counts >= counts.groupby([rows["participant"], rows["run"]]).first().median() / 2]
    return enough.groupby(["participant", "run"], sort=True).head(int(counts[enough.index].min()))
