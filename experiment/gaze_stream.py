"""Gaze on its way from the tracker to the recorder, and the clocks that it is timed by.

Samples go on in the order in which they came, each once, on one scale of time however the tracker's clock may step;
recent ones are kept for validation and drift check. What goes wrong with gaze or clocks (silence, steps, samples that
turn back) is told when it is noticed. Nothing is measured on gaze here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from beholder.experiment.devices import Clock, Notice, Tracker
from beholder.experiment.recorder import Recorder
from beholder.shared.gaze import Samples, no_samples, position
from beholder.shared.recording.clocks import SYSTEM_STEP_S, SteadyScale
from beholder.shared.recording.records import ClockReading, Happening, SystemReading

SILENT_AFTER_S = 2.0
# The share of gaze that is tracked is that of a second which ends a little before now: newer samples may still come.
TRACKED_OVER_S, UNDER_WAY_S = 1.0, 0.1


class GazeStream:
    """Moves gaze from `tracker` to `recorder`, and reads the clocks.

    `record` writes down what happened; `tell` passes a notice on, and raises where a fatal one ends the session.
    `system_time` reads the system's clock in seconds, None where there is none to watch. Times are of the session's
    `clock`, except those of samples: they are of the tracker's clock, without its steps.
    """

    def __init__(
        self,
        tracker: Tracker,
        recorder: Recorder,
        clock: Clock,
        rate_hz: float,
        system_time: Callable[[], float] | None,
        record: Callable[[Happening], None],
        tell: Callable[[Notice], None],
    ) -> None:
        self._tracker, self._recorder, self._clock, self._rate_hz = tracker, recorder, clock, rate_hz
        self._system_time, self._record, self._tell = system_time, record, tell
        self.recording = False
        self.tracked_percent: float | None = None
        self._kept: list[Samples] = []
        self._recent: Samples = no_samples()
        self._scale = SteadyScale(1 / rate_hz)
        # The tracker's clock less the session's, on that scale.
        self._offset_s = 0.0
        self._latest_s = float("-inf")
        self._came_s = self._began_s = 0.0
        self._silent = False
        # The system's clock: its first reading, its last one less the session's clock, and when that was.
        self._system_zero_s: float | None = None
        self._system_offset_s = self._system_read_s = 0.0

    def start(self) -> None:
        """Have the tracker record, and read the clocks."""
        self._tracker.start()
        self.read_clocks()
        self.recording, self._came_s = True, self._clock.now_s()
        self._began_s, self._recent, self.tracked_percent = self._came_s, no_samples(), None

    def stop(self) -> None:
        """End the tracker's recording, and fetch the last of it."""
        if self.recording:
            self._tracker.stop()
            self.fetch()
            self.recording = self._silent = False
            self._scale.stopped()

    def keep_from_now(self) -> None:
        """Drop the samples kept until now."""
        self._kept = []

    def between(self, from_s: float, to_s: float) -> Samples:
        """The samples from `from_s` to before `to_s` of the session's clock, of those kept since `keep_from_now`."""
        samples = np.concatenate(self._kept) if self._kept else no_samples()
        times = samples["time_s"] - self._offset_s
        inside: Samples = samples[(times >= from_s) & (times < to_s)]
        return inside

    def fetch(self) -> None:
        """Move what the tracker has into the recorder."""
        if not self.recording:
            return
        batch = self._tracker.read()
        now_s = self._clock.now_s()
        self._watch_silence(bool(len(batch.samples)), now_s)
        if self._scale.doubtful(batch.samples["time_s"], now_s):
            self.read_clocks()
        samples = self._advancing(self._on_scale(batch.samples))
        if (left_out := len(batch.samples) - len(samples)) > 0:
            self._tell(Notice(f"the time of {left_out} samples did not advance: they are left out"))
        if len(samples):
            self._recorder.samples(samples)
            self._kept.append(samples)
        self.tracked_percent = self._tracked(samples, now_s)
        for event in batch.events:
            self._record(replace(event, time_s=round(self._scale.time(event.time_s), 6)))
        for notice in batch.notices:
            self._tell(notice)

    def _tracked(self, new: Samples, now_s: float) -> float | None:
        """Percentage of samples with gaze among those that the rate promised in the last second; None at the beginning.

        A sample that never came counts as one without gaze.
        """
        until_s = now_s - UNDER_WAY_S
        from_s = max(until_s - TRACKED_OVER_S, self._began_s)
        recent = np.concatenate([self._recent, new])
        times = recent["time_s"] - self._offset_s
        self._recent = recent[times >= from_s]
        promised = round((until_s - from_s) * self._rate_hz)
        if promised < 1:
            return None
        of_window = recent[(times >= from_s) & (times < until_s)]
        seen = int((~np.isnan(position(of_window, "mean")[0])).sum())
        return min(100.0, 100 * seen / promised)

    def read_clocks(self) -> None:
        """Read all clocks, for the fit that maps events to gaze and for the windows of the checks."""
        pair = self._tracker.clocks()
        tracker_s, step_s = self._scale.read(pair.before_s, pair.tracker_s, pair.after_s, flowing=self.recording)
        self._offset_s = tracker_s - (pair.before_s + pair.after_s) / 2
        stepped_s = round(step_s, 6) if step_s else None
        self._record(ClockReading(pair.before_s, tracker_s, pair.after_s, stepped_s))
        if step_s:
            text = f"the tracker's clock stepped by {step_s:+.3f} s: what it sends from now on is put back by as much"
            self._tell(Notice(text))
        self.read_system_clock()

    def read_system_clock(self) -> None:
        """Read the system's clock beside the session's; where it stepped, that is told, and harms nothing."""
        if self._system_time is not None:
            self._read_system_clock(self._system_time, steps_only=False)

    def watch_system_clock(self) -> None:
        """Read the system's clock at most once a second, and write it down only where it stepped."""
        if self._system_time is not None and self._clock.now_s() - self._system_read_s >= 1:
            self._read_system_clock(self._system_time, steps_only=True)

    def _read_system_clock(self, system_time: Callable[[], float], *, steps_only: bool) -> None:
        before_s, system_s, after_s = self._clock.now_s(), system_time(), self._clock.now_s()
        offset_s = system_s - (before_s + after_s) / 2
        if self._system_zero_s is None:
            self._system_zero_s, self._system_offset_s = system_s, offset_s
        step_s = offset_s - self._system_offset_s
        stepped = abs(step_s) > SYSTEM_STEP_S + (after_s - before_s) / 2
        self._system_offset_s, self._system_read_s = offset_s, after_s
        if stepped or not steps_only:
            # Seconds since the first reading: a date would say when somebody was here.
            elapsed_s = round(system_s - self._system_zero_s, 6)
            self._record(SystemReading(before_s, elapsed_s, after_s, round(step_s, 6) if stepped else None))
        if stepped:
            self._tell(Notice(f"the system's clock stepped by {step_s:+.3f} s: nothing that is recorded depends on it"))

    def _watch_silence(self, came: bool, now_s: float) -> None:
        """Tell the operator where the tracker has been silent for a while, and again when samples come back."""
        silent_s = now_s - self._came_s
        if came:
            if self._silent:
                self._tell(Notice(f"the tracker sends samples again, after {silent_s:.1f} s of silence"))
            self._came_s, self._silent = now_s, False
        elif silent_s >= SILENT_AFTER_S and not self._silent:
            self._silent = True
            text = f"the tracker has sent no sample for {silent_s:.1f} s: check its cable and its power"
            self._tell(Notice(text))

    def _on_scale(self, samples: Samples) -> Samples:
        """Samples with the steps of the tracker's clock taken out of their times."""
        times = self._scale.times(samples["time_s"])
        if np.array_equal(times, samples["time_s"]):
            return samples
        moved = samples.copy()
        moved["time_s"] = times
        return moved

    def _advancing(self, samples: Samples) -> Samples:
        """The samples later than all before them: those whose time repeats or turns back are left out."""
        times = samples["time_s"]
        latest = np.maximum.accumulate(np.concatenate([[self._latest_s], times]))
        kept: Samples = samples[times > latest[:-1]]
        self._latest_s = float(latest[-1])
        return kept
