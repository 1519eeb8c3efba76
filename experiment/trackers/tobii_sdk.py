"""Tobii's SDK as two packages offer it, behind one Protocol: Tobii's own `tobii_research`, and TittaPy around the same.

Each class speaks the language of its package (names, keys, status strings, errors) and nothing more: what is asked of
a tracker, what is told to people and what is kept is `experiment.trackers.tobii`'s. The packages are imported when a
tracker is connected to, never before.

How the two differ, and what is made of it here:

1. `tobii_research` hands samples to a callback; its buffer holds about 64. The callback is a deque's `append`.
   TittaPy buffers in C++; its samples are fetched.
2. `tobii_research` returns from a calibration's step when the step is done; TittaPy takes an order and is asked for
   its result. Here both return when it is done: such calls are made from a thread of their own.
3. Their errors are classes in the one, numbers in a text in the other. Here both are `SdkError` with a `kind`.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import nan
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from beholder.shared.errors import TrackerError
from beholder.shared.gaze import Eye

# What a sample brings; NaN where the tracker says that it is not valid. x and y are shares of the display area (origin
# upper left), the eye's place is in mm from the tracker's front: to the participant's right, upwards, towards them.
_OF_AN_EYE = (("x", "f8"), ("y", "f8"), ("pupil_mm", "f8"), ("eye_mm", "f8", (3,)))
GAZE = np.dtype(
    [("system_us", "i8"), ("device_us", "i8")]
    + [(f"{eye}_{name}", *rest) for eye in ("left", "right") for name, *rest in _OF_AN_EYE]
)
Gaze = NDArray[np.void]
# Ours: the system's clock at the request, the tracker's at the answer, the system's when it came; microseconds.
TimeSync = tuple[int, int, int]
Kind = Literal["connection", "licence", "unsupported", "state", "failed", "other"]
EYES: tuple[Eye, Eye] = ("left", "right")
ASK_EVERY_S = 0.002
# A step that TittaPy was asked for and that never ends is given up; the tracker's patience is shorter.
LONGEST_STEP_S = 60.0


class SdkError(Exception):
    """What the SDK refused; `kind` says of which sort, the message is the SDK's own."""

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind: Kind = kind
        super().__init__(" ".join(text.split()))


@dataclass(frozen=True)
class Device:
    """A tracker that was found."""

    serial: str
    model: str
    address: str
    firmware: str


@dataclass(frozen=True)
class DisplayArea:
    """Three corners of the display area, mm from the tracker's front: to the right, upwards, and towards the eyes."""

    top_left: tuple[float, float, float]
    top_right: tuple[float, float, float]
    bottom_left: tuple[float, float, float]


@dataclass(frozen=True)
class Trouble:
    """Something that the tracker reports by itself; `value` is the rate in Hz that it was changed to."""

    kind: Literal["lost", "restored", "overflow", "rate", "display area", "other"]
    text: str = ""
    value: float = nan


@dataclass(frozen=True)
class Computed:
    """A calibration: the eyes that it holds for, and of each place (x, y) the eyes whose gaze on it was used."""

    eyes: tuple[Eye, ...]
    used: dict[tuple[float, float], tuple[Eye, ...]]


@dataclass(frozen=True)
class EyePositions:
    """Where the eyes are in the box in which they can be tracked, as the participant would see them in a mirror.

    x, y, z of each eye from 0 to 1: from the left, from the top, from the end near the tracker; None where not seen.
    """

    left: tuple[float, float, float] | None = None
    right: tuple[float, float, float] | None = None


class TobiiSdk(Protocol):
    """What is needed of either package; every call may raise SdkError. Times are microseconds of the system's clock."""

    software: str

    def devices(self) -> list[Device]:
        """The trackers that answer, after about two seconds."""

    def connect(self, address: str) -> Device:
        """Take the tracker at that address; all that follows is of it."""

    def can_calibrate(self) -> bool:
        """Whether it is one that is calibrated on a screen."""

    def apply_licence(self, key: bytes) -> str:
        """Unlock what a licence allows; empty where it was taken, else why not."""

    def rates_hz(self) -> list[float]:
        """The rates that it can sample at."""

    def rate_hz(self) -> float:
        """The rate that it is set to."""

    def set_rate_hz(self, rate_hz: float) -> None:
        """Set it."""

    def modes(self) -> list[str]:
        """The tracking modes that it has (for people, for animals, ...), by their names."""

    def mode(self) -> str:
        """The one that it is set to."""

    def set_mode(self, mode: str) -> None:
        """Set it."""

    def display_area(self) -> DisplayArea:
        """Where it takes the screen to be."""

    def system_us(self) -> int:
        """The system's clock, as samples are stamped with."""

    def listen(self) -> None:
        """From now on have troubles and time synchronisation at hand."""

    def troubles(self) -> list[Trouble]:
        """Those reported since the last call."""

    def time_syncs(self) -> list[TimeSync]:
        """Those made since the last call."""

    def start_gaze(self) -> None:
        """Have samples come."""

    def stop_gaze(self) -> None:
        """Have no more come; those that came can still be fetched."""

    def gaze(self) -> Gaze:
        """The samples since the last call, (n,) of GAZE; never blocks."""

    def start_positions(self) -> None:
        """Have the positions of the eyes come."""

    def stop_positions(self) -> None:
        """Have no more come."""

    def positions(self) -> EyePositions:
        """The latest."""

    # A calibration's steps; each returns when it is done.

    def enter(self) -> None:
        """Begin a calibration; what an earlier one collected is forgotten."""

    def collect(self, x: float, y: float) -> bool:
        """Collect gaze on a place (shares of the display area); False where there was not enough."""

    def discard(self, x: float, y: float) -> None:
        """Forget what was collected there."""

    def compute(self) -> Computed:
        """Compute and apply it; of no eye where it failed."""

    def data(self) -> bytes:
        """The calibration in use, to be kept; only between `enter` and `leave`."""

    def restore(self, data: bytes) -> None:
        """Use a calibration that was kept."""

    def leave(self) -> None:
        """End it; the tracker goes on with the last calibration that was applied."""

    def close(self) -> None:
        """Let go of the tracker."""


# ------------------------------------------------------------------------------------------------ finding a package


def installed() -> Iterator[TobiiSdk]:
    """The packages that are installed for this Python, in the order in which they are to be tried.

    TittaPy brings two: around version 2 of Tobii's SDK, and around version 1, for trackers that the second no longer
    knows. Each is imported when it is its turn. Raises TrackerError, with the command that installs one, where there is
    none or another of its name.
    """
    problems, count = [], 0
    for name in ("tobii_research", "TittaPy_v2", "TittaPy_v1"):
        try:
            package = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                problems.append(f"{name} cannot be imported: {error}")
        except ImportError as error:
            problems.append(f"{name} cannot be imported: {error}")
        else:
            count += 1
            yield speaking(package)
    if not count:
        problem = "; ".join(problems) or "Tobii's package is not installed"
        raise TrackerError(f'{problem}: install it with "{install_command()}".')


def speaking(package: Any) -> TobiiSdk:
    """The language of a package; raises TrackerError where it is another one of that name."""
    if hasattr(package, "find_all_eyetrackers"):
        return TobiiResearch(package)
    if hasattr(package, "find_all_eye_trackers"):
        return TittaPy(package)
    where = getattr(package, "__file__", None) or "this Python"
    raise TrackerError(
        f'the module {package.__name__} in {where} is not Tobii\'s: remove it, then "{install_command()}".'
    )


def install_command() -> str:
    """How to install the package for this Python: Tobii's own has wheels for 3.10 only."""
    package = "tobii-research" if sys.version_info < (3, 11) else "tittapy"
    return f"{sys.executable} -m pip install {package}"


# --------------------------------------------------------------------------------------------------- tobii_research

_ERRORS: dict[str, Kind] = {
    "EyeTrackerConnectionFailedError": "connection",
    "EyeTrackerUnavailableError": "connection",
    "EyeTrackerLicenseError": "licence",
    "EyeTrackerSavedLicenseFailedToApplyError": "licence",
    "EyeTrackerFeatureNotSupportedError": "unsupported",
    "EyeTrackerInvalidOperationError": "state",
    "EyeTrackerOperationFailedError": "failed",
}
# What is listened for; a package of another version may lack one.
_NOTIFICATIONS = {
    "EYETRACKER_NOTIFICATION_CONNECTION_LOST": "lost",
    "EYETRACKER_NOTIFICATION_CONNECTION_RESTORED": "restored",
    "EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW": "overflow",
    "EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED": "rate",
    "EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED": "display area",
    "EYETRACKER_NOTIFICATION_DEVICE_FAULTS": "faults",
    "EYETRACKER_NOTIFICATION_DEVICE_WARNINGS": "warnings",
    "EYETRACKER_NOTIFICATION_EYE_TRACKING_MODE_CHANGED": "mode",
}


class TobiiResearch:
    """Tobii's own package. Callbacks do nothing but append to a deque: they are called from the SDK's thread."""

    def __init__(self, package: Any) -> None:
        self._package = package
        self.software = f"tobii_research {package.__version__}"
        self._found: dict[str, Any] = {}
        self._tracker: Any = None
        self._calibration: Any = None
        self._collected: set[tuple[float, float]] = set()
        self._samples: deque[dict[str, Any]] = deque()
        self._notified: deque[dict[str, Any]] = deque()
        self._failed: deque[dict[str, Any]] = deque()
        self._synced: deque[dict[str, Any]] = deque()
        self._position: deque[dict[str, Any]] = deque(maxlen=1)
        self._subscribed: list[tuple[str, Callable[[dict[str, Any]], None]]] = []

    def devices(self) -> list[Device]:
        """The trackers that answer."""
        with self._refusals():
            self._found = {tracker.address: tracker for tracker in self._package.find_all_eyetrackers()}
        return [self._device(tracker) for tracker in self._found.values()]

    def connect(self, address: str) -> Device:
        """Take that one."""
        with self._refusals():
            self._tracker = self._found.get(address) or self._package.EyeTracker(address)
        return self._device(self._tracker)

    @staticmethod
    def _device(tracker: Any) -> Device:
        return Device(tracker.serial_number, tracker.model, tracker.address, tracker.firmware_version)

    def can_calibrate(self) -> bool:
        """Whether it can, on a screen."""
        return self._package.CAPABILITY_CAN_DO_SCREEN_BASED_CALIBRATION in self._tracker.device_capabilities

    def apply_licence(self, key: bytes) -> str:
        """Empty where it was taken."""
        with self._refusals():
            refused = self._tracker.apply_licenses(key)
        return str(refused[0].validation_result) if refused else ""

    def rates_hz(self) -> list[float]:
        """The possible ones."""
        with self._refusals():
            return [float(rate) for rate in self._tracker.get_all_gaze_output_frequencies()]

    def rate_hz(self) -> float:
        """The present one."""
        with self._refusals():
            return float(self._tracker.get_gaze_output_frequency())

    def set_rate_hz(self, rate_hz: float) -> None:
        """Another."""
        with self._refusals():
            self._tracker.set_gaze_output_frequency(rate_hz)

    def modes(self) -> list[str]:
        """The possible ones."""
        with self._refusals():
            return [str(mode) for mode in self._tracker.get_all_eye_tracking_modes()]

    def mode(self) -> str:
        """The present one."""
        with self._refusals():
            return str(self._tracker.get_eye_tracking_mode())

    def set_mode(self, mode: str) -> None:
        """Another."""
        with self._refusals():
            self._tracker.set_eye_tracking_mode(mode)

    def display_area(self) -> DisplayArea:
        """As it was set up."""
        with self._refusals():
            area = self._tracker.get_display_area()
        return DisplayArea(area.top_left, area.top_right, area.bottom_left)

    def system_us(self) -> int:
        """Now."""
        with self._refusals():
            return int(self._package.get_system_time_stamp())

    def listen(self) -> None:
        """Subscribe to all that is not gaze."""
        package = self._package
        for name in _NOTIFICATIONS:
            if hasattr(package, name):
                self._subscribe(getattr(package, name), self._notified.append)
        self._subscribe(package.EYETRACKER_STREAM_ERRORS, self._failed.append)
        self._subscribe(package.EYETRACKER_TIME_SYNCHRONIZATION_DATA, self._synced.append)

    def troubles(self) -> list[Trouble]:
        """Notifications and stream errors."""
        kinds = {getattr(self._package, name, name): kind for name, kind in _NOTIFICATIONS.items()}
        found = [_notified(kinds[row["notification_type"]], row) for row in _all(self._notified)]
        for row in _all(self._failed):
            lost = row["error"] == self._package.STREAM_ERROR_CONNECTION_LOST
            found.append(Trouble("lost" if lost else "other", f"{row['error']}: {row['message']}".strip(": ")))
        return found

    def time_syncs(self) -> list[TimeSync]:
        """Those made."""
        names = ("system_request_time_stamp", "device_time_stamp", "system_response_time_stamp")
        rows = [tuple(int(row[name]) for name in names) for row in _all(self._synced)]
        return [(a, b, c) for a, b, c in rows]

    def start_gaze(self) -> None:
        """Subscribe."""
        self._samples.clear()
        self._subscribe(self._package.EYETRACKER_GAZE_DATA, self._samples.append)

    def stop_gaze(self) -> None:
        """Unsubscribe."""
        self._unsubscribe(self._package.EYETRACKER_GAZE_DATA)

    def gaze(self) -> Gaze:
        """The dictionaries that came, as an array."""
        rows = _all(self._samples)
        gaze = np.zeros(len(rows), GAZE)
        gaze["system_us"] = [row["system_time_stamp"] for row in rows]
        gaze["device_us"] = [row["device_time_stamp"] for row in rows]
        for eye in EYES:
            points = [row[f"{eye}_gaze_point_on_display_area"] for row in rows]
            seen = np.array([bool(row[f"{eye}_gaze_point_validity"]) for row in rows], bool)
            gaze[f"{eye}_x"] = np.where(seen, [x for x, _ in points], nan)
            gaze[f"{eye}_y"] = np.where(seen, [y for _, y in points], nan)
            pupils = [row[f"{eye}_pupil_diameter"] for row in rows]
            gaze[f"{eye}_pupil_mm"] = np.where([bool(row[f"{eye}_pupil_validity"]) for row in rows], pupils, nan)
            places = np.array([row[f"{eye}_gaze_origin_in_user_coordinate_system"] for row in rows]).reshape(-1, 3)
            there = np.array([bool(row[f"{eye}_gaze_origin_validity"]) for row in rows], bool)
            gaze[f"{eye}_eye_mm"] = np.where(there[:, None], places, nan)
        return gaze

    def start_positions(self) -> None:
        """Subscribe."""
        self._position.clear()
        self._subscribe(self._package.EYETRACKER_USER_POSITION_GUIDE, self._position.append)

    def stop_positions(self) -> None:
        """Unsubscribe."""
        self._unsubscribe(self._package.EYETRACKER_USER_POSITION_GUIDE)

    def positions(self) -> EyePositions:
        """The latest."""
        if not self._position:
            return EyePositions()
        row = self._position[-1]
        return EyePositions(
            *(_mirrored(row[f"{eye}_user_position"]) if row[f"{eye}_user_position_validity"] else None for eye in EYES)
        )

    def enter(self) -> None:
        """Begin; one that another program left open is ended first."""
        self._collected = set()
        with self._refusals():
            self._calibration = self._package.ScreenBasedCalibration(self._tracker)
        try:
            with self._refusals():
                self._calibration.enter_calibration_mode()
        except SdkError as error:
            if error.kind != "state":
                raise
            with self._refusals():
                self._calibration.leave_calibration_mode()
                self._calibration.enter_calibration_mode()

    def collect(self, x: float, y: float) -> bool:
        """Whether there was enough gaze."""
        with self._refusals():
            there = bool(self._calibration.collect_data(x, y) == self._package.CALIBRATION_STATUS_SUCCESS)
        if there:
            self._collected.add((x, y))
        return there

    def discard(self, x: float, y: float) -> None:
        """Forget."""
        with self._refusals():
            self._calibration.discard_data(x, y)
        self._collected.discard((x, y))

    def compute(self) -> Computed:
        """The eyes by the status, and which gaze was used.

        Where the status is that of one eye the package hands out no points: then what was collected counts as used.
        """
        package = self._package
        with self._refusals():
            result = self._calibration.compute_and_apply()
        eyes: dict[str, tuple[Eye, ...]] = {
            package.CALIBRATION_STATUS_SUCCESS: EYES,
            package.CALIBRATION_STATUS_SUCCESS_LEFT_EYE: ("left",),
            package.CALIBRATION_STATUS_SUCCESS_RIGHT_EYE: ("right",),
        }
        used: dict[tuple[float, float], tuple[Eye, ...]] = {}
        for point in result.calibration_points:
            used[point.position_on_display_area] = tuple(
                eye
                for eye in EYES
                if any(
                    getattr(sample, f"{eye}_eye").validity == package.VALIDITY_VALID_AND_USED
                    for sample in point.calibration_samples
                )
            )
        held = eyes.get(result.status, ())
        if len(held) == 1 and not used:
            used = dict.fromkeys(self._collected, held)
        return Computed(held, used)

    def data(self) -> bytes:
        """As the SDK hands it out."""
        with self._refusals():
            return bytes(self._tracker.retrieve_calibration_data() or b"")

    def restore(self, data: bytes) -> None:
        """Hand it back."""
        with self._refusals():
            self._tracker.apply_calibration_data(data)

    def leave(self) -> None:
        """End it."""
        with self._refusals():
            self._calibration.leave_calibration_mode()

    def close(self) -> None:
        """Unsubscribe from everything."""
        errors = []
        for subscription, _ in list(self._subscribed):
            try:
                self._unsubscribe(subscription)
            except SdkError as error:
                errors.append(error)
        self._tracker = self._calibration = None
        self._found = {}
        if errors:
            raise errors[0]

    def _subscribe(self, subscription: str, callback: Callable[[dict[str, Any]], None]) -> None:
        with self._refusals():
            self._tracker.subscribe_to(subscription, callback, as_dictionary=True)
        self._subscribed.append((subscription, callback))

    def _unsubscribe(self, subscription: str) -> None:
        """Those that were not subscribed to are left alone."""
        for kept in [pair for pair in self._subscribed if pair[0] == subscription]:
            self._subscribed.remove(kept)
            with self._refusals():
                self._tracker.unsubscribe_from(*kept)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            name = type(error).__name__
            if not (isinstance(error, ValueError) or name.startswith("EyeTracker")):
                raise
            text = getattr(error, "value", None) or str(error)
            raise SdkError(_ERRORS.get(name, "other"), str(text)) from None


# ---------------------------------------------------------------------------------------------------------- TittaPy

_CODES: dict[int, Kind] = {
    18: "licence", 201: "licence", 202: "unsupported", 203: "connection", 204: "connection", 205: "failed",
    210: "state", 211: "state", 214: "failed", 216: "failed",
}  # fmt: skip


class TittaPy:
    """Titta's package. Its steps of a calibration are orders; their results are asked for until they come."""

    def __init__(self, package: Any) -> None:
        self._package = package
        self.software = f"TittaPy {package.__version__.strip(chr(34))}, Tobii SDK {package.get_SDK_version()}"
        self._tracker: Any = None
        self._serial = ""

    def devices(self) -> list[Device]:
        """The trackers that answer."""
        with self._refusals():
            found = self._package.find_all_eye_trackers()
        return [Device(row["serial_number"], row["model"], row["address"], row["firmware_version"]) for row in found]

    def connect(self, address: str) -> Device:
        """Take that one; it notifies from now on."""
        with self._refusals():
            self._tracker = tracker = self._package.EyeTracker(address)
            device = Device(tracker.serial_number, tracker.model, tracker.address, tracker.firmware_version)
        self._serial = device.serial
        return device

    def can_calibrate(self) -> bool:
        """Whether it can, on a screen."""
        with self._refusals():
            return self._package.capability.can_do_screen_based_calibration in self._tracker.capabilities

    def apply_licence(self, key: bytes) -> str:
        """Empty where it was taken."""
        with self._refusals():
            (result,) = self._tracker.apply_licenses([list(key)])
        return "" if result == self._package.license_validation_result.ok else str(result.name)

    def rates_hz(self) -> list[float]:
        """The possible ones."""
        with self._refusals():
            return [float(rate) for rate in self._tracker.supported_frequencies]

    def rate_hz(self) -> float:
        """The present one."""
        with self._refusals():
            return float(self._tracker.frequency)

    def set_rate_hz(self, rate_hz: float) -> None:
        """Another."""
        with self._refusals():
            self._tracker.frequency = rate_hz

    def modes(self) -> list[str]:
        """The possible ones."""
        with self._refusals():
            return [str(mode) for mode in self._tracker.supported_modes]

    def mode(self) -> str:
        """The present one."""
        with self._refusals():
            return str(self._tracker.tracking_mode)

    def set_mode(self, mode: str) -> None:
        """Another."""
        with self._refusals():
            self._tracker.tracking_mode = mode

    def display_area(self) -> DisplayArea:
        """As it was set up."""
        with self._refusals():
            area = self._tracker.display_area
        corners = (tuple(float(mm) for mm in area[name]) for name in ("top_left", "top_right", "bottom_left"))
        return DisplayArea(*((x, y, z) for x, y, z in corners))

    def system_us(self) -> int:
        """Now."""
        with self._refusals():
            return int(self._package.get_system_timestamp())

    def listen(self) -> None:
        """Have time synchronisation and stream errors kept; notifications are already."""
        with self._refusals():
            self._package.start_logging()
            self._tracker.start("time_sync")

    def troubles(self) -> list[Trouble]:
        """Notifications and stream errors."""
        with self._refusals():
            notified = self._tracker.consume_N("notification")
            logged = self._package.get_log(True)
        kinds = {
            "connection_lost": "lost", "connection_restored": "restored", "stream_buffer_overflow": "overflow",
            "gaze_output_frequency_changed": "rate", "display_area_changed": "display area", "device_faults": "faults",
            "device_warnings": "warnings", "eye_tracking_mode_changed": "mode",
        }  # fmt: skip
        found = []
        for i, kind in enumerate(notified["notification_type"]):
            row = {
                "gaze_output_frequency": notified["output_frequency"][i],
                "faults": notified["errors_or_warnings"][i],
                "warnings": notified["errors_or_warnings"][i],
            }
            # It tells of calibrations too, which are our own.
            if kind.name in kinds:
                found.append(_notified(kinds[kind.name], row))
        for row in logged:
            if "error" in row and row["machine_serial"] in ("", self._serial):
                lost = row["error"] == self._package.stream_error.connection_lost
                text = f"{row['error'].name}: {row['message']}".strip(": ")
                found.append(Trouble("lost" if lost else "other", text))
        return found

    def time_syncs(self) -> list[TimeSync]:
        """Those made."""
        with self._refusals():
            rows = self._tracker.consume_N("time_sync")
        names = ("system_request_time_stamp", "device_time_stamp", "system_response_time_stamp")
        return [(int(a), int(b), int(c)) for a, b, c in zip(*(rows[name] for name in names), strict=True)]

    def start_gaze(self) -> None:
        """Into an empty buffer."""
        with self._refusals():
            self._tracker.clear("gaze")
            self._tracker.start("gaze")

    def stop_gaze(self) -> None:
        """What is in the buffer stays there."""
        with self._refusals():
            self._tracker.stop("gaze", False)

    def gaze(self) -> Gaze:
        """The buffer's content, as an array."""
        with self._refusals():
            rows = self._tracker.consume_N("gaze")
        gaze = np.zeros(len(rows["system_time_stamp"]), GAZE)
        gaze["system_us"], gaze["device_us"] = rows["system_time_stamp"], rows["device_time_stamp"]
        for eye in EYES:
            seen = np.asarray(rows[f"{eye}_gaze_point_valid"], bool)
            for axis in ("x", "y"):
                gaze[f"{eye}_{axis}"] = np.where(seen, rows[f"{eye}_gaze_point_on_display_area_{axis}"], nan)
            there = np.asarray(rows[f"{eye}_pupil_valid"], bool)
            gaze[f"{eye}_pupil_mm"] = np.where(there, rows[f"{eye}_pupil_diameter"], nan)
            places = [rows[f"{eye}_gaze_origin_in_user_coordinates_{axis}"] for axis in "xyz"]
            there = np.asarray(rows[f"{eye}_gaze_origin_valid"], bool)
            gaze[f"{eye}_eye_mm"] = np.where(there[:, None], np.stack(places, axis=1), nan)
        return gaze

    def start_positions(self) -> None:
        """Into the buffer."""
        with self._refusals():
            self._tracker.start("positioning")

    def stop_positions(self) -> None:
        """And empty the buffer."""
        with self._refusals():
            self._tracker.stop("positioning", True)

    def positions(self) -> EyePositions:
        """The latest."""
        with self._refusals():
            rows = self._tracker.peek_N("positioning", 1)
        if not len(rows["left_user_position_x"]):
            return EyePositions()
        return EyePositions(
            *(
                _mirrored([float(rows[f"{eye}_user_position_{axis}"][-1]) for axis in "xyz"])
                if rows[f"{eye}_user_position_valid"][-1]
                else None
                for eye in EYES
            )
        )

    def enter(self) -> None:
        """Begin; one that another program left open is ended first."""
        if not self._tracker.enter_calibration_mode(False):
            self._tracker.leave_calibration_mode(False)
            self._tracker.enter_calibration_mode(False)
        try:
            self._result("enter")
        except SdkError as error:
            if error.kind != "state":
                raise
            self._tracker.leave_calibration_mode(True)
            self._tracker.enter_calibration_mode(False)
            self._result("enter")

    def collect(self, x: float, y: float) -> bool:
        """Whether there was enough gaze."""
        return self._step("collect_data", lambda: self._tracker.calibration_collect_data([x, y])) is not None

    def discard(self, x: float, y: float) -> None:
        """Forget."""
        self._step("discard_data", lambda: self._tracker.calibration_discard_data([x, y]))

    def compute(self) -> Computed:
        """The eyes by the status, and which gaze was used."""
        done = self._step("compute", lambda: self._tracker.calibration_compute_and_apply())
        if done is None or "calibration_result" not in done:
            return Computed((), {})
        status, validity = self._package.calibration_status, self._package.calibration_eye_validity
        result = done["calibration_result"]
        eyes: tuple[Eye, ...] = ()
        for name, held in (
            (status.success, EYES),
            (status.success_left_eye, EYES[:1]),
            (status.success_right_eye, EYES[1:]),
        ):
            if result["status"] == name:
                eyes = held
        used: dict[tuple[float, float], tuple[Eye, ...]] = {}
        for point in result["points"]:
            place = (float(point["position_on_display_area_x"]), float(point["position_on_display_area_y"]))
            used[place] = tuple(eye for eye in EYES if validity.valid_and_used in point[f"samples_{eye}_validity"])
        return Computed(eyes, used)

    def data(self) -> bytes:
        """As the SDK hands it out."""
        done = self._step("get_calibration_data", lambda: self._tracker.calibration_get_data())
        return bytes((done or {}).get("calibration_data", ()))

    def restore(self, data: bytes) -> None:
        """Hand it back, which TittaPy does within a calibration only."""
        self.enter()
        try:
            kept = list(data)
            if self._step("apply_calibration_data", lambda: self._tracker.calibration_apply_data(kept)) is None:
                raise SdkError("failed", "the tracker does not take it")
        finally:
            self.leave()

    def leave(self) -> None:
        """End it. TittaPy stands still with all of Python until a step under way is done: so that is waited for."""
        idle = self._package.calibration_state
        until_s = time.monotonic() + LONGEST_STEP_S
        while self._tracker.calibration_get_status() not in (idle.awaiting_cal_point, idle.not_yet_entered, idle.left):
            if time.monotonic() > until_s:
                raise SdkError("failed", "the calibration does not end")
            time.sleep(ASK_EVERY_S)
        with self._refusals():
            self._tracker.leave_calibration_mode(False)
            while self._tracker.calibration_retrieve_result() is not None:
                pass

    def close(self) -> None:
        """Stop what runs."""
        tracker, self._tracker = self._tracker, None
        if tracker is None:
            return
        with self._refusals():
            for stream in ("gaze", "positioning", "time_sync"):
                if tracker.is_recording(stream):
                    tracker.stop(stream, True)
            with suppress(RuntimeError):
                self._package.stop_logging()

    def _step(self, action: str, order: Callable[[], None]) -> dict[str, Any] | None:
        """Give an order and wait for its result; None where the SDK says that the step failed."""
        with self._refusals():
            order()
        try:
            return self._result(action)
        except SdkError as error:
            if error.kind != "failed":
                raise
            return None

    def _result(self, action: str) -> dict[str, Any]:
        wanted = getattr(self._package.calibration_action, action)
        until_s = time.monotonic() + LONGEST_STEP_S
        while time.monotonic() < until_s:
            with self._refusals():
                result = self._tracker.calibration_retrieve_result()
            if result is None:
                time.sleep(ASK_EVERY_S)
            elif result["work_item"]["action"] == wanted:
                if result["status"] != 0:
                    raise SdkError(_CODES.get(int(result["status"]), "other"), str(result["status_string"]))
                found: dict[str, Any] = result
                return found
        raise SdkError("other", f"the calibration's step {action} does not end")

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            code = re.search(r"Error code: (\d+)", str(error))
            text = re.sub(r"(Titta::cpp( Error)?: )+", "", str(error))
            raise SdkError(_CODES.get(int(code[1]), "other") if code else "other", text) from None


# ------------------------------------------------------------------------------------------------------------- both


def _all(queue: deque[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take what is in a deque to which another thread appends."""
    return [queue.popleft() for _ in range(len(queue))]


def _notified(kind: str, row: Mapping[str, Any]) -> Trouble:
    """A notification as trouble, of its kind and its data."""
    if kind in ("faults", "warnings"):
        return Trouble("other", f"{kind}: {row[kind]}")
    if kind == "rate":
        return Trouble("rate", value=float(row["gaze_output_frequency"]))
    if kind == "mode":
        return Trouble("other", "its eye tracking mode was changed")
    return Trouble(kind)  # type: ignore[arg-type]


def _mirrored(position: Any) -> tuple[float, float, float]:
    """The SDK counts x from the participant's right; in a mirror the right eye is on the right."""
    x, y, z = (float(v) for v in position)
    return 1 - x, y, z
