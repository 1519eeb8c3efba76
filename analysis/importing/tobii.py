"""Tobii recordings: exports of Tobii Pro Lab, Titta's HDF5, and tables with the columns of the Tobii SDK.

Pro Lab (TSV): one row a sample or event, px of the screen, any number of participants and recordings in one file; its
column names have carried units in two ways, `[DACS px]` and `(DACSpx)`, and both are understood. Titta (.h5): pandas
tables `gaze` and `msg`. SDK columns (TSV or CSV): `left_gaze_point_on_display_area_x` ..., as Titta and the SDK's
dictionaries name them, or `LGazePos2dx` ... of the SDK before; messages in a column or in a file NAME_msg beside it.
The last two have positions in shares of the screen, and no word on how many px it has.

A row that is not whole is refused with its line. Pictures are found elsewhere.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.importing.vendor_recording import (
    REFUSED,
    Detected,
    Message,
    Question,
    Shown,
    Validation,
    VendorRecording,
    check_samples,
    check_screen,
    is_rising,
    rate_questions,
    read_in_a_child,
    read_text,
)
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye, Samples, no_samples
from beholder.shared.parsing import listed, parse_json, parse_number, shortened
from beholder.shared.screen import Rect

_EYES: tuple[Eye, ...] = ("left", "right")
# A rate within two per cent of one that Tobii's trackers have is that one: timestamps are rounded, clocks drift.
_RATES_HZ = (30, 40, 50, 60, 90, 120, 150, 240, 250, 300, 500, 600, 1000, 1200)
# A comma or point that may stand between thousands; and one that does, once more or beside a decimal sign.
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_THOUSANDS_TWICE = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?|[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?")
_MISSING = {"", "nan", "n/a", "none"}
_SECONDS_IN = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
# A step of a clock from which on its times are called rounded; a sample's own clock drifts less than this share.
_COARSE_US, _LARGEST_DRIFT = 1000, 1e-3
# Rates that differ by less are the same; so many samples show whether a clock is even.
_SAME_RATE, _FEWEST_OF_CLOCK = 0.02, 50
_PX = ("", "px", "DACSpx", "DACS px")
# What the SDK's columns were called: for a pair of numbers, x and y of the display area.
_ROUNDED, _EXACT = "system_time_stamp", "device_time_stamp"
_SDK_TIMES = ("system_time_stamp", "device_time_stamp", "Time")
_SDK_MESSAGES, _SDK_SHOWN = ("message", "msg", "event", "Event"), ("stim_file", "stimulus", "picture", "image")
_OLD_CODES = (0, 1, 2, 3, 4)  # of the older SDK's validity, and Studio's, from sure to lost
_AGAIN = "export it again"
# Names of columns that there is one of for each eye.
_SIDES = (re.compile(r"(?P<eye>left|right)_"), re.compile(r"(?P<eye>[LR])[A-Z]"),
          re.compile(r"(Gaze point|Pupil diameter|Validity) (?P<eye>left|right)"))  # fmt: skip


def read_tobii(path: Path) -> tuple[VendorRecording, ...]:
    """The recordings of a file, in its order. Raises DataError where it is of no known form, or a row is not whole."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: check the name.")
    with path.open("rb") as file:
        if file.read(8) == b"\x89HDF\r\n\x1a\n" or path.suffix.lower() in (".h5", ".hdf5"):
            return (_read_titta(path),)
    table = _Table(path)
    _check_sides(table)
    if table.has("Recording timestamp"):
        return _read_pro_lab(table)
    return (_read_sdk_table(table),)


# Tables of text.


class _Table:
    """A table of text: its columns by name and unit, its rows with their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = read_text(path)
        self.raw = text.split("\n")
        head = self.raw[0]
        separator = max("\t,;", key=head.count)
        if text and not text.endswith("\n") and len(self.raw) > 1:
            raise DataError(f"{path}, line {len(self.raw)} has no end, the file is cut short: {_AGAIN}.")
        # Between tabs nothing is quoted: a quotation mark there is one.
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        lines = (line + "\n" for line in self.raw)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
        reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
        try:
            header = next(reader, [])
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if len(cells) != len(header):
                        raise DataError(
                            f"{path}, line {reader.line_num} has {len(cells)} cells where the first line names "
                            f"{len(header)}: {_AGAIN}."
                        )
                    self.rows.append(cells)
                    self.lines.append(reader.line_num)
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}; {_AGAIN}.") from None
        self.names = [name.strip() for name in header]
        self.points = _Points()
        self._columns: dict[tuple[str, str], int] = {}
        for number, name in enumerate(self.names):
            match = re.fullmatch(r"(.+?)\s*[\[(]([^\])]*)[\])]", name)
            self._columns.setdefault((match[1], match[2].strip()) if match else (name, ""), number)

    def find(self, names: Iterable[str], units: Sequence[str] = ("",)) -> tuple[int, str] | None:
        """Number and unit of the first column that has one of the names and one of the units."""
        for name in names:
            for unit in units:
                if (name, unit) in self._columns:
                    return self._columns[name, unit], unit
        return None

    def has(self, name: str) -> bool:
        """Whether there is such a column, whatever its unit."""
        return any(known == name for known, _ in self._columns)

    def texts(self, column: int | None, rows: Sequence[int]) -> list[str]:
        """Cells of a column, empty where there is none."""
        return [""] * len(rows) if column is None else [self.rows[row][column].strip() for row in rows]

    def numbers(self, column: int | None, rows: Sequence[int]) -> FloatArray:
        """Numbers of a column, NaN where a cell is missing; a comma may be their point (see `_Points`)."""
        if column is None:
            return np.full(len(rows), np.nan)
        return np.array([self._number(self.rows[row][column].strip(), row, column) for row in rows], np.float64)

    def _number(self, cell: str, row: int, column: int) -> float:
        if cell.lower() in _MISSING:
            return math.nan
        if "," in cell or "." in cell:
            self.points.take(cell, f"{self.place(row)}, column {self.names[column]}")
        try:
            return parse_number(cell.replace(",", "."))
        except ValueError as error:
            raise DataError(f"{self.place(row)}, column {self.names[column]}: {error}; {_AGAIN}.") from None

    def place(self, row: int) -> str:
        """A row, for an error's sentence."""
        return f"{self.path}, line {self.lines[row]}"


class _Points:
    """Whether points or commas begin the decimals of a table's numbers, or stand between thousands.

    Between thousands neither is read. "1,234" alone may be either; a table where no other number settles it is asked
    about.
    """

    def __init__(self) -> None:
        # A number of each kind, and where it stands; the empty text where there is none.
        self.found = {(sign, thousands): ("", "") for sign in ",." for thousands in (False, True)}

    def take(self, cell: str, place: str) -> None:
        """One number with a point or comma. Raises DataError where it has both, or one of them twice."""
        if cell.count(",") + cell.count(".") > 1:
            if _THOUSANDS_TWICE.fullmatch(cell):
                _refuse_thousands(place, cell)
            return  # no number at all
        sign = "," if "," in cell else "."
        kind = sign, bool(_THOUSANDS.fullmatch(cell))
        if not self.found[kind][0]:
            self.found[kind] = cell, place

    def questions(self) -> tuple[Question, ...]:
        """What to ask. Raises DataError where one sign is decimal and the other one may stand between thousands."""
        comma, point = self.found[",", False][0], self.found[".", False][0] or self.found[".", True][0]
        maybe_comma, maybe_point = self.found[",", True], self.found[".", True]
        if comma and maybe_point[0]:
            _refuse_thousands(maybe_point[1], maybe_point[0])
        if comma or not maybe_comma[0]:
            return ()
        if point:
            _refuse_thousands(maybe_comma[1], maybe_comma[0])
        cell, place = maybe_comma
        return (Question("decimal comma", f"{place}: a number should say which sign begins its decimals, and "
                         f"{shortened(cell)} may be {cell.replace(',', '')} or, as it would be read, "
                         f"{cell.replace(',', '.')}: export with decimal points and without commas"),)  # fmt: skip


def _refuse_thousands(place: str, cell: str) -> NoReturn:
    raise DataError(
        f"{place}: {shortened(cell)} has a sign between thousands, or other numbers have another one before their "
        "decimals: export numbers with a decimal point, and without any sign between thousands."
    )


def _check_sides(table: _Table) -> None:
    """Both eyes have the same columns, or one has none: a name with a slip in it would lose half of the gaze."""
    of_eye: dict[str, dict[str, str]] = {"left": {}, "right": {}}
    for name in table.names:
        for pattern in _SIDES:
            if match := pattern.match(name):
                eye = {"L": "left", "R": "right"}.get(match["eye"], match["eye"])
                of_eye[eye][name.replace(match["eye"], "*", 1)] = name
    left, right = of_eye.values()
    if left and right and (alone := sorted(left.keys() ^ right.keys())):
        name = left.get(alone[0]) or right[alone[0]]
        raise DataError(f"{table.path}, line 1: the column {name} stands for one eye only; export the same columns of "
                        "both eyes.")  # fmt: skip


def _rate(time_s: FloatArray, path: Path, column: str, unit: str) -> tuple[float, tuple[Question, ...]]:
    """Samples a second, from the steps that are no gaps, and what to ask of that; `column` should hold `unit`."""
    steps = np.diff(time_s)
    if not len(steps):
        raise DataError(f"{path} has a single sample: {_AGAIN}.")
    measured = 1 / _step(steps)
    as_others = {name: measured * _SECONDS_IN[unit] / seconds for name, seconds in _SECONDS_IN.items()}
    guess = [f" (as {name} there would be {rate:.4g})" for name, rate in as_others.items()
             if _RATES_HZ[0] <= rate <= _RATES_HZ[-1] * 1.02]  # fmt: skip
    questions = rate_questions(
        path, measured, f"its column {column}, which should hold {unit},",
        f"convert the column, or correct the unit in its name{''.join(guess)}",
    )  # fmt: skip
    nearest = min(_RATES_HZ, key=lambda rate: abs(rate - measured))
    return float(nearest) if abs(nearest - measured) <= 0.02 * nearest else round(measured, 3), questions


def _step(steps: FloatArray) -> float:
    """The mean of the steps from sample to sample that are no gaps."""
    return float(steps[steps <= 1.5 * np.median(steps)].mean())


@dataclass(frozen=True)
class _Times:
    """When samples were taken, in us of the file's clock; what is to be remarked of that, and to be asked."""

    us: FloatArray
    remarks: tuple[Remark, ...] = ()
    questions: tuple[Question, ...] = ()


def _times(path: Path, column: str, stamps_us: FloatArray, exact: str, exact_us: FloatArray | None) -> _Times:
    """The samples' times by `column`, or by the tracker's own clock in the column `exact` where the first is rounded.

    A clock that is read to 10 ms turns 90 samples a second into 100 and a tenth of loss. Messages keep its times, so
    the tracker's are brought onto it. Without such a column it is asked about, where rate and loss would be wrong.
    """
    grain_us = _grain_us(stamps_us)
    if not grain_us:
        return _Times(stamps_us)
    if exact_us is not None and not np.isnan(exact_us).any() and is_rising(exact_us) is None:
        on_clock = _onto(stamps_us, exact_us, grain_us) if _gcd_us(exact_us) < grain_us else None
        if on_clock is not None:
            text = f"its times are those of {exact}, brought onto the clock of {column}, which is rounded to "
            return _Times(on_clock, (Remark(path.name, f"{text}{grain_us / 1000:g} ms"),))
    step_us = _step(np.diff(stamps_us))
    even_us = _even_step(stamps_us, grain_us) if step_us > 0 else None
    if even_us is None or abs(even_us / step_us - 1) <= _SAME_RATE:
        return _Times(stamps_us)
    question = Question(
        "rounded times",
        f"{path}: times in {column} should be exact, and they are rounded to {grain_us / 1000:g} ms, by which there "
        f"would be {1e6 / step_us:.4g} samples a second in place of {1e6 / even_us:.4g}, and losses that were none: "
        f"export times in microseconds, or {exact} beside them",
    )
    return _Times(stamps_us, questions=(question,))


def _gcd_us(stamps_us: FloatArray) -> int:
    """What all steps are whole multiples of."""
    return int(np.gcd.reduce(np.rint(np.diff(stamps_us)).astype(np.int64))) if len(stamps_us) > 1 else 0


def _grain_us(stamps_us: FloatArray) -> int:
    """What times are rounded to if that is a millisecond or more; 0 where they are exact, or all steps are equal."""
    if np.isnan(stamps_us).any() or len(np.unique(np.rint(np.diff(stamps_us)))) < 2:
        return 0
    grain_us = _gcd_us(stamps_us)
    return grain_us if grain_us >= _COARSE_US else 0


def _onto(stamps_us: FloatArray, exact_us: FloatArray, grain_us: int) -> FloatArray | None:
    """The exact times on the clock of the rounded ones; None where the two do not run side by side."""
    from_start: FloatArray = exact_us - exact_us[0]
    behind = stamps_us - from_start
    if np.ptp(behind) > 2 * grain_us:
        drift = float(np.polyfit(from_start, behind, 1)[0])
        if abs(drift) > _LARGEST_DRIFT:
            return None
        from_start = from_start * (1 + drift)
        behind = stamps_us - from_start
    return from_start + float(np.median(behind)) if np.ptp(behind) <= 2 * grain_us else None


def _even_step(stamps_us: FloatArray, grain_us: int) -> float | None:
    """The step of an even clock that all times, but for rounding, are of; None where samples come unevenly.

    Of the longest stretch without a gap, since a pause is no part of a clock's steps.
    """
    steps = np.diff(stamps_us)
    gaps = np.flatnonzero((steps > 5 * _step(steps)) | (steps < 0))
    edges = np.concatenate([[-1], gaps, [len(steps)]])
    longest = int(np.argmax(np.diff(edges)))
    stretch = stamps_us[edges[longest] + 1 : edges[longest + 1] + 1]
    if len(stretch) < _FEWEST_OF_CLOCK:
        return None
    count = np.arange(len(stretch))
    step_us, start_us = np.polyfit(count, stretch - stretch[0], 1)
    off_us = np.abs(stretch - stretch[0] - start_us - step_us * count)
    return float(step_us) if off_us.max() <= grain_us else None


def _check_rising(time_s: FloatArray, place: Callable[[int], str]) -> None:
    wrong = is_rising(time_s)
    if wrong is not None:
        raise DataError(
            f"{place(wrong)}: its time does not come after the sample before; rows are out of order, a second "
            "recording begins here, or times were rounded: export in microseconds, each recording in its own file."
        )


def _runs(values: Sequence[Any]) -> list[tuple[int, int]]:
    """First and last index of each stretch of equal values.

    >>> _runs("aab")
    [(0, 1), (2, 2)]
    """
    edges = [0, *(i for i in range(1, len(values)) if values[i] != values[i - 1]), len(values)]
    return [(first, last - 1) for first, last in pairwise(edges) if last > first]


# Tobii Pro Lab.


def _read_pro_lab(table: _Table) -> tuple[VendorRecording, ...]:
    groups: dict[tuple[str, str], list[int]] = {}
    every = range(len(table.rows))
    participants, recordings = (
        table.texts(_number_of(table.find([name])), every) for name in ("Participant name", "Recording name")
    )
    for row, key in enumerate(zip(participants, recordings, strict=True)):
        groups.setdefault(key, []).append(row)
    counts: dict[str, int] = {}
    found = []
    for (participant, _), rows in groups.items():
        counts[participant] = counts.get(participant, 0) + 1
        found.append(_pro_lab_recording(table, participant, rows, counts[participant], alone=len(groups) == 1))
    if not found:
        raise DataError(f"{table.path} has no rows under its first line: {_AGAIN}.")
    return tuple(found)


def _number_of(found: tuple[int, str] | None) -> int | None:
    return found[0] if found else None


def _pro_lab_recording(table: _Table, participant: str, rows: list[int], run: int, alone: bool) -> VendorRecording:
    path = table.path
    column, unit = table.find(["Recording timestamp"], ("μs", "µs", "us", "ms", "")) or (0, "")
    events = table.texts(_number_of(table.find(["Event"])), rows)
    sampled = [row for row, keep in zip(rows, _is_sample(table, rows, events), strict=True) if keep]
    if not sampled:
        said = set(table.texts(_number_of(table.find(["Sensor"])), rows)) - {""}
        instead = f" (its column Sensor says {listed(sorted(said))}, and never Eye Tracker)" if said else ""
        raise DataError(f"{path} has no gaze samples of participant {participant or path.stem}{instead}: export the "
                        "eye tracker's data in English, not events alone.")  # fmt: skip
    times = table.numbers(column, sampled)
    missing = np.flatnonzero(np.isnan(times))
    if len(missing):
        raise DataError(f"{table.place(sampled[missing[0]])} has no Recording timestamp: {_AGAIN}.")
    # Without a unit: no tracker's samples lie 200 ms apart, none 200 microseconds or less.
    steps = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    in_ms = unit == "ms" or (not unit and steps < 200)
    scale = 1e-3 if in_ms else 1e-6
    own = _number_of(table.find(["Eyetracker timestamp"], ("μs", "µs", "us", "")))
    exact_us = table.numbers(own, sampled) if own is not None and _grain_us(times * scale * 1e6) else None
    clock = _times(path, "Recording timestamp", times * scale * 1e6, "Eyetracker timestamp", exact_us)
    time_s = clock.us * 1e-6 if clock.remarks else times * scale
    _check_rising(time_s, lambda i: table.place(sampled[i]))
    samples = no_samples(len(sampled))
    samples["time_s"] = time_s
    eyes, validity = _fill_pro_lab(table, sampled, samples)
    check_samples(samples, "px", lambda i: table.place(sampled[i]), _AGAIN)
    rate_hz, of_rate = _rate(time_s, path, table.names[column], "milliseconds" if in_ms else "microseconds")
    wide, high = (_single(table, f"Recording resolution {side}", sampled) for side in ("width", "height"))
    if wide or high:
        check_screen((wide, high), f"{path}, Recording resolution")
    software = table.texts(_number_of(table.find(["Recording software version"])), sampled[:1])[0]
    messages = [
        Message(at_s, text, table.place(row), text, at_s)
        for row, text, at_s in _pro_lab_messages(table, rows, events, column, scale)
    ]
    own_rows = "\n".join([table.raw[0], *(table.raw[table.lines[row] - 1] for row in rows), ""]).encode()
    return VendorRecording(
        file=path, name=participant or path.stem, samples=samples, rate_hz=rate_hz, eyes=eyes,
        tracker=_tobii({"software": f"Tobii Pro Lab {software}".strip()}),
        screen_px=((round(wide), round(high)),) if wide and high else (), messages=tuple(messages),
        detected=_pro_lab_detected(table, sampled, time_s, rate_hz),
        shown=_pro_lab_shown(table, sampled, time_s, rate_hz),
        run=run, own_file=None if alone else own_rows, remarks=clock.remarks,
        questions=(*table.points.questions(), *of_rate, *clock.questions, *validity),
    )  # fmt: skip


def _is_sample(table: _Table, rows: Sequence[int], events: Sequence[str]) -> list[bool]:
    """Whether a row is the eye tracker's: by Sensor, else by the tracker's own timestamp, else it is no event's."""
    if sensor := table.find(["Sensor"]):
        return [cell == "Eye Tracker" for cell in table.texts(sensor[0], rows)]
    if own_time := table.find(["Eyetracker timestamp"], ("", "μs", "µs", "us", "ms")):
        return [bool(cell) for cell in table.texts(own_time[0], rows)]
    return [not event for event in events]


def _fill_pro_lab(
    table: _Table, rows: Sequence[int], samples: Samples
) -> tuple[tuple[Eye, ...], tuple[Question, ...]]:  # fmt: skip
    """Write gaze and pupils into the samples; returns the eyes that have columns, and what to ask of validity."""
    eyes: list[Eye] = []
    there = left = 0
    for eye in _EYES:
        x, y = (_number_of(table.find([f"Gaze point {eye} {axis}"], _PX)) for axis in "XY")
        if x is None or y is None:
            continue
        eyes.append(eye)
        invalid = _invalid(table, rows, eye)
        gaze = [table.numbers(column, rows) for column in (x, y)]
        for axis, values in zip("xy", gaze, strict=True):
            samples[f"{eye}_{axis}_px"] = np.where(invalid, np.nan, values)
        there += int((~np.isnan(gaze[0])).sum())
        left += int((~np.isnan(gaze[0]) & ~invalid).sum())
        pupil = _number_of(table.find([f"Pupil diameter {eye}"], ("", "mm")))
        samples[f"{eye}_pupil"] = table.numbers(pupil, rows)
    if not eyes:
        raise DataError(
            f"{table.path}, line 1: there is no column 'Gaze point left X' or 'Gaze point right X' in px; export the "
            "gaze point of each eye (Gaze point left and right, DACS px), not their mean."
        )
    return tuple(eyes), _validity_questions(table.path, there, left, "Validity left and Validity right")


def _invalid(table: _Table, rows: Sequence[int], eye: Eye) -> NDArray[np.bool_]:
    """Which samples of an eye are invalid: by Pro Lab's English words, or by the codes 0 to 4 that Studio had.

    Raises DataError for any other word, and for 0 and 1 alone: to Studio both are valid, to the SDK 1 is.
    """
    cells = table.texts(_number_of(table.find([f"Validity {eye}"])), rows)
    known = set(cells) - {""}
    codes = {str(code) for code in _OLD_CODES}
    if known <= codes and known - {"0", "1"}:
        return np.array([cell not in ("", "0", "1") for cell in cells])
    words = {"valid", "invalid", ""}
    if wrong := [i for i, cell in enumerate(cells) if cell.lower() not in words]:
        row, cell = rows[wrong[0]], cells[wrong[0]]
        raise DataError(
            f"{table.place(row)}, column Validity {eye}: {shortened(cell)} is neither Valid nor Invalid; set Pro Lab "
            "to English and export again, or replace what that column says by Valid and Invalid."
        )
    return np.array([cell.lower() == "invalid" for cell in cells])


def _validity_questions(path: Path, there: int, left: int, columns: str) -> tuple[Question, ...]:
    """What to ask where samples have gaze, `there` of them, and by their validity none of it is `left`."""
    if left or not there:
        return ()
    return (Question("validity codes", f"{path}: some gaze should be valid, and by {columns} none of the {there} "
                     "samples with gaze is: correct what these columns say"),)  # fmt: skip


def _single(table: _Table, name: str, rows: Sequence[int]) -> float:
    """The one value that a column has in all these rows; 0 where it has none."""
    found = table.find([name], _PX)
    if found is None:
        return 0.0
    values = table.numbers(found[0], rows)
    known = np.unique(values[~np.isnan(values)])
    if len(known) > 1:
        row = rows[int(np.flatnonzero(values == known[1])[0])]
        raise DataError(f"{table.place(row)}: {name} changes within a recording; {_AGAIN}, one recording a file.")
    return float(known[0]) if len(known) else 0.0


def _pro_lab_messages(
    table: _Table, rows: Sequence[int], events: Sequence[str], column: int, scale: float
) -> list[tuple[int, str, float]]:
    values = table.texts(_number_of(table.find(["Event value"])), rows)
    happened = [
        (row, f"{event} {value}".strip()) for row, event, value in zip(rows, events, values, strict=True) if event
    ]
    times = table.numbers(column, [row for row, _ in happened]) * scale
    for (row, text), time_s in zip(happened, times, strict=True):
        if math.isnan(time_s):
            raise DataError(f"{table.place(row)}: the event {shortened(text)} has no Recording timestamp; {_AGAIN}.")
    return [(row, text, float(time_s)) for (row, text), time_s in zip(happened, times, strict=True)]


def _pro_lab_detected(table: _Table, rows: list[int], time_s: FloatArray, rate_hz: float) -> tuple[Detected, ...]:
    """Fixations and saccades as Pro Lab's filter found them: each row names its own by type and index."""
    kinds = table.texts(_number_of(table.find(["Eye movement type"])), rows)
    numbers = table.texts(_number_of(table.find(["Eye movement type index"])), rows)
    lasts = table.find(["Gaze event duration", "Eye movement event duration"], ("", "ms"))
    durations_ms = table.numbers(_number_of(lasts), rows)
    x, y = (table.numbers(_number_of(table.find([f"Fixation point {axis}"], _PX)), rows) for axis in "XY")
    found = []
    for first, last in _runs(list(zip(kinds, numbers, strict=True))):
        if kinds[first] not in ("Fixation", "Saccade", "Blink"):
            continue
        told_s = float(durations_ms[first]) / 1000
        duration_s = float(time_s[last] - time_s[first]) + 1 / rate_hz if math.isnan(told_s) else told_s
        position = [None if math.isnan(values[first]) else float(values[first]) for values in (x, y)]
        found.append(Detected(kinds[first].lower(), float(time_s[first]), duration_s, None, "", *position))
    return tuple(found)


def _pro_lab_shown(table: _Table, rows: list[int], time_s: FloatArray, rate_hz: float) -> tuple[Shown, ...]:
    column = _number_of(table.find(["Presented Stimulus name", "Presented Media name"]))
    names = table.texts(column, rows)
    sides = [
        table.numbers(_number_of(table.find([f"Presented Media {side}"], _PX)), rows)
        for side in ("position X", "position Y", "width", "height")
    ]
    found = []
    for first, last in _runs(names):
        if names[first]:
            place = [float(values[first]) for values in sides]
            rect = None if any(map(math.isnan, place)) or min(place[2:]) <= 0 else Rect(*place)
            end_s = float(time_s[last]) + 1 / rate_hz
            found.append(Shown(names[first], float(time_s[first]), end_s, rect, table.place(rows[first])))
    return tuple(found)


def _tobii(told: Mapping[str, str]) -> dict[str, str]:
    return {"manufacturer": "Tobii", "model": "Tobii", "serial": "n/a", "software": "n/a", "pupil_unit": "mm",
            "pupil_measure": "diameter", **told}  # fmt: skip


# The SDK's columns.


@dataclass(frozen=True)
class _Columns:
    """The columns of one eye: x and y (one name where both are in one cell), validity, the greatest valid code if
    small codes are good (else 1 is), pupil and its validity.
    """

    x: str
    y: str
    valid: str
    codes_to: int | None
    pupil: str
    pupil_valid: str


def _sdk_columns(names: Sequence[str], eye: Eye) -> _Columns | None:
    letter = eye[0].upper()
    point, old = f"{eye}_gaze_point_on_display_area", f"{letter}GazePos2d"

    def either(*wanted: str) -> str:
        return next((name for name in wanted if name in names), "")

    if old + "x" in names and old + "y" in names:
        return _Columns(old + "x", old + "y", either(f"{letter}Validity"), 1, either(f"{letter}PupilDm"), "")
    pupil = either(f"{eye}_pupil_diameter"), either(f"{eye}_pupil_validity", f"{eye}_pupil_valid")
    valid = either(f"{eye}_gaze_point_validity", f"{eye}_gaze_point_valid")
    if point + "_x" in names and point + "_y" in names:
        return _Columns(point + "_x", point + "_y", valid, None, *pupil)
    return _Columns(point, point, valid, None, *pupil) if point in names else None


def _read_sdk_table(table: _Table) -> VendorRecording:
    rows = range(len(table.rows))
    columns = {eye: found for eye in _EYES if (found := _sdk_columns(table.names, eye))}
    clock = next((name for name in _SDK_TIMES if name in table.names), "")
    if not columns or not clock:
        raise DataError(
            f"{table.path}, line 1: its columns are those of no Tobii file ({listed(table.names)}); wanted "
            "are Pro Lab's (Recording timestamp, Gaze point left X, ...) or the SDK's (system_time_stamp, "
            "left_gaze_point_on_display_area_x, ...), in English."
        )
    if not table.rows:
        raise DataError(f"{table.path} has no samples under its first line: {_AGAIN}.")
    stamps_us = table.numbers(table.names.index(clock), rows)
    beside = table.names.index(_EXACT) if clock == _ROUNDED and _EXACT in table.names and _grain_us(stamps_us) else None
    times = _times(table.path, clock, stamps_us, _EXACT, None if beside is None else table.numbers(beside, rows))
    numbers = {clock: times.us}
    for c in columns.values():
        if c.x == c.y:
            numbers[c.x + "_x"], numbers[c.x + "_y"] = _pairs(table, table.names.index(c.x))
        for name in {c.x, c.y, c.valid, c.pupil, c.pupil_valid} - {""}:
            if name not in numbers and not (c.x == c.y and name == c.x):
                numbers[name] = _as_numbers(table, table.names.index(name))
    split = {eye: c if c.x != c.y else _Columns(c.x + "_x", c.x + "_y", c.valid, None, c.pupil, c.pupil_valid)
             for eye, c in columns.items()}  # fmt: skip
    time_s = numbers[clock] * 1e-6
    messages = [Message(float(time_s[row]), text, table.place(row), text, float(time_s[row]))
                for row, text in enumerate(table.texts(_first(table, _SDK_MESSAGES), rows)) if text]  # fmt: skip
    messages += _messages_beside(table.path, clock)
    recording = _sdk_recording(table.path, clock, numbers, split, messages, table.place, {}, times)
    names = table.texts(_first(table, _SDK_SHOWN), rows)
    shown = tuple(
        Shown(names[first], float(time_s[first]), float(time_s[last]) + 1 / recording.rate_hz, None, table.place(first))
        for first, last in _runs(names) if names[first]
    )  # fmt: skip
    return replace(recording, shown=shown, questions=(*table.points.questions(), *recording.questions))


def _first(table: _Table, names: Sequence[str]) -> int | None:
    return next((table.names.index(name) for name in names if name in table.names), None)


def _as_numbers(table: _Table, column: int) -> FloatArray:
    """A column of numbers, in which True is 1 and False 0."""
    truth = {"true": 1.0, "false": 0.0}
    cells = table.texts(column, range(len(table.rows)))
    if cells and all(cell.lower() in truth or cell.lower() in _MISSING for cell in cells):
        return np.array([truth.get(cell.lower(), math.nan) for cell in cells])
    return table.numbers(column, range(len(table.rows)))


def _pairs(table: _Table, column: int) -> tuple[FloatArray, FloatArray]:
    """Two numbers in one cell: "(0.51, 0.48)"."""
    found = []
    for row, cell in enumerate(table.texts(column, range(len(table.rows)))):
        parts = [part.strip().lower() for part in cell.strip("()[]").split(",")]
        try:
            x, y = (math.nan if part in _MISSING else parse_number(part) for part in parts)
        except ValueError:
            raise DataError(f"{table.place(row)}, column {table.names[column]}: {shortened(cell)} is no pair of "
                            f"numbers; {_AGAIN}.") from None  # fmt: skip
        found.append((x, y))
    values = np.array(found, np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _messages_beside(path: Path, clock: str) -> list[Message]:
    """Messages of a file NAME_msg.tsv (or .csv) beside the gaze, with columns system_time_stamp and msg."""
    beside = next(
        (file for end in (".tsv", ".csv") if (file := path.with_name(f"{path.stem}_msg{end}")).is_file()), None
    )
    if beside is None:
        return []
    table = _Table(beside)
    column, text = _first(table, ["system_time_stamp"]), _first(table, _SDK_MESSAGES)
    if column is None or text is None or clock != "system_time_stamp":
        raise DataError(f"{beside}, line 1: messages need the columns system_time_stamp and msg, and {path.name} needs "
                        "system_time_stamp: save both by that clock.")  # fmt: skip
    rows = range(len(table.rows))
    times = table.numbers(column, rows) * 1e-6
    wrong = np.flatnonzero(np.isnan(times))
    if len(wrong):
        raise DataError(f"{table.place(int(wrong[0]))} has no system_time_stamp: {_AGAIN}.")
    return [Message(float(at_s), said, table.place(row), said, float(at_s))
            for row, (at_s, said) in enumerate(zip(times, table.texts(text, rows), strict=True)) if said]  # fmt: skip


def _sdk_recording(
    path: Path, clock: str, numbers: Mapping[str, FloatArray], columns: Mapping[Eye, _Columns],
    messages: Sequence[Message], place: Callable[[int], str], told: Mapping[str, str], times: _Times,
    validations: tuple[Validation, ...] = (),
) -> VendorRecording:  # fmt: skip
    time_s = numbers[clock] * 1e-6
    missing = np.flatnonzero(np.isnan(time_s))
    if len(missing):
        raise DataError(f"{place(int(missing[0]))} has no {clock}: {_AGAIN}.")
    _check_rising(time_s, place)
    samples = no_samples(len(time_s))
    samples["time_s"] = time_s
    there = left = 0
    for eye, c in columns.items():
        seen = np.ones(len(time_s), bool)
        if c.valid:
            codes = (0, 1) if c.codes_to is None else _OLD_CODES
            wrong = np.flatnonzero(~np.isin(numbers[c.valid], codes) & ~np.isnan(numbers[c.valid]))
            if len(wrong):
                raise DataError(f"{place(int(wrong[0]))}: {c.valid} is {numbers[c.valid][wrong[0]]:g}, and should be "
                                f"one of {', '.join(map(str, codes))}; {_AGAIN}.")  # fmt: skip
            seen = numbers[c.valid] == 1 if c.codes_to is None else numbers[c.valid] <= c.codes_to
        # Where an eye was lost the older SDK wrote -1.
        has_gaze = ~np.isnan(numbers[c.x]) & (numbers[c.x] != -1)
        there, left = there + int(has_gaze.sum()), left + int((has_gaze & seen).sum())
        samples[f"{eye}_x_px"] = np.where(seen, numbers[c.x], np.nan)
        samples[f"{eye}_y_px"] = np.where(seen, numbers[c.y], np.nan)
        if c.pupil:
            known = numbers[c.pupil] > 0
            if c.pupil_valid:
                known &= numbers[c.pupil_valid] == 1
            samples[f"{eye}_pupil"] = np.where(known, numbers[c.pupil], np.nan)
    check_samples(samples, "share", place, _AGAIN)
    rate_hz, of_rate = _rate(time_s, path, clock, "microseconds")
    validity = _validity_questions(path, there, left, " and ".join(c.valid for c in columns.values() if c.valid))
    return VendorRecording(
        file=path, name=path.stem, samples=samples, rate_hz=rate_hz, eyes=tuple(columns),
        tracker=_tobii(told), unit="share", messages=tuple(messages), validations=validations, remarks=times.remarks,
        questions=(*of_rate, *times.questions, *validity),
    )  # fmt: skip


# Titta.


def _read_titta(path: Path) -> VendorRecording:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "recording.npz"
        read_in_a_child(__name__, path, result, "take Titta's own copy of the file")
        with np.load(result) as file:
            said: dict[str, Any] = json.loads(str(file["said"]))
            numbers = {name: file[f"gaze {name}"] for name in said["names"]}
    columns = {eye: found for eye in _EYES if (found := _sdk_columns(list(numbers), eye))}
    clock = "system_time_stamp"
    if not columns or clock not in numbers:
        raise DataError(f"{path}: its table gaze lacks {clock} or left_gaze_point_on_display_area_x; save it with "
                        "Titta again.")  # fmt: skip
    messages = [Message(at_us * 1e-6, text, f"{path}, message {i}", text, at_us * 1e-6)
                for i, (at_us, text) in enumerate(said["messages"], start=1)]  # fmt: skip
    if not len(numbers[clock]):
        raise DataError(f"{path} has no samples: record with start_recording(gaze=True).")
    used = said["validation"]
    first_s = float(numbers[clock][0]) * 1e-6
    validations = (Validation(first_s, {eye: used[eye] for eye in columns}),) if used else ()
    times = _times(path, clock, numbers[clock], _EXACT, numbers.get(_EXACT))
    return _sdk_recording(path, clock, {**numbers, clock: times.us}, columns, messages,
                          lambda row: f"{path}, sample {row + 1}", _titta_system(path), times, validations)  # fmt: skip


def _titta_system(path: Path) -> dict[str, str]:
    """What Titta's NAME.json beside the file says of the tracker, if it is there."""
    try:
        said = parse_json(path.with_suffix(".json").read_text("utf-8"))
        told = {"model": said["model"], "serial": said["serial_number"], "software": said["firmware_version"]}
        return {name: str(value) for name, value in told.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _child(file: str, result: str) -> None:
    """Read Titta's HDF5 with pandas, and write what it holds; runs in a process of its own."""
    import pandas as pd

    try:
        with pd.HDFStore(file, mode="r") as store:
            tables = {key.strip("/"): store[key] for key in store.keys() if key.strip("/") in  # noqa: SIM118
                      ("gaze", "msg", "calibration_history")}  # fmt: skip
        gaze = tables["gaze"]
        said_at = tables.get("msg", pd.DataFrame({"system_time_stamp": [], "msg": []}))
        messages = [(int(at), str(text)) for at, text in zip(said_at["system_time_stamp"], said_at["msg"], strict=True)]
        numeric = gaze.select_dtypes(["number", "bool"])
        numbers = dict(zip(map(str, numeric), numeric.to_numpy(np.float64).T, strict=True))
        said = {"names": list(numbers), "messages": messages,
                "validation": _titta_validation(tables.get("calibration_history"))}  # fmt: skip
    except ImportError as error:
        _refuse(f': HDF5 is read by the package tables ({error}); pip install -e ".[vendors]" -c constraints.txt.')
    except Exception as error:
        # Whatever HDF5, PyTables or pandas make of a broken file: there is no one class.
        reason = " ".join(str(error).split())[:200]
        _refuse(f": it is no whole HDF5 file of Titta's, with its table gaze ({reason}); save it with Titta again.")
    np.savez(result, said=np.array(json.dumps(said)), **{f"gaze {name}": values for name, values in numbers.items()})


def _titta_validation(history: Any) -> dict[str, dict[str, float | None]]:
    """The figures of the calibration that Titta used, by eye; empty where it kept none."""
    if history is None or "Calibration used" not in history:
        return {}
    rows = history[history["Calibration used"].astype(str).str.lower().isin(["true", "1", "used"])]
    if rows.empty:
        return {}
    last = rows.iloc[-1]

    def figure(name: str, factor: float = 1.0) -> float | None:
        value = float(last.get(name, math.nan))
        return None if math.isnan(value) else value * factor

    return {
        eye: {
            "accuracy_deg": figure(f"offset_{eye}_eye (deg)"), "rms_s2s_deg": figure(f"RMS_S2S_{eye}_eye (deg)"),
            "sd_deg": figure(f"SD_{eye}_eye (deg)"), "loss_percent": figure(f"Prop_data_loss_{eye}_eye", 100),
            "accuracy_worst_deg": None, "passed": None,
        }
        for eye in _EYES
    }  # fmt: skip


def _refuse(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    _child(*sys.argv[1:])
