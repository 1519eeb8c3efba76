"""From gaze samples to fixations on pictures: detection by pymovements or I2MC, then geometry and bookkeeping.

`detect` is the detector over plain arrays; `fixations_of_run` applies it to every picture of a recording, moves
positions from the screen onto the picture, and says of each fixation and each trial whether it is used and why not.
Nothing is blurred, weighted or compared here.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.signal import savgol_filter

from beholder.analysis.results.study_results import FIXATION_COLUMNS, QUALITY_COLUMNS, TRIAL_COLUMNS
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset.reading import Recording, Run
from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye, position
from beholder.shared.screen import Screen
from beholder.shared.sidecars import EyeValidation
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import FixationSettings

Method = Literal["ivt", "idt", "i2mc"]

# Samples around a picture that the detector sees, so that the fixation under way at its onset is found whole.
MARGIN_S = 0.6
# Why a trial has no part in the maps, whatever the study's limits are.
NOT_AS_PLANNED = ("repeat", "interrupted")
NO_FIXATION, NONE_ON_PICTURE = "no fixation", "no fixation on the picture"
# Below this rate a 30 ms window of velocity holds too few samples: detection is I2MC's then.
LOWEST_IVT_RATE_HZ = 100.0


@dataclass(frozen=True)
class Fixation:
    """One fixation: onset and duration in seconds of the samples' clock, centroid in px of the screen."""

    onset_s: float
    duration_s: float
    x_px: float
    y_px: float


@dataclass(frozen=True)
class RunFixations:
    """What one run gives: tables with the columns of `analysis.results`, and remarks."""

    fixations: pd.DataFrame
    trials: pd.DataFrame
    quality: pd.DataFrame
    remarks: tuple[Remark, ...]


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
        spans = _spans_by_clustering(time_s, np.where(usable, x_px, np.nan), np.where(usable, y_px, np.nan), screen,
                                     rate_hz, settings)  # fmt: skip
    found = [f for f in (_fixation(a, b, time_s, x_px, y_px, seen, rate_hz) for a, b in spans) if f is not None]
    merged = _merge(found, screen, settings)
    return [f for f in merged if f.duration_s * 1000 >= settings.shortest_ms - 1e-6]


def method_for(method: str, rate_hz: float) -> Method:
    """What "auto" stands for at a sampling rate.

    >>> method_for("auto", 250.0), method_for("auto", 60.0), method_for("idt", 60.0)
    ('ivt', 'i2mc', 'idt')
    """
    if method == "auto":
        return "ivt" if rate_hz >= LOWEST_IVT_RATE_HZ else "i2mc"
    if method not in ("ivt", "idt", "i2mc"):
        raise ValueError(f"the argument 'method' must be auto, ivt, idt or i2mc; {method!r} is not")
    return method  # type: ignore[return-value]


def fixations_of_run(
    recording: Recording, stimuli: Sequence[Stimulus], settings: FixationSettings
) -> RunFixations:  # fmt: skip
    """Fixations on every picture of one recorded run, in px of the picture and seconds from its onset."""
    about = f"sub-{recording.participant} run-{recording.run}"
    eye, remarks = _eye(recording, settings, about)
    x_px, y_px = position(recording.samples, eye)
    time_s = recording.samples["time_s"] - (recording.samples["time_s"][0] if len(recording.samples) else 0.0)
    by_file = {s.stim_file: s for s in stimuli}
    fixations: list[dict[str, object]] = []
    trials: list[dict[str, Any]] = []
    dot: dict[str, Any] = {}
    # By time: a table's rows may stand in any order, and a picture belongs to the dot before it.
    for event in _records(recording.events.sort_values("onset", kind="stable")):
        if event["trial_type"] == "dot":
            dot = event
        if event["trial_type"] != "picture":
            continue
        if pd.isna(event["stim_file"]):
            text = f"its events do not say which picture was shown at {event['onset']:g} s (stim_file); it is left out"
            remarks.append(Remark(about, text))
            continue
        if np.isnan([_number(event, f"picture_{side}_px") for side in ("x", "y", "width", "height")]).any():
            remarks.append(
                Remark(
                    about,
                    f"trial {event['trial']}: its events do not say where the picture stood (picture_x_px, "
                    "picture_y_px, picture_width_px, picture_height_px); the trial is left out",
                )
            )
            continue
        stimulus = by_file.get(str(event["stim_file"]))
        if stimulus is None:
            remarks.append(
                Remark(
                    about,
                    f"trial {event['trial']} showed {event['stim_file']}, which is not among the study's usable "
                    "pictures; the trial is left out",
                )
            )
            continue
        onset, shown = float(event["onset"]), float(event["duration"])
        # Drift is measured on the dot that stood before the picture.
        before = dot if _number(dot, "trial") == event["trial"] else {}
        drift = _drift(before or event, event, stimulus, recording.screen)
        near = (time_s >= onset - MARGIN_S) & (time_s <= onset + shown + MARGIN_S)
        found = detect(time_s[near], x_px[near], y_px[near], recording.screen, recording.rate_hz, settings)
        repeat = str(event.get("exposure", "first")) == "repeat"
        # "repeated": cut short and shown again; a part of the viewing time is no whole one.
        cut_short = str(event.get("status", "complete")) in ("aborted", "repeated")
        left_out = "repeat" if repeat else "interrupted" if cut_short else ""
        # Fixations are moved after they were found: which they are does not depend on the correction.
        known = not np.isnan([drift["drift_x_px"], drift["drift_y_px"]]).any()
        shift = (drift["drift_x_px"], drift["drift_y_px"]) if settings.correct_drift and known else (0.0, 0.0)
        rows = _on_picture(found, event, stimulus, onset, shown, left_out, settings, shift)
        of_trial = {"participant": recording.participant, "run": recording.run, "trial": int(event["trial"]),
                    "stimulus": stimulus.name}  # fmt: skip
        for order, row in enumerate(rows, start=1):
            row |= of_trial | {"fixation": order, "eye": eye}
        during = (time_s >= onset) & (time_s < onset + shown)
        trials.append(
            of_trial
            | {"status": str(event.get("status", "complete")), "exposure": "repeat" if repeat else "first",
               "shown_s": shown, "dropped_frames": _dropped_frames(before, event)}
            | _viewing(time_s[during] - onset, ~np.isnan(x_px[during]), shown, recording.rate_hz, settings)
            | _validated(recording, eye, onset)
            | drift
            | _verdict(rows, left_out)
        )  # fmt: skip
        fixations += rows
    unmeasured = [str(t["trial"]) for t in trials if np.isnan([t["drift_x_px"], t["drift_y_px"]]).any()]
    if settings.correct_drift and unmeasured:
        text = f"no drift was measured in {len(unmeasured)} of {len(trials)} trials, and none is corrected there"
        remarks.append(Remark(about, f"{text} ({', '.join(unmeasured)})"))
    if not trials:
        kinds = ", ".join(sorted(set(recording.events["trial_type"].astype(str)))) or "none"
        remarks.append(
            Remark(about, f"it has no picture that can be analysed (trial_type in its events: {kinds}); it is left out")
        )
    return RunFixations(
        _table(fixations, FIXATION_COLUMNS), _table(trials, TRIAL_COLUMNS), _quality(recording, eye), tuple(remarks)
    )


def with_other_correction(
    fixations: pd.DataFrame, trials: pd.DataFrame, stimuli: Sequence[Stimulus], *, corrected: bool
) -> pd.DataFrame:
    """The fixations that would be used if drift were treated the other way, moved by the drift on their trial's dot.

    `corrected`: whether the tables' fixations are corrected; the result is then not. A trial without a figure of drift
    stays as it is. Trials that are left out stay so, but for those that have fixations off the picture only: moved,
    they may lie on it. Empty where no drift is known.
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


def fixations_of_import(
    run: Run, table: pd.DataFrame, stimuli: Sequence[Stimulus], settings: FixationSettings
) -> RunFixations:
    """The same of imported fixations: one row a fixation, already in px of the picture.

    All are kept unless `drop_first_imported`; those off the picture are counted and not mapped.
    """
    about = f"sub-{run.participant} run-{run.run}"
    by_file = {s.stim_file: s for s in stimuli}
    remarks: list[Remark] = []
    fixations: list[dict[str, object]] = []
    trials: list[dict[str, object]] = []
    for (trial, stim_file), rows in table.groupby(["trial", "stim_file"], sort=True):
        number = int(str(trial))
        stimulus = by_file.get(str(stim_file))
        if stimulus is None:
            remarks.append(Remark(about, f"{stim_file} is not among the usable pictures; its trial is left out"))
            continue
        ordered = rows.sort_values("fixation", kind="stable")
        kept: list[dict[str, object]] = []
        for order, row in enumerate(_records(ordered), start=1):
            outside = not _inside(row["x_px"], row["y_px"], stimulus)
            first = settings.drop_first_imported and order == 1
            kept.append(
                {"participant": run.participant, "run": run.run, "trial": number, "stimulus": stimulus.name,
                 "fixation": order, "eye": "n/a", "onset_s": row["onset"], "duration_s": row["duration"],
                 "x_px": row["x_px"], "y_px": row["y_px"], "used": not (outside or first),
                 "why": "dot" if first else "outside" if outside else ""}
            )  # fmt: skip
        trials.append(
            {"participant": run.participant, "run": run.run, "trial": number, "stimulus": stimulus.name,
             "status": "complete", "exposure": "first", "passed": "n/a"} | _verdict(kept, "")
        )  # fmt: skip
        fixations += kept
    return RunFixations(
        _table(fixations, FIXATION_COLUMNS), _table(trials, TRIAL_COLUMNS), _table([], QUALITY_COLUMNS), tuple(remarks)
    )


# The detector's parts: each finds spans, pairs of indices of a first and a last sample.


def _with_absent_samples(
    time_s: FloatArray, x_px: FloatArray, y_px: FloatArray, rate_hz: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same samples, and one without gaze for each that a tracker left out instead of marking it as missing."""
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
    """Bridged gaps both of whose neighbours were dropped around a blink: they are dropped with them."""
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
    # Each stretch without a gap on its own: a filter must not smear a gap over half a window of good samples.
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
        # It also describes what it found, and a fixation of one sample has no precision; that is not used here.
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


# Bookkeeping.


def _eye(
    recording: Recording, settings: FixationSettings, about: str
) -> tuple[Eye | Literal["mean"], list[Remark]]:  # fmt: skip
    wanted = settings.eye
    if wanted == "mean" or (wanted != "better" and wanted in recording.eyes):
        return wanted, []
    if wanted != "better":
        raise DataError(
            f"{about} has no {wanted} eye (recorded: {', '.join(recording.eyes)}): "
            'set [fixations] eye = "better" in study.toml.'
        )
    if len(recording.eyes) == 1:
        return recording.eyes[0], []
    errors = {e: _known(_last_validation(recording, e).accuracy_deg) for e in recording.eyes}
    validated = [e for e in recording.eyes if not np.isnan(errors[e])]
    if validated:
        return min(validated, key=lambda e: errors[e]), []
    seen = {e: int((~np.isnan(recording.samples[f"{e}_x_px"])).sum()) for e in recording.eyes}
    eye = max(recording.eyes, key=lambda e: seen[e])
    return eye, [Remark(about, f"neither eye has a validation; the {eye} eye is analysed: more of it was seen")]


def _drift(measured: dict[str, Any], picture: dict[str, Any], stimulus: Stimulus, screen: Screen) -> dict[str, float]:
    """Gaze less dot as the event has it, in degrees, and in px of the picture; NaN where it was not measured."""
    x_deg, y_deg = _number(measured, "drift_x_deg"), _number(measured, "drift_y_deg")
    return {
        "drift_x_deg": x_deg, "drift_y_deg": y_deg, "drift_deg": _number(measured, "drift_deg"),
        "drift_x_px": x_deg * screen.px_per_deg * stimulus.width_px / _number(picture, "picture_width_px"),
        "drift_y_px": y_deg * screen.px_per_deg * stimulus.height_px / _number(picture, "picture_height_px"),
    }  # fmt: skip


def _dropped_frames(dot: dict[str, Any], picture: dict[str, Any]) -> float:
    """Of a trial's dot and picture together; NaN where neither says."""
    frames = [n for n in (_number(dot, "dropped_frames"), _number(picture, "dropped_frames")) if not np.isnan(n)]
    return sum(frames) if frames else np.nan


def _viewing(
    time_s: FloatArray, seen: NDArray[np.bool_], shown_s: float, rate_hz: float, settings: FixationSettings
) -> dict[str, float]:
    """How much of a picture's time has gaze. time_s (n,): of the samples that came, from the picture's onset."""
    expected = round(shown_s * rate_hz)
    if expected < 1:
        return {"samples_expected": 0.0}
    # Samples that never came are lost as surely as those without a position. A window may hold one more than expected.
    lost = 1 - min(int(seen.sum()), expected) / expected
    edges = np.concatenate([[-1 / rate_hz], time_s[seen], [shown_s]])
    gaps_s = np.diff(edges) - 1 / rate_hz
    blink_s = float(gaps_s[gaps_s * 1000 > settings.gap_ms + 1e-6].sum())
    return {
        "samples_expected": float(expected), "loss_percent": round(100 * lost, 4),
        "blink_percent": round(min(100 * blink_s / shown_s, 100 * lost), 4),
        "effective_hz": round(float(seen.sum()) / shown_s, 4),
    }  # fmt: skip


def _validated(recording: Recording, eye: Eye | Literal["mean"], onset_s: float) -> dict[str, object]:
    """The last validation before a time, of the eye that is analysed; without any, the accuracy is not known."""
    eyes = recording.eyes if eye == "mean" else (eye,)
    last = [_validation_before(recording, e, onset_s) for e in eyes]
    accuracy = np.mean([_known(v.accuracy_deg) for v in last])
    verdicts = [_passed(v) for v in last]
    return {"accuracy_deg": round(float(accuracy), 4),
            "passed": next(v for v in ("n/a", "no", "overridden", "yes") if v in verdicts)}  # fmt: skip


def _last_validation(recording: Recording, eye: Eye) -> EyeValidation:
    """The one that was accepted last; nothing is known of it where there was none."""
    return recording.sidecars[eye].validation or EyeValidation()


def _validation_before(recording: Recording, eye: Eye, onset_s: float) -> EyeValidation:
    """Of the validations that the sidecar lists, the last that began before; where it lists none, the only one."""
    listed = recording.sidecars[eye].validations
    if not listed:
        return _last_validation(recording, eye)
    before = [v for v in listed if (v.onset_s or 0.0) <= onset_s]
    return before[-1] if before else EyeValidation()


def _on_picture(
    found: list[Fixation], event: dict[str, object], stimulus: Stimulus, onset: float, shown: float, left_out: str,
    settings: FixationSettings, shift_px: tuple[float, float],
) -> list[dict[str, object]]:  # fmt: skip
    left, top = _number(event, "picture_x_px"), _number(event, "picture_y_px")
    scale_x = stimulus.width_px / _number(event, "picture_width_px")
    scale_y = stimulus.height_px / _number(event, "picture_height_px")
    rows: list[dict[str, object]] = []
    for fixation in found:
        start, end = fixation.onset_s - onset, fixation.onset_s + fixation.duration_s - onset
        if end <= 0 or start >= shown:
            continue
        x = (fixation.x_px - left) * scale_x - shift_px[0]
        y = (fixation.y_px - top) * scale_y - shift_px[1]
        under_way = start < 0
        why = left_out
        if not why and under_way and settings.drop_first:
            why = "dot"
        if not why and not _inside(x, y, stimulus):
            why = "outside"
        # Only what happened while the picture was there belongs to it.
        begin, until = max(start, 0.0), min(end, shown)
        rows.append(
            {"onset_s": begin, "duration_s": until - begin, "x_px": x, "y_px": y, "used": not why, "why": why}
        )  # fmt: skip
    return rows


def _verdict(rows: list[dict[str, object]], left_out: str) -> dict[str, object]:
    total = sum(float(str(r["duration_s"])) for r in rows if r["why"] != "dot")
    outside = sum(float(str(r["duration_s"])) for r in rows if r["why"] == "outside")
    n_used = sum(bool(r["used"]) for r in rows)
    why = left_out
    if not why and not rows:
        why = NO_FIXATION
    elif not why and n_used == 0:
        why = NONE_ON_PICTURE
    return {
        "n_fixations": len(rows), "n_used": n_used, "outside_share": outside / total if total > 0 else np.nan,
        "included": not why, "why": why,
    }  # fmt: skip


def _quality(recording: Recording, used: Eye | Literal["mean"]) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for eye in recording.eyes:
        sidecar, last = recording.sidecars[eye], _last_validation(recording, eye)
        every = sidecar.validations or ([] if sidecar.validation is None else [sidecar.validation])
        by = [v.overridden_by for v in every if v.overridden_by]
        rows.append(
            {"participant": recording.participant, "run": recording.run, "eye": eye, "used": used in (eye, "mean"),
             "passed": _passed(last), "accuracy_deg": _known(last.accuracy_deg),
             "accuracy_worst_deg": _known(last.accuracy_worst_deg), "rms_s2s_deg": _known(last.rms_s2s_deg),
             "sd_deg": _known(last.sd_deg), "loss_percent": _known(last.loss_percent),
             "effective_hz": _known(last.effective_hz), "rate_hz": recording.rate_hz,
             "calibrations": _known(sidecar.calibrations), "validations": len(every),
             "overridden": len(by), "overridden_by": ", ".join(dict.fromkeys(by))}
        )  # fmt: skip
    return _table(rows, QUALITY_COLUMNS)


def _passed(validation: EyeValidation) -> str:
    """A validation's verdict on an eye: yes, no, overridden (it failed and was accepted all the same), or n/a."""
    if validation.passed is None:
        return "n/a"
    return "yes" if validation.passed else "overridden" if validation.overridden_by else "no"


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _inside(x_px: float, y_px: float, stimulus: Stimulus) -> bool:
    return bool(0 <= x_px < stimulus.width_px and 0 <= y_px < stimulus.height_px)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _number(event: dict[str, object], key: str) -> float:
    value = event.get(key, np.nan)
    return float(value) if isinstance(value, int | float | np.number) else np.nan


def _table(rows: list[dict[str, object]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype({k: v for k, v in columns.items() if v != "str"})
