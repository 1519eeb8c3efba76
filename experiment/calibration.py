"""How well gaze is measured: the targets, a calibration of our own, the validation's figures and verdict, and drift.

Calibrating is the tracker's business; for one whose vendor has no calibration there is `fit_correction`. Accuracy,
precision, loss and effective rate are ETDQualitizer's (Niehorster et al. 2026, doi:10.3758/s13428-026-03039-4). But for
`show_target`, which animates a target on a display, nothing here draws, waits or writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

import ETDQualitizer
import numpy as np
from scipy.ndimage import uniform_filter1d

from beholder.experiment.devices import STANDING_OUT, Display, Dot
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import TrackerError
from beholder.shared.gaze import Eye, Samples, position
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.study import LimitSettings

# A target draws the eye to its middle by shrinking; both sizes are of its outer disc.
TARGET_FROM_DEG, TARGET_TO_DEG, TARGET_SHRINKS_S = 1.2, 0.5, 0.6
# In a validation the target has shrunk before the eye is taken to have settled on it.
VALIDATION_SHRINKS_S = 0.4
# The eye needs up to half a second to find a target and to settle on it.
SETTLED_AFTER_S, MEASURED_UNTIL_S = 0.5, 1.5
# Drift check: fixations on the dot.
DRIFT_SHORTEST_S, DRIFT_NEAR_DEG, DRIFT_TOTAL_S = 0.15, 3.0, 0.5
# At most this many samples of a target are kept to be drawn.
_CLOUD = 60
_DISPERSION_DEG, _SMOOTHED_OVER_S, _BRIDGED_GAP_S = 1.0, 0.03, 0.075


# ------------------------------------------------------------------------------------------------------- targets


def calibration_points(screen: Screen, size_deg: float, count: int) -> tuple[Point, ...]:
    """5 targets (middle and corners) or 9 (and the middles of the sides), over 90 % of a square of `size_deg`."""
    grid = [(0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1)]
    if count == 9:
        grid += [(0, -1), (-1, 0), (1, 0), (0, 1)]
    return _on_screen(screen, size_deg, [(0.9 * x, 0.9 * y) for x, y in grid])


def validation_points(screen: Screen, size_deg: float, count: int) -> tuple[Point, ...]:
    """4 targets at the edges of the square that the pictures fill, or 5 with one near its middle.

    Those at the edges are between the corners and the middles of the sides: none of the 5 stands at a calibration
    target's place, or nearer to one than it must. What is measured within them holds for all of a picture: gaze is
    worst where it is farthest from the middle.
    """
    places = [(-0.45, -0.95), (0.95, -0.45), (0.45, 0.95), (-0.95, 0.45), (0.25, 0.2)]
    return _on_screen(screen, size_deg, places[:count])


def _on_screen(screen: Screen, size_deg: float, places: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """Points at places given as shares of half the size from the middle; moved inwards where the screen is smaller."""
    across_deg, _ = screen.to_degrees(np.array(0.95 * screen.width_px), np.array(screen.height_px / 2))
    _, down_deg = screen.to_degrees(np.array(screen.width_px / 2), np.array(0.95 * screen.height_px))
    half_x, half_y = min(size_deg / 2, float(across_deg)), min(size_deg / 2, float(down_deg))
    points = []
    for number, (x, y) in enumerate(places, start=1):
        x_px, y_px = screen.to_px(np.array(x * half_x), np.array(y * half_y))
        points.append(Point(number, round(float(x_px), 2), round(float(y_px), 2)))
    return tuple(points)


def target(screen: Screen, point: Point, diameter_deg: float = TARGET_TO_DEG) -> Dot:
    """A target as it is drawn: a disc with a small one of the background's colour in its middle."""
    inner_px = 0.25 * TARGET_TO_DEG * screen.px_per_deg
    return Dot(point.x_px, point.y_px, diameter_deg * screen.px_per_deg, STANDING_OUT, inner_px)


def show_target(display: Display, point: Point) -> float:
    """Show a calibration target: it shrinks for 0.6 s, then stands; returns when it began to stand."""
    return animate_target(display, point, TARGET_SHRINKS_S)[1]


def animate_target(display: Display, point: Point, shrinks_s: float) -> tuple[float, float]:
    """Show a target that shrinks for `shrinks_s`, then stands; returns its onset, and when it began to stand.

    The display's frames pace it: one shows the target smaller, the next is `hold`'s. A virtual display takes a step or
    two.
    """
    onset_s = stands_s = display.show([target(display.screen, point, TARGET_FROM_DEG)])
    until_s, share = onset_s + shrinks_s, 0.0
    while share < 1:
        display.hold(until_s)
        now_s = display.clock.now_s()
        share = 1.0 if now_s >= until_s else (now_s - onset_s) / shrinks_s
        diameter_deg = TARGET_FROM_DEG + share * (TARGET_TO_DEG - TARGET_FROM_DEG)
        stands_s = display.show([target(display.screen, point, diameter_deg)])
    return onset_s, stands_s


def stand(display: Display, until_s: float) -> None:
    """Let what is shown stand until `until_s` of the display's clock."""
    while display.clock.now_s() < until_s:
        display.hold(until_s)


# -------------------------------------------------------------------------------------- a calibration of our own

# A target was not looked at where gaze lies farther from it, or scatters more.
FARTHEST_DEG, LARGEST_SD_DEG = 8.0, 2.0
FEWEST_POINTS = 4
# Largest condition number of a fit's design, gaze scaled to 1: a fit whose terms are hardly distinct amplifies noise.
_WORST_CONDITION = 30.0


@dataclass(frozen=True)
class Correction:
    """A polynomial in degrees from measured to corrected gaze, for one eye or for both alike.

    `terms_x` and `terms_y` are the coefficients of 1, x, y (and, of the second order, x^2, xy, y^2) for azimuth and
    elevation. `failed` are the targets that were not used, counted from 0 as they were given. `residual_deg` is the
    error that the fit leaves: its root mean square over the targets used. Without `success` gaze stays as it is.
    """

    success: bool
    failed: tuple[int, ...]
    message: str
    terms_x: tuple[float, ...] = (0.0, 1.0, 0.0)
    terms_y: tuple[float, ...] = (0.0, 0.0, 1.0)
    residual_deg: float | None = None

    def degrees(self, gaze_deg: FloatArray) -> FloatArray:
        """Corrected gaze, (n, 2) azimuth and elevation in degrees, of measured gaze (n, 2); NaN stays NaN."""
        design = _design(np.asarray(gaze_deg, np.float64), len(self.terms_x))
        return np.stack([design @ np.array(self.terms_x), design @ np.array(self.terms_y)], axis=1)

    def apply(self, samples: Samples, screen: Screen, eyes: Sequence[Eye] = ("left", "right")) -> Samples:
        """Samples (n,) with the positions of these eyes corrected; the others, times and pupils are as they were."""
        corrected = samples.copy()
        for eye in eyes:
            gaze_deg = np.stack(screen.to_degrees(*position(samples, eye)), axis=1)
            x_px, y_px = screen.to_px(*self.degrees(gaze_deg).T)
            corrected[f"{eye}_x_px"], corrected[f"{eye}_y_px"] = x_px, y_px
        return corrected

    def to_bytes(self) -> bytes:
        """The correction as JSON, as `Calibration.data` keeps it."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @staticmethod
    def from_bytes(data: bytes) -> Correction:
        """The correction that `to_bytes` wrote. Raises TrackerError where the data are no such correction."""
        try:
            values = json.loads(data)
            values.update({name: tuple(values[name]) for name in ("failed", "terms_x", "terms_y")})
            return Correction(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise TrackerError(f"the calibration kept is not one of Beholder's ({error}): calibrate again.") from None


def gaze_on_target(samples: Samples, eye: Eye, screen: Screen) -> tuple[float, float, float]:
    """Median azimuth and elevation of one eye, and their SD over both axes, in degrees; NaN where it was not seen.

    samples: (n,), those of the time that the target stood.
    """
    azimuth, elevation = screen.to_degrees(*position(samples, eye))
    seen = ~(np.isnan(azimuth) | np.isnan(elevation))
    if not seen.any():
        return np.nan, np.nan, np.nan
    azimuth, elevation = azimuth[seen], elevation[seen]
    return float(np.median(azimuth)), float(np.median(elevation)), float(np.hypot(azimuth.std(), elevation.std()))


def fit_correction(targets_deg: FloatArray, gaze_deg: FloatArray, sd_deg: FloatArray | None = None) -> Correction:
    """The correction that brings gaze onto the targets, by least squares in degrees.

    targets_deg, gaze_deg: (n, 2) azimuth and elevation, a row for each target; sd_deg: (n,) the SD of gaze there. A
    target fails where its gaze is missing, more than 8 degrees off, or of an SD over 2 degrees. With 9 good targets the
    fit is of the second order, with fewer affine. Fewer than 4, or targets or gaze that lie on a line, are no success.
    """
    targets_deg, gaze_deg = np.asarray(targets_deg, np.float64), np.asarray(gaze_deg, np.float64)
    scatter = np.zeros(len(gaze_deg)) if sd_deg is None else np.asarray(sd_deg, np.float64)
    # Comparisons with NaN are false: what is missing is not good.
    good = (np.hypot(*(gaze_deg - targets_deg).T) <= FARTHEST_DEG) & (scatter <= LARGEST_SD_DEG)
    failed = tuple(int(i) for i in np.flatnonzero(~good))
    if good.sum() < FEWEST_POINTS:
        few = f"gaze was found on {int(good.sum())} of {len(good)} targets, and {FEWEST_POINTS} are needed"
        return Correction(False, failed, few)
    terms = 6 if good.sum() >= 9 else 3
    scale_deg = float(np.abs(targets_deg[good]).max()) or 1.0
    design = _design(gaze_deg[good] / scale_deg, terms)
    if not _well_posed(design) or not _well_posed(_design(targets_deg[good] / scale_deg, 3)):
        return Correction(False, failed, "gaze hardly moved from target to target")
    powers = np.array([0, 1, 1, 2, 2, 2][:terms])
    found, *_ = np.linalg.lstsq(design, targets_deg[good], rcond=None)
    residuals_deg = np.hypot(*(design @ found - targets_deg[good]).T)
    unscaled = found / scale_deg ** powers[:, None]
    return Correction(
        success=True,
        failed=failed,
        message=f"{int(good.sum())} of {len(good)} targets",
        terms_x=tuple(float(v) for v in unscaled[:, 0]),
        terms_y=tuple(float(v) for v in unscaled[:, 1]),
        residual_deg=round(float(np.sqrt(np.mean(residuals_deg**2))), 6),
    )


def _design(gaze: FloatArray, terms: int) -> FloatArray:
    x, y = gaze.T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y][:terms], axis=1)


def _well_posed(design: FloatArray) -> bool:
    return bool(np.linalg.cond(design) <= _WORST_CONDITION)


# ---------------------------------------------------------------------------------------------------- validation


@dataclass(frozen=True)
class PointQuality:
    """One eye on one target, angles in degrees; None where there were too few samples to say.

    `offset_x_deg` and `offset_y_deg` are gaze less target (rightwards and downwards positive), `accuracy_deg` their
    angle; `samples` counts those with gaze.
    """

    number: int
    x_px: float
    y_px: float
    accuracy_deg: float | None
    offset_x_deg: float | None
    offset_y_deg: float | None
    rms_s2s_deg: float | None
    sd_deg: float | None
    loss_percent: float
    effective_hz: float
    samples: int


@dataclass(frozen=True)
class EyeQuality:
    """One eye over all targets: means over the targets (and the worst), None where any target had no data."""

    accuracy_deg: float | None
    accuracy_worst_deg: float | None
    rms_s2s_deg: float | None
    sd_deg: float | None
    loss_percent: float
    effective_hz: float
    passed: bool
    points: tuple[PointQuality, ...]


@dataclass(frozen=True)
class PointGaze:
    """Where gaze was on a target, to be drawn: some of its samples (n, 2), in px of the screen."""

    cloud_px: FloatArray


@dataclass(frozen=True)
class Validation:
    """A validation of all recorded eyes; it passed where every eye did, by these limits.

    `gaze` is by eye and number of the target.
    """

    begun_s: float
    eyes: dict[Eye, EyeQuality]
    gaze: Mapping[Eye, Mapping[int, PointGaze]] = field(default_factory=dict, compare=False)
    limits: LimitSettings = field(default_factory=LimitSettings, compare=False)

    @property
    def passed(self) -> bool:
        """Whether every eye is within the study's limits; without any eye it is not."""
        return bool(self.eyes) and all(eye.passed for eye in self.eyes.values())

    @property
    def figures(self) -> dict[Eye, dict[str, Any]]:
        """The figures of each eye, as the journal keeps them."""
        return {eye: asdict(quality) for eye, quality in self.eyes.items()}


def point_quality(samples: Samples, eye: Eye, point: Point, screen: Screen, rate_hz: float) -> PointQuality:
    """Figures of one eye on one target, from the samples of `MEASURED_UNTIL_S - SETTLED_AFTER_S` seconds.

    samples: (n,), those that arrived; loss counts against the number that `rate_hz` promised, so samples that never
    came are lost ones too.
    """
    duration_s = MEASURED_UNTIL_S - SETTLED_AFTER_S
    azimuth, elevation = screen.to_degrees(*position(samples, eye))
    seen = ~(np.isnan(azimuth) | np.isnan(elevation))
    accuracy: tuple[float | None, ...] = (None, None, None)
    rms = sd = None
    if seen.any():
        target = screen.to_degrees(np.array(point.x_px), np.array(point.y_px))
        accuracy = ETDQualitizer.accuracy(azimuth, elevation, float(target[0]), float(target[1]))
    if (seen[1:] & seen[:-1]).any():
        rms, _, _ = ETDQualitizer.rms_s2s(azimuth, elevation)
        sd, _, _ = ETDQualitizer.std(azimuth, elevation)
    loss = ETDQualitizer.data_loss_from_expected(azimuth, elevation, duration_s, rate_hz)
    return PointQuality(
        number=point.number,
        x_px=point.x_px,
        y_px=point.y_px,
        accuracy_deg=_rounded(accuracy[0]),
        offset_x_deg=_rounded(accuracy[1]),
        offset_y_deg=_rounded(accuracy[2]),
        rms_s2s_deg=_rounded(rms),
        sd_deg=_rounded(sd),
        # A window may hold a sample more than the rate promises.
        loss_percent=round(float(np.clip(loss, 0, 100)), 4),
        effective_hz=round(float(ETDQualitizer.effective_frequency(azimuth, elevation, duration_s)), 4),
        samples=int(seen.sum()),
    )


def point_gaze(samples: Samples, eye: Eye) -> PointGaze | None:
    """One eye's samples on a target, thinned; None where it was never seen."""
    x_px, y_px = position(samples, eye)
    seen = np.stack([x_px, y_px], axis=1)[~(np.isnan(x_px) | np.isnan(y_px))]
    if not len(seen):
        return None
    return PointGaze(seen[:: ceil(len(seen) / _CLOUD)])


def eye_quality(points: Sequence[PointQuality], limits: LimitSettings) -> EyeQuality:
    """The figures of an eye over all targets, and whether they are within the study's limits; without data never."""
    accuracies = [p.accuracy_deg for p in points if p.accuracy_deg is not None]
    complete = bool(points) and len(accuracies) == len(points)
    loss = float(np.mean([p.loss_percent for p in points])) if points else 100.0
    passed = (
        complete
        and float(np.mean(accuracies)) <= limits.accuracy_mean_deg
        and max(accuracies) <= limits.accuracy_worst_deg
        and loss <= limits.loss_percent
    )
    return EyeQuality(
        accuracy_deg=_rounded(float(np.mean(accuracies))) if complete else None,
        accuracy_worst_deg=_rounded(max(accuracies)) if complete else None,
        rms_s2s_deg=_mean([p.rms_s2s_deg for p in points]),
        sd_deg=_mean([p.sd_deg for p in points]),
        loss_percent=round(loss, 4),
        effective_hz=round(float(np.mean([p.effective_hz for p in points])), 4) if points else 0.0,
        passed=passed,
        points=tuple(points),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return _rounded(float(np.mean(given))) if given and len(given) == len(values) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


# --------------------------------------------------------------------------------------------------------- drift


@dataclass(frozen=True)
class Drift:
    """Gaze less dot in degrees, rightwards and downwards positive, and the angle between the two."""

    x_deg: float
    y_deg: float
    total_deg: float


def drift(samples: Samples, screen: Screen, dot_x_px: float, dot_y_px: float, rate_hz: float) -> Drift | None:
    """The drift check: duration-weighted median of the fixations near the dot; None where they are too short.

    samples: (n,) from 0.5 s after the dot's onset until its end. Fixations are of the mean of the eyes seen, at least
    150 ms long, their middle within 3 degrees of the dot; together they must last 500 ms.
    """
    times = samples["time_s"]
    azimuth, elevation = screen.to_degrees(*position(samples, "mean"))
    dot_azimuth, dot_elevation = (float(v) for v in screen.to_degrees(np.array(dot_x_px), np.array(dot_y_px)))
    found = []
    for first, last in dot_fixations(times, azimuth, elevation, rate_hz):
        x = float(np.nanmedian(azimuth[first : last + 1])) - dot_azimuth
        y = float(np.nanmedian(elevation[first : last + 1])) - dot_elevation
        if np.hypot(x, y) <= DRIFT_NEAR_DEG:
            found.append((x, y, times[last] - times[first] + 1 / rate_hz))
    if not found or sum(duration for _, _, duration in found) < DRIFT_TOTAL_S:
        return None
    xs, ys, durations = np.array(found).T
    x, y = weighted_median(xs, durations), weighted_median(ys, durations)
    return Drift(round(x, 4), round(y, 4), round(float(np.hypot(x, y)), 4))


def dot_fixations(
    times: FloatArray, azimuth: FloatArray, elevation: FloatArray, rate_hz: float
) -> list[tuple[int, int]]:
    """First and last sample of each fixation of at least 150 ms, by dispersion (I-DT, Salvucci and Goldberg 2000).

    times (n,) in seconds, azimuth and elevation (n,) in degrees. Dispersion, the width plus the height of all samples,
    is at most 1 degree after a running mean of 30 ms, which takes the noise of a fast tracker out. Gaps of up to 75 ms
    do not end a fixation. Meant for the drift check during a session; the analysis has its own detection.
    """
    seen = np.flatnonzero(~np.isnan(azimuth))
    if not len(seen):
        return []
    times = times[seen]
    width = max(1, ceil(_SMOOTHED_OVER_S * rate_hz))
    breaks = np.flatnonzero(np.diff(times) > _BRIDGED_GAP_S + 1 / rate_hz) + 1
    found: list[tuple[int, int]] = []
    for part in np.split(np.arange(len(seen)), breaks):
        x = uniform_filter1d(azimuth[seen[part]], width, mode="nearest")
        y = uniform_filter1d(elevation[seen[part]], width, mode="nearest")
        # Half a sample's time is room for the clock's rounding.
        shortest_s = DRIFT_SHORTEST_S - 0.5 / rate_hz
        found += [(int(seen[part[a]]), int(seen[part[b]])) for a, b in _dispersed(times[part], x, y, shortest_s)]
    return found


def _dispersed(times: FloatArray, x: FloatArray, y: FloatArray, shortest_s: float) -> list[tuple[int, int]]:
    found = []
    ends = np.searchsorted(times, times + shortest_s)
    start, n = 0, len(times)
    while start < n and (end := int(ends[start])) < n:
        window = slice(start, end + 1)
        low_x, high_x, low_y, high_y = x[window].min(), x[window].max(), y[window].min(), y[window].max()
        if high_x - low_x + high_y - low_y > _DISPERSION_DEG:
            start += 1
            continue
        end += 1
        while end < n:
            low_x, high_x = min(low_x, x[end]), max(high_x, x[end])
            low_y, high_y = min(low_y, y[end]), max(high_y, y[end])
            if high_x - low_x + high_y - low_y > _DISPERSION_DEG:
                break
            end += 1
        found.append((start, end - 1))
        start = end
    return found


def weighted_median(values: FloatArray, weights: FloatArray) -> float:
    """The value at which half the weight lies on either side; the mean of the two where it falls between.

    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0]))
    2.0
    """
    order = np.argsort(values)
    values, cumulated = values[order], np.cumsum(weights[order])
    half = cumulated[-1] / 2
    at = int(np.searchsorted(cumulated, half))
    if cumulated[at] == half and at + 1 < len(values):
        return float((values[at] + values[at + 1]) / 2)
    return float(values[at])
