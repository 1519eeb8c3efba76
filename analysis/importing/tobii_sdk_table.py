"""Tables with the columns of the Tobii SDK: TSV or CSV, as Titta and the SDK's dictionaries name them.

Their positions are shares of the screen, with no word on how many px it has; messages stand in a column, or in a file
NAME_msg beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from beholder.analysis.importing.sample_times import (
    EXACT_CLOCK,
    ROUNDED_CLOCK,
    SampleTimes,
    check_rising,
    grain_us,
    rate_of,
    sample_times,
)
from beholder.analysis.importing.text_table import EXPORT_AGAIN, MISSING, TextTable, as_numbers, first_column
from beholder.analysis.importing.vendor_recording import (
    Message,
    Question,
    Shown,
    VendorRecording,
    check_samples,
)
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError
from beholder.shared.gaze import Eye, no_samples
from beholder.shared.parsing import listed, parse_number, shortened

EYES: tuple[Eye, ...] = ("left", "right")


_SDK_TIMES = ("system_time_stamp", "device_time_stamp", "Time")


_SDK_MESSAGES, _SDK_SHOWN = ("message", "msg", "event", "Event"), ("stim_file", "stimulus", "picture", "image")


OLD_CODES = (0, 1, 2, 3, 4)  # of the older SDK's validity, and Studio's, from sure to lost


# Names of columns that there is one of for each eye.
_SIDES = (re.compile(r"(?P<eye>left|right)_"), re.compile(r"(?P<eye>[LR])[A-Z]"),
          re.compile(r"(Gaze point|Pupil diameter|Validity) (?P<eye>left|right)"))  # fmt: skip


def check_sides(table: TextTable) -> None:
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
        raise DataError(
            f"{table.path}, line 1: the column {name} stands for one eye only; export the same columns of both eyes."
        )


def runs_of(values: Sequence[Any]) -> list[tuple[int, int]]:
    """First and last index of each stretch of equal values.

    >>> runs_of("aab")
    [(0, 1), (2, 2)]
    """
    edges = [0, *(i for i in range(1, len(values)) if values[i] != values[i - 1]), len(values)]
    return [(first, last - 1) for first, last in pairwise(edges) if last > first]


def validity_questions(path: Path, there: int, left: int, columns: str) -> tuple[Question, ...]:
    """What to ask where samples have gaze, `there` of them, and by their validity none of it is `left`."""
    if left or not there:
        return ()
    return (Question("validity codes", f"{path}: some gaze should be valid, and by {columns} none of the {there} "
                     "samples with gaze is: correct what these columns say"),)  # fmt: skip


def tobii_tracker(told: Mapping[str, str]) -> dict[str, str]:
    """What a recording says of its tracker, over what is known of every Tobii."""
    return {"manufacturer": "Tobii", "model": "Tobii", "serial": "n/a", "software": "n/a", "pupil_unit": "mm",
            "pupil_measure": "diameter", **told}  # fmt: skip


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


def sdk_columns(names: Sequence[str], eye: Eye) -> _Columns | None:
    """The columns of an eye, as the SDK or the one before it calls them; None where there are none."""
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


def read_sdk_table(table: TextTable) -> VendorRecording:
    """The recording of a table; DataError where its columns are no Tobii's, or a row is not whole."""
    rows = range(len(table.rows))
    columns = {eye: found for eye in EYES if (found := sdk_columns(table.names, eye))}
    clock = next((name for name in _SDK_TIMES if name in table.names), "")
    if not columns or not clock:
        raise DataError(
            f"{table.path}, line 1: its columns are those of no Tobii file ({listed(table.names)}); wanted "
            "are Pro Lab's (Recording timestamp, Gaze point left X, ...) or the SDK's (system_time_stamp, "
            "left_gaze_point_on_display_area_x, ...), in English."
        )
    if not table.rows:
        raise DataError(f"{table.path} has no samples under its first line: {EXPORT_AGAIN}.")
    stamps_us = table.numbers(table.names.index(clock), rows)
    beside = (
        table.names.index(EXACT_CLOCK)
        if clock == ROUNDED_CLOCK and EXACT_CLOCK in table.names and grain_us(stamps_us)
        else None
    )
    times = sample_times(
        table.path, clock, stamps_us, EXACT_CLOCK, None if beside is None else table.numbers(beside, rows)
    )
    numbers = {clock: times.us}
    for c in columns.values():
        if c.x == c.y:
            numbers[c.x + "_x"], numbers[c.x + "_y"] = _pairs(table, table.names.index(c.x))
        for name in {c.x, c.y, c.valid, c.pupil, c.pupil_valid} - {""}:
            if name not in numbers and not (c.x == c.y and name == c.x):
                numbers[name] = as_numbers(table, table.names.index(name))
    split = {
        eye: c if c.x != c.y else _Columns(c.x + "_x", c.x + "_y", c.valid, None, c.pupil, c.pupil_valid)
        for eye, c in columns.items()
    }
    time_s = numbers[clock] * 1e-6
    messages = [
        Message(float(time_s[row]), text, table.place(row), text, float(time_s[row]))
        for row, text in enumerate(table.texts(first_column(table, _SDK_MESSAGES), rows))
        if text
    ]
    messages += _messages_beside(table.path, clock)
    recording = sdk_recording(table.path, clock, numbers, split, messages, table.place, times)
    names = table.texts(first_column(table, _SDK_SHOWN), rows)
    shown = tuple(
        Shown(names[first], float(time_s[first]), float(time_s[last]) + 1 / recording.rate_hz, None, table.place(first))
        for first, last in runs_of(names)
        if names[first]
    )
    return replace(recording, shown=shown, questions=(*table.points.questions(), *recording.questions))


def _pairs(table: TextTable, column: int) -> tuple[FloatArray, FloatArray]:
    """Two numbers in one cell: "(0.51, 0.48)"."""
    found = []
    for row, cell in enumerate(table.texts(column, range(len(table.rows)))):
        parts = [part.strip().lower() for part in cell.strip("()[]").split(",")]
        try:
            x, y = (math.nan if part in MISSING else parse_number(part) for part in parts)
        except ValueError:
            raise DataError(
                f"{table.place(row)}, column {table.names[column]}: {shortened(cell)} is no pair of "
                f"numbers; {EXPORT_AGAIN}."
            ) from None
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
    table = TextTable(beside)
    column, text = first_column(table, ["system_time_stamp"]), first_column(table, _SDK_MESSAGES)
    if column is None or text is None or clock != "system_time_stamp":
        raise DataError(
            f"{beside}, line 1: messages need the columns system_time_stamp and msg, and {path.name} needs "
            "system_time_stamp: save both by that clock."
        )
    rows = range(len(table.rows))
    times = table.numbers(column, rows) * 1e-6
    wrong = np.flatnonzero(np.isnan(times))
    if len(wrong):
        raise DataError(f"{table.place(int(wrong[0]))} has no system_time_stamp: {EXPORT_AGAIN}.")
    return [
        Message(float(at_s), said, table.place(row), said, float(at_s))
        for row, (at_s, said) in enumerate(zip(times, table.texts(text, rows), strict=True))
        if said
    ]


def sdk_recording(
    path: Path,
    clock: str,
    numbers: Mapping[str, FloatArray],
    columns: Mapping[Eye, _Columns],
    messages: Sequence[Message],
    place: Callable[[int], str],
    times: SampleTimes,
) -> VendorRecording:
    """A recording from its columns of numbers, of a tracker of which no more is known; `place` says where a row is."""
    time_s = numbers[clock] * 1e-6
    missing = np.flatnonzero(np.isnan(time_s))
    if len(missing):
        raise DataError(f"{place(int(missing[0]))} has no {clock}: {EXPORT_AGAIN}.")
    check_rising(time_s, place)
    samples = no_samples(len(time_s))
    samples["time_s"] = time_s
    there = left = 0
    for eye, c in columns.items():
        seen = np.ones(len(time_s), bool)
        if c.valid:
            codes = (0, 1) if c.codes_to is None else OLD_CODES
            wrong = np.flatnonzero(~np.isin(numbers[c.valid], codes) & ~np.isnan(numbers[c.valid]))
            if len(wrong):
                raise DataError(
                    f"{place(int(wrong[0]))}: {c.valid} is {numbers[c.valid][wrong[0]]:g}, and should be "
                    f"one of {', '.join(map(str, codes))}; {EXPORT_AGAIN}."
                )
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
    check_samples(samples, "share", place, EXPORT_AGAIN)
    rate_hz, of_rate = rate_of(time_s, path, clock, "microseconds")
    validity = validity_questions(path, there, left, " and ".join(c.valid for c in columns.values() if c.valid))
    return VendorRecording(
        file=path,
        name=path.stem,
        samples=samples,
        rate_hz=rate_hz,
        eyes=tuple(columns),
        tracker=tobii_tracker({}),
        unit="share",
        messages=tuple(messages),
        remarks=times.remarks,
        questions=(*of_rate, *times.questions, *validity),
    )
