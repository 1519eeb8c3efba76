"""Fixations on every picture of a run, in px of the picture, each with whether it is used and, if not, why.

Fixations are found in detection.py; nothing is blurred, weighted or compared here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from beholder.analysis.gaze.data_quality import quality_table, viewing_quality
from beholder.analysis.gaze.detection import Fixation, detect
from beholder.analysis.gaze.drift import drift_of
from beholder.analysis.gaze.rows import NO_FIXATION, NONE_ON_PICTURE, number_of, records_of, table_of
from beholder.analysis.results.tables import FIXATION_COLUMNS, QUALITY_COLUMNS, TRIAL_COLUMNS
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset.gaze_quality import accuracy_at, eye_of
from beholder.shared.dataset.reading import Recording, Run
from beholder.shared.errors import Remark
from beholder.shared.gaze import Eye, position
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import FixationSettings

# Detection also gets the samples just before and after a picture: the fixation under way at its onset is found whole.
MARGIN_S = 0.6


@dataclass(frozen=True)
class RunFixations:
    """The tables of one run, with the columns of `results.tables`, and remarks."""

    fixations: pd.DataFrame
    trials: pd.DataFrame
    quality: pd.DataFrame
    remarks: tuple[Remark, ...]


def fixations_of_run(recording: Recording, stimuli: Sequence[Stimulus], settings: FixationSettings) -> RunFixations:
    """Fixations on every picture of one recorded run, in px of the picture and seconds from its onset."""
    about = f"sub-{recording.participant} run-{recording.run}"
    eye, remarks = eye_of(recording, settings, about)
    x_px, y_px = position(recording.samples, eye)
    time_s = recording.samples["time_s"] - (recording.samples["time_s"][0] if len(recording.samples) else 0.0)
    by_file = {s.stim_file: s for s in stimuli}
    fixations: list[dict[str, object]] = []
    trials: list[dict[str, Any]] = []
    dot: dict[str, Any] = {}
    # By time: a table's rows may stand in any order, and a picture belongs to the dot before it.
    for event in records_of(recording.events.sort_values("onset", kind="stable")):
        if event["trial_type"] == "dot":
            dot = event
        if event["trial_type"] != "picture":
            continue
        if why := _unusable(event, by_file):
            remarks.append(Remark(about, why))
            continue
        # Drift is measured on the dot that stood before the picture.
        before = dot if number_of(dot, "trial") == event["trial"] else {}
        gaze = _Gaze(recording, eye, time_s, x_px, y_px)
        trial, rows = _trial_of(event, before, by_file[str(event["stim_file"])], gaze, settings)
        trials.append(trial)
        fixations += rows
    unmeasured = [str(t["trial"]) for t in trials if np.isnan([t["drift_x_px"], t["drift_y_px"]]).any()]
    if settings.correct_drift and unmeasured:
        text = f"no drift was measured in {len(unmeasured)} of {len(trials)} trials, and none is corrected there"
        remarks.append(Remark(about, f"{text} ({', '.join(unmeasured)})"))
    if not trials:
        kinds = ", ".join(sorted(set(recording.events["trial_type"].astype(str)))) or "none"
        text = f"it has no picture that can be analysed (trial_type in its events: {kinds}); it is left out"
        remarks.append(Remark(about, text))
    quality = quality_table(recording, eye)
    return RunFixations(table_of(fixations, FIXATION_COLUMNS), table_of(trials, TRIAL_COLUMNS), quality, tuple(remarks))


@dataclass(frozen=True)
class _Gaze:
    """The gaze of a run that is analysed: seconds from the first sample, x and y in px of the screen, (n,) each."""

    recording: Recording
    eye: Eye | Literal["mean"]
    time_s: FloatArray
    x_px: FloatArray
    y_px: FloatArray


def _unusable(event: Mapping[str, Any], by_file: Mapping[str, Stimulus]) -> str:
    """Why a picture's event cannot be analysed, in words; empty where it can be."""
    if pd.isna(event["stim_file"]):
        return f"its events do not say which picture was shown at {event['onset']:g} s (stim_file); it is left out"
    if np.isnan([number_of(event, f"picture_{side}_px") for side in ("x", "y", "width", "height")]).any():
        return (
            f"trial {event['trial']}: its events do not say where the picture stood (picture_x_px, picture_y_px, "
            "picture_width_px, picture_height_px); the trial is left out"
        )
    if str(event["stim_file"]) not in by_file:
        return (
            f"trial {event['trial']} showed {event['stim_file']}, which is not among the study's usable pictures; the "
            "trial is left out"
        )
    return ""


def _trial_of(
    event: Mapping[str, Any], dot: Mapping[str, Any], stimulus: Stimulus, gaze: _Gaze, settings: FixationSettings
) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """The row of a picture's trial and those of its fixations; `dot` is its dot's event, empty where there was none."""
    recording, time_s = gaze.recording, gaze.time_s
    onset, shown = float(event["onset"]), float(event["duration"])
    drift = drift_of(dot or event, event, stimulus, recording.screen)
    near = (time_s >= onset - MARGIN_S) & (time_s <= onset + shown + MARGIN_S)
    found = detect(time_s[near], gaze.x_px[near], gaze.y_px[near], recording.screen, recording.rate_hz, settings)
    repeat = str(event.get("exposure", "first")) == "repeat"
    # A "repeated" picture was cut short and is shown again later: a part of the viewing time is not analysed.
    cut_short = str(event.get("status", "complete")) in ("aborted", "repeated")
    left_out = "repeat" if repeat else "interrupted" if cut_short else ""
    # Drift is corrected after detection, so that the same fixations are found with and without the correction.
    known = not np.isnan([drift["drift_x_px"], drift["drift_y_px"]]).any()
    shift = (drift["drift_x_px"], drift["drift_y_px"]) if settings.correct_drift and known else (0.0, 0.0)
    rows = _on_picture(found, event, stimulus, left_out, settings, shift)
    of_trial = {"participant": recording.participant, "run": recording.run, "trial": int(event["trial"]),
                "stimulus": stimulus.name}  # fmt: skip
    for order, row in enumerate(rows, start=1):
        row |= of_trial | {"fixation": order, "eye": gaze.eye}
    during = (time_s >= onset) & (time_s < onset + shown)
    accuracy_deg, verdict = accuracy_at(recording, gaze.eye, onset)
    trial = (
        of_trial
        | {
            "status": str(event.get("status", "complete")),
            "exposure": "repeat" if repeat else "first",
            "shown_s": shown,
            "dropped_frames": _dropped_frames(dot, event),
        }
        | viewing_quality(time_s[during] - onset, ~np.isnan(gaze.x_px[during]), shown, recording.rate_hz, settings)
        | {"accuracy_deg": accuracy_deg, "passed": verdict}
        | drift
        | _verdict(rows, left_out)
    )
    return trial, rows


def fixations_of_import(
    run: Run, table: pd.DataFrame, stimuli: Sequence[Stimulus], settings: FixationSettings
) -> RunFixations:
    """Fixations on every picture of one imported run; `table` has one row a fixation, already in px of the picture.

    All that are on the picture are used, but with `drop_first_imported` not the first of each trial.
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
        for order, row in enumerate(records_of(ordered), start=1):
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
        table_of(fixations, FIXATION_COLUMNS),
        table_of(trials, TRIAL_COLUMNS),
        table_of([], QUALITY_COLUMNS),
        tuple(remarks),
    )


def _dropped_frames(dot: Mapping[str, Any], picture: Mapping[str, Any]) -> float:
    """Dropped frames of a trial's dot and picture together; NaN where neither event has a number."""
    frames = [n for n in (number_of(dot, "dropped_frames"), number_of(picture, "dropped_frames")) if not np.isnan(n)]
    return sum(frames) if frames else np.nan


def _on_picture(
    found: list[Fixation],
    event: Mapping[str, Any],
    stimulus: Stimulus,
    left_out: str,
    settings: FixationSettings,
    shift_px: tuple[float, float],
) -> list[dict[str, object]]:
    """The rows of the fixations that lie, at least in part, within a picture's viewing time, in px of the picture."""
    onset, shown = float(event["onset"]), float(event["duration"])
    left, top = number_of(event, "picture_x_px"), number_of(event, "picture_y_px")
    scale_x = stimulus.width_px / number_of(event, "picture_width_px")
    scale_y = stimulus.height_px / number_of(event, "picture_height_px")
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


def _inside(x_px: float, y_px: float, stimulus: Stimulus) -> bool:
    return bool(0 <= x_px < stimulus.width_px and 0 <= y_px < stimulus.height_px)
