"""The synthetic observer: where simulated eyes look, given what is on the screen.

Scanpaths are drawn from known densities, so that an analysis can be checked against what was planted: fixations on a
picture are independent draws from its map (mixed with the centre), durations are lognormal, saccades follow the main
sequence. This is the eyes' true movement; how badly a tracker measures it is `experiment.trackers.synthetic`'s part.
No claim is made that people look so: there is no memory, no salience, no inhibition of return.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from beholder.experiment.devices import Dot, Picture, Shape, Text
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import UNREADABLE, StudyError
from beholder.shared.screen import Rect, Screen
from beholder.shared.stimuli.label_maps import read_object
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import ObserverSettings, Study

Purpose = Literal["order", "gaze", "measurement", "answers"]
_PURPOSES: dict[Purpose, int] = {"order": 0, "gaze": 1, "measurement": 2, "answers": 3}

# Time from a change on the screen to the saccade that answers it (lognormal; Carpenter 1988 finds about 200 ms).
LATENCY_S, LATENCY_SPREAD = 0.2, 0.15
# Scatter of repeated fixations on the dot, and how far from it "looking away" is.
DOT_SCATTER_DEG, AWAY_FROM_DEG, AWAY_SPREAD_DEG = 0.1, 4.0, 3.0
# Further from now than any session lasts, and still a number to calculate with.
NEVER_S = 1e9
# How many places on a picture are drawn at a time.
_DRAWN_AT_ONCE = 64
# Scatter of fixations on text and on an empty screen, while the observer reads or waits.
IDLE_SPREAD_DEG = 3.0


def generator(seed: int, label: str, purpose: Purpose) -> np.random.Generator:
    """The random generator for one participant and purpose; it does not depend on how many participants there are.

    >>> generator(1, "01", "gaze").random() == generator(1, "01", "gaze").random()
    True
    """
    entropy = (seed, crc32(label.encode()))
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(_PURPOSES[purpose],)))


# ---------------------------------------------------------------------------------------------- where, how long


def map_points(rng: np.random.Generator, n: int, density: FloatArray) -> FloatArray:
    """`n` points drawn from a density over a picture, (n, 2): x and y as shares of its width and height.

    density: (rows, columns), non-negative, of any sum; within the drawn cell a point is uniform.
    """
    rows, columns = density.shape
    cumulated = np.cumsum(density, dtype=np.float64, axis=None)
    cell = np.searchsorted(cumulated, rng.random(n) * cumulated[-1], side="right")
    # A draw at the very top of the sum would fall behind the last cell that is not 0.
    cell = np.minimum(cell, np.flatnonzero(density)[-1])
    within = rng.random((n, 2))
    return np.stack([(cell % columns + within[:, 0]) / columns, (cell // columns + within[:, 1]) / rows], axis=1)


def centre_points(rng: np.random.Generator, n: int, sd_share: float) -> FloatArray:
    """`n` points around a picture's centre, (n, 2) as `map_points`: Gaussian of SD `sd_share`, cut at the edges."""
    low = ndtr(-0.5 / sd_share)
    points: FloatArray = 0.5 + sd_share * ndtri(low + rng.random((n, 2)) * (1 - 2 * low))
    return points


def picture_points(
    rng: np.random.Generator, n: int, density: FloatArray | None, follow: float, centre_share: float
) -> FloatArray:
    """`n` points, (n, 2): each from the map with probability `follow`, else (or without a map) from the centre."""
    centre = centre_points(rng, n, centre_share)
    if density is None:
        return centre
    mapped = map_points(rng, n, density)
    return np.where(rng.random((n, 1)) < follow, mapped, centre)


def durations_s(rng: np.random.Generator, n: int, median_s: float, spread: float) -> FloatArray:
    """`n` lognormal durations of fixations in seconds; `spread` is the SD of their logarithm."""
    return median_s * np.exp(spread * rng.standard_normal(n))


def saccade_s(amplitude_deg: float) -> float:
    """Duration of a saccade in seconds: 2.2 ms a degree and 21 ms (Carpenter 1988, Movements of the Eyes)."""
    return 0.0022 * amplitude_deg + 0.021


# ------------------------------------------------------------------------------------------------- the scanpath


@dataclass(frozen=True)
class Fixation:
    """Eyes that stay at a place of the screen, from `start_s` to `end_s` of the session's clock.

    `on` says what was looked at: the picture, the dot, away from the dot, a target, or nothing in particular.
    """

    start_s: float
    end_s: float
    x_px: float
    y_px: float
    on: Literal["picture", "dot", "away", "target", "idle"]


def gaze_at(times_s: FloatArray, fixations: Sequence[Fixation]) -> tuple[FloatArray, FloatArray]:
    """Gaze x, y in px at `times_s` (n,): at rest during fixations, between them on a minimum-jerk path.

    `fixations` are in order and cover the times. Source of the path: Flash and Hogan 1985.
    """
    table = np.array([(f.start_s, f.end_s, f.x_px, f.y_px) for f in fixations])
    here = np.clip(np.searchsorted(table[:, 0], times_s, side="right") - 1, 0, len(table) - 1)
    there = np.minimum(here + 1, len(table) - 1)
    left_s, arrived_s = table[here, 1], table[there, 0]
    share = np.clip((times_s - left_s) / np.maximum(arrived_s - left_s, 1e-9), 0.0, 1.0)
    share = np.where(there == here, 0.0, share**3 * (10 - 15 * share + 6 * share**2))
    x = table[here, 2] + share * (table[there, 2] - table[here, 2])
    y = table[here, 3] + share * (table[there, 3] - table[here, 3])
    return x, y


class Observer:
    """One synthetic person in front of the screen: `see` what is shown, then ask for the `gaze` until now.

    The same scenes at the same times give the same gaze, however often and far it is asked for in between.
    `densities` are the maps by the picture's file name; None stands for the centre.
    """

    def __init__(
        self,
        settings: ObserverSettings,
        screen: Screen,
        densities: Mapping[str, FloatArray | None],
        centre_share: float,
        rng: np.random.Generator,
    ) -> None:
        self._settings = settings
        self._screen = screen
        self._densities = densities
        self._centre_share = centre_share
        self._rng = rng
        self._scene: tuple[Shape, ...] = ()
        self._drawn: list[FloatArray] = []
        x_px, y_px = screen.centre_px
        self.fixations: list[Fixation] = [Fixation(-NEVER_S, 0.0, x_px, y_px, "idle")]

    def see(self, at_s: float, scene: Sequence[Shape]) -> None:
        """Take in the scene that stands on the screen from `at_s` on; the eyes answer it after their latency.

        A target that only shrinks in its place is no new one: the eyes stay on their way to it.
        """
        if _targets(scene) and _targets(scene) == _targets(self._scene):
            return
        if len(self.fixations) == 1:
            # Before the first scene nobody looks about, however long ago the clock began.
            self.fixations[0] = replace(self.fixations[0], end_s=max(at_s, self.fixations[0].end_s))
        self._extend(at_s)
        self._scene = tuple(scene)
        self._drawn = []
        # A saccade under way lands where it was bound for; what was planned after it is dropped.
        first = bisect_right(self.fixations, at_s, key=lambda f: f.end_s)
        del self.fixations[first + 1 :]
        under_way = self.fixations[-1]
        latency_s = float(durations_s(self._rng, 1, LATENCY_S, LATENCY_SPREAD)[0])
        self.fixations[-1] = replace(under_way, end_s=max(at_s, under_way.start_s) + latency_s)

    def gaze(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where the eyes are at `times_s` (n,), ascending: x and y in px of the screen, each (n,)."""
        self._extend(float(times_s[-1]))
        first = bisect_right(self.fixations, float(times_s[0]), key=lambda f: f.start_s) - 1
        return gaze_at(times_s, self.fixations[max(0, first) :])

    def _extend(self, until_s: float) -> None:
        while self.fixations[-1].end_s <= until_s:
            last = self.fixations[-1]
            x_px, y_px, on = self._next_place()
            x_px = min(max(x_px, 1.0), self._screen.width_px - 1.0)
            y_px = min(max(y_px, 1.0), self._screen.height_px - 1.0)
            amplitude_deg = float(self._screen.angle_deg(np.array(last.x_px), np.array(last.y_px), x_px, y_px))
            start_s = last.end_s + saccade_s(amplitude_deg)
            if on == "target":
                # Somebody who was asked to look at a target does so until it goes.
                lasts_s = NEVER_S
            else:
                lasts_s = float(durations_s(self._rng, 1, self._settings.fixation_s, self._settings.fixation_spread)[0])
            self.fixations.append(Fixation(start_s, start_s + lasts_s, x_px, y_px, on))

    def _next_place(self) -> tuple[float, float, Literal["picture", "dot", "away", "target", "idle"]]:
        rng, screen = self._rng, self._screen
        for shape in self._scene:
            if isinstance(shape, Picture):
                if not self._drawn:
                    density, follow = self._densities[shape.file.name], self._settings.follow
                    self._drawn = list(picture_points(rng, _DRAWN_AT_ONCE, density, follow, self._centre_share))
                share_x, share_y = (float(share) for share in self._drawn.pop())
                rect = shape.rect
                return rect.x_px + share_x * rect.width_px, rect.y_px + share_y * rect.height_px, "picture"
            if isinstance(shape, Dot) and shape.inner_px > 0:
                return shape.x_px, shape.y_px, "target"
            if isinstance(shape, Dot):
                if rng.random() < self._settings.look_away:
                    far_deg = AWAY_FROM_DEG + abs(AWAY_SPREAD_DEG * rng.standard_normal())
                    turn = rng.uniform(0, 2 * np.pi)
                    return *self._beside(shape, far_deg * np.cos(turn), far_deg * np.sin(turn)), "away"
                return *self._beside(shape, *(DOT_SCATTER_DEG * rng.standard_normal(2))), "dot"
            if isinstance(shape, Text):
                break
        x_px, y_px = screen.centre_px
        return *self._beside(Dot(x_px, y_px, 1.0, ""), *(IDLE_SPREAD_DEG * rng.standard_normal(2))), "idle"

    def _beside(self, dot: Dot, x_deg: float, y_deg: float) -> tuple[float, float]:
        azimuth, elevation = self._screen.to_degrees(np.array(dot.x_px), np.array(dot.y_px))
        x_px, y_px = self._screen.to_px(azimuth + x_deg, elevation + y_deg)
        return float(x_px), float(y_px)


def _targets(scene: Sequence[Shape]) -> list[tuple[float, float]]:
    return [(shape.x_px, shape.y_px) for shape in scene if isinstance(shape, Dot) and shape.inner_px > 0]


def on_picture(fixation: Fixation, rect: Rect, width_px: int, height_px: int) -> tuple[float, float]:
    """A fixation's place in px of the picture itself, from its upper left corner."""
    x = (fixation.x_px - rect.x_px) / rect.width_px * width_px
    y = (fixation.y_px - rect.y_px) / rect.height_px * height_px
    return x, y


# ------------------------------------------------------------------------------------------------------ the maps


def read_densities(study_folder: Path, study: Study, stimuli: Sequence[Stimulus]) -> dict[str, FloatArray | None]:
    """The observer's map for each picture, by its file name: as study.toml names it, None for the centre.

    Raises StudyError where a picture has no mask, or the .npz file no usable array for it.
    """
    name = study.observer.map
    if name == "centre":
        return {stimulus.file.name: None for stimulus in stimuli}
    if name == "object":
        return {stimulus.file.name: _object_density(stimulus) for stimulus in stimuli}
    path = study_folder / name
    if path.suffix != ".npz" or not path.is_file():
        raise StudyError(f'{path} does not exist: observer.map is "centre", "object" or an .npz file in the study.')
    try:
        with np.load(path, allow_pickle=False) as maps:
            return {stimulus.file.name: _density_in(path, maps, stimulus, study.observer.head) for stimulus in stimuli}
    except UNREADABLE as error:
        raise StudyError(
            f"{path} cannot be read as an .npz file of numbers ({error}): it is damaged, or holds something else; make "
            "that file again."
        ) from None


def _object_density(stimulus: Stimulus) -> FloatArray:
    where = read_object(stimulus)
    if where is None or not where.any():
        raise StudyError(
            f'{stimulus.file.name} has no mask: give it one, or set observer.map to "centre" in study.toml.'
        )
    return where.astype(np.float64)


def _density_in(
    path: Path, maps: Mapping[str, NDArray[np.float64]], stimulus: Stimulus, head: int | None
) -> FloatArray:
    if stimulus.name not in maps:
        raise StudyError(f"{path} has no array {stimulus.name}: it needs one for each picture of the study.")
    density = np.asarray(maps[stimulus.name], np.float64)
    if density.ndim == 3:
        if head is None or head > len(density):
            raise StudyError(
                f"{path} holds {len(density)} heads a picture: say which one in study.toml, [observer] head = 1 to "
                f"{len(density)}."
            )
        density = density[head - 1]
    elif head is not None:
        raise StudyError(f"{path} holds one map a picture and no heads: take [observer] head out of study.toml.")
    if density.ndim != 2 or not np.isfinite(density).all() or (density < 0).any() or not density.any():
        raise StudyError(
            f"{path}: {stimulus.name} must be a table of non-negative numbers, not all 0; make that file again."
        )
    return density
