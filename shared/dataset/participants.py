"""participants.tsv: who took part, and what they answered."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beholder.shared.errors import DataError
from beholder.shared.labels import Label, not_a_label
from beholder.shared.parsing import from_spreadsheets, shortened
from beholder.shared.recording.records import FormAnswered, Record
from beholder.shared.recording.run_files import json_text, safe_cell, tsv_bytes
from beholder.shared.recording.transaction import Change, write_synced

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
    """The rows of participants.tsv as written, none where there is no table. Raises DataError where it is invalid."""
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


def answers_of(records: Iterable[Record]) -> dict[str, str]:
    """A participant's answers to the form, as a session's records hold them; the last answer counts."""
    answers: dict[str, str] = {}
    for record in records:
        if isinstance(record.what, FormAnswered):
            answers.update({name: str(value) for name, value in record.what.answers.items()})
    return answers


def participants_with(study_folder: Path, answers: Mapping[Label, Mapping[str, str]]) -> list[dict[str, str]]:
    """The rows of participants.tsv with these answers added, sorted; answers that are there already stay."""
    rows = {row["participant_id"]: row for row in participant_rows(study_folder)}
    # A new table has a row for each participant whose folder exists: the validator compares table and folders.
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
    """Add the steps that replace `folders` and the participants' tables; a folder that `new` lacks is only removed."""
    # Tables out first, in last: the validator compares them with the folders. The JSON is never without its table.
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
