"""The study on disk, a BIDS 1.11 data set: making one, publishing sessions into it, reading it.

    dataset_description.json  README  .bidsignore  participants.tsv/.json  study.toml  stimuli/
    sub-01/beh/sub-01_task-viewing_run-1_recording-eye1_physio.tsv.gz/.json        gaze, one file an eye
    sub-01/beh/sub-01_task-viewing_run-1_recording-eye1_physioevents.tsv.gz/.json  messages, blinks
    sub-01/beh/sub-01_task-viewing_run-1_events.tsv/.json                          what was shown when
    sub-01/beh/sub-01_task-viewing_run-1_beh.tsv/.json                             imported fixations, without samples
    sourcedata/sub-01/                                                             the tracker's own files; not shared

Nothing that was recorded is ever overwritten. How a change survives a crash is `shared.publishing`'s business; what a
session writes while it runs is `shared.journal`'s. Other people's BIDS eye tracking is read too, where it says what it
must: `shared.sidecars` and `shared.tables` check what it says. Nothing is computed from the gaze here.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.shared.errors import DataError, Remark, StudyError
from beholder.shared.gaze import SAMPLE, Eye, Samples
from beholder.shared.inside import inside
from beholder.shared.journal import RESERVE, Record, exclusive, join_saved, parse_rows, read_journal
from beholder.shared.journal import JournalState as JournalState
from beholder.shared.journal import journals as journals
from beholder.shared.labels import Label, label, not_a_label
from beholder.shared.parsing import from_spreadsheets, shortened
from beholder.shared.publishing import Change, change, finish_changes, link, told_in_a_sentence, write_synced
from beholder.shared.run_files import PHYSIO_COLUMNS, json_text, link_sourcedata, safe_cell, tsv_bytes, write_run
from beholder.shared.screen import Screen
from beholder.shared.sidecars import PhysioSidecar, entities, events_sidecar, physio_sidecar
from beholder.shared.stimuli import copy_stimuli
from beholder.shared.study import Meant, Study, read_study, write_study
from beholder.shared.tables import FIXATION_COLUMNS
from beholder.shared.tables import read_events as read_events
from beholder.shared.tables import read_fixations as read_fixations

BIDS_VERSION = "1.11.0"
IMPORT_REMARKS = "sourcedata/imports.json"  # what was noted when fixations came in; the analysis repeats it
OLDEST_AGE = 89  # years; higher ages are recorded as this one, since they may identify a person
_PARTICIPANT_COLUMNS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "The participant's label; the list of names is not part of the data."},
    "age": {"Description": f"Age at the session; {OLDEST_AGE} stands for {OLDEST_AGE} and above.", "Units": "year"},
    "sex": {"Description": "Sex, as the participant answered.", "Levels": {"F": "female", "M": "male", "O": "other"}},
    "group": {"Description": "The group that the study compares."},
    "consent": {
        "Description": "Whether the participant confirmed to take part, informed and of their own free will.",
        "Levels": {"yes": "confirmed"},
    },
    "vision": {
        "Description": "What the participant wore to see the screen well, as they answered.",
        "Levels": {
            "none": "nothing",
            "glasses": "glasses",
            "contact lenses": "contact lenses",
            "other": "something else",
        },
    },
}
_GAZE_FILES = "*_recording-eye[123]_physio.tsv.gz"
_README = """# {name}

An eye-tracking study of pictures, recorded with Beholder as a BIDS {bids} data set.

Each participant looked at the pictures of the folder `stimuli`, a dot before each. Gaze is in
`sub-*/beh/*_physio.tsv.gz`, one file an eye, in pixels of the screen with their origin in its upper left corner; what
was shown when is in `*_events.tsv`. Every setting of the study is in `study.toml`. Files in `sourcedata` are the
tracker's own and are not meant to be shared.
"""
_SOURCEDATA_README = """The trackers' own files, kept as they came. Not for sharing: they may hold dates and images.
"""


# --------------------------------------------------------------------------------------------------------- making


def create_study(folder: Path, study: Study, stimuli_source: Path) -> tuple[Remark, ...]:
    """Make a study's folder: settings, description, pictures; the data set is valid from the start.

    It is made aside and renamed, so nothing half-made remains. Returns what its user must know of the pictures. Raises
    StudyError where the folder is not empty, and DataError where a picture cannot be used.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} exists already and is not empty: name another folder for the study.")
    # Resolved, so that "." has a name too.
    whole = folder.resolve()
    part = whole.with_name(f".{whole.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        write_study(study, part)
        (part / "dataset_description.json").write_text(json_text(_description(study.study.name)), encoding="utf-8")
        (part / ".bidsignore").write_text("study.toml\n.beholder/\n", encoding="utf-8")
        readme = _README.format(name=study.study.name, bids=BIDS_VERSION)
        (part / "README").write_text(readme, encoding="utf-8")
        (part / "sourcedata").mkdir()
        (part / "sourcedata" / "README").write_text(_SOURCEDATA_README, encoding="utf-8")
        _, remarks = copy_stimuli(stimuli_source, part / "stimuli")
    except OSError as error:
        raise StudyError(f"{folder} cannot be made ({error}): name a folder that you may write to.") from None
    else:
        if whole.exists():
            whole.rmdir()
        part.rename(whole)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return remarks


def _description(name: str) -> dict[str, Any]:
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "Beholder", "Version": beholder_version()}],
    }


def beholder_version() -> str:
    """The version of this program, as its package says it."""
    try:
        return metadata.version("beholder")
    except metadata.PackageNotFoundError:
        return "unknown"


# ----------------------------------------------------------------------------------------------------- publishing


def publish(journal_folder: Path, before_step: Callable[[str], None] = lambda step: None) -> tuple[Path, ...]:
    """Make a session's journal part of the data set, and remove it; returns the files that were added, sorted.

    Nothing is returned where the journal holds neither samples nor events, or another process has just published it.
    A file of it with rows that cannot be read is kept as it is in sourcedata.
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
        # The room that its session held is publishing's, which needs it where the disk is full.
        (journal_folder / RESERVE).unlink(missing_ok=True)
        join_saved(journal_folder)
        journal = read_journal(journal_folder)
        participant = label(str(journal.header["participant"]), str(journal_folder))
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
                    _add(new, built, files, {participant: _answers(journal.records)} if recorded else {})
                else:
                    files = []
                new.take(journal_folder.relative_to(study_folder).as_posix())
            return tuple(study_folder / file for file in files)


def _add(new: Change, built: Path, files: Sequence[Path], answers: Mapping[Label, Mapping[str, str]]) -> None:
    """Steps that bring what was built aside into the data set, with a row of participants.tsv for each of `answers`."""
    for who in answers:
        new.carry_over(f"sub-{who}")
    for file in files:
        (new.new / file).parent.mkdir(parents=True, exist_ok=True)
        link(built / file, new.new / file)
    if answers:
        rows = _participants_with(new.study_folder, answers)
        replace_participants(new, rows, folders=[f"sub-{who}" for who in answers])
    for file in files:
        if file.parts[0] == "sourcedata":
            new.put(file.as_posix())


def add_imported(
    study_folder: Path, built: Path, participants: Collection[Label], remarks: Sequence[Remark],
    before_step: Callable[[str], None] = lambda step: None,
) -> bool:  # fmt: skip
    """Make what an import built aside part of the data set, all participants at once; returns whether it was not yet.

    built: files of `write_run` and `write_fixation_table` below `sub-*` and `sourcedata`. remarks: what was noted, for
    the analysis to repeat. Where all of it is there already, byte for byte, because an import was cut short after its
    last step, nothing is done. Raises DataError where some of it is there, or is there with another content.
    """
    files = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
    there = [file for file in files if (study_folder / file).exists()]
    other = [file for file in there if (study_folder / file).read_bytes() != (built / file).read_bytes()]
    if other or 0 < len(there) < len(files):
        raise DataError(
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
    """What was noted while importing, each with `about` and `text`. Raises DataError where it cannot be read."""
    path = study_folder / IMPORT_REMARKS
    try:
        kept = json.loads(path.read_text("utf-8")) if path.is_file() else []
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): mend it, or remove it.") from None
    if not isinstance(kept, list) or not all(isinstance(remark, dict) for remark in kept):
        raise DataError(f"{path} must be a JSON list of objects: mend it, or remove it.")
    return kept


def import_remarks_text(remarks: Sequence[Mapping[str, Any]]) -> bytes:
    """The file of what was noted while importing."""
    return (json.dumps(list(remarks), indent=1, ensure_ascii=False) + "\n").encode()


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """An empty place to build in; what an error leaves there is removed, since a full disk needs the room."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def recover(study_folder: Path) -> tuple[Remark, ...]:
    """Finish what a crash interrupted: a change in its midst, and the journals of sessions that ended without one.

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
            # One that cannot be recovered does not keep the others from it.
            remarks.append(Remark(about, f"could not be recovered, and is kept as it is: {error}"))
            continue
        found = f"recovered into {len(files)} files" if files else "nothing had been recorded; its journal is removed"
        remarks.append(Remark(about, f"its session ended without saving: {found}"))
    return tuple(remarks)


# --------------------------------------------------------------------------------------------------- participants


def read_participants(study_folder: Path) -> pd.DataFrame:
    """participants.tsv as text, one row a participant, indexed by the label without "sub-"; n/a is NaN.

    An empty table where there is none yet. Raises DataError where it is not readable.
    """
    rows = participant_rows(study_folder)
    cells = [{name: np.nan if cell == "n/a" else cell for name, cell in row.items()} for row in rows]
    table = pd.DataFrame(cells, columns=list(rows[0]) if rows else ["participant_id"], dtype=object)
    table.insert(0, "participant", [row["participant_id"].removeprefix("sub-") for row in rows])
    return table.set_index("participant")


def participant_rows(study_folder: Path) -> list[dict[str, str]]:
    """The rows of participants.tsv as written, none where there is no table. Raises DataError."""
    path = study_folder / "participants.tsv"
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            names = reader.fieldnames or []
            rows = [
                {name: from_spreadsheets(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): save it as tab separated text in UTF-8.") from None
    if "participant_id" not in names:
        raise DataError(f"{path} has no column participant_id: its first line must name the columns, tab separated.")
    if len(set(names)) < len(names):
        raise DataError(f"{path} names a column twice in its first line ({', '.join(names)}): remove one.")
    lines: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        # DictReader gives None for cells that a line lacks, and a list under None for those it has too many.
        if None in row or None in row.values():
            raise DataError(f"{path}, line {line} does not have {len(names)} columns: mend that line.")
        name = row["participant_id"]
        if not name.startswith("sub-") or (why := not_a_label(name.removeprefix("sub-"))):
            why = why if name.startswith("sub-") else 'it must be "sub-" and a label'
            raise DataError(f"{path}, line {line}: participant_id {shortened(name)}: {why}: mend that line.")
        first = lines.setdefault(row["participant_id"], line)
        if first != line:
            raise DataError(f"{path}, lines {first} and {line} are both {row['participant_id']}: remove one of them.")
    return rows


def _answers(records: Iterable[Record]) -> dict[str, str]:
    answers: dict[str, str] = {}
    for record in records:
        if record.kind == "form":
            answers.update({name: str(value) for name, value in record.value.items()})
    return answers


def _participants_with(study_folder: Path, answers: Mapping[Label, Mapping[str, str]]) -> list[dict[str, str]]:
    """The rows of participants.tsv with these among them, sorted; answers that are there already stay."""
    rows = {row["participant_id"]: row for row in participant_rows(study_folder)}
    # A table that begins now has a row for each participant who is there already: the validator compares the two.
    there = [folder.name for folder in study_folder.glob("sub-*") if folder.is_dir()]
    for name in (*there, *(f"sub-{who}" for who in answers)):
        rows.setdefault(name, {"participant_id": name})
    for who, of_one in answers.items():
        row = rows[f"sub-{who}"]
        for name, answer in of_one.items():
            if row.get(name, "n/a") == "n/a":
                row[name] = str(OLDEST_AGE) if name == "age" and _above_oldest(answer) else safe_cell(answer)
    return [rows[name] for name in sorted(rows)]


def _above_oldest(age: str) -> bool:
    try:
        return float(age) > OLDEST_AGE
    except ValueError:
        return False


def replace_participants(new: Change, rows: Sequence[Mapping[str, str]], folders: Sequence[str]) -> None:
    """Steps that swap `folders` (those that exist in `new`; others only go) and the two tables of participants."""
    # Tables out first, in last: the validator compares them with the folders. JSON never stands without its table.
    new.take("participants.json")
    new.take("participants.tsv")
    for folder in folders:
        new.take(folder)
        new.put(folder)
    if not rows:
        return
    columns = list(dict.fromkeys(["participant_id", *(name for row in rows for name in row)]))
    write_synced(new.new / "participants.tsv", tsv_bytes(columns, rows))
    path = new.study_folder / "participants.json"
    try:
        known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): mend it.") from None
    if not isinstance(known, dict):
        raise DataError(f"{path} must be a JSON object, keys and values in braces: mend it.")
    asked = {name: {"Description": "Answer to the study's form."} for name in columns}
    described = {**asked, **{name: text for name, text in _PARTICIPANT_COLUMNS.items() if name in columns}, **known}
    write_synced(new.new / "participants.json", json_text(described).encode())
    new.put("participants.tsv")
    new.put("participants.json")


# ------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, order=True)
class Run:
    """A run of a participant in the data set, and where its files lie; `prefix` begins all their names."""

    participant: str
    session: str
    task: str
    run: int
    folder: Path
    prefix: str

    @property
    def events_file(self) -> Path:
        """What was shown when."""
        return self.folder / f"{self.prefix}_events.tsv"

    def physio_files(self) -> dict[str, Path]:
        """The gaze files by their recording ("eye1", "eye2", "eye3")."""
        found = {}
        for recording in ("eye1", "eye2", "eye3"):
            path = self.folder / f"{self.prefix}_recording-{recording}_physio.tsv.gz"
            if path.exists():
                found[recording] = path
        return found


@dataclass(frozen=True)
class Recording:
    """A run as read.

    `samples` (n,) of `shared.gaze.SAMPLE`, time on the tracker's clock; `events` has onset in seconds from the first
    sample, so a sample's time there is `time_s - time_s[0]`.
    """

    participant: str
    run: int
    samples: Samples
    rate_hz: float
    screen: Screen
    eyes: tuple[Eye, ...]
    simulated: bool
    events: pd.DataFrame
    sidecars: Mapping[Eye, PhysioSidecar]


def runs(study_folder: Path, *, with_gaze: bool = True) -> tuple[Run, ...]:
    """The recordings in a data set, sorted by participant, session, task and run.

    With `with_gaze` False those are among them that ended before the first gaze sample and have only events.
    """
    found = {_run_of(path, "_recording-") for path in _data_files(study_folder, _GAZE_FILES)}
    if not with_gaze:
        found |= {_run_of(path, "_events.tsv") for path in _data_files(study_folder, "*_events.tsv")}
    return tuple(sorted(found))


def beh_runs(study_folder: Path) -> tuple[Run, ...]:
    """The runs that were imported as fixations, without samples; sorted likewise."""
    return tuple(sorted(_run_of(path, "_beh.tsv") for path in _data_files(study_folder, "*_beh.tsv")))


def unread_gaze(study_folder: Path) -> tuple[Remark, ...]:
    """Remarks on files that look like gaze and are in no run by their names, and on gaze that is described and gone."""
    read = set(_data_files(study_folder, _GAZE_FILES))
    unread = set(_data_files(study_folder, "*_physio.tsv*")) - read
    described = (path.with_suffix(".tsv.gz") for path in _data_files(study_folder, "*_recording-eye[123]_physio.json"))
    # A JSON file without gaze of its own may hold for others in its folder and below.
    gone = {
        path for path in described
        if path not in read
        and not any(path.parent in file.parents and _named(path) <= _named(file) for file in read)
    }  # fmt: skip
    return tuple(
        Remark(min(paths).name, text + (f" (the first of {len(paths)} such files)" if len(paths) > 1 else ""))
        for paths, text in (
            (unread, "is not read: gaze is in files called ..._recording-eye1_physio.tsv.gz (or eye2, eye3)"),
            (gone, "is not there, though its JSON file is: it was moved or renamed, and that eye is not analysed"),
        ) if paths
    )  # fmt: skip


def _named(gaze_file: Path) -> set[tuple[str, str]]:
    return set(entities(gaze_file.name.removesuffix("_physio.tsv.gz")).items())


def fixations_file(run: Run) -> Path:
    """The table of imported fixations of a run of `beh_runs`."""
    return run.folder / f"{run.prefix}_beh.tsv"


def _data_files(study_folder: Path, pattern: str) -> list[Path]:
    return [path for deep in ("sub-*/*", "sub-*/ses-*/*") for path in study_folder.glob(f"{deep}/{pattern}")]


def _run_of(path: Path, after_prefix: str) -> Run:
    prefix = path.name.partition(after_prefix)[0]
    named = entities(prefix)
    folder = next(name for name in reversed(path.parts[:-1]) if name.startswith("sub-"))
    if f"sub-{named.get('sub')}" != folder or "task" not in named:
        raise DataError(f"{path}: its name must begin with {folder}_ and have a task-: rename it, or move it away.")
    who = label(named["sub"], str(path))
    try:
        run = int(named.get("run", "1"))
    except ValueError:
        raise DataError(f"{path}: run-{named['run']} must be a number: rename the file.") from None
    return Run(who, named.get("ses", ""), named["task"], run, path.parent, prefix)


def read_recording(run: Run, meant: Collection[Meant] = ()) -> Recording:
    """Gaze and events of a run; `meant` as in `read_events`.

    Columns that BIDS leaves open may be missing. Raises DataError, naming file, key or row and the remedy, where a
    file breaks its own description, the clocks of two eyes disagree, or the screen is not known.
    """
    files = run.physio_files()
    if not files:
        raise DataError(f"{run.folder} has no gaze of {run.prefix}: its physio files were moved or renamed.")
    gaze: dict[Eye, NDArray[np.float64]] = {}
    sidecars: dict[Eye, PhysioSidecar] = {}
    for path in files.values():
        sidecar = physio_sidecar(path)
        # A cyclopean recording stands alone and has one trace: it is read as one eye's, its sidecar says whose.
        eye: Eye = "right" if sidecar.eye == "right" else "left"
        if eye in gaze:
            raise DataError(f"{path}: another file of this run has the {eye} eye too; mend RecordedEye in one of them.")
        gaze[eye], sidecars[eye] = _read_physio(path, sidecar), sidecar
    rates = {sidecar.rate_hz for sidecar in sidecars.values()}
    if len(rates) > 1:
        raise DataError(f"{run.folder / run.prefix}: its eyes differ in SamplingFrequency; mend their JSON files.")
    return Recording(
        participant=run.participant,
        run=run.run,
        samples=_joined_eyes(gaze),
        rate_hz=rates.pop(),
        screen=_screen_of(run),
        eyes=tuple(eye for eye in ("left", "right") if eye in gaze),
        simulated=any(bool(sidecar.simulated) for sidecar in sidecars.values()),
        events=read_events(run.events_file, meant),
        sidecars=sidecars,
    )


def _read_physio(path: Path, sidecar: PhysioSidecar) -> NDArray[np.float64]:
    """(n, 4): seconds, x and y in px of the screen, pupil; NaN where missing."""
    names = sidecar.columns
    for name in PHYSIO_COLUMNS[:3]:
        if name not in names:
            raise DataError(f"{path}: Columns in its JSON file does not name {name}, which BIDS requires.")
    try:
        data = gzip.decompress(path.read_bytes()).replace(b"\r\n", b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed ({error}): fetch it again, it is not whole.") from None
    wanted = [names.index(name) for name in PHYSIO_COLUMNS if name in names]
    try:
        parsed = parse_rows(data, len(names), wanted)
    except ValueError as error:
        raise DataError(_first_broken_row(path, data, names, wanted, error)) from None
    values = np.full((len(parsed), len(PHYSIO_COLUMNS)), np.nan)
    values[:, [column for column, name in enumerate(PHYSIO_COLUMNS) if name in names]] = parsed
    if len(values) == 0:
        raise DataError(f"{path} has no rows: the run holds no gaze; leave it out of the data set.")
    if np.isinf(values).any():
        row, column = (int(i) for i in np.argwhere(np.isinf(values))[0])
        raise DataError(f"{path}, row {row + 1}: {PHYSIO_COLUMNS[column]} is infinite; where it is missing write n/a.")
    if np.isnan(values[:, 0]).any():
        row = int(np.flatnonzero(np.isnan(values[:, 0]))[0]) + 1
        raise DataError(f"{path}, row {row} has no timestamp: each sample needs one.")
    values[:, 0] *= _seconds_per_unit(path, sidecar, values[:, 0])
    steps = np.diff(values[:, 0])
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 2
        raise DataError(f"{path}, row {row}: its timestamp does not come after the row before; sort or mend the rows.")
    return values


def _first_broken_row(path: Path, data: bytes, names: Sequence[str], wanted: Sequence[int], error: Exception) -> str:
    for number, line in enumerate(data.decode("utf-8", errors="replace").split("\n"), start=1):
        cells = line.split("\t")
        if len(cells) != len(names):
            return f"{path}, row {number} has {len(cells)} columns where its JSON names {len(names)}; mend that row."
        for column in wanted:
            try:
                float(cells[column].replace("n/a", "nan"))
            except ValueError:
                what = f"{names[column]} is {cells[column]!r}"
                return f"{path}, row {number}: {what}; it must be a number, or n/a where it is missing."
    return f"{path} cannot be read ({error}): export it again."


def _seconds_per_unit(path: Path, sidecar: PhysioSidecar, timestamps: NDArray[np.float64]) -> float:
    """What one unit of the timestamps is in seconds: as the sidecar says, else by the rate; both must agree."""
    scales = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "μs": 1e-6, "ns": 1e-9}
    step = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else float("nan")
    named = sidecar.timestamp.units if sidecar.timestamp else None
    for unit, scale in scales.items():
        if named in (None, unit) and (not step > 0 or 0.5 < step * scale * sidecar.rate_hz < 2):
            return scale
    raise DataError(
        f"{path}: its timestamps step by {step:g} {named or ''} where SamplingFrequency is {sidecar.rate_hz:g} Hz; "
        "mend one."
    )


def _joined_eyes(eyes: Mapping[Eye, NDArray[np.float64]]) -> Samples:
    traces = list(eyes.values())
    times = traces[0][:, 0]
    for trace in traces[1:]:
        if np.array_equal(times, trace[:, 0]):
            continue
        if len(times) > 1:
            # A tracker may stamp one eye a little after the other: samples less than half a step apart are one.
            half_step = np.median(np.diff(times)) / 2
            right = np.clip(np.searchsorted(times, trace[:, 0]), 1, len(times) - 1)
            near = np.where(trace[:, 0] - times[right - 1] < times[right] - trace[:, 0], right - 1, right)
            same = np.abs(times[near] - trace[:, 0]) < half_step
            # Each sample has one partner: of two that are near, the second is a sample of its own.
            same[1:] &= near[1:] != near[:-1]
            trace[same, 0] = times[near[same]]
        times = np.union1d(times, trace[:, 0])
    samples = np.zeros(len(times), SAMPLE)
    for name in SAMPLE.names or ():
        samples[name] = np.nan
    samples["time_s"] = times
    for eye, trace in eyes.items():
        rows = np.searchsorted(times, trace[:, 0])
        for column, name in enumerate(("x_px", "y_px", "pupil"), start=1):
            samples[f"{eye}_{name}"][rows] = trace[:, column]
    return samples


def _screen_of(run: Run) -> Screen:
    path = run.events_file
    if not path.exists():
        raise DataError(f"{path} does not exist: without it nobody knows what was shown.")
    shown = events_sidecar(path).presentation
    if shown is None:
        raise DataError(f"{path}: its JSON file has no StimulusPresentation; add ScreenDistance, ScreenSize (metres).")
    if shown.distance_m is None or shown.size_m is None or shown.resolution_px is None:
        raise DataError(
            f"{path}: StimulusPresentation in its JSON file lacks one of ScreenDistance, ScreenSize (metres) and "
            "ScreenResolution (px); add it."
        )
    if shown.origin is not None and sorted(shown.origin) != ["left", "top"]:
        raise DataError(f"{path}: ScreenOrigin is {shown.origin}; convert gaze to an origin of top left.")
    distance_m, (width_m, height_m), (width_px, height_px) = shown.distance_m, shown.size_m, shown.resolution_px
    if not (distance_m < 20 and width_m < 10 and height_m < 10):
        raise DataError(
            f"{path}: ScreenDistance {distance_m:g} and ScreenSize {width_m:g} x {height_m:g} cannot be metres, the "
            "unit that BIDS asks for; mend its JSON file."
        )
    return Screen(width_px, height_px, width_m * 100, height_m * 100, distance_m * 100)


# -------------------------------------------------------------------------------------------- imported fixations


def write_fixations(
    study_folder: Path, participant: str, table: pd.DataFrame, answers: Mapping[str, str] | None = None, run: int = 1
) -> Path:
    """Add a participant whose fixations were detected elsewhere; returns the table's path.

    `table` has the columns trial, stim_file, fixation, onset (seconds from the picture's onset, NaN where not known),
    duration (seconds), x_px and y_px (of the picture, from its upper left); others are kept. Raises DataError where a
    column lacks, or where that run is there already.
    """
    who = label(participant)
    task = read_study(study_folder).study.task
    with change(study_folder) as new:
        relative = write_fixation_table(new.new, task, who, table, run)
        if (study_folder / relative).exists():
            raise DataError(f"{study_folder / relative} exists already, and nothing recorded is overwritten.")
        new.carry_over(f"sub-{who}")
        rows = _participants_with(study_folder, {who: answers or {}})
        replace_participants(new, rows, folders=[f"sub-{who}"])
    return study_folder / relative


def write_fixation_table(folder: Path, task: str, who: Label, table: pd.DataFrame, run: int = 1) -> Path:
    """The files of a participant's imported fixations, below `folder`; returns the table's path from there.

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
