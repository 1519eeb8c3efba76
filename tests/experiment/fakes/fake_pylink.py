"""SR Research's `pylink` without a tracker: the same names, the same moods, and a host computer that follows a script.

`library(host)` is the module; it has no name and no argument that the real one (2.2.596) has not, so whatever the
adapter asks beyond that raises. `Host` is the computer behind the link. What was seen in the real library's dummy mode
is kept: a callback that raises ends the program, a display is taken once, escape leaves one page, `exitCalibration`
ends the set-up by a RuntimeError, a link that is closed answers in codes. What no dummy shows is taken at its worst: a
stopped recording forgets its queue, a transfer does not replace a file, a set-up whose link is gone goes on asking for
keys. Samples exist when they are due on `now_s`, a virtual clock or a real one, and wait in the link until taken.

The participant of this host looks at what the session's messages and the library's targets say is shown. The host's
file is written as edf2asc would write it, in the place of EDF.
"""

# ruff: noqa: N802, N803  (the vendor's names)

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

# Values of the real package.
CONSTANTS = {
    "STARTBLINK": 3, "ENDBLINK": 4, "STARTSACC": 5, "ENDSACC": 6, "STARTFIX": 7, "ENDFIX": 8, "FIXUPDATE": 9,
    "MESSAGEEVENT": 24, "BUTTONEVENT": 25, "INPUTEVENT": 28, "LOSTDATAEVENT": 0x3F, "SAMPLE_TYPE": 200,
    "MISSING_DATA": -32768, "TRIAL_OK": 0, "REPEAT_TRIAL": 1, "SKIP_TRIAL": 2, "ABORT_EXPT": 3, "TRIAL_ERROR": -1,
    "SAMPLE_LEFT": 0x8000, "SAMPLE_RIGHT": 0x4000, "ESC_KEY": 0x001B, "ENTER_KEY": 0x000D, "PAGE_UP": 0x4900,
    "PAGE_DOWN": 0x5100, "CURS_UP": 0x4800, "CURS_DOWN": 0x5000, "CURS_LEFT": 0x4B00, "CURS_RIGHT": 0x4D00,
    "CAL_ERR_BEEP": -1, "DC_ERR_BEEP": -2, "CAL_GOOD_BEEP": 0, "CAL_TARG_BEEP": 1, "DC_GOOD_BEEP": 2,
    "DC_TARG_BEEP": 3, "CR_HAIR_COLOR": 1, "PUPIL_HAIR_COLOR": 2, "PUPIL_BOX_COLOR": 3, "SEARCH_LIMIT_BOX_COLOR": 4,
}  # fmt: skip
__version__ = "2.2.596.0"
MISSING = -32768.0
# In a sample's flags, of the C library: it was taken half a millisecond later.
ADD_OFFSET = 0x0002
# The host was switched on that long before the session, and its clock runs a little faster.
HOST_SINCE_S, HOST_FASTER = 6000.0, 1 + 40e-6
NOISE_PX = 0.8
PUPIL = 1000.0
DWELL_S = 0.3
# From a question for the time to its answer.
ROUND_TRIP_S = 0.0004
CAMERA_PX = (192, 160)
# How often the library asks for keys.
POLLED_EVERY_S = 1 / 1250


class Crashed(BaseException):
    """The real library would have ended the program with a segmentation fault here, or never returned."""


# -------------------------------------------------------------------------------------- what comes over the link


class SampleData:
    def __init__(self, gaze: tuple[float, float], pupil: float) -> None:
        self._gaze, self._pupil = gaze, pupil

    def getGaze(self) -> tuple[float, float]:
        return self._gaze

    def getPupilSize(self) -> float:
        return self._pupil


class Sample:
    def __init__(self, time_ms: int, flags: int, left: SampleData | None, right: SampleData | None) -> None:
        self._time, self._flags, self._left, self._right = time_ms, flags, left, right

    def getTime(self) -> int:
        return self._time

    def getFlags(self) -> int:
        return self._flags

    def getType(self) -> int:
        return 200

    def getLeftEye(self) -> SampleData | None:
        return self._left

    def getRightEye(self) -> SampleData | None:
        return self._right

    def isLeftSample(self) -> bool:
        return self._left is not None

    def isRightSample(self) -> bool:
        return self._right is not None

    def isBinocular(self) -> bool:
        return self._left is not None and self._right is not None


class _EyeEvent:
    def __init__(self, eye: int, start_ms: float, end_ms: float, gaze: tuple[float, float] = (MISSING, MISSING)):
        self._eye, self._start, self._end, self._gaze = eye, start_ms, end_ms, gaze

    def getEye(self) -> int:
        return self._eye

    def getTime(self) -> float:
        return self._end

    def getStartTime(self) -> float:
        return self._start

    def getEndTime(self) -> float:
        return self._end

    def getAverageGaze(self) -> tuple[float, float]:
        return self._gaze


class EndFixationEvent(_EyeEvent):
    pass


class EndBlinkEvent(_EyeEvent):
    pass


class EndSaccadeEvent(_EyeEvent):
    pass


class LostDataEvent:
    def __init__(self, time: float, type: int) -> None:
        self._time = time

    def getTime(self) -> float:
        return self._time


class KeyInput:
    def __init__(self, key: int, mod: int = 0, state: int = 0) -> None:
        assert isinstance(key, int), "a key is a number"
        self.__key__, self.__mod__, self.__state__ = key, mod, state


class EyeLinkCustomDisplay:
    """Every method is to be overridden; the base's own say so."""

    def __init__(self) -> None:
        self._width = self._height = 0

    def setup_cal_display(self) -> None:
        print("not implemented")

    def exit_cal_display(self) -> None:
        print("not implemented")

    def record_abort_hide(self) -> None:
        print("not implemented")

    def setup_image_display(self, width: int, height: int) -> int | None:
        print("not implemented")
        return None

    def image_title(self, title: str) -> None:
        print("not implemented")

    def draw_image_line(self, width: int, line: int, totlines: int, buff: Sequence[int]) -> None:
        print("not implemented")

    def set_image_palette(self, red: Sequence[int], green: Sequence[int], blue: Sequence[int]) -> None:
        print("not implemented")

    def exit_image_display(self) -> None:
        print("not implemented")

    def clear_cal_display(self) -> None:
        print("not implemented")

    def erase_cal_target(self) -> None:
        print("not implemented")

    def draw_cal_target(self, x: float, y: float) -> None:
        print("not implemented")

    def play_beep(self, beepid: int) -> None:
        print("not implemented")

    def get_input_key(self) -> list[KeyInput] | None:
        print("not implemented")
        return None

    def alert_printf(self, msg: str) -> None:
        print("not implemented")

    def draw_line(self, x1: float, y1: float, x2: float, y2: float, colorindex: int) -> None:
        print("not implemented")

    def draw_lozenge(self, x: float, y: float, width: float, height: float, colorindex: int) -> None:
        print("not implemented")

    def get_mouse_state(self) -> tuple[tuple[int, int], int] | None:
        print("not implemented")
        return None

    def draw_cross_hair(self) -> None:
        middle_x, middle_y = CAMERA_PX[0] / 2, CAMERA_PX[1] / 2
        self.draw_line(middle_x - 12, middle_y, middle_x + 12, middle_y, CONSTANTS["PUPIL_HAIR_COLOR"])
        self.draw_line(middle_x, middle_y - 12, middle_x, middle_y + 12, CONSTANTS["PUPIL_HAIR_COLOR"])
        self.draw_lozenge(middle_x - 40, middle_y - 40, 80, 80, CONSTANTS["SEARCH_LIMIT_BOX_COLOR"])


# --------------------------------------------------------------------------------------------- the host computer


@dataclass(frozen=True)
class Fault:
    """What goes wrong: `kind`, `after_s` behind the `nth` time of a stage; for `lasts_s`, where it lasts.

    Stages: connect, calibration (a target), validation, dot, picture, offset, closing. Kinds, at their time:
    disconnect, host_abort, library_error, dropout (samples are lost on the link), blink (the eyes are lost). Kinds
    without one: unreachable, dummy, closed, rate_refused, rate_ignored, one_eye, no_recording, no_samples, no_file,
    slow_link, calibration_failed, calibration_aborted, drift_check_aborted, never_calibrated, transfer_fails,
    transfer_cut, transfer_slow, link_gone_for_good, time_unanswered, deaf (only Esc ends a set-up).
    """

    kind: str
    stage: str = "connect"
    nth: int = 1
    after_s: float = 0.2
    lasts_s: float = 0.5


@dataclass
class Host:
    """An EyeLink's host computer, its operator, and the participant before its camera.

    `set_up` is what its operator does at each `doTrackerSetup`; "keys" leaves that to the keys of the display.
    """

    now_s: Callable[[], float]
    sleep: Callable[[float], None]
    faults: tuple[Fault, ...] = ()
    rates_hz: tuple[int, ...] = (250, 500, 1000, 2000)
    set_up: tuple[str, ...] = ("camera", "calibrate")
    target_s: float = 0.8
    answered_s: list[float] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)
    delivered: list[tuple[float, ...]] = field(default_factory=list)
    # (from when, where): of the session's clock, px of the screen.
    looks: list[tuple[float, tuple[float, float]]] = field(default_factory=list)
    connected: bool = False
    graphics: Any = None
    drawn: list[str] = field(default_factory=list)
    disconnected_s: float | None = None

    def __post_init__(self) -> None:
        self.epoch_s = self.now_s()
        self.recording = self.leaving = self.file_closed = self.link_on = self.into_file = False
        self.file: str | None = None
        self.files: dict[str, bytes] = {}
        self.rate_hz, self.eyes, self.calibration_text = 500, 2, ""
        self.reached: dict[str, int] = {}
        self.due: list[tuple[float, Fault]] = []
        self.now_on: list[tuple[float, Fault]] = []
        self.queue: deque[tuple[int, Any]] = deque()
        self.current: Any = None
        self.next_tick = 0
        self.next_sample_was: tuple[float, float] | None = None
        self.fixation: tuple[tuple[float, float], float, float] | None = None
        self.blink_from_ms: float | None = None
        self.errors = 0
        self.rng = np.random.default_rng(3)
        self.lost_on_link = 0
        self.answer: tuple[float, float] | None = None

    # Time.

    def host_ms(self, at_s: float) -> float:
        return (HOST_SINCE_S + (at_s - self.epoch_s) * HOST_FASTER) * 1000

    def estimated_ms(self) -> float:
        """The library's estimate of it: it jumps by some milliseconds now and then, says its maker."""
        at_s = self.now_s()
        return self.host_ms(at_s) + (6.0 if int(at_s * 3) % 5 == 0 else 0.0)

    def session_s(self, host_ms: float) -> float:
        return (host_ms / 1000 - HOST_SINCE_S) / HOST_FASTER + self.epoch_s

    def has(self, kind: str) -> bool:
        return any(fault.kind == kind for fault in self.faults)

    def stage(self, name: str) -> None:
        self.reached[name] = self.reached.get(name, 0) + 1
        for fault in self.faults:
            if (fault.stage, fault.nth) == (name, self.reached[name]):
                self.due.append((self.now_s() + fault.after_s, fault))

    def advance(self) -> None:
        """All that is due by now."""
        now_s = self.now_s()
        for at_s, fault in sorted(self.due, key=lambda pair: pair[0]):
            if at_s <= now_s:
                self.produce(at_s)
                self.due.remove((at_s, fault))
                self.happen(at_s, fault)
        self.produce(now_s)

    def happen(self, at_s: float, fault: Fault) -> None:
        if fault.kind == "disconnect":
            self.connected, self.disconnected_s = False, at_s
        elif fault.kind == "host_abort":
            self.end_block()
            self.recording, self.disconnected_s = False, at_s
        elif fault.kind == "library_error":
            self.errors, self.disconnected_s = 1, at_s
        elif fault.kind in ("dropout", "blink"):
            self.now_on.append((at_s + fault.lasts_s, fault))

    def is_on(self, kind: str, at_s: float) -> bool:
        return any(fault.kind == kind and at_s < until_s for until_s, fault in self.now_on)

    # Gaze.

    def look(self, from_s: float, x_px: float, y_px: float) -> None:
        self.looks = [look for look in self.looks if look[0] < from_s] + [(from_s, (x_px, y_px))]

    def look_around(self, from_s: float) -> None:
        """A path over a picture: so many places, a dwell each, the same for the same picture of a session."""
        rng = np.random.default_rng(len(self.looks))
        self.looks = [look for look in self.looks if look[0] < from_s]
        x_px, y_px = self.middle()
        for i in range(200):
            at = (x_px + float(rng.integers(-120, 121)), y_px + float(rng.integers(-90, 91)))
            self.looks.append((from_s + i * DWELL_S, at))

    def middle(self) -> tuple[float, float]:
        left, top, right, bottom = self.coords()
        return (left + right + 1) / 2, (top + bottom + 1) / 2

    def coords(self) -> tuple[float, float, float, float]:
        left, top, right, bottom = (float(v) for v in self.commands["screen_pixel_coords"].split())
        return left, top, right, bottom

    def looked_at(self, at_s: float) -> tuple[float, float]:
        before = [place for from_s, place in self.looks[-220:] if from_s <= at_s]
        return before[-1] if before else self.middle()

    # Samples.

    def produce(self, until_s: float) -> None:
        """The samples from the last one on that are due."""
        if not self.recording:
            return
        step_ms = 1000 / self.rate_hz
        last = floor(self.host_ms(until_s) / step_ms + 1e-6)
        while self.next_tick <= last:
            self.sample(self.next_tick * step_ms)
            self.next_tick += 1

    def sample(self, time_ms: float) -> None:
        at_s = self.session_s(time_ms)
        seen = not self.is_on("blink", at_s)
        where = self.looked_at(at_s)
        gaze: list[tuple[float, float, float]] = []
        for _ in range(2):
            x_px, y_px = (round(float(v + NOISE_PX * self.rng.standard_normal()), 1) for v in where)
            gaze.append((x_px, y_px, PUPIL) if seen else (MISSING, MISSING, 0.0))
        self.detect(time_ms, where, seen)
        kept = [gaze[0]] if self.eyes == 0 else [gaze[1]] if self.eyes == 1 else gaze
        if self.into_file:
            cells = [f"{x:.1f}\t{y:.1f}\t{p:.1f}" if p else ".\t.\t0.0" for x, y, p in kept]
            self.log.append("\t".join([f"{time_ms:g}" if time_ms % 1 else f"{time_ms:.0f}", *cells, "..."]))
        if not (self.link_on and self.connected):
            return
        if self.is_on("dropout", at_s):
            self.lost_on_link += 1
            return
        if self.lost_on_link:
            self.put(CONSTANTS["LOSTDATAEVENT"], LostDataEvent(time_ms, 0x3F), at_s)
            self.lost_on_link = 0
        left, right = (
            SampleData((x, y), p) if side == self.eyes or self.eyes == 2 else None
            for side, (x, y, p) in enumerate(gaze)
        )
        flags = 0x8000 * (left is not None) | 0x4000 * (right is not None) | ADD_OFFSET * bool(time_ms % 1)
        self.put(200, Sample(int(time_ms), flags, left, right), at_s)

    def put(self, kind: int, what: Any, at_s: float) -> None:
        self.queue.append((kind, (at_s, what)))

    def detect(self, time_ms: float, where: tuple[float, float], seen: bool) -> None:
        """The host's own events: a fixation as long as gaze stays, a blink as long as it is not seen."""
        eyes = {0: (0,), 1: (1,), 2: (0, 1)}[self.eyes]
        at_s = self.session_s(time_ms)
        if not seen:
            self.end_fixation(at_s)
            self.blink_from_ms = self.blink_from_ms or time_ms
            self.blink_to_ms = time_ms
            return
        if self.blink_from_ms is not None:
            for eye in eyes:
                blink = EndBlinkEvent(eye, self.blink_from_ms, self.blink_to_ms)
                self.event(CONSTANTS["ENDBLINK"], "EBLINK", eye, blink, at_s, "")
            self.blink_from_ms = None
        if self.fixation is not None and self.fixation[0] != where:
            self.end_fixation(at_s)
        start_ms = time_ms if self.fixation is None else self.fixation[1]
        self.fixation = where, start_ms, time_ms

    def end_fixation(self, at_s: float) -> None:
        if self.fixation is None:
            return
        where, start_ms, end_ms = self.fixation
        self.fixation = None
        for eye in {0: (0,), 1: (1,), 2: (0, 1)}[self.eyes]:
            text = f"\t{where[0]:.1f}\t{where[1]:.1f}\t{PUPIL:.0f}"
            self.event(CONSTANTS["ENDFIX"], "EFIX", eye, EndFixationEvent(eye, start_ms, end_ms, where), at_s, text)

    def event(self, kind: int, name: str, eye: int, what: _EyeEvent, at_s: float, rest: str) -> None:
        start, end = what.getStartTime(), what.getEndTime()
        if self.into_file:
            self.log.append(f"{name} {'LR'[eye]} {start:.0f}\t{end:.0f}\t{end - start + 1000 / self.rate_hz:.0f}{rest}")
        if self.link_on and self.connected:
            self.put(kind, what, at_s)

    def begin_block(self, into_file: bool, onto_link: bool) -> None:
        self.recording, self.into_file, self.link_on = True, into_file, onto_link
        self.next_tick = floor(self.host_ms(self.now_s()) * self.rate_hz / 1000) + 1
        if into_file:
            assert self.file is not None, "there is no file to record into"
            eyes = {0: "LEFT", 1: "RIGHT", 2: "LEFT\tRIGHT"}[self.eyes]
            start = f"{self.next_tick * 1000 / self.rate_hz:.0f}"
            self.log += [
                f"START\t{start} \t{eyes}\tSAMPLES\tEVENTS",
                "PRESCALER\t1",
                "VPRESCALER\t1",
                "PUPIL\tAREA",
                f"EVENTS\tGAZE\t{eyes}\tRATE\t{self.rate_hz:7.2f}\tTRACKING\tCR\tFILTER\t2",
                f"SAMPLES\tGAZE\t{eyes}\tRATE\t{self.rate_hz:7.2f}\tTRACKING\tCR\tFILTER\t2",
            ]

    def end_block(self) -> None:
        if self.recording and self.into_file:
            self.end_fixation(self.now_s())
            self.log.append(
                f"END\t{(self.next_tick - 1) * 1000 / self.rate_hz:.0f} \tSAMPLES\tEVENTS\tRES\t  35.0\t  35.0"
            )
        self.recording = self.into_file = self.link_on = False
        self.fixation = self.blink_from_ms = None

    # Messages.

    def message(self, text: str) -> None:
        if self.file is not None and not self.file_closed:
            self.log.append(f"MSG\t{self.host_ms(self.now_s()):.0f} {text}")
        says = re.sub(r"^-?\d+ ", "", text)
        x_px, y_px = self.middle()
        if target := re.match(r"VALIDATE \d+ (\d+) (\d+)", says):
            self.look(self.now_s(), float(target[1]), float(target[2]))
            self.stage("validation")
        elif says.startswith("TRIALID"):
            self.look(self.now_s(), x_px, y_px)
            self.stage("dot")
        elif says.endswith(" onset"):
            self.look_around(self.now_s())
            self.stage("picture")
        elif says.endswith(" offset"):
            self.look(self.now_s(), x_px, y_px)
            self.stage("offset")

    def asc(self) -> bytes:
        head = [
            "** CONVERTED FROM a fake host",
            "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED",
            "** EYELINK II CL v6.14",
            "**",
            "",
        ]
        return ("\n".join([*head, *self.log]) + "\n").encode("ascii")

    # The set-up.

    def set_up_by_host(self, display: EyeLinkCustomDisplay) -> None:
        self.leaving = False
        self.call(display.setup_cal_display)
        for action in self.set_up:
            if self.leaving:
                break
            if action == "camera":
                self.show_camera(display)
            elif action == "calibrate":
                self.calibrate(display)
            elif action == "keys":
                self.by_keys(display)
        self.call(display.exit_cal_display)

    def by_keys(self, display: EyeLinkCustomDisplay) -> None:
        """Its operator sits at the display: C calibrates, Enter shows the camera, Esc leaves."""
        began_s = self.now_s()
        while not self.leaving:
            if self.now_s() > began_s + 600:
                raise Crashed("nobody leaves the set-up")
            code = self.pressed(display)
            if code == CONSTANTS["ESC_KEY"]:
                return
            if code == ord("c"):
                self.calibrate(display)
            elif code == CONSTANTS["ENTER_KEY"]:
                self.show_camera(display)

    def pressed(self, display: EyeLinkCustomDisplay) -> int | None:
        """The next key. The library asks 1,250 times a second, and all else waits for the answer (`answered_s`)."""
        self.sleep(POLLED_EVERY_S)
        self.advance()
        before_s = self.now_s()
        keys = self.call(display.get_input_key) or []
        self.answered_s.append(self.now_s() - before_s)
        assert all(isinstance(key, KeyInput) for key in keys)
        return keys[0].__key__ if keys else None

    def wait(self, display: EyeLinkCustomDisplay, seconds: float) -> bool:
        """Until then; False where escape was pressed, or the set-up is to end."""
        until_s = self.now_s() + seconds
        while self.now_s() < until_s:
            if self.pressed(display) == CONSTANTS["ESC_KEY"] or self.leaving:
                return False
        return True

    def show_camera(self, display: EyeLinkCustomDisplay) -> None:
        width, height = CAMERA_PX
        # The real one announces the picture twice as large as it then draws it.
        if self.call(display.setup_image_display, 2 * width, 2 * height) != 1:
            raise Crashed("the display has no room for the camera's picture")
        grey = list(range(256))
        self.call(display.set_image_palette, grey, grey, grey)
        self.call(display.image_title, "Left Eye  Pupil Threshold: 75")
        rows, columns = np.mgrid[0:height, 0:width]
        for moved in range(3):
            away = np.hypot(columns - width / 2 - 3 * moved, rows - height / 2)
            picture = np.where(away < 18, 15, np.where(away < 45, 90, 170)).astype(int)
            for number in range(1, height + 1):
                self.call(display.draw_image_line, width, number, height, picture[number - 1].tolist())
            if not self.wait(display, 0.1):
                break
        self.call(display.exit_image_display)

    def places(self) -> list[tuple[int, int]]:
        """Where the host puts its targets: middle, sides, and corners with 9."""
        left, top, right, bottom = self.coords()
        across, down = (float(v) for v in self.commands["calibration_area_proportion"].split())
        half_x, half_y = (right - left + 1) * across / 2, (bottom - top + 1) * down / 2
        x, y = self.middle()
        plus = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)]
        corners = [(-1, -1), (1, -1), (-1, 1), (1, 1)]
        places = plus if self.commands["calibration_type"] == "HV5" else plus + corners
        return [(int(x + i * half_x), int(y + j * half_y)) for i, j in places]

    def calibrate(self, display: EyeLinkCustomDisplay) -> None:
        kind = self.commands["calibration_type"]
        self.calibration_text = ""
        places = self.places()
        if self.has("never_calibrated"):
            return
        tries = self.reached["calibrations"] = self.reached.get("calibrations", 0) + 1
        aborted = self.has("calibration_aborted") and tries == 1
        self.call(display.clear_cal_display)
        for x, y in places[:2] if aborted else places:
            self.stage("calibration")
            self.call(display.draw_cal_target, x, y)
            self.call(display.play_beep, CONSTANTS["CAL_TARG_BEEP"])
            taken = self.wait(display, self.target_s)
            self.call(display.erase_cal_target)
            if not taken:
                self.calibration_text = "calibration_result: 27"
                return
        verdict = "ABORTED" if aborted else "FAILED" if self.has("calibration_failed") and tries == 1 else "GOOD"
        self.call(display.play_beep, CONSTANTS["CAL_GOOD_BEEP" if verdict == "GOOD" else "CAL_ERR_BEEP"])
        code = {"GOOD": 0, "FAILED": -1, "ABORTED": 27}[verdict]
        self.calibration_text = f"calibration_result: {code}"
        if self.file is not None and not aborted:
            for eye in ("LEFT", "RIGHT"):
                self.log.append(f"MSG\t{self.host_ms(self.now_s()):.0f} !CAL CALIBRATION {kind} LR {eye}    {verdict}")
        if self.has("drift_check_aborted") and tries == 1:
            self.call(display.draw_cal_target, *places[0])
            self.call(display.play_beep, CONSTANTS["DC_TARG_BEEP"])
            self.wait(display, self.target_s)
            self.call(display.erase_cal_target)
            self.call(display.play_beep, CONSTANTS["DC_ERR_BEEP"])
            self.call(display.alert_printf, "drift check aborted")
            self.calibration_text = "DRIFT CHECK ABORTED"

    def call(self, callback: Callable[..., Any], *words: Any) -> Any:
        """The library calls back; what a callback raises is the end of the program."""
        self.drawn.append(callback.__name__)
        try:
            return callback(*words)
        except Exception as error:
            raise Crashed(f"{callback.__name__} raised {error!r}") from error


# ------------------------------------------------------------------------------------------------- the library


class EyeLink:
    """The link to a host; its methods are those of the real class, no more."""

    _host: Host

    def __init__(self, trackeraddress: str | None = "100.1.1.1", connect_mode: int = 0) -> None:
        host = self._host
        assert trackeraddress is not None, "nobody is to ask for the simulation"
        if host.has("unreachable") or (host.disconnected_s is not None and host.has("link_gone_for_good")):
            host.sleep(3.0)
            raise RuntimeError(f"Could not connect to tracker at {trackeraddress}")
        host.connected = True
        host.stage("connect")

    def _need_link(self, answer: str = "Link terminated") -> None:
        self._host.advance()
        if not self._host.connected:
            raise RuntimeError(answer)

    def isConnected(self) -> int:
        self._host.advance()
        if self._host.has("dummy"):
            return -1
        return int(self._host.connected and not self._host.has("closed"))

    def close(self) -> int:
        self._host.end_block()
        self._host.connected = False
        return 0

    def getTrackerVersion(self) -> int:
        return 3

    def getTrackerVersionString(self) -> str:
        return "EYELINK CL 6.14"

    def sendCommand(self, command_text: str) -> int:
        self._need_link()
        host = self._host
        name, _, value = (part.strip() for part in command_text.partition("="))
        if name == "sample_rate":
            if host.has("rate_refused") or int(value) not in host.rates_hz:
                return 1
            host.rate_hz = 250 if host.has("rate_ignored") else int(value)
        elif name == "binocular_enabled":
            host.eyes = 2 if value == "YES" and not host.has("one_eye") else 0
        elif name == "active_eye":
            host.eyes = 0 if value == "LEFT" else 1
        host.commands[name] = value
        return 0

    def getLastMessage(self) -> str:
        return "Illegal parameter"

    def sendMessage(self, message_text: str, offset: int = 0) -> int:
        self._host.advance()
        assert len(message_text) <= 128, "the host cuts what is longer"
        message_text.encode("ascii")
        if self._host.connected:
            self._host.message(message_text)
        return 0

    def openDataFile(self, name: str) -> int:
        self._need_link()
        assert re.fullmatch(r"[A-Z0-9_]{1,8}(\.EDF)?", name), "a name as DOS has them"
        if self._host.has("no_file"):
            return -5
        self._host.file, self._host.file_closed = name, False
        return 0

    def closeDataFile(self) -> int:
        host = self._host
        host.stage("closing")
        self._need_link("Cannot close file")
        host.end_block()
        if host.file is not None:
            host.files[host.file] = host.asc()
            host.file_closed = True
        return 0

    def receiveDataFile(self, src: str, dest: str, opt: int = 2) -> int:
        self._need_link()
        host = self._host
        if host.has("transfer_fails") or src not in host.files:
            raise RuntimeError("File transfer failed")
        data = host.files[src]
        if host.has("transfer_slow"):
            for tenth in range(11):
                host.sleep(2.0)
                self.progressUpdate(src, len(data), len(data) * tenth // 10)
        to = Path(dest)
        if to.exists():
            to = to.with_name(f"{to.stem}_1{to.suffix}")
        to.write_bytes(data[:-1000] if host.has("transfer_cut") else data)
        return len(data)

    def progressUpdate(self, fileName: str, size: int, received: int) -> int:
        return 0

    def setOfflineMode(self) -> None:
        self._need_link()
        self._host.end_block()

    def startRecording(self, File_samples: int, File_events: int, Link_samples: int, Link_events: int) -> int:
        host = self._host
        host.advance()
        if not host.connected:
            return 3
        if host.has("no_recording"):
            return -1
        host.queue.clear()
        host.sleep(0.02)
        host.begin_block(bool(File_samples and File_events), bool(Link_samples and Link_events))
        return 0

    def stopRecording(self) -> None:
        host = self._host
        host.advance()
        host.end_block()
        host.queue.clear()

    def waitForBlockStart(self, tiemout: int, samples: int, events: int) -> int:
        host = self._host
        host.sleep(1.5 / host.rate_hz)
        if host.has("no_samples"):
            host.sleep(tiemout / 1000)
            return 0
        return int(host.recording)

    def isRecording(self) -> int:
        host = self._host
        host.advance()
        if not host.connected:
            return CONSTANTS["TRIAL_ERROR"]
        return 0 if host.recording else CONSTANTS["ABORT_EXPT"]

    def getNextData(self) -> int:
        host = self._host
        host.advance()
        if host.errors and not host.queue:
            raise RuntimeError("Link error")
        late_s = next((fault.lasts_s for fault in host.faults if fault.kind == "slow_link"), 0.0)
        if not host.queue or host.queue[0][1][0] > host.now_s() - late_s:
            return 0
        kind, (_, host.current) = host.queue.popleft()
        if kind == CONSTANTS["SAMPLE_TYPE"]:
            host.delivered.append(row(host.current))
        return kind

    def getFloatData(self) -> Any:
        return self._host.current

    def eyeAvailable(self) -> int:
        return self._host.eyes if self._host.recording else -1

    def getSampleRate(self) -> int:
        return self._host.rate_hz if self._host.recording else CONSTANTS["MISSING_DATA"]

    def trackerTime(self) -> float:
        self._host.advance()
        return float(int(self._host.estimated_ms())) if self._host.connected else 4294967295.0

    def trackerTimeUsec(self) -> float:
        self._host.advance()
        return self._host.estimated_ms() * 1000 if self._host.connected else -1.0

    def requestTime(self) -> int:
        self._host.advance()
        host = self._host
        if not host.connected:
            return -1
        # The question takes half of the way; what is answered is cut off to whole milliseconds.
        host.answer = None if host.has("time_unanswered") else (host.now_s() + ROUND_TRIP_S, ROUND_TRIP_S / 2)
        return 0

    def readTime(self) -> int:
        """0 until the answer is there."""
        host = self._host
        # A virtual clock stands still while a program asks.
        host.sleep(0.0001)
        host.advance()
        if host.answer is None or not host.connected or host.now_s() < host.answer[0]:
            return 0
        arrived_s, half_s = host.answer
        host.answer = None
        return int(host.host_ms(arrived_s - half_s))

    def getCalibrationMessage(self) -> str:
        return self._host.calibration_text

    def getCalibrationResult(self) -> int:
        return 1000

    def exitCalibration(self) -> None:
        self._host.leaving = not self._host.has("deaf")

    def doTrackerSetup(self, width: int | None = None, height: int | None = None) -> None:
        host = self._host
        if host.graphics is None:
            raise Crashed("without a display of one's own this never returns")
        host.set_up_by_host(host.graphics)
        if host.leaving:
            raise RuntimeError("Escape key pressed")


def row(sample: Sample) -> tuple[float, ...]:
    """Time in ms, then x, y, pupil of the left eye and of the right, as they were handed over."""
    time_ms = sample.getTime() + 0.5 * bool(sample.getFlags() & ADD_OFFSET)
    eyes = [
        (*eye.getGaze(), eye.getPupilSize()) if eye else (MISSING, MISSING, 0.0)
        for eye in (sample.getLeftEye(), sample.getRightEye())
    ]
    return (time_ms, *eyes[0], *eyes[1])


def library(host: Host) -> ModuleType:
    """The module `pylink` of this host."""
    module = ModuleType("pylink")

    def openGraphicsEx(eyeCustomDisplay: Any) -> None:
        if host.graphics is not None:
            raise RuntimeError("Unable to use new EyeLinkCustomDisplay when a previous one is active")
        if not isinstance(eyeCustomDisplay, EyeLinkCustomDisplay):
            raise RuntimeError(f"Expecting object of type EyeLinkCustomDisplay got {type(eyeCustomDisplay).__name__}")
        host.graphics = eyeCustomDisplay

    def closeGraphics() -> None:
        host.graphics = None

    def msecDelay(delay: int) -> None:
        host.sleep(delay / 1000)

    def pumpDelay(delay: int) -> None:
        host.sleep(delay / 1000)

    names: dict[str, Any] = dict(CONSTANTS)
    names |= {
        "EyeLink": type("EyeLink", (EyeLink,), {"_host": host}),
        "EyeLinkCustomDisplay": EyeLinkCustomDisplay, "KeyInput": KeyInput, "Sample": Sample,
        "EndFixationEvent": EndFixationEvent, "EndBlinkEvent": EndBlinkEvent, "EndSaccadeEvent": EndSaccadeEvent,
        "LostDataEvent": LostDataEvent, "openGraphicsEx": openGraphicsEx, "closeGraphics": closeGraphics,
        "msecDelay": msecDelay, "pumpDelay": pumpDelay, "__version__": __version__,
    }  # fmt: skip
    for name, value in names.items():
        setattr(module, name, value)
    return module


def host_in_real_time(script: dict[str, Any]) -> Host:
    """A host on this computer's clock: faults and set-up by the script's words."""
    faults = tuple(Fault(**fault) for fault in script.get("faults", ()))
    more = {key: script[key] for key in ("target_s",) if key in script}
    return Host(
        time.perf_counter, time.sleep, faults, set_up=tuple(script.get("set_up", ("camera", "calibrate"))), **more
    )
