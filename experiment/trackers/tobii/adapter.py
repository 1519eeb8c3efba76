"""A Tobii eye tracker: found, set as the study asks, calibrated, recorded, and let go of in every case.

    find -> licence -> calibrated on a screen? -> display area -> rate -> (head position, calibration) -> gaze

What the tracker cannot do as asked is an error with its remedy; nothing is made up and nothing falls back. The two
packages that speak to Tobii's SDK stand behind `sdk.TobiiSdk`; which of them is used makes no difference here.

**One clock.** Samples bear the SDK's system time, in seconds. The SDK maps each sample's device time onto the system's
clock and follows the drift between the two; the system's clock can be read together with ours at any moment, the
device's only about once a second. What that mapping rests on is kept beside the recording, in `sourcedata`: the SDK's
synchronisation data (`tobii-time-sync.tsv`) and each sample's device time (`tobii-device-time.tsv.gz`).

**Waiting.** Steps of a calibration take seconds. They run in a thread of their own while the display goes on, so that
the session hears keys, operator and tracker meanwhile.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from math import asin, atan2, degrees
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from beholder.experiment.calibration import FEWEST_POINTS, show_target, stand
from beholder.experiment.devices import (
    Batch,
    Bitmap,
    Calibration,
    Click,
    Clock,
    ClockPair,
    CloseReport,
    Display,
    Dot,
    Key,
    Notice,
    Shape,
    Text,
)
from beholder.experiment.pages import FAILED_COLOUR, FAINT, INK, PASSED_COLOUR, degree_px, row
from beholder.experiment.trackers.tobii.packages import installed, speaking
from beholder.experiment.trackers.tobii.sdk import (
    Computed,
    Device,
    DisplayArea,
    EyePositions,
    Gaze,
    SdkError,
    TimeSync,
    TobiiSdk,
    Trouble,
)
from beholder.shared.errors import TrackerError
from beholder.shared.gaze import Eye, Samples, eyes_of, no_samples
from beholder.shared.recording.records import Point
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.study import TobiiSettings, TrackerSettings

# A tracker on the network may miss the first call.
TRIES_TO_FIND = 2
# A step of a calibration is given up after this long, leaving the calibration after less.
LONGEST_STEP_S, LONGEST_LEAVE_S = 10.0, 4.0
# Between two looks at a step under way, and between two pictures of the head's position.
STEP_S = 0.02
# The eye has this long to settle on a target before gaze on it is collected.
SETTLES_S = 0.3
# A key pressed sooner after a screen's onset is no answer to it: nobody has seen the screen yet.
EARLY_S = 0.2
# A display area beyond these was not set up well: roll and turn, lean, a corner's deviation from a right angle.
CROOKED_DEG, LEANING_DEG, SKEWED_DEG = 5.0, 45.0, 2.0
SMALLEST_MM = 50.0
RESUME = "and run again, with --resume to go on"

T = TypeVar("T")


class TobiiTracker:
    """Records with the Tobii tracker that `[tracker] address` names, or with the only one there is.

    `clock` is the display's. `sdk` is a package to use instead of the one that is installed.
    """

    escape_is_its_own = False

    def __init__(self, clock: Clock, settings: TobiiSettings, sdk: Any = None) -> None:
        self._clock, self._settings, self._package = clock, settings, sdk
        self._sdk: TobiiSdk | None = None
        self._calls: _Calls | None = None
        self._recording = False
        self._closed = False
        # Whether the tracker is in its calibration mode, and the points that it holds gaze of, by number.
        self._calibrating = False
        self._collected: dict[int, Point] = {}
        # What is still to be told, and what failed and can only be told at the end.
        self._notices: list[Notice] = []
        self._failures: list[str] = []
        self._lost = False
        # What goes into the vendor's files: system and device time of each sample, and the synchronisations.
        self._times_us: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        self._time_syncs: list[TimeSync] = []

    # Reaching it.

    def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
        """Find the tracker and set it as asked; raises TrackerError, with the remedy, where that cannot be."""
        self._screen, self._rate_hz, self._eyes = screen, wanted.rate_hz, eyes_of(wanted.eyes)
        sdks = installed() if self._package is None else [speaking(self._package)]
        try:
            sdk, device = _taken(sdks, wanted.address)
            self._sdk = sdk
            self._apply_licence(sdk)
            if not sdk.can_calibrate():
                raise TrackerError(
                    f"the {device.model} cannot be calibrated on a screen: take a screen-based Tobii tracker, or get a "
                    "licence for this one."
                )
            if problem := display_area_problem(sdk.display_area(), screen, self._settings.display_area_percent):
                raise TrackerError(
                    f"the display area set up in the tracker {problem}: measure the screen for [screen] of study.toml, "
                    "and set the tracker up in Tobii's Eye Tracker Manager."
                )
            # Before the rate: the possible rates depend on the mode.
            mode = self._set_mode(sdk)
            self._set_rate(sdk, wanted.rate_hz)
            sdk.listen()
            # This also takes away the notifications of what was just set.
            if any(trouble.kind == "lost" for trouble in sdk.troubles()):
                raise SdkError("connection", "it went while it was set up")
        except SdkError as error:
            raise _refused(error, "setting it up") from None
        return TrackerInfo(
            manufacturer="Tobii",
            model=device.model,
            serial=device.serial,
            software=f"{sdk.software}, firmware {device.firmware}",
            rate_hz=wanted.rate_hz,
            eyes=self._eyes,
            pupil_unit="mm",
            pupil_measure="diameter",
            simulated=False,
            tracking_mode=mode,
        )

    def _apply_licence(self, sdk: TobiiSdk) -> None:
        if not self._settings.license_file:
            return
        path = Path(self._settings.license_file).expanduser()
        try:
            key = path.read_bytes()
        except OSError as error:
            raise TrackerError(
                f"the licence file {path} cannot be read ({error.strerror}): mend [tobii] license_file in study.toml."
            ) from None
        if why := sdk.apply_licence(key):
            raise TrackerError(
                f"the tracker refused the licence {path} ({why.replace('_', ' ')}): ask Tobii for one for this tracker "
                "and this date."
            )

    def _set_mode(self, sdk: TobiiSdk) -> str:
        """Set the tracking mode that the study names; returns the mode in use, empty where the tracker has none."""
        wanted = self._settings.tracking_mode
        try:
            possible = sdk.modes()
            if wanted and wanted not in possible:
                there = ", ".join(possible) or "none"
                raise TrackerError(
                    f'this tracker has no tracking mode "{wanted}", but {there}: change [tobii] tracking_mode in '
                    "study.toml, or leave it empty for the one that it is set to."
                )
            if wanted:
                sdk.set_mode(wanted)
            mode = sdk.mode()
        except SdkError as error:
            if error.kind == "unsupported" and not wanted:
                return ""
            raise
        if wanted and mode != wanted:
            raise TrackerError(
                f'the tracker stays in the mode "{mode}" where "{wanted}" was asked for: close other programs that use '
                "it, and switch it off and on."
            )
        return mode

    @staticmethod
    def _set_rate(sdk: TobiiSdk, rate_hz: float) -> None:
        possible = sorted(sdk.rates_hz())
        if not any(abs(rate - rate_hz) < 0.01 for rate in possible):
            rates = ", ".join(f"{rate:g}" for rate in possible) or "no rate"
            raise TrackerError(
                f"this tracker samples at {rates} Hz, not at {rate_hz:g}: change [tracker] rate_hz in study.toml."
            )
        sdk.set_rate_hz(rate_hz)
        if abs(sdk.rate_hz() - rate_hz) >= 0.01:
            raise TrackerError(
                f"the tracker stays at {sdk.rate_hz():g} Hz where {rate_hz:g} were asked for: close other programs "
                "that use it, and switch it off and on."
            )

    # Calibrating it.

    def calibrate(self, display: Display, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        """Show where the eyes are, then the targets; a target that failed is shown once more.

        A calibration that fails leaves the tracker in its calibration mode, so that single points can be redone. The
        mode ends when a calibration succeeds, when recording begins, and at every other end; after it `redo` collects
        all points anew.
        """
        sdk, calls = self._connected(), self._calls or _Calls()
        self._calls = calls
        self._watch()
        if redo is None:
            self._leave()
            if self._settings.show_position:
                self._show_position(display)
        elif not self._calibrating:
            points = _joined(redo.points, points)
        goes_on = False
        try:
            if not self._calibrating:
                self._collected = {}
                self._calibrating = True
                self._wait(display, calls.begin(sdk.enter), "beginning a calibration")
            targets = _joined(redo.points if redo is not None else (), points)
            for point in points:
                if not self._collect(display, point):
                    self._collect(display, point)
            computed = self._wait(display, calls.begin(sdk.compute), "computing the calibration")
            outcome = self._outcome(targets, computed)
            if outcome.success:
                data = self._wait(display, calls.begin(lambda: _data(sdk)), "reading the calibration")
                outcome = Calibration(True, outcome.points, outcome.failed, outcome.message, data)
            goes_on = not outcome.success
        finally:
            if not goes_on:
                self._leave()
        return outcome

    def restore(self, data: bytes) -> None:
        """Use a calibration that `Calibration.data` kept. Raises TrackerError where the tracker does not take it."""
        sdk, calls = self._connected(), self._calls or _Calls()
        self._calls = calls
        self._leave()
        try:
            calls.begin(lambda: sdk.restore(data)).result(LONGEST_STEP_S)
        except NotInTime:
            raise TrackerError("the Tobii tracker does not answer: switch it off and on.") from None
        except SdkError as error:
            raise _refused(error, "restoring a calibration") from None

    def eye_positions(self) -> EyePositions:
        """Where the eyes are in the box in which they can be tracked, as the tracker last reported it."""
        return self._connected().positions()

    def _show_position(self, display: Display) -> None:
        """Show the eyes in their box and their distance until the space bar or a click, where the tracker has them."""
        sdk = self._connected()
        box = position_box(display.screen)
        distance_cm: float | None = None
        try:
            sdk.start_positions()
        except SdkError as error:
            if error.kind == "unsupported":
                return
            raise _refused(error, "showing the head's position") from None
        try:
            sdk.start_gaze()
            shown_s: float | None = None
            while True:
                self._watch()
                distance_cm = _distance_cm(sdk.gaze(), distance_cm)
                onset_s = display.show(position_scene(display.screen, box, sdk.positions(), distance_cm))
                shown_s = onset_s if shown_s is None else shown_s
                for event in display.events():
                    pressed = isinstance(event, Click) or (isinstance(event, Key) and event.name == "space")
                    if pressed and event.at_s >= shown_s + EARLY_S:
                        return
                display.hold(self._clock.now_s() + STEP_S)
        except SdkError as error:
            raise _refused(error, "showing the head's position") from None
        finally:
            for stop in (sdk.stop_positions, sdk.stop_gaze):
                with suppress(SdkError):
                    stop()

    def _collect(self, display: Display, point: Point) -> bool:
        """Show a target and collect gaze on it; False where there was not enough."""
        sdk, calls = self._connected(), self._calls
        assert calls is not None
        place = point.x_px / self._screen.width_px, point.y_px / self._screen.height_px
        if self._collected.pop(point.number, None) is not None:
            self._wait(display, calls.begin(lambda: sdk.discard(*place)), "discarding a target")
        stand(display, show_target(display, point) + SETTLES_S)
        if not self._wait(display, calls.begin(lambda: sdk.collect(*place)), f"collecting target {point.number}"):
            return False
        self._collected[point.number] = point
        return True

    def _outcome(self, targets: Sequence[Point], computed: Computed) -> Calibration:
        """The calibration's outcome: a success where it holds for every recorded eye, each with enough targets."""
        used = {point.number: self._eyes_used(point, computed) for point in targets}
        failed = tuple(number for number, eyes in used.items() if not set(self._eyes) <= set(eyes))
        reasons = []
        for eye in self._eyes:
            count = sum(eye in eyes for eyes in used.values())
            if eye not in computed.eyes:
                reasons.append(f"the tracker could not calibrate the {eye} eye")
            elif count < FEWEST_POINTS:
                reasons.append(
                    f"gaze of the {eye} eye was used on {count} of {len(targets)} targets, {FEWEST_POINTS} needed"
                )
        held = len(targets) - len(failed)
        message = "; ".join(reasons) or f"{held} of {len(targets)} targets"
        return Calibration(not reasons, tuple(targets), failed, message)

    def _eyes_used(self, point: Point, computed: Computed) -> tuple[Eye, ...]:
        """The eyes whose gaze on a target was used; the SDK names targets by their place, in single precision."""
        if point.number not in self._collected:
            return ()
        x, y = point.x_px / self._screen.width_px, point.y_px / self._screen.height_px
        near = [eyes for place, eyes in computed.used.items() if abs(place[0] - x) + abs(place[1] - y) < 1e-3]
        return near[0] if near else ()

    def _leave(self) -> None:
        """End a calibration, if one is under way; what goes wrong is reported by `close`."""
        if not self._calibrating or self._sdk is None or self._calls is None:
            return
        self._calibrating = False
        self._collected = {}
        try:
            self._calls.begin(self._sdk.leave).result(LONGEST_LEAVE_S)
        except NotInTime:
            self._failures.append(
                "the Tobii tracker did not end its calibration: switch it off and on before it is used"
            )
        except SdkError as error:
            # A tracker that is gone, or was not in a calibration, has nothing to end.
            if error.kind not in ("connection", "state"):
                self._failures.append(str(_refused(error, "ending the calibration")))

    def _wait(self, display: Display, step: Future[T], doing: str) -> T:
        """The result of a step; the display goes on meanwhile. Raises TrackerError where it fails or never ends."""
        until_s = self._clock.now_s() + LONGEST_STEP_S
        while not step.done():
            self._watch()
            if self._clock.now_s() >= until_s:
                raise TrackerError(
                    f"the Tobii tracker did not answer for {LONGEST_STEP_S:g} s while {doing}: switch it off and on, "
                    f"{RESUME}."
                )
            display.hold(self._clock.now_s() + STEP_S)
        try:
            return step.result()
        except SdkError as error:
            raise _refused(error, doing) from None

    # Recording.

    def start(self) -> None:
        """Begin to record. Raises TrackerError where the tracker is gone, or has no licence for gaze."""
        sdk = self._connected()
        self._leave()
        self._watch()
        try:
            sdk.start_gaze()
        except SdkError as error:
            raise _refused(error, "starting to record") from None
        self._recording = True

    def read(self) -> Batch:
        """The samples and the tracker's reports since the last call."""
        if self._sdk is None:
            return Batch(no_samples())
        try:
            gaze = self._sdk.gaze()
            self._listen(self._sdk)
        except SdkError as error:
            raise _refused(error, "reading gaze") from None
        notices, self._notices = tuple(dict.fromkeys(self._notices)), []
        if not len(gaze):
            return Batch(no_samples(), notices=notices)
        self._times_us.append(np.stack([gaze["system_us"], gaze["device_us"]], axis=1))
        return Batch(self._samples(gaze), notices=notices)

    def clocks(self) -> ClockPair:
        """The session's clock read before and after the system's clock of the SDK; the closest of three readings."""
        sdk = self._connected()
        pairs = []
        try:
            for _ in range(3):
                before_s = self._clock.now_s()
                system_us = sdk.system_us()
                pairs.append(ClockPair(before_s, system_us / 1e6, self._clock.now_s()))
        except SdkError as error:
            raise _refused(error, "reading its clock") from None
        return min(pairs, key=lambda pair: pair.after_s - pair.before_s)

    def message(self, text: str, at_s: float) -> None:
        """Do nothing: a Tobii tracker has no file of its own."""

    def stop(self) -> None:
        """End recording; the samples that came can still be read. A failure is reported by `close`."""
        if self._sdk is None or not self._recording:
            return
        self._recording = False
        try:
            self._sdk.stop_gaze()
        except SdkError as error:
            if error.kind != "connection":
                self._failures.append(str(_refused(error, "ending the recording")))

    def close(self, save_to: Path) -> CloseReport:
        """Let go of the tracker; the times of the samples and the synchronisations go to `save_to`, if any came."""
        if self._closed or self._sdk is None:
            return CloseReport()
        self._closed = True
        sdk = self._sdk
        self.stop()
        self._leave()
        with suppress(SdkError):
            self._listen(sdk)
        # A tracker that is lost once all was recorded does no harm: fatal notices are left out.
        self._failures += [notice.text for notice in self._notices if not notice.fatal]
        try:
            sdk.close()
        except SdkError as error:
            if error.kind != "connection":
                self._failures.append(str(_refused(error, "closing it")))
        files = self._write(save_to) if self._times_us else ()
        return CloseReport(files, tuple(self._failures))

    def _write(self, folder: Path) -> tuple[Path, ...]:
        """Write the synchronisations and each sample's device time; returns the files that were written."""
        syncs, times = folder / "tobii-time-sync.tsv", folder / "tobii-device-time.tsv.gz"
        head = "system_request_us\tdevice_us\tsystem_response_us\n"
        rows = "".join(f"{a}\t{b}\t{c}\n" for a, b, c in self._time_syncs)
        stamps = np.concatenate(self._times_us).tolist()
        text = "system_us\tdevice_us\n" + "".join(f"{a}\t{b}\n" for a, b in stamps)
        written = []
        for path, data in ((syncs, (head + rows).encode()), (times, gzip.compress(text.encode(), 3, mtime=0))):
            try:
                path.write_bytes(data)
                written.append(path)
            except OSError as error:
                self._failures.append(
                    f"{path.name} could not be written ({error.strerror}): gaze itself is not affected"
                )
        return tuple(written)

    def _samples(self, gaze: Gaze) -> Samples:
        """Tobii's gaze as samples, in px of the screen and seconds of the system's clock."""
        samples = no_samples(len(gaze))
        samples["time_s"] = gaze["system_us"] / 1e6
        for eye in self._eyes:
            samples[f"{eye}_x_px"] = gaze[f"{eye}_x"] * self._screen.width_px
            samples[f"{eye}_y_px"] = gaze[f"{eye}_y"] * self._screen.height_px
            samples[f"{eye}_pupil"] = gaze[f"{eye}_pupil_mm"]
        return samples

    # What the tracker reports.

    def _connected(self) -> TobiiSdk:
        if self._sdk is None:
            raise TrackerError("the Tobii tracker is not connected.")
        return self._sdk

    def _listen(self, sdk: TobiiSdk) -> None:
        """Fetch the time synchronisations, and what the tracker reported into `_notices`."""
        self._time_syncs += sdk.time_syncs()
        for trouble in sdk.troubles():
            if trouble.kind == "lost" and self._lost:
                continue
            self._lost = self._lost or trouble.kind == "lost"
            if (notice := notice_of(trouble, self._rate_hz)) is not None:
                self._notices.append(notice)

    def _watch(self) -> None:
        """Between recordings: raise TrackerError for a fatal notice; the others wait for `read`."""
        try:
            self._listen(self._connected())
        except SdkError as error:
            raise _refused(error, "listening to it") from None
        for notice in self._notices:
            if notice.fatal:
                self._notices.remove(notice)
                raise TrackerError(f"{notice.text}.")


class _Calls:
    """A thread for the calls that wait for the tracker, one after the other; it ends with the program."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self.latest: Future[Any] | None = None
        threading.Thread(target=self._work, name="tobii", daemon=True).start()

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Have a call made once those before it are done; returns its future result."""
        future: Future[T] = Future()
        self.latest = future
        self._waiting.put((future, call))
        return future

    def _work(self) -> None:
        while True:
            future, call = self._waiting.get()
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


# ------------------------------------------------------------------------------------------------------- sentences


def _taken(sdks: Iterable[TobiiSdk], wanted: str) -> tuple[TobiiSdk, Device]:
    """The first package that finds the tracker that the study means, or reaches its address, and the tracker.

    Raises TrackerError where none is found or several may be meant; SdkError where an address does not answer.
    """
    if "://" in wanted:
        refusals = []
        for sdk in sdks:
            try:
                return sdk, sdk.connect(wanted)
            except SdkError as error:
                refusals.append(error)
        raise refusals[0]
    found: list[Device] = []
    for sdk in sdks:
        for _ in range(TRIES_TO_FIND):
            there = sdk.devices()
            found += [device for device in there if device not in found]
            meant = [device for device in there if not wanted or device.serial == wanted]
            if len(meant) == 1 and (wanted or len(there) == 1):
                return sdk, sdk.connect(meant[0].address)
            if meant:
                break
    named = ", ".join(sorted({f"{device.serial} ({device.model})" for device in found}))
    if not found:
        raise TrackerError(
            "no Tobii tracker was found: check that it is switched on and plugged in, and that Tobii's Eye Tracker "
            "Manager sees it."
        )
    if wanted:
        raise TrackerError(
            f"the Tobii tracker {wanted} was not found, but {named}: mend [tracker] address in study.toml, or plug "
            "it in."
        )
    raise TrackerError(
        f"several Tobii trackers were found, {named}: write the serial number of yours into [tracker] address of "
        "study.toml."
    )


def _refused(error: SdkError, doing: str) -> TrackerError:
    """An SDK error as a TrackerError: a sentence with the remedy."""
    said = str(error).rstrip(".")
    sentences = {
        "connection": f"the Tobii tracker cannot be reached ({said}): check its cable and power, {RESUME}.",
        "licence": f"the Tobii tracker lacks a licence for {doing} ({said}): write the file that Tobii sent into "
        "[tobii] license_file of study.toml.",
        "unsupported": f"this Tobii tracker is not made for {doing} ({said}): see its manual for what it supports.",
        "state": f"the Tobii tracker is busy, {doing} failed ({said}): close other programs that use it.",
    }
    other = f"the Tobii tracker failed at {doing} ({said}): switch it off and on, {RESUME}."
    return TrackerError(sentences.get(error.kind, other))


def notice_of(trouble: Trouble, rate_hz: float) -> Notice | None:
    """What the operator must know of a trouble; None where this program caused it."""
    if trouble.kind == "lost":
        return Notice(f"the connection to the Tobii tracker was lost: check its cable and power, {RESUME}", fatal=True)
    if trouble.kind == "rate":
        if abs(trouble.value - rate_hz) < 0.01:
            return None
        text = (
            f"another program set the Tobii tracker to {trouble.value:g} Hz instead of {rate_hz:g}: close it, {RESUME}"
        )
        return Notice(text, fatal=True)
    if trouble.kind == "display area":
        text = f"another program changed the Tobii tracker's display area, so that gaze is off: close it, {RESUME}"
        return Notice(text, fatal=True)
    if trouble.kind == "overflow":
        return Notice(
            "samples were lost: the computer was too busy to take them from the tracker; close other programs"
        )
    if trouble.kind == "restored":
        return Notice("the Tobii tracker is connected again")
    return Notice(f"the Tobii tracker reports: {trouble.text}")


def display_area_problem(area: DisplayArea, screen: Screen, percent: float) -> str:
    """What is wrong with a display area, as the end of a sentence; empty where it fits the screen.

    Its sides may differ from the screen's by `percent`, and its middle may be beside the tracker's by `percent` of its
    width.

    >>> flat = DisplayArea((-265, 300, 0), (265, 300, 0), (-265, 2, 0))
    >>> display_area_problem(flat, Screen(1920, 1080, 53.0, 29.8, 60.0), 5.0)
    ''
    """
    corners = np.array([area.top_left, area.top_right, area.bottom_left], np.float64)
    across, down = corners[1] - corners[0], corners[2] - corners[0]
    width_mm, height_mm = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    # Comparisons with NaN are false: an area of NaN was not set up.
    if not (width_mm >= SMALLEST_MM and height_mm >= SMALLEST_MM):
        return "has no size: it was never set up"
    for mm, cm in ((width_mm, screen.width_cm), (height_mm, screen.height_cm)):
        if abs(mm / 10 - cm) > percent / 100 * cm:
            return (
                f"is {width_mm / 10:.1f} x {height_mm / 10:.1f} cm, and the study's screen {screen.width_cm:g} x "
                f"{screen.height_cm:g} cm"
            )
    skewed_deg = abs(degrees(asin(float(across @ down) / (width_mm * height_mm))))
    if skewed_deg > SKEWED_DEG:
        return f"is no rectangle (a corner is off by {skewed_deg:.0f} degrees)"
    rolled_deg = abs(degrees(atan2(across[1], across[0])))
    turned_deg = abs(degrees(asin(across[2] / width_mm)))
    leaning_deg = abs(degrees(atan2(down[2], -down[1])))
    if rolled_deg > CROOKED_DEG or turned_deg > CROOKED_DEG:
        return f"stands crooked before the tracker (rolled by {rolled_deg:.0f}, turned by {turned_deg:.0f} degrees)"
    if leaning_deg > LEANING_DEG:
        return f"leans by {leaning_deg:.0f} degrees"
    beside_mm = float(corners[1, 0] + corners[2, 0]) / 2
    if abs(beside_mm) > percent / 100 * width_mm:
        return f"has its middle {abs(beside_mm) / 10:.1f} cm beside the tracker's"
    return ""


# ------------------------------------------------------------------------------------------------- head's position

_BOX_DEG, _GOOD, _EYE_DEG = (20.0, 12.0), (0.25, 0.75), 1.2


def position_box(screen: Screen) -> Bitmap:
    """The box in which eyes can be tracked, seen from the front; the inner rectangle is where they should be."""
    unit_px = degree_px(screen)
    size = round(_BOX_DEG[0] * unit_px), round(_BOX_DEG[1] * unit_px)
    image = Image.new("RGB", size, "#ececec")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=INK, width=max(1, round(0.06 * unit_px)))
    inner = (_GOOD[0] * size[0], _GOOD[0] * size[1], _GOOD[1] * size[0], _GOOD[1] * size[1])
    draw.rectangle(inner, outline=FAINT, width=max(1, round(0.06 * unit_px)))
    x_px, y_px = screen.centre_px
    return Bitmap(image, x_px, y_px - 2 * unit_px)


def position_scene(screen: Screen, box: Bitmap, eyes: EyePositions, distance_cm: float | None) -> list[Shape]:
    """The eyes in their box: green where they are well placed, larger the nearer they are; and their distance."""
    unit_px = degree_px(screen)
    scene: list[Shape] = [box]
    for position in (eyes.left, eyes.right):
        if position is None:
            continue
        x, y, z = (min(max(share, 0.0), 1.0) for share in position)
        good = all(_GOOD[0] <= share <= _GOOD[1] for share in (x, y, z))
        x_px = box.x_px + (x - 0.5) * box.image.width
        y_px = box.y_px + (y - 0.5) * box.image.height
        scene.append(Dot(x_px, y_px, _EYE_DEG * (1.5 - z) * unit_px, PASSED_COLOUR if good else FAILED_COLOUR))
    x_px, y_px = screen.centre_px
    words = "? cm" if distance_cm is None else f"{distance_cm:.0f} cm"
    # Neither text has a word that would have to be translated.
    return [*scene, Text(words, x_px, y_px + 5.5 * unit_px, unit_px), *row(screen, [("space", "OK")], 8.0, 4.0)]


def _distance_cm(gaze: Gaze, before_cm: float | None) -> float | None:
    """The eyes' distance from the tracker in the latest sample that has it, else `before_cm`."""
    eyes_mm = np.stack([gaze["left_eye_mm"], gaze["right_eye_mm"]]) if len(gaze) else np.empty((2, 0, 3))
    distances_cm = np.linalg.norm(eyes_mm, axis=-1) / 10
    seen = distances_cm[:, ~np.isnan(distances_cm).all(axis=0)]
    return float(np.nanmean(seen[:, -1])) if seen.shape[1] else before_cm


# ------------------------------------------------------------------------------------------------------ calibration


def _joined(points: Sequence[Point], others: Sequence[Point]) -> tuple[Point, ...]:
    """The points of both, in order of their numbers, each number once."""
    return tuple({p.number: p for p in sorted((*points, *others), key=lambda p: p.number)}.values())


def _data(sdk: TobiiSdk) -> bytes:
    """The calibration's data to be kept; empty where they cannot be read, which must not end a session."""
    try:
        return sdk.data()
    except SdkError as error:
        if error.kind == "connection":
            raise
        return b""
