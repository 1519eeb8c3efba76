"""Two clocks that run side by side: the session's, and the tracker's, from pairs of readings.

A pair is the session's clock, the tracker's, and the session's again; the tracker's reading belongs to the middle,
to within half the distance of the outer two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# A line through readings that lie closer together than this would extrapolate their errors.
SHORTEST_SPAN_S = 30.0


@dataclass(frozen=True)
class ClockFit:
    """The tracker's clock as a line over the session's.

    `offset_s` is the tracker's time less the session's at `reference_s` (session's clock), `drift_ppm` how much faster
    it runs, in microseconds a second; `residual_ms` the largest distance of a pair from the line; `pairs` their number.
    """

    reference_s: float
    offset_s: float
    drift_ppm: float
    residual_ms: float
    pairs: int

    def tracker_s(self, session_s: float) -> float:
        """The tracker's time at a time of the session."""
        return session_s + self.offset_s + self.drift_ppm * 1e-6 * (session_s - self.reference_s)

    def sidecar(self) -> dict[str, Any]:
        """As it stands in a recording's sidecar; the session's own clock has no meaning there."""
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
