"""Taking a participant out of a study: everything of theirs is listed, deleted, and then looked for once more.

    1. a marker says whose withdrawal has begun: if it is cut short, its label is not taken for a mistyped one later;
    2. what a session could not write to a full disk is deleted from the system's temporary folder;
    3. one change of the data set (recording/transaction.py) takes out the participant's folders, journals and row, what
       was noted when they were imported, and the results of everybody together, which contain them;
    4. every file that is left is searched for the participant, and those that still name them are reported.

No analysis runs meanwhile. The user's cache on this computer holds what models compute from pictures, and nothing about
participants. Copies elsewhere (backups, another computer) are beyond reach.
"""

from __future__ import annotations

import gzip
import re
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.shared.dataset.participants import participant_rows, replace_participants
from beholder.shared.dataset.publishing import IMPORT_REMARKS, import_remarks_text, read_import_remarks
from beholder.shared.errors import DataError
from beholder.shared.inside import inside
from beholder.shared.labels import Label, label
from beholder.shared.recording.journal import journals, journals_folder, saved_elsewhere
from beholder.shared.recording.transaction import change, finish_changes, no_analysis, told_in_a_sentence, write_synced

# Shorter names are parts of too many words.
SHORTEST_NAME = 3


@dataclass(frozen=True)
class Withdrawn:
    """What was deleted or changed, how many files were searched afterwards, and those that still name the person."""

    deleted: tuple[Path, ...]
    searched: int
    left: tuple[Path, ...]


def withdrawal(study_folder: Path, participant: str) -> list[Path]:
    """Everything in a study that holds this participant's data, sorted; participants.tsv stands for their row.

    The whole of derivatives/beholder is among them: what was pooled over participants contains this one. So are rows
    that their session saved in the system's temporary folder because the disk was full. Raises DataError where the
    label is invalid.
    """
    who = label(participant)
    own = [
        *(study_folder / part / f"sub-{who}" for part in ("", "sourcedata")),
        *(state.folder for state in journals(study_folder) if state.participant == who),
        *journals_folder(study_folder).glob(f"sub-{who}_run-*.lock"),
    ]
    found = [path for path in own if path.exists() or path.is_symlink()]
    if any(row["participant_id"] == f"sub-{who}" for row in participant_rows(study_folder)):
        found.append(study_folder / "participants.tsv")
    pooled = study_folder / "derivatives" / "beholder"
    if found and pooled.exists():
        found.append(pooled)
    if _imports_without(study_folder, who) is not None:
        found.append(study_folder / IMPORT_REMARKS)
    return sorted(found) + sorted(_saved(study_folder, who))


def withdraw(
    study_folder: Path,
    participant: str,
    names: Sequence[str] = (),
    before_step: Callable[[str], None] = lambda step: None,
) -> Withdrawn:
    """Delete a participant everywhere in a study, derivatives included, and search what is left for them.

    names: what else the person is called, such as the name of an imported file; they are searched for too. After a
    crash, the same call completes the withdrawal; `recover`, or the next change, completes the deletion alone. Raises
    DataError where there is no such participant, or where their session is running, StudyError during an analysis.
    """
    who = label(participant)
    with no_analysis(study_folder):
        finish_changes(study_folder)
        found = withdrawal(study_folder, who)
        marker = inside(study_folder, study_folder / ".beholder" / "withdrawing")
        begun = marker.is_file() and marker.read_text("utf-8", errors="replace") == who
        if not found and not begun:
            there = ", ".join(row["participant_id"].removeprefix("sub-") for row in participant_rows(study_folder))
            raise DataError(
                f'{study_folder} holds nothing of a participant "{who}": if they were withdrawn before, that is done; '
                f"else check the label (there are {there or 'none'})."
            )
        if running := [state for state in journals(study_folder) if state.participant == who and state.running]:
            raise DataError(f"{running[0].folder} is being recorded now: end that session first.")
        with told_in_a_sentence(study_folder):
            write_synced(marker, who.encode())
            for path in _saved(study_folder, who):
                shutil.rmtree(path)
        called = [*names, *_imported_names(study_folder, who)]
        if found:
            _take_out(study_folder, who, found, before_step)
        searched, left = traces(study_folder, who, called)
        marker.unlink(missing_ok=True)
    return Withdrawn(tuple(found), searched, left)


def _take_out(study_folder: Path, who: Label, found: Sequence[Path], before_step: Callable[[str], None]) -> None:
    with change(study_folder, before_step) as new:
        rows = [row for row in participant_rows(study_folder) if row["participant_id"] != f"sub-{who}"]
        replace_participants(new, rows, [f"sub-{who}"])
        apart = (f"sub-{who}", "participants.tsv", IMPORT_REMARKS)
        for path in found:
            if (
                path.is_relative_to(study_folder)
                and (relative := path.relative_to(study_folder).as_posix()) not in apart
            ):
                new.take(relative)
        remarks = _imports_without(study_folder, who)
        if remarks is not None:
            new.take(IMPORT_REMARKS)
            if remarks:
                kept = new.new / IMPORT_REMARKS
                kept.parent.mkdir(exist_ok=True)
                write_synced(kept, import_remarks_text(remarks))
                new.put(IMPORT_REMARKS)


def _saved(study_folder: Path, who: Label) -> list[Path]:
    """The folders that the participant's sessions saved in the temporary folder, found by their journals' keys."""
    places = (saved_elsewhere(state.folder) for state in journals(study_folder) if state.participant == who)
    return [place for place in places if place is not None]


# The remarks of imports.


def _imports_without(study_folder: Path, who: Label) -> list[dict[str, Any]] | None:
    """The remarks of imports without those about the participant; None where none is about them."""
    kept = read_import_remarks(study_folder)
    named = [re.escape(name) for name in _imported_names(study_folder, who)]
    theirs = re.compile(rf"(?i)(?<!\w)(?:{'|'.join([_of(who), *named])})(?!\w)")
    others = [remark for remark in kept if not any(theirs.search(str(text)) for text in remark.values())]
    return others if len(others) < len(kept) else None


def _imported_names(study_folder: Path, who: Label) -> list[str]:
    """What the participant was called where they were imported from, if that was noted (it was until version 0.1)."""
    noted = (
        (str(remark.get("about", "")), str(remark.get("text", ""))) for remark in read_import_remarks(study_folder)
    )
    names = (about.removeprefix("participant ") for about, text in noted if text == f"is called {who} in the study")
    return [name for name in names if len(name) >= SHORTEST_NAME]


# The search.


def traces(study_folder: Path, who: Label, names: Sequence[str] = ()) -> tuple[int, tuple[Path, ...]]:
    """The number of files of a study that were searched, and those whose name or content still names the participant.

    A label such as 01 is a number in many tables: it counts only after "sub-" or "participant", or as that key's value
    in JSON. `names` count anywhere, in any letter case. Gzip files are searched unpacked.
    """
    words = [re.escape(name.encode()) for name in names if len(name) >= SHORTEST_NAME]
    wanted = re.compile(rb"(?i)(?<![a-z0-9])(?:" + b"|".join([_of(who).encode(), *words]) + rb")(?![a-z0-9])")
    marker = study_folder / ".beholder" / "withdrawing"
    files = [path for path in sorted(study_folder.rglob("*")) if path.is_file() and path != marker]
    left = [
        path
        for path in files
        if wanted.search(path.relative_to(study_folder).as_posix().encode("utf-8", "surrogateescape"))
        or wanted.search(_content(path))
    ]
    return len(files), tuple(left)


def _of(who: Label) -> str:
    """A regular expression for a mention of the participant by their label."""
    return rf"sub-{who}|participant(?:_id)?[\"']?\s*[:=]?\s*[\"']?(?:sub-)?{who}"


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error):
        # A file that cannot be read was not written by Beholder; its name has been searched.
        return b""
