"""What a tracker vendor's file holds, as its reader (eyelink_asc.py, eyelink_edf.py, tobii.py) gives it.

Times are seconds of the file's own clock, positions px of the screen from its upper left corner. Which message stands
for which picture is found by presentations.py; recordings.py makes a data set of it all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye, Samples
from beholder.shared.recording.records import TrackerEvent
from beholder.shared.screen import FARTHEST_PX, Rect
from beholder.shared.study import Meant

# A vendor's library that reads no file in this time hangs.
LONGEST_READ_S = 600.0
# Limits to a side of a screen, to an eye tracker's sampling rate, and to the length of a recording in one file.
SCREEN_PX = (100, 20_000)
RATE_HZ = (10.0, 5_000.0)
LONGEST_RECORDING_S = 86_400.0
FARTHEST_SHARE = 1_000.0  # of a screen's width or height; beyond it a number is no gaze on its plane
REFUSED = 3  # exit code of a child that says in a sentence why it refuses a file


@dataclass(frozen=True)
class Message:
    """A text that an experiment wrote into the recording; `place` names its line or row for an error's sentence.

    `time_s` is when it was written, `at_s` when what it reports happened: an EyeLink message may begin with the delay
    between the two, which `text` has and `says` has not.
    """

    time_s: float
    text: str
    place: str
    says: str
    at_s: float


@dataclass(frozen=True)
class Shown:
    """A presentation of a picture by the file's own columns, not by a message; from its first to its last sample."""

    name: str
    onset_s: float
    end_s: float
    rect: Rect | None
    place: str


@dataclass(frozen=True)
class Validation:
    """A validation that the file reports: its time, and each eye's results by the names that our sidecars use."""

    time_s: float
    eyes: Mapping[Eye, Mapping[str, Any]]


@dataclass(frozen=True)
class Calibration:
    """A calibration that the file reports, and where its targets stood."""

    time_s: float
    targets_px: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Question:
    """Something odd that a reader found; asked about unless the user says that `what` is meant (see plausibility.py).

    `sentence` names the file, what was expected, what was found and the remedy, and has no full stop.
    """

    what: Meant
    sentence: str


@dataclass(frozen=True)
class VendorRecording:
    """One participant's recording in a vendor's file.

    `samples` (n,) of `shared.gaze.SAMPLE`, times rising; `unit` says whether positions are px or shares of the screen
    (0 to 1). `screen_px` are the sizes that the file's coordinates may mean, the likeliest first, empty where it does
    not say. `pauses_s` (k,) are times at which the tracker stopped recording. `own_file` is the part of the file to
    keep where it holds other recordings too. `run` counts a participant's recordings in one file. `questions` are asked
    before the recording is imported.
    """

    file: Path
    name: str
    samples: Samples
    rate_hz: float
    eyes: tuple[Eye, ...]
    tracker: Mapping[str, str]
    unit: Literal["px", "share"] = "px"
    screen_px: tuple[tuple[int, int], ...] = ()
    origin_px: tuple[float, float] = (0.0, 0.0)
    messages: tuple[Message, ...] = ()
    detected: tuple[TrackerEvent, ...] = ()
    shown: tuple[Shown, ...] = ()
    validations: tuple[Validation, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    pauses_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    run: int = 1
    own_file: bytes | None = None
    remarks: tuple[Remark, ...] = ()
    questions: tuple[Question, ...] = ()


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, or UTF-16 where it begins with that mark. Raises DataError naming the line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the name.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line} is not {encoding.removesuffix('-sig').upper()} text: convert or export the file in "
            "UTF-8 again."
        ) from None


def read_in_a_child(module: str, file: Path, result: Path, remedy: str) -> None:
    """Read a file by `python -m module file result`, as its library may crash, hang or print on a broken file.

    The child writes `result`, or prints one sentence as its last line of errors and exits with `REFUSED`; that sentence
    is raised as DataError. A crash, or a child that does not end, is raised as DataError with the remedy.
    """
    # Started in the folder that holds our package: with -m, Python looks for packages there before anywhere else.
    ours = sys.modules[__name__.partition(".")[0]]
    folder = Path(str(ours.__file__)).resolve().parents[1]
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(file.resolve()), str(result.resolve())],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LONGEST_READ_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DataError(f"{file}: the vendor's library did not finish reading it; {remedy}.") from None
    if done.returncode == 0 and result.exists():
        return
    said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
    if done.returncode == REFUSED:
        raise DataError(f"{file}{said}")
    raise DataError(f"{file}: the vendor's library failed on it (exit {done.returncode}); {remedy}.")


def check_samples(samples: Samples, unit: Literal["px", "share"], place: Callable[[int], str], remedy: str) -> None:
    """Raise DataError where gaze lies nowhere near the screen, or where the times span more than any recording.

    `place` names a sample by its index, for the error's sentence.
    """
    farthest = FARTHEST_PX if unit == "px" else FARTHEST_SHARE
    for name in ("left_x_px", "left_y_px", "right_x_px", "right_y_px"):
        wrong = np.flatnonzero(np.abs(samples[name]) > farthest)
        if len(wrong):
            value, of = samples[name][wrong[0]], "px" if unit == "px" else "screens"
            raise DataError(f"{place(int(wrong[0]))}: gaze at {value:g} {of} is nowhere near the screen; {remedy}.")
    times = samples["time_s"]
    if len(times) and not times[-1] - times[0] <= LONGEST_RECORDING_S:
        after = int(np.argmax(np.diff(times))) + 1
        raise DataError(
            f"{place(after)}: this sample comes {times[after] - times[after - 1]:.6g} s after the one before, and no "
            f"recording lasts longer than a day; {remedy}."
        )


def rate_questions(path: Path, rate_hz: float, by: str, remedy: str) -> tuple[Question, ...]:
    """A question about a sampling rate that no eye tracker has, else nothing; `by` names what gives the rate."""
    low, high = RATE_HZ
    if low <= rate_hz <= high:
        return ()
    return (Question("sampling rate", f"{path}: an eye tracker takes {low:g} to {high:,.0f} samples a second, and by "
                     f"{by} there are {rate_hz:.4g}: {remedy}"),)  # fmt: skip


def check_screen(size_px: tuple[float, float], place: str) -> None:
    """Raise DataError where width or height, in px, cannot be a screen's."""
    low, high = SCREEN_PX
    if not all(low <= side <= high for side in size_px):
        raise DataError(
            f"{place}: a screen of {size_px[0]:g} x {size_px[1]:g} px is none that there is ({low} to {high}); mend it."
        )


def is_rising(time_s: NDArray[np.float64]) -> int | None:
    """The index of the first time that does not come after the one before; None where all do."""
    wrong = np.flatnonzero(~(np.diff(time_s) > 0))
    return int(wrong[0]) + 1 if len(wrong) else None
