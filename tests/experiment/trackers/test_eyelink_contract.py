"""The fake of `pylink` against the package that is installed: same names, arguments and values; and the adapter on it.

The real library is imported in processes of their own: it prints, keeps what was opened in globals, and may crash. Its
simulation ("dummy mode") has no eyes and no host: what a host would answer is put over it here, and everything else,
the set-up's callbacks and the classes of samples and events foremost, is the library's own.
"""

# ruff: noqa: N802  (the vendor's names)

from __future__ import annotations

import ctypes
import faulthandler
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from beholder.shared.dataset.reading import read_recording, runs

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
for _folder in (str(HERE / "fakes"), str(ROOT)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)
from fake_pylink import Host, library  # noqa: E402

# What of a class is the vendor's: a fake's way of making its objects is its own, but for these.
MADE_LIKE_THE_REAL = ("EyeLink", "KeyInput", "EyeLinkCustomDisplay")


def arguments(thing: Any) -> list[str] | None:
    """Names of the arguments, those with a default as name=default; of C functions by their docstring's first line."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return documented_arguments(getattr(thing, "__doc__", None) or "")
    return [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters if p.name != "self"]


def documented_arguments(text: str) -> list[str] | None:
    """Those of "name(a, b = 2)"; None where the line is none."""
    head, bracket, rest = text.strip().split("\n")[0].partition("(")
    if not bracket or ")" not in rest or not head.replace("_", "").isalnum():
        return None
    inside = rest[: rest.index(")")]
    return [part.replace(" ", "") for part in inside.split(",") if part.strip()]


def described(module: ModuleType) -> dict[str, Any]:
    """Its public names: constants by value, functions by arguments, classes by the arguments of their methods."""
    found: dict[str, Any] = {}
    for name in dir(module):
        thing = getattr(module, name)
        if name.startswith("_") or inspect.ismodule(thing):
            continue
        if inspect.isclass(thing):
            methods = {key: arguments(getattr(thing, key)) for key in dir(thing) if not key.startswith("_")}
            found[name] = {"methods": methods, "made": arguments(thing.__init__)}
        elif callable(thing):
            found[name] = {"arguments": arguments(thing)}
        else:
            found[name] = {"value": thing if isinstance(thing, (int, float, str)) else None}
    return found


def differences(fake: dict[str, Any], real: dict[str, Any]) -> list[str]:
    """In what the fake is not a part of the real one."""
    found = []
    for name, of_fake in fake.items():
        if (of_real := real.get(name)) is None:
            found.append(f"{name}: the real package has none")
        elif "methods" in of_fake:
            of_real_class = of_real.get("methods", {})
            for method, words in of_fake["methods"].items():
                if method not in of_real_class:
                    found.append(f"{name}.{method}: the real class has none")
                # Of two (requestTime, readTime) the real package says nothing.
                elif of_real_class[method] is not None and words != of_real_class[method]:
                    found.append(f"{name}.{method}{words}: the real one takes {of_real_class[method]}")
            if name in MADE_LIKE_THE_REAL and of_fake["made"] != of_real.get("made"):
                found.append(f"{name}{of_fake['made']}: the real one is made from {of_real.get('made')}")
        elif of_fake != of_real:
            found.append(f"{name}: {of_fake}, the real one {of_real}")
    return found


def in_a_child(task: str, *words: object) -> dict[str, Any]:
    """What this file does as a program with the real library; a crash fails the test with all that was said."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, task, *map(str, words)],
        capture_output=True, text=True, timeout=180, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    # The library's own words come without the end of their lines.
    result = [line.partition("RESULT ")[2] for line in done.stdout.splitlines() if "RESULT " in line]
    assert done.returncode == 0 and result, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    found: dict[str, Any] = json.loads(result[-1])
    if "absent" in found:
        pytest.skip(f"sr-research-pylink is not installed here ({found['absent']}): pip install beholder[eyelink]")
    return found


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    return in_a_child("describe")


def a_fake() -> ModuleType:
    return library(Host(time.perf_counter, time.sleep))


def test_the_fake_has_no_name_argument_or_value_that_the_real_package_has_not(real: dict[str, Any]) -> None:
    assert differences(described(a_fake()), real) == []


@pytest.mark.parametrize(
    ("grow", "says"),
    [
        (lambda fake: setattr(fake, "openGraphicsFast", lambda: None), "openGraphicsFast: the real package has none"),
        (lambda fake: setattr(fake.EyeLink, "getGaze", lambda self: None), "EyeLink.getGaze: the real class has none"),
        (lambda fake: setattr(fake.EyeLink, "openDataFile", lambda self, name, mode: 0), "EyeLink.openDataFile"),
        (lambda fake: setattr(fake.EyeLink, "sendMessage", lambda self, message_text: 0), "EyeLink.sendMessage"),
        (lambda fake: setattr(fake, "ENDFIX", 9), "ENDFIX"),
    ],
)
def test_a_fake_that_grows_beyond_the_real_package_is_found_out(
    real: dict[str, Any], grow: Callable[[ModuleType], None], says: str
) -> None:
    fake = a_fake()
    grow(fake)
    (found,) = differences(described(fake), real)
    assert found.startswith(says)


def test_a_host_that_is_not_there_is_an_error_within_seconds() -> None:
    """On this computer itself: nobody listens there."""
    found = in_a_child("unreachable")
    assert "no EyeLink host answers at 127.0.0.1" in found["error"] and "Could not connect" in found["error"]
    assert found["took_s"] < 15


def test_the_librarys_simulation_is_refused() -> None:
    found = in_a_child("dummy")
    assert "only simulates" in found["error"]


def test_a_whole_session_on_the_real_library(tmp_path: Path, make_study: Callable[..., Path]) -> None:
    folder = make_study(2, protocol={"dot_s": 1.0, "picture_s": 1.0})
    found = in_a_child("session", folder)
    assert found["status"] == "complete" and found["failures"] == []
    assert found["set_ups"] >= 1 and found["handed_over"] > 1000

    (run,) = runs(folder)
    recording = read_recording(run)
    assert len(recording.samples) == found["handed_over"]
    assert set(recording.samples["left_x_px"][:50].round()) <= {960.0} and recording.samples["right_pupil"][0] == 1200
    assert (folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_eyelink.edf").read_bytes() == b"EDF"
    assert {"fixation", "blink", "saccade"} <= set(found["events"])


def test_the_librarys_own_hooks_draw_the_cameras_picture_at_its_size() -> None:
    """It announces a picture of 384 x 320 px as 768 x 640, and draws lines of 384."""
    found = in_a_child("hooks")
    assert found["setup"] == 1 and found["failure"] == "None"
    assert found["picture"] == [320, 384, 3] and found["shown"] == [768, 640]
    # Column x of line y is x + y, modulo 256; lines are counted from 1, and each px is four on the screen.
    assert found["pixels"] == [(50 + 41) % 256, (300 + 41) % 256, (50 + 281) % 256, (300 + 281) % 256]
    # A picture is shown when it is whole, and only then.
    assert found["scenes after each half"] == [0, 1] and found["kinds"] == ["Bitmap", "Text", "Text"]


@pytest.mark.parametrize("how", ["stop", "error", "interrupt"])
def test_whoever_leaves_the_librarys_set_up_leaves_it_alive(make_study: Callable[..., Path], how: str) -> None:
    folder = make_study(2, protocol={"dot_s": 1.0, "picture_s": 1.0})
    found = in_a_child("leave", folder, how)
    says = {
        "stop": "the operator stopped the session", "error": "the lamp is broken",
        "interrupt": "interrupted by Ctrl-C",
    }  # fmt: skip
    assert found["reason"] == says[how] and found["failures"] == []
    assert (folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_eyelink.edf").exists()


# ----------------------------------------------------------------------------------- as a program: the real library


def real_library() -> Any:
    from beholder.experiment.trackers.eyelink import import_pylink
    from beholder.shared.errors import TrackerError

    try:
        return import_pylink()
    except TrackerError as error:
        end({"absent": str(error)})


def end(result: dict[str, Any]) -> Any:
    """Tell the test, and end at once: the library may crash while Python takes it down."""
    print("RESULT " + json.dumps(result), flush=True)
    os._exit(0)


def host_over_dummy(pylink: Any, clock: Any) -> Any:
    """The library, its simulation in the place of a host: what only a host can answer is answered here."""
    from pylink.tracker import newEndBlinkEvent, newEndFixationEvent, newEndSaccadeEvent, newSample

    # Resolution, flags, and what a head tracker adds.
    rest = [0.0] * (len(inspect.signature(newSample).parameters) - 9)

    class Over(pylink.EyeLink):  # type: ignore[misc]
        handed_over, set_ups = 0, 0
        last: Any = None

        def __init__(self, trackeraddress: str) -> None:
            super().__init__(None)
            Over.last = self
            self.on, self.rate, self.next_ms, self.queue = False, 0, 0, []
            self.current: Any = None

        def isConnected(self) -> int:
            return 1

        def ms(self) -> float:
            return float(5_000_000 + clock.now_s() * 1000)

        def sendCommand(self, command_text: str) -> int:
            if command_text.startswith("sample_rate"):
                self.rate = int(command_text.split("=")[1])
            answer: int = super().sendCommand(command_text)
            return answer

        def startRecording(self, *which: int) -> int:
            self.on, self.next_ms = True, int(self.ms()) // 2 * 2 + 2
            answer: int = super().startRecording(*which)
            return answer

        def stopRecording(self) -> None:
            self.on, self.queue = False, []
            super().stopRecording()

        def getSampleRate(self) -> int:
            return self.rate

        def eyeAvailable(self) -> int:
            return 2

        def requestTime(self) -> int:
            return 0

        def readTime(self) -> float:
            return float(int(self.ms()))

        def getNextData(self) -> int:
            super().getNextData()
            if not self.on or self.next_ms > self.ms():
                return 0
            number = self.next_ms // 2
            if number % 500 == 0 and self.queue[-1:] != [number]:
                self.queue.append(number)
                make, kind = {0: (newEndFixationEvent, pylink.ENDFIX), 1: (newEndBlinkEvent, pylink.ENDBLINK),
                              2: (newEndSaccadeEvent, pylink.ENDSACC)}[len(self.queue) % 3]  # fmt: skip
                gaze = [(960.0, 540.0, 0, 0)] * 3 + [(1200.0, 0, 35, 35)] * 2 + [(1200.0, 0, 0, 0)]
                head = [(0, 0, 0, 0)] * 3 + [(0, 0, 0)] * 6
                self.current = make((self.next_ms, kind, 0, 0, self.next_ms - 100, self.next_ms), gaze, head)
                return int(kind)
            pair = (960.0, 960.0), (540.0, 540.0)
            zero = (0.0, 0.0)
            self.current = newSample(self.next_ms, 0xC000, zero, zero, zero, zero, (1200.0, 1200.0), *pair, *rest)
            self.next_ms += 2
            Over.handed_over += 1
            return int(pylink.SAMPLE_TYPE)

        def getFloatData(self) -> Any:
            super().getFloatData()
            return self.current

        def doTrackerSetup(self, width: int | None = None, height: int | None = None) -> None:
            Over.set_ups += 1
            super().doTrackerSetup(width, height)

        def receiveDataFile(self, src: str, dest: str, opt: int = 2) -> int:
            super().receiveDataFile(src, dest)
            return Path(dest).write_bytes(b"EDF")

    names = ModuleType("pylink")
    names.__dict__.update({key: value for key, value in vars(pylink).items() if not key.startswith("__")})
    names.EyeLink = Over  # type: ignore[attr-defined]

    def openGraphicsEx(display: Any) -> None:
        # Each time that the library asks for keys takes time, on the virtual clock too.
        answer = display.get_input_key

        def get_input_key() -> Any:
            clock.sleep_until_s(clock.now_s() + 1 / 1250)
            return answer()

        display.get_input_key = get_input_key
        pylink.openGraphicsEx(display)

    names.openGraphicsEx = openGraphicsEx  # type: ignore[attr-defined]
    names.msecDelay = names.pumpDelay = lambda delay: clock.sleep_until_s(  # type: ignore[attr-defined]
        clock.now_s() + delay / 1000
    )
    return names


def session_on(folder: Path, leaves: str = "") -> None:
    """A session on the virtual clock; Q leaves the set-up, and `leaves` says how the session is left in it."""
    from beholder.experiment.devices import Key, WindowEvent
    from beholder.experiment.headless import HeadlessDisplay, ScriptedOperator, ScriptedParticipant
    from beholder.experiment.plan import plan_session
    from beholder.experiment.session.operator import Command, Status
    from beholder.experiment.session.parts import Pace, SessionSetup
    from beholder.experiment.session.run_session import run_session
    from beholder.experiment.trackers.eyelink import EyeLinkTracker
    from beholder.shared.stimuli.folder import read_stimuli
    from beholder.shared.study import EyeLinkSettings, read_study

    study = read_study(folder)
    study = study.model_copy(update={"tracker": study.tracker.model_copy(update={"name": "eyelink", "rate_hz": 500.0})})
    assert study.screen is not None

    class Lab(HeadlessDisplay):
        in_set_up = 0

        def events(self) -> list[WindowEvent]:
            self.in_set_up = self.in_set_up + 1 if self._scene and "Q: leave" in str(self._scene) else 0
            found = super().events()
            if self.in_set_up == 20 and leaves == "error":
                raise OSError("the lamp is broken")
            if self.in_set_up == 20 and leaves == "interrupt":
                raise KeyboardInterrupt
            if self.in_set_up == 60:
                found.append(Key("escape", self.clock.now_s()))
            return found

    class Boss(ScriptedOperator):
        """Accepts whatever is measured: these eyes do not move."""

        def show(self, status: Status) -> None:
            if status.asking is not None:
                self._answers.append(Command("accept", by="operator"))
            if leaves == "stop" and display.in_set_up == 20:
                self._answers.append(Command("stop"))

    display = Lab(study.screen.screen(), 60.0, ScriptedParticipant())
    pylink = host_over_dummy(real_library(), display.clock)
    tracker = EyeLinkTracker(display, EyeLinkSettings(), pylink, participant="01", run=1)
    kinds: set[str] = set()
    read = tracker.read

    def noting() -> Any:
        batch = read()
        kinds.update(event.kind for event in batch.events)
        return batch

    tracker.read = noting  # type: ignore[method-assign]
    plan = plan_session(study, read_stimuli(folder / "stimuli")[0], "01", [])
    try:
        outcome = run_session(
            SessionSetup(folder, study, plan, display, tracker, Boss()),
            Pace(sync_every_s=None, pump_every_s=0.02),
            ask_form=False,
        )
    except OSError as error:
        end({"reason": str(error), "failures": list(getattr(error, "__notes__", ()))})
    end(
        {
            "status": outcome.status, "reason": outcome.reason, "failures": list(outcome.failures),
            "handed_over": pylink.EyeLink.handed_over, "set_ups": pylink.EyeLink.set_ups, "events": sorted(kinds),
        }
    )  # fmt: skip


def hooks() -> None:
    """Call the functions that SR Research's C library calls, in the compiled part of `pylink`, as it does."""
    from beholder.experiment.headless import HeadlessDisplay
    from beholder.experiment.trackers.eyelink_display import SetupScreen, custom_display
    from beholder.shared.screen import Screen

    pylink = real_library()
    pylink.EyeLink(None)
    display = HeadlessDisplay(Screen(1920, 1080, 53.0, 29.8, 60.0), 60.0)
    scenes: list[Any] = []
    display.watcher = lambda onset_s, scene: scenes.append(scene)
    setup = SetupScreen(pylink)
    setup.begin(display, lambda: None, lambda: None)
    pylink.openGraphicsEx(custom_display(pylink, setup))
    library = ctypes.PyDLL(pylink.pylink_c.__file__)
    width, height = 384, 320
    answer = library.pylink_setup_image_display(width, height)
    grey = (ctypes.c_ubyte * 256)(*range(256))
    library.pylink_set_image_palette(256, grey, grey, grey)
    shown = []
    for half in (range(1, height // 2 + 1), range(height // 2 + 1, height + 1)):
        for number in half:
            row = (ctypes.c_ubyte * width)(*((x + number) % 256 for x in range(width)))
            library.pylink_draw_image_line(width, number, height, row)
        shown.append(len(scenes))
    picture = scenes[-1][0].image
    pixels = [picture.getpixel(at)[0] for at in ((100, 80), (601, 81), (100, 560), (601, 561))]
    end(
        {
            "setup": answer, "failure": str(setup.failure), "picture": setup._pixels.shape, "shown": picture.size,
            "pixels": pixels, "scenes after each half": shown,
            "kinds": [type(shape).__name__ for shape in scenes[-1]],
        }
    )  # fmt: skip


def refused(make: Callable[[Any], Any], address: str) -> None:
    from beholder.experiment.headless import HeadlessDisplay
    from beholder.experiment.trackers.eyelink import EyeLinkTracker
    from beholder.shared.errors import TrackerError
    from beholder.shared.screen import Screen
    from beholder.shared.study import EyeLinkSettings, TrackerSettings

    screen = Screen(1920, 1080, 53.0, 29.8, 60.0)
    pylink = real_library()
    tracker = EyeLinkTracker(HeadlessDisplay(screen, 60.0), EyeLinkSettings(host=address), make(pylink))
    began_s = time.monotonic()
    try:
        tracker.connect(TrackerSettings(rate_hz=500), screen)
    except TrackerError as error:
        end({"error": str(error), "took_s": time.monotonic() - began_s})
    end({"error": "none", "took_s": 0})


def only_dummy(pylink: Any) -> Any:
    names = ModuleType("pylink")
    names.__dict__.update({key: value for key, value in vars(pylink).items() if not key.startswith("__")})
    names.EyeLink = lambda trackeraddress: pylink.EyeLink(None)  # type: ignore[attr-defined]
    return names


if __name__ == "__main__":
    faulthandler.dump_traceback_later(120, exit=True)
    task, *words = sys.argv[1:]
    if task == "describe":
        end(described(real_library()))
    elif task == "unreachable":
        refused(lambda pylink: pylink, "127.0.0.1")
    elif task == "dummy":
        refused(only_dummy, "127.0.0.1")
    elif task == "hooks":
        hooks()
    elif task == "session":
        session_on(Path(words[0]))
    elif task == "leave":
        session_on(Path(words[0]), words[1])
