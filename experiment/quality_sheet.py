"""The sheet at a session's end: what a participant saw and how well gaze was measured, from the published files.

It counts what the analysis will count, by the limits of study.toml, so that it is known while the participant is still
there whether the session can be used. It only reads, and draws no conclusion on where anybody looked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beholder.experiment.plan import SEEN, plan_session
from beholder.shared.dataset.gaze_quality import accuracy_at, eye_of, lost_share
from beholder.shared.dataset.reading import Recording, read_recording, runs
from beholder.shared.errors import DataError
from beholder.shared.gaze import position
from beholder.shared.labels import label
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import Study, read_study
from beholder.shared.tables import read_events


@dataclass(frozen=True)
class QualitySheet:
    """One participant over all runs.

    `planned` to `usable` count pictures: `left` are still to be shown, `usable` may be analysed. `tracked_percent` is
    of the samples promised while pictures stood, of the eye that the analysis takes; `drifts_deg` are of the trials in
    which drift was measured; `accuracy_deg` is the mean error of the last accepted validation, per eye; None where
    there is none.
    """

    participant: str
    planned: int
    left: int
    seen: int
    late: int
    broken_off: int
    usable: int
    why_not: tuple[str, ...]
    missed_frames: int
    tracked_percent: float | None
    drifts_deg: tuple[float, ...]
    drift_limit_deg: float
    accuracy_deg: dict[str, float | None]
    overridden_by: tuple[str, ...]
    needed_percent: float

    @property
    def enough(self) -> bool:
        """Whether enough pictures are usable for the study to keep this participant."""
        return 100 * self.usable >= self.needed_percent * self.planned and self.usable > 0


def quality_sheet(study_folder: Path, participant: str) -> QualitySheet:
    """The sheet of a participant. Raises DataError where they have no run, or a file of theirs is damaged."""
    study, who = read_study(study_folder), label(participant)
    of_participant = [run for run in runs(study_folder, with_gaze=False) if run.participant == who]
    if not of_participant:
        raise DataError(f"{study_folder} has no run of participant {who}: there is nothing to judge.")
    with_gaze = {run.run for run in runs(study_folder) if run.participant == who}
    events = {run.run: read_events(run.events_file, study.checks.meant) for run in of_participant}
    plan = plan_session(study, read_stimuli(study_folder / "stimuli")[0], who, list(events.items()))
    shown, tracked = [], []
    eyes: dict[str, float | None] = {}
    by: dict[str, None] = {}
    for run in of_participant:
        pictures = _with_drift(events[run.run])
        if run.run in with_gaze:
            recording = read_recording(run, study.checks.meant)
            pictures = pictures.assign(**_quality(recording, pictures, study))
            tracked.append((1 - pictures["loss_percent"] / 100) * pictures["duration"])
            for eye, sidecar in recording.sidecars.items():
                eyes[eye] = sidecar.validation.accuracy_deg if sidecar.validation is not None else None
                by |= dict.fromkeys(str(v.overridden_by) for v in sidecar.validations or () if v.overridden_by)
        shown.append(pictures)
    table = pd.concat(shown, ignore_index=True)
    ended = table["status"].isin(SEEN)
    seen = table[ended]
    broken = _broken(seen, study)
    total_s = float(table.loc[table["loss_percent"].notna(), "duration"].sum()) if tracked else 0.0
    return QualitySheet(
        participant=who,
        planned=plan.pictures,
        left=len(plan.trials),
        seen=len(seen),
        late=int((seen["status"] == "late").sum()),
        broken_off=int((~ended).sum()),
        usable=int((broken == "").sum()),
        why_not=tuple(f"{reason}: {count}" for reason, count in broken[broken != ""].value_counts().items()),
        missed_frames=int(pd.concat(events.values())["dropped_frames"].sum()),
        tracked_percent=100 * float(sum(t.sum() for t in tracked)) / total_s if total_s else None,
        drifts_deg=tuple(float(v) for v in pd.concat(events.values())["drift_deg"].dropna()),
        drift_limit_deg=study.limits.drift_deg,
        accuracy_deg=eyes,
        overridden_by=tuple(by),
        needed_percent=study.exclusion.participant_percent,
    )


def _with_drift(events: pd.DataFrame) -> pd.DataFrame:
    """The pictures of a run, each with the drift that was measured on the dot before it."""
    ordered = events.sort_values("onset", kind="stable")
    pictures = ordered.query("trial_type == 'picture'").drop(columns="drift_deg")
    dots = ordered.query("trial_type == 'dot'")[["onset", "trial", "drift_deg"]]
    return pd.merge_asof(pictures, dots, on="onset", by="trial")


def _quality(recording: Recording, pictures: pd.DataFrame, study: Study) -> dict[str, list[Any]]:
    """For each picture the samples lost of the eye that the analysis takes, and the validation before it."""
    eye, _ = eye_of(recording, study.fixations, f"sub-{recording.participant} run-{recording.run}")
    times = recording.samples["time_s"] - recording.samples["time_s"][0]
    gaze = ~np.isnan(position(recording.samples, eye)[0])
    found: dict[str, list[Any]] = {"loss_percent": [], "accuracy_deg": [], "passed": []}
    for onset, duration in zip(pictures["onset"], pictures["duration"], strict=True):
        within = (times >= onset) & (times < onset + duration)
        lost = lost_share(int((gaze & within).sum()), duration, recording.rate_hz)
        accuracy_deg, verdict = accuracy_at(recording, eye, onset)
        found["loss_percent"].append(np.nan if lost is None else round(100 * lost, 4))
        found["accuracy_deg"].append(accuracy_deg)
        found["passed"].append(verdict)
    return found


def _broken(seen: pd.DataFrame, study: Study) -> pd.Series[str]:
    """For each picture that was seen, the first limit of [exclusion] that it breaks, in words; empty where none.

    As in the analysis, what has no figure is kept, but for a validation that was made and gave none.
    """
    limits = study.exclusion
    seen = seen.reindex(columns=[*seen.columns, *({"loss_percent", "accuracy_deg", "passed"} - {*seen.columns})])
    why = pd.Series("", index=seen.index, dtype=object)
    no_figure = seen["accuracy_deg"].isna() & seen["passed"].notna() & (seen["passed"] != "n/a")
    rules = {
        "shown late": (seen["status"] == "late") & limits.late,
        "seen before": seen["exposure"] == "repeat",
        "no gaze recorded": seen["loss_percent"].isna(),
        f"more than {limits.trial_loss_percent:g} % of samples lost": seen["loss_percent"] > limits.trial_loss_percent,
        "too much drift": seen["drift_deg"] > (limits.trial_drift_deg or float("inf")),
        "validation not good enough": (seen["accuracy_deg"] > (limits.accuracy_deg or float("inf")))
        | (no_figure & (limits.accuracy_deg is not None)),
    }
    for words, broken in reversed(rules.items()):
        why = why.mask(broken.astype(bool), words)
    return why


def sheet_lines(sheet: QualitySheet) -> Iterator[str]:
    """The lines of the sheet as it is printed."""
    yield f"Quality of participant {sheet.participant}:"
    cut = f", {sheet.broken_off} broken off" if sheet.broken_off else ""
    yield f"  pictures    {sheet.seen} of {sheet.planned} seen, {sheet.left} left, {sheet.late} late{cut}"
    yield f"  frames      {sheet.missed_frames} missed"
    tracked = "n/a" if sheet.tracked_percent is None else f"{sheet.tracked_percent:.0f} %"
    yield f"  tracked     {tracked} of the samples promised while pictures stood"
    if sheet.drifts_deg:
        over = sum(value > sheet.drift_limit_deg for value in sheet.drifts_deg)
        middle, most = float(np.median(sheet.drifts_deg)), max(sheet.drifts_deg)
        yield f"  drift       median {middle:.1f}, at most {most:.1f} deg; {over} over {sheet.drift_limit_deg:g}"
    else:
        yield "  drift       n/a"
    errors = ", ".join(f"{e} {v:.2f} deg" if v is not None else f"{e} n/a" for e, v in sheet.accuracy_deg.items())
    by = f"; accepted beyond the limits by {', '.join(sheet.overridden_by)}" if sheet.overridden_by else ""
    yield f"  validation  {errors or 'n/a'}{by}"
    reasons = f" ({'; '.join(sheet.why_not)})" if sheet.why_not else ""
    verdict = "usable" if sheet.enough else "NOT USABLE"
    yield f"  {verdict}: {sheet.usable} of {sheet.planned} pictures by the limits of study.toml{reasons}"
