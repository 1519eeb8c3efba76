"""What there is to analyse, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beholder.analysis.results.tables import EVERYBODY, POOLED
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import Run, beh_runs, runs, unread_gaze
from beholder.shared.errors import DataError, Remark
from beholder.shared.recording.journal import journals
from beholder.shared.recording.transaction import finish_changes
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import read_study


@dataclass(frozen=True)
class Inputs:
    """What there is to analyse, before anything is computed."""

    recordings: tuple[Run, ...]
    imports: tuple[Run, ...]
    stimuli: tuple[Stimulus, ...]
    remarks: tuple[Remark, ...]


def find(study_folder: Path) -> Inputs:
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
    return Inputs(recordings, imports, stimuli, remarks)


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
