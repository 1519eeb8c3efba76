"""Imports other people's fixations into a study: a table of fixations and a folder of pictures.

Everything is checked before anything is written: a cell that is not what its column promises is refused in one
sentence that names file, line, column and remedy. Values that are probably in another unit are asked about
(plausibility.py); what is only doubtful becomes a remark.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from beholder.analysis.importing.one_change import ALL_THERE, alone, bring_in
from beholder.analysis.importing.plausibility import check_fixations, meant_of
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset.publishing import write_fixation_table
from beholder.shared.errors import DataError, Remark, StudyError
from beholder.shared.labels import Label, not_a_label
from beholder.shared.parsing import listed, parse_number, shortened
from beholder.shared.screen import FARTHEST_PX
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.pictures import PICTURE_ENDINGS
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import (
    NEW_PRIMARY,
    AlignmentSettings,
    CheckSettings,
    MapSettings,
    PictureSettings,
    Study,
    StudySettings,
    read_study,
)

REQUIRED = ("participant", "stimulus", "x_px", "y_px", "duration_ms")
OPTIONAL = ("order", "onset_s")
# Names under which a table may number the fixations of a trial.
ORDER_NAMES = ("order", "fixation")


@dataclass(frozen=True)
class Imported:
    """What an import of fixations brought in.

    `stimuli` counts the pictures with fixations, `outside` the fixations that lie outside their picture.
    """

    study_folder: Path
    participants: tuple[str, ...]
    stimuli: int
    fixations: int
    outside: int
    remarks: tuple[Remark, ...]


def import_fixations(
    table: Path,
    study_folder: Path,
    images: Path | None = None,
    picture_width_deg: float | None = None,
    meant: Sequence[str] = (),
) -> Imported:
    """Bring a CSV of fixations (columns REQUIRED and OPTIONAL) into a study; make the study where there is none.

    `images` is the folder of the pictures that were looked at, needed for a new study; `picture_width_deg` the visual
    angle of a picture's width, without which degrees stay unknown and sigma is in percent of the picture's width.
    `meant` names what is unusual in the table but intended (see `shared.study.CheckSettings`); a new study keeps it.
    Raises DataError or StudyError, and writes nothing, where anything is not as it should be.
    """
    with alone(study_folder):
        return _import_fixations(table, study_folder, images, picture_width_deg, meant)


def _import_fixations(
    table: Path, study_folder: Path, images: Path | None, picture_width_deg: float | None, meant: Sequence[str]
) -> Imported:
    checks = CheckSettings(meant=list(meant_of(meant)))
    fixations, remarks = read_fixation_csv(table)
    there = (study_folder / "study.toml").exists()
    people = participant_labels(sorted(fixations["participant"].unique()), table)[0].values()
    # Participants who are there already may come from this very command, if it was cut short after its last step.
    known = there and all((study_folder / f"sub-{label}").exists() for label in people)
    new = not there or (known and images is not None)
    if new:
        if images is None:
            raise StudyError(f"{study_folder} is not a study yet: name the folder of its pictures with --images.")
        stimuli, found = read_stimuli(images)
    else:
        if images is not None or picture_width_deg is not None:
            raise StudyError(
                f"{study_folder} is a study already and has its pictures: leave --images and --picture-width-deg out."
            )
        checks = CheckSettings(meant=[*checks.meant, *read_study(study_folder).checks.meant])
        stimuli, found = read_stimuli(study_folder / "stimuli")
    remarks += found
    by_name = _stimulus_names(stimuli)
    fixations["stim_file"] = _stim_files(table, fixations, by_name, images or study_folder / "stimuli" / "images")
    unseen = sorted({s.file.name for s in stimuli} - {by_name[n].file.name for n in fixations["stimulus"].unique()})
    remarks += [Remark(name, "nobody's fixations on it were imported") for name in unseen]
    labels, renamed = participant_labels(sorted(fixations["participant"].unique()), table)
    width_px, height_px = _sizes(fixations, by_name)
    check_fixations(table, fixations, width_px, height_px, checks.meant)
    x, y = fixations["x_px"].to_numpy(), fixations["y_px"].to_numpy()
    outside = (x < 0) | (x >= width_px) | (y < 0) | (y >= height_px)
    if outside.any():
        text = (
            f"{int(outside.sum())} of {len(fixations)} fixations lie outside their picture; they are kept, counted and"
        )
        remarks.append(Remark(table.name, f"{text} not mapped"))
    taken = sorted(label for label in labels.values() if (study_folder / f"sub-{label}").exists())
    refusal = _refusal(study_folder, table, taken)
    if refusal and not known:
        raise StudyError(refusal)
    settings = settings_for_import(study_folder.resolve().name, picture_width_deg)
    settings = settings if not there or new else read_study(study_folder)

    def build(folder: Path) -> None:
        for participant, rows in fixations.groupby("participant", sort=True):
            write_fixation_table(folder, settings.study.task, labels[str(participant)], _as_recorded(rows))

    # Remarks that the study keeps, for the analysis to repeat, name no file, and participants by their label alone.
    kept = [replace(remark, about="imported fixations") if remark.about == table.name else remark for remark in remarks]
    remarks += renamed
    made = (settings.model_copy(update={"checks": checks}), images or Path()) if new else None
    added = bring_in(study_folder, made, build, labels.values(), kept, refusal)
    if not added:
        remarks.append(ALL_THERE)
    return Imported(
        study_folder,
        tuple(sorted(labels.values())),
        fixations["stim_file"].nunique(),
        len(fixations),
        int(outside.sum()),
        tuple(remarks),
    )


def _stim_files(table: Path, fixations: pd.DataFrame, by_name: Mapping[str, Stimulus], images: Path) -> list[str]:
    """The picture of each fixation. Raises DataError, naming the line, where there is no such picture."""
    unknown = ~fixations["stimulus"].isin(by_name)
    if unknown.any():
        first = fixations[unknown].iloc[0]
        raise DataError(
            f"{table}, line {first['line']}: there is no picture {shortened(first['stimulus'])} in {images}; add it, "
            "or correct the name."
        )
    return [by_name[name].stim_file for name in fixations["stimulus"]]


def _refusal(study_folder: Path, table: Path, taken: Sequence[str]) -> str:
    if not taken:
        return ""
    return (
        f"participant {taken[0]} is in {study_folder} already: rename the participant in {table}, or "
        f'remove the one there with "beholder withdraw {study_folder} {taken[0]}".'
    )


def settings_for_import(name: str, picture_width_deg: float | None) -> Study:
    """Settings of a new study without a screen of its own: sigma in degrees only where the pictures' size is known.

    Otherwise sigma is in percent of the width: the sweep (0.5 to 20 %) and the fixed sigma (5 %) are those that the
    defaults in degrees make on a picture 20 degrees wide.
    """
    percent = {"sigma_unit": "percent", "sigma_from": 0.5, "sigma_to": 20.0, "sigma_step": 0.5, "sigma": 5.0}
    return Study(
        study=StudySettings(name=name or "Imported fixations"),
        screen=None,
        pictures=PictureSettings(size_deg=picture_width_deg, size_of="width"),
        maps=MapSettings.model_validate(percent) if picture_width_deg is None else MapSettings(),
        alignment=AlignmentSettings(primary=NEW_PRIMARY),
    )


def read_fixation_csv(path: Path) -> tuple[pd.DataFrame, list[Remark]]:
    """The checked table of fixations, and remarks on it. Raises DataError, naming file, line, column and remedy.

    Columns: participant, stimulus, x_px, y_px, duration_s, order (from 1 within a trial), onset_s (NaN where unknown)
    and line (of the file).
    """
    rows: list[dict[str, object]] = []
    lines = _lines(path)
    number, header = next(lines, (0, []))
    columns = [name.strip() for name in header]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DataError(
            f"{path}, line 1: there is no column {missing[0]} (found: {listed(columns)}); "
            f"the first line must name {', '.join(REQUIRED)}."
        )
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        raise DataError(f"{path}, line 1: the column {min(twice)} stands twice; remove one.")
    order_name = next((name for name in ORDER_NAMES if name in columns), None)
    ignored = [c for c in columns if c not in (*REQUIRED, *OPTIONAL, order_name)]
    counts: dict[tuple[str, str], int] = {}
    seen: dict[tuple[str, str, int], int] = {}
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {number}: it has {len(cells)} cells, the first line {len(columns)}; "
                "a comma as decimal point does that: write numbers with a point."
            )
        row = dict(zip(columns, (c.strip() for c in cells), strict=True))
        place = f"{path}, line {number}"
        participant, stimulus = (_text(row, name, place) for name in ("participant", "stimulus"))
        trial = (participant, _without_ending(stimulus))  # a table may name a picture with and without ending
        counts[trial] = counts.get(trial, 0) + 1
        order = _whole(row, order_name, place) if order_name else counts[trial]
        earlier = seen.setdefault((*trial, order), number)
        if earlier != number:
            raise DataError(
                f"{place}: participant {participant} has fixation {order} on {stimulus} twice "
                f"(also in line {earlier}); number the fixations of a trial from 1, each once."
            )
        duration_ms = _float(row, "duration_ms", place)
        if duration_ms <= 0:
            raise DataError(f"{place}, column duration_ms: {duration_ms:g} is not a duration; it must be above 0.")
        rows.append(
            {"participant": participant, "stimulus": stimulus, "x_px": _position(row, "x_px", place),
             "y_px": _position(row, "y_px", place), "duration_s": duration_ms / 1000, "order": order,
             "onset_s": _float(row, "onset_s", place) if row.get("onset_s") else math.nan, "line": number}
        )  # fmt: skip
    if not rows:
        raise DataError(f"{path} has no fixations under its first line: export it again.")
    table = pd.DataFrame(rows)
    remarks = []
    if ignored:
        remarks.append(Remark(path.name, f"columns that are not used: {', '.join(ignored)}"))
    return table, remarks


def _without_ending(picture: str) -> str:
    """A picture's name without its file's ending.

    >>> _without_ending("bag.01.PNG"), _without_ending("bag.01")
    ('bag.01', 'bag.01')
    """
    stem, dot, ending = picture.rpartition(".")
    return stem if f"{dot}{ending}".lower() in PICTURE_ENDINGS else picture


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of a table separated by commas, semicolons or tabs, whichever its first line uses."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(",;\t", key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            for cells in reader:
                yield reader.line_num, cells
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: name the table of fixations.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; save it as plain CSV again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None


def _text(row: dict[str, str], name: str, place: str) -> str:
    if not row[name]:
        raise DataError(f"{place}, column {name}: nothing is there; fill it in, or remove the line.")
    return row[name]


def _float(row: dict[str, str], name: str, place: str) -> float:
    cell = row[name]
    if re.fullmatch(r"[+-]?\d+,\d+", cell):
        raise DataError(
            f"{place}, column {name}: {cell!r} has a comma as decimal point; write numbers with a point "
            "(in a spreadsheet: set the language of the sheet to English, then export)."
        )
    try:
        return parse_number(cell)
    except ValueError as error:
        what = str(error) if cell else "nothing is there"
        raise DataError(f"{place}, column {name}: {what}; correct it, or remove the line.") from None


def _position(row: dict[str, str], name: str, place: str) -> float:
    value = _float(row, name, place)
    if abs(value) > FARTHEST_PX:
        raise DataError(
            f"{place}, column {name}: {value:g} px is nowhere near a picture; correct it, or remove the line."
        )
    return value


def _whole(row: dict[str, str], name: str, place: str) -> int:
    value = _float(row, name, place)
    if value != int(value) or value < 1:
        raise DataError(f"{place}, column {name}: {shortened(row[name])} is not a whole number from 1; correct it.")
    return int(value)


def participant_labels(names: Sequence[str], source: Path) -> tuple[dict[str, Label], list[Remark]]:
    """BIDS labels, letters and digits only, for participants' names in `source`; a remark for each that changed.

    >>> participant_labels(["P-1", "02"], Path("gaze.csv"))[0]
    {'P-1': 'P1', '02': '02'}
    """
    labels = {name: Label(re.sub(r"[^A-Za-z0-9]", "", name)) for name in names}
    for name, label in labels.items():
        others = [other for other in names if other != name and labels[other].casefold() == label.casefold()]
        if label and (why := not_a_label(label)):
            raise DataError(f"{source}: participant {shortened(name)}: {why}: rename it in the table.")
        if not label or others:
            reason = (
                f"{shortened(name)} and {shortened(others[0])} would be the same" if others else f"{name!r} has none"
            )
            raise DataError(f"{source}: participants need labels of letters and digits, and {reason}: rename them.")
    changed = {name: label for name, label in labels.items() if name != label}
    return labels, [Remark(f"participant {name}", f"is called {label} in the study") for name, label in changed.items()]


def _stimulus_names(stimuli: tuple[Stimulus, ...]) -> dict[str, Stimulus]:
    """Pictures by name, each with and without its file's ending, as a table may use either."""
    return {s.name: s for s in stimuli} | {s.file.name: s for s in stimuli}


def _sizes(fixations: pd.DataFrame, by_name: dict[str, Stimulus]) -> tuple[FloatArray, FloatArray]:
    """Width and height in px, each (n,), of the pictures that the fixations are on."""
    stimuli = [by_name[name] for name in fixations["stimulus"]]
    return np.array([float(s.width_px) for s in stimuli]), np.array([float(s.height_px) for s in stimuli])


def _as_recorded(rows: pd.DataFrame) -> pd.DataFrame:
    """One participant's rows as the data set keeps them: trials numbered as the pictures first appear."""
    trials = {name: number for number, name in enumerate(rows["stim_file"].drop_duplicates(), start=1)}
    table = pd.DataFrame(
        {
            "trial": rows["stim_file"].map(trials), "stim_file": rows["stim_file"], "fixation": rows["order"],
            "onset": rows["onset_s"], "duration": rows["duration_s"], "x_px": rows["x_px"], "y_px": rows["y_px"],
        }
    )  # fmt: skip
    return table.sort_values(["trial", "fixation"], kind="stable").reset_index(drop=True)
