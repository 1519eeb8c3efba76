"""Fixations in windows of viewing time: the first second, the second one, the first three, all of it.

Early gaze differs from late gaze, so a score over the whole viewing time is a mixture. Here fixations are cut to
windows; their maps and scores are made elsewhere, as those of whole fixations are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from beholder.analysis.results.tables import FIXATION_COLUMNS
from beholder.shared.errors import DataError

STEP_S = 1.0
STANDARD_END_S = 3.0  # results for 0 to 3 s stand beside the whole viewing time

# The columns of fixations, and the window of each row.
WINDOW_COLUMNS = FIXATION_COLUMNS | {"window_start_s": "float64", "window_end_s": "float64"}

# For the borders of windows, the viewing time is rounded to a twentieth of a step: see `steps`.
PARTS_OF_A_STEP = 20

# More would take hours and gigabytes, and hold no fixation each: 1,000 windows of a second are a quarter of an hour.
MOST_WINDOWS = 1000

# A time in a table, or a border between windows, is exact to this.
ROUNDING_S = 1e-9


@dataclass(frozen=True)
class Window:
    """A stretch of viewing time in seconds from picture onset, [start, end)."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"a window must end after it begins, at 0 s or later; {self.start_s} to {self.end_s} s")


def windows(shown_s: float, step_s: float = STEP_S, standard_end_s: float = STANDARD_END_S) -> tuple[Window, ...]:
    """A picture's windows: the whole viewing time, the standard window from 0, and the steps that follow each other.

    shown_s: how long the picture was shown, as measured; the first window lasts exactly as long, and is the widest.
    A window that repeats another, or nearly the whole, is left out. See `steps` for what becomes of the last step.

    >>> [(w.start_s, w.end_s) for w in windows(2.5)]
    [(0.0, 2.5), (0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]
    >>> [(w.start_s, w.end_s) for w in windows(4.0002, step_s=2.0)]
    [(0.0, 4.0002), (0.0, 3.0), (0.0, 2.0), (2.0, 4.0)]
    """
    if not (shown_s > 0 and math.isfinite(shown_s) and step_s > 0):
        raise ValueError(f"viewing time and step must be more than 0 s; {shown_s} and {step_s} are invalid")
    parts = [Window(0.0, standard_end_s), *steps(shown_s, step_s)]
    beside = [w for w in parts if w.start_s > 0 or w.end_s < shown_s - max(step_s, w.end_s) / (2 * PARTS_OF_A_STEP)]
    return tuple(dict.fromkeys([Window(0.0, shown_s), *beside]))


def steps(shown_s: float, step_s: float = STEP_S) -> tuple[Window, ...]:
    """Windows of `step_s` one after the other, and what remains of `shown_s` as one more if it is half a step or more.

    The viewing time is first rounded to a twentieth of a step. Screens change with a frame and clocks drift, so that a
    picture of 10 s stands for 9.98 or 10.0002 s: that is ten steps of 1 s, the last from 9 to 10 s, and the borders are
    the same for all pictures, which is what lets their windows be averaged. Of 10.4 s the last 0.4 s have no window: no
    map can be made of a fixation or two. Of 10.6 s the last 0.6 s are a window from 10 to 10.6 s, shorter than the
    others and so not comparable with them. A picture shown for less than half a step has no steps.
    Raises DataError where there would be more than MOST_WINDOWS.

    >>> [(w.start_s, w.end_s) for w in steps(3.0002)]
    [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    """
    if shown_s / step_s > MOST_WINDOWS:
        raise DataError(
            f"a picture that was shown for {shown_s:g} s has more than {MOST_WINDOWS} windows of {step_s:g} s: set a "
            "larger window_step_s in [alignment] of study.toml, or 0, which makes none."
        )
    whole, rest = divmod(round(PARTS_OF_A_STEP * shown_s / step_s), PARTS_OF_A_STEP)
    borders = [round(step_s * i, 9) for i in range(whole + 1)]
    if 2 * rest >= PARTS_OF_A_STEP:
        borders.append(round(step_s * (whole + rest / PARTS_OF_A_STEP), 9))
    return tuple(Window(start, end) for start, end in pairwise(borders))


def in_windows(fixations: pd.DataFrame, wanted: Sequence[Window], weight: Literal["duration", "count"]) -> pd.DataFrame:
    """The fixations of each window, one window after the other; WINDOW_COLUMNS.

    fixations: `FIXATION_COLUMNS`, onset_s from picture onset.

    weight "duration": a fixation has a row in every window that it overlaps, with the overlap in seconds as duration_s
    and the beginning of the overlap as onset_s.
    weight "count": a fixation belongs as a whole to the window of its onset, and its row stays as it is. The onset
    counts and not the longest overlap: where to look was decided before the onset, and the onset lies in one window of
    a series whatever the others are, while overlaps can tie, and can give one fixation to different seconds in
    different series.

    A fixation under way at picture onset (onset_s below 0) counts from 0. Rows whose onset is not known are in no
    window: see `untimed`.
    """
    if weight not in ("duration", "count"):
        raise ValueError(f"the argument 'weight' must be duration or count; {weight!r} is not")
    onset = fixations["onset_s"].to_numpy(dtype=np.float64)
    end = onset + fixations["duration_s"].to_numpy(dtype=np.float64)
    begin = np.maximum(onset, 0.0)
    parts = []
    for window in wanted:
        here = (begin >= window.start_s) & (begin < window.end_s) & (end > 0)
        cut = fixations[here]
        if weight == "duration":
            start_s, end_s = np.maximum(begin, window.start_s), np.minimum(end, window.end_s)
            # An overlap no longer than rounding errors is none.
            here = end_s - start_s > ROUNDING_S
            cut = fixations[here].assign(onset_s=start_s[here], duration_s=(end_s - start_s)[here])
        parts.append(cut.assign(window_start_s=window.start_s, window_end_s=window.end_s))
    if not parts:
        parts = [fixations.iloc[:0].assign(window_start_s=0.0, window_end_s=0.0)]
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table


def untimed(fixations: pd.DataFrame) -> list[str]:
    """The participants with fixations whose onset is not known, which are in no window."""
    unknown = fixations["onset_s"].isna()
    return sorted(str(p) for p in fixations.loc[unknown, "participant"].unique())
