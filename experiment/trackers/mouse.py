"""The mouse in the place of an eye tracker, to pilot a study with: gaze is where the pointer is.

It speaks the Protocol of the real ones, and what it records is marked as simulated. A thread reads the pointer at the
asked rate, so that neither drawing nor the disk delays a sample; a reading that comes too late is a lost sample, never
one made up afterwards. The calibration is Beholder's own (`experiment.calibration`). Errors that the study asks for
(noise, bias, loss, blinks) are added after the calibration, which would absorb a bias. There are no pupil sizes.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beholder.experiment.calibration import Correction, fit_correction, gaze_on_target, show_target, stand
from beholder.experiment.devices import Batch, Calibration, ClockPair, CloseReport, Display, Notice
from beholder.experiment.trackers.blinks import Blinks
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import TrackerError
from beholder.shared.gaze import Eye, Samples, eyes_of, no_samples, position
from beholder.shared.recording.records import Point
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.study import MouseSettings, TrackerSettings

SLOWEST_HZ, FASTEST_HZ = 60.0, 1000.0
# While a calibration target stands, gaze counts once the hand has come to rest.
RESTS_AFTER_S, STANDS_S = 0.3, 1.0
# A pointer that cannot be read must not keep the session from ending.
JOIN_S = 0.5


class MouseTracker:
    """Records the pointer of `display`, with the errors of `settings`, drawn from `rng`.

    The tracker's clock is the display's. Errors are drawn sample by sample: with the same seed, the n-th sample has the
    same errors.
    """

    escape_is_its_own = False

    def __init__(self, display: Display, settings: MouseSettings, rng: np.random.Generator) -> None:
        self._display, self._clock = display, display.clock
        self._settings = settings
        # A generator for each kind of error: how often gaze is read must not change what is drawn.
        self._noise, self._losses, self._chance_of_blinks = rng.spawn(3)
        self._pointer: _Pointer | None = None
        self._correction = Correction(True, (), "not calibrated")
        self._gaze_on: dict[int, tuple[Point, float, float, float]] = {}
        self._blinks: Blinks | None = None
        self._recording_from_s = 0.0
        self._closed = False

    def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
        """Take rate, eyes and screen; raises TrackerError at other rates than 60 to 1000 Hz."""
        if not SLOWEST_HZ <= wanted.rate_hz <= FASTEST_HZ:
            raise TrackerError(
                f"the mouse samples at {SLOWEST_HZ:g} to {FASTEST_HZ:g} Hz, not at {wanted.rate_hz:g}: "
                "change [tracker] rate_hz in study.toml."
            )
        self._screen, self._rate_hz = screen, wanted.rate_hz
        self._eyes: tuple[Eye, ...] = eyes_of(wanted.eyes)
        return TrackerInfo(
            manufacturer="Beholder",
            model="mouse",
            serial="n/a",
            software="n/a",
            rate_hz=wanted.rate_hz,
            eyes=self._eyes,
            pupil_unit="arbitrary",
            pupil_measure="diameter",
            simulated=True,
        )

    def calibrate(self, display: Display, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        """Show the targets, and fit the correction that brings the pointer onto them."""
        kept = {point.number for point in redo.points} if redo is not None else set()
        self._gaze_on = {number: found for number, found in self._gaze_on.items() if number in kept}
        for point in points:
            self._gaze_on[point.number] = (point, *self._look_at(display, point))
        shown = [self._gaze_on[number] for number in sorted(self._gaze_on)]
        targets = self._screen.to_degrees(np.array([p.x_px for p, *_ in shown]), np.array([p.y_px for p, *_ in shown]))
        gaze = np.array([found[1:] for found in shown])
        self._correction = fit_correction(np.stack(targets, axis=1), gaze[:, :2], gaze[:, 2])
        return Calibration(
            success=self._correction.success,
            points=tuple(point for point, *_ in shown),
            failed=tuple(shown[i][0].number for i in self._correction.failed),
            message=self._correction.message,
            data=self._correction.to_bytes(),
        )

    def _look_at(self, display: Display, point: Point) -> tuple[float, float, float]:
        """Median azimuth and elevation of the pointer on a target, and their SD, in degrees; NaN without readings."""
        pointer = _Pointer(self._display, self._rate_hz)
        try:
            stands_s = show_target(display, point)
            stand(display, stands_s + STANDS_S)
        finally:
            pointer.stop()
        readings, _ = pointer.take()
        inside = (readings[:, 0] >= stands_s + RESTS_AFTER_S) & (readings[:, 0] < stands_s + STANDS_S)
        return gaze_on_target(self._raw(readings[inside]), self._eyes[0], self._screen)

    def start(self) -> None:
        """Read the pointer from now on."""
        self.stop()
        self._recording_from_s = self._clock.now_s()
        if self._blinks is None:
            self._blinks = Blinks(self._chance_of_blinks, self._settings.blinks_per_min, self._recording_from_s)
        self._pointer = _Pointer(self._display, self._rate_hz)

    def read(self) -> Batch:
        """The samples read since the last call, and the blinks that ended."""
        if self._pointer is None or self._blinks is None:
            return Batch(no_samples())
        readings, problem = self._pointer.take()
        notices = (Notice(f"the mouse pointer cannot be read ({problem}): its samples are lost"),) if problem else ()
        if not len(readings):
            return Batch(no_samples(), notices=notices)
        samples = self._measured(readings, self._blinks.during(readings[:, 0]))
        return Batch(samples, self._blinks.ended(self._recording_from_s, float(readings[-1, 0])), notices)

    def clocks(self) -> ClockPair:
        """The clock of display and tracker, which are one, read three times."""
        return ClockPair(self._clock.now_s(), self._clock.now_s(), self._clock.now_s())

    def message(self, text: str, at_s: float) -> None:
        """Do nothing: the mouse has no file of its own."""

    def stop(self) -> None:
        """End recording; what has been read can still be fetched."""
        if self._pointer is not None:
            self._pointer.stop()

    def close(self, save_to: Path) -> CloseReport:
        """End recording, and write down which errors were added: `mouse.json`, where anything was recorded."""
        self.stop()
        if self._closed or self._pointer is None:
            return CloseReport()
        self._closed = True
        path = save_to / "mouse.json"
        path.write_text(json.dumps({"errors_added": self._settings.model_dump()}, indent=2) + "\n", encoding="utf-8")
        return CloseReport((path,))

    # From readings (n, 3) of time_s, x_px, y_px to samples.

    def _raw(self, readings: FloatArray) -> Samples:
        """The pointer's readings as samples, the same for each eye; NaN where it is off the screen."""
        time_s, x_px, y_px = readings.T
        on_screen = (x_px >= 0) & (x_px <= self._screen.width_px) & (y_px >= 0) & (y_px <= self._screen.height_px)
        samples = no_samples(len(readings))
        samples["time_s"] = time_s
        for eye in self._eyes:
            samples[f"{eye}_x_px"] = np.where(on_screen, x_px, np.nan)
            samples[f"{eye}_y_px"] = np.where(on_screen, y_px, np.nan)
        return samples

    def _measured(self, readings: FloatArray, blinking: NDArray[np.bool_]) -> Samples:
        """Samples from readings: calibrated, then with the errors that the study asks for."""
        settings, n = self._settings, len(readings)
        samples = self._correction.apply(self._raw(readings), self._screen, self._eyes)
        # For white noise, RMS-S2S over both axes is twice the SD of one axis.
        noise_deg = self._noise.standard_normal((n, 2, 2)) * settings.noise_deg / 2
        lost = self._losses.random((n, 2)) < settings.loss_percent / 100
        lost |= blinking[:, None]
        for column, eye in enumerate(("left", "right")):
            if eye not in self._eyes:
                continue
            azimuth, elevation = self._screen.to_degrees(*position(samples, eye))
            x_px, y_px = self._screen.to_px(
                azimuth + settings.bias_x_deg + noise_deg[:, column, 0],
                elevation + settings.bias_y_deg + noise_deg[:, column, 1],
            )
            samples[f"{eye}_x_px"] = np.where(lost[:, column], np.nan, x_px)
            samples[f"{eye}_y_px"] = np.where(lost[:, column], np.nan, y_px)
        return samples


class _Pointer:
    """A thread that reads the pointer at the ticks k / rate of the display's clock, from now until `stop`.

    Readings wait here until they are taken; a tick that is an interval late already is skipped.
    """

    def __init__(self, display: Display, rate_hz: float) -> None:
        self._display, self._clock, self._rate_hz = display, display.clock, rate_hz
        self._readings: deque[tuple[float, float, float]] = deque()
        self._problem: str | None = None
        self._told = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="mouse", daemon=True)
        self._thread.start()

    def take(self) -> tuple[FloatArray, str | None]:
        """The readings since the last call, (n, 3): time_s, x_px, y_px; and, once, why the pointer cannot be read."""
        taken = [self._readings.popleft() for _ in range(len(self._readings))]
        problem = None if self._told else self._problem
        self._told = self._told or problem is not None
        return np.array(taken, np.float64).reshape(-1, 3), problem

    def stop(self) -> None:
        """End reading; a thread that hangs is left behind, and what it would still read is dropped."""
        self._stopping.set()
        self._thread.join(JOIN_S)

    def _read(self) -> None:
        tick = ceil(self._clock.now_s() * self._rate_hz)
        while not self._stopping.is_set():
            wait_s = tick / self._rate_hz - self._clock.now_s()
            if wait_s > 0:
                time.sleep(wait_s)
                continue
            before_s = self._clock.now_s()
            try:
                x_px, y_px = self._display.pointer_px()
            except Exception as error:
                # The window may be gone; the session finds that out by itself.
                self._problem = str(error) or type(error).__name__
                x_px = y_px = float("nan")
            after_s = self._clock.now_s()
            if self._stopping.is_set():
                return
            self._readings.append(((before_s + after_s) / 2, x_px, y_px))
            tick = max(tick + 1, floor(after_s * self._rate_hz))
