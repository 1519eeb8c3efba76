"""Fixations, trials and quality of every run, into their tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import atan, degrees, radians, tan
from pathlib import Path

import numpy as np
import pandas as pd

from beholder.analysis.gaze.drift import with_other_correction
from beholder.analysis.gaze.exclusion import LIMITS, counted, exclude
from beholder.analysis.gaze.exclusion import remarks as exclusion_remarks
from beholder.analysis.gaze.session_records import Settings, session_remarks, settings_remarks
from beholder.analysis.gaze.trials import RunFixations, fixations_of_import, fixations_of_run
from beholder.analysis.pipeline.find import Inputs
from beholder.analysis.pipeline.versions import VERSION
from beholder.analysis.pipeline.workers import Runner
from beholder.analysis.results.files import key_of, read_table, remarks_of, write_json, write_table
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Apparatus
from beholder.analysis.results.sums import reading
from beholder.analysis.results.tables import FIXATION_COLUMNS, QUALITY_COLUMNS, TRIAL_COLUMNS
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.publishing import IMPORT_REMARKS
from beholder.shared.dataset.reading import Run, fixations_file, read_recording
from beholder.shared.errors import DataError, Remark
from beholder.shared.provenance import digest, file_digest, versions
from beholder.shared.sidecars import events_sidecar, sidecars_of
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study, settings_of_sessions
from beholder.shared.tables import read_fixations

MOUSE = "mouse"  # the name that the recording of a mouse gives as its tracker


@dataclass(frozen=True)
class ViewedTrials:
    """Everybody's fixations, how wide each picture was seen in degrees (absent if unknown), and who was simulated.

    `moved` are the fixations with the correction of drift that the study did not choose; `simulated` has the tracker's
    name by participant, and `imported` are the participants whose samples came out of a tracker's own files.
    """

    fixations: pd.DataFrame
    moved: pd.DataFrame
    trials: pd.DataFrame
    width_deg: dict[str, float]
    simulated: dict[str, str]
    imported: tuple[str, ...]
    remarks: tuple[Remark, ...]
    setup: Apparatus


@dataclass(frozen=True)
class _RunJob:
    run: Run
    imported: bool
    stimuli: tuple[Stimulus, ...]
    study: Study


def fixation_stage(study_folder: Path, study: Study, found: Inputs, run: Runner) -> tuple[ViewedTrials, int]:
    """Everybody's fixations, and 1 where they had to be found anew, else 0."""
    folder = results_folder(study_folder)
    key = digest({
        "version": VERSION["fixations"],
        "settings": study.fixations.model_dump(),
        "exclusion": study.exclusion.model_dump(),
        "checks": study.checks.model_dump(),
        "of sessions": settings_of_sessions(study),
        "packages": versions(("numpy", "scipy", "pandas", "pymovements", "I2MC")),
        "pictures": [[s.stim_file, s.width_px, s.height_px] for s in found.stimuli],
        "recordings": [[r.participant, r.run, [[p.name, file_digest(p)] for p in files_of(r)]]
                       for r in (*found.recordings, *found.imports)],
    })  # fmt: skip
    paths = {name: folder / name for name in ("fixations.parquet", "trials.csv", "quality.csv", "recordings.json")}
    computed = 0
    if key_of(paths["fixations.parquet"]) != key or not all(p.exists() for p in paths.values()):
        computed = 1
        _find_fixations(folder, paths, key, study, found, run)
    with reading(paths["fixations.parquet"]):
        fixations = pd.read_parquet(paths["fixations.parquet"])
    trials = read_table(paths["trials.csv"], TRIAL_COLUMNS)
    if not fixations["used"].any():
        gone = trials.loc[trials["why"].isin(LIMITS), "why"]
        if len(gone):
            raise DataError(
                f"nothing of {study_folder} is left to analyse: the limits of [exclusion] in study.toml leave out "
                f"{len(gone)} of {len(trials)} trials ({counted(gone, study.exclusion)}); see {paths['trials.csv']}, "
                "then record again or set other limits."
            )
        raise DataError(
            f"{study_folder} has no fixation on any picture: see {paths['trials.csv']} for the reason in every trial, "
            "and check the screen's size and the recordings' coordinates."
        )
    with reading(paths["recordings.json"]):
        recordings = json.loads(paths["recordings.json"].read_text("utf-8"))
        width_deg = _set_widths(study, found.stimuli) | recordings["width_deg"]
        simulated, imported = dict(recordings["simulated"]), tuple(recordings["imported"])
        trackers, screens = tuple(recordings["trackers"]), tuple(recordings["screens"])
    noted = [*remarks_of(paths["fixations.parquet"]), *_import_remarks(study_folder)]
    if found.imports and found.recordings:
        text = "stand beside recorded ones: their pictures are taken to have been as large"
        noted.append(Remark("imported fixations", text))
    return ViewedTrials(
        fixations,
        with_other_correction(fixations, trials, found.stimuli, corrected=study.fixations.correct_drift),
        trials,
        width_deg,
        simulated,
        imported,
        tuple(noted),
        Apparatus(trackers, screens, _answers(study_folder, trials)),
    ), computed


def _find_fixations(
    folder: Path, paths: Mapping[str, Path], key: str, study: Study, found: Inputs, run: Runner
) -> None:
    """Fixations of every run, what is excluded of them, and quality, into their tables; nothing stays in memory."""
    jobs = [
        _RunJob(r, imported, found.stimuli, study)
        for imported, some in ((False, found.recordings), (True, found.imports))
        for r in some
    ]
    outcomes = run(_run_fixations, jobs, "fixations")
    begin_writing(folder)
    tables = [outcome.fixations for outcome in outcomes]
    widths, remarks = _shown_widths(found.stimuli, [outcome.width_deg for outcome in outcomes])
    simulated = {job.run.participant: o.model for job, o in zip(jobs, outcomes, strict=True) if o.simulated}
    trials, fixations = exclude(
        _joined([o.trials for o in tables], ["participant", "run", "trial"]),
        _joined([o.fixations for o in tables], ["participant", "run", "trial", "fixation"]),
        study.exclusion,
    )
    of_runs = {
        f"sub-{job.run.participant} run-{job.run.run}": o.settings
        for job, o in zip(jobs, outcomes, strict=True)
        if o.settings
    }
    remarks = [*exclusion_remarks(trials, study.exclusion), *(r for o in tables for r in o.remarks),
               *(r for o in outcomes for r in o.remarks), *settings_remarks(study, of_runs),
               *_missing_trials(trials, found.stimuli), *remarks]  # fmt: skip
    write_table(trials, paths["trials.csv"], TRIAL_COLUMNS)
    write_table(_joined([o.quality for o in tables], ["participant", "run", "eye"]), paths["quality.csv"],
                QUALITY_COLUMNS)  # fmt: skip
    imported = sorted({job.run.participant for job, o in zip(jobs, outcomes, strict=True) if o.imported})
    kept = {
        "width_deg": widths, "simulated": dict(sorted(simulated.items())), "imported": imported,
        "trackers": sorted({o.tracker for o in outcomes if o.tracker}),
        "screens": sorted({o.screen for o in outcomes if o.screen}),
    }  # fmt: skip
    write_json(kept, paths["recordings.json"])
    # Last: with its key it vouches for the tables beside it.
    write_table(fixations, paths["fixations.parquet"], FIXATION_COLUMNS, key=key, remarks=remarks)


def _answers(study_folder: Path, trials: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many of the participants analysed gave each answer of the form, by column; without consent and group."""
    table = read_participants(study_folder).reindex(sorted(set(trials["participant"])))
    return {
        str(column): {str(k): int(n) for k, n in table[column].fillna("n/a").value_counts().sort_index().items()}
        for column in ("age", "sex", "vision")
        if column in table
    }


def files_of(run: Run) -> list[Path]:
    """The run's own files, and the sidecars that hold for it from folders above, as BIDS has it."""
    own = sorted(run.folder.glob(f"{run.prefix}_*"))
    inherited = {sidecar for file in own if file.suffix != ".json" for sidecar in sidecars_of(file)}
    return [*own, *sorted(inherited - {*own})]


@dataclass(frozen=True)
class _RunOutcome:
    """One run's fixations, the width in degrees of each picture as it was shown there, and what recorded it.

    `imported` says that its samples were recorded by another program; `settings` are those that its session was run
    by, `remarks` what that session says of itself.
    """

    fixations: RunFixations
    width_deg: dict[str, float]
    simulated: bool
    model: str
    imported: bool = False
    tracker: str = ""
    screen: str = ""
    settings: Settings = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()


def _run_fixations(job: _RunJob) -> _RunOutcome:
    if job.imported:
        table = read_fixations(fixations_file(job.run), job.study.checks.meant)
        return _RunOutcome(fixations_of_import(job.run, table, job.stimuli, job.study.fixations), {}, False, "")
    recording = read_recording(job.run, job.study.checks.meant)
    by_file = {s.stim_file: s.name for s in job.stimuli}
    widths = {}
    for event in recording.events.to_dict("records"):
        known = isinstance(event.get("picture_width_px"), float) and event["picture_width_px"] > 0
        if event["trial_type"] == "picture" and event["stim_file"] in by_file and known:
            half_cm = float(event["picture_width_px"]) / 2 * recording.screen.width_cm / recording.screen.width_px
            widths[by_file[event["stim_file"]]] = degrees(2 * atan(half_cm / recording.screen.distance_cm))
    fixations = fixations_of_run(recording, job.stimuli, job.study.fixations)
    sidecar = next(iter(recording.sidecars.values()))
    imported = any(bool(sidecar.imported) for sidecar in recording.sidecars.values())
    maker, model = sidecar.manufacturer or "", sidecar.model or ""
    tracker = model if model.lower().startswith(maker.lower()) else f"{maker} {model}".strip()
    software = f" (software {sidecar.software})" if tracker and sidecar.software else ""
    s = recording.screen
    screen = f"{s.width_px} x {s.height_px} px and {s.width_cm:g} x {s.height_cm:g} cm, at {s.distance_cm:g} cm"
    events = events_sidecar(job.run.events_file)
    about = f"sub-{job.run.participant} run-{job.run.run}"
    said = tuple(session_remarks(about, events, recording.sidecars))
    return _RunOutcome(
        fixations, widths, recording.simulated, model, imported, tracker + software, screen, events.settings or {}, said
    )


def _shown_widths(
    stimuli: Sequence[Stimulus], seen: Sequence[dict[str, float]]
) -> tuple[dict[str, float], list[Remark]]:
    """How wide each picture was shown, in degrees: the median over recordings."""
    widths: dict[str, float] = {}
    remarks = []
    for stimulus in stimuli:
        values = [w[stimulus.name] for w in seen if stimulus.name in w]
        if values:
            widths[stimulus.name] = float(np.median(values))
            if max(values) > 1.01 * min(values):
                remarks.append(
                    Remark(
                        stimulus.file.name,
                        f"was seen {min(values):.2f} to {max(values):.2f} degrees wide; "
                        "sigma in degrees takes the median",
                    )
                )
    return widths, remarks


def _set_widths(study: Study, stimuli: Sequence[Stimulus]) -> dict[str, float]:
    """How wide each picture was by study.toml, in degrees: what holds where no recording says it."""
    if study.pictures.size_deg is None:
        return {}
    half = tan(radians(study.pictures.size_deg) / 2)
    longer = study.pictures.size_of == "longer side"
    return {
        s.name: degrees(2 * atan(half * s.width_px / (max(s.width_px, s.height_px) if longer else s.width_px)))
        for s in stimuli
    }


def _import_remarks(study_folder: Path) -> tuple[Remark, ...]:
    """What was noted when fixations were imported."""
    file = study_folder / IMPORT_REMARKS
    try:
        return tuple(Remark(**r) for r in json.loads(file.read_text("utf-8"))) if file.exists() else ()
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read ({error}): put it back as the import wrote it.") from None


def begin_writing(folder: Path) -> None:
    """From here until the summary is written again, the results are not whole, and nobody may report them."""
    (folder / "summary.json").unlink(missing_ok=True)


def _missing_trials(trials: pd.DataFrame, stimuli: Sequence[Stimulus]) -> list[Remark]:
    remarks = []
    for participant, rows in trials.groupby("participant", sort=True):
        missing = sorted({s.name for s in stimuli} - set(rows["stimulus"]))
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            remarks.append(Remark(f"sub-{participant}", f"no trial of {shown}; statistics leave these cells empty"))
    return remarks


def _joined(tables: Sequence[pd.DataFrame], order: list[str]) -> pd.DataFrame:
    # An empty table has no types to join by.
    filled = [t for t in tables if len(t)]
    return pd.concat(filled or tables[:1], ignore_index=True).sort_values(order, kind="stable", ignore_index=True)
