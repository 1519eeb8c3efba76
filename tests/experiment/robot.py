"""A virtual screen, an operator at a terminal, and a robot in the participant's place: `beholder run` as a lab uses it.

The robot sees the screen (screenshots) and nothing else; it acts by xdotool, and writes down when it moved the pointer.
CLOCK_MONOTONIC is one clock for all processes, so what it wrote can be compared with the samples that were recorded.
`BEHOLDER_SCREENSHOTS` names a folder in which each screen is kept, to be looked at.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageGrab

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "beholder"]
WIDTH_PX, HEIGHT_PX = 1280, 800
RATE_HZ = 250.0
REASON = "a robot on a virtual screen"
TARGET, DOT, PICTURE = (0x20, 0x20, 0x20), (0xE0, 0x00, 0x00), (0, 128, 128)
TIMEOUT_S = 120.0

on_a_virtual_screen = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("Xvfb") and shutil.which("xdotool")),
        reason="there is no virtual screen here: apt-get install xvfb xauth xdotool",
    ),
]


class VirtualScreen:
    """An X server of its own, with hands on its mouse and keyboard."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = os.pipe()
        with (folder / "xvfb.log").open("wb") as log:
            self.server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(theirs), "-screen", "0", f"{WIDTH_PX}x{HEIGHT_PX}x24", "-noreset"],
                pass_fds=[theirs], stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        os.close(theirs)
        with os.fdopen(ours) as number:
            self.name = f":{number.readline().strip()}"
        assert len(self.name) > 1, (folder / "xvfb.log").read_text()
        self.environment = os.environ | {"DISPLAY": self.name, "TERM": "xterm-256color"}
        # Where the pointer was put: between which two times, and where.
        self.moves: list[tuple[float, float, float, float]] = []
        for _ in range(50):  # it may have said its number before it answers
            with contextlib.suppress(OSError):
                self.grab()
                break
            time.sleep(0.2)

    def grab(self) -> NDArray[np.uint8]:
        """What is on the screen, (height, width, 3)."""
        return np.asarray(ImageGrab.grab(xdisplay=self.name).convert("RGB"))

    def tool(self, *words: object) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def move(self, x_px: float, y_px: float) -> None:
        """Put the pointer into the px that holds a place; the middle of that px is where it then is."""
        x, y = int(x_px), int(y_px)
        before_s = time.perf_counter()
        self.tool("mousemove", x, y)
        self.moves.append((before_s, time.perf_counter(), x + 0.5, y + 0.5))

    def key(self, *names: str) -> None:
        self.tool("key", "--delay", "60", *names)

    def click(self, x_px: float, y_px: float) -> None:
        self.move(x_px, y_px)
        self.tool("click", 1)

    def close(self) -> None:
        self.server.kill()
        self.server.wait()


class Operator:
    """A command in a pseudo-terminal of 100 x 30, as an operator sees it."""

    def __init__(self, *words: object, environment: dict[str, str]) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.began_s = time.perf_counter()
        self.process = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def read(self) -> str:
        """All that was shown until now."""
        while select.select([self.ours], [], [], 0)[0]:
            try:
                data = os.read(self.ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self.shown += data.decode(errors="replace")
        return self.shown

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def end(self) -> int:
        """Its exit code."""
        until_s = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            assert time.monotonic() < until_s, self.read()[-3000:]
            self.read()
            time.sleep(0.1)
        self.read()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.ours)


def place_of(image: NDArray[np.uint8], colour: tuple[int, int, int], largest_px: int) -> tuple[float, float] | None:
    """The middle of all px of a colour where they are one spot of at most that size; None where they are not."""
    rows, columns = np.nonzero((image == np.array(colour, np.uint8)).all(axis=-1))
    if not len(rows) or np.ptp(rows) > largest_px or np.ptp(columns) > largest_px:
        return None
    return (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2


@dataclass
class Robot:
    """A participant: answers the form, looks (points) at what is to be looked at, and keeps pictures of it all."""

    screen: VirtualScreen
    operator: Operator
    folder: Path | None
    px_per_deg: float
    kept: set[str] = field(default_factory=set)

    def keep(self, name: str, image: NDArray[np.uint8] | None = None) -> None:
        if self.folder is not None and name not in self.kept:
            self.kept.add(name)
            path = self.folder / f"{len(list(self.folder.glob('*.png'))):02d}-{name}.png"
            Image.fromarray(self.screen.grab() if image is None else image).save(path)

    def wait_for_change(self, before: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The next screen that stands, other than the one before and other than a blank one."""
        until_s = time.monotonic() + TIMEOUT_S
        last = None
        while time.monotonic() < until_s:
            assert self.operator.process.poll() is None, self.operator.read()[-3000:]
            self.operator.read()
            image = self.screen.grab()
            blank = (image == image[0, 0]).all()
            stands = last is not None and np.array_equal(image, last)
            if stands and not blank and (before is None or not np.array_equal(image, before)):
                # What is pressed at once does not count.
                time.sleep(0.4)
                return image
            last = image
            time.sleep(0.05)
        raise AssertionError("the screen does not change\n" + self.operator.read()[-3000:])

    def wait_for_change_or_end(self, before: NDArray[np.uint8]) -> None:
        """Until something else than before is on the screen, or the program has ended."""
        until_s = time.monotonic() + TIMEOUT_S
        while self.operator.process.poll() is None and np.array_equal(self.screen.grab(), before):
            assert time.monotonic() < until_s, self.operator.read()[-3000:]
            self.operator.read()
            time.sleep(0.05)

    def answer(self, name: str, act: Callable[[], None], before: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Wait for a screen, keep it, act."""
        image = self.wait_for_change(before)
        self.keep(name, image)
        act()
        return image

    def fill_in_the_form(self) -> NDArray[np.uint8]:
        """Welcome, consent, age, sex, vision: by keys, and once by a click."""
        key = self.screen.key
        last = self.answer("welcome", lambda: key("space"), None)
        last = self.answer("consent", lambda: key("y"), last)
        # One key a screen: what is typed is seen before the next.
        last = self.answer("age", lambda: key("2"), last)
        last = self.answer("age-2", lambda: key("4"), last)
        last = self.answer("age-24", lambda: key("Return"), last)
        last = self.answer("sex", lambda: key("f"), last)
        return self.answer("vision", self.click_the_first_button, last)

    def click_the_first_button(self) -> None:
        """The first row's middle button; the space bar where there is none."""
        grey = (self.screen.grab() == 0xD9).all(axis=-1)
        # The edges of letters have a px of that grey here and there; a button is full of it.
        rows = np.flatnonzero(grey.sum(axis=1) > self.px_per_deg)
        if not len(rows):
            self.screen.key("space")
            return
        self.screen.click(np.flatnonzero(grey[rows[0]]).mean(), rows[0] + 5)

    def look(self, until: Callable[[], bool], *, explores: bool = True) -> None:
        """Point at targets, at the dot, and (if it explores) along a path over pictures, until something is so."""
        until_s = time.monotonic() + TIMEOUT_S
        at: tuple[float, float] | None = None
        explored = False
        while not until():
            assert time.monotonic() < until_s, self.operator.read()[-3000:]
            self.operator.read()
            image = self.screen.grab()
            target = place_of(image, TARGET, round(1.6 * self.px_per_deg))
            dot = place_of(image, DOT, round(1.0 * self.px_per_deg))
            if target is not None:
                self.keep("target", image)
            if dot is not None:
                self.keep("dot", image)
            if (to := target or dot) is not None and (at is None or max(abs(to[0] - at[0]), abs(to[1] - at[1])) > 1):
                self.screen.move(*to)
                at = to
            elif to is None and explores and self.sees_picture(image):
                self.keep("picture", image)
                self.explore()
                at, explored = None, True
            elif to is None and explored and not (image == image[0, 0]).all():
                # Words after a picture: how it was liked, a break, the thanks. The middle button is always an answer.
                words = self.wait_for_change()
                self.keep(f"after-a-picture-{len(self.kept)}", words)
                self.click_the_first_button()
                self.wait_for_change_or_end(words)
                at = None
            time.sleep(0.01)

    @staticmethod
    def sees_picture(image: NDArray[np.uint8]) -> bool:
        return bool((image[HEIGHT_PX // 2, WIDTH_PX // 2] == np.array(PICTURE, np.uint8)).all())

    def explore(self) -> None:
        """Move along a path on the picture for as long as it stands: dwell, jump, dwell."""
        rng = np.random.default_rng(len(self.screen.moves))
        while self.sees_picture(self.screen.grab()):
            x_px, y_px = WIDTH_PX / 2 + rng.integers(-200, 200), HEIGHT_PX / 2 + rng.integers(-120, 120)
            self.screen.move(x_px, y_px)
            time.sleep(float(rng.uniform(0.25, 0.4)))
