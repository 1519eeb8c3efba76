"""Tobii's package `tobii_research` without a tracker: its names, strings and strictness, before a `tobii_lab.Lab`.

Every public name is one of the real package's (`test_tobii_contract` compares them); another one raises, as there.
`_use` hands it the lab.
"""

import sys as _sys
from pathlib import Path as _Path

_sys.path.append(str(_Path(__file__).parent))
import tobii_lab as _tobii_lab

__version__ = "2.1.0.1"

_lab = None


def _use(lab):
    global _lab
    _lab = lab


def _use_environment():
    _use(_tobii_lab.from_environment())


CALIBRATION_STATUS_FAILURE = "calibration_status_failure"
CALIBRATION_STATUS_SUCCESS = "calibration_status_success"
CALIBRATION_STATUS_SUCCESS_LEFT_EYE = "calibration_status_success_left_eye"
CALIBRATION_STATUS_SUCCESS_RIGHT_EYE = "calibration_status_success_right_eye"
CAPABILITY_CAN_DO_SCREEN_BASED_CALIBRATION = "capability_can_do_screen_based_calibration"
CAPABILITY_CAN_SET_DISPLAY_AREA = "capability_can_set_display_area"
CAPABILITY_HAS_GAZE_DATA = "capability_has_gaze_data"
EYETRACKER_GAZE_DATA = "eyetracker_gaze_data"
EYETRACKER_NOTIFICATION_CALIBRATION_CHANGED = "eyetracker_notification_calibration_changed"
EYETRACKER_NOTIFICATION_CALIBRATION_MODE_ENTERED = "eyetracker_notification_calibration_mode_entered"
EYETRACKER_NOTIFICATION_CALIBRATION_MODE_LEFT = "eyetracker_notification_calibration_mode_left"
EYETRACKER_NOTIFICATION_CONNECTION_LOST = "eyetracker_notification_connection_lost"
EYETRACKER_NOTIFICATION_CONNECTION_RESTORED = "eyetracker_notification_connection_restored"
EYETRACKER_NOTIFICATION_DEVICE_FAULTS = "eyetracker_notification_device_faults"
EYETRACKER_NOTIFICATION_DEVICE_WARNINGS = "eyetracker_notification_device_warnings"
EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED = "eyetracker_notification_display_area_changed"
EYETRACKER_NOTIFICATION_EYE_TRACKING_MODE_CHANGED = "eyetracker_notification_eye_tracking_mode_changed"
EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED = "eyetracker_notification_gaze_output_frequency_changed"
EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW = "eyetracker_notification_stream_buffer_overflow"
EYETRACKER_STREAM_ERRORS = "eyetracker_stream_errors"
EYETRACKER_TIME_SYNCHRONIZATION_DATA = "eyetracker_time_synchronization_data"
EYETRACKER_USER_POSITION_GUIDE = "eyetracker_user_position_guide"
LICENSE_EXPIRED = "license_expired"
LICENSE_INVALID_SERIAL_NUMBER = "license_invalid_serial_number"
STREAM_ERROR_CONNECTION_LOST = "stream_error_connection_lost"
STREAM_ERROR_INTERNAL_ERROR = "stream_error_internal_error"
STREAM_ERROR_SOURCE_STREAM_PUMP = "stream_error_source_stream_pump"
STREAM_ERROR_SOURCE_USER = "stream_error_source_user"
STREAM_ERROR_USER_ERROR = "stream_error_user_error"
VALIDITY_INVALID_AND_NOT_USED = "validity_invalid_and_not_used"
VALIDITY_VALID_AND_USED = "validity_valid_and_used"
VALIDITY_VALID_BUT_NOT_USED = "validity_valid_but_not_used"


class _Error(Exception):
    def __init__(self, value):
        self.value = value

    def __str__(self):
        return repr(self.value)


class EyeTrackerConnectionFailedError(_Error):
    pass


class EyeTrackerFeatureNotSupportedError(_Error):
    pass


class EyeTrackerInternalError(_Error):
    pass


class EyeTrackerInvalidOperationError(_Error):
    pass


class EyeTrackerLicenseError(_Error):
    pass


class EyeTrackerOperationFailedError(_Error):
    pass


_KINDS = {
    _tobii_lab.CONNECTION: EyeTrackerConnectionFailedError,
    _tobii_lab.LICENCE: EyeTrackerLicenseError,
    _tobii_lab.UNSUPPORTED: EyeTrackerFeatureNotSupportedError,
    _tobii_lab.STATE: EyeTrackerInvalidOperationError,
    _tobii_lab.FAILED: EyeTrackerOperationFailedError,
    "value": ValueError,
}


def _asked(call, *values):
    """What the lab answers; what it refuses is an error of this package."""
    try:
        return call(*values)
    except _tobii_lab.Refused as refused:
        raise _KINDS[refused.kind](f"{refused}. 'se_{refused.kind}'") from None


# Notifications as the lab tells them: their type, and the key of their data.
_NOTIFIED = {
    "lost": (EYETRACKER_NOTIFICATION_CONNECTION_LOST, None),
    "restored": (EYETRACKER_NOTIFICATION_CONNECTION_RESTORED, None),
    "overflow": (EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW, "notification_source_stream"),
    "rate": (EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED, "gaze_output_frequency"),
    "area": (EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED, "display_area"),
    "mode": (EYETRACKER_NOTIFICATION_EYE_TRACKING_MODE_CHANGED, None),
    "faults": (EYETRACKER_NOTIFICATION_DEVICE_FAULTS, "faults"),
    "warnings": (EYETRACKER_NOTIFICATION_DEVICE_WARNINGS, "warnings"),
    "entered": (EYETRACKER_NOTIFICATION_CALIBRATION_MODE_ENTERED, None),
    "left": (EYETRACKER_NOTIFICATION_CALIBRATION_MODE_LEFT, None),
    "calibrated": (EYETRACKER_NOTIFICATION_CALIBRATION_CHANGED, None),
}
_NOTIFICATIONS = {subscription for subscription, _ in _NOTIFIED.values()}


def _notification(what):
    kind, value = what
    subscription, key = _NOTIFIED[kind]
    row = {"notification_type": subscription, "system_time_stamp": _lab.system_us()}
    if key is not None:
        area = {name: _lab.script.area[name] for name in ("bottom_left", "top_left", "top_right")}
        values = {"display_area": area, "notification_source_stream": "gaze_data"}
        row[key] = values.get(key, value)
    return row


def _error(what):
    kind, text = what
    error = {"lost": STREAM_ERROR_CONNECTION_LOST, "user": STREAM_ERROR_USER_ERROR}.get(
        kind, STREAM_ERROR_INTERNAL_ERROR
    )
    source = STREAM_ERROR_SOURCE_USER if kind == "user" else STREAM_ERROR_SOURCE_STREAM_PUMP
    return {"system_time_stamp": _lab.system_us(), "error": error, "source": source, "message": text}


def _gaze(sample):
    # Where something is not valid stale numbers stand: the validity says so, and nothing else.
    row = {"device_time_stamp": sample.device_us, "system_time_stamp": sample.system_us}
    for eye, place in (("left", sample.left), ("right", sample.right)):
        there, at = place is not None, place or (0.5, 0.5)
        row[f"{eye}_gaze_point_on_display_area"] = at
        row[f"{eye}_gaze_point_in_user_coordinate_system"] = (at[0] * 500, at[1] * 300, 0.0)
        row[f"{eye}_gaze_point_validity"] = int(there)
        row[f"{eye}_pupil_diameter"] = sample.pupil_mm
        row[f"{eye}_pupil_validity"] = int(there)
        row[f"{eye}_gaze_origin_in_user_coordinate_system"] = (-30.0 if eye == "left" else 30.0, 100.0, 620.0)
        row[f"{eye}_gaze_origin_validity"] = int(there)
        if _lab.script.keys == "2.0":
            row[f"{eye}_gaze_origin_in_trackbox_coordinate_system"] = (0.5, 0.5, 0.5)
    return row


def _sync(sync):
    names = ("system_request_time_stamp", "device_time_stamp", "system_response_time_stamp")
    return dict(zip(names, sync, strict=True))


def _position(places):
    row = {}
    for eye, place in places.items():
        row[f"{eye}_user_position"] = place if place is not None else (float("nan"),) * 3
        row[f"{eye}_user_position_validity"] = int(place is not None)
    return row


_STREAMS = {
    EYETRACKER_GAZE_DATA: ("gaze", _gaze),
    EYETRACKER_TIME_SYNCHRONIZATION_DATA: ("sync", _sync),
    EYETRACKER_USER_POSITION_GUIDE: ("position", _position),
    EYETRACKER_STREAM_ERRORS: ("error", _error),
}


class DisplayArea:
    def __init__(self, display_area):
        if not isinstance(display_area, dict) or not all(
            isinstance(display_area[name], tuple) for name in ("bottom_left", "top_left", "top_right")
        ):
            raise ValueError("DisplayArea requires a dictionary with corners")
        self._corners = {name: tuple(float(mm) for mm in corner) for name, corner in display_area.items()}

    @property
    def bottom_left(self):
        return self._corners["bottom_left"]

    @property
    def top_left(self):
        return self._corners["top_left"]

    @property
    def top_right(self):
        return self._corners["top_right"]


class FailedLicense:
    def __init__(self, key_string, validation_result):
        self._key, self._result = key_string, validation_result

    @property
    def validation_result(self):
        return self._result


class EyeTracker:
    def __init__(self, address):
        if not isinstance(address, str):
            raise ValueError("An EyeTracker must be initialized with a URI.")
        _asked(_lab.take, address)
        self._of(_lab.script.serial, _lab.script.model, address)

    def _of(self, serial, model, address):
        self._serial, self._model, self._address = serial, model, address
        self._subscribed = {}

    @property
    def address(self):
        return self._address

    @property
    def device_name(self):
        return ""

    @property
    def serial_number(self):
        return self._serial

    @property
    def model(self):
        return self._model

    @property
    def firmware_version(self):
        return _lab.script.firmware

    @property
    def runtime_version(self):
        return "n/a"

    @property
    def device_capabilities(self):
        can = (CAPABILITY_HAS_GAZE_DATA, CAPABILITY_CAN_SET_DISPLAY_AREA)
        return (*can, CAPABILITY_CAN_DO_SCREEN_BASED_CALIBRATION) if _lab.script.calibrates else can

    def apply_licenses(self, license_key_ring):
        if not isinstance(license_key_ring, bytes):
            raise TypeError("the fake takes bytes")
        _asked(_lab.reach)
        if not _lab.script.licence:
            _lab.script.gaze_needs_licence = False
            return ()
        return (FailedLicense(license_key_ring, f"license_{_lab.script.licence}"),)

    def retrieve_calibration_data(self):
        return _asked(_lab.data) or None

    def apply_calibration_data(self, calibration_data):
        if not isinstance(calibration_data, bytes):
            raise ValueError("Calibration data must be applied with a bytes object.")
        _asked(_lab.restore, calibration_data)

    def get_all_gaze_output_frequencies(self):
        _asked(_lab.reach)
        return tuple(_lab.script.rates)

    def get_gaze_output_frequency(self):
        _asked(_lab.reach)
        return _lab.script.rate_hz

    def set_gaze_output_frequency(self, gaze_output_frequency):
        _asked(_lab.set_rate, float(gaze_output_frequency))

    def get_all_eye_tracking_modes(self):
        _asked(_lab.reach)
        return tuple(_lab.script.modes)

    def get_eye_tracking_mode(self):
        _asked(_lab.reach)
        return _lab.script.mode

    def set_eye_tracking_mode(self, eye_tracking_mode):
        _asked(_lab.set_mode, eye_tracking_mode)

    def get_display_area(self):
        _asked(_lab.reach)
        return DisplayArea(_lab.script.area)

    def subscribe_to(self, subscription_type, callback, as_dictionary=False):
        if not callable(callback):
            raise ValueError("An invalid parameter has been sent to the API.")
        if subscription_type not in _STREAMS and subscription_type not in _NOTIFICATIONS:
            raise ValueError("An invalid parameter has been sent to the API.")
        if (subscription_type, callback) in self._subscribed:
            raise EyeTrackerInvalidOperationError("The operation is invalid in this context.")
        if not as_dictionary:
            raise NotImplementedError("the fake hands out dictionaries only")
        stream, form = _STREAMS.get(subscription_type, ("notification", _notification))

        def listener(what):
            row = form(what)
            if stream == "notification" and row["notification_type"] != subscription_type:
                return
            try:
                callback(row)
            except Exception as error:
                # As in the package: swallowed, and told to those who listen to errors.
                if stream != "error":
                    _lab.tell("error", ("user", f"User callback raised exception {type(error).__name__}."))

        _asked(_lab.listen, stream, listener)
        self._subscribed[subscription_type, callback] = (stream, listener)

    def unsubscribe_from(self, subscription_type, callback=None):
        if subscription_type not in _STREAMS and subscription_type not in _NOTIFICATIONS:
            raise ValueError("An invalid parameter has been sent to the API.")
        for key in [k for k in self._subscribed if k[0] == subscription_type and callback in (None, k[1])]:
            _asked(_lab.unlisten, *self._subscribed.pop(key))


class CalibrationEyeData:
    def __init__(self, position_on_display_area, validity):
        self._place, self._validity = position_on_display_area, validity

    @property
    def position_on_display_area(self):
        return self._place

    @property
    def validity(self):
        return self._validity


class CalibrationSample:
    def __init__(self, left_eye, right_eye):
        self._left, self._right = left_eye, right_eye

    @property
    def left_eye(self):
        return self._left

    @property
    def right_eye(self):
        return self._right


class CalibrationPoint:
    def __init__(self, position_on_display_area, calibration_samples):
        self._place, self._samples = position_on_display_area, calibration_samples

    @property
    def position_on_display_area(self):
        return self._place

    @property
    def calibration_samples(self):
        return self._samples


class CalibrationResult:
    def __init__(self, status, calibration_points):
        self._status, self._points = status, calibration_points

    @property
    def status(self):
        return self._status

    @property
    def calibration_points(self):
        return self._points


class ScreenBasedCalibration:
    def __init__(self, eyetracker):
        if not isinstance(eyetracker, EyeTracker):
            raise ValueError("A ScreenBasedCalibration object must be initialized with an EyeTracker.")
        if CAPABILITY_CAN_DO_SCREEN_BASED_CALIBRATION not in eyetracker.device_capabilities:
            raise ValueError("A ScreenBasedCalibration object must be initialized with an EyeTracker that supports it.")

    def enter_calibration_mode(self):
        _asked(_lab.enter)

    def leave_calibration_mode(self):
        _asked(_lab.leave)

    def collect_data(self, x, y):
        return CALIBRATION_STATUS_SUCCESS if _asked(_lab.collect, float(x), float(y)) else CALIBRATION_STATUS_FAILURE

    def discard_data(self, x, y):
        _asked(_lab.discard, float(x), float(y))

    def compute_and_apply(self):
        eyes = _asked(_lab.compute)
        if not eyes:
            return CalibrationResult(CALIBRATION_STATUS_FAILURE, ())
        points = []
        for place in _lab.collected:
            used = [
                VALIDITY_VALID_AND_USED if eye in eyes else VALIDITY_INVALID_AND_NOT_USED for eye in ("left", "right")
            ]
            sample = CalibrationSample(*(CalibrationEyeData(place, validity) for validity in used))
            # The SDK tells places in single precision.
            points.append(CalibrationPoint(tuple(round(share, 7) for share in place), (sample,)))
        # As the package does: points only where both eyes are calibrated.
        if len(eyes) == 1:
            points = []
        status = {
            ("left",): CALIBRATION_STATUS_SUCCESS_LEFT_EYE,
            ("right",): CALIBRATION_STATUS_SUCCESS_RIGHT_EYE,
        }.get(eyes, CALIBRATION_STATUS_SUCCESS)
        return CalibrationResult(status, tuple(points))


def find_all_eyetrackers():
    found = []
    for device in _lab.devices():
        tracker = EyeTracker.__new__(EyeTracker)
        tracker._of(*device)
        found.append(tracker)
    return tuple(found)


def get_system_time_stamp():
    return _lab.system_us()
