"""EyeLink's EDF, read by SR Research's library, which comes with the optional package eyelinkio.

The file is read in a process of its own, since that library prints, and may crash on a broken file:
`python -m beholder.analysis.importing.eyelink_edf FILE.edf RESULT.npz`. eyelinkio's bindings are used, not its reader,
which numbers the samples without gaps and so loses the pauses between trials.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from beholder.analysis.importing.eyelink_asc import (
    EYES,
    KINDS,
    EyeLinkContent,
    event_at,
    message_at,
    sample_row,
    whole_recording,
    without_end,
)
from beholder.analysis.importing.vendor_recording import REFUSED, VendorRecording, read_in_a_child
from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye

# Flags of the vendor's library.
_HAS_GAZE = 0x0400
_HALF_MS_LATER = 0x0002
_EYES_OF: dict[int, tuple[Eye, ...]] = {1: ("left",), 2: ("right",), 3: ("left", "right")}
_POSITIONS = {"ENDFIX": ("gavx", "gavy", "ava"), "ENDSACC": ("gstx", "gsty", "genx", "geny"), "ENDBLINK": ()}
# What an EDF file ends with, and how many bytes its records have at most (a message of 255 characters).
_END_OF_FILE = b"\x7f\0\0\0"
_LONGEST_RECORD = 300
_FETCH = "fetch it from the host again"


def read_edf(path: Path) -> VendorRecording:
    """The recording of an EDF file.

    Raises DataError where there is no eyelinkio, or where the vendor's library cannot read the file.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist: check the name.")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "recording.npz"
        read_in_a_child(__name__, path, result, f"{_FETCH}, or convert it with edf2asc and import the ASC")
        with np.load(result) as file:
            rows = file["rows"]
            said: dict[str, Any] = json.loads(str(file["said"]))
    if not len(rows):
        raise DataError(f"{path} has no samples: record them to the file (file_sample_data), or convert it anew.")
    messages = [
        message_at(time_ms, text.strip(), f"{path}, message {i}")
        for i, (time_ms, text) in enumerate(said["messages"], start=1)
    ]
    step_s = 1 / (said["rate_hz"] or 1.0)  # a rate of 0 is refused below
    detected = [
        event_at(
            kind,
            start / 1000,
            round((end - start) / 1000 + step_s, 6),
            EYES["LR"[eye]],
            [None if value is None else round(value, 4) for value in rest],
        )
        for kind, eye, start, end, rest in said["detected"]
    ]
    wrong = np.flatnonzero(np.diff(rows[:, 0]) <= 0)
    if len(wrong):
        raise DataError(f"{path}, sample {wrong[0] + 2}: its time does not come after the sample before; {_FETCH}.")
    remarks = []
    if said["cut_after"] is not None:
        remarks.append(Remark(path.name, without_end("the last of its recordings", said["cut_after"])))
    elif said["is_cut"]:
        remarks.append(Remark(path.name, "the file is cut short after a recording; what came after it is lost"))
    content = EyeLinkContent(
        path,
        said["header"],
        [tuple(row) for row in rows],
        said["rate_hz"],
        said["eyes"],
        said["pupil"],
        messages,
        detected,
        said["pauses_s"],
        lambda row: f"{path}, sample {row + 1}",
        _FETCH,
        remarks,
    )
    return whole_recording(content)


@dataclass
class _Edf:
    """What the vendor's library reads of a file, collected item by item."""

    api: Any
    file: Any
    header: list[str]
    rows: list[tuple[float, ...]] = field(default_factory=list)
    eyes: tuple[Eye, ...] = ()  # of the block that is being read
    seen_eyes: set[Eye] = field(default_factory=set)
    rate_hz: float = 0.0
    pupil: str = ""
    messages: list[tuple[float, str]] = field(default_factory=list)
    detected: list[tuple[str, int, float, float, list[float | None]]] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    recording: bool = False
    of_block: int = 0  # rows before the block that is being read

    def block(self) -> None:
        block = self.api.edf_get_float_data(self.file).contents.rec
        self.recording = block.state != 0
        if not self.recording:
            self.pauses_s.append(block.time / 1000)
            return
        if self.rate_hz not in (0.0, block.sample_rate):
            _refuse(
                f": the rate changes from {self.rate_hz:g} to {block.sample_rate:g} Hz, and one recording has one "
                "rate; convert it with edf2asc and cut that in two."
            )
        if not block.sflags & _HAS_GAZE:
            _refuse(": its samples have no gaze on the screen; record GAZE to the file (file_sample_data).")
        self.of_block = len(self.rows)
        self.rate_hz, self.eyes = block.sample_rate, _EYES_OF.get(block.eye, ())
        self.pupil = "diameter" if block.pupil_type else "area"
        self.seen_eyes.update(self.eyes)

    def sample(self) -> None:
        sample = self.api.edf_get_float_data(self.file).contents.fs
        time_ms = sample.time + (0.5 if sample.flags & _HALF_MS_LATER else 0.0)
        sides = [("left", "right").index(eye) for eye in self.eyes]
        gaze = [_known(values[side]) for side in sides for values in (sample.gx, sample.gy, sample.pa)]
        self.rows.append(sample_row(time_ms, self.eyes, gaze))

    def message(self) -> None:
        event = self.api.edf_get_float_data(self.file).contents.fe
        if event.message:
            # Two bytes of length, then the text.
            start, length = ctypes.addressof(event.message.contents) + 2, max(0, event.message.contents.len)
            text = ctypes.string_at(start, length).partition(b"\0")[0]
            self.messages.append((event.sttime, text.decode("utf-8", "replace")))

    def event(self, name: str) -> None:
        event = self.api.edf_get_float_data(self.file).contents.fe
        values = [_known(getattr(event, position)) for position in _POSITIONS[name]]
        if name == "ENDSACC":
            values += [math.nan, _known(event.pvel)]  # the file holds no amplitude
        known = [None if math.isnan(value) else value for value in values]
        self.detected.append((KINDS["E" + name[3:]], int(event.eye == 1), event.sttime, event.entime, known))


def _child(file: str, result: str) -> None:
    """Read an EDF file by the vendor's library, and write what it holds; runs in a process of its own."""
    try:
        api: Any = importlib.import_module("eyelinkio.edf._edf2py")
        kinds: Any = importlib.import_module("eyelinkio.edf._defines").event_constants
    except (ImportError, OSError) as error:
        _refuse(
            f': EDF is read by the package eyelinkio ({error}); pip install -e ".[vendors]" -c constraints.txt, or '
            "convert the file with edf2asc and import the ASC."
        )
    handle = _opened(api, file)
    is_cut = not handle
    if is_cut:
        handle = _opened_as_far_as_whole(api, Path(file), Path(result).with_name("cut.edf"))
    if not handle:
        _refuse(f": it is no EDF file, or it is broken (SR Research's library does not open it); {_FETCH}.")
    length = api.edf_get_preamble_text_length(handle)
    preamble = ctypes.create_string_buffer(length + 2)
    api.edf_get_preamble_text(handle, preamble, length + 1)
    edf = _Edf(api, handle, preamble.value.decode("utf-8", "replace").split("\n"))
    while (kind := api.edf_get_next_data(handle)) != kinds["NO_PENDING_ITEMS"]:
        name = str(kinds.get(kind))
        if name == "RECORDING_INFO":
            edf.block()
        elif name == "SAMPLE_TYPE":
            edf.sample()
        elif name == "MESSAGEEVENT":
            edf.message()
        elif name in _POSITIONS:
            edf.event(name)
    api.edf_close_file(handle)
    said = {"is_cut": is_cut, "cut_after": len(edf.rows) - edf.of_block if edf.recording else None,
            "header": edf.header, "eyes": sorted(edf.seen_eyes), "rate_hz": edf.rate_hz, "pupil": edf.pupil,
            "messages": edf.messages, "detected": edf.detected, "pauses_s": edf.pauses_s}  # fmt: skip
    np.savez(result, rows=np.array(edf.rows, np.float64).reshape(-1, 7), said=np.array(json.dumps(said)))


def _opened(api: Any, file: str) -> Any:
    """A handle of the vendor's library for a file; None where the library does not open the file."""
    status = ctypes.c_int(1)
    # 2: checked and mended, as eyelinkio does. Lost samples are put in as missing ones, and gaze of an eye that was
    # half covered is missing. 1, 1: events and samples are loaded.
    handle = api.edf_open_file(os.fsencode(file), 2, 1, 1, ctypes.byref(status))
    return handle if handle and status.value == 0 else None


def _opened_as_far_as_whole(api: Any, file: Path, copy: Path) -> Any:
    """A handle for a file that was cut short; None where it was not cut short, or cannot be opened even so.

    The library opens no file without an end mark right after a whole record. `copy` is written without the last, broken
    record and with the mark.
    """
    data = file.read_bytes()
    if data.endswith(_END_OF_FILE) or not data.startswith(b"SR_RESEARCH"):
        return None
    for dropped in range(min(_LONGEST_RECORD, len(data))):
        copy.write_bytes(data[: len(data) - dropped] + _END_OF_FILE)
        if handle := _opened(api, str(copy)):
            return handle
    return None


def _known(value: float) -> float:
    """A float of the vendor's library, rounded as edf2asc does; NaN for its numbers that stand for a missing value."""
    return math.nan if value >= 1e7 or value <= -32768 else round(value, 2)


def _refuse(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    _child(*sys.argv[1:])
