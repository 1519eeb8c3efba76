"""A participant's screen on a virtual clock before a fake Tobii tracker, for tests and for programs without pytest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tobii_lab import Lab

from beholder.experiment.devices import Dot, Picture, Shape
from beholder.experiment.headless import HeadlessDisplay
from beholder.experiment.trackers.tobii.adapter import TobiiTracker
from beholder.shared.screen import Screen

SCREEN = Screen(1920, 1080, 53.0, 29.8, 60.0)


class LabDisplay(HeadlessDisplay):
    """A display on a virtual clock before a fake tracker; the eyes look at what it shows."""

    def __init__(self, lab: Lab, screen: Screen = SCREEN, participant: Any = None, clock: Any = None) -> None:
        super().__init__(screen, 100.0, participant, clock=clock)
        self.lab = lab
        self.tracker: TobiiTracker | None = None
        self.shown: list[tuple[float, tuple[Shape, ...]]] = []
        self.at_show: Callable[[float, Sequence[Shape]], None] = lambda onset_s, scene: None

    def show(self, scene: Sequence[Shape]) -> float:
        onset_s = super().show(scene)
        self.lab.advance()
        self.shown.append((onset_s, tuple(scene)))
        if len(scene) == 1 and isinstance(scene[0], Dot):
            self.lab.look_at(onset_s, scene[0].x_px / self.screen.width_px, scene[0].y_px / self.screen.height_px)
        elif len(scene) == 1 and isinstance(scene[0], Picture):
            self.lab.look_at(onset_s, 0.45, 0.55)
            self.lab.look_at(onset_s + 0.6, 0.52, 0.48)
        self.at_show(onset_s, scene)
        return onset_s

    def hold(self, until_s: float) -> None:
        self.settle()
        super().hold(until_s)
        self.lab.advance()

    def settle(self) -> None:
        """Before time goes on: a call that the tracker's thread makes has come to where it waits for time."""
        until_s = time.monotonic() + 5
        while time.monotonic() < until_s:
            calls = self.tracker._calls if self.tracker is not None else None
            if calls is None or calls.latest is None or calls.latest.done() or self.lab.waits():
                return
            time.sleep(0.0002)
