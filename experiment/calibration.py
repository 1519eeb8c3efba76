"""How well gaze is measured: where the targets stand, the validation's figures and verdict, and the drift check.

Calibrating itself is the tracker's; here is what is computed from samples afterwards. Accuracy, precision, loss and
effective rate are ETDQualitizer's (Niehorster et al. 2026, doi:10.3758/s13428-026-03039-4). Nothing here draws, waits
or writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, cos, pi, sin
from typing import Any

import ETDQualitizer
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from experiment.devices import Point
from shared.gaze import Eye, Samples, position
from shared.screen import Screen
from shared.study import LimitSettings

FloatArray = NDArray[np.float64]

# The eye needs up to half a second to find a target and to settle on it.
SETTLED_AFTER_S, MEASURED_UNTIL_S = 0.5, 1.5
# Drift check: fixations on the dot.
DRIFT_SHORTEST_S, DRIFT_NEAR_DEG, DRIFT_TOTAL_S = 0.15, 3.0, 0.5
_DISPERSION_DEG, _SMOOTHED_OVER_S, _BRIDGED_GAP_S = 1.0, 0.03, 0.075


# ------------------------------------------------------------------------------------------------------- targets


def calibration_points(screen: Screen, size_deg: float, count: int) -> tuple[Point, ...]:
    """5 targets (middle and corners) or 9 (and the middles of the sides), over 90 % of a square of `size_deg`."""
    grid = [(0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1)]
    if count == 9:
        grid += [(0, -1), (-1, 0), (1, 0), (0, 1)]
    return _on_screen(screen, size_deg, [(0.9 * x, 0.9 * y) for x, y in grid])


def validation_points(screen: Screen, size_deg: float, count: int) -> tuple[Point, ...]:
    """`count` targets evenly on a circle of 60 % of the half size, none of them where a calibration target stands."""
    start = -pi / 2 if count == 5 else pi / 4
    angles = [start + 2 * pi * i / count for i in range(count)]
    return _on_screen(screen, size_deg, [(0.6 * cos(a), 0.6 * sin(a)) for a in angles])


def _on_screen(screen: Screen, size_deg: float, places: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """Places as shares of the half size from the middle; drawn in where the screen is smaller than the pictures."""
    across_deg, _ = screen.to_degrees(np.array(0.95 * screen.width_px), np.array(screen.height_px / 2))
    _, down_deg = screen.to_degrees(np.array(screen.width_px / 2), np.array(0.95 * screen.height_px))
    half_x, half_y = min(size_deg / 2, float(across_deg)), min(size_deg / 2, float(down_deg))
    points = []
    for number, (x, y) in enumerate(places, start=1):
        x_px, y_px = screen.to_px(np.array(x * half_x), np.array(y * half_y))
        points.append(Point(number, round(float(x_px), 2), round(float(y_px), 2)))
    return tuple(points)


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
class Validation:
    """A validation of all recorded eyes; it passed where every eye did."""

    begun_s: float
    eyes: dict[Eye, EyeQuality]

    @property
    def passed(self) -> bool:
        """Whether every eye is within the study's limits."""
        return all(eye.passed for eye in self.eyes.values())

    def to_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {"begun_s": self.begun_s, "eyes": {eye: asdict(quality) for eye, quality in self.eyes.items()}}


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


def eye_quality(points: Sequence[PointQuality], limits: LimitSettings) -> EyeQuality:
    """The figures of an eye over all targets, and whether they are within the study's limits; no data never is."""
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
