"""The analysis as stages with files between them: recordings to fixations, pictures to attention, both to alignment.

Each result carries a key made of its stage's version, its own settings and its inputs' digests; what is up to date is
not computed again, and the keys are found without importing torch. Work is shared out over processes, a picture at a
time, one thread each; every process computes the same bytes, however many there are. No formula stands here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from beholder.analysis.findings.claims import ClaimsFile, claims_files
from beholder.analysis.pipeline.alignment_stage import alignment_stage
from beholder.analysis.pipeline.area_stage import area_stage
from beholder.analysis.pipeline.attention_stage import attention_stage
from beholder.analysis.pipeline.find import Inputs, find
from beholder.analysis.pipeline.fixation_stage import fixation_stage
from beholder.analysis.pipeline.summary import provenance_of, summarise, written_key
from beholder.analysis.pipeline.versions import PACKAGES, VERSION
from beholder.analysis.pipeline.workers import Progress, Runner, runner, untold
from beholder.analysis.results.files import write_description, write_json
from beholder.analysis.results.paths import results_folder
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
from beholder.shared.errors import DataError, Remark, StudyError
from beholder.shared.provenance import digest, file_digest, versions
from beholder.shared.recording.transaction import no_analysis
from beholder.shared.study import Study, read_study, write_study

TABLES = ("fixations.parquet", "trials.csv", "quality.csv", "attention.csv", "areas.parquet")


@dataclass(frozen=True)
class Analysis:
    """What an analysis did: how many pieces of each stage were computed, and how many were up to date already."""

    report: Path
    computed: dict[str, int]
    reused: dict[str, int]
    remarks: tuple[Remark, ...]
    seconds: float


def analyze(
    study_folder: Path,
    *,
    model_names: Sequence[str] = (),
    weights: Path | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    device: str = "cpu",
    found: Inputs | None = None,
    progress: Progress = untold,
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
    task = _Task(study_folder, study, claims, found or find(study_folder), weights, device)
    folder = results_folder(study_folder)
    only_inside(study_folder, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check_device(device)
    with no_analysis(study_folder):
        if workers is None:
            workers = (os.cpu_count() or 1) if device == "cpu" else 1
        mended = drop_damaged(folder)
        unseal(folder)
        with runner(workers, cluster, study_folder, progress) as run:
            while True:
                try:
                    result = _analyze(task, run, progress)
                    break
                except DamagedError as error:
                    # Each round deletes a file: there are only so many.
                    mended.append(drop(folder, error.path))
        seal(folder)
    return replace(result, remarks=(*mended, *result.remarks), seconds=time.time() - started)


@dataclass(frozen=True)
class _Task:
    """What is to be analysed, and on which device."""

    study_folder: Path
    study: Study
    claims: Sequence[ClaimsFile]
    found: Inputs
    weights: Path | None
    device: str


def _analyze(task: _Task, run: Runner, progress: Progress) -> Analysis:
    """One round of `analyze`; raises DamagedError where a file that it kept cannot be read."""
    study_folder, study, found = task.study_folder, task.study, task.found
    folder = results_folder(study_folder)
    computed: dict[str, int] = {}
    reused: dict[str, int] = {}
    people, n = fixation_stage(study_folder, study, found, run)
    _count(computed, reused, "fixations", n, 1)
    seen, n = attention_stage(study, found.stimuli, task.weights, task.device, run)
    _count(computed, reused, "attention", n, len(found.stimuli) * sum(len(s.layers) for s in seen))
    keys, done, halves, remarks = alignment_stage(study_folder, study, found.stimuli, people, seen, task.device, run)
    for stage, n in done.items():
        _count(computed, reused, stage, n, len(keys) // 2)
    area_stage(study_folder, study, found.stimuli, people, seen)
    summary = summarise(study_folder, found, people, seen, halves, remarks)
    del people, seen  # what is said of them is read from the tables
    write_json(summary, folder / "summary.json")
    write_study(study, folder)
    write_description(folder, study)
    report_key = digest({
        "version": VERSION["report"], "packages": versions(PACKAGES), "summary": asdict(summary),
        "settings": study.model_dump(), "keys": sorted(keys),
        "tables": [file_digest(folder / name) for name in TABLES],
        "claims": [[file.name, file_digest(file.path)] for file in task.claims],
        "pictures": [[s.name, s.title, s.kind, file_digest(s.mask) if s.mask else ""] for s in found.stimuli],
    })  # fmt: skip
    report = folder / "report.html"
    provenance = folder / "provenance.json"
    if not report.exists() or written_key(provenance) != report_key:
        # The key comes last, when the report is there: one that was interrupted is made again.
        origin = provenance_of(study_folder, study, found) | {"device": task.device}
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


def conclude(study_folder: Path, progress: Progress = untold) -> Path:
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
    from beholder.analysis.report.page import write_report
    from beholder.analysis.results.study_results import read_results

    results = read_results(study_folder)
    claims_files(study_folder, results.study.alignment.claims)  # a mistake there is told before the work
    found = infer(results, lambda done, total: progress("statistics", done, total))
    write_json(found, results_folder(study_folder) / "inference.json")
    return write_report(study_folder, progress)


def _chosen(study: Study, model_names: Sequence[str], weights: Path | None) -> Study:
    if model_names:
        study = study.model_copy(update={"models": study.models.model_copy(update={"names": list(model_names)})})
    if weights is not None and len(set(study.models.names)) > 1:
        raise StudyError(f"--weights is for one model, and there are {len(study.models.names)}: name one with --model.")
    return study


def _count(computed: dict[str, int], reused: dict[str, int], stage: str, n: int, total: int) -> None:
    computed[stage] = n
    reused[stage] = total - n
