"""Taking a participant out of a study: everything of theirs is listed, deleted, and then looked for once more.

    1. a marker says whose withdrawal has begun: one that is cut short is then told from a label that is mistyped;
    2. what a session could not write to a full disk is deleted from the system's temporary folder;
    3. one change of the data set (recording/transaction.py) takes out the participant's folders, journals and row, what
       was noted when they were imported, and the results of everybody together, which contain them;
    4. every file that is left is searched for the participant, and what still names them is told.

No analysis runs meanwhile. The cache of this computer's user holds what models make of pictures, and nothing of anybody
who looked at them. Copies elsewhere (backups, another computer) are beyond reach.
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

    The whole of derivatives/beholder is among them: what was pooled over participants contains this one. So is what a
    full disk made their session save in the system's temporary folder. Raises DataError where the label is none.
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
    crash in its midst the same call completes it; `recover`, or the next change, completes the deletion. Raises
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
    """What the participant's sessions saved in the temporary folder, known by the keys of their journals."""
    places = (saved_elsewhere(state.folder) for state in journals(study_folder) if state.participant == who)
    return [place for place in places if place is not None]


# What was noted of imports.


def _imports_without(study_folder: Path, who: Label) -> list[dict[str, Any]] | None:
    """The remarks of imports without those on the participant; None where there are none on them."""
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
    """How many files of a study were searched, and those whose name or content still names the participant.

    A label such as 01 stands in many a table as a number: it counts after "sub-", "participant" or as that key's value
    in JSON. `names` count wherever they stand, in whatever case. Packed files are searched unpacked.
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
    """An expression for a mention of the participant by their label."""
    return rf"sub-{who}|participant(?:_id)?[\"']?\s*[:=]?\s*[\"']?(?:sub-)?{who}"


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error):
        # What cannot be read was not ours; its name was looked at.
        return b""
