"""Gaze on each picture, as the alignment compares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from beholder.analysis.alignment.comparison import NOBODY, Gaze
from beholder.analysis.gaze.maps import Grid, coverage, grid_for, sigma_in_map_px, to_map_px
from beholder.analysis.gaze.windows import in_windows, untimed, windows
from beholder.analysis.pipeline.fixation_stage import ViewedTrials
from beholder.analysis.results.study_results import POOLED
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import Remark
from beholder.shared.stimuli.label_maps import read_object
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study


@dataclass(frozen=True)
class PictureViews:
    """People's gaze on one picture, on its map's grid; see `comparison.Job`. `width_deg` is NaN where not known."""

    stimulus: Stimulus
    grid: Grid
    gaze: Gaze
    moved: Gaze
    windows: tuple[tuple[float, float, Gaze], ...]
    equal: Gaze
    object_share: FloatArray | None
    shown_s: float
    width_deg: float

    @property
    def unit_px(self) -> float:
        """Map px per degree; per percent of the picture's width where degrees are not known."""
        if np.isnan(self.width_deg):
            return self.grid.width / 100
        return sigma_in_map_px(1.0, "deg", grid=self.grid, picture_width_px=self.stimulus.width_px,
                               picture_width_deg=self.width_deg)  # fmt: skip


def picture_views(
    study: Study, stimuli: Sequence[Stimulus], people: ViewedTrials
) -> tuple[dict[str, PictureViews], list[Remark]]:
    """What there is of gaze on each picture that anybody looked at."""
    used = people.fixations[people.fixations["used"]]
    by_picture = {str(name): rows for name, rows in used.groupby("stimulus", sort=True)}
    moved = {str(name): rows for name, rows in people.moved.groupby("stimulus", sort=True)}
    shown_s = people.trials.groupby("stimulus")["shown_s"].max().to_dict()
    remarks = [Remark(s.file.name, "nobody has a fixation on it; it has no human map and is not compared")
               for s in stimuli if s.name not in by_picture]  # fmt: skip
    if study.alignment.window_step_s and (late := untimed(used)):
        who = ", ".join(late[:5]) + (f" and {len(late) - 5} more" if len(late) > 5 else "")
        remarks.append(Remark("windows of time", f"fixations of {who} have no onset, and so no part in them"))
    views = {}
    for s in stimuli:
        if s.name not in by_picture:
            continue
        rows, shown = by_picture[s.name], float(shown_s.get(s.name, np.nan))
        grid = grid_for(s.width_px, s.height_px, study.maps.longer_side_px)
        gaze = _on_map(rows, s, grid, study.maps.weight)
        mask = read_object(s)
        views[s.name] = PictureViews(
            s, grid, _with_pooled(gaze) if study.alignment.pooled else gaze,
            _on_map(moved[s.name], s, grid, study.maps.weight) if s.name in moved else NOBODY,
            _windows(study, rows, s, grid, shown), _equal(study, rows, s, grid),
            None if mask is None else coverage(mask.astype(np.float64), grid.height, grid.width), shown,
            people.width_deg.get(s.name, np.nan),
        )  # fmt: skip
    return views, remarks


def _with_pooled(gaze: Gaze) -> Gaze:
    """The same with everybody's fixations together: each person weighs the same, however much of them was tracked."""
    totals: dict[str, float] = {}
    for (participant, _), (_, _, weight) in zip(gaze.people, gaze.fixations, strict=True):
        totals[participant] = totals.get(participant, 0.0) + float(weight.sum())
    if len(totals) < 2:
        return gaze
    shares = [w / totals[participant] for (participant, _), (_, _, w) in zip(gaze.people, gaze.fixations, strict=True)]
    x, y = (np.concatenate([f[i] for f in gaze.fixations]) for i in range(2))
    return Gaze((*gaze.people, (POOLED, 0)), (*gaze.fixations, (x, y, np.concatenate(shares))))


def _windows(
    study: Study, rows: pd.DataFrame, stimulus: Stimulus, grid: Grid, shown_s: float
) -> tuple[tuple[float, float, Gaze], ...]:
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
        found.append((window.start_s, window.end_s, _on_map(own, stimulus, grid, study.maps.weight)))
    return tuple(found)


def _equal(study: Study, rows: pd.DataFrame, stimulus: Stimulus, grid: Grid) -> Gaze:
    """The first fixations of everybody, as many of each: how good a map is depends on how many it is made of.

    The number is the smallest of those who have at least half of the median; who has fewer is left out.
    """
    if not study.alignment.groups:
        return NOBODY
    counts = rows.groupby(["participant", "run"])["fixation"].transform("size")
    enough = rows[counts >= counts.groupby([rows["participant"], rows["run"]]).first().median() / 2]
    n = int(counts[enough.index].min())
    return _on_map(enough.groupby(["participant", "run"], sort=True).head(n), stimulus, grid, study.maps.weight)


def _on_map(rows: pd.DataFrame, stimulus: Stimulus, grid: Grid, weighted: str) -> Gaze:
    """Who has fixations on a picture, in which run, and these in px of the map."""
    x, y = to_map_px(rows["x_px"].to_numpy(), rows["y_px"].to_numpy(), picture_width_px=stimulus.width_px,
                     picture_height_px=stimulus.height_px, grid=grid)  # fmt: skip
    # The last number below the picture's border must not be rounded onto it.
    x, y = np.minimum(x, np.nextafter(grid.width, 0)), np.minimum(y, np.nextafter(grid.height, 0))
    weight = rows["duration_s"].to_numpy() if weighted == "duration" else np.ones(len(rows))
    if rows.empty:
        return NOBODY
    number = rows.groupby(["participant", "run"], sort=True).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    participants, run_numbers = rows["participant"].to_numpy(), rows["run"].to_numpy()
    return Gaze(
        tuple((str(participants[own[0]]), int(run_numbers[own[0]])) for own in parts),
        tuple((x[own], y[own], weight[own]) for own in parts),
    )
