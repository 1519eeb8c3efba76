"""Add recordings and imports to the data set on disk, wholly or not at all; nothing recorded is ever overwritten.

How a change survives a crash is recording/transaction.py's business; what a session writes while it runs is
recording/journal.py's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from beholder.shared.dataset.participants import answers_of, participants_with, replace_participants
from beholder.shared.errors import DataError, Remark, TakenError
from beholder.shared.inside import inside
from beholder.shared.labels import Label, label
from beholder.shared.recording.journal import RESERVE, exclusive, join_saved, journals, read_journal
from beholder.shared.recording.run_files import json_text, link_sourcedata, tsv_bytes, write_run
from beholder.shared.recording.transaction import Change, change, finish_changes, link, told_in_a_sentence, write_synced
from beholder.shared.study import read_study
from beholder.shared.tables import FIXATION_COLUMNS

IMPORT_REMARKS = "sourcedata/imports.json"  # remarks of imports, which the analysis repeats


# ----------------------------------------------------------------------------------------------------- publishing


def publish(journal_folder: Path, before_step: Callable[[str], None] = lambda step: None) -> tuple[Path, ...]:
    """Make a session's journal part of the data set, and remove it; returns the files that were added, sorted.

    Nothing is returned where the journal holds neither samples nor events, or another process has just published it.
    Files of the journal with rows that cannot be read are kept unchanged in sourcedata.
    Raises DataError where its session is still running, or where files of that run are there already. `before_step` is
    called before each step of the change with its name (for tests that fail there).
    """
    study_folder = journal_folder.parents[2]
    inside(study_folder, journal_folder)
    with exclusive(journal_folder), told_in_a_sentence(journal_folder):
        finish_changes(study_folder)
        if not journal_folder.exists():
            return ()
        if not (journal_folder / "session.json").exists():
            # The session died before it began; there is nothing in it.
            shutil.rmtree(journal_folder)
            return ()
        # The session's reserve is deleted, since publishing needs the room where the disk is full.
        (journal_folder / RESERVE).unlink(missing_ok=True)
        join_saved(journal_folder)
        journal = read_journal(journal_folder)
        participant = label(journal.header.participant, str(journal_folder))
        with _aside(inside(study_folder, journal_folder / "built")) as built:
            # Formatting and compressing take time: they are done before the data set is locked.
            try:
                write_run(journal, built / f"sub-{participant}" / "beh")
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                raise DataError(
                    f"{journal_folder} says what no session writes ({error!r}): it was damaged; it is kept as it is, "
                    "move it out of the study folder and ask for help."
                ) from None
            link_sourcedata(journal, built / "sourcedata" / f"sub-{participant}")
            recorded = any((built / f"sub-{participant}").rglob("*"))
            files = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
            with change(study_folder, before_step) as new:
                if recorded or journal.damaged:
                    if there := [file for file in files if (study_folder / file).exists()]:
                        raise DataError(
                            f"{study_folder / there[0]} exists already, and nothing recorded is overwritten: move "
                            f"{journal_folder} out of the study folder and keep it."
                        )
                    _add(new, built, files, {participant: answers_of(journal.records)} if recorded else {})
                else:
                    files = []
                new.take(journal_folder.relative_to(study_folder).as_posix())
            return tuple(study_folder / file for file in files)


def _add(new: Change, built: Path, files: Sequence[Path], answers: Mapping[Label, Mapping[str, str]]) -> None:
    """Add the files of `built` to a change, with a row of participants.tsv for each participant in `answers`."""
    for who in answers:
        new.carry_over(f"sub-{who}")
    for file in files:
        (new.new / file).parent.mkdir(parents=True, exist_ok=True)
        link(built / file, new.new / file)
    if answers:
        rows = participants_with(new.study_folder, answers)
        replace_participants(new, rows, folders=[f"sub-{who}" for who in answers])
    for file in files:
        if file.parts[0] == "sourcedata":
            new.put(file.as_posix())


def add_imported(
    study_folder: Path,
    built: Path,
    participants: Collection[Label],
    remarks: Sequence[Remark],
    before_step: Callable[[str], None] = lambda step: None,
) -> bool:
    """Add an import's files to the data set, all participants at once; returns False where all are there already.

    built: files of `write_run` and `write_fixation_table` below `sub-*` and `sourcedata`. remarks: remarks of the
    import, which the analysis repeats. Where all files are there already, byte for byte, because an import was cut
    short after its last step, nothing is done. Raises TakenError where only some are there, or with another content.
    """
    files = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
    there = [file for file in files if (study_folder / file).exists()]
    other = [file for file in there if (study_folder / file).read_bytes() != (built / file).read_bytes()]
    if other or 0 < len(there) < len(files):
        raise TakenError(
            f"{study_folder / (other or there)[0]} exists already, and nothing recorded is overwritten: name another "
            "run or participant."
        )
    if there:
        return False
    with change(study_folder, before_step) as new:
        _add(new, built, files, {who: {} for who in sorted(participants)})
        kept = read_import_remarks(study_folder)
        more = [remark for remark in map(asdict, remarks) if remark not in kept]
        if more:
            new.take(IMPORT_REMARKS)
            (new.new / "sourcedata").mkdir(exist_ok=True)
            write_synced(new.new / IMPORT_REMARKS, import_remarks_text([*kept, *more]))
            new.put(IMPORT_REMARKS)
    return True


def read_import_remarks(study_folder: Path) -> list[dict[str, Any]]:
    """The remarks of earlier imports, each with `about` and `text`. Raises DataError where they cannot be read."""
    path = study_folder / IMPORT_REMARKS
    try:
        kept = json.loads(path.read_text("utf-8")) if path.is_file() else []
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): mend it, or remove it.") from None
    if not isinstance(kept, list) or not all(isinstance(remark, dict) for remark in kept):
        raise DataError(f"{path} must be a JSON list of objects: mend it, or remove it.")
    return kept


def import_remarks_text(remarks: Sequence[Mapping[str, Any]]) -> bytes:
    """The content of the file of import remarks."""
    return (json.dumps(list(remarks), indent=1, ensure_ascii=False) + "\n").encode()


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A free path to build files below; what an error leaves there is removed, since a full disk needs the room."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def recover(study_folder: Path) -> tuple[Remark, ...]:
    """Finish what crashes interrupted: a change of the data set, and sessions whose journals were not published.

    Returns a remark for each thing that was found; journals of running sessions are named and left alone.
    """
    remarks = []
    if finish_changes(study_folder):
        remarks.append(Remark(str(study_folder), "a change of the data set that was cut short has been finished"))
    for state in journals(study_folder):
        about = f"sub-{state.participant} run-{state.run}"
        if state.running:
            remarks.append(Remark(about, "is being recorded now; it is left alone"))
            continue
        try:
            if (state.folder / "session.json").exists():
                with exclusive(state.folder), told_in_a_sentence(state.folder):
                    if joined_bytes := join_saved(state.folder):
                        remarks.append(
                            Remark(about, f"{joined_bytes} bytes that its disk refused have been joined to it")
                        )
                remarks += read_journal(state.folder).remarks
            files = publish(state.folder)
        except DataError as error:
            # A journal that cannot be recovered must not keep the others from being recovered.
            remarks.append(Remark(about, f"could not be recovered, and is kept as it is: {error}"))
            continue
        found = f"recovered into {len(files)} files" if files else "nothing had been recorded; its journal is removed"
        remarks.append(Remark(about, f"its session ended without saving: {found}"))
    return tuple(remarks)


# -------------------------------------------------------------------------------------------- imported fixations


def write_fixations(
    study_folder: Path, participant: str, table: pd.DataFrame, answers: Mapping[str, str] | None = None, run: int = 1
) -> Path:
    """Add a participant whose fixations were detected elsewhere; returns the table's path.

    `table` has the columns trial, stim_file, fixation, onset (seconds from the picture's onset, NaN where not known),
    duration (seconds), x_px and y_px (of the picture, from its upper left); other columns are kept. Raises DataError
    where a column is missing, or where that run is there already.
    """
    who = label(participant)
    task = read_study(study_folder).study.task
    with change(study_folder) as new:
        relative = write_fixation_table(new.new, task, who, table, run)
        if (study_folder / relative).exists():
            raise DataError(f"{study_folder / relative} exists already, and nothing recorded is overwritten.")
        new.carry_over(f"sub-{who}")
        rows = participants_with(study_folder, {who: answers or {}})
        replace_participants(new, rows, folders=[f"sub-{who}"])
    return study_folder / relative


def write_fixation_table(folder: Path, task: str, who: Label, table: pd.DataFrame, run: int = 1) -> Path:
    """Write a participant's imported fixations and their JSON file below `folder`; returns the table's path from there.

    `table` and errors as in `write_fixations`.
    """
    if lacking := [name for name in FIXATION_COLUMNS if name not in table]:
        raise DataError(f"the fixations of participant {who} have no column {lacking[0]}; add it.")
    if table.empty:
        raise DataError(f"participant {who} has no fixation: leave them out.")
    relative = Path(f"sub-{who}") / "beh" / f"sub-{who}_task-{task}_run-{run}_beh.tsv"
    file = folder / relative
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = [*FIXATION_COLUMNS, *(str(name) for name in table if name not in FIXATION_COLUMNS)]
    cells = (table[name].tolist() for name in columns)
    write_synced(file, tsv_bytes(columns, (dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True))))
    described = {name: FIXATION_COLUMNS.get(name, {"Description": "As imported."}) for name in columns}
    write_synced(file.with_suffix(".json"), json_text({"TaskName": task, **described}).encode())
    return relative
