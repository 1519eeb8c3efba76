"""Simulated blinks: moments at which a simulated tracker, synthetic or mouse, sees no eyes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from beholder.shared.recording.records import TrackerEvent

BLINK_S, BLINK_SPREAD = 0.15, 0.2


class Blinks:
    """Blinks drawn one after the other from `rng`, `per_min` a minute, from `from_s` of the session's clock on.

    Their durations are lognormal; the pauses between them exponential. Times are asked for in ascending order.
    """

    def __init__(self, rng: np.random.Generator, per_min: float, from_s: float = 0.0) -> None:
        self._rng, self._per_s = rng, per_min / 60
        self._coming: list[tuple[float, float]] = []
        self._drawn_until_s = from_s

    def during(self, session_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each of the times (n,), at least one, lies in a blink; (n,)."""
        while self._per_s > 0 and self._drawn_until_s <= session_s[-1]:
            start_s = self._drawn_until_s + self._rng.exponential(1 / self._per_s)
            end_s = start_s + BLINK_S * float(np.exp(BLINK_SPREAD * self._rng.standard_normal()))
            self._coming.append((start_s, end_s))
            self._drawn_until_s = end_s
        blinking = np.zeros(len(session_s), bool)
        for start_s, end_s in self._coming:
            blinking |= (session_s >= start_s) & (session_s < end_s)
        return blinking

    def ended(
        self, from_s: float, until_s: float, tracker_s: Callable[[float], float] = float
    ) -> tuple[TrackerEvent, ...]:
        """The blinks that ended by `until_s` and began at `from_s` or later, each told once.

        Both are times of the tracker's clock; `tracker_s` converts a time of the session's clock into one of these.
        """
        ended = [blink for blink in self._coming if tracker_s(blink[1]) <= until_s]
        self._coming = self._coming[len(ended) :]
        return tuple(
            TrackerEvent(round(tracker_s(start_s), 6), "blink", round(end_s - start_s, 6))
            for start_s, end_s in ended
            if tracker_s(start_s) >= from_s
        )
