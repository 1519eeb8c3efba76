"""What the adapter needs of Tobii's SDK, whichever package speaks to it: one Protocol, and what its calls return.

How the two packages differ, and how the Protocol bridges that:

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


# In microseconds: the system's clock at the request, the tracker's at the answer, the system's when the answer came.
TimeSync = tuple[int, int, int]


Kind = Literal["connection", "licence", "unsupported", "state", "failed", "other"]


EYES: tuple[Eye, Eye] = ("left", "right")


ASK_EVERY_S = 0.002


# A step of TittaPy's that never ends is given up after this long; the adapter gives it up earlier.
LONGEST_STEP_S = 60.0


class SdkError(Exception):
    """An error of the SDK, of a `kind`; the message is the SDK's own."""

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
    """A computed calibration: the eyes that it holds for, and at each target's place (x, y) those whose gaze was used.

    x and y are shares of the display area.
    """

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
    """The calls that both packages offer; each may raise SdkError. Times are microseconds of the system's clock."""

    software: str

    def devices(self) -> list[Device]:
        """The trackers that answer, after about two seconds."""

    def connect(self, address: str) -> Device:
        """Connect to the tracker at that address, which all later calls are about."""

    def can_calibrate(self) -> bool:
        """Whether the tracker can be calibrated on a screen."""

    def apply_licence(self, key: bytes) -> str:
        """Apply a licence; returns empty where it was accepted, else why not."""

    def rates_hz(self) -> list[float]:
        """The rates at which the tracker can sample."""

    def rate_hz(self) -> float:
        """The rate that the tracker is set to."""

    def set_rate_hz(self, rate_hz: float) -> None:
        """Set the rate."""

    def modes(self) -> list[str]:
        """The names of the tracking modes that the tracker has (for people, for animals, ...)."""

    def mode(self) -> str:
        """The tracking mode that the tracker is set to."""

    def set_mode(self, mode: str) -> None:
        """Set the tracking mode."""

    def display_area(self) -> DisplayArea:
        """Where the tracker takes the screen to be."""

    def system_us(self) -> int:
        """The system's clock now, by which samples are stamped."""

    def listen(self) -> None:
        """Keep troubles and time synchronisations from now on."""

    def troubles(self) -> list[Trouble]:
        """The troubles reported since the last call."""

    def time_syncs(self) -> list[TimeSync]:
        """The time synchronisations made since the last call."""

    def start_gaze(self) -> None:
        """Start the stream of samples."""

    def stop_gaze(self) -> None:
        """Stop the stream of samples; those that came can still be fetched."""

    def gaze(self) -> Gaze:
        """The samples since the last call, (n,) of GAZE; never blocks."""

    def start_positions(self) -> None:
        """Start the stream of eye positions."""

    def stop_positions(self) -> None:
        """Stop the stream of eye positions."""

    def positions(self) -> EyePositions:
        """The latest eye positions."""

    # A calibration's steps; each returns when it is done.

    def enter(self) -> None:
        """Begin a calibration; what an earlier one collected is forgotten."""

    def collect(self, x: float, y: float) -> bool:
        """Collect gaze on a target at a place (shares of the display area); False where there was not enough."""

    def discard(self, x: float, y: float) -> None:
        """Forget the gaze that was collected on a target."""

    def compute(self) -> Computed:
        """Compute and apply the calibration; one that failed holds for no eye."""

    def data(self) -> bytes:
        """The data of the calibration in use, to be kept; only between `enter` and `leave`."""

    def restore(self, data: bytes) -> None:
        """Use a calibration that was kept."""

    def leave(self) -> None:
        """End the calibration; the tracker goes on with the last one that was applied."""

    def close(self) -> None:
        """Let go of the tracker."""


def trouble_of(kind: str, row: Mapping[str, Any]) -> Trouble:
    """A notification of this kind, with its data in `row`, as a Trouble."""
    if kind in ("faults", "warnings"):
        return Trouble("other", f"{kind}: {row[kind]}")
    if kind == "rate":
        return Trouble("rate", value=float(row["gaze_output_frequency"]))
    if kind == "mode":
        return Trouble("other", "its eye tracking mode was changed")
    return Trouble(kind)  # type: ignore[arg-type]


def mirrored(position: Any) -> tuple[float, float, float]:
    """An eye's position with x as in a mirror, from the left; the SDK counts x from the participant's right."""
    x, y, z = (float(v) for v in position)
    return 1 - x, y, z
