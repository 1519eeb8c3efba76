"""What the adapter asks of Tobii's SDK, whichever package speaks to it: one Protocol, and what its calls bring.

How the two packages differ, and what is made of it:

1. `tobii_research` hands samples to a callback; its buffer holds about 64. The callback is a deque's `append`.
   TittaPy buffers in C++; its samples are fetched.
2. `tobii_research` returns from a calibration's step when the step is done; TittaPy takes an order and is asked for
   its result. Here both return when it is done: such calls are made from a thread of their own.
3. Their errors are classes in the one, numbers in a text in the other. Here both are `SdkError` with a `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from beholder.shared.gaze import Eye

# What a sample brings; NaN where the tracker says that it is not valid. x and y are shares of the display area (origin
# upper left), the eye's place is in mm from the tracker's front: to the participant's right, upwards, towards them.
_OF_AN_EYE = (("x", "f8"), ("y", "f8"), ("pupil_mm", "f8"), ("eye_mm", "f8", (3,)))


GAZE = np.dtype(
    [("system_us", "i8"), ("device_us", "i8")]
    + [(f"{eye}_{name}", *rest) for eye in ("left", "right") for name, *rest in _OF_AN_EYE]
)


Gaze = NDArray[np.void]


# Ours: the system's clock at the request, the tracker's at the answer, the system's when it came; microseconds.
TimeSync = tuple[int, int, int]


Kind = Literal["connection", "licence", "unsupported", "state", "failed", "other"]


EYES: tuple[Eye, Eye] = ("left", "right")


ASK_EVERY_S = 0.002


# A step that TittaPy was asked for and that never ends is given up; the tracker's patience is shorter.
LONGEST_STEP_S = 60.0


class SdkError(Exception):
    """What the SDK refused; `kind` says of which sort, the message is the SDK's own."""

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind: Kind = kind
        super().__init__(" ".join(text.split()))


@dataclass(frozen=True)
class Device:
    """A tracker that was found."""

    serial: str
    model: str
    address: str
    firmware: str


@dataclass(frozen=True)
class DisplayArea:
    """Three corners of the display area, mm from the tracker's front: to the right, upwards, and towards the eyes."""

    top_left: tuple[float, float, float]
    top_right: tuple[float, float, float]
    bottom_left: tuple[float, float, float]


@dataclass(frozen=True)
class Trouble:
    """Something that the tracker reports by itself; `value` is the rate in Hz that it was changed to."""

    kind: Literal["lost", "restored", "overflow", "rate", "display area", "other"]
    text: str = ""
    value: float = nan


@dataclass(frozen=True)
class Computed:
    """A calibration: the eyes that it holds for, and of each place (x, y) the eyes whose gaze on it was used."""

    eyes: tuple[Eye, ...]
    used: dict[tuple[float, float], tuple[Eye, ...]]


@dataclass(frozen=True)
class EyePositions:
    """Where the eyes are in the box in which they can be tracked, as the participant would see them in a mirror.

    x, y, z of each eye from 0 to 1: from the left, from the top, from the end near the tracker; None where not seen.
    """

    left: tuple[float, float, float] | None = None
    right: tuple[float, float, float] | None = None


class TobiiSdk(Protocol):
    """What is needed of either package; every call may raise SdkError. Times are microseconds of the system's clock."""

    software: str

    def devices(self) -> list[Device]:
        """The trackers that answer, after about two seconds."""

    def connect(self, address: str) -> Device:
        """Take the tracker at that address; all that follows is of it."""

    def can_calibrate(self) -> bool:
        """Whether it is one that is calibrated on a screen."""

    def apply_licence(self, key: bytes) -> str:
        """Unlock what a licence allows; empty where it was taken, else why not."""

    def rates_hz(self) -> list[float]:
        """The rates that it can sample at."""

    def rate_hz(self) -> float:
        """The rate that it is set to."""

    def set_rate_hz(self, rate_hz: float) -> None:
        """Set it."""

    def modes(self) -> list[str]:
        """The tracking modes that it has (for people, for animals, ...), by their names."""

    def mode(self) -> str:
        """The one that it is set to."""

    def set_mode(self, mode: str) -> None:
        """Set it."""

    def display_area(self) -> DisplayArea:
        """Where it takes the screen to be."""

    def system_us(self) -> int:
        """The system's clock, as samples are stamped with."""

    def listen(self) -> None:
        """From now on have troubles and time synchronisation at hand."""

    def troubles(self) -> list[Trouble]:
        """Those reported since the last call."""

    def time_syncs(self) -> list[TimeSync]:
        """Those made since the last call."""

    def start_gaze(self) -> None:
        """Have samples come."""

    def stop_gaze(self) -> None:
        """Have no more come; those that came can still be fetched."""

    def gaze(self) -> Gaze:
        """The samples since the last call, (n,) of GAZE; never blocks."""

    def start_positions(self) -> None:
        """Have the positions of the eyes come."""

    def stop_positions(self) -> None:
        """Have no more come."""

    def positions(self) -> EyePositions:
        """The latest."""

    # A calibration's steps; each returns when it is done.

    def enter(self) -> None:
        """Begin a calibration; what an earlier one collected is forgotten."""

    def collect(self, x: float, y: float) -> bool:
        """Collect gaze on a place (shares of the display area); False where there was not enough."""

    def discard(self, x: float, y: float) -> None:
        """Forget what was collected there."""

    def compute(self) -> Computed:
        """Compute and apply it; of no eye where it failed."""

    def data(self) -> bytes:
        """The calibration in use, to be kept; only between `enter` and `leave`."""

    def restore(self, data: bytes) -> None:
        """Use a calibration that was kept."""

    def leave(self) -> None:
        """End it; the tracker goes on with the last calibration that was applied."""

    def close(self) -> None:
        """Let go of the tracker."""


def trouble_of(kind: str, row: Mapping[str, Any]) -> Trouble:
    """A notification as trouble, of its kind and its data."""
    if kind in ("faults", "warnings"):
        return Trouble("other", f"{kind}: {row[kind]}")
    if kind == "rate":
        return Trouble("rate", value=float(row["gaze_output_frequency"]))
    if kind == "mode":
        return Trouble("other", "its eye tracking mode was changed")
    return Trouble(kind)  # type: ignore[arg-type]


def mirrored(position: Any) -> tuple[float, float, float]:
    """The SDK counts x from the participant's right; in a mirror the right eye is on the right."""
    x, y, z = (float(v) for v in position)
    return 1 - x, y, z
