"""From a session's journal to the files of a BIDS run: gaze, messages, events, and the JSON that describes them.

    sub-01_task-viewing_run-1_recording-eye1_physio.tsv.gz/.json        gaze, one file an eye (eye1 left, eye2 right)
    sub-01_task-viewing_run-1_recording-eye1_physioevents.tsv.gz/.json  messages, notices, what the tracker detected
    sub-01_task-viewing_run-1_events.tsv/.json                          what was shown when

They are written into a folder of their own; `shared.dataset` makes them part of the data set, and reads them.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beholder.shared.errors import DataError
from beholder.shared.gaze import Eye
from beholder.shared.parsing import for_spreadsheets
from beholder.shared.recording.clocks import ClockFit, fit_clocks, fit_system_clock
from beholder.shared.recording.journal import FILES, PART, Journal, format_rows
from beholder.shared.recording.records import (
    Begin,
    Calibrated,
    ClockReading,
    DriftChecked,
    End,
    MessageSent,
    OperatorTold,
    Record,
    SystemReading,
    TrackerEvent,
    Validated,
)
from beholder.shared.recording.session_header import SessionHeader
from beholder.shared.recording.transaction import link, write_synced

# The note that names the recording on the tracker's own computer; only an EyeLink has one.
HOST_FILE = "eyelink.json"

RECORDING_OF: dict[Eye, str] = {"left": "eye1", "right": "eye2"}
PHYSIO_COLUMNS = ("timestamp", "x_coordinate", "y_coordinate", "pupil_size")
_PHYSIO_ROW = "%.6f\t%.2f\t%.2f\t%.3f\n"
EVENT_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Beginning of the event, from the first gaze sample.", "Units": "s"},
    "duration": {"Description": "Duration of the event.", "Units": "s"},
    "trial_type": {
        "Description": "What was shown or done.",
        "Levels": {
            "calibration": "The tracker was calibrated.",
            "validation": "Targets of known position were looked at.",
            "dot": "The dot before a picture; the drift check is made on it.",
            "picture": "A picture.",
            "rating": "The participant rated the picture.",
            "pause": "A pause, or a break offered by the study.",
        },
    },
    "trial": {"Description": "Number of the trial in the participant's order, from 1."},
    "stim_file": {"Description": "The picture, relative to the folder stimuli."},
    "status": {
        "Description": "How the event ended.",
        "Levels": {
            "complete": "As planned.",
            "aborted": "Cut short: skipped, failed, or the session ended.",
            "late": "To its end, but held up beyond the study's limit: frames missed, or shown too long or short.",
            "repeated": "Cut short by a pause or a calibration, and shown again later in this run.",
        },
    },
    "exposure": {
        "Description": "Whether this participant had seen any of this picture before.",
        "Levels": {"first": "For the first time.", "repeat": "Seen before, in a presentation that was cut short."},
    },
    "drift_x_deg": {
        "Description": "Gaze less dot, horizontally, rightwards positive: duration-weighted median of the fixations "
        "near the dot; n/a where they were too short.",
        "Units": "deg",
    },
    "drift_y_deg": {"Description": "The same, vertically, downwards positive.", "Units": "deg"},
    "drift_deg": {"Description": "Length of the two together.", "Units": "deg"},
    "picture_x_px": {"Description": "Left edge of the picture on the screen.", "Units": "pixel"},
    "picture_y_px": {"Description": "Upper edge of the picture on the screen.", "Units": "pixel"},
    "picture_width_px": {"Description": "Width of the picture on the screen.", "Units": "pixel"},
    "picture_height_px": {"Description": "Height of the picture on the screen.", "Units": "pixel"},
    "dropped_frames": {
        "Description": "Frames of the screen by which the event began later than planned, and frames that were missed "
        "while it stood."
    },
    "rating": {"Description": "The participant's answer, 1 (not at all) to 7 (very much)."},
}


def _prefix(header: SessionHeader) -> str:
    return f"sub-{header.participant}_task-{header.task}_run-{header.run}"


def write_run(journal: Journal, folder: Path) -> None:
    """Write the files of a run; none at all where neither samples nor events were recorded."""
    header, samples = journal.header, journal.samples
    if not len(samples) and not journal.all_of(Begin):
        return
    folder.mkdir(parents=True)
    clocks = _clock_fit(journal)
    if len(samples):
        zero_s, end_s = float(samples["time_s"][0]), float(samples["time_s"][-1])
    else:
        zero_s, end_s = (clocks.tracker_s(journal.records[i].at_s) for i in (0, -1))
    stem = folder / _prefix(header)
    events = event_rows(journal.records, clocks, zero_s, end_s)
    write_synced(_named(stem, "events.tsv"), tsv_bytes(list(EVENT_COLUMNS), events))
    write_synced(_named(stem, "events.json"), json_text(_events_sidecar(header)).encode())
    if not len(samples):
        return
    for eye in header.tracker.eyes:
        name = f"recording-{RECORDING_OF[eye]}"
        columns = np.stack([samples["time_s"], *(samples[f"{eye}_{c}"] for c in ("x_px", "y_px", "pupil"))], axis=1)
        write_synced(_named(stem, f"{name}_physio.tsv.gz"), _gzip(format_rows(_PHYSIO_ROW, columns)))
        sidecar = _physio_sidecar(journal, eye, clocks, zero_s)
        write_synced(_named(stem, f"{name}_physio.json"), json_text(sidecar).encode())
        if happened := _physio_events(journal.records, eye, clocks):
            columns_of = ["onset", "duration", "trial_type", "message", "x_coordinate", "y_coordinate"]
            rows = tsv_bytes(columns_of, happened, header=False)
            write_synced(_named(stem, f"{name}_physioevents.tsv.gz"), _gzip(rows))
            write_synced(
                _named(stem, f"{name}_physioevents.json"),
                json_text({"TaskName": header.task, **_PHYSIO_EVENTS_SIDECAR}).encode(),
            )


def link_sourcedata(journal: Journal, folder: Path) -> None:
    """Link the tracker's own files into `folder`, named by participant and run, which a vendor's names do not tell.

    Files of the journal with rows that could not be read are linked too, for whoever can read more of them. Where the
    tracker records on a computer of its own, a note keeps the file's name there, in case the file was not transferred.
    """
    if host_file := journal.header.tracker.host_file:
        folder.mkdir(parents=True, exist_ok=True)
        said = {"host_file": host_file, "participant": journal.header.participant, "run": journal.header.run}
        write_synced(_named(folder / _prefix(journal.header), HOST_FILE), json_text(said).encode())
    for name in journal.damaged:
        folder.mkdir(parents=True, exist_ok=True)
        link(journal.folder / name, folder / f"{_prefix(journal.header)}_damaged-{name}")
    handed_over = journal.folder / FILES
    for file in sorted(handed_over.rglob("*")):
        if file.is_file() and file.suffix != PART:
            folder.mkdir(parents=True, exist_ok=True)
            name = "-".join(file.relative_to(handed_over).parts)
            link(file, folder / f"{_prefix(journal.header)}_{name}")


def host_file_of(note: Path) -> str:
    """The name of the host's file in a note of `link_sourcedata`; raises DataError where the note has no valid name."""
    try:
        name = json.loads(note.read_text("utf-8"))["host_file"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        name = None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Z0-9_]{1,8}\.EDF", name):
        raise DataError(f"{note} names no file of an EyeLink's host: copy the file by hand, by its date.")
    return name


def _clock_fit(journal: Journal) -> ClockFit:
    if readings := journal.all_of(ClockReading):
        return fit_clocks([(reading.before_s, reading.tracker_s, reading.after_s) for reading in readings])
    # A crash before the first reading: the first record and the first sample are taken to be of the same moment, and
    # "pairs": 0 says so.
    start_s = journal.records[0].at_s if journal.records else 0.0
    first_s = float(journal.samples["time_s"][0]) if len(journal.samples) else start_s
    return ClockFit(start_s, first_s - start_s, 0.0, 0.0, 0)


def event_rows(records: Sequence[Record], clocks: ClockFit, zero_s: float, end_s: float) -> list[dict[str, Any]]:
    """Rows of events.tsv, sorted by onset, from a session's records of beginnings, ends and drift checks.

    zero_s and end_s: first and last time of the recording, on the tracker's clock. An event that never ended was cut
    short by a crash: it is aborted, and lasts until the next one begins or the recording ends.
    """
    rows: dict[int, dict[str, Any]] = {}
    ends: dict[int, float] = {}
    for record in records:
        what, at_s = record.what, clocks.tracker_s(record.at_s) - zero_s
        if isinstance(what, Begin):
            rows[what.id] = {"onset": at_s, "status": "aborted", **_columns(what)}
        elif isinstance(what, End | DriftChecked) and what.id in rows:
            if isinstance(what, End):
                ends[what.id] = at_s
            rows[what.id].update(_columns(what))
    ordered = sorted(rows.items(), key=lambda item: item[1]["onset"])
    onsets = [*(row["onset"] for _, row in ordered), end_s - zero_s][1:]
    for (number, row), following in zip(ordered, onsets, strict=True):
        row["duration"] = max(0.0, ends.get(number, following) - row["onset"])
        for time in ("onset", "duration"):
            row[time] = round(row[time], 6)
    return [row for _, row in ordered]


def _columns(what: Begin | End | DriftChecked) -> dict[str, Any]:
    return _known({name: value for name, value in vars(what).items() if name != "id"})


def _events_sidecar(header: SessionHeader) -> dict[str, Any]:
    screen = header.screen
    size_m = [_metres(screen.width_cm), _metres(screen.height_cm)]
    return {
        **EVENT_COLUMNS,
        "TaskName": header.task,
        "TaskDescription": header.task_description
        or "Pictures are looked at freely, one after the other, each after a dot.",
        "Instructions": header.instructions,
        "StimulusPresentation": {
            **_known({"ScreenDistance": _metres(screen.distance_cm)}),
            "ScreenOrigin": ["top", "left"],
            "ScreenResolution": [screen.width_px, screen.height_px],
            **_known({"ScreenSize": size_m if None not in size_m else None}),
            "SoftwareName": "Beholder",
            "SoftwareVersion": header.beholder,
        },
        **_known({"Settings": header.settings, "Preflight": header.preflight}),
    }


def _metres(cm: float | None) -> float | None:
    return None if cm is None else round(cm / 100, 6)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None: BIDS allows a key to be absent, but neither null nor n/a."""
    return {name: value for name, value in values.items() if value is not None}


def _physio_sidecar(journal: Journal, eye: Eye, clocks: ClockFit, zero_s: float) -> dict[str, Any]:
    header = journal.header
    tracker, screen = header.tracker, header.screen
    calibrations = journal.all_of(Calibrated)
    validations = [
        {
            "onset_s": round(clocks.tracker_s(done.begun_s) - zero_s, 6),
            "accepted": done.accepted,
            "overridden_by": done.overridden_by,
            **done.eyes[eye],
        }
        for done in journal.all_of(Validated)
    ]
    last = next((validation for validation in reversed(validations) if validation["accepted"]), None)
    sidecar: dict[str, Any] = {
        "TaskName": header.task,
        "PhysioType": "eyetrack",
        "RecordedEye": eye,
        "SampleCoordinateSystem": "gaze-on-screen",
        "SamplingFrequency": tracker.rate_hz,
        "StartTime": 0,
        "Columns": list(PHYSIO_COLUMNS),
        **_TIME_AND_PLACE,
        "pupil_size": {
            "Description": f"The pupil's {tracker.pupil_measure}, as the tracker gives it.",
            "Units": tracker.pupil_unit,
        },
        **_known({"EyeTrackerDistance": _metres(screen.distance_cm)}),
        "Manufacturer": tracker.manufacturer,
        "ManufacturersModelName": tracker.model,
        "DeviceSerialNumber": tracker.serial,
        "SoftwareVersions": tracker.software,
        "CalibrationCount": len(calibrations),
        **({"TrackingMode": tracker.tracking_mode} if tracker.tracking_mode else {}),
        "Simulated": tracker.simulated,
        **({"Imported": True} if header.imported else {}),
        "Validation": last,
        "Validations": validations,
        "ClockFit": clocks.sidecar(),
        "ClockSteps": [
            {"onset": round(clocks.tracker_s(record.at_s) - zero_s, 6), "step_s": record.what.step_s}
            for record in journal.records
            if isinstance(record.what, ClockReading) and record.what.step_s is not None
        ],
    }
    if system := journal.all_of(SystemReading):
        sidecar["SystemClock"] = fit_system_clock(system, clocks.session_s(zero_s))
    if calibrations:
        points = calibrations[-1].points
        sidecar["CalibrationType"] = f"HV{len(points)}"
        sidecar["CalibrationUnit"] = "pixel"
        sidecar["CalibrationPosition"] = [[point.x_px, point.y_px] for point in points]
    if last and last["accuracy_deg"] is not None:
        # BIDS wants these in degrees; they come from a validation, at other points than the calibration's.
        sidecar["AverageCalibrationError"] = last["accuracy_deg"]
        sidecar["MaximalCalibrationError"] = last["accuracy_worst_deg"]
    return sidecar


_TIME_AND_PLACE: dict[str, Any] = {
    "timestamp": {
        "Description": "Time of the sample, on the tracker's own clock, the steps of which are taken out.",
        "Units": "s",
    },
    "x_coordinate": {"Description": "Gaze on the screen, from its left edge.", "Units": "pixel"},
    "y_coordinate": {"Description": "Gaze on the screen, from its upper edge.", "Units": "pixel"},
}

_PHYSIO_EVENTS_SIDECAR: dict[str, Any] = {
    "Columns": ["onset", "duration", "trial_type", "message", "x_coordinate", "y_coordinate"],
    "Description": "What the session told the tracker, and what the tracker itself detected.",
    "OnsetSource": "timestamp",
    "onset": {"Description": "Time of the event, on the clock of the column timestamp of physio.", "Units": "s"},
    "duration": {"Description": "Duration of the event.", "Units": "s"},
    "trial_type": {
        "Description": "message; notice, what the operator was told; or what the tracker detected (blink, ...)."
    },
    "message": {"Description": "Text of a message."},
    "x_coordinate": {"Description": "Mean gaze during a detected event, from the screen's left.", "Units": "pixel"},
    "y_coordinate": {"Description": "Mean gaze during a detected event, from the screen's top.", "Units": "pixel"},
}


def _physio_events(records: Sequence[Record], eye: Eye, clocks: ClockFit) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for record in records:
        what = record.what
        if isinstance(what, MessageSent | OperatorTold):
            onset = clocks.tracker_s(record.at_s)
            trial_type = "message" if isinstance(what, MessageSent) else "notice"
            rows.append({"onset": onset, "duration": None, "trial_type": trial_type, "message": what.text})
        elif isinstance(what, TrackerEvent) and what.eye in (None, eye):
            rows.append(
                {
                    "onset": what.time_s,
                    "duration": what.duration_s,
                    "trial_type": what.kind,
                    "message": what.text or None,
                    "x_coordinate": what.x_px,
                    "y_coordinate": what.y_px,
                }
            )
    for row in rows:
        row["onset"] = round(row["onset"], 6)
    return sorted(rows, key=lambda row: row["onset"])


def _named(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}_{ending}")


def json_text(value: Mapping[str, Any]) -> str:
    """The text of a JSON file of the data set. Raises ValueError where a number is NaN, which is no JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _gzip(data: bytes) -> bytes:
    # A single member, as the validator wants, without time or name, so that the same data give the same bytes.
    file = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
        packed.write(data)
    return file.getvalue()


def tsv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], header: bool = True) -> bytes:
    """A table as BIDS has it: tab separated, n/a where a cell is missing, None or not finite, and no formulas."""
    lines = ["\t".join(columns)] if header else []
    lines += ["\t".join(_cell(row.get(name)) for name in columns) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "n/a"
    return for_spreadsheets(safe_cell(str(value)))


def safe_cell(text: str) -> str:
    """A text without tabs and line ends, which would break its row; n/a where nothing is left."""
    return " ".join(text.split()) or "n/a"
