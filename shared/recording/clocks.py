"""The tracker's and the system's clock beside the session's clock, from pairs of readings.

A pair is a reading of the session's clock, one of the other clock, and again one of the session's. The other reading is
taken to be of the middle between the two, exact to half their distance. The session's clock never steps; the others may
(a tracker that is switched off and on, a system that asks a server for the time), and are brought back onto one scale
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from beholder.shared.arrays import FloatArray
from beholder.shared.recording.records import SystemReading

# A clock that is off by more than this has stepped: none drifts so far from one reading to the next.
TRACKER_STEP_S, SYSTEM_STEP_S = 0.1, 0.05
# Samples are on their way for less than this: if none has shown a step by then, all that follow come after the step.
_AWAITED_S = 1.0
# A line through readings that lie closer together than this would extrapolate their errors.
SHORTEST_SPAN_S = 30.0


@dataclass(frozen=True)
class ClockFit:
    """The tracker's time as a linear function of the session's time.

    `offset_s` is the tracker's time minus the session's at `reference_s` (session's clock), `drift_ppm` how much faster
    the tracker's clock runs, in microseconds a second; `residual_ms` is the largest distance of a pair from the line;
    `pairs` the number of pairs.
    """

    reference_s: float
    offset_s: float
    drift_ppm: float
    residual_ms: float
    pairs: int

    def tracker_s(self, session_s: float) -> float:
        """The tracker's time at a time of the session."""
        return session_s + self.offset_s + self.drift_ppm * 1e-6 * (session_s - self.reference_s)

    def session_s(self, tracker_s: float) -> float:
        """The session's time at a time of the tracker: the inverse."""
        return self.reference_s + (tracker_s - self.reference_s - self.offset_s) / (1 + self.drift_ppm * 1e-6)

    def sidecar(self) -> dict[str, Any]:
        """The fit for a recording's sidecar, without `reference_s`: the session's clock has no meaning there."""
        values = asdict(self)
        del values["reference_s"]
        return {name: round(value, 6) for name, value in values.items()}


def fit_clocks(pairs: Sequence[tuple[float, float, float]]) -> ClockFit:
    """The line through pairs (before_s, tracker_s, after_s), weighted by how closely each was read.

    No drift is fitted to less than three pairs or 30 s. Raises ValueError where there is no pair.

    >>> fit_clocks([(0.0, 5.0, 0.0), (50.0, 55.001, 50.0), (100.0, 105.002, 100.0)]).drift_ppm
    20.0
    """
    if not pairs:
        raise ValueError("the two clocks were never read together")
    before, tracker, after = np.asarray(pairs, np.float64).T
    session = (before + after) / 2
    # Readings are never better than 10 microseconds: the call itself takes that long.
    weight = 1 / ((after - before) / 2 + 1e-5)
    apart = tracker - session
    since = session - session[0]
    if len(pairs) < 3 or np.ptp(session) < SHORTEST_SPAN_S:
        slope, offset = 0.0, float(np.average(apart, weights=weight**2))
    else:
        slope, offset = (float(v) for v in np.polyfit(since, apart, 1, w=weight))
    residual_s = float(np.abs(apart - offset - slope * since).max())
    return ClockFit(float(session[0]), offset, round(slope * 1e6, 6), residual_s * 1e3, len(pairs))


class SteadyScale:
    """The tracker's times on one continuous scale, from which all steps of its clock are taken out.

    Pairs of readings say by how much the clock stepped, samples say since when: samples that are on their way when a
    pair shows the step were still taken before it. Methods take times of the clock itself, and return times with the
    steps taken out. `sample_s` is the time from one sample to the next.
    """

    def __init__(self, sample_s: float) -> None:
        self._sample_s = sample_s
        self._pairs: list[tuple[float, float, float]] = []
        self._taken_out_s = self._taken_out_before_s = 0.0
        # A step that a pair has shown and samples have not yet, and for how long samples may still show it.
        self._coming_s = self._awaited_s = 0.0
        self._latest_s: float | None = None

    def read(self, before_s: float, tracker_s: float, after_s: float, *, flowing: bool) -> tuple[float, float]:
        """A pair's tracker time on the scale, and the clock's step since the pair before it, 0 where there was none.

        `flowing`: samples are coming, and some of them may be older than this reading.
        """
        on_scale_s, step_s = tracker_s - self._taken_out_s - self._coming_s, 0.0
        if self._pairs:
            off_s = on_scale_s - fit_clocks(self._pairs).tracker_s((before_s + after_s) / 2)
            if abs(off_s) > TRACKER_STEP_S + (after_s - before_s) / 2:
                step_s = off_s
                on_scale_s -= step_s
                self._coming_s += step_s
                self._awaited_s = _AWAITED_S
                if not flowing:
                    self.settle()
        self._pairs.append((before_s, on_scale_s, after_s))
        return on_scale_s, step_s

    def doubtful(self, times_s: FloatArray, now_s: float) -> bool:
        """Whether times of samples (n,) that arrived by `now_s` (session's clock) go back, jump, or lie in the future.

        The clock may then have stepped, which only a reading can tell: samples that come twice go back in time as well,
        and lost samples leave a gap.
        """
        if not len(times_s) or not self._pairs or self._coming_s:
            return False
        before_s, tracker_s, after_s = self._pairs[-1]
        future_s = now_s + tracker_s - (before_s + after_s) / 2 + TRACKER_STEP_S
        return bool((np.abs(self._apart(times_s)) > TRACKER_STEP_S).any() or times_s[-1] - self._taken_out_s > future_s)

    def times(self, times_s: FloatArray) -> FloatArray:
        """Times of samples (n,) on the scale, in the order in which they came."""
        if not len(times_s):
            return times_s
        taken_out_s = np.full(len(times_s), self._taken_out_s)
        if self._coming_s:
            apart = self._apart(times_s)
            # Samples whose distance from the one before is closer to the step than to 0; the first begins the new time.
            after = np.flatnonzero(np.abs(apart - self._coming_s) < np.abs(apart))
            self._awaited_s -= len(times_s) * self._sample_s
            if self._latest_s is None or len(after) or self._awaited_s < 0:
                first = int(after[0]) if len(after) and self._latest_s is not None else 0
                gap_s = float(apart[first]) - self._coming_s
                # A reading is not exact: where its step would make two samples overlap, they are set half a sample
                # apart.
                overlap_s = self._sample_s / 2 - gap_s if self._latest_s is not None or first else 0.0
                self._coming_s -= overlap_s if 0 < overlap_s < TRACKER_STEP_S else 0.0
                self.settle()
                taken_out_s[first:] = self._taken_out_s
        self._latest_s = float(times_s[-1])
        on_scale_s: FloatArray = times_s - taken_out_s
        return on_scale_s

    def time(self, time_s: float) -> float:
        """The time of something that the tracker reports, on the scale.

        It may lie before or after the latest step: the one that is closer to the latest sample is taken.
        """
        if self._latest_s is None:
            return time_s - self._taken_out_s
        latest_s = self._latest_s - self._taken_out_s
        candidates = (time_s - self._taken_out_s, time_s - self._taken_out_before_s)
        return min(candidates, key=lambda candidate_s: abs(candidate_s - latest_s))

    def settle(self) -> None:
        """Take the latest step out of all times from now on."""
        if self._coming_s:
            self._taken_out_before_s = self._taken_out_s
            self._taken_out_s += self._coming_s
            self._coming_s = 0.0

    def stopped(self) -> None:
        """Note that the samples have stopped: none is on its way any more."""
        self.settle()
        self._latest_s = None

    def _apart(self, times_s: FloatArray) -> FloatArray:
        apart: FloatArray = np.diff(times_s, prepend=times_s[0] if self._latest_s is None else self._latest_s)
        return apart


def fit_system_clock(readings: Sequence[SystemReading], session_s: float) -> dict[str, Any]:
    """The fit of the system's clock to the session's, with its steps taken out, for a sidecar.

    `offset_s` is the system's time at `session_s` (session's clock), counted from the system's first reading;
    `drift_ppm` is how much faster the system's clock runs. Raises ValueError where there is no reading.
    """
    stepped_s = np.cumsum([reading.step_s or 0.0 for reading in readings])
    pairs = [(r.before_s, r.elapsed_s - s, r.after_s) for r, s in zip(readings, stepped_s.tolist(), strict=True)]
    fit = fit_clocks(pairs)
    steps = [
        {"onset": round((r.before_s + r.after_s) / 2 - session_s, 6), "step_s": r.step_s} for r in readings if r.step_s
    ]
    return {**fit.sidecar(), "offset_s": round(fit.tracker_s(session_s), 6), "steps": steps}
