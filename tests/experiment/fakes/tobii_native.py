"""Below `tobii_research`: the compiled library that its Python layers call, before a fake tracker; a session on it.

The package asks its library for everything by `call_function(name, arguments, callback)`. `Native` answers in its
place, with the library's numbers for errors and the forms of data that the package's own classes check, so that all of
the vendor's Python runs as it does in a lab: subscriptions, statuses, results, exceptions. As a program this runs a
whole session on it: `python tobii_native.py STUDY EYES BLIND_EYE FAULT`; its last line is JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tobii_lab

# The library's numbers for what a lab refuses; "state" is for a calibration that was begun already, or not at all.
ERRORS = {
    tobii_lab.CONNECTION: 204, tobii_lab.LICENCE: 201, tobii_lab.UNSUPPORTED: 202, tobii_lab.FAILED: 214, "value": 13,
}  # fmt: skip
ALREADY_STARTED, NOT_STARTED, OPERATION_FAILED = 210, 211, 214
# Streams by the package's number of their type.
STREAMS = {1: "gaze", 3: "sync", 4: "error", 5: "notification", 7: "position"}


class Native:
    """Answers the package's calls out of a lab; `rows` makes a lab's words the data of a stream."""

    def __init__(self, lab: tobii_lab.Lab, rows: dict[str, Callable[[Any], dict[str, Any]]]) -> None:
        self.lab, self.rows = lab, rows
        self.listening: dict[int, Callable[[Any], None]] = {}

    def call_function(self, name: str, arguments: tuple[Any, ...], callback: Callable[[Any], None]) -> int:
        """As the compiled module: 0 where the call itself was taken, its result by the callback, an error in front."""
        try:
            result = getattr(self, name)(*arguments)
        except tobii_lab.Refused as refused:
            begun = "already" in str(refused)
            state = ALREADY_STARTED if begun else NOT_STARTED
            callback((state if refused.kind == tobii_lab.STATE else ERRORS[refused.kind],))
        else:
            callback((0,) if result is None else (0, result))
        return 0

    # What it is asked for. The first argument is the library's handle of a tracker.

    def terminate(self) -> None: ...

    def get_sdk_version(self) -> str:
        return "2.1.0.0"

    def get_system_time_stamp(self) -> int:
        return self.lab.system_us()

    def _data(self, serial: str, model: str, address: str) -> dict[str, Any]:
        can = ["capability_can_set_display_area", "capability_has_gaze_data"]
        can += ["capability_can_do_screen_based_calibration"] if self.lab.script.calibrates else []
        return {
            "address": address, "device_name": "", "serial_number": serial, "model": model, "core_eyetracker": 77,
            "firmware_version": self.lab.script.firmware, "runtime_version": "n/a", "device_capabilities": tuple(can),
        }  # fmt: skip

    def find_all_eyetrackers(self) -> list[dict[str, Any]]:
        return [self._data(*device) for device in self.lab.devices()]

    def get_device(self, address: str) -> dict[str, Any]:
        self.lab.take(address)
        return self._data(self.lab.script.serial, self.lab.script.model, address)

    def get_all_gaze_output_frequencies(self, _: int) -> list[float]:
        self.lab.reach()
        return list(self.lab.script.rates)

    def get_gaze_output_frequency(self, _: int) -> float:
        self.lab.reach()
        return self.lab.script.rate_hz

    def set_gaze_output_frequency(self, _: int, rate_hz: float) -> None:
        self.lab.set_rate(rate_hz)

    def get_all_eye_tracking_modes(self, _: int) -> list[str]:
        self.lab.reach()
        return list(self.lab.script.modes)

    def get_eye_tracking_mode(self, _: int) -> str:
        self.lab.reach()
        return self.lab.script.mode

    def set_eye_tracking_mode(self, _: int, mode: str) -> None:
        self.lab.set_mode(mode)

    def get_display_area(self, _: int) -> dict[str, tuple[float, float, float]]:
        self.lab.reach()
        return dict(self.lab.script.area)

    def apply_licenses(self, _: int, licences: tuple[bytes, ...]) -> list[int]:
        self.lab.reach()
        return [0 for _ in licences]

    def subscribe_to(self, kind: int, _: int, callback: Callable[[Any], None]) -> None:
        stream = STREAMS[kind]

        def listener(what: Any) -> None:
            callback(self.rows[stream](what))

        self.lab.listen(stream, listener)
        self.listening[kind] = listener

    def unsubscribe_from(self, kind: int, _: int) -> None:
        self.lab.unlisten(STREAMS[kind], self.listening.pop(kind))

    def calibration_enter_calibration_mode(self, _: int) -> None:
        self.lab.enter()

    def calibration_leave_calibration_mode(self, _: int) -> None:
        self.lab.leave()

    def screen_based_calibration_collect_data(self, _: int, x: float, y: float) -> None:
        if not self.lab.collect(x, y):
            raise tobii_lab.Refused(tobii_lab.FAILED, "there was not enough gaze")

    def screen_based_calibration_discard_data(self, _: int, x: float, y: float) -> None:
        self.lab.discard(x, y)

    def calibration_compute_and_apply(self, _: int) -> None:
        self.eyes = self.lab.compute()
        if not self.eyes:
            raise tobii_lab.Refused(tobii_lab.FAILED, "nothing could be computed")

    def screen_based_calibration_get_calibration_points(self, _: int) -> list[dict[str, Any]]:
        """One row a sample, those of a place one after the other; places are in single precision."""
        rows = []
        for place in self.lab.collected:
            near = tuple(round(share, 7) for share in place)
            validity = {eye: 1 if eye in self.eyes else -1 for eye in ("left", "right")}
            rows += [
                {
                    "position": near, "left_sample_position": near, "left_validity": validity["left"],
                    "right_sample_position": near, "right_validity": validity["right"],
                }
            ] * 3  # fmt: skip
        return rows

    def calibration_retrieve(self, _: int) -> bytes:
        return self.lab.data()

    def calibration_apply(self, _: int, data: bytes) -> None:
        self.lab.restore(data)

    def report_stream_error(self, _: int, text: str) -> None:
        self.lab.tell("error", ("user", text))


def session(folder: Path, eyes: str, blind_eye: str, fault: str) -> dict[str, Any]:
    """A session on the vendor's Python above `Native`; how it ended, and what the lab handed over."""
    import fake_tobii_research as forms  # the forms of its streams' data, which the package's own classes check
    import tobii_research
    from tobii_display import LabDisplay
    from tobiiresearch.interop.python3 import tobii_research_interop

    from beholder.experiment.headless import ScriptedOperator, ScriptedParticipant, VirtualClock
    from beholder.experiment.plan import plan_session
    from beholder.experiment.session.parts import Pace, SessionSetup
    from beholder.experiment.session.run_session import run_session
    from beholder.experiment.trackers.tobii.adapter import TobiiTracker
    from beholder.shared.errors import BeholderError
    from beholder.shared.stimuli.folder import read_stimuli
    from beholder.shared.study import read_study

    study = read_study(folder)
    of_tobii = study.tobii.model_copy(update={"show_position": False, "tracking_mode": "great_ape"})
    wanted = {"name": "tobii", "rate_hz": 120.0, "eyes": eyes}
    study = study.model_copy(update={"tracker": study.tracker.model_copy(update=wanted), "tobii": of_tobii})
    assert study.screen is not None
    clock = VirtualClock()
    script = tobii_lab.Script(blind_eye=blind_eye, fault=fault, fault_at_sample=1500 if fault else -1)
    lab = tobii_lab.Lab(script, clock.now_s)
    forms._use(lab)
    rows = {"gaze": forms._gaze, "sync": forms._sync, "error": forms._error, "notification": forms._notification}
    native = Native(lab, {**rows, "position": forms._position})
    tobii_research_interop.call_function = native.call_function
    display = LabDisplay(lab, study.screen.screen(), ScriptedParticipant(), clock)
    tracker = display.tracker = TobiiTracker(clock, study.tobii, tobii_research)
    plan = plan_session(study, read_stimuli(folder / "stimuli")[0], "01", [])
    said, failures, status = "", [], "lost"
    try:
        outcome = run_session(
            SessionSetup(folder, study, plan, display, tracker, ScriptedOperator()),
            Pace(sync_every_s=None, pump_every_s=0.05),
            ask_form=False,
        )
        status, said, failures = outcome.status, outcome.reason, list(outcome.failures)
    except BeholderError as error:
        said = str(error)
    delivered = [(s.system_us, s.left, s.right) for s in lab.delivered]
    return {"status": status, "said": said, "failures": failures, "delivered": delivered, "calls": lab.calls,
            "left open": sorted(native.listening)}  # fmt: skip


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[3])]
    folder, *words = sys.argv[1:]
    print(json.dumps(session(Path(folder), *words)), flush=True)
    # The real library is not to be taken down: it was never used.
    os._exit(0)
