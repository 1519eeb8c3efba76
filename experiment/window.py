"""The participant's screen in the lab: a PsychoPy window behind the Protocol of `experiment.devices`.

1. A scene is drawn, flipped, and the clock read right after the flip: that is its onset. `hold` flips the same scene
   once a frame; a flip that comes more than half a frame late has missed a frame.
2. Where flips do not wait for the screen (no vertical sync, as on a virtual one) the clock paces them, so that a
   session goes on as usual; `experiment.preflight` calls such a screen unfit.
3. Keys and clicks are those of this window alone. The pointer's position is read from the system over a connection of
   its own, so that a thread can sample it a thousand times a second without touching the window.
4. A window or a screen that is lost becomes a `Closed` event. Nothing is shown from then on, and time goes on.

PsychoPy is imported only when a window is made: that takes seconds. What is shown when is not decided here.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from beholder.experiment.devices import (
    STANDING_OUT,
    Bitmap,
    Button,
    Click,
    Clock,
    Closed,
    Dot,
    Key,
    Picture,
    Shape,
    Text,
    WindowEvent,
    standing_out_on,
)
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DisplayError
from beholder.shared.screen import Screen
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.study import ScreenSettings

# The system may end a sleep late by this much: the last part of a wait is slept in short naps.
WAKING_S = 0.001
# Flips timed at the start, to see whether they wait for the screen; some before them only fill the driver's queue.
FIRST_FLIPS, SETTLING_FLIPS = 12, 4
# `hold` leaves the next frame to its caller only where more than this share of a frame is then left to draw in.
FRAME_MARGIN = 0.25
# How often the system is asked whether the window still exists.
ALIVE_EVERY_S = 0.25
# A window on a desktop leaves room for its frame and the panels.
WINDOWED_SHARE = 0.85
# A disc is drawn as a small picture of a disc with a transparent rim, scaled to its size.
DISC_TEXELS, DISC_RIM = 64, 2
# A button's label: its height and its largest width, as shares of the button's.
LABEL_HEIGHT, LABEL_WIDTH = 0.45, 0.9

# X11's numbers of these events. A key pressed again within `REPEAT_MS` of its release was held down all the time.
KEY_PRESS, KEY_RELEASE = 2, 3
REPEAT_MS = 5
NAMED_KEYS = {
    "SPACE": "space",
    "ESCAPE": "escape",
    "RETURN": "return",
    "ENTER": "return",
    "NUM_ENTER": "return",
    "BACKSPACE": "backspace",
    "TAB": "tab",
    "LEFT": "left",
    "RIGHT": "right",
    "UP": "up",
    "DOWN": "down",
    "PAGEUP": "pageup",
    "PAGEDOWN": "pagedown",
}
# The number pad types digits whether Num Lock is on (then they arrive as text) or off (then as these keys).
PAD_DIGITS = {
    "NUM_INSERT": "0", "NUM_END": "1", "NUM_DOWN": "2", "NUM_PAGE_DOWN": "3", "NUM_NEXT": "3", "NUM_LEFT": "4",
    "NUM_BEGIN": "5", "NUM_RIGHT": "6", "NUM_HOME": "7", "NUM_UP": "8", "NUM_PAGE_UP": "9", "NUM_PRIOR": "9",
}  # fmt: skip


class SystemClock:
    """`time.perf_counter`: it neither steps nor turns back when somebody sets the computer's time."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        return time.perf_counter()

    def sleep_until_s(self, time_s: float) -> None:
        """Return at `time_s`, within a fraction of a millisecond where the system lets us; other threads may run."""
        while (left_s := time_s - time.perf_counter()) > 0:
            time.sleep(max(0.0, left_s - WAKING_S) or min(left_s, WAKING_S / 10))


class Window:
    """A full-screen window on the study's monitor, or, `windowed`, one on the desktop to try things out.

    `screen` has the window's actual size in px. Where a full-screen window's size differs from the study's, the study's
    cm per px are kept, so that a degree stays a degree. A window on the desktop is the study's screen scaled down: what
    fits on that screen fits here, and a degree is smaller than it should be. `interval_s` is the time between frames:
    measured where flips wait for the screen (`waits_for_screen`), else the study's. `framebuffer_px` is the size of
    what is drawn into, `monitors` the number of monitors, and `monitor_at_px` where the window's begins on the desktop.

    Raises DisplayError, one sentence with the remedy, where no window can be opened.
    """

    def __init__(self, settings: ScreenSettings, background: str, *, windowed: bool = False) -> None:
        self._lost = self._closed = False
        self._events: list[WindowEvent] = []
        self._scene: tuple[Shape, ...] = ()
        self._pointer_wanted = True
        self._pointer_seen: bool | None = None
        self._late = 0
        self._flipped_s: float | None = None
        self._due_s = 0.0
        self._held, self._chord = True, False
        self._alive_until_s = 0.0
        self._pyglet_pointer_px = (math.nan, math.nan)
        self.clock: Clock = SystemClock()
        self._win, self._pyglet = _open(settings, background, windowed)
        self._handle = self._win.winHandle
        width_px, height_px = (int(side) for side in self._handle.get_size())
        self.windowed = windowed
        size_cm = settings.width_cm, settings.height_cm
        if not windowed:
            size_cm = size_cm[0] * width_px / settings.width_px, size_cm[1] * height_px / settings.height_px
        self.screen = Screen(width_px, height_px, *size_cm, settings.distance_cm)
        self.framebuffer_px = tuple(int(side) for side in self._handle.get_framebuffer_size())
        self.monitors = len(self._handle.display.get_screens())
        self.monitor_at_px = int(self._handle.screen.x), int(self._handle.screen.y)
        self._painter = _Painter(self._win, self.screen, background)
        self._system_pointer = self._pointer_of_system()
        # Runs before PsychoPy's own exit handler, which knows nothing of lost screens.
        atexit.register(self.close)
        self._listen()
        self.interval_s, self.waits_for_screen = 1 / settings.refresh_hz, False
        self.measure_flips(SETTLING_FLIPS)
        intervals = self.measure_flips(FIRST_FLIPS)
        # Where flips do not wait, some are quick even on a busy computer; where they wait, none is.
        if np.quantile(intervals, 0.2) > 0.75 * self.interval_s:
            self.interval_s, self.waits_for_screen = float(np.median(intervals)), True

    # Showing.

    def show(self, scene: Sequence[Shape]) -> float:
        """Draw the scene and flip; returns the time of the flip. Raises DataError where a picture cannot be read."""
        self._scene = tuple(scene)
        if not self._lost:
            self._painter.prepare(self._scene)
        # Buttons are aimed at with the pointer.
        self._set_pointer(self._pointer_wanted or any(isinstance(shape, Button) for shape in scene))
        return self._frame()

    def hold(self, until_s: float) -> None:
        """Flip the standing scene once more if its next frame comes before `until_s`, else wait until then."""
        if self._next_frame_s() - FRAME_MARGIN * self.interval_s > until_s:
            self.clock.sleep_until_s(until_s)
        else:
            self._frame()

    def late_frames(self) -> int:
        """Frames missed since the last call: whole frames between two flips beyond the one that is due."""
        late, self._late = self._late, 0
        return late

    def preload(self, pictures: Iterable[Picture]) -> None:
        """Read and scale pictures and load them onto the graphics card, so that no onset has to wait for that.

        They are kept until the window closes. Raises DataError where one cannot be read.
        """
        if not self._lost:
            self._painter.keep(pictures)
            self._flipped_s = None

    def capture(self) -> Image.Image:
        """What is on the screen now, drawn once more and read back, as RGB; the background where the screen is lost."""
        blank = Image.new("RGB", (self.screen.width_px, self.screen.height_px), self._painter.background)
        image: Image.Image = self._guarded(self._read_back, blank)
        return image

    def measure_flips(self, n: int) -> FloatArray:
        """(n,) intervals in seconds between n + 1 flips in a row that nothing paces but the screen itself."""
        times_s = [self._guarded(self._flip, self.clock.now_s()) for _ in range(n + 1)]
        self._flipped_s = None
        return np.diff(times_s)

    # Keys, clicks and the pointer.

    def events(self) -> list[WindowEvent]:
        """Key presses, clicks and closings since the last call; where the window is lost, `Closed`, once."""
        self._guarded(self._handle.dispatch_events, None)
        self._look_alive()
        happened, self._events = self._events, []
        return happened

    def pointer_px(self) -> tuple[float, float]:
        """The pointer's position, the middle of a px of the window, NaN where it is not known; from any thread."""
        return self._system_pointer.read_px() if self._system_pointer is not None else self._pyglet_pointer_px

    def place_pointer(self, x_px: float, y_px: float) -> None:
        """Move the pointer into the px that holds the position."""
        x, y = math.floor(x_px), math.floor(y_px)
        self._guarded(lambda: self._handle.set_mouse_position(x, self.screen.height_px - y), None)
        self._guarded(self._handle.dispatch_events, None)

    def show_pointer(self, visible: bool) -> None:
        """Show or hide the pointer over the window; a scene with buttons always shows it."""
        self._pointer_wanted = visible
        self._set_pointer(visible)

    def _set_pointer(self, visible: bool) -> None:
        if visible != self._pointer_seen:
            self._pointer_seen = visible
            self._guarded(lambda: self._handle.set_mouse_visible(visible), None)

    def close(self) -> None:
        """Close the window and give the pointer back; may be called twice, also where the screen is lost."""
        if self._closed:
            return
        self._closed = True
        # Closing the window of a screen that has just died may crash the driver, and the process with it.
        self._lost = self._lost or not self._exists()
        self.show_pointer(True)
        self._guarded(self._win.close, None)
        # PsychoPy must not try to close the window again at the end of the program.
        self._win._closed = True
        self._lost = True
        if self._system_pointer is not None:
            self._system_pointer.close()

    # A frame.

    def _frame(self) -> float:
        now_s = self.clock.now_s()
        if self._lost:
            self.clock.sleep_until_s(self._next_frame_s())
            self._flipped_s = self._due_s = self.clock.now_s()
            return self._flipped_s
        flipped_s: float = self._guarded(self._paced_flip, now_s)
        if self._flipped_s is not None and (gap_s := flipped_s - self._flipped_s) > 1.5 * self.interval_s:
            self._late += round(gap_s / self.interval_s) - 1
        self._flipped_s = flipped_s
        return flipped_s

    def _paced_flip(self) -> float:
        self._painter.draw(self._scene)
        if self.waits_for_screen:
            return self._flip()
        now_s = self.clock.now_s()
        frames = 0.0 if self._flipped_s is None else (now_s - self._due_s) / self.interval_s
        self._due_s = now_s if self._flipped_s is None else self._due_s + max(1, math.floor(frames)) * self.interval_s
        self.clock.sleep_until_s(self._due_s)
        flipped_s = self._flip()
        # As on a real screen, a flip that comes more than half a frame late takes the place of a later frame.
        self._due_s += round((flipped_s - self._due_s) / self.interval_s) * self.interval_s
        return flipped_s

    def _flip(self) -> float:
        self._win.flip()
        return time.perf_counter()

    def _next_frame_s(self) -> float:
        """When the next frame is due; now, where none was flipped yet."""
        if self._flipped_s is None:
            return self.clock.now_s()
        return (self._flipped_s if self.waits_for_screen else self._due_s) + self.interval_s

    def _read_back(self) -> Image.Image:
        self._win.clearBuffer()
        self._painter.draw(self._scene)
        image = self._win.getMovieFrame(buffer="back").convert("RGB")
        self._win.movieFrames.clear()
        self._win.clearBuffer()
        return image  # type: ignore[no-any-return]

    # Losing the window.

    def _guarded(self, call: Callable[[], Any], otherwise: Any) -> Any:
        """The call's value; `otherwise`, and a `Closed` event, where the window or its screen is gone."""
        if not self._lost:
            try:
                value = call()
            except (self._pyglet.gl.GLException, self._pyglet.window.WindowException):
                self._lose()
            except Exception:
                # A lost window raises many kinds of errors; an error while it still exists is a defect.
                if self._exists():
                    raise
                self._lose()
            else:
                if not _lost_connections:
                    return value
                self._lose()
        return otherwise

    def _look_alive(self) -> None:
        now_s = self.clock.now_s()
        if not self._lost and now_s > self._alive_until_s:
            self._alive_until_s = now_s + ALIVE_EVERY_S
            if not self._exists():
                self._lose()

    def _exists(self) -> bool:
        return not _lost_connections and (self._system_pointer is None or self._system_pointer.window_exists())

    def _lose(self) -> None:
        self._lost = True
        self._win._closed = True
        self._events.append(Closed(self.clock.now_s()))

    # Listening.

    def _pointer_of_system(self) -> _SystemPointer | None:
        if sys.platform == "win32":
            return _WindowsPointer(self._handle._view_hwnd)
        if sys.platform == "darwin":
            return None
        return _X11Pointer(self._handle.display.name, self._handle._window)

    def _listen(self) -> None:
        """Handle the window's events before PsychoPy does: each handler returns True, so that no other is called."""
        key, left = self._pyglet.window.key, self._pyglet.window.mouse.LEFT
        names = {getattr(key, k): v for k, v in {**NAMED_KEYS, **PAD_DIGITS}.items() if hasattr(key, k)}

        pressed_at_ms = self._event_times_of_x11()
        released: dict[int, int] = {}
        both = key.MOD_CTRL | key.MOD_SHIFT

        def on_key_press(symbol: int, modifiers: int) -> bool:
            self._held = pressed_at_ms() - released.get(symbol, -REPEAT_MS) < REPEAT_MS
            self._chord = modifiers & both == both
            if self._chord and key.A <= symbol <= key.Z:
                self._events.append(Key(chr(symbol).lower(), self.clock.now_s(), self._held, chord=True))
            elif symbol in names:
                self._events.append(Key(names[symbol], self.clock.now_s(), self._held))
            return True

        def on_key_release(symbol: int, _modifiers: int) -> bool:
            released[symbol] = pressed_at_ms()
            return True

        def on_text(text: str) -> bool:
            # A key held down types again and again; where its press is reported only once, the next text is the sign.
            if not self._chord and text.isprintable() and not text.isspace():
                self._events.append(Key(text.lower(), self.clock.now_s(), self._held))
            self._held = True
            return True

        def on_mouse_press(x: int, y: int, button: int, _modifiers: int) -> bool:
            if button == left:
                self._events.append(Click(*self._from_pyglet(x, y), self.clock.now_s()))
            return True

        def on_mouse_motion(x: int, y: int, *_: object) -> bool:
            self._pyglet_pointer_px = self._from_pyglet(x, y)
            return True

        def on_close() -> bool:
            self._events.append(Closed(self.clock.now_s()))
            return True

        def nothing(*_: object) -> bool:
            return True

        self._handle.push_handlers(
            on_key_press=on_key_press,
            on_key_release=on_key_release,
            on_text=on_text,
            on_text_motion=nothing,
            on_mouse_press=on_mouse_press,
            on_mouse_release=nothing,
            on_mouse_scroll=nothing,
            on_close=on_close,
            on_mouse_motion=on_mouse_motion,
            on_mouse_drag=on_mouse_motion,
        )

    def _event_times_of_x11(self) -> Callable[[], int]:
        """A function that returns the time in ms of the event being handled; elsewhere than on X11, one that counts up.

        An X server repeats a held key as releases and presses of the same moment; pyglet passes them on without their
        times. On the other systems pyglet leaves out the repetitions itself.
        """
        time_ms = [0]
        if not sys.platform.startswith("linux"):

            def later() -> int:
                time_ms[0] += REPEAT_MS
                return time_ms[0]

            return later

        def noting(handle: Callable[[Any], None]) -> Callable[[Any], None]:
            def handler(event: Any) -> None:
                time_ms[0] = int(event.xkey.time)
                handle(event)

            return handler

        for handlers in (self._handle._event_handlers, self._handle._view_event_handlers):
            for kind in (KEY_PRESS, KEY_RELEASE):
                if kind in handlers:
                    handlers[kind] = noting(handlers[kind])
        return lambda: time_ms[0]

    def _from_pyglet(self, x: int, y: int) -> tuple[float, float]:
        # On X11 pyglet counts the row of a click from 1 at the bottom, that of a movement from 0: a px apart at most.
        return x + 0.5, min(max(self.screen.height_px - y, 0), self.screen.height_px - 1) + 0.5


# ------------------------------------------------------------------------------------------------- opening and losing


def _open(settings: ScreenSettings, background: str, windowed: bool) -> tuple[Any, Any]:
    """PsychoPy's window, and pyglet. Raises DisplayError where either cannot be had."""
    home = Path.home()
    if not os.access(home, os.W_OK):
        raise DisplayError(f"{home} cannot be written, and PsychoPy keeps its settings there: set HOME to your folder.")
    on_x11 = sys.platform.startswith("linux")
    if on_x11 and not os.environ.get("DISPLAY"):
        remedy = "run it in a graphical session, or under xvfb-run to try it out"
        raise DisplayError(f"there is no screen to open a window on (DISPLAY is not set): {remedy}.")
    try:
        if on_x11:
            _outlive_the_screen()
        from psychopy import logging

        logging.console.setLevel(logging.CRITICAL)
        from psychopy import visual
    except ImportError as error:
        remedy = 'pip install -e ".[experiment]" -c constraints.txt'
        raise DisplayError(f"PsychoPy cannot be loaded ({error}): {remedy}.") from None
    except Exception as error:
        # pyglet looks for the screen, and for the system's libraries, while it is imported.
        raise _no_window(error) from None
    import pyglet

    try:
        size = _desktop_size(pyglet, settings) if windowed else (settings.width_px, settings.height_px)
        win = visual.Window(
            size=size,
            fullscr=not windowed,
            screen=settings.monitor - 1,
            winType="pyglet",
            units="pix",
            color=background,
            checkTiming=False,
            allowGUI=windowed,
        )
        win.winHandle.set_caption("Beholder")
    except Exception as error:
        raise _no_window(error) from None
    return win, pyglet


def _no_window(error: Exception) -> DisplayError:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    remedy = "check that the monitor is on, that the graphics driver has OpenGL 2, and DISPLAY where there is one"
    return DisplayError(f"no window can be opened on this screen ({reason}): {remedy}.")


def _desktop_size(pyglet: Any, settings: ScreenSettings) -> tuple[int, int]:
    screen = pyglet.canvas.get_display().get_default_screen()
    share = min(1.0, WINDOWED_SHARE * min(screen.width / settings.width_px, screen.height / settings.height_px))
    return 2 * round(share * settings.width_px / 2), 2 * round(share * settings.height_px / 2)


# Addresses of the X connections that broke, and the functions that Xlib may call; both are kept for ever.
_lost_connections: set[int] = set()
_kept_for_xlib: list[Any] = []


def _outlive_the_screen() -> None:
    """Have Xlib return where the X server dies, instead of ending the process (needs libX11 1.7 of 2020 or later).

    Every connection needs a handler of its own, and some are opened deep inside pyglet: so the function that opens one
    is wrapped. With an older libX11 the process ends: what was recorded is recovered by the next session.
    """
    if _kept_for_xlib:
        return
    x11 = _xlib()
    x11.XInitThreads()
    no_report = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _display: 0)
    x11.XSetIOErrorHandler(no_report)
    _kept_for_xlib.append(no_report)
    if not hasattr(x11, "XSetIOErrorExitHandler"):
        return
    from pyglet.libs.x11 import xlib

    plain_open = xlib.XOpenDisplay

    def open_and_guard(name: Any) -> Any:
        display = plain_open(name)
        if display:
            _guard_connection(ctypes.cast(display, ctypes.c_void_p).value)
        return display

    xlib.XOpenDisplay = open_and_guard


def _guard_connection(display: int | None) -> None:
    if display is None or not hasattr(_xlib(), "XSetIOErrorExitHandler"):
        return
    broke = _EXIT_HANDLER(lambda _display, _data: _lost_connections.add(display))
    _kept_for_xlib.append(broke)
    _xlib().XSetIOErrorExitHandler(display, broke, None)


_EXIT_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


def _xlib() -> Any:
    """libX11, with the argument and result types of the functions that are called here."""
    if not _libraries:
        x11 = ctypes.CDLL("libX11.so.6")
        pointer, ulong = ctypes.c_void_p, ctypes.c_ulong
        x11.XOpenDisplay.restype, x11.XOpenDisplay.argtypes = pointer, [ctypes.c_char_p]
        x11.XCloseDisplay.argtypes = [pointer]
        x11.XQueryPointer.argtypes = [pointer, ulong, *[pointer] * 7]
        x11.XGetWindowAttributes.argtypes = [pointer, ulong, pointer]
        if hasattr(x11, "XSetIOErrorExitHandler"):
            x11.XSetIOErrorExitHandler.argtypes = [pointer, _EXIT_HANDLER, pointer]
        _libraries.append(x11)
    return _libraries[0]


_libraries: list[Any] = []


# ---------------------------------------------------------------------------------------------------------- the pointer


class _SystemPointer(Protocol):
    """The pointer and the window, as the system knows them."""

    def read_px(self) -> tuple[float, float]:
        """The pointer's position in px of the window, NaN where it is not known; from any thread."""

    def window_exists(self) -> bool:
        """Whether the system still has the window."""

    def close(self) -> None:
        """End the connection to the system; may be called twice."""


class _X11Pointer:
    """The pointer by its own connection to the X server; one thread at a time asks, and other threads run meanwhile."""

    def __init__(self, display_name: bytes | str | None, window: int) -> None:
        name = display_name.encode() if isinstance(display_name, str) else display_name
        self._display: int | None = _xlib().XOpenDisplay(name)
        _guard_connection(self._display)
        self._window = window
        self._lock = threading.Lock()
        ids, places, mask = (ctypes.c_ulong * 2)(), (ctypes.c_int * 4)(), ctypes.c_uint()
        at = [ctypes.addressof(ids) + i * ctypes.sizeof(ctypes.c_ulong) for i in range(2)]
        at += [ctypes.addressof(places) + i * ctypes.sizeof(ctypes.c_int) for i in range(4)]
        self._found, self._places, self._kept = [*at, ctypes.addressof(mask)], places, (ids, mask)

    def read_px(self) -> tuple[float, float]:
        with self._lock:
            if not self._connected() or not _xlib().XQueryPointer(self._display, self._window, *self._found):
                return math.nan, math.nan
            return self._places[2] + 0.5, self._places[3] + 0.5

    def window_exists(self) -> bool:
        # Xlib's XWindowAttributes has 136 bytes on a 64-bit system.
        attributes = ctypes.create_string_buffer(256)
        with self._lock:
            return self._connected() and bool(_xlib().XGetWindowAttributes(self._display, self._window, attributes))

    def close(self) -> None:
        with self._lock:
            if self._connected():
                _xlib().XCloseDisplay(self._display)
            self._display = None

    def _connected(self) -> bool:
        return self._display is not None and not _lost_connections


class _WindowsPointer:
    """The pointer by `GetCursorPos` of Windows, in px of the window."""

    def __init__(self, window: int) -> None:
        self._user32: Any = ctypes.__dict__["windll"].user32
        self._window = window

    def read_px(self) -> tuple[float, float]:
        place = (ctypes.c_long * 2)()
        if not self._user32.GetCursorPos(place) or not self._user32.ScreenToClient(self._window, place):
            return math.nan, math.nan
        return place[0] + 0.5, place[1] + 0.5

    def window_exists(self) -> bool:
        return bool(self._user32.IsWindow(self._window))

    def close(self) -> None:
        pass


# ------------------------------------------------------------------------------------------------------------- drawing


class _Painter:
    """PsychoPy's stimuli for shapes, made once and kept while they are shown.

    Positions of shapes are px from the upper left corner; PsychoPy's are px from the middle, upwards.
    """

    def __init__(self, win: Any, screen: Screen, background: str) -> None:
        from psychopy import visual

        self.background, self._standing_out = background, standing_out_on(background)
        self._visual, self._win, self._screen = visual, win, screen
        self._stimuli: dict[Hashable, tuple[Shape, list[Any]]] = {}
        self._before: set[Hashable] = set()
        self._preloaded: set[Hashable] = set()
        # A shrinking target is a new Dot in every frame, drawn with the same two discs, changed.
        self._discs: list[_Disc] = []
        # The first stimulus of a kind makes the driver compile its drawing code: now, not at a picture's onset.
        first: list[Shape] = [Dot(0, 0, 1, background), Bitmap(Image.new("RGB", (1, 1), background), 0, 0)]
        self.prepare(first)
        self.draw(first)
        win.clearBuffer()

    def prepare(self, scene: Sequence[Shape]) -> None:
        """Make the stimuli that the scene needs; drop those that neither it nor the scene before needs."""
        now = {_key(shape) for shape in scene}
        needed = now | self._before | self._preloaded
        self._stimuli = {key: kept for key, kept in self._stimuli.items() if key in needed}
        for shape in scene:
            if not isinstance(shape, Dot) and _key(shape) not in self._stimuli:
                self._stimuli[_key(shape)] = shape, self._made(shape)
        self._before = now

    def keep(self, pictures: Iterable[Picture]) -> None:
        """Make pictures' stimuli now and keep them; drawing each once, unseen, loads it onto the graphics card."""
        for picture in pictures:
            self._preloaded.add(_key(picture))
            if _key(picture) not in self._stimuli:
                self._stimuli[_key(picture)] = picture, self._made(picture)
                self.draw([picture])
        self._win.clearBuffer()

    def draw(self, scene: Sequence[Shape]) -> None:
        """Draw the scene into the back buffer."""
        discs = 0
        for shape in scene:
            if not isinstance(shape, Dot):
                for stimulus in self._stimuli[_key(shape)][1]:
                    stimulus.draw()
                continue
            for diameter_px, colour in ((shape.diameter_px, shape.colour), (shape.inner_px, self.background)):
                if diameter_px > 0:
                    if discs == len(self._discs):
                        self._discs.append(_Disc(self._visual, self._win))
                    self._discs[discs].draw(self._place(shape.x_px, shape.y_px), diameter_px, self._seen(colour))
                    discs += 1

    def _made(self, shape: Shape) -> list[Any]:
        if isinstance(shape, Picture):
            rect = shape.rect
            sides = max(1, round(rect.width_px)), max(1, round(rect.height_px))
            # Scaled here with a good filter, not by the graphics card: a px of the image is then a px of the screen.
            image = open_picture(shape.file).resize(sides, Image.Resampling.LANCZOS)
            return [self._image(image, self._place(*rect.centre_px), (rect.width_px, rect.height_px))]
        if isinstance(shape, Bitmap):
            width, height = shape.image.size
            left, top = round(shape.x_px - width / 2), round(shape.y_px - height / 2)
            middle = self._place(left + width / 2, top + height / 2)
            return [self._image(shape.image.convert("RGB"), middle, (width, height))]
        if isinstance(shape, Button):
            place = self._place(shape.x_px, shape.y_px)
            size = shape.width_px, shape.height_px
            area = self._visual.Rect(self._win, size=size, pos=place, fillColor=shape.colour, lineColor=None)
            return [area, self._label(shape)]
        assert isinstance(shape, Text)
        return [self._text(shape.text, shape.x_px, shape.y_px, shape.height_px, shape.colour)]

    def _image(self, image: Image.Image, place: tuple[float, float], size: tuple[float, float]) -> Any:
        return self._visual.ImageStim(self._win, image=image, pos=place, size=size, interpolate=True)

    def _text(self, text: str, x_px: float, y_px: float, height_px: float, colour: str) -> Any:
        # The text comes with its line breaks: a very large wrapWidth keeps PsychoPy from adding any.
        return self._visual.TextStim(
            self._win,
            text=text,
            pos=self._place(x_px, y_px),
            height=height_px,
            color=self._seen(colour),
            wrapWidth=10 * self._screen.width_px,
        )

    def _label(self, button: Button) -> Any:
        height_px = LABEL_HEIGHT * button.height_px
        label = self._text(button.text, button.x_px, button.y_px, height_px, button.text_colour)
        too_wide = label.boundingBox[0] / (LABEL_WIDTH * button.width_px)
        if too_wide > 1:
            label = self._text(button.text, button.x_px, button.y_px, height_px / too_wide, button.text_colour)
        return label

    def _seen(self, colour: str) -> str:
        return self._standing_out if colour == STANDING_OUT else colour

    def _place(self, x_px: float, y_px: float) -> tuple[float, float]:
        return x_px - self._screen.width_px / 2, self._screen.height_px / 2 - y_px


class _Disc:
    """A disc with a smooth edge, changed only in what differs from the frame before."""

    def __init__(self, visual: Any, win: Any) -> None:
        across = np.arange(DISC_TEXELS) + 0.5 - DISC_TEXELS / 2
        # From -1 (transparent) to 1 (opaque), within a texel around the edge.
        mask = np.clip(DISC_TEXELS / 2 - DISC_RIM - np.hypot(across, across[:, None]) + 0.5, 0, 1) * 2 - 1
        self._disc = visual.GratingStim(win, tex=None, mask=mask, interpolate=True)
        # What was set last: PsychoPy computes anew at each setting, even of the same value.
        self._told: dict[str, object] = {}

    def draw(self, place: tuple[float, float], diameter_px: float, colour: str) -> None:
        size_px = diameter_px * DISC_TEXELS / (DISC_TEXELS - 2 * DISC_RIM)
        for name, value in {"pos": place, "size": size_px, "color": colour}.items():
            if self._told.get(name) != value:
                setattr(self._disc, name, value)
                self._told[name] = value
        self._disc.draw()


def _key(shape: Shape) -> Hashable:
    """The key that tells shapes apart; of an image its identity, since comparing px takes longer than drawing them."""
    return ("bitmap", id(shape.image), shape.x_px, shape.y_px) if isinstance(shape, Bitmap) else shape
