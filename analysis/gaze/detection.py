"""Detection of fixations: arrays of gaze samples in, fixations out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.signal import savgol_filter

from beholder.shared.arrays import FloatArray
from beholder.shared.screen import Screen
from beholder.shared.study import FixationSettings

Method = Literal["ivt", "idt", "i2mc"]


# Below this rate a 30 ms window of velocity holds too few samples: "auto" is I2MC then.
LOWEST_IVT_RATE_HZ = 100.0


@dataclass(frozen=True)
class Fixation:
    """One fixation: onset and duration in seconds of the samples' clock, centroid in px of the screen."""

    onset_s: float
    duration_s: float
    x_px: float
    y_px: float


def detect(
    time_s: FloatArray, x_px: FloatArray, y_px: FloatArray, screen: Screen, rate_hz: float, settings: FixationSettings
) -> list[Fixation]:
    """Fixations in a stretch of samples, in order.

    time_s, x_px, y_px: shape (n,), times rising, positions NaN where the eye was not seen.

    Gaps up to `gap_ms` are interpolated; longer ones count as blinks, and `blink_margin_ms` on both sides of them is
    dropped. Spans found by the method are merged where they are less than `merge_ms` and `merge_deg` apart, then those
    shorter than `shortest_ms` are dropped. Centroids are means of the samples that were seen.
    Sources: I-VT and I-DT, Salvucci and Goldberg 2000 (doi:10.1145/355017.355028), as in pymovements; velocity by
    Savitzky and Golay 1964, degree 2; I2MC, Hessels et al. 2017 (doi:10.3758/s13428-016-0822-1).
    """
    time_s, x_px, y_px = _with_absent_samples(time_s, x_px, y_px, rate_hz)
    if len(time_s) < 3:
        return []
    seen = ~(np.isnan(x_px) | np.isnan(y_px))
    x, y, usable = _without_gaps(time_s, x_px, y_px, seen, settings, 1 / rate_hz)
    method = method_for(settings.method, rate_hz)
    if method == "ivt":
        spans = _spans_by_velocity(x, y, screen, rate_hz, settings)
    elif method == "idt":
        spans = _spans_by_dispersion(x, y, screen, rate_hz, settings)
    else:
        spans = _spans_by_clustering(
            time_s, np.where(usable, x_px, np.nan), np.where(usable, y_px, np.nan), screen, rate_hz, settings
        )
    found = [f for f in (_fixation(a, b, time_s, x_px, y_px, seen, rate_hz) for a, b in spans) if f is not None]
    merged = _merge(found, screen, settings)
    return [f for f in merged if f.duration_s * 1000 >= settings.shortest_ms - 1e-6]


def method_for(method: str, rate_hz: float) -> Method:
    """The detection method at a sampling rate, with "auto" resolved. Raises ValueError where there is no such method.

    >>> method_for("auto", 250.0), method_for("auto", 60.0), method_for("idt", 60.0)
    ('ivt', 'i2mc', 'idt')
    """
    if method == "auto":
        return "ivt" if rate_hz >= LOWEST_IVT_RATE_HZ else "i2mc"
    if method not in ("ivt", "idt", "i2mc"):
        raise ValueError(f"the argument 'method' must be auto, ivt, idt or i2mc; {method!r} is not")
    return method  # type: ignore[return-value]


def _with_absent_samples(
    time_s: FloatArray, x_px: FloatArray, y_px: FloatArray, rate_hz: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The samples, with one without gaze added for each that a tracker left out instead of marking it as missing."""
    absent = np.maximum(np.rint(np.diff(time_s) * rate_hz).astype(int) - 1, 0)
    if not absent.any():
        return time_s, x_px, y_px
    before = np.flatnonzero(absent)
    at = np.repeat(before + 1, absent[before])
    steps = np.concatenate([np.arange(1, n + 1) / (n + 1) for n in absent[before]])
    widths = np.repeat(time_s[before + 1] - time_s[before], absent[before])
    times = np.insert(time_s, at, np.repeat(time_s[before], absent[before]) + steps * widths)
    return times, np.insert(x_px, at, np.nan), np.insert(y_px, at, np.nan)


def _without_gaps(
    time_s: FloatArray, x: FloatArray, y: FloatArray, seen: NDArray[np.bool_], settings: FixationSettings, step_s: float
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    usable = seen.copy()
    bridged = np.zeros_like(seen)
    for first, last in _spans(~seen):
        before = time_s[first - 1] if first > 0 else -np.inf
        after = time_s[last + 1] if last + 1 < len(time_s) else np.inf
        if (after - before - step_s) * 1000 <= settings.gap_ms + 1e-6:
            bridged[first : last + 1] = True
        elif np.isfinite(after - before):
            margin = settings.blink_margin_ms / 1000
            usable[(time_s >= before - margin) & (time_s <= after + margin)] = False
    inside = bridged & ~_near_unusable(usable, seen)
    if seen.sum() < 2:
        return np.where(usable, x, np.nan), np.where(usable, y, np.nan), usable
    out = []
    for values in (x, y):
        filled = values.copy()
        # Shape-preserving: it does not overshoot where a gap lies beside a saccade.
        filled[bridged] = PchipInterpolator(time_s[seen], values[seen])(time_s[bridged])
        out.append(np.where(usable | inside, filled, np.nan))
    return out[0], out[1], usable


def _near_unusable(usable: NDArray[np.bool_], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where, (n,), gaps lie next to a sample that was dropped around a blink: they are dropped with it."""
    dropped = seen & ~usable
    out = np.zeros_like(seen)
    for first, last in _spans(~seen):
        left = first > 0 and dropped[first - 1]
        right = last + 1 < len(seen) and dropped[last + 1]
        out[first : last + 1] = left or right
    return out


def _spans_by_velocity(
    x: FloatArray, y: FloatArray, screen: Screen, rate_hz: float, settings: FixationSettings
) -> list[tuple[int, int]]:
    from pymovements.events import ivt

    window = max(3, round(settings.window_ms / 1000 * rate_hz) // 2 * 2 + 1)
    azimuth, elevation = screen.to_degrees(x, y)
    velocities = np.full((len(x), 2), np.nan)
    # Each stretch without a gap is filtered alone: a gap must not be smeared over half a window of good samples.
    known: NDArray[np.bool_] = ~np.isnan(azimuth)
    for first, last in _spans(known):
        span = slice(first, last + 1)
        fitted = min(window, (last - first) // 2 * 2 + 1)
        if fitted >= 3:
            velocities[span, 0] = savgol_filter(azimuth[span], fitted, 2, deriv=1, delta=1 / rate_hz)
            velocities[span, 1] = savgol_filter(elevation[span], fitted, 2, deriv=1, delta=1 / rate_hz)
    velocities[:, 0] *= np.cos(np.radians(elevation))
    events = ivt(velocities, minimum_duration=0, velocity_threshold=settings.velocity_deg_s)
    return list(zip(events.frame["onset"].to_list(), events.frame["offset"].to_list(), strict=True))


def _spans_by_dispersion(
    x: FloatArray, y: FloatArray, screen: Screen, rate_hz: float, settings: FixationSettings
) -> list[tuple[int, int]]:
    from pymovements.events import idt

    shortest = max(2, round(settings.shortest_ms / 1000 * rate_hz))
    if len(x) < shortest:
        return []
    positions = np.stack(screen.to_degrees(x, y), axis=1)
    spans: list[tuple[int, int]] = []
    # idt stretches a window over missing samples; each stretch without any is searched on its own.
    known: NDArray[np.bool_] = np.isfinite(positions[:, 0])
    for first, last in _spans(known):
        if last - first + 1 >= shortest:
            events = idt(
                positions[first : last + 1],
                minimum_duration=shortest,
                dispersion_threshold=settings.dispersion_deg,
            )
            spans += [
                (first + a, first + b)
                for a, b in zip(events.frame["onset"].to_list(), events.frame["offset"].to_list(), strict=True)
            ]
    return spans


def _spans_by_clustering(
    time_s: FloatArray, x: FloatArray, y: FloatArray, screen: Screen, rate_hz: float, settings: FixationSettings
) -> list[tuple[int, int]]:
    from I2MC import I2MC

    rate = round(rate_hz)
    window_s = 0.2
    if len(x) < window_s * rate * 2 or np.isnan(x).all():
        return []
    # The published levels 2, 5 and 10 are for 300 Hz; a level must divide the rate and leave samples to cluster.
    levels = [level for level in (2, 3, 5, 10) if rate % level == 0 and window_s * rate / level >= 4]
    options = {
        "xres": screen.width_px, "yres": screen.height_px, "freq": rate, "missingx": np.nan, "missingy": np.nan,
        "scrSz": [screen.width_cm, screen.height_cm], "disttoscreen": screen.distance_cm,
        "windowtimeInterp": settings.gap_ms / 1000, "windowtime": window_s, "downsamples": levels,
        "downsampFilter": False, "maxMergeDist": settings.merge_deg * screen.px_per_deg,
        "maxMergeTime": settings.merge_ms, "minFixDur": settings.shortest_ms,
    }  # fmt: skip
    data = pd.DataFrame({"time": time_s * 1000, "average_X": x, "average_Y": y})
    with warnings.catch_warnings():
        # I2MC also computes each fixation's precision, which is not used here and warns where there is one sample.
        warnings.simplefilter("ignore", RuntimeWarning)
        found, _, _ = I2MC(data, options, logging=False)
    if not found:
        return []
    return [(int(a), int(b)) for a, b in zip(found["start"], found["end"], strict=True)]


def _fixation(
    first: int, last: int, time_s: FloatArray, x: FloatArray, y: FloatArray, seen: NDArray[np.bool_], rate_hz: float
) -> Fixation | None:
    span = slice(first, last + 1)
    if not seen[span].any():
        return None
    duration = time_s[last] - time_s[first] + 1 / rate_hz
    return Fixation(float(time_s[first]), float(duration), float(np.nanmean(x[span])), float(np.nanmean(y[span])))


def _merge(fixations: list[Fixation], screen: Screen, settings: FixationSettings) -> list[Fixation]:
    merged: list[Fixation] = []
    for fixation in fixations:
        if merged:
            last = merged[-1]
            gap_ms = (fixation.onset_s - last.onset_s - last.duration_s) * 1000
            away = screen.angle_deg(np.array(fixation.x_px), np.array(fixation.y_px), last.x_px, last.y_px)
            if gap_ms < settings.merge_ms and away < settings.merge_deg:
                weight = np.array([last.duration_s, fixation.duration_s]) / (last.duration_s + fixation.duration_s)
                merged[-1] = Fixation(
                    last.onset_s,
                    fixation.onset_s + fixation.duration_s - last.onset_s,
                    float(weight @ [last.x_px, fixation.x_px]),
                    float(weight @ [last.y_px, fixation.y_px]),
                )
                continue
        merged.append(fixation)
    return merged


def _spans(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each stretch of True.

    >>> _spans(np.array([True, True, False, True]))
    [(0, 1), (3, 3)]
    """
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return [(int(a), int(b) - 1) for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)]
