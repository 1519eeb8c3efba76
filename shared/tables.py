"""Tables that others may have written, checked once as they are read: events, and fixations detected elsewhere.

What cannot be true (a trial of 1.5, an infinite duration, the same picture twice in one trial) is refused by file and
line. What is unlikely and can be meant (pictures that overlap in time) is refused too, with the setting of study.toml
that says it is meant. Gaze itself is read by `shared.dataset`.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from beholder.shared.errors import DataError
from beholder.shared.parsing import from_spreadsheets
from beholder.shared.recording.run_files import EVENT_COLUMNS
from beholder.shared.study import FILE_NAME, Meant

FIXATION_COLUMNS: dict[str, dict[str, Any]] = {
    "trial": {"Description": "Number of the trial, from 1."},
    "stim_file": {"Description": "The picture, relative to the folder stimuli."},
    "fixation": {"Description": "Order of the fixation on its picture, from 1."},
    "onset": {"Description": "Beginning of the fixation, from the picture's onset.", "Units": "s"},
    "duration": {"Description": "Duration of the fixation.", "Units": "s"},
    "x_px": {"Description": "Position from the picture's left edge, in pixels of the picture.", "Units": "pixel"},
    "y_px": {"Description": "Position from the picture's upper edge, in pixels of the picture.", "Units": "pixel"},
}
# Times are rounded and screens refresh: events that overlap by less than this count as one after the other.
SHORTEST_OVERLAP_S = 0.1


class _Range(NamedTuple):
    """The range of a column's numbers."""

    low: float
    high: float
    whole: bool = False

    def holds(self, numbers: pd.Series[float]) -> pd.Series[bool]:
        """Whether each number is within the range; n/a counts as within."""
        within = (numbers >= self.low) & (numbers <= self.high)
        return numbers.isna() | (within & (numbers % 1 == 0) if self.whole else within)

    def __str__(self) -> str:
        return f"a {'whole ' * self.whole}number from {self.low:,.0f} to {self.high:,.0f}"


_COUNT, _ANY = _Range(1, 1e9, whole=True), _Range(-1e9, 1e9)
_LASTING_S, _SIZE_PX, _ANGLE_DEG = _Range(0, 1e6), _Range(1, 1e9), _Range(-180, 180)
_EVENT_RANGES = {
    "onset": _ANY, "duration": _LASTING_S, "trial": _COUNT,
    "drift_x_deg": _ANGLE_DEG, "drift_y_deg": _ANGLE_DEG, "drift_deg": _Range(0, 180),
    "picture_x_px": _ANY, "picture_y_px": _ANY, "picture_width_px": _SIZE_PX, "picture_height_px": _SIZE_PX,
    "dropped_frames": _Range(0, 1e9, whole=True), "rating": _ANY,
}  # fmt: skip
_FIXATION_RANGES = {
    "trial": _COUNT, "fixation": _COUNT, "onset": _ANY, "duration": _LASTING_S, "x_px": _ANY, "y_px": _ANY,
}  # fmt: skip


def read_events(path: Path, meant: Collection[Meant] = ()) -> pd.DataFrame:
    """An events table with all of Beholder's columns: cells of a column that the file lacks are n/a or a default.

    Without trial_type every row with a stim_file is a picture; without trial, pictures are numbered; without status an
    event is complete. `meant`: what is unusual but intended, as in `study.checks`. Raises DataError, naming line and
    column, where a cell cannot be true, a picture counts twice, or pictures overlap in time.
    """
    raw = _read_table(path, ("onset", "duration"))
    table = raw.reindex(columns=list(dict.fromkeys([*EVENT_COLUMNS, *raw.columns])))
    shown = table["stim_file"].notna()
    if "trial_type" not in raw:
        table["trial_type"] = pd.Series("picture", table.index).where(shown)
    pictures = table["trial_type"] == "picture"
    for name, default in (("status", "complete"), ("exposure", "first")):
        levels = EVENT_COLUMNS[name]["Levels"]
        table[name] = table[name].mask(table[name].isna() & (pictures if name in raw else True), default)
        _refuse(path, table, name, pictures & ~table[name].isin(levels), f"one of {', '.join(levels)}, or n/a")
    for name, allowed in _EVENT_RANGES.items():
        table[name] = _numbers(path, table, name, allowed)
    for name in ("onset", "duration"):
        _refuse(path, table, name, pictures & table[name].isna(), "known for a picture")
    if table.loc[pictures, "trial"].isna().all():
        table["trial"] = table["trial"].fillna((pictures & shown).cumsum().where(pictures & shown))
    _refuse(path, table, "trial", pictures & shown & table["trial"].isna(), "known for all pictures, or for none")
    table["trial"] = table["trial"].astype("Int64")
    _refuse_counted_twice(path, raw[pictures], table[pictures & shown])
    if "overlapping events" not in meant:
        _ask_about_overlap(path, table[pictures], "picture", within=[])
    return table.reset_index(drop=True)


def read_fixations(path: Path, meant: Collection[Meant] = ()) -> pd.DataFrame:
    """A table of imported fixations, with the columns FIXATION_COLUMNS and any others of the file.

    `meant` as in `read_events`. Raises DataError, naming line and column, where a cell is missing or cannot be true, a
    fixation is listed twice, or fixations overlap in time.
    """
    table = _read_table(path, tuple(FIXATION_COLUMNS))
    for name, allowed in _FIXATION_RANGES.items():
        table[name] = _numbers(path, table, name, allowed)
    for name in ("trial", "fixation", "stim_file", "duration", "x_px", "y_px"):
        if table[name].isna().any():
            line = table.index[table[name].isna()][0]
            raise DataError(f"{path}, line {line} has no {name}: complete that line, or remove it.")
    if (table["duration"] <= 0).any():
        line = table.index[table["duration"] <= 0][0]
        raise DataError(f"{path}, line {line}: a duration must be above 0 seconds; correct that line, or remove it.")
    of_trial = ["trial", "stim_file"]
    _refuse_twice(path, table[[*of_trial, "fixation"]], "the same fixation of one trial")
    if "overlapping events" not in meant:
        _ask_about_overlap(path, table, "fixation", within=of_trial)
    return table.astype({"trial": np.int64, "fixation": np.int64}).reset_index(drop=True)


def _read_table(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """A tab separated table as text, n/a as NaN, indexed by line numbers of the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t")
            rows = {number: row for row, number in ((row, reader.line_num) for row in reader) if row}
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): save it as tab separated text in UTF-8.") from None
    names = rows.pop(next(iter(rows)), []) if rows else []
    for name in required:
        if name not in names:
            raise DataError(f"{path} has no column {name}, which is required; add it.")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} has the column {name} twice: remove one.")
    for line, row in rows.items():
        if len(row) != len(names):
            raise DataError(f"{path}, line {line} has {len(row)} columns where the first line names {len(names)}.")
    cells = [[np.nan if cell == "n/a" else from_spreadsheets(cell) for cell in row] for row in rows.values()]
    return pd.DataFrame(cells, index=list(rows), columns=names, dtype=object)


def _numbers(path: Path, table: pd.DataFrame, name: str, allowed: _Range) -> pd.Series[float]:
    numbers = pd.to_numeric(table[name], errors="coerce").astype(np.float64)
    _refuse(path, table, name, table[name].notna() & numbers.isna(), "a number or n/a")
    _refuse(path, table, name, ~allowed.holds(numbers), str(allowed))
    return numbers


def _refuse(path: Path, table: pd.DataFrame, name: str, broken: pd.Series[bool], must_be: str) -> None:
    """Raise DataError for the first row that is `broken` in the column `name`."""
    if broken.any():
        line = table.index[broken][0]
        cell = table.loc[line, name]
        shown = "n/a" if pd.isna(cell) else repr(str(cell)[:60])
        raise DataError(f"{path}, line {line}: {name} is {shown}; it must be {must_be}.")


def _refuse_counted_twice(path: Path, raw: pd.DataFrame, pictures: pd.DataFrame) -> None:
    """Raise DataError where a picture's row is in the file twice, or a picture counts twice in one trial."""
    _refuse_twice(path, raw, "the same row")
    # A picture that was cut short is shown again in the same trial; only a complete first showing counts.
    counted = pictures[(pictures["status"] == "complete") & (pictures["exposure"] == "first")]
    _refuse_twice(path, counted[["trial", "stim_file"]], "the same picture in one trial, both whole and seen first")


def _refuse_twice(path: Path, rows: pd.DataFrame, are: str) -> None:
    """Raise DataError where two of `rows` are equal; `are` is what the error calls them."""
    if rows.duplicated().any():
        line = rows.index[rows.duplicated()][0]
        first = rows.index[rows.apply(rows.loc[line].equals, axis=1)][0]
        raise DataError(f"{path}, lines {first} and {line} are {are}: it would count twice; remove or correct one.")


def _ask_about_overlap(path: Path, table: pd.DataFrame, what: str, within: list[str]) -> None:
    """Raise DataError where a row begins well before the end of the one before it with the same cells in `within`."""
    rows = table[table["onset"].notna() & (table["duration"] > 0)].sort_values([*within, "onset"], kind="stable")
    ends = rows["onset"] + rows["duration"]
    same = (rows[within] == rows[within].shift()).all(axis=1)
    over = same & (ends.shift() - rows["onset"] > SHORTEST_OVERLAP_S)
    if over.any():
        at = int(np.flatnonzero(over)[0])
        earlier, later = rows.index[at - 1], rows.index[at]
        raise DataError(
            f"{path}, line {later}: its {what} begins at {rows.loc[later, 'onset']:g} s, when that of line {earlier} "
            f"still lasts, until {ends[earlier]:g} s, where one {what} was expected to end before the next: correct "
            'onset and duration (both in seconds, not swapped), or, if it is meant, add "overlapping events" to meant '
            f"in [checks] of {FILE_NAME}."
        )
