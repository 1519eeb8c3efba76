"""Where people looked on one picture: the one form that maps, densities and scores are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.gaze.maps import Grid, inside, to_map_px
from beholder.analysis.results.tables import POOLED
from beholder.shared.arrays import FloatArray
from beholder.shared.provenance import digest
from beholder.shared.stimuli.stimulus import Stimulus


class Fixations(NamedTuple):
    """One participant's fixations on one picture: x and y in map px from the upper-left corner, and weights; (n,) each.

    Weights are, for instance, durations in seconds.
    """

    x: FloatArray
    y: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class PictureGaze:
    """People's fixations on one picture; none lies off the picture.

    `people` are (participant, run), with `POOLED` for everybody together; `fixations` are theirs, in the same order, in
    px of a map on `grid`. `unit_px`: map px per unit of the widths and sigmas that are fitted (for instance degrees),
    so that pictures of different sizes can share a width.
    """

    people: tuple[tuple[str, int], ...]
    fixations: tuple[Fixations, ...]
    grid: Grid
    unit_px: float = 1.0

    def __post_init__(self) -> None:
        if not self.unit_px > 0:
            raise ValueError(f"a unit must be more than 0 map px; {self.unit_px} is invalid")
        for (participant, _), own in zip(self.people, self.fixations, strict=True):
            if not inside(own.x, own.y, self.grid).all():
                raise ValueError(f"a fixation of {participant} lies off the picture")

    @classmethod
    def of_points(cls, points: Sequence[FloatArray], grid: Grid, unit_px: float = 1.0) -> PictureGaze:
        """Gaze of viewers 1, 2, ..., from an array (n, 2) of x and y each; every fixation weighs the same."""
        for viewer, own in enumerate(points, start=1):
            if own.ndim != 2 or own.shape[1] != 2:
                raise ValueError(f"points must have the shape (n, 2); viewer {viewer}'s are {own.shape}")
        fixations = tuple(Fixations(own[:, 0], own[:, 1], np.ones(len(own))) for own in points)
        return cls(tuple((str(viewer), 1) for viewer in range(1, len(points) + 1)), fixations, grid, unit_px)

    def __len__(self) -> int:
        return len(self.people)

    @property
    def pixels(self) -> int:
        """How many pixels the picture's map has."""
        return self.grid.height * self.grid.width

    @property
    def counts(self) -> list[int]:
        """The number of fixations with a weight above 0, for each of the people."""
        return [int((own.weight > 0).sum()) for own in self.fixations]

    @cached_property
    def points(self) -> tuple[FloatArray, ...]:
        """Each person's fixations as an array (n, 2) of x and y."""
        return tuple(np.stack([own.x, own.y], axis=1) for own in self.fixations)

    @cached_property
    def digest(self) -> str:
        """Digest of people and fixations; kept, since the same gaze is part of many comparisons."""
        return digest([self.people, self.fixations])

    def only(self, kept: Sequence[int]) -> PictureGaze:
        """The gaze of some of the people, by their indices in `people`."""
        people, fixations = tuple(self.people[i] for i in kept), tuple(self.fixations[i] for i in kept)
        return PictureGaze(people, fixations, self.grid, self.unit_px)

    def without_pooled(self) -> PictureGaze:
        """The gaze of the participants, without everybody together."""
        return self.only([i for i, (participant, _) in enumerate(self.people) if participant != POOLED])

    def with_pooled(self) -> PictureGaze:
        """This gaze with everybody's fixations together added, where there are two participants or more.

        Each participant weighs the same there, however much of their gaze was tracked.
        """
        totals: dict[str, float] = {}
        for (participant, _), own in zip(self.people, self.fixations, strict=True):
            totals[participant] = totals.get(participant, 0.0) + float(own.weight.sum())
        if len(totals) < 2:
            return self
        shares = [own.weight / totals[name] for (name, _), own in zip(self.people, self.fixations, strict=True)]
        x, y = (np.concatenate([own[axis] for own in self.fixations]) for axis in range(2))
        pooled = Fixations(x, y, np.concatenate(shares))
        return PictureGaze((*self.people, (POOLED, 0)), (*self.fixations, pooled), self.grid, self.unit_px)

    def viewers(self, names: Sequence[str] | None = None) -> PictureGaze:
        """The gaze of the participants, all runs of each joined, in the order of their labels or of `names`.

        A name that is not among the participants gives a viewer without fixations. Runs are joined because viewers
        predict each other, and nobody is to predict themselves.
        """
        found: dict[str, list[Fixations]] = {} if names is None else {name: [] for name in names}
        for (participant, _), own in zip(self.people, self.fixations, strict=True):
            if participant != POOLED and (names is None or participant in found):
                found.setdefault(participant, []).append(own)
        nothing = Fixations(np.empty(0), np.empty(0), np.empty(0))
        ordered = sorted(found) if names is None else names
        joined = (
            Fixations(*(np.concatenate(values) for values in zip(*(found[name] or [nothing]), strict=True)))
            for name in ordered
        )
        return PictureGaze(tuple((name, 1) for name in ordered), tuple(joined), self.grid, self.unit_px)

    def whose(self) -> NDArray[np.intp]:
        """Each fixation's viewer as an index in `people`, (fixations,), in the order of `all_points`."""
        return np.repeat(np.arange(len(self)), [len(own) for own in self.points])

    def all_points(self) -> FloatArray:
        """Everybody's fixations, (fixations, 2), one person after the other."""
        return np.concatenate(self.points) if self.points else np.empty((0, 2))

    def fixated_pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows and columns of the pixels that `all_points` lie in."""
        x, y = self.all_points().T
        return np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)


def picture_gaze(
    rows: pd.DataFrame, stimulus: Stimulus, grid: Grid, weight: str = "duration", unit_px: float = 1.0
) -> PictureGaze:
    """The gaze on one picture, from its used rows of the table of fixations; `weight`: "duration" or "count"."""
    if rows.empty:
        return PictureGaze((), (), grid, unit_px)
    x, y = to_map_px(
        rows["x_px"].to_numpy(),
        rows["y_px"].to_numpy(),
        picture_width_px=stimulus.width_px,
        picture_height_px=stimulus.height_px,
        grid=grid,
    )
    # A position just within the picture's border must not be rounded onto it.
    x, y = np.minimum(x, np.nextafter(grid.width, 0)), np.minimum(y, np.nextafter(grid.height, 0))
    weights = rows["duration_s"].to_numpy() if weight == "duration" else np.ones(len(rows))
    number = rows.groupby(["participant", "run"], sort=True).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    participants, runs = rows["participant"].to_numpy(), rows["run"].to_numpy()
    people = tuple((str(participants[own[0]]), int(runs[own[0]])) for own in parts)
    return PictureGaze(people, tuple(Fixations(x[own], y[own], weights[own]) for own in parts), grid, unit_px)
