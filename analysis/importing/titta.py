"""Reads Titta's HDF5, with the pandas tables `gaze` and `msg`, in a process of its own:
`python -m beholder.analysis.importing.titta FILE.h5 RESULT.npz`.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from beholder.analysis.importing.sample_times import EXACT_CLOCK, sample_times
from beholder.analysis.importing.tobii_sdk_table import EYES, sdk_columns, sdk_recording, tobii_tracker
from beholder.analysis.importing.vendor_recording import REFUSED, Message, Validation, VendorRecording, read_in_a_child
from beholder.shared.errors import DataError
from beholder.shared.parsing import parse_json

_TABLES = ("gaze", "msg", "calibration_history")


def read_titta(path: Path) -> VendorRecording:
    """The recording of a file. Raises DataError where the file is not Titta's, or is not whole."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "recording.npz"
        read_in_a_child(__name__, path, result, "take Titta's own copy of the file")
        with np.load(result) as file:
            said: dict[str, Any] = json.loads(str(file["said"]))
            numbers = {name: file[f"gaze {name}"] for name in said["names"]}
    columns = {eye: found for eye in EYES if (found := sdk_columns(list(numbers), eye))}
    clock = "system_time_stamp"
    if not columns or clock not in numbers:
        raise DataError(
            f"{path}: its table gaze lacks {clock} or left_gaze_point_on_display_area_x; save it with Titta again."
        )
    messages = [
        Message(at_us * 1e-6, text, f"{path}, message {i}", text, at_us * 1e-6)
        for i, (at_us, text) in enumerate(said["messages"], start=1)
    ]
    if not len(numbers[clock]):
        raise DataError(f"{path} has no samples: record with start_recording(gaze=True).")
    used = said["validation"]
    first_s = float(numbers[clock][0]) * 1e-6
    validations = (Validation(first_s, {eye: used[eye] for eye in columns}),) if used else ()
    times = sample_times(path, clock, numbers[clock], EXACT_CLOCK, numbers.get(EXACT_CLOCK))
    recording = sdk_recording(
        path, clock, {**numbers, clock: times.us}, columns, messages, lambda row: f"{path}, sample {row + 1}", times
    )
    return replace(recording, tracker=tobii_tracker(_titta_system(path)), validations=validations)


def _titta_system(path: Path) -> dict[str, str]:
    """Model, serial and software of the tracker from Titta's NAME.json beside the file; empty where it lacks them."""
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
            kept = [key for key in store.keys() if key.strip("/") in _TABLES]  # noqa: SIM118
            tables = {key.strip("/"): store[key] for key in kept}
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
        # HDF5, PyTables and pandas raise errors of many classes on a broken file.
        reason = " ".join(str(error).split())[:200]
        _refuse(f": it is no whole HDF5 file of Titta's, with its table gaze ({reason}); save it with Titta again.")
    np.savez(result, said=np.array(json.dumps(said)), **{f"gaze {name}": values for name, values in numbers.items()})


def _titta_validation(history: Any) -> dict[str, dict[str, float | None]]:
    """Accuracy, precision and data loss of the calibration that Titta used, by eye; empty where it kept none."""
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
            "accuracy_deg": figure(f"offset_{eye}_eye (deg)"),
            "rms_s2s_deg": figure(f"RMS_S2S_{eye}_eye (deg)"),
            "sd_deg": figure(f"SD_{eye}_eye (deg)"),
            "loss_percent": figure(f"Prop_data_loss_{eye}_eye", 100),
            "accuracy_worst_deg": None,
            "passed": None,
        }
        for eye in EYES
    }


def _refuse(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    _child(*sys.argv[1:])
