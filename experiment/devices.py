"""The Protocols between a session and the world: clock, display, tracker, and what passes through them.

The session knows these and nothing else of PsychoPy or of a vendor. Each has real implementations for the lab and one
on a virtual clock (`experiment.headless`, `experiment.trackers.synthetic`), so that a whole session runs in a test.
Positions are px of the screen, origin upper left (`shared.screen`); times are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from beholder.shared.gaze import Samples
from beholder.shared.recording.records import Point, TrackerEvent
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Rect, Screen
from beholder.shared.study import TrackerSettings

# What is drawn.

# The colour of what must be seen on any background: dark or light, whichever stands out from it more.
STANDING_OUT = "standing out"
DARK, LIGHT = "#202020", "#e6e6e6"


def standing_out_on(background: str) -> str:
    """The colour, dark or light, that has the higher contrast with a background #rrggbb (WCAG 2.2).

    >>> standing_out_on("#ffffff"), standing_out_on("#000000")
    ('#202020', '#e6e6e6')
    """

    def luminance(colour: str) -> float:
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    behind = luminance(background) + 0.05
    dark, light = behind / (luminance(DARK) + 0.05), (luminance(LIGHT) + 0.05) / behind
    return DARK if dark >= light else LIGHT


@dataclass(frozen=True)
class Dot:
    """A filled disc; `inner_px` > 0 draws a smaller disc of the background's colour in its middle (a target).

    Colours are #rrggbb, here and below, or `STANDING_OUT`, which the display knows for its background.
    """

    x_px: float
    y_px: float
    diameter_px: float
    colour: str
    inner_px: float = 0.0


@dataclass(frozen=True)
class Picture:
    """A stimulus in its rectangle on the screen."""

    file: Path
    rect: Rect


@dataclass(frozen=True)
class Text:
    """Lines of text, centred on a point."""

    text: str
    x_px: float
    y_px: float
    height_px: float
    colour: str = STANDING_OUT


@dataclass(frozen=True)
class Bitmap:
    """An image made on the spot (camera image, picture of targets and gaze), centred on a point."""

    image: Image.Image
    x_px: float
    y_px: float


@dataclass(frozen=True)
class Button:
    """A labelled rectangle, centred on a point: clicking it does what its key does ("space", "a", "7")."""

    text: str
    key: str
    x_px: float
    y_px: float
    width_px: float
    height_px: float
    colour: str = "#d9d9d9"
    text_colour: str = DARK

    def holds(self, x_px: float, y_px: float) -> bool:
        """Whether a point lies on the button."""
        return abs(x_px - self.x_px) <= self.width_px / 2 and abs(y_px - self.y_px) <= self.height_px / 2


Shape = Dot | Picture | Text | Bitmap | Button


# What comes back from the window.


@dataclass(frozen=True)
class Key:
    """A key pressed in the participant's window: what it types ("a", "7"), or its name ("space", "escape", "return",
    "backspace", "up", "pageup"), in lower case.

    A key held down comes again and again, as `held`. A letter pressed with Ctrl and Shift is a `chord`: it is meant by
    the operator.
    """

    name: str
    at_s: float
    held: bool = False
    chord: bool = False


@dataclass(frozen=True)
class Click:
    """A mouse button pressed in the participant's window."""

    x_px: float
    y_px: float
    at_s: float


@dataclass(frozen=True)
class Closed:
    """The window was closed, or its screen is gone."""

    at_s: float


WindowEvent = Key | Click | Closed


class Clock(Protocol):
    """Seconds since an arbitrary start, never going back; one clock for display, session and recorder."""

    def now_s(self) -> float:
        """The time now."""

    def sleep_until_s(self, time_s: float) -> None:
        """Return at `time_s`, at once if it has passed; a virtual clock jumps there."""


class Display(Protocol):
    """The participant's screen. All but `pointer_px` is called from the main thread."""

    clock: Clock
    screen: Screen

    def show(self, scene: Sequence[Shape]) -> float:
        """Draw the scene on the background and flip; returns the time of the flip (its onset) on `clock`."""

    def hold(self, until_s: float) -> None:
        """Let time pass with the scene standing: until `until_s`, or a frame's time if that is sooner.

        A real display flips the same scene once more, which is how a late frame is seen; a virtual one jumps.
        """

    def late_frames(self) -> int:
        """Frames of the screen that were missed since the last call: flips that came later than the next frame."""

    def events(self) -> list[WindowEvent]:
        """Key presses, clicks and closings of the window since the last call, oldest first; never blocks."""

    def pointer_px(self) -> tuple[float, float]:
        """The mouse pointer's position in px; may be called from any thread, a thousand times a second."""

    def capture(self) -> Image.Image:
        """What is on the screen now."""

    def close(self) -> None:
        """Close the window; may be called twice."""


# What passes between a session and a tracker.


@dataclass(frozen=True)
class Calibration:
    """Outcome of a calibration: which points were collected, and the vendor's own data to be kept, if any."""

    success: bool
    points: tuple[Point, ...]
    failed: tuple[int, ...]
    message: str
    data: bytes = b""


@dataclass(frozen=True)
class ClockPair:
    """The session's clock read before and after the tracker's; half their distance bounds the error."""

    before_s: float
    tracker_s: float
    after_s: float


@dataclass(frozen=True)
class Notice:
    """Something the operator must know at once: connection lost, samples lost, eyes not found.

    A `fatal` one ends the session. One that `ends_recording` breaks the trial off: the tracker was stopped at its own
    computer, and records again when the session starts it.
    """

    text: str
    fatal: bool = False
    ends_recording: bool = False


@dataclass(frozen=True)
class Batch:
    """What arrived since the last read."""

    samples: Samples
    events: tuple[TrackerEvent, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class CloseReport:
    """How closing went: the files that were fetched, and what failed, in sentences."""

    files: tuple[Path, ...] = ()
    failures: tuple[str, ...] = field(default=())


class Tracker(Protocol):
    """An eye tracker. Every method is called from the main thread; TrackerError says what the operator can do.

    Where `escape_is_its_own`, Escape belongs to the tracker while it calibrates, and does not end the session then.
    """

    escape_is_its_own: bool

    def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
        """Reach the tracker and set it as asked; raises TrackerError where it cannot do all of that."""

    def calibrate(self, display: Display, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        """Show the targets, each animated, and calibrate; with `redo`, `points` are collected anew and joined to it.

        `display` attends to the session: its `show` and `hold`, to be called every frame, move gaze to the recorder,
        tell the operator, and raise where the session is to end; a tracker must not catch that. Points that gave no
        data are in `failed`; without enough of the others `success` is False.
        """

    def start(self) -> None:
        """Begin to record; again after each `stop` (a calibration in mid-session stands between the two)."""

    def read(self) -> Batch:
        """What arrived since the last call, oldest first; never blocks, never waits for the disk.

        Samples carry the time of sampling, not of arrival; one whose time does not advance is left out by the session.
        """

    def clocks(self) -> ClockPair:
        """Both clocks, read together."""

    def message(self, text: str, at_s: float) -> None:
        """Write a message into the vendor's own file, for the session's time `at_s`."""

    def stop(self) -> None:
        """End recording; what has arrived can still be read."""

    def close(self, save_to: Path) -> CloseReport:
        """Let go of the tracker, whatever its state; may be called twice; vendor's files go to `save_to`."""
