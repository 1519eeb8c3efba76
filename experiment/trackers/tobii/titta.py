"""TittaPy, around Tobii's C++ SDK: its names, keys, status strings and errors, and nothing more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import nan
from typing import Any

import numpy as np

from beholder.experiment.trackers.tobii.sdk import (
    ASK_EVERY_S,
    EYES,
    GAZE,
    LONGEST_STEP_S,
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

_CODES: dict[int, Kind] = {
    18: "licence", 201: "licence", 202: "unsupported", 203: "connection", 204: "connection", 205: "failed",
    210: "state", 211: "state", 214: "failed", 216: "failed",
}  # fmt: skip


class TittaPy:
    """Titta's package as a `TobiiSdk`. A calibration's step is an order; its result is asked for until it comes."""

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
        """Connect to the tracker at that address; its notifications are kept from now on."""
        with self._refusals():
            self._tracker = tracker = self._package.EyeTracker(address)
            device = Device(tracker.serial_number, tracker.model, tracker.address, tracker.firmware_version)
        self._serial = device.serial
        return device

    def can_calibrate(self) -> bool:
        """Whether the tracker can be calibrated on a screen."""
        with self._refusals():
            return self._package.capability.can_do_screen_based_calibration in self._tracker.capabilities

    def apply_licence(self, key: bytes) -> str:
        """Apply a licence; returns empty where it was accepted, else why not."""
        with self._refusals():
            (result,) = self._tracker.apply_licenses([list(key)])
        return "" if result == self._package.license_validation_result.ok else str(result.name)

    def rates_hz(self) -> list[float]:
        """The rates at which the tracker can sample."""
        with self._refusals():
            return [float(rate) for rate in self._tracker.supported_frequencies]

    def rate_hz(self) -> float:
        """The rate that the tracker is set to."""
        with self._refusals():
            return float(self._tracker.frequency)

    def set_rate_hz(self, rate_hz: float) -> None:
        """Set the rate."""
        with self._refusals():
            self._tracker.frequency = rate_hz

    def modes(self) -> list[str]:
        """The tracking modes that the tracker has."""
        with self._refusals():
            return [str(mode) for mode in self._tracker.supported_modes]

    def mode(self) -> str:
        """The tracking mode that the tracker is set to."""
        with self._refusals():
            return str(self._tracker.tracking_mode)

    def set_mode(self, mode: str) -> None:
        """Set the tracking mode."""
        with self._refusals():
            self._tracker.tracking_mode = mode

    def display_area(self) -> DisplayArea:
        """The display area that is set up in the tracker."""
        with self._refusals():
            area = self._tracker.display_area
        corners = (tuple(float(mm) for mm in area[name]) for name in ("top_left", "top_right", "bottom_left"))
        return DisplayArea(*((x, y, z) for x, y, z in corners))

    def system_us(self) -> int:
        """The system's clock now, in microseconds."""
        with self._refusals():
            return int(self._package.get_system_timestamp())

    def listen(self) -> None:
        """Have time synchronisations and stream errors kept; notifications are kept already."""
        with self._refusals():
            self._package.start_logging()
            self._tracker.start("time_sync")

    def troubles(self) -> list[Trouble]:
        """Notifications and stream errors since the last call."""
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
            # The tracker notifies of calibrations too, which are our own.
            if kind.name in kinds:
                found.append(trouble_of(kinds[kind.name], row))
        for row in logged:
            if "error" in row and row["machine_serial"] in ("", self._serial):
                lost = row["error"] == self._package.stream_error.connection_lost
                text = f"{row['error'].name}: {row['message']}".strip(": ")
                found.append(Trouble("lost" if lost else "other", text))
        return found

    def time_syncs(self) -> list[TimeSync]:
        """The time synchronisations since the last call."""
        with self._refusals():
            rows = self._tracker.consume_N("time_sync")
        names = ("system_request_time_stamp", "device_time_stamp", "system_response_time_stamp")
        return [(int(a), int(b), int(c)) for a, b, c in zip(*(rows[name] for name in names), strict=True)]

    def start_gaze(self) -> None:
        """Start the stream of samples, with an empty buffer."""
        with self._refusals():
            self._tracker.clear("gaze")
            self._tracker.start("gaze")

    def stop_gaze(self) -> None:
        """Stop the stream of samples; those in the buffer stay there."""
        with self._refusals():
            self._tracker.stop("gaze", False)

    def gaze(self) -> Gaze:
        """The samples since the last call, as an array."""
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
        """Start the stream of eye positions."""
        with self._refusals():
            self._tracker.start("positioning")

    def stop_positions(self) -> None:
        """Stop the stream of eye positions, and empty its buffer."""
        with self._refusals():
            self._tracker.stop("positioning", True)

    def positions(self) -> EyePositions:
        """The latest eye positions."""
        with self._refusals():
            rows = self._tracker.peek_N("positioning", 1)
        if not len(rows["left_user_position_x"]):
            return EyePositions()
        return EyePositions(
            *(
                mirrored([float(rows[f"{eye}_user_position_{axis}"][-1]) for axis in "xyz"])
                if rows[f"{eye}_user_position_valid"][-1]
                else None
                for eye in EYES
            )
        )

    def enter(self) -> None:
        """Begin a calibration; one that another program left open is ended first."""
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
        """Collect gaze on a target; returns whether there was enough."""
        return self._step("collect_data", lambda: self._tracker.calibration_collect_data([x, y])) is not None

    def discard(self, x: float, y: float) -> None:
        """Forget the gaze that was collected on a target."""
        self._step("discard_data", lambda: self._tracker.calibration_discard_data([x, y]))

    def compute(self) -> Computed:
        """Compute and apply the calibration: its eyes by the status, and whose gaze was used on each target."""
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
        """The calibration's data, as the SDK hands them out."""
        done = self._step("get_calibration_data", lambda: self._tracker.calibration_get_data())
        return bytes((done or {}).get("calibration_data", ()))

    def restore(self, data: bytes) -> None:
        """Hand a calibration's data back to the tracker, which TittaPy does within a calibration only."""
        self.enter()
        try:
            kept = list(data)
            if self._step("apply_calibration_data", lambda: self._tracker.calibration_apply_data(kept)) is None:
                raise SdkError("failed", "the tracker does not take it")
        finally:
            self.leave()

    def leave(self) -> None:
        """End the calibration, once a step under way is done: TittaPy would hold up all of Python until then."""
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
        """Stop all streams and the log."""
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
