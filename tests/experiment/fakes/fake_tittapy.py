"""TittaPy (`TittaPy_v2`) without a tracker: its names, enumerations, keys and strictness, before a `tobii_lab.Lab`.

Every public name is one of the real package's (`test_tobii_contract` compares them); another one raises, as there.
Calibration's orders are carried out as time goes on. `_use` hands it the lab.
"""

import sys as _sys
import threading as _threading
from collections import deque as _deque
from contextlib import suppress as _suppress
from pathlib import Path as _Path

import numpy as _np

_sys.path.append(str(_Path(__file__).parent))
import tobii_lab as _tobii_lab

__version__ = '"2.1.0"'

_lab = None
_log = []


def _use(lab):
    global _lab
    _lab = lab
    _log.clear()


def _use_environment():
    _use(_tobii_lab.from_environment())


def _enum(name, **members):
    """As pybind11 makes them: members have a name and a value, and are equal to themselves only."""

    class Enum:
        def __init__(self, value):
            self._value = value

        @property
        def name(self):
            return next(name for name, member in type(self).__members__.items() if member is self)

        @property
        def value(self):
            return self._value

        def __int__(self):
            return self._value

        def __repr__(self):
            return f"<{type(self).__name__}.{self.name}: {self._value}>"

    Enum.__name__ = Enum.__qualname__ = name
    Enum.__members__ = {member: Enum(value) for member, value in members.items()}
    for member, instance in Enum.__members__.items():
        setattr(Enum, member, instance)
    return Enum


calibration_action = _enum(
    "calibration_action",
    nothing=0,
    enter=1,
    collect_data=2,
    discard_data=3,
    compute=4,
    get_calibration_data=5,
    apply_calibration_data=6,
    exit=7,
)
calibration_eye_validity = _enum(
    "calibration_eye_validity", invalid_and_not_used=-1, valid_but_not_used=0, valid_and_used=1, unknown=2
)
calibration_state = _enum(
    "calibration_state",
    not_yet_entered=0,
    awaiting_cal_point=1,
    collecting_data=2,
    discarding_data=3,
    computing=4,
    getting_calibration_data=5,
    applying_calibration_data=6,
    left=7,
)
calibration_status = _enum("calibration_status", failure=0, success=1, success_left_eye=2, success_right_eye=3)
capability = _enum(
    "capability",
    can_set_display_area=1,
    has_external_signal=2,
    has_eye_images=4,
    has_gaze_data=8,
    can_do_screen_based_calibration=32,
    can_do_monocular_calibration=256,
    has_eye_openness_data=512,
)
license_validation_result = _enum(
    "license_validation_result",
    ok=0,
    tampered=1,
    invalid_application_signature=2,
    nonsigned_application=3,
    expired=4,
    premature=5,
    invalid_process_name=6,
    invalid_serial_number=7,
    invalid_model=8,
    unknown=9,
)
notification_type = _enum(
    "notification_type",
    connection_lost=0,
    connection_restored=1,
    calibration_mode_entered=2,
    calibration_mode_left=3,
    calibration_changed=4,
    display_area_changed=5,
    gaze_output_frequency_changed=6,
    eye_tracking_mode_changed=7,
    device_faults=8,
    device_warnings=9,
    stream_buffer_overflow=10,
    notification_unknown=11,
)
stream_error = _enum(
    "stream_error",
    connection_lost=0,
    insufficient_license=1,
    not_supported=2,
    too_many_subscribers=3,
    internal_error=4,
    user_error=5,
)
stream_error_source = _enum(
    "stream_error_source",
    user=0,
    stream_pump=1,
    subscription_gaze_data=2,
    subscription_external_signal=3,
    subscription_time_synchronization_data=4,
    subscription_eye_image=5,
    subscription_notification=6,
    subscription_user_position_guide=7,
)

_CODES = {
    _tobii_lab.CONNECTION: (204, "TOBII_RESEARCH_STATUS_SE_CONNECTION_FAILED", "Connection to the device failed"),
    _tobii_lab.LICENCE: (201, "TOBII_RESEARCH_STATUS_SE_INSUFFICIENT_LICENSE", "A higher license type is needed"),
    _tobii_lab.UNSUPPORTED: (202, "TOBII_RESEARCH_STATUS_SE_NOT_SUPPORTED", "The device does not support it"),
    _tobii_lab.FAILED: (214, "TOBII_RESEARCH_STATUS_SE_OPERATION_FAILED", "The operation failed"),
    "value": (10, "TOBII_RESEARCH_STATUS_INVALID_PARAMETER", "Invalid parameter"),
}


def _code(refused):
    if refused.kind == _tobii_lab.STATE:
        if "already" in str(refused):
            return 210, "TOBII_RESEARCH_STATUS_SE_CALIBRATION_ALREADY_STARTED", "Calibration has already started"
        return 211, "TOBII_RESEARCH_STATUS_SE_CALIBRATION_NOT_STARTED", "Calibration isn't started"
    return _CODES[refused.kind]


def _asked(doing, call, *values):
    try:
        return call(*values)
    except _tobii_lab.Refused as refused:
        code, name, text = _code(refused)
        raise RuntimeError(f"Titta::cpp Error: Titta::cpp: {doing}\nError code: {code}: {name} ({text})") from None


def _logged(what):
    kind, text = what
    error = {"lost": stream_error.connection_lost}.get(kind, stream_error.internal_error)
    _log.append(
        {
            "machine_serial": _lab.script.serial,
            "system_time_stamp": _lab.system_us(),
            "error": error,
            "source": stream_error_source.stream_pump,
            "message": text,
        }
    )


_NOTIFIED = {
    "lost": notification_type.connection_lost,
    "restored": notification_type.connection_restored,
    "overflow": notification_type.stream_buffer_overflow,
    "rate": notification_type.gaze_output_frequency_changed,
    "area": notification_type.display_area_changed,
    "mode": notification_type.eye_tracking_mode_changed,
    "faults": notification_type.device_faults,
    "warnings": notification_type.device_warnings,
    "entered": notification_type.calibration_mode_entered,
    "left": notification_type.calibration_mode_left,
    "calibrated": notification_type.calibration_changed,
}
_STREAMS = {"gaze": "gaze", "time_sync": "sync", "positioning": "position", "notification": "notification"}


def find_all_eye_trackers():
    return [
        {
            "device_name": "",
            "serial_number": serial,
            "model": model,
            "firmware_version": _lab.script.firmware,
            "runtime_version": "n/a",
            "address": address,
            "frequency": _lab.script.rate_hz,
            "tracking_mode": "human",
            "capabilities": [capability.has_gaze_data],
            "supported_frequencies": list(_lab.script.rates),
            "supported_modes": ["human"],
        }
        for serial, model, address in _lab.devices()
    ]


def get_SDK_version():  # noqa: N802
    return "2.1.0.1"


def get_system_timestamp():
    return _lab.system_us()


def get_log(clear_log=None):
    found = list(_log)
    if clear_log:
        _log.clear()
    return found


def start_logging(initial_buffer_size=None):
    return True


def stop_logging():
    return True


class EyeTracker:
    def __init__(self, address):
        _asked(f'Cannot get eye tracker "{address}"', _lab.take, address)
        self._buffers = {stream: [] for stream in _STREAMS}
        self._listening = {}
        self._lock = _threading.Lock()
        # Orders for the calibration's thread, their results, and when the first order began.
        self._orders, self._results = _deque(), _deque()
        self._began_s = None
        self._in_calibration = False
        self._state = calibration_state.not_yet_entered
        _lab.listen("error", _logged)
        self.start("notification")

    @property
    def address(self):
        return _lab.script.address

    @property
    def device_name(self):
        return ""

    @property
    def serial_number(self):
        return _lab.script.serial

    @property
    def model(self):
        return _lab.script.model

    @property
    def firmware_version(self):
        return _lab.script.firmware

    @property
    def runtime_version(self):
        return "n/a"

    @property
    def capabilities(self):
        can = [capability.can_set_display_area, capability.has_gaze_data]
        return [*can, capability.can_do_screen_based_calibration] if _lab.script.calibrates else can

    @property
    def supported_frequencies(self):
        _asked("eyeTracker::refreshInfo: Cannot get eye tracker output frequencies", _lab.reach)
        return list(_lab.script.rates)

    @property
    def frequency(self):
        _asked("eyeTracker::refreshInfo: Cannot get eye tracker current frequency", _lab.reach)
        return _lab.script.rate_hz

    @frequency.setter
    def frequency(self, frequency):
        _asked("Cannot set eye tracker frequency", _lab.set_rate, float(frequency))

    @property
    def supported_modes(self):
        _asked("eyeTracker::refreshInfo: Cannot get eye tracking modes", _lab.reach)
        return list(_lab.script.modes)

    @property
    def tracking_mode(self):
        _asked("eyeTracker::refreshInfo: Cannot get eye tracker current tracking mode", _lab.reach)
        return _lab.script.mode

    @tracking_mode.setter
    def tracking_mode(self, tracking_mode):
        _asked("Cannot set eye tracker tracking mode", _lab.set_mode, tracking_mode)

    @property
    def display_area(self):
        _asked("Cannot get eye tracker display area", _lab.reach)
        area = {name: list(corner) for name, corner in _lab.script.area.items()}
        return {**area, "bottom_right": [0.0, 0.0, 0.0], "width": 0.0, "height": 0.0}

    def apply_licenses(self, licenses):
        for key in licenses:
            if not all(isinstance(byte, int) for byte in key):
                raise TypeError("apply_licenses(): incompatible function arguments")
        _asked("Cannot apply eye tracker license(s)", _lab.reach)
        if not _lab.script.licence:
            _lab.script.gaze_needs_licence = False
        return [getattr(license_validation_result, _lab.script.licence or "ok") for _ in licenses]

    # Streams.

    def has_stream(self, stream):
        return self._known(stream) in _STREAMS

    def is_recording(self, stream):
        return self._known(stream) in self._listening

    def start(self, stream, initial_buffer_size=None, as_gif=None):
        stream = self._known(stream)
        if stream not in self._listening:
            buffer = self._buffers[stream]

            def listener(what):
                with self._lock:
                    buffer.append((_lab.system_us(), what))

            _asked(f"start: Cannot start recording {stream} stream", _lab.listen, _STREAMS[stream], listener)
            self._listening[stream] = listener
        return True

    def stop(self, stream, clear_buffer=None):
        stream = self._known(stream)
        if stream in self._listening:
            # The SDK unsubscribes from a tracker that is gone without a word.
            with _suppress(_tobii_lab.Refused):
                _lab.unlisten(_STREAMS[stream], self._listening.pop(stream))
        if clear_buffer:
            self.clear(stream)
        return True

    def clear(self, stream):
        with self._lock:
            self._buffers[self._known(stream)].clear()

    def consume_N(self, stream, N_samples=None, side=None):  # noqa: N802, N803
        stream = self._known(stream)
        with self._lock:
            buffer = self._buffers[stream]
            rows = self._some(buffer, len(buffer) if N_samples is None else N_samples, side or "start")
            buffer[:] = (
                [row for row in buffer if not any(row is taken for taken in rows)] if len(rows) < len(buffer) else []
            )
        return self._dictionary(stream, rows)

    def peek_N(self, stream, N_samples=None, side=None):  # noqa: N802, N803
        stream = self._known(stream)
        with self._lock:
            rows = self._some(self._buffers[stream], 1 if N_samples is None else N_samples, side or "end")
        return self._dictionary(stream, rows)

    @staticmethod
    def _known(stream):
        if stream not in (*_STREAMS, "eye_openness", "eye_image", "external_signal"):
            raise RuntimeError(f'Titta::cpp Error: Titta::cpp: Requested stream "{stream}" is not recognized.')
        return stream

    @staticmethod
    def _some(buffer, count, side):
        if side not in ("start", "end"):
            raise RuntimeError(f'Titta::cpp Error: Titta::cpp: Requested buffer side "{side}" is not recognized.')
        return buffer[:count] if side == "start" else buffer[len(buffer) - min(count, len(buffer)) :]

    @staticmethod
    def _dictionary(stream, rows):
        nan = float("nan")
        if stream == "gaze":
            samples = [sample for _, sample in rows]
            out = {
                "device_time_stamp": _np.array([s.device_us for s in samples], _np.int64),
                "system_time_stamp": _np.array([s.system_us for s in samples], _np.int64),
            }
            for eye in ("left", "right"):
                places = [getattr(s, eye) for s in samples]
                there = _np.array([place is not None for place in places], bool)
                for k, axis in enumerate("xy"):
                    values = [0.0 if place is None else place[k] for place in places]
                    # Single precision, and stale numbers where they are not valid.
                    out[f"{eye}_gaze_point_on_display_area_{axis}"] = _np.array(values, _np.float32)
                out[f"{eye}_gaze_point_valid"] = there
                out[f"{eye}_gaze_point_available"] = _np.ones(len(samples), bool)
                out[f"{eye}_pupil_diameter"] = _np.array([s.pupil_mm for s in samples], _np.float32)
                out[f"{eye}_pupil_valid"] = there
                out[f"{eye}_pupil_available"] = _np.ones(len(samples), bool)
                for axis, mm in zip("xyz", (-30.0 if eye == "left" else 30.0, 100.0, 620.0), strict=True):
                    out[f"{eye}_gaze_origin_in_user_coordinates_{axis}"] = _np.full(len(samples), mm, _np.float32)
                out[f"{eye}_gaze_origin_valid"] = there
                out[f"{eye}_gaze_origin_available"] = _np.ones(len(samples), bool)
            return out
        if stream == "time_sync":
            names = ("system_request_time_stamp", "device_time_stamp", "system_response_time_stamp")
            syncs = [sync for _, sync in rows]
            return {name: _np.array([sync[k] for sync in syncs], _np.int64) for k, name in enumerate(names)}
        if stream == "positioning":
            out = {}
            for eye in ("left", "right"):
                places = [position[eye] for _, position in rows]
                for k, axis in enumerate("xyz"):
                    values = [nan if place is None else place[k] for place in places]
                    out[f"{eye}_user_position_{axis}"] = _np.array(values, _np.float32)
                out[f"{eye}_user_position_valid"] = _np.array([place is not None for place in places], bool)
            return out
        kinds = [what[0] for _, what in rows]
        return {
            "system_time_stamp": _np.array([at_us for at_us, _ in rows], _np.int64),
            "notification_type": [_NOTIFIED[kind] for kind in kinds],
            "output_frequency": [what[1] if what[0] == "rate" else None for _, what in rows],
            "display_area": [None for _ in rows],
            "errors_or_warnings": [what[1] if what[0] in ("faults", "warnings") else None for _, what in rows],
        }

    # Calibration: orders, carried out by a thread as time goes on.

    def enter_calibration_mode(self, do_monocular):
        if self._in_calibration:
            return False
        self._in_calibration = True
        self._state = calibration_state.not_yet_entered
        self._order("enter", _lab.enter)
        return True

    def is_in_calibration_mode(self, issue_error_if_not_=None):
        if issue_error_if_not_ and not self._in_calibration:
            raise RuntimeError(
                "Titta::cpp Error: Titta::cpp::isInCalibrationMode: you have not entered calibration mode"
            )
        return self._in_calibration

    def leave_calibration_mode(self, force=None):
        if force and _lab.in_calibration:
            _lab.in_calibration = False
        if not self._in_calibration:
            return False
        # It joins its thread: nothing else of Python runs until what was ordered is done.
        self._order("exit", _lab.leave)
        self._worker.join(30)
        self._in_calibration = False
        self._state = calibration_state.not_yet_entered
        return True

    def calibration_collect_data(self, coordinates, eye=None):
        x, y = coordinates
        self.is_in_calibration_mode(True)

        def collect():
            if not _lab.collect(x, y):
                raise _tobii_lab.Refused(_tobii_lab.FAILED, "not enough data")

        self._order("collect_data", collect, calibration_state.collecting_data)

    def calibration_discard_data(self, coordinates, eye=None):
        x, y = coordinates
        self.is_in_calibration_mode(True)
        self._order("discard_data", lambda: _lab.discard(x, y), calibration_state.discarding_data)

    def calibration_compute_and_apply(self):
        self.is_in_calibration_mode(True)
        self._order("compute", self._compute, calibration_state.computing)

    def calibration_get_data(self):
        self.is_in_calibration_mode(True)
        get = lambda: {"calibration_data": list(_lab.data())}  # noqa: E731
        self._order("get_calibration_data", get, calibration_state.getting_calibration_data)

    def calibration_apply_data(self, cal_data):
        self.is_in_calibration_mode(True)
        data = bytes(cal_data)
        self._order("apply_calibration_data", lambda: _lab.restore(data), calibration_state.applying_calibration_data)

    def calibration_get_status(self):
        return self._state

    def calibration_retrieve_result(self):
        return self._results.popleft() if self._results else None

    def _order(self, action, call, state=None):
        self._orders.append((action, call, state or calibration_state.awaiting_cal_point))
        if action == "enter":
            self._worker = _threading.Thread(target=self._work, name="fake TittaPy", daemon=True)
            self._worker.start()

    def _work(self):
        while True:
            if not self._orders:
                _threading.Event().wait(0.001)
                continue
            action, call, self._state = self._orders[0]
            result = {"work_item": {"action": getattr(calibration_action, action)}, "status": 0, "status_string": "ok"}
            try:
                result.update(call() or {})
            except _tobii_lab.Refused as refused:
                code, name, text = _code(refused)
                result["status"], result["status_string"] = code, f"Tobii SDK code: {code}: {name} ({text})"
            self._state = calibration_state.awaiting_cal_point
            self._results.append(result)
            self._orders.popleft()
            if action == "exit":
                self._state = calibration_state.left
                return

    @staticmethod
    def _compute():
        eyes = _lab.compute()
        if not eyes:
            raise _tobii_lab.Refused(_tobii_lab.FAILED, "not enough data")
        validity = calibration_eye_validity
        points = []
        for x, y in _lab.collected:
            point = {
                "position_on_display_area_x": float(_np.float32(x)),
                "position_on_display_area_y": float(_np.float32(y)),
            }
            for eye in ("left", "right"):
                used = validity.valid_and_used if eye in eyes else validity.invalid_and_not_used
                point[f"samples_{eye}_validity"] = [used]
                point[f"samples_{eye}_position_on_display_area_x"] = _np.array([x], _np.float32)
                point[f"samples_{eye}_position_on_display_area_y"] = _np.array([y], _np.float32)
            points.append(point)
        status = {("left",): calibration_status.success_left_eye, ("right",): calibration_status.success_right_eye}
        held = status.get(eyes, calibration_status.success)
        return {"calibration_result": {"points": points, "status": held}}
