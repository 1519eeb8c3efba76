"""The real window on an X server of the test's own: what is shown is what was asked for, and what is pressed arrives.

The window is opened by scripts in processes of their own, never in pytest's; each prints what it found as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 800, 600
TIMEOUT_S = 120
BEGIN = """
import json, math, os, signal, subprocess, sys, threading, time
from pathlib import Path
import numpy as np
from PIL import Image
from beholder.experiment.devices import Bitmap, Button, Click, Closed, Dot, Key, Picture, Text
from beholder.experiment.window import Window
from beholder.shared.screen import Rect
from beholder.shared.study import ScreenSettings

SETTINGS = ScreenSettings(width_px=800, height_px=600, width_cm=40, height_cm=30)

def told(value):
    print(json.dumps(value))

def xdotool(*arguments):
    subprocess.run(["xdotool", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)

def until(happened, window, seen, seconds=20):
    end_s = time.perf_counter() + seconds
    while not happened() and time.perf_counter() < end_s:
        window.hold(time.perf_counter() + 0.05)
        seen += window.events()
"""


class OwnScreen:
    """An X server that shows nothing to anybody; `run` runs a script that opens a window on it."""

    def __init__(self, folder: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.log = folder / "xvfb.log"
        reader, writer = os.pipe()
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{width}x{height}x24", "-noreset"],
                pass_fds=(writer,), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        os.close(writer)
        with os.fdopen(reader) as numbers:
            number = numbers.readline().strip()
        assert number, self.log.read_text("utf-8")
        self.name = f":{number}"

    def run(self, script: str, *arguments: object, **environment: str) -> Any:
        """What the script told, the last line that it printed; it must end by itself, and say nothing else."""
        run = subprocess.run(
            [sys.executable, "-c", BEGIN + script, *map(str, arguments)],
            cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            env={**os.environ, "DISPLAY": self.name, "XPID": str(self.server.pid), **environment},
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (0, ""), run.stderr
        return json.loads(run.stdout.splitlines()[-1])

    def close(self) -> None:
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
        self.server.wait(timeout=TIMEOUT_S)


@pytest.fixture
def own_screen(tmp_path: Path) -> Iterator[OwnScreen]:
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f'no {program}: for the tests of the window, "apt-get install xvfb xauth xdotool"')
    pytest.importorskip("psychopy", reason='no PsychoPy: pip install -e ".[experiment]" -c constraints.txt')
    screen = OwnScreen(tmp_path)
    yield screen
    screen.close()


# --------------------------------------------------------------------------------------------------- what is shown


def test_shapes_have_exactly_their_colours_and_places(own_screen: OwnScreen, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    picture, noise = (rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((120, 200), (51, 33)))
    Image.fromarray(picture).save(tmp_path / "picture.png")
    # The same px stored lying on their side, with the note that a camera writes.
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(picture)))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    own_screen.run(
        """
folder = Path(sys.argv[1])
noise = Image.open(folder / "noise.png")
window = Window(SETTINGS, "#f3f1ec")
window.show([
    Dot(100, 100, 60, "#e00000", 20), Dot(700.0, 500.0, 30, "#202020"),
    Picture(folder / "picture.png", Rect(300, 40, 200, 120)), Picture(folder / "turned.png", Rect(550, 40, 200, 120)),
    Picture(folder / "picture.png", Rect(300, 200, 100, 60)),
    Bitmap(noise, 500, 400), Button("yes", "y", 150, 400, 160, 60, "#d9d9d9"), Text("M", 150, 500, 40, "#0000ff"),
])
window.capture().save(folder / "captured.png")
from PIL import ImageGrab
ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(folder / "seen.png")
window.close()
told("done")
""",
        tmp_path,
    )
    seen = np.asarray(Image.open(tmp_path / "seen.png").convert("RGB"))
    captured = np.asarray(Image.open(tmp_path / "captured.png"))
    np.testing.assert_array_equal(captured, seen)
    assert seen.shape == (HEIGHT, WIDTH, 3)
    background, red = (0xF3, 0xF1, 0xEC), (0xE0, 0, 0)
    assert tuple(seen[0, 0]) == tuple(seen[-1, -1]) == tuple(seen[100, 100]) == background
    assert tuple(seen[500, 700]) == (0x20, 0x20, 0x20)
    # A ring of 60 px around a hole of 20, in the middle of which is (100, 100): the first px inside and outside.
    row = seen[100]
    assert [tuple(row[x]) for x in (72, 88, 111, 127)] == [red] * 4
    assert [tuple(row[x]) for x in (68, 92, 107, 131)] == [background] * 4
    is_red = (seen[..., 0] > 150) & (seen[..., 1] < 100)
    assert is_red[:200, :200].sum() == pytest.approx(np.pi * (30**2 - 10**2), rel=0.03)
    y, x = np.nonzero(is_red[:200, :200])
    assert (x.mean() + 0.5, y.mean() + 0.5) == pytest.approx((100, 100), abs=0.1)
    np.testing.assert_array_equal(seen[40:160, 300:500], picture)
    np.testing.assert_array_equal(seen[40:160, 550:750], picture)
    half = Image.fromarray(picture).resize((100, 60), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(seen[200:260, 300:400], np.asarray(half))
    assert (
        tuple(seen[199, 350]) == tuple(seen[260, 350]) == tuple(seen[230, 299]) == tuple(seen[230, 400]) == background
    )
    np.testing.assert_array_equal(seen[374:425, 484:517], noise)
    grey = (0xD9, 0xD9, 0xD9)
    assert [tuple(seen[p]) for p in ((371, 71), (428, 228), (371, 228), (428, 71))] == [grey] * 4
    assert [tuple(seen[p]) for p in ((369, 150), (430, 150), (400, 69), (400, 230))] == [background] * 4
    y, x = np.nonzero((seen[..., 2] > 150) & (seen[..., 0] < 100) & (np.indices(seen.shape[:2])[0] > 440))
    assert (x.mean(), y.mean()) == pytest.approx((150, 500), abs=5)


@pytest.mark.parametrize(("colour", "ink"), [("#808080", "#202020"), ("#010203", "#e6e6e6")])
def test_the_background_has_exactly_its_colour_and_what_is_to_be_read_stands_out(
    own_screen: OwnScreen, colour: str, ink: str
) -> None:
    seen, target, letters = own_screen.run(
        """
from beholder.experiment.devices import STANDING_OUT
window = Window(SETTINGS, sys.argv[1])
window.show([])
found = {window.capture().getpixel(place) for place in ((0, 0), (400, 300), (799, 599))}
window.show([Dot(100, 100, 60, STANDING_OUT, 20), Text("HHH", 400, 300, 60)])
drawn = window.capture()
letters = drawn.crop((300, 250, 500, 350)).getcolors(1 << 16)
window.close()
told([sorted(found), [drawn.getpixel((120, 100)), drawn.getpixel((100, 100))], sorted(letters)[-2:]])
""",
        colour,
    )
    behind, before = ([int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in (colour, ink))
    assert seen == [behind]
    assert target == [before, behind]
    # The two colours that most px of a text have are those of the background and of the letters.
    assert [rgb for _, rgb in letters] == [before, behind]


def test_a_picture_that_was_preloaded_is_shown_within_a_frame(own_screen: OwnScreen, tmp_path: Path) -> None:
    """Files are gone after preloading: what is shown then was really read before."""
    rng = np.random.default_rng(4)
    for name in ("one.png", "two.png"):
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), np.uint8)).save(tmp_path / name)
    expected = np.asarray(Image.open(tmp_path / "two.png"))
    own_screen.run(
        """
folder = Path(sys.argv[1])
window = Window(SETTINGS, "#ffffff")
pictures = [Picture(folder / name, Rect(100, 100, 200, 200)) for name in ("one.png", "two.png")]
window.preload(pictures)
for picture in pictures:
    picture.file.unlink()
    window.show([picture])
    window.show([])
window.show(pictures[1:])
window.capture().save(folder / "captured.png")
window.close()
told("done")
""",
        tmp_path,
    )
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "captured.png"))[100:300, 100:300], expected)


def test_a_screen_of_another_size_keeps_the_studys_cm_per_px(own_screen: OwnScreen) -> None:
    screen, framebuffer = own_screen.run(
        """
settings = ScreenSettings(width_px=1600, height_px=900, width_cm=48, height_cm=27, distance_cm=57)
window = Window(settings, "#ffffff")
told([vars(window.screen), window.framebuffer_px])
window.close()
"""
    )
    assert screen == {"width_px": 800, "height_px": 600, "width_cm": 24.0, "height_cm": 18.0, "distance_cm": 57.0}
    assert framebuffer == [800, 600]


# --------------------------------------------------------------------------------------------------------- the time


@pytest.mark.slow
def test_frames_are_flipped_at_the_studys_rate_and_late_ones_counted(own_screen: OwnScreen) -> None:
    found = own_screen.run(
        """
window = Window(SETTINGS, "#ffffff")
window.show([Dot(400, 300, 20, "#e00000")])
held = {}
for step_s in (10.0, 0.01):
    window.late_frames()
    from_s, flips = time.perf_counter(), 0
    before = window._win.flip
    def flip():
        global flips
        flips += 1
        before()
    window._win.flip = flip
    while (now_s := time.perf_counter()) < from_s + 2:
        window.hold(min(from_s + 2, now_s + step_s))
    window._win.flip = before
    held[step_s] = [flips, window.late_frames()]
onset_s = window.show([])
window.late_frames()
time.sleep(0.2)
late_s = window.show([]) - onset_s
told({"interval_s": window.interval_s, "held": held, "slept": [late_s, window.late_frames(), window.late_frames()]})
window.close()
"""
    )
    assert found["interval_s"] == pytest.approx(1 / 60)
    # Long holds and holds of a pump's 10 ms alike: every frame of 2 s was flipped, or counted as late.
    for flips, late in found["held"].values():
        assert flips + late == pytest.approx(120, abs=3)
    late_s, late, again = found["slept"]
    assert late == round(late_s * 60) - 1 >= 11
    assert again == 0


def test_an_onset_is_read_right_after_the_flip(own_screen: OwnScreen) -> None:
    """At the onset the X screen has the new colour; right before the flip it has the old one."""
    found = own_screen.run(
        """
from PIL import ImageGrab
window = Window(SETTINGS, "#ffffff")
plain, colours = window._win.flip, []
def flip():
    colours.append(ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).getpixel((400, 300)))
    plain()
window.show([])
window._win.flip = flip
asked_s = window.clock.now_s()
onset_s = window.show([Dot(400, 300, 100, "#e00000")])
after_s = window.clock.now_s()
colours.append(ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).getpixel((400, 300)))
told([colours, asked_s <= onset_s <= after_s, after_s - onset_s])
window.close()
"""
    )
    assert found[0] == [[255, 255, 255], [224, 0, 0]]
    assert found[1]
    assert found[2] < 0.1


# --------------------------------------------------------------------------------------------- keys, clicks, pointer


@pytest.mark.slow
def test_keys_arrive_by_name_once_and_clicks_where_they_were_made(own_screen: OwnScreen) -> None:
    keys = ["a", "Z", "7", "plus", "space", "Escape", "Return", "BackSpace", "Tab", "Up", "KP_5", "KP_Enter",
            "Prior", "Next", "ctrl+shift+k"]  # fmt: skip
    places = [(0, 0), (799, 599), (123, 456), (400, 300)]
    found = own_screen.run(
        """
keys, places = json.loads(sys.argv[1]), json.loads(sys.argv[2])
window = Window(SETTINGS, "#ffffff")
window.show([])
seen = []
xdotool("mousemove", 400, 300)
for number, key in enumerate(keys, start=1):
    xdotool("key", key)
    until(lambda: len(seen) >= number, window, seen)
# Held down for a second, a key comes again and again, but says so; pressed twice in quick succession, it is two.
for key in ("b", "space"):
    xdotool("keydown", key)
    until(lambda: False, window, seen, 1)
    xdotool("keyup", key)
xdotool("type", "--delay", "30", "33")
until(lambda: sum(not event.held for event in seen) >= len(keys) + 4, window, seen)
pressed = [event for event in seen if isinstance(event, Key)]
typed = ["chord " * event.chord + event.name for event in pressed if not event.held]
held = sorted({event.name for event in pressed if event.held})
clicked = []
for number, (x, y) in enumerate(places, start=1):
    xdotool("mousemove", x, y, "click", 3, "click", 1)
    until(lambda: len(clicked) >= number, window, clicked)
times = [event.at_s for event in seen + clicked]
told([typed, held, [[e.x_px, e.y_px] for e in clicked], times == sorted(times), times[-1] <= time.perf_counter()])
window.close()
""",
        json.dumps(keys),
        json.dumps(places),
    )
    typed, held, clicked, ordered, past = found
    assert held == ["b", "space"]
    assert typed == [
        "a", "z", "7", "+", "space", "escape", "return", "backspace", "tab", "up", "5", "return", "pageup",
        "pagedown", "chord k", "b", "space", "3", "3",
    ]  # fmt: skip
    # The middle of the px that was clicked; within 1 px, since pyglet counts rows in two ways.
    np.testing.assert_allclose(clicked, np.array(places) + 0.5, atol=1)
    assert ordered
    assert past


def test_the_pointer_is_read_from_a_thread_while_the_window_draws(own_screen: OwnScreen) -> None:
    found = own_screen.run(
        """
window = Window(SETTINGS, "#ffffff")
read, running = [], True
def sample():
    while running:
        read.append(window.pointer_px())
        time.sleep(0.001)
thread = threading.Thread(target=sample)
thread.start()
places, there = [(0, 0), (799, 0), (17, 583), (400, 300), (799, 599)], []
for x, y in places:
    xdotool("mousemove", x, y)
    until(lambda: read and math.dist(read[-1], (x + 0.5, y + 0.5)) < 1, window, [], 10)
    there.append(read[-1])
window.place_pointer(40.2, 50.7)
until(lambda: read[-1] == (40.5, 50.5), window, [], 10)
running = False
thread.join()
told([places, there, read[-1]])
window.close()
"""
    )
    places, there, placed = found
    np.testing.assert_array_equal(there, np.array(places) + 0.5)
    assert placed == [40.5, 50.5]


# ------------------------------------------------------------------------------------------------ losing the window

LOSING = """
window = Window(SETTINGS, "#ffffff")
window.show([Dot(400, 300, 20, "#e00000"), Text("here", 400, 200, 30)])
read, running = [], True
def sample():
    while running:
        read.append(window.pointer_px())
        time.sleep(0.001)
thread = threading.Thread(target=sample)
thread.start()
seen = []
until(lambda: len(read) > 5, window, seen)
before = read[-1]
HOW
until(lambda: seen, window, seen)
# Nothing is raised, and time goes on.
shown_s = [window.show([Text("gone", 10, 10, 10), Picture(Path("nowhere.png"), Rect(0, 0, 9, 9))]) for _ in range(3)]
from_s = time.perf_counter()
window.hold(from_s + 0.01)
window.place_pointer(1, 1)
window.show_pointer(True)
size, late, more = window.capture().size, window.late_frames(), window.events()
running = False
thread.join(10)
window.close()
window.close()
told({"events": [type(event).__name__ for event in seen + more], "size": size, "known": not math.isnan(before[0]),
      "after": [str(value) for value in window.pointer_px()], "ended": not thread.is_alive(),
      "paced": shown_s == sorted(shown_s) and shown_s[-1] > shown_s[0]})
"""


@pytest.mark.parametrize(
    "how",
    [
        'os.kill(int(os.environ["XPID"]), signal.SIGKILL)',
        'xdotool("search", "--name", "Beholder", "windowclose")',
        'xdotool("search", "--name", "Beholder", "windowkill")',
    ],
    ids=["the X server dies", "the window is destroyed", "the connection is cut"],
)
def test_a_lost_screen_is_a_closed_event_and_a_usual_end(own_screen: OwnScreen, how: str) -> None:
    found = own_screen.run(LOSING.replace("HOW", how))
    assert found == {
        "events": ["Closed"], "size": [800, 600], "known": True, "after": ["nan", "nan"], "ended": True, "paced": True,
    }  # fmt: skip


@pytest.mark.parametrize("end", ["window.close()", ""], ids=["closed", "left open"])
def test_a_screen_that_dies_right_before_the_end_does_not_crash_it(own_screen: OwnScreen, end: str) -> None:
    """Nothing has noticed yet when the window is closed, by the session or at the end of the program."""
    script = 'window = Window(SETTINGS, "#ffffff")\nwindow.show([])\nos.kill(int(os.environ["XPID"]), signal.SIGKILL)\n'
    assert own_screen.run(f'{script}\ntime.sleep(0.3)\n{end}\ntold("done")') == "done"


def test_a_window_that_the_desktop_asks_to_close_says_so_and_stays(own_screen: OwnScreen) -> None:
    """WM_DELETE_WINDOW, as the cross of a title bar sends it: the session decides when the window goes."""
    events, colour = own_screen.run(
        """
import ctypes
window = Window(SETTINGS, "#ffffff", windowed=True)
window.show([])
from pyglet.libs.x11 import xlib
display = xlib.XOpenDisplay(os.environ["DISPLAY"].encode())
event = xlib.XEvent()
event.xclient.type, event.xclient.window, event.xclient.format = xlib.ClientMessage, window._handle._window, 32
event.xclient.message_type = xlib.XInternAtom(display, b"WM_PROTOCOLS", False)
event.xclient.data.l[0] = xlib.XInternAtom(display, b"WM_DELETE_WINDOW", False)
xlib.XSendEvent(display, window._handle._window, False, 0, ctypes.byref(event))
xlib.XSync(display, False)
seen = []
until(lambda: seen, window, seen)
window.show([Dot(*window.screen.centre_px, 100, "#e00000")])
x, y = window.screen.centre_px
told([[type(event).__name__ for event in seen], window.capture().getpixel((int(x), int(y)))])
window.close()
"""
    )
    assert events == ["Closed"]
    assert colour == [224, 0, 0]


def test_a_window_on_the_desktop_is_the_screen_in_small_and_fit_by_its_own_rule(own_screen: OwnScreen) -> None:
    """All that fits on the study's screen fits into it, and nothing of it keeps a try-out from running."""
    px, cm, verdicts = own_screen.run(
        """
from beholder.experiment.preflight import window_checks
from beholder.shared.study import Study
wide = SETTINGS.model_copy(update={"width_px": 4 * SETTINGS.width_px, "height_px": 4 * SETTINGS.height_px})
window = Window(wide, "#ffffff", windowed=True)
found = [check for check in window_checks(Study(screen=wide), window) if check.what == "screen size in px"]
size = [window.screen.width_px, window.screen.height_px, wide.width_px, wide.height_px]
told([size, [window.screen.width_cm - wide.width_cm, window.screen.height_cm - wide.height_cm],
      [[check.verdict, check.found] for check in found]])
window.close()
"""
    )
    width_px, height_px, wide_px, high_px = px
    assert width_px < wide_px / 4 and width_px / height_px == pytest.approx(wide_px / high_px, rel=0.02)
    assert cm == [0, 0]
    assert verdicts == [["doubtful", f"a window of {width_px} x {height_px} px"]]


# ---------------------------------------------------------------------------------------- preflight, through the window

CHECKED = """
from beholder.experiment.preflight import window_checks
from beholder.shared.study import Study
window = Window(SETTINGS, "#ffffff")
window.place_pointer(300, 200)
DIFFERENTLY
found = window_checks(Study(screen=SETTINGS), window)
checks = {check.what: [check.verdict, check.found, check.remedy] for check in found}
told([checks, window.pointer_px()])
window.close()
"""


def test_preflight_finds_a_virtual_screen_unfit_for_want_of_vertical_sync_alone(own_screen: OwnScreen) -> None:
    checks, pointer = own_screen.run(CHECKED.replace("DIFFERENTLY", ""))
    assert {what: verdict for what, (verdict, _, _) in checks.items()} == {
        "monitor": "fit", "screen size in px": "fit", "display scaling": "fit", "screen size in cm": "doubtful",
        "refresh rate": "unfit", "pointer": "fit",
    }  # fmt: skip
    assert "no vertical sync" in checks["refresh rate"][1]
    assert "ruler" in checks["screen size in cm"][2]
    assert pointer == [300.5, 200.5]


def test_preflight_sees_a_scaled_desktop_a_wrong_size_and_a_missing_monitor(own_screen: OwnScreen) -> None:
    another = "SETTINGS = ScreenSettings(width_px=1000, height_px=750, width_cm=40, height_cm=30, monitor=2)"
    checks, _ = own_screen.run(CHECKED.replace("DIFFERENTLY", another), QT_SCALE_FACTOR="1.25")
    assert [checks[what][0] for what in ("monitor", "screen size in px", "display scaling")] == ["unfit"] * 3
    assert checks["display scaling"][1] == "125 %"
    assert checks["screen size in px"][1] == "800 x 600 px"


def test_preflight_finds_a_pointer_that_lands_elsewhere(own_screen: OwnScreen) -> None:
    """As on a scaled desktop: the pointer goes to 0.8 of where it was sent."""
    scaled = "place = window.place_pointer; window.place_pointer = lambda x, y: place(0.8 * x, 0.8 * y)"
    checks, _ = own_screen.run(CHECKED.replace("DIFFERENTLY", scaled))
    assert checks["pointer"][0] == "unfit"
    assert "found 159 px" in checks["pointer"][1]


def test_where_qt_sees_no_monitors_they_are_doubtful_and_the_rest_is_checked(own_screen: OwnScreen) -> None:
    checks, _ = own_screen.run(CHECKED.replace("DIFFERENTLY", 'os.environ["DISPLAY"] = ":981"'))
    assert {what: verdict for what, (verdict, _, _) in checks.items()} == {
        "monitor": "doubtful", "screen size in px": "fit", "display scaling": "doubtful",
        "screen size in cm": "doubtful", "refresh rate": "unfit", "pointer": "fit",
    }  # fmt: skip
    assert "cannot be had" in checks["monitor"][2]


# ------------------------------------------------------------------------------------------------------ before a window


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DISPLAY": ""}, ("no screen", "DISPLAY")),
        ({"DISPLAY": ":981"}, ("no window can be opened", "DISPLAY")),
        ({"HOME": "/nowhere"}, ("/nowhere cannot be written", "HOME")),
    ],
)
def test_without_a_screen_one_sentence_says_what_to_do(environment: dict[str, str], words: tuple[str, str]) -> None:
    pytest.importorskip("psychopy", reason='no PsychoPy: pip install -e ".[experiment]" -c constraints.txt')
    if sys.platform != "linux":
        pytest.skip("a screen is named by DISPLAY on X11 alone")
    script = """
from beholder.shared.errors import DisplayError
try:
    Window(SETTINGS, "#ffffff")
except DisplayError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("\n") == 1
    for word in words:
        assert word in run.stdout


def test_nothing_of_psychopy_is_loaded_before_a_window_is_made() -> None:
    script = "import sys, experiment.window, experiment.preflight; print([m for m in sys.modules if 'psycho' in m])"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_session_writes_no_files_of_its_own_into_the_working_folder(own_screen: OwnScreen, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    own_screen.run(
        """
os.chdir(sys.argv[1])
window = Window(SETTINGS, "#ffffff")
window.show([])
window.close()
told("done")
""",
        work,
    )
    assert list(work.iterdir()) == []
