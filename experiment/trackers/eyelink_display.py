"""The participant's screen while an EyeLink is set up: camera picture, calibration targets, and keys for the host.

During `doTrackerSetup` SR Research's library draws and asks for keys through an object of its class
EyeLinkCustomDisplay. `SetupScreen` answers it with our shapes on our display, and `custom_display` makes the object.
Two things are peculiar. An exception that leaves one of the library's callbacks crashes the whole program
(segmentation fault, seen in 2.2.596), so each is caught, kept, and raised once the set-up has been left. And the
library has the main thread meanwhile, so the session is attended to whenever the library asks for keys.

No sound is made here; the link, and the judgement of a calibration, are `experiment.trackers.eyelink`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from beholder.experiment.calibration import TARGET_FROM_DEG, TARGET_SHRINKS_S, TARGET_TO_DEG, target
from beholder.experiment.devices import Bitmap, Display, Key, Shape, Text
from beholder.shared.recording.records import Point

P = ParamSpec("P")
T = TypeVar("T")

# Between two targets the screen is empty for less than this; after it the list of keys is shown again.
EMPTY_S = 2.0
# The library asks for keys 1,250 times a second, and draws nothing while it waits. Drawing and attending to the session
# take up to a frame, so they are done only this often.
STEP_S = 0.015
# Colours by the library's numbers: hairs of corneal reflection and pupil, boxes of pupil and search, mouse, overlays.
LINE_COLOURS = {1: "#ffffff", 2: "#ffffff", 3: "#00ff00", 4: "#ff0000", 5: "#ff0000", 6: "#00ff00", 7: "#ff0000"}
HELP = (
    "Enter: camera picture    Left, Right: other views    A: threshold    C: calibrate    V: validate",
    "Space: take this target    Backspace: target before    Escape or Q: leave this page",
)
# The library's names of key codes, by our names of the keys; a single character stands for itself.
NAMED_KEYS = {
    "return": "ENTER_KEY",
    "enter": "ENTER_KEY",
    "up": "CURS_UP",
    "down": "CURS_DOWN",
    "left": "CURS_LEFT",
    "right": "CURS_RIGHT",
    "pageup": "PAGE_UP",
    "pagedown": "PAGE_DOWN",
    "escape": "ESC_KEY",
    "q": "ESC_KEY",
}
BACKSPACE = 8


class SetupScreen:
    """Shows what the library wants shown and passes on keys, for one tracker and one set-up after the other.

    `failure` is what ended the set-up before its time (as a rule, the session's end), `targets_px` are the places at
    which targets were shown, each once, and `alerts` what the library wanted to be read.
    """

    def __init__(self, pylink: Any) -> None:
        self._codes = {name: int(getattr(pylink, code)) for name, code in NAMED_KEYS.items()}
        self._codes |= {"space": ord(" "), "backspace": BACKSPACE}
        self._escape = int(pylink.ESC_KEY)
        self._display: Display | None = None
        self._watch: Callable[[], None] = lambda: None
        self._leave: Callable[[], object] = lambda: None
        self.failure: BaseException | None = None
        self.targets_px: list[tuple[float, float]] = []
        self.alerts: list[str] = []
        self._target: tuple[Point, float] | None = None
        self._empty_since_s: float | None = None
        self._attended_s = float("-inf")
        self._pixels: NDArray[np.uint8] = np.zeros((1, 1, 3), np.uint8)
        self._palette: NDArray[np.uint8] = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        self._lines: list[tuple[float, float, float, float, str]] = []
        self._boxes: list[tuple[float, float, float, float, str]] = []
        self._title = ""

    def begin(self, display: Display, watch: Callable[[], None], leave: Callable[[], object]) -> None:
        """Begin a set-up on this display; `watch` raises where the link is lost, `leave` has the library end it."""
        self._display, self._watch, self._leave = display, watch, leave
        self.failure, self.targets_px, self.alerts = None, [], []
        self._target = self._empty_since_s = None
        self._attended_s = float("-inf")

    def guarded(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The call's result; None once anything was raised, Ctrl-C included, which is kept in `failure`."""
        if self.failure is not None:
            return None
        try:
            return call(*args, **kwargs)
        except BaseException as failure:
            self.failure = failure
            with suppress(BaseException):
                self._leave()
            return None

    def keys(self) -> list[int]:
        """Codes of the keys pressed since the last call; every `STEP_S` this also draws and attends to the session."""
        display = self._shown_on()
        now_s = display.clock.now_s()
        if now_s < self._attended_s + STEP_S:
            return []
        self._watch()
        if self._target is not None:
            self._show_target()
        elif self._empty_since_s is not None and now_s - self._empty_since_s > EMPTY_S:
            self.menu()
        # Counted from here on, since drawing waits for its flip.
        self._attended_s = display.clock.now_s()
        names = [event.name for event in display.events() if isinstance(event, Key)]
        return [code for name in names if (code := self._code(name)) is not None]

    def escape(self) -> list[int]:
        """The key to answer once the set-up is to end: at each Escape the library leaves one of its pages."""
        return [self._escape]

    def menu(self) -> None:
        """Show nothing but the list of keys."""
        self._target = None
        self._show(self._help())

    def clear(self) -> None:
        """Show an empty screen."""
        self._target = None
        self._show([])
        self._empty_since_s = self._shown_on().clock.now_s()

    def draw_target(self, x_px: float, y_px: float) -> None:
        """Show a target that begins to shrink now."""
        point = Point(len(self.targets_px) + 1, float(x_px), float(y_px))
        if (point.x_px, point.y_px) not in self.targets_px:
            self.targets_px.append((point.x_px, point.y_px))
        self._target, self._empty_since_s = (point, self._shown_on().clock.now_s()), None
        self._show_target()

    def alert(self, text: str) -> None:
        """Keep a text that the library wants to be read."""
        self.alerts.append(" ".join(str(text).split()))

    # The camera's picture, line by line.

    def begin_picture(self) -> None:
        """Prepare for a picture of the camera; its lines tell its size."""
        self._target = None

    def title(self, text: str) -> None:
        """Keep the text that stands under the picture (which eye, thresholds)."""
        self._title = str(text)

    def palette(self, red: Sequence[int], green: Sequence[int], blue: Sequence[int]) -> None:
        """Set the colours that the numbers in a line stand for."""
        self._palette = np.stack([np.asarray(list(part), np.uint8) for part in (red, green, blue)], axis=1)

    def line(self, width_px: int, number: int, of: int, colours: Sequence[int]) -> bool:
        """Take line `number` (from 1) of the picture's `of` lines; returns whether it was the last.

        The lines tell the picture's size: the size that the library announces (`setup_image_display`) is twice that.
        """
        if self._pixels.shape[:2] != (of, width_px):
            self._pixels = np.zeros((of, width_px, 3), np.uint8)
        numbers = np.asarray(list(colours)[:width_px], np.int64)
        row = self._palette[np.clip(numbers, 0, len(self._palette) - 1)]
        if 1 <= number <= of:
            self._pixels[number - 1, : len(row)] = row
        if number == 1:
            self._lines, self._boxes = [], []
        return number >= of

    def hair(self, x1: float, y1: float, x2: float, y2: float, colour: int) -> None:
        """Keep a line to be drawn over the picture, in its px."""
        self._lines.append((x1, y1, x2, y2, LINE_COLOURS.get(int(colour), "#ffffff")))

    def oval(self, x: float, y: float, width: float, height: float, colour: int) -> None:
        """Keep an oval to be drawn over the picture, in its px."""
        self._boxes.append((x, y, x + width, y + height, LINE_COLOURS.get(int(colour), "#ffffff")))

    def show_picture(self) -> None:
        """Show the whole picture with its lines and ovals, twice as large where there is room."""
        display = self._shown_on()
        image = Image.fromarray(self._pixels)
        draw = ImageDraw.Draw(image)
        for *ends, colour in self._lines:
            draw.line(ends, fill=colour)
        for *corners, colour in self._boxes:
            draw.ellipse(corners, outline=colour)
        room_px = 0.7 * display.screen.height_px
        times = 2 if 2 * image.height <= room_px and 2 * image.width <= display.screen.width_px else 1
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
        x_px, y_px = display.screen.centre_px
        below_px = y_px + image.height / 2 + self._letter_px()
        under = [Text(self._title, x_px, below_px, self._letter_px())] if self._title.strip() else []
        self._show([Bitmap(image, x_px, y_px), *under, *self._help()])

    # Drawing.

    def _shown_on(self) -> Display:
        assert self._display is not None, "the library calls back only within a set-up"
        return self._display

    def _show(self, scene: Sequence[Shape]) -> None:
        self._empty_since_s = None
        self._shown_on().show(scene)

    def _show_target(self) -> None:
        assert self._target is not None
        display, (point, onset_s) = self._shown_on(), self._target
        share = min(1.0, (display.clock.now_s() - onset_s) / TARGET_SHRINKS_S)
        diameter_deg = TARGET_FROM_DEG + share * (TARGET_TO_DEG - TARGET_FROM_DEG)
        display.show([target(display.screen, point, diameter_deg)])

    def _letter_px(self) -> float:
        return self._shown_on().screen.height_px / 45

    def _help(self) -> list[Shape]:
        screen = self._shown_on().screen
        lines = len(HELP)
        return [
            Text(
                text,
                screen.width_px / 2,
                screen.height_px - (lines + 0.5 - i) * 1.5 * self._letter_px(),
                self._letter_px(),
                "#707070",
            )
            for i, text in enumerate(HELP)
        ]

    def _code(self, name: str) -> int | None:
        if name in self._codes:
            return self._codes[name]
        return ord(name) if len(name) == 1 else None


def custom_display(pylink: Any, setup: SetupScreen) -> Any:
    """An object of the library's EyeLinkCustomDisplay that passes everything on to `setup`; it never raises."""

    class CustomDisplay(pylink.EyeLinkCustomDisplay):  # type: ignore[misc]
        """The library's callbacks, each passed on to `setup`."""

        def setup_cal_display(self) -> None:
            setup.guarded(setup.menu)

        def exit_cal_display(self) -> None:
            setup.guarded(setup.clear)

        def clear_cal_display(self) -> None:
            setup.guarded(setup.clear)

        def record_abort_hide(self) -> None:
            setup.guarded(setup.clear)

        def draw_cal_target(self, x: float, y: float) -> None:
            setup.guarded(setup.draw_target, x, y)

        def erase_cal_target(self) -> None:
            setup.guarded(setup.clear)

        def play_beep(self, beepid: int) -> None:
            """Make no sound: it would need a sound card that keeps time, and the host makes its own."""

        def get_input_key(self) -> list[Any]:
            pressed = setup.guarded(setup.keys) or []
            codes = pressed if setup.failure is None else setup.escape()
            return [pylink.KeyInput(code, 0) for code in codes]

        def get_mouse_state(self) -> tuple[tuple[int, int], int]:
            return (0, 0), 0

        def alert_printf(self, msg: str) -> None:
            setup.guarded(setup.alert, msg)

        def setup_image_display(self, width: int, height: int) -> int:
            setup.guarded(setup.begin_picture)
            return 1

        def exit_image_display(self) -> None:
            setup.guarded(setup.menu)

        def image_title(self, title: str) -> None:
            setup.guarded(setup.title, title)

        def set_image_palette(self, red: Sequence[int], green: Sequence[int], blue: Sequence[int]) -> None:
            setup.guarded(setup.palette, red, green, blue)

        def draw_image_line(self, width: int, line: int, totlines: int, buff: Sequence[int]) -> None:
            if setup.guarded(setup.line, int(width), int(line), int(totlines), buff):
                # The library answers with its hairs and ovals, through `draw_line` and `draw_lozenge`.
                self.draw_cross_hair()
                setup.guarded(setup.show_picture)

        def draw_line(self, x1: float, y1: float, x2: float, y2: float, colorindex: int) -> None:
            setup.guarded(setup.hair, x1, y1, x2, y2, colorindex)

        def draw_lozenge(self, x: float, y: float, width: float, height: float, colorindex: int) -> None:
            setup.guarded(setup.oval, x, y, width, height, colorindex)

    return CustomDisplay()
