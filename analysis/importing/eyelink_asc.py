"""EyeLink's ASC, the text that SR Research's edf2asc makes of a recording, and what its messages mean in EDF too.

Every line must be one that edf2asc writes, whole and in its place, or the file is refused with the line's number. Only
a file that stops while it records is taken as far as it is whole, which a remark says.

A sample's line, by SR Research's manual ("The ASC File Format"): time; x, y and pupil of each eye; velocity x and y of
each eye (VEL); resolution x and y (RES); the input port (INPUT); buttons; three characters of the corneal reflection,
five for two eyes; and in remote mode (HTARGET) the target's x, y and distance and 13 characters, 17 for two eyes.
pymovements reads ASC too and is what the tests compare with; it is not used here since it drops what it does not
recognise (a fixation left of the screen, a line cut short) without a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.importing.vendor_recording import (
    Calibration,
    Message,
    Validation,
    VendorRecording,
    check_samples,
    check_screen,
    rate_questions,
    read_text,
)
from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye, Samples, no_samples
from beholder.shared.parsing import parse_number, shortened
from beholder.shared.recording.records import TrackerEvent
from beholder.shared.screen import FARTHEST_PX

EYES: dict[str, Eye] = {"L": "left", "R": "right"}
_EYE_NAMES: dict[str, Eye] = {"LEFT": "left", "RIGHT": "right"}
KINDS = {"EFIX": "fixation", "ESACC": "saccade", "EBLINK": "blink"}
# No number that a host writes is longer: bounded here, none overflows. Large ones have an exponent (2.3e+06).
_NUMBER = r"-?[0-9]{1,12}(?:\.[0-9]{0,12})?(?:[eE][+-]?[0-9]{1,2})?"
_CELL = rf"({_NUMBER}|\.)"
_TIME = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
# time, then x, y, pupil of each eye; what follows (velocity, resolution, flags) is counted, not read.
_SAMPLE = {
    eyes: re.compile(rf"({_TIME.pattern})" + rf"\s+{_CELL}" * (3 * eyes) + r"((?:\s+\S+)*)\s*") for eyes in (1, 2)
}
# What a SAMPLES line may name beside the eyes, before its rate: more columns after those that are read.
_MORE_COLUMNS = {"VEL", "RES", "HTARGET", "INPUT", "BUTTON", "BUTTONS"}
# What ends a sample's line in remote mode: warnings of the target and the eye, a point where there is none.
_REMOTE_FLAGS = re.compile(r"[MANCFTBLR.]{13}|[MANCFTBLR.]{17}")
# SR Research's numbers for a position that is missing.
_MISSING_PX = (1e8, -32768.0)
# Near a blink gaze may be extrapolated to anywhere; so few of the samples are no sign of another unit.
FAR_SHARE = 0.01
# Lines that carry nothing we keep; those with an F, S or B begin what an E line tells whole.
_PASSED_OVER = {"SFIX", "SSACC", "SBLINK", "INPUT", "BUTTON", "PRESCALER", "VPRESCALER", "EVENTS"}
_VALIDATION = re.compile(
    r"!CAL VALIDATION \S+\s+\S+\s+(?P<eye>LEFT|RIGHT)\s+(?P<verdict>\S+)\s+ERROR\s+(?P<mean>\S+)\s+avg\.\s+"
    r"(?P<worst>\S+)\s+max"
)
_SAYS_ERROR = re.compile(r"!CAL VALIDATION\b.*\bERROR\b")
_TARGET = re.compile(r"VALIDATE \S+\s+\S*POINT\s+\d+\s+(?:LEFT|RIGHT)\s+at\s+(-?[0-9]{1,6}),(-?[0-9]{1,6})")
_COORDS = re.compile(rf"(?:DISPLAY|GAZE)_COORDS\s*=?\s*({_NUMBER})[ ,]+({_NUMBER})[ ,]+({_NUMBER})[ ,]+({_NUMBER})\s*$")
_SAYS_COORDS = re.compile(r"(DISPLAY|GAZE)_COORDS\b")
_AGAIN = "convert the EDF again with edf2asc"


def read_asc(path: Path) -> VendorRecording:
    """An ASC file with samples and events. Raises DataError, naming the line and the remedy, where it is not whole."""
    reader = _AscReader(path)
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, start=1):
        reader.take(number, line.rstrip("\r"), whole=number < len(lines))
    return reader.recording()


@dataclass
class _AscReader:
    """Takes an ASC file line by line."""

    path: Path
    line: int = 0
    header: list[str] = field(default_factory=list)
    # Where the block that is being recorded began; 0 between blocks.
    block_line: int = 0
    eyes: tuple[Eye, ...] = ()
    cells: int = 0  # of a sample's line in this block
    rate_hz: float = 0.0
    pupil: str = ""
    in_calibration: bool = False
    begun: bool = False  # anything but the header was read
    rows: list[tuple[float, ...]] = field(default_factory=list)  # ms, left x y pupil, right x y pupil
    lines: list[int] = field(default_factory=list)  # of the rows
    seen_eyes: set[Eye] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)
    detected: list[TrackerEvent] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    remote: bool = False
    of_block: int = 0  # rows before this block
    cut_line: bool = False  # the file ends within a line, which was left out

    def refuse(self, what: str, remedy: str = _AGAIN) -> NoReturn:
        raise DataError(f"{self.path}, line {self.line}: {what}; {remedy}.")

    def take(self, number: int, line: str, whole: bool) -> None:
        """One line; `whole` says that it has its end."""
        self.line = number
        if not line.strip():
            return
        words = line.split()
        first = words[0]
        if self.block_line and not whole and not (first == "END" and {"SAMPLES", "EVENTS"} & set(words)):
            self.cut_line = True
            return
        if line[0].isdigit():
            self.sample(line)
        elif first.startswith("**"):
            if self.begun and first == "**" and len(words) > 1:
                self.refuse("a second recording begins here", "cut the file in two before this line")
            self.header.append(line)
            return
        elif first == "MSG":
            self.message(line)
        elif first in KINDS:
            self.event(KINDS[first], words)
        elif first in ("START", "END"):
            self.start(words) if first == "START" else self.end(words)
        elif first == "SAMPLES":
            self.samples_follow(words)
        elif first == "PUPIL":
            self.pupil = words[1].lower() if len(words) > 1 else ""
        elif first not in _PASSED_OVER and (self.block_line or not self.in_calibration):
            # Between recordings a calibration's message goes on over several lines.
            self.refuse(f"{line[:40]!r} is no line of an EyeLink recording")
        self.begun = True

    def message(self, line: str) -> None:
        match = re.fullmatch(rf"MSG\s+({_TIME.pattern})(?:\s(.*))?", line)
        if match is None:
            self.refuse("this message has no time")
        text = (match[2] or "").strip()
        self.in_calibration = text.startswith("!CAL")
        self.messages.append(message_at(float(match[1]), text, f"{self.path}, line {self.line}"))

    def start(self, words: Sequence[str]) -> None:
        if self.block_line:
            self.refuse(
                f"a recording starts, and the one that starts in line {self.block_line} has not ended",
                "add a line END with the time of the sample before, or convert the EDF again",
            )
        if len(words) < 3 or not _TIME.fullmatch(words[1]):
            self.refuse("START has no time or names no eye")
        self.block_line, self.cells, self.eyes, self.in_calibration = self.line, 0, (), False
        self.remote, self.of_block = False, len(self.rows)

    def end(self, words: Sequence[str]) -> None:
        if not self.block_line:
            self.refuse("a recording ends that never started")
        if len(words) < 2 or not _TIME.fullmatch(words[1]):
            self.refuse("END has no time")
        self.pauses_s.append(float(words[1]) / 1000)
        self.block_line = 0

    def samples_follow(self, words: Sequence[str]) -> None:
        if "GAZE" not in words[1:2]:
            self.refuse(
                f"samples are {' '.join(words[1:2]) or 'of no kind'}, not GAZE on the screen",
                "convert the EDF again with edf2asc -sg",
            )
        try:
            of_rate = words.index("RATE")
            rate_hz = parse_number(words[of_rate + 1])
        except (ValueError, IndexError):
            self.refuse("SAMPLES gives no RATE")
        eyes = [name for name in words[2:of_rate] if name in _EYE_NAMES]
        if unknown := [name for name in words[2:of_rate] if name not in _EYE_NAMES and name not in _MORE_COLUMNS]:
            self.refuse(f"SAMPLES names {shortened(unknown[0])}, which is no eye and no column of an EyeLink's samples")
        if not eyes or rate_hz <= 0:
            self.refuse("SAMPLES names no eye, or a rate that is none")
        self.remote = "HTARGET" in words
        self.eyes = tuple(eye for name, eye in _EYE_NAMES.items() if name in eyes)
        if self.rate_hz and rate_hz != self.rate_hz:
            self.refuse(
                f"the rate changes from {self.rate_hz:g} to {rate_hz:g} Hz",
                "one recording has one rate: cut the file in two",
            )
        self.rate_hz = rate_hz
        self.seen_eyes.update(self.eyes)

    def sample(self, line: str) -> None:
        if not self.block_line or not self.eyes:
            self.refuse("a sample stands outside a recording (no START and SAMPLES before it)")
        match = _SAMPLE[len(self.eyes)].fullmatch(line)
        if match is None:
            self.refuse(f"this sample has not x, y and pupil of {' and '.join(self.eyes)}")
        *values, rest = match.groups()
        cells = len(values) + len(rest.split())
        self.cells = self.cells or cells
        # Where the target is lost its columns may be; the flags at the end say that the line is whole.
        if cells != self.cells and not (self.remote and _REMOTE_FLAGS.fullmatch(line.split()[-1])):
            self.refuse(f"this sample has {cells} cells, the first of its recording {self.cells}")
        time_ms = float(values[0])
        gaze = [math.nan if value == "." else float(value) for value in values[1:]]
        gaze = [math.nan if i % 3 < 2 and value in _MISSING_PX else value for i, value in enumerate(gaze)]
        if self.rows and self.rate_hz > 1000 and time_ms == math.floor(self.rows[-1][0]) == self.rows[-1][0]:
            # Whole milliseconds come twice at 2,000 Hz.
            time_ms += 0.5
        if self.rows and time_ms <= self.rows[-1][0]:
            self.refuse(
                f"its time {values[0]} does not come after the sample before",
                "lines are out of order, or a second recording begins here: mend or cut the file",
            )
        self.rows.append(sample_row(time_ms, self.eyes, gaze))
        self.lines.append(self.line)

    def event(self, kind: str, words: Sequence[str]) -> None:
        eye = EYES.get(words[1]) if len(words) > 1 else None
        wanted = {"fixation": 6, "saccade": 9, "blink": 3}[kind]
        cells = words[2:]
        if eye is None or len(cells) < wanted or not all(re.fullmatch(_CELL, cell) for cell in cells[:wanted]):
            self.refuse(f"this {kind} has not its {wanted} numbers")
        values = [None if cell == "." else float(cell) for cell in cells[:wanted]]
        start, end, duration = values[:3]
        if start is None or end is None or duration is None or end < start or duration < 0:
            self.refuse(f"this {kind} ends before it begins, or has no time")
        self.detected.append(event_at(kind, start / 1000, duration / 1000, eye, values[3:]))

    def recording(self) -> VendorRecording:
        if not self.rows:
            raise DataError(f"{self.path} has no samples: {_AGAIN}, without -e or -ns.")
        remarks = []
        if self.block_line:
            where = f"the recording that starts in line {self.block_line}"
            last = "; its last line is not whole and left out" if self.cut_line else ""
            remarks.append(Remark(self.path.name, without_end(where, len(self.rows) - self.of_block) + last))
        content = EyeLinkContent(
            self.path,
            self.header,
            self.rows,
            self.rate_hz,
            self.seen_eyes,
            self.pupil,
            self.messages,
            self.detected,
            self.pauses_s,
            lambda row: f"{self.path}, line {self.lines[row]}",
            _AGAIN,
            remarks,
        )
        return whole_recording(content)


# What ASC and EDF have in common.


def without_end(where: str, samples: int) -> str:
    """What to remark of a file that stops while it records; `where` names the recording."""
    return f"the file is cut short: {where} has no END; its {samples} samples are taken, what came after them is lost"


def sample_row(time_ms: float, eyes: Sequence[Eye], gaze: Sequence[float]) -> tuple[float, ...]:
    """time, left x y pupil, right x y pupil; a pupil of 0 is a missing one."""
    row = [time_ms, *[math.nan] * 6]
    for i, eye in enumerate(eyes):
        x, y, pupil = gaze[3 * i : 3 * i + 3]
        first = 1 if eye == "left" else 4
        row[first : first + 3] = [x, y, math.nan if pupil == 0 else pupil]
    return tuple(row)


def message_at(time_ms: float, text: str, place: str) -> Message:
    """A message; a number before its text says by how many milliseconds it came after what it tells of.

    >>> message_at(1000.0, "-14 !V IMGLOAD FILL a.png", "line 1").says, message_at(1000.0, "12 image_onset", "").at_s
    ('!V IMGLOAD FILL a.png', 0.988)
    """
    delay = re.match(r"(-?\d{1,5})\s+(?=\S)", text)
    if delay is None:
        return Message(time_ms / 1000, text, place, text, time_ms / 1000)
    return Message(time_ms / 1000, text, place, text[delay.end() :], (time_ms - int(delay[1])) / 1000)


def event_at(kind: str, time_s: float, duration_s: float, eye: Eye, rest: Sequence[float | None]) -> TrackerEvent:
    """An event; `rest` are its figures in the order of the ASC line, None where missing: x, y, pupil of a fixation."""
    if kind == "fixation":
        x_px, y_px, pupil = rest
        return TrackerEvent(time_s, kind, duration_s, "" if pupil is None else f"pupil={pupil:g}", eye, x_px, y_px)
    names = ("start_x_px", "start_y_px", "end_x_px", "end_y_px", "amplitude_deg", "peak_velocity_deg_s")
    figures = zip(names, rest, strict=True) if kind == "saccade" else ()
    text = " ".join(f"{name}={value:g}" for name, value in figures if value is not None)
    return TrackerEvent(time_s, kind, duration_s, text, eye)


@dataclass(frozen=True)
class EyeLinkContent:
    """What either reader found in a file.

    rows: (n, 7), milliseconds, then x, y and pupil of the left and the right eye; `place` names one by its index.
    header: the lines before the recording. pupil: "area" or "diameter", empty where the file does not say. remedy: what
    to do about a file that is wrong.
    """

    path: Path
    header: Sequence[str]
    rows: Sequence[tuple[float, ...]]
    rate_hz: float
    eyes: Collection[Eye]
    pupil: str
    messages: Sequence[Message]
    detected: Sequence[TrackerEvent]
    pauses_s: Sequence[float]
    place: Callable[[int], str]
    remedy: str
    remarks: Sequence[Remark] = ()


def whole_recording(found: EyeLinkContent) -> VendorRecording:
    """The recording of a file's content: positions from the screen's upper left, validations from the messages.

    Raises DataError where gaze, times, rate or screen cannot be.
    """
    path, header, messages = found.path, found.header, found.messages
    values = np.array(found.rows, np.float64)
    _check_rate(path, values[:, 0], found.rate_hz, found.remedy)
    left_px, top_px, sizes = _screen(path, header, messages)
    samples = no_samples(len(values))
    samples["time_s"] = values[:, 0] / 1000
    for first, eye in ((1, "left"), (4, "right")):
        samples[f"{eye}_x_px"] = values[:, first] - left_px
        samples[f"{eye}_y_px"] = values[:, first + 1] - top_px
        samples[f"{eye}_pupil"] = values[:, first + 2]
    remarks = [*found.remarks, *_without_strays(path, samples)]
    check_samples(samples, "px", found.place, found.remedy)
    calibrations, validations = _calibrations(messages, left_px, top_px)
    said = dict(re.findall(r"\*\*\s*([A-Z _]+?):\s*(.+)", "\n".join(header)))
    host = re.search(r"\*\*\s+(EYELINK.*? v[\d.]+)", "\n".join(header))
    return VendorRecording(
        file=path, name=path.stem, samples=samples, rate_hz=found.rate_hz,
        eyes=tuple(eye for eye in ("left", "right") if eye in found.eyes),
        tracker={
            "manufacturer": "SR Research", "model": "EyeLink", "serial": said.get("SERIAL NUMBER", "n/a").strip(),
            "software": host[1] if host else "n/a", "pupil_unit": "arbitrary", "pupil_measure": found.pupil or "size",
        },
        screen_px=sizes, origin_px=(left_px, top_px), messages=tuple(messages),
        detected=tuple(
            event if event.x_px is None or event.y_px is None
            else replace(event, x_px=event.x_px - left_px, y_px=event.y_px - top_px)
            for event in found.detected
        ),
        validations=validations, calibrations=calibrations, pauses_s=np.array(found.pauses_s), remarks=tuple(remarks),
        questions=rate_questions(path, found.rate_hz, "the rate that the file gives", f"correct it, or {found.remedy}"),
    )  # fmt: skip


def _without_strays(path: Path, samples: Samples) -> list[Remark]:
    """Make gaze missing that is nowhere near the screen, if little of it is; returns what to remark."""
    remarks = []
    for eye in ("left", "right"):
        x, y = samples[f"{eye}_x_px"], samples[f"{eye}_y_px"]
        far = (np.abs(x) > FARTHEST_PX) | (np.abs(y) > FARTHEST_PX)
        if 0 < far.sum() <= FAR_SHARE * len(samples):
            x[far] = y[far] = np.nan
            remarks.append(
                Remark(
                    path.name,
                    f"{far.sum()} samples of the {eye} eye lie more than a million px off the "
                    "screen; they count as lost",
                )
            )
    return remarks


def _check_rate(path: Path, times_ms: NDArray[np.float64], rate_hz: float, remedy: str) -> None:
    """Refuse a rate that is not that of the samples: most steps are 1 / rate_hz."""
    if not rate_hz > 0:
        raise DataError(f"{path}: its rate of {rate_hz:g} Hz is none; {remedy}.")
    step_ms = float(np.median(np.diff(times_ms))) if len(times_ms) > 1 else 1000 / rate_hz
    if not 0.4 < step_ms * rate_hz / 1000 < 2.5:
        raise DataError(
            f"{path}: its samples should lie {1000 / rate_hz:g} ms apart, as its rate of {rate_hz:g} Hz says, and most "
            f"lie {step_ms:g} ms apart; {remedy}."
        )


def _screen(
    path: Path, header: Sequence[str], messages: Sequence[Message]
) -> tuple[float, float, tuple[tuple[int, int], ...]]:
    """Left and top of the screen in the file's coordinates, and its possible sizes in px.

    SR Research's coordinates end with the last pixel (0 0 1023 767), PyGaze's with the size; a file that gives two
    different screens is refused.
    """
    found: dict[tuple[float, ...], Message] = {}
    for message in messages:
        match = _COORDS.match(message.text)
        if match:
            found.setdefault(tuple(float(value) for value in match.groups()), message)
        elif _SAYS_COORDS.match(message.text):
            raise DataError(
                f"{message.place}: {shortened(message.text)} should give the screen's left, top, right and bottom in "
                "px; mend it."
            )
    if len(found) > 1:
        (_, first), (_, second), *_ = found.items()
        raise DataError(
            f"{second.place}: {second.text.strip()!r} contradicts {first.text.strip()!r} of {first.place}; gaze cannot "
            "be placed on the screen: set both alike in the experiment, and mend the file."
        )
    if not found:
        return 0.0, 0.0, ()
    left, top, right, bottom = next(iter(found))
    if right <= left or bottom <= top:
        raise DataError(f"{next(iter(found.values())).place}: these coordinates span no screen; mend that line.")
    check_screen((right - left, bottom - top), next(iter(found.values())).place)
    width, height = round(right - left), round(bottom - top)
    sizes = ((width + 1, height + 1), (width, height))
    return left, top, sizes[::-1] if any("libeyelink.py" in line for line in header) else sizes


def _degrees(text: str, place: str) -> float:
    """An error of a validation: the analysis takes the eye with the smaller one, so a wrong one is not passed over."""
    try:
        value = parse_number(text)
        if not 0 <= value <= 180:
            raise ValueError(f"{value:g} is no angle from 0 to 180")
    except ValueError as error:
        raise DataError(f"{place}: the validation's error should be in degrees, and {error}; {_AGAIN}.") from None
    return value


def _calibrations(
    messages: Sequence[Message], left_px: float, top_px: float
) -> tuple[tuple[Calibration, ...], tuple[Validation, ...]]:
    """The validations, both eyes of one together, and the calibrations before them, whose targets they showed again."""
    validations: list[Validation] = []
    calibrations: list[Calibration] = []
    calibrated_s: float | None = None
    figures: dict[Eye, dict[str, Any]] = {}
    targets: list[tuple[float, float]] = []

    def conclude() -> None:
        nonlocal calibrated_s
        if figures:
            validations.append(Validation(begun_s, dict(figures)))
        if calibrated_s is not None and targets:
            calibrations.append(Calibration(calibrated_s, tuple(dict.fromkeys(targets))))
            calibrated_s = None
        figures.clear()
        targets.clear()

    begun_s = 0.0
    for message in messages:
        text = message.text
        if text.startswith("!CAL CALIBRATION"):
            conclude()
            calibrated_s = message.time_s
        elif match := _VALIDATION.match(text):
            eye: Eye = "left" if match["eye"] == "LEFT" else "right"
            if eye in figures or targets:
                conclude()
            begun_s = message.time_s if not figures else begun_s
            # The verdict is the host's, by limits that are not the study's.
            mean_deg, worst_deg = (_degrees(match[name], message.place) for name in ("mean", "worst"))
            figures[eye] = {
                "accuracy_deg": mean_deg, "accuracy_worst_deg": worst_deg, "passed": None,
                "verdict_of_tracker": match["verdict"],
            }  # fmt: skip
        elif _SAYS_ERROR.match(text):
            raise DataError(f"{message.place}: {shortened(text)} should give an eye's mean and worst error; {_AGAIN}.")
        elif (match := _TARGET.match(text)) and figures:
            targets.append((float(match[1]) - left_px, float(match[2]) - top_px))
    conclude()
    return tuple(calibrations), tuple(validations)
