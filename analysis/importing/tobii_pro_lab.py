"""Exports of Tobii Pro Lab (TSV): one row a sample or event, px of the screen, any number of recordings in one file.

Its column names have carried units in two ways, `[DACS px]` and `(DACSpx)`; both are understood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.importing.sample_times import check_rising, grain_us, rate_of, sample_times
from beholder.analysis.importing.text_table import EXPORT_AGAIN, PX_UNITS, TextTable
from beholder.analysis.importing.tobii_sdk_table import EYES, OLD_CODES, runs_of, tobii_tracker, validity_questions
from beholder.analysis.importing.vendor_recording import (
    Message,
    Question,
    Shown,
    VendorRecording,
    check_samples,
    check_screen,
)
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError
from beholder.shared.gaze import Eye, Samples, no_samples
from beholder.shared.parsing import listed, shortened
from beholder.shared.recording.records import TrackerEvent
from beholder.shared.screen import Rect


def read_pro_lab(table: TextTable) -> tuple[VendorRecording, ...]:
    """The recordings of an export, in its order. Raises DataError where a row is not whole."""
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
        raise DataError(f"{table.path} has no rows under its first line: {EXPORT_AGAIN}.")
    return tuple(found)


def _number_of(found: tuple[int, str] | None) -> int | None:
    return found[0] if found else None


def _pro_lab_recording(table: TextTable, participant: str, rows: list[int], run: int, alone: bool) -> VendorRecording:
    path = table.path
    column, unit = table.find(["Recording timestamp"], ("μs", "µs", "us", "ms", "")) or (0, "")
    events = table.texts(_number_of(table.find(["Event"])), rows)
    sampled = [row for row, keep in zip(rows, _is_sample(table, rows, events), strict=True) if keep]
    if not sampled:
        said = set(table.texts(_number_of(table.find(["Sensor"])), rows)) - {""}
        instead = f" (its column Sensor says {listed(sorted(said))}, and never Eye Tracker)" if said else ""
        raise DataError(
            f"{path} has no gaze samples of participant {participant or path.stem}{instead}: export the "
            "eye tracker's data in English, not events alone."
        )
    times = table.numbers(column, sampled)
    missing = np.flatnonzero(np.isnan(times))
    if len(missing):
        raise DataError(f"{table.place(sampled[missing[0]])} has no Recording timestamp: {EXPORT_AGAIN}.")
    # Without a unit, steps below 200 are ms: no tracker's samples lie 200 ms apart, and none 200 microseconds or less.
    steps = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    in_ms = unit == "ms" or (not unit and steps < 200)
    scale = 1e-3 if in_ms else 1e-6
    own = _number_of(table.find(["Eyetracker timestamp"], ("μs", "µs", "us", "")))
    exact_us = table.numbers(own, sampled) if own is not None and grain_us(times * scale * 1e6) else None
    clock = sample_times(path, "Recording timestamp", times * scale * 1e6, "Eyetracker timestamp", exact_us)
    time_s = clock.us * 1e-6 if clock.remarks else times * scale
    check_rising(time_s, lambda i: table.place(sampled[i]))
    samples = no_samples(len(sampled))
    samples["time_s"] = time_s
    eyes, validity = _fill_pro_lab(table, sampled, samples)
    check_samples(samples, "px", lambda i: table.place(sampled[i]), EXPORT_AGAIN)
    rate_hz, of_rate = rate_of(time_s, path, table.names[column], "milliseconds" if in_ms else "microseconds")
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
        file=path,
        name=participant or path.stem,
        samples=samples,
        rate_hz=rate_hz,
        eyes=eyes,
        tracker=tobii_tracker({"software": f"Tobii Pro Lab {software}".strip()}),
        screen_px=((round(wide), round(high)),) if wide and high else (),
        messages=tuple(messages),
        detected=_pro_lab_detected(table, sampled, time_s, rate_hz),
        shown=_pro_lab_shown(table, sampled, time_s, rate_hz),
        run=run,
        own_file=None if alone else own_rows,
        remarks=clock.remarks,
        questions=(*table.points.questions(), *of_rate, *clock.questions, *validity),
    )


def _is_sample(table: TextTable, rows: Sequence[int], events: Sequence[str]) -> list[bool]:
    """Whether each row is a sample of the eye tracker.

    Told by the column Sensor, else by the tracker's own timestamp; without either, a row is one that has no event.
    """
    if sensor := table.find(["Sensor"]):
        return [cell == "Eye Tracker" for cell in table.texts(sensor[0], rows)]
    if own_time := table.find(["Eyetracker timestamp"], ("", "μs", "µs", "us", "ms")):
        return [bool(cell) for cell in table.texts(own_time[0], rows)]
    return [not event for event in events]


def _fill_pro_lab(
    table: TextTable, rows: Sequence[int], samples: Samples
) -> tuple[tuple[Eye, ...], tuple[Question, ...]]:
    """Write gaze and pupils into the samples; returns the eyes that have columns, and questions about validity."""
    eyes: list[Eye] = []
    there = left = 0
    for eye in EYES:
        x, y = (_number_of(table.find([f"Gaze point {eye} {axis}"], PX_UNITS)) for axis in "XY")
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
    return tuple(eyes), validity_questions(table.path, there, left, "Validity left and Validity right")


def _invalid(table: TextTable, rows: Sequence[int], eye: Eye) -> NDArray[np.bool_]:
    """Which samples of an eye are invalid: by Pro Lab's English words, or by the codes 0 to 4 that Studio had.

    Raises DataError for any other word, and where codes are only 0 or 1: in Studio both are valid, in the SDK only 1.
    """
    cells = table.texts(_number_of(table.find([f"Validity {eye}"])), rows)
    known = set(cells) - {""}
    codes = {str(code) for code in OLD_CODES}
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


def _single(table: TextTable, name: str, rows: Sequence[int]) -> float:
    """The one value that a column has in all these rows; 0 where it has none."""
    found = table.find([name], PX_UNITS)
    if found is None:
        return 0.0
    values = table.numbers(found[0], rows)
    known = np.unique(values[~np.isnan(values)])
    if len(known) > 1:
        row = rows[int(np.flatnonzero(values == known[1])[0])]
        raise DataError(f"{table.place(row)}: {name} changes within a recording; {EXPORT_AGAIN}, one recording a file.")
    return float(known[0]) if len(known) else 0.0


def _pro_lab_messages(
    table: TextTable, rows: Sequence[int], events: Sequence[str], column: int, scale: float
) -> list[tuple[int, str, float]]:
    values = table.texts(_number_of(table.find(["Event value"])), rows)
    happened = [
        (row, f"{event} {value}".strip()) for row, event, value in zip(rows, events, values, strict=True) if event
    ]
    times = table.numbers(column, [row for row, _ in happened]) * scale
    for (row, text), time_s in zip(happened, times, strict=True):
        if math.isnan(time_s):
            raise DataError(
                f"{table.place(row)}: the event {shortened(text)} has no Recording timestamp; {EXPORT_AGAIN}."
            )
    return [(row, text, float(time_s)) for (row, text), time_s in zip(happened, times, strict=True)]


def _pro_lab_detected(
    table: TextTable, rows: list[int], time_s: FloatArray, rate_hz: float
) -> tuple[TrackerEvent, ...]:
    """Fixations, saccades and blinks as Pro Lab found them; the rows of one have the same type and index."""
    kinds = table.texts(_number_of(table.find(["Eye movement type"])), rows)
    numbers = table.texts(_number_of(table.find(["Eye movement type index"])), rows)
    lasts = table.find(["Gaze event duration", "Eye movement event duration"], ("", "ms"))
    durations_ms = table.numbers(_number_of(lasts), rows)
    x, y = (table.numbers(_number_of(table.find([f"Fixation point {axis}"], PX_UNITS)), rows) for axis in "XY")
    found = []
    for first, last in runs_of(list(zip(kinds, numbers, strict=True))):
        if kinds[first] not in ("Fixation", "Saccade", "Blink"):
            continue
        told_s = float(durations_ms[first]) / 1000
        duration_s = float(time_s[last] - time_s[first]) + 1 / rate_hz if math.isnan(told_s) else told_s
        position = [None if math.isnan(values[first]) else float(values[first]) for values in (x, y)]
        found.append(TrackerEvent(float(time_s[first]), kinds[first].lower(), duration_s, "", None, *position))
    return tuple(found)


def _pro_lab_shown(table: TextTable, rows: list[int], time_s: FloatArray, rate_hz: float) -> tuple[Shown, ...]:
    column = _number_of(table.find(["Presented Stimulus name", "Presented Media name"]))
    names = table.texts(column, rows)
    sides = [
        table.numbers(_number_of(table.find([f"Presented Media {side}"], PX_UNITS)), rows)
        for side in ("position X", "position Y", "width", "height")
    ]
    found = []
    for first, last in runs_of(names):
        if names[first]:
            place = [float(values[first]) for values in sides]
            rect = None if any(map(math.isnan, place)) or min(place[2:]) <= 0 else Rect(*place)
            end_s = float(time_s[last]) + 1 / rate_hz
            found.append(Shown(names[first], float(time_s[first]), end_s, rect, table.place(rows[first])))
    return tuple(found)
