"""The operator's terminal during a session: where it is, how well the eyes are tracked, and keys to steer it.

One thread draws with rich and reads keys; the session only swaps a snapshot in (`show`) and empties a queue
(`commands`), so neither ever waits for the terminal. An error in the thread ends the page, never the session.
Where standard input or output is no terminal there are plain lines on standard error at each change, and no keys:
decisions then come from the participant's window.

    render      a snapshot as what rich draws; pure
    Keyboard    what a key means at this moment, and what is asked back; pure
    Console     the thread, the terminal, and the two calls of `operator.Operator`
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich import box
from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from beholder.experiment.calibration import EyeQuality, PointQuality, Validation
from beholder.experiment.session.operator import CalibrationOutcome, Command, Kind, Status
from beholder.shared.gaze import Eye
from beholder.shared.screen import Screen

if sys.platform == "win32":
    import msvcrt
else:
    import select
    import termios
    import tty

# Often enough for a countdown in seconds, and seldom enough to leave the interpreter to the drawing of pictures.
LOOK_EVERY_S, DRAW_EVERY_S = 0.05, 0.25
NOTICES_SHOWN = 5
SILENT_AFTER_S = 2.0
PLOT_COLUMNS, PLOT_ROWS = 27, 11
LONGEST_NAME = 40
ENTER, BACKSPACE, ESCAPE = "\n", "\x7f", "\x1b"
# The keys of the commands that are offered outside a question.
KEYS: Mapping[Kind, str] = {"pause": "p", "resume": "p", "recalibrate": "c", "skip": "k"}
WORDS: Mapping[Kind, str] = {"skip": "skip this picture"}
# What a terminal sends for arrows and other named keys.
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.)")


@dataclass(frozen=True)
class Snapshot:
    """What is drawn: the session's status, notices with the time of day at which they came, and the open question."""

    status: Status
    notices: tuple[tuple[str, str], ...] = ()
    prompt: str = ""
    silent_s: float = 0.0


# ------------------------------------------------------------------------------------------------------ drawing


def render(snapshot: Snapshot, screen: Screen | None = None) -> RenderableType:
    """The operator's page, 80 columns and 24 rows at most; the plot of targets and gaze needs `screen` for degrees."""
    status = snapshot.status
    parts: list[RenderableType] = [_where(status), _eyes(status)]
    if snapshot.silent_s > SILENT_AFTER_S:
        parts.append(Text(f"nothing heard from the session for {snapshot.silent_s:.0f} s", "bold yellow"))
    if status.proposal:
        parts.append(Text(f" {status.proposal} (press c) ", "bold black on yellow"))
    # A validation needs the room of most notices.
    shown, gap = (NOTICES_SHOWN, [""]) if status.asking is None else (2, [])
    if status.asking is not None:
        parts.append(_asking(status.asking, screen))
    if snapshot.notices:
        # The newest stand last, as in a log.
        lines = [Text(f"{at}  {text}", no_wrap=True, overflow="ellipsis") for at, text in snapshot.notices[-shown:]]
        parts += [*gap, *lines]
    parts += [*gap, Text(snapshot.prompt, "bold reverse") if snapshot.prompt else Text(_keys(status), "bold")]
    heading = Text(status.heading or "session", "bold yellow" if "simulated" in status.heading else "bold")
    return Panel(Group(*parts), title=heading, title_align="left", box=box.ROUNDED)


def _where(status: Status) -> Text:
    words = [status.phase]
    if status.trial is not None:
        words.append(f"trial {status.trial} of {status.pictures}")
    if status.left_s is not None:
        words.append(f"{max(0.0, status.left_s):.0f} s left")
    if status.session_left_s is not None:
        words.append(f"session: {_minutes(status.session_left_s)} left")
    return Text("   ".join(words), "bold")


def _eyes(status: Status) -> Text:
    tracked = "n/a" if status.tracked_percent is None else f"{status.tracked_percent:.0f} %"
    low = status.tracked_percent is not None and status.tracked_percent < 50
    text = Text("tracked ").append(tracked, "bold red" if low else "")
    drift = status.last_drift
    said = "n/a" if drift is None else f"{drift.total_deg:.1f} deg ({drift.x_deg:+.1f} across, {drift.y_deg:+.1f} down)"
    return text.append(f"   drift {said}   frames missed {status.missed_frames}")


def _minutes(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def _keys(status: Status) -> str:
    if status.asking is not None:
        numbers = "".join(str(number) for number in points_of(status.asking))
        accept = "a accept" if status.asking.passed else "a accept all the same"
        return f"{accept}   r repeat all   {numbers} + Enter redo these   q stop"
    return "   ".join([f"{KEYS[kind]} {WORDS.get(kind, kind)}" for kind in status.offers] + ["q stop"])


def points_of(asking: Validation | CalibrationOutcome) -> tuple[int, ...]:
    """The numbers of the targets that can be redone, sorted."""
    if isinstance(asking, CalibrationOutcome):
        return tuple(sorted(point.number for point in asking.calibration.points))
    return tuple(sorted({point.number for eye in asking.eyes.values() for point in eye.points}))


def _asking(asking: Validation | CalibrationOutcome, screen: Screen | None) -> RenderableType:
    if isinstance(asking, CalibrationOutcome):
        done = asking.calibration
        failed = ", ".join(map(str, done.failed)) or "none"
        verdict = Text("calibration passed" if done.success else "calibration FAILED", _colour(done.success))
        return Group(verdict, Text(f"{done.message or 'the tracker gives no reason'}; targets that failed: {failed}"))
    verdict = Text("validation passed" if asking.passed else "validation FAILED", _colour(asking.passed))
    beside = Table.grid(padding=(0, 1, 0, 0))
    beside.add_row(validation_table(asking), plot(asking.eyes, screen) if screen is not None else "")
    return Group(verdict, beside)


def _colour(passed: bool) -> str:
    # Everybody can tell blue from orange, the colour-blind too.
    return "bold bright_blue" if passed else "bold black on orange1"


def validation_table(validation: Validation) -> Table:
    """Figures per eye and target in degrees, data loss in percent; each eye's over all targets follow its targets'."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("eye", "point", "error", "x", "y", "RMS", "SD", "loss"):
        table.add_column(name, justify="left" if name == "eye" else "right", no_wrap=True)
    for eye, quality in validation.eyes.items():
        for point in quality.points:
            offsets = (_signed(point.offset_x_deg), _signed(point.offset_y_deg))
            figures = (_degrees(point.rms_s2s_deg), _degrees(point.sd_deg), f"{point.loss_percent:.0f}%")
            error = _degrees(point.accuracy_deg) if point.accuracy_deg is not None else "no data"
            table.add_row(eye, str(point.number), error, *offsets, *figures)
        table.add_row(
            eye,
            "mean",
            _degrees(quality.accuracy_deg),
            "worst",
            _degrees(quality.accuracy_worst_deg),
            _degrees(quality.rms_s2s_deg),
            _degrees(quality.sd_deg),
            f"{quality.loss_percent:.0f}%",
            style=_colour(quality.passed),
        )
    limits = validation.limits
    table.add_row(
        "limit",
        "mean",
        f"{limits.accuracy_mean_deg:g}",
        "worst",
        f"{limits.accuracy_worst_deg:g}",
        "",
        "",
        f"{limits.loss_percent:g}%",
    )
    return table


def _degrees(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.2f}"


def plot(eyes: Mapping[Eye, EyeQuality], screen: Screen) -> Text:
    """Targets (+ and their number) and gaze (L, R, B where both are) as the participant sees them, coarsely."""
    targets: dict[int, PointQuality] = {point.number: point for eye in eyes.values() for point in eye.points}
    at = {number: _target_deg(point, screen) for number, point in targets.items()}
    gaze = {
        (eye, point.number): (at[point.number][0] + point.offset_x_deg, at[point.number][1] + point.offset_y_deg)
        for eye, quality in eyes.items()
        for point in quality.points
        if point.offset_x_deg is not None and point.offset_y_deg is not None
    }
    # A character is about twice as high as it is wide: a row spans the degrees of two columns.
    farthest = max((max(abs(x), abs(y)) for x, y in (*at.values(), *gaze.values())), default=1.0) or 1.0
    column_deg = max(farthest / (PLOT_COLUMNS // 2 - 1), farthest / (2 * (PLOT_ROWS // 2)))

    def cell(x_deg: float, y_deg: float) -> tuple[int, int]:
        return PLOT_ROWS // 2 + round(y_deg / column_deg / 2), PLOT_COLUMNS // 2 + round(x_deg / column_deg)

    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for number, place in at.items():
        row, column = cell(*place)
        cells[row, column], cells[row, column + 1] = ("+", ""), (str(number), "")
    for (eye, _), place in gaze.items():
        letter, colour = ("L", "bright_blue") if eye == "left" else ("R", "orange1")
        there = cells.get(cell(*place), ("", ""))[0]
        both = there in ("L", "R", "B") and there != letter
        cells[cell(*place)] = ("B" if both else letter, "bold" if both else f"bold {colour}")
    text = Text()
    for row in range(PLOT_ROWS):
        for column in range(PLOT_COLUMNS):
            text.append(*cells.get((row, column), (" ", "")))
        text.append("\n")
    text.append("+ target, L, R, B both eyes")
    return text


def _target_deg(point: PointQuality, screen: Screen) -> tuple[float, float]:
    x_deg, y_deg = screen.to_degrees(np.array(point.x_px), np.array(point.y_px))
    return float(x_deg), float(y_deg)


def plain_lines(before: Status | None, now: Status) -> list[str]:
    """What has changed between two statuses, a sentence each, for where there is no terminal."""
    lines = []
    if before is None and now.heading:
        lines.append(now.heading)
    if before is None or (now.phase, now.trial) != (before.phase, before.trial):
        lines.append(_where(now).plain)
    if now.last_drift is not None and (before is None or now.last_drift != before.last_drift):
        lines.append(_eyes(now).plain)
    if now.proposal and (before is None or now.proposal != before.proposal):
        lines.append(f"{now.proposal}: Ctrl+Shift+C in the participant's window")
    if now.asking is not None and (before is None or now.asking is not before.asking):
        what = "validation" if isinstance(now.asking, Validation) else "calibration"
        verdict = "passed" if now.asking.passed else "failed"
        lines.append(f"{what} {verdict}: Ctrl+Shift+V in the participant's window shows it, to be decided upon there")
    return lines


# ---------------------------------------------------------------------------------------------------------- keys


class Keyboard:
    """What keys mean: letters act at once, except stop (asks again), points (until Enter) and overriding (asks who).

    `remark` says that nothing was done, after a key that has a meaning only at other times.
    """

    def __init__(self) -> None:
        self.prompt = self.remark = ""
        self._mode = ""
        self._typed = ""
        self._asked: object = None

    def press(self, key: str, status: Status) -> list[Command]:
        """Take a key: a character, or ENTER, BACKSPACE, ESCAPE. Returns the commands given; `prompt` is asked back."""
        self.look(status)
        self.remark = ""
        if self._mode == "stop":
            commands = [Command("stop")] if key.lower() == "y" else []
            self._leave()
        elif self._mode:
            commands = self._type(key, status)
        elif status.asking is not None:
            commands = self._answer(key, status.asking)
        else:
            commands = [Command(kind) for kind in status.offers if KEYS.get(kind) == key.lower()]
            if not commands and key.lower() in KEYS.values():
                self.remark = f'"{key.lower()}" has no meaning during "{status.phase}": nothing was done'
        if not self._mode and key.lower() == "q":
            self._enter("stop")
        self._ask()
        return [replace(command, moment=status.moment) for command in commands]

    def look(self, status: Status) -> None:
        """Drop what was being typed where its question has been answered elsewhere."""
        if self._mode in ("points", "name") and status.asking is not self._asked:
            self._leave()
            self._ask()

    def _answer(self, key: str, asking: Validation | CalibrationOutcome) -> list[Command]:
        self._asked = asking
        if key.lower() == "r":
            return [Command("repeat")]
        if key.lower() == "a" and asking.passed:
            return [Command("accept")]
        if key.lower() == "a":
            self._enter("name")
        elif key.isdecimal() and int(key) in points_of(asking):
            self._enter("points", key)
        return []

    def _type(self, key: str, status: Status) -> list[Command]:
        if key == ESCAPE:
            self._leave()
        elif key == BACKSPACE:
            self._typed = self._typed[:-1]
            if self._mode == "points" and not self._typed:
                self._leave()
        elif key == ENTER:
            return self._entered()
        elif self._mode == "name" and key.isprintable():
            self._typed = (self._typed + key)[:LONGEST_NAME]
        elif self._mode == "points" and status.asking is not None and key.isdecimal():
            known = int(key) in points_of(status.asking) and key not in self._typed
            self._typed += key if known else ""
        return []

    def _entered(self) -> list[Command]:
        mode, typed = self._mode, " ".join(self._typed.split())
        self._leave()
        if mode == "points":
            return [Command("redo", tuple(sorted(int(digit) for digit in typed)))]
        # Without initials nobody answers for a failed check: it is not accepted.
        return [Command("accept", by=typed)] if typed else []

    def _enter(self, mode: str, typed: str = "") -> None:
        self._mode, self._typed = mode, typed

    def _leave(self) -> None:
        self._mode = self._typed = ""

    def _ask(self) -> None:
        self.prompt = {
            "": "",
            "stop": "stop the session? y/n ",
            "points": f"redo points {' '.join(self._typed)}, then Enter (Escape: not) ",
            "name": f"it FAILED. To accept it, your initials, then Enter (Escape: not): {self._typed}_ ",
        }[self._mode]


def keys_of(text: str) -> list[str]:
    """The keys in what a terminal sent: arrows and the like left out, line ends and deletions under one name each."""
    text = _SEQUENCE.sub("", text)
    return [{"\r": ENTER, "\x08": BACKSPACE}.get(character, character) for character in text]


# -------------------------------------------------------------------------------------------------- the terminal


class Console:
    """The operator at this terminal; a context manager. See `operator.Operator`.

    `screen` is the participant's, for the plot of targets and gaze.
    """

    def __init__(self, screen: Screen | None = None) -> None:
        self._screen = screen
        self._snapshot: tuple[Status, float] | None = None
        self._ends_s: float | None = None
        self._coming: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._notices: deque[tuple[str, str]] = deque(maxlen=NOTICES_SHOWN)
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._keyboard = Keyboard()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._keys: _Keys | None = None

    def __enter__(self) -> Console:
        if sys.stdin.isatty() and sys.stdout.isatty():
            self._keys = _Keys()
        self._thread.start()
        atexit.register(self.close)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Put the terminal back as it was; may be called twice."""
        atexit.unregister(self.close)
        self._stopping.set()
        self._thread.join(2.0)
        if self._keys is not None:
            self._keys.restore()

    def show(self, status: Status) -> None:
        """Keep what is to be shown; never blocks."""
        before = self._snapshot[0] if self._snapshot is not None else None
        # The time left is taken from the status that begins a phase; from then on it is counted down here.
        of_phase = (status.phase, status.trial, status.left_s)
        if before is None or of_phase != (before.phase, before.trial, before.left_s):
            self._ends_s = None if status.left_s is None else status.now_s + status.left_s
        for notice in status.notices:
            self._coming.put((time.strftime("%H:%M:%S"), notice))
        self._snapshot = (status, time.monotonic())

    def commands(self) -> list[Command]:
        """What was asked for since the last call, oldest first; never blocks."""
        return [self._commands.get_nowait() for _ in range(self._commands.qsize())]

    def _run(self) -> None:
        try:
            if self._keys is None:
                self._write_lines()
            else:
                self._draw_and_listen(self._keys)
        except Exception as error:
            # The terminal may be gone; the session is worth more than its picture.
            with contextlib.suppress(OSError, ValueError):
                print(
                    f"the operator's page cannot be shown ({error}): decide in the participant's window.",
                    file=sys.stderr,
                )

    def _draw_and_listen(self, keys: _Keys) -> None:
        drawn_s = float("-inf")
        # A file of its own: a terminal that takes nothing more (Ctrl-S) must not hold standard output's lock for ever.
        file = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="replace")
        live = Live(
            console=Terminal(file=file),
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )
        with live:
            while not self._stopping.is_set():
                pressed = keys.read(LOOK_EVERY_S)
                self._collect_notices()
                if self._snapshot is None:
                    continue
                for key in pressed:
                    for command in self._keyboard.press(key, self._snapshot[0]):
                        self._commands.put(command)
                    if self._keyboard.remark:
                        self._notices.append((time.strftime("%H:%M:%S"), self._keyboard.remark))
                self._keyboard.look(self._snapshot[0])
                if pressed or time.monotonic() - drawn_s >= DRAW_EVERY_S:
                    drawn_s = time.monotonic()
                    live.update(render(self._page(), self._screen), refresh=True)

    def _page(self) -> Snapshot:
        assert self._snapshot is not None
        status, shown_s = self._snapshot
        if self._ends_s is not None:
            status = replace(status, left_s=self._ends_s - status.now_s)
        return Snapshot(status, tuple(self._notices), self._keyboard.prompt, time.monotonic() - shown_s)

    def _write_lines(self) -> None:
        before: Status | None = None
        stopping = False
        while not stopping:
            # Once more after the end: what came last is told too.
            stopping = self._stopping.wait(LOOK_EVERY_S)
            for at, notice in self._collect_notices():
                print(f"{at}  {notice}", file=sys.stderr)
            if self._snapshot is not None and self._snapshot[0] is not before:
                for line in plain_lines(before, self._snapshot[0]):
                    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr)
                before = self._snapshot[0]

    def _collect_notices(self) -> Sequence[tuple[str, str]]:
        new = [self._coming.get_nowait() for _ in range(self._coming.qsize())]
        self._notices.extend(new)
        return new


class _Keys:
    """Single keys from this terminal, without echo; Ctrl-C stays a signal. `restore` puts the terminal back."""

    def __init__(self) -> None:
        if sys.platform != "win32":
            self._handle = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._handle)
            self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
            tty.setcbreak(self._handle)

    if sys.platform == "win32":

        def read(self, wait_s: float) -> list[str]:
            """The keys pressed until now, at the latest after `wait_s`."""
            if not msvcrt.kbhit():
                time.sleep(wait_s)
            pressed = []
            while msvcrt.kbhit():
                key = msvcrt.getwch()
                if key in ("\0", "\xe0"):  # an arrow or the like: its name follows
                    msvcrt.getwch()
                else:
                    pressed.append(key)
            return keys_of("".join(pressed))

    else:

        def read(self, wait_s: float) -> list[str]:
            """The keys pressed until now, at the latest after `wait_s`."""
            if not select.select([self._handle], [], [], wait_s)[0]:
                return []
            data = os.read(self._handle, 1024)
            if not data:
                raise OSError("the terminal is gone")
            return keys_of(self._decoder.decode(data))

    def restore(self) -> None:
        """Put the terminal back as it was."""
        if sys.platform != "win32":
            with contextlib.suppress(termios.error):  # the terminal may be gone
                # At once, without waiting for output that has not been shown: it may never be.
                termios.tcsetattr(self._handle, termios.TCSANOW, self._before)
