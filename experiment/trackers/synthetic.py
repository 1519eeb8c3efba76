"""A tracker that measures a synthetic observer: its noise, bias, loss, blinks and drift are planted and written down.

It speaks the Protocol of the real ones. Its clock is not the session's: it runs from another start and a little faster.
Everything recorded with it is marked as simulated; nothing ever falls back to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.experiment.calibration import show_target, stand
from beholder.experiment.devices import Batch, Calibration, Clock, ClockPair, CloseReport, Display, Picture, Shape
from beholder.experiment.observer import NEVER_S, Observer, on_picture
from beholder.experiment.trackers.blinks import Blinks
from beholder.shared.gaze import Eye, eyes_of, no_samples
from beholder.shared.recording.records import Point
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.study import ObserverSettings, TrackerSettings

# How the tracker's clock differs from the session's, so that code that mixes the two up is found out.
CLOCK_OFFSET_S, CLOCK_DRIFT_PPM, CLOCK_JITTER_S = 1000.0, 20.0, 2e-5
PUPIL_MM, PUPIL_NOISE_MM = 3.5, 0.02
# How long a calibration target stands after it has shrunk.
TARGET_STANDS_S = 0.6


@dataclass(frozen=True)
class _Shown:
    """A picture that was on the screen, in the session's time."""

    trial: int
    picture: Picture
    onset_s: float
    end_s: float


class SyntheticTracker:
    """Measures what `observer` looks at, on the virtual `clock`.

    `facts` (seed, map and so on) are written into the truth file beside the errors that were drawn from `rng`.
    `watch` must be called with every scene, and passes it on to the observer.
    """

    escape_is_its_own = False

    def __init__(
        self,
        clock: Clock,
        observer: Observer,
        settings: ObserverSettings,
        rng: np.random.Generator,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._settings = settings
        # A generator for each kind of error: how often gaze is read must not change what is drawn.
        self._errors, self._noise, self._losses, blinks, self._readings = rng.spawn(5)
        self._blinks = Blinks(blinks, settings.blinks_per_min, clock.now_s())
        self._facts = dict(facts or {})
        self._drift_deg_per_min = self._errors.standard_normal(2) * settings.drift_deg_per_min
        self._bias_deg = np.zeros(2)
        self._calibrated_s = 0.0
        self._calibrations: list[dict[str, float]] = []
        # Numbers of samples since the tracker's clock was 0: the first, the next to come, and the end once stopped.
        self._recording_from: int | None = None
        self._next_sample = 0
        self._stopped_at: int | None = None
        self._trial = 0
        self._shown: list[_Shown] = []
        self._closed = False

    def watch(self, onset_s: float, scene: Sequence[Shape]) -> None:
        """Take in that a scene is on the screen from `onset_s` on."""
        self._observer.see(onset_s, scene)
        if self._shown and self._shown[-1].end_s == NEVER_S:
            self._shown[-1] = replace(self._shown[-1], end_s=onset_s)
        self._shown += [_Shown(self._trial, shape, onset_s, NEVER_S) for shape in scene if isinstance(shape, Picture)]

    def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
        """Take rate, eyes and screen as asked: any are possible."""
        self._screen, self._rate_hz = screen, wanted.rate_hz
        self._eyes: tuple[Eye, ...] = eyes_of(wanted.eyes)
        return TrackerInfo(
            manufacturer="Beholder",
            model="synthetic observer",
            serial="n/a",
            software="n/a",
            rate_hz=wanted.rate_hz,
            eyes=self._eyes,
            pupil_unit="mm",
            pupil_measure="diameter",
            simulated=True,
        )

    def calibrate(self, display: Display, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        """Show the targets, and draw the error that remains: it is the bias until the next calibration."""
        for point in points:
            stand(display, show_target(display, point) + TARGET_STANDS_S)
        self._bias_deg = self._errors.standard_normal(2) * self._settings.bias_deg
        self._calibrated_s = self._clock.now_s()
        bias = {"bias_x_deg": float(self._bias_deg[0]), "bias_y_deg": float(self._bias_deg[1])}
        self._calibrations.append({"at_tracker_s": round(self._tracker_s(self._calibrated_s), 6), **bias})
        kept = () if redo is None else tuple(p for p in redo.points if p.number not in {q.number for q in points})
        return Calibration(True, tuple(sorted((*kept, *points), key=lambda p: p.number)), (), "")

    def start(self) -> None:
        """Record from the next sample on."""
        self._next_sample = ceil(self._tracker_s(self._clock.now_s()) * self._rate_hz)
        self._recording_from, self._stopped_at = self._next_sample, None

    def read(self) -> Batch:
        """The samples until now (or until it was stopped), and the blinks that ended."""
        if self._recording_from is None:
            return Batch(no_samples())
        end = self._sample_after_now() if self._stopped_at is None else self._stopped_at
        if end <= self._next_sample:
            return Batch(no_samples())
        times = np.arange(self._next_sample, end) / self._rate_hz
        self._next_sample = end
        samples = self._measured(times)
        from_s = self._recording_from / self._rate_hz
        return Batch(samples, self._blinks.ended(from_s, float(times[-1]), self._tracker_s))

    def clocks(self) -> ClockPair:
        """Both clocks, read with the jitter of such calls."""
        now_s = self._clock.now_s()
        jitter_s = CLOCK_JITTER_S * self._readings.standard_normal()
        return ClockPair(now_s - CLOCK_JITTER_S, self._tracker_s(now_s) + jitter_s, now_s + CLOCK_JITTER_S)

    def message(self, text: str, at_s: float) -> None:
        """Take the trial's number from its TRIALID message; all others are ignored."""
        if text.startswith("TRIALID "):
            self._trial = int(text.split()[1])

    def stop(self) -> None:
        """End recording."""
        if self._recording_from is not None and self._stopped_at is None:
            self._stopped_at = self._sample_after_now()

    def close(self, save_to: Path) -> CloseReport:
        """Write down what was planted: `truth.json` and `truth-fixations.tsv`."""
        if self._closed or not self._calibrations:
            return CloseReport()
        self._closed = True
        truth, fixations = save_to / "truth.json", save_to / "truth-fixations.tsv"
        truth.write_text(json.dumps(self._truth(), indent=2) + "\n", encoding="utf-8")
        fixations.write_text(self._true_fixations(), encoding="utf-8")
        return CloseReport((truth, fixations))

    def _sample_after_now(self) -> int:
        return int(self._tracker_s(self._clock.now_s()) * self._rate_hz) + 1

    def _tracker_s(self, session_s: float) -> float:
        return CLOCK_OFFSET_S + session_s * (1 + CLOCK_DRIFT_PPM * 1e-6)

    def _session_s(self, tracker_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return (tracker_s - CLOCK_OFFSET_S) / (1 + CLOCK_DRIFT_PPM * 1e-6)

    def _measured(self, tracker_s: NDArray[np.float64]) -> NDArray[np.void]:
        session_s = self._session_s(tracker_s)
        azimuth, elevation = self._screen.to_degrees(*self._observer.gaze(session_s))
        minutes = (session_s - self._calibrated_s) / 60
        azimuth = azimuth + self._bias_deg[0] + minutes * self._drift_deg_per_min[0]
        elevation = elevation + self._bias_deg[1] + minutes * self._drift_deg_per_min[1]
        # For white noise, RMS-S2S over both axes is twice the SD of one axis.
        noise = self._noise.standard_normal((len(session_s), 2, 3))
        lost = self._losses.random((len(session_s), 2)) < self._settings.loss_percent / 100
        lost |= self._blinks.during(session_s)[:, None]
        samples = no_samples(len(session_s))
        samples["time_s"] = tracker_s
        for column, eye in enumerate(("left", "right")):
            if eye not in self._eyes:
                continue
            error = noise[:, column, :2] * self._settings.noise_deg / 2
            x_px, y_px = self._screen.to_px(azimuth + error[:, 0], elevation + error[:, 1])
            pupil_mm = PUPIL_MM + PUPIL_NOISE_MM * noise[:, column, 2]
            for name, values in (("x_px", x_px), ("y_px", y_px), ("pupil", pupil_mm)):
                samples[f"{eye}_{name}"] = np.where(lost[:, column], np.nan, values)
        return samples

    def _truth(self) -> dict[str, Any]:
        settings = self._settings
        last = self._calibrations[-1]
        return {
            **self._facts,
            "bias_x_deg": last["bias_x_deg"],
            "bias_y_deg": last["bias_y_deg"],
            "noise_rms_s2s_deg": settings.noise_deg,
            "loss_percent": settings.loss_percent,
            "blinks_per_min": settings.blinks_per_min,
            "drift_x_deg_per_min": float(self._drift_deg_per_min[0]),
            "drift_y_deg_per_min": float(self._drift_deg_per_min[1]),
            "clock_offset_s": CLOCK_OFFSET_S,
            "clock_drift_ppm": CLOCK_DRIFT_PPM,
            "calibrations": self._calibrations,
        }

    def _true_fixations(self) -> str:
        """A table of the fixations during each picture; `on` tells those that were still on the dot."""
        lines = ["trial\tstim_file\tonset_s\tduration_s\tx_px\ty_px\ton"]
        for shown in self._shown:
            with Image.open(shown.picture.file) as image:
                size = image.size
            for fixation in self._observer.fixations:
                if fixation.end_s > shown.onset_s and fixation.start_s < shown.end_s:
                    onset_s, duration_s = fixation.start_s - shown.onset_s, fixation.end_s - fixation.start_s
                    x, y = on_picture(fixation, shown.picture.rect, *size)
                    where = f"{shown.trial}\timages/{shown.picture.file.name}"
                    lines.append(f"{where}\t{onset_s:.6f}\t{duration_s:.6f}\t{x:.2f}\t{y:.2f}\t{fixation.on}")
        return "\n".join(lines) + "\n"
