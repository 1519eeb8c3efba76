"""Tobii's own package `tobii_research`: its names, keys, status strings and errors, and nothing more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from typing import Any

import numpy as np

from beholder.experiment.trackers.tobii.sdk import (
    EYES,
    GAZE,
    Computed,
    Device,
    DisplayArea,
    EyePositions,
    Gaze,
    Kind,
    SdkError,
    TimeSync,
    Trouble,
    mirrored,
    trouble_of,
)
from beholder.shared.gaze import Eye

_ERRORS: dict[str, Kind] = {
    "EyeTrackerConnectionFailedError": "connection",
    "EyeTrackerUnavailableError": "connection",
    "EyeTrackerLicenseError": "licence",
    "EyeTrackerSavedLicenseFailedToApplyError": "licence",
    "EyeTrackerFeatureNotSupportedError": "unsupported",
    "EyeTrackerInvalidOperationError": "state",
    "EyeTrackerOperationFailedError": "failed",
}


# The notifications that are listened for; a package of another version may lack one.
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
    """Tobii's own package as a `TobiiSdk`. Callbacks only append to a deque: the SDK calls them from its own thread."""

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
        """Connect to the tracker at that address."""
        with self._refusals():
            self._tracker = self._found.get(address) or self._package.EyeTracker(address)
        return self._device(self._tracker)

    @staticmethod
    def _device(tracker: Any) -> Device:
        return Device(tracker.serial_number, tracker.model, tracker.address, tracker.firmware_version)

    def can_calibrate(self) -> bool:
        """Whether the tracker can be calibrated on a screen."""
        return self._package.CAPABILITY_CAN_DO_SCREEN_BASED_CALIBRATION in self._tracker.device_capabilities

    def apply_licence(self, key: bytes) -> str:
        """Apply a licence; returns empty where it was accepted, else why not."""
        with self._refusals():
            refused = self._tracker.apply_licenses(key)
        return str(refused[0].validation_result) if refused else ""

    def rates_hz(self) -> list[float]:
        """The rates at which the tracker can sample."""
        with self._refusals():
            return [float(rate) for rate in self._tracker.get_all_gaze_output_frequencies()]

    def rate_hz(self) -> float:
        """The rate that the tracker is set to."""
        with self._refusals():
            return float(self._tracker.get_gaze_output_frequency())

    def set_rate_hz(self, rate_hz: float) -> None:
        """Set the rate."""
        with self._refusals():
            self._tracker.set_gaze_output_frequency(rate_hz)

    def modes(self) -> list[str]:
        """The tracking modes that the tracker has."""
        with self._refusals():
            return [str(mode) for mode in self._tracker.get_all_eye_tracking_modes()]

    def mode(self) -> str:
        """The tracking mode that the tracker is set to."""
        with self._refusals():
            return str(self._tracker.get_eye_tracking_mode())

    def set_mode(self, mode: str) -> None:
        """Set the tracking mode."""
        with self._refusals():
            self._tracker.set_eye_tracking_mode(mode)

    def display_area(self) -> DisplayArea:
        """The display area that is set up in the tracker."""
        with self._refusals():
            area = self._tracker.get_display_area()
        return DisplayArea(area.top_left, area.top_right, area.bottom_left)

    def system_us(self) -> int:
        """The system's clock now, in microseconds."""
        with self._refusals():
            return int(self._package.get_system_time_stamp())

    def listen(self) -> None:
        """Subscribe to notifications, stream errors and time synchronisations."""
        package = self._package
        for name in _NOTIFICATIONS:
            if hasattr(package, name):
                self._subscribe(getattr(package, name), self._notified.append)
        self._subscribe(package.EYETRACKER_STREAM_ERRORS, self._failed.append)
        self._subscribe(package.EYETRACKER_TIME_SYNCHRONIZATION_DATA, self._synced.append)

    def troubles(self) -> list[Trouble]:
        """Notifications and stream errors since the last call."""
        kinds = {getattr(self._package, name, name): kind for name, kind in _NOTIFICATIONS.items()}
        found = [trouble_of(kinds[row["notification_type"]], row) for row in _all(self._notified)]
        for row in _all(self._failed):
            lost = row["error"] == self._package.STREAM_ERROR_CONNECTION_LOST
            found.append(Trouble("lost" if lost else "other", f"{row['error']}: {row['message']}".strip(": ")))
        return found

    def time_syncs(self) -> list[TimeSync]:
        """The time synchronisations since the last call."""
        names = ("system_request_time_stamp", "device_time_stamp", "system_response_time_stamp")
        rows = [tuple(int(row[name]) for name in names) for row in _all(self._synced)]
        return [(a, b, c) for a, b, c in rows]

    def start_gaze(self) -> None:
        """Subscribe to samples, after dropping those not fetched."""
        self._samples.clear()
        self._subscribe(self._package.EYETRACKER_GAZE_DATA, self._samples.append)

    def stop_gaze(self) -> None:
        """Unsubscribe from samples; those that came can still be fetched."""
        self._unsubscribe(self._package.EYETRACKER_GAZE_DATA)

    def gaze(self) -> Gaze:
        """The samples since the last call, from dictionaries to an array."""
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
        """Subscribe to eye positions."""
        self._position.clear()
        self._subscribe(self._package.EYETRACKER_USER_POSITION_GUIDE, self._position.append)

    def stop_positions(self) -> None:
        """Unsubscribe from eye positions."""
        self._unsubscribe(self._package.EYETRACKER_USER_POSITION_GUIDE)

    def positions(self) -> EyePositions:
        """The latest eye positions."""
        if not self._position:
            return EyePositions()
        row = self._position[-1]
        return EyePositions(
            *(mirrored(row[f"{eye}_user_position"]) if row[f"{eye}_user_position_validity"] else None for eye in EYES)
        )

    def enter(self) -> None:
        """Begin a calibration; one that another program left open is ended first."""
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
        """Collect gaze on a target; returns whether there was enough."""
        with self._refusals():
            there = bool(self._calibration.collect_data(x, y) == self._package.CALIBRATION_STATUS_SUCCESS)
        if there:
            self._collected.add((x, y))
        return there

    def discard(self, x: float, y: float) -> None:
        """Forget the gaze that was collected on a target."""
        with self._refusals():
            self._calibration.discard_data(x, y)
        self._collected.discard((x, y))

    def compute(self) -> Computed:
        """Compute and apply the calibration: its eyes by the status, and whose gaze was used on each target.

        Where the status names one eye only, the package hands out no points: then all that was collected counts as
        used.
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
        """The calibration's data, as the SDK hands them out."""
        with self._refusals():
            return bytes(self._tracker.retrieve_calibration_data() or b"")

    def restore(self, data: bytes) -> None:
        """Hand a calibration's data back to the tracker."""
        with self._refusals():
            self._tracker.apply_calibration_data(data)

    def leave(self) -> None:
        """End the calibration."""
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
        """End all subscriptions of this name; without any, nothing happens."""
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


def _all(queue: deque[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take what is in a deque to which another thread appends."""
    return [queue.popleft() for _ in range(len(queue))]
