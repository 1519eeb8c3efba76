"""Claims of `experiment.console`: the operator sees what is so, keys mean what the page says, nothing ever waits."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console as Terminal

from beholder.experiment.calibration import Drift, PointQuality, Validation, eye_quality, validation_points
from beholder.experiment.console import (
    BACKSPACE,
    ENTER,
    ESCAPE,
    Console,
    Keyboard,
    Snapshot,
    keys_of,
    plain_lines,
    plot,
    points_of,
    render,
)
from beholder.experiment.devices import Calibration
from beholder.experiment.session.operator import IN_A_TRIAL, WHILE_WAITING, CalibrationOutcome, Command, Status
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.study import LimitSettings

ROOT = Path(__file__).resolve().parents[2]
SCREEN = Screen(1920, 1080, 53.0, 29.8, 60.0)
PICTURE = Status(
    now_s=12.0,
    phase="picture",
    trial=3,
    pictures=20,
    left_s=4.2,
    tracked_percent=98.0,
    session_left_s=272.0,
    last_drift=Drift(0.3, -0.2, 0.36),
    heading="participant 01, run 1, mouse (simulated)",
    offers=IN_A_TRIAL,
    moment=7,
)


def validation(offset_deg: float = 0.4, missing: int | None = None, count: int = 5) -> Validation:
    """Both eyes off by `offset_deg` to the right; of the right eye's point `missing` there are no data."""
    eyes = {}
    for eye in ("left", "right"):
        points = []
        for point in validation_points(SCREEN, 20.0, count):
            none = eye == "right" and point.number == missing
            figures = (None, None, None, None, None) if none else (offset_deg, offset_deg, 0.0, 0.05, 0.12)
            loss, samples = (100.0, 0) if none else (2.0, 245)
            points.append(
                PointQuality(point.number, point.x_px, point.y_px, *figures, loss, 2.45 * (100 - loss), samples)
            )
        eyes[eye] = eye_quality(points, LimitSettings())
    return Validation(0.0, eyes)  # type: ignore[arg-type]


def page(status: Status, *notices: tuple[str, str], prompt: str = "", silent_s: float = 0.0) -> list[str]:
    """The lines of the page on a terminal of 80 columns, without its border."""
    terminal = Terminal(width=80, record=True, file=io.StringIO())
    terminal.print(render(Snapshot(status, notices, prompt, silent_s), SCREEN))
    return [line.strip("│ ") for line in terminal.export_text().splitlines()]


ASKED = replace(PICTURE, phase="validation", trial=None, left_s=None)
PASSED, FAILED = replace(ASKED, asking=validation()), replace(ASKED, asking=validation(missing=2))


# What is seen.


def test_the_page_says_who_where_how_long_and_how_well() -> None:
    lines = page(PICTURE, ("14:03:12", "the tracker has sent nothing for 2 s"))
    assert lines[0].startswith("╭─ participant 01, run 1, mouse (simulated) ─")
    assert lines[1:3] == [
        "picture   trial 3 of 20   4 s left   session: 4:32 left",
        "tracked 98 %   drift 0.4 deg (+0.3 across, -0.2 down)   frames missed 0",
    ]
    assert "14:03:12  the tracker has sent nothing for 2 s" in lines
    assert lines[-2] == "p pause   c recalibrate   k skip this picture   q stop"


def test_what_is_not_known_is_not_given_as_a_number() -> None:
    lines = page(replace(PICTURE, last_drift=None, tracked_percent=None, left_s=None, session_left_s=None))
    assert lines[1:3] == ["picture   trial 3 of 20", "tracked n/a   drift n/a   frames missed 0"]
    none = page(FAILED)
    assert "right     2 no data   n/a   n/a  n/a  n/a 100%" in "\n".join(none)
    assert "right  mean     n/a worst   n/a  n/a  n/a  22%" in "\n".join(none)


def test_a_proposal_stands_out_with_its_key_and_a_silent_session_is_said_to_be_so() -> None:
    proposal = "2 trials in a row drifted by more than 1.5 degrees: recalibrate"
    lines = page(replace(PICTURE, proposal=proposal), silent_s=3.4)
    assert f"{proposal} (press c)" in lines
    assert "nothing heard from the session for 3 s" in lines


def test_only_the_last_notices_are_shown_the_newest_last() -> None:
    lines = page(PICTURE, *((f"14:00:0{n}", f"notice {n}") for n in range(8)))
    shown = [line for line in lines if line.startswith("14:00")]
    assert [line[-1] for line in shown] == list("34567")


def test_a_validation_is_shown_per_eye_and_point_with_its_verdict_and_what_can_be_done() -> None:
    lines = page(PASSED)
    assert "validation passed" in lines
    assert any(line.startswith("left      1  0.40 +0.40 +0.00 0.05 0.12   2%") for line in lines)
    assert any(line.startswith("right  mean  0.40 worst  0.40 0.05 0.12   2%") for line in lines)
    assert lines[-2] == "a accept   r repeat all   12345 + Enter redo these   q stop"
    failed = page(FAILED)
    assert "validation FAILED" in failed and failed[-2].startswith("a accept all the same")
    assert points_of(FAILED.asking) == (1, 2, 3, 4, 5)  # type: ignore[arg-type]


def test_the_plot_shows_each_target_where_the_participant_saw_it_and_gaze_beside_it() -> None:
    found = validation(offset_deg=-2.0, missing=2)
    lines = plot(found.eyes, SCREEN).plain.splitlines()
    marks = [(key, row, column) for row, line in enumerate(lines[:-1]) for column, key in enumerate(line) if key != " "]
    at = {key: (row, column) for key, row, column in marks if key.isdecimal()}
    # 1 at the upper edge and left of the middle, 2 to the right, 3 below, 4 to the left, and 5 within them.
    assert sorted(at) == list("12345")
    assert at["1"][0] == min(row for row, _ in at.values()) and at["3"][0] == max(row for row, _ in at.values())
    assert at["4"][1] < at["1"][1] < at["5"][1] < at["3"][1] < at["2"][1]
    # Both eyes lie 2 degrees to the left of their targets; of the right eye's second target there are no data.
    letters = [(key, row, column) for key, row, column in marks if key in "LRB"]
    assert sorted(key for key, _, _ in letters) == ["B"] * 4 + ["L"]
    for key, row, column in letters:
        number = min(at, key=lambda n: (abs(at[n][0] - row), abs(at[n][1] - column)))
        assert row == at[number][0] and 2 <= at[number][1] - column <= 5
        assert key == ("L" if number == "2" else "B")


def test_a_calibration_that_failed_says_why_and_which_targets() -> None:
    points = tuple(Point(n, 100.0 * n, 100.0) for n in range(1, 6))
    outcome = CalibrationOutcome(Calibration(False, points, (2, 5), "gaze was found on 3 of 5 targets"))
    lines = page(replace(ASKED, asking=outcome))
    assert "calibration FAILED" in lines
    assert "gaze was found on 3 of 5 targets; targets that failed: 2, 5" in lines


@pytest.mark.parametrize("status", [PICTURE, PASSED, FAILED, replace(FAILED, proposal="recalibrate")])
def test_every_page_fits_a_terminal_of_80_by_24(status: Status) -> None:
    lines = page(status, *((f"14:00:0{n}", "x" * 200) for n in range(5)), silent_s=9.0)
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


# What keys mean.


def pressed(keys: str, status: Status, keyboard: Keyboard | None = None) -> list[Command]:
    keyboard = keyboard or Keyboard()
    return [command for key in keys for command in keyboard.press(key, status)]


@pytest.mark.parametrize(
    ("key", "kind"), [("p", "pause"), ("c", "recalibrate"), ("k", "skip"), ("P", "pause"), ("K", "skip")]
)
def test_a_key_of_the_page_does_what_the_page_says(key: str, kind: str) -> None:
    assert [command.kind for command in pressed(key, PICTURE)] == [kind]


@pytest.mark.parametrize("phase", ["pause", "break"])
def test_p_resumes_where_there_is_a_pause(phase: str) -> None:
    status = replace(PICTURE, phase=phase, offers=WHILE_WAITING)
    assert [command.kind for command in pressed("p", status)] == ["resume"]
    assert "p resume" in page(status)[-2]


@pytest.mark.parametrize("keys", ["a", "r", "1", "135" + ENTER, ENTER, " ", "x", "y"])
def test_keys_that_the_page_does_not_name_do_nothing(keys: str) -> None:
    assert pressed(keys, PICTURE) == []


@pytest.mark.parametrize("key", ["p", "c", "k", "K"])
def test_a_key_that_means_something_at_other_times_does_nothing_now_and_says_so(key: str) -> None:
    rating = replace(PICTURE, phase="rating", offers=())
    keyboard = Keyboard()
    assert pressed(key, rating, keyboard) == [] and page(rating)[-2] == "q stop"
    assert keyboard.remark == f'"{key.lower()}" has no meaning during "rating": nothing was done'
    assert len(pressed(key, PICTURE, keyboard)) == 1 and keyboard.remark == ""


def test_stop_is_asked_again_so_that_a_slip_ends_nothing() -> None:
    keyboard = Keyboard()
    assert pressed("q", PICTURE, keyboard) == [] and keyboard.prompt == "stop the session? y/n "
    assert pressed("n", PICTURE, keyboard) == [] and keyboard.prompt == ""
    assert pressed("y", PICTURE, keyboard) == []
    assert pressed("qp", PICTURE, keyboard) == [] and keyboard.prompt == "", "only y stops, and p did not pause"
    assert [command.kind for command in pressed("qy", PICTURE)] == ["stop"]
    assert [command.kind for command in pressed("qy", PASSED)] == ["stop"]


def test_a_validation_that_passed_is_accepted_by_a_key_alone() -> None:
    assert pressed("a", PASSED) == [Command("accept", moment=7)]
    assert pressed("r", PASSED) == [Command("repeat", moment=7)]
    assert pressed("pck", PASSED) == []


def test_one_that_failed_is_accepted_by_name_and_without_one_not_at_all() -> None:
    keyboard = Keyboard()
    assert pressed("aK. ß", FAILED, keyboard) == [] and "K. ß_" in keyboard.prompt
    assert pressed("x" + BACKSPACE + ENTER, FAILED, keyboard) == [Command("accept", by="K. ß", moment=7)]
    for nobody in ("a" + ENTER, "a  " + ENTER, "ab" + BACKSPACE + ENTER, "aKB" + ESCAPE + ENTER):
        assert pressed(nobody, FAILED) == []


def test_digits_and_enter_redo_these_points_each_once_and_only_those_that_are_there() -> None:
    keyboard = Keyboard()
    assert pressed("4919", PASSED, keyboard) == [] and keyboard.prompt.startswith("redo points 4 1,")
    assert pressed(ENTER, PASSED, keyboard) == [Command("redo", (1, 4), moment=7)]
    assert pressed("3" + BACKSPACE + ENTER, PASSED) == []
    assert pressed("32" + ESCAPE + ENTER, PASSED) == []


def test_what_was_being_typed_is_dropped_where_the_question_was_answered_in_the_window() -> None:
    keyboard = Keyboard()
    pressed("aK", FAILED, keyboard)
    keyboard.look(PICTURE)
    assert keyboard.prompt == "" and pressed(ENTER, PICTURE, keyboard) == []
    pressed("12", PASSED, keyboard)
    another = replace(PASSED, asking=validation(0.3))
    assert pressed(ENTER, another, keyboard) == []


def test_arrows_and_other_named_keys_are_no_letters() -> None:
    assert keys_of("\x1b[A\x1b[1;5C\x1bOPa\r\x08\x1b") == ["a", ENTER, BACKSPACE, ESCAPE]


def test_without_a_terminal_each_change_is_a_line() -> None:
    first = plain_lines(None, replace(PICTURE, last_drift=None))
    assert first == [
        "participant 01, run 1, mouse (simulated)",
        "picture   trial 3 of 20   4 s left   session: 4:32 left",
    ]
    assert plain_lines(PICTURE, replace(PICTURE, now_s=13.0, left_s=3.2)) == []
    assert plain_lines(PICTURE, FAILED)[-1].startswith("validation failed: Ctrl+Shift+V in the participant's window")
    assert plain_lines(replace(PICTURE, last_drift=None), PICTURE) == [
        "tracked 98 %   drift 0.4 deg (+0.3 across, -0.2 down)   frames missed 0"
    ]


# The terminal itself.

PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
sys.path.insert(0, {str(Path(__file__).parent)!r})
from dataclasses import replace
from beholder.experiment.console import Console
from test_console import PICTURE, FAILED, SCREEN
end_s = time.monotonic() + 60
status = FAILED if "asked" in sys.argv else PICTURE
try:
    with Console(SCREEN) as console:
        if "broken" in sys.argv:
            status = replace(status, tracked_percent="no number")
        sent = False
        while time.monotonic() < end_s:
            console.show(replace(status, now_s=time.monotonic(), notices=() if sent else ("hello operator",)))
            sent = True
            for command in console.commands():
                print("COMMAND", command.kind, command.by, file=sys.stderr, flush=True)
                if command.kind in ("stop", "accept"):
                    end_s = 0
            time.sleep(0.01)
            if time.monotonic() > end_s - 58:
                if "short" in sys.argv:
                    break
                if "raises" in sys.argv:
                    raise SystemExit(3)
except KeyboardInterrupt:
    print("INTERRUPTED", file=sys.stderr, flush=True)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX's")


class InTerminal:
    """A program in a pseudo-terminal of its own; `errors` is what it wrote on standard error, a file."""

    def __init__(self, folder: Path, *words: str) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.termios = termios
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.errors = folder / "errors"
        self.shown = b""

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words], stdin=self.theirs, stdout=self.theirs, stderr=errors,
                env=os.environ | {"TERM": "xterm-256color"}, preexec_fn=own_terminal,
            )  # fmt: skip

    def wait_for(self, text: str, timeout_s: float = 60.0) -> str:
        """What was shown until `text` was among it."""
        import select

        until_s = time.monotonic() + timeout_s
        while text.encode() not in self.shown:
            assert time.monotonic() < until_s, self.shown.decode(errors="replace") + self.errors.read_text()
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += os.read(self.ours, 65536)
        return self.shown.decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def end(self) -> int:
        """Its exit code; what it still shows is read meanwhile, or it would block."""
        import select

        until_s = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < until_s, "it does not end"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.shown += os.read(self.ours, 65536)
        while select.select([self.ours], [], [], 0.1)[0]:
            self.shown += os.read(self.ours, 65536)
        return self.process.returncode

    def restored(self) -> bool:
        """Whether the terminal is as it was: echo and lines again, the cursor shown, the first screen back."""
        shown = self.shown
        screen_back = shown.rfind(b"\x1b[?1049l") > shown.rfind(b"\x1b[?1049h")
        cursor_back = shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
        return self.termios.tcgetattr(self.theirs) == self.before and screen_back and cursor_back

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminals() -> Iterator[list[InTerminal]]:
    opened: list[InTerminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@posix
def test_keys_reach_the_session_from_a_terminal_and_the_terminal_is_put_back(
    tmp_path: Path, terminals: list[InTerminal]
) -> None:
    terminals.append(terminal := InTerminal(tmp_path))
    terminal.wait_for("hello operator")
    terminal.press("p\x1b[Aq")
    terminal.wait_for("stop the session? y/n")
    terminal.press("y")
    assert terminal.end() == 0
    assert terminal.errors.read_text().splitlines() == ["COMMAND pause operator", "COMMAND stop operator"]
    assert terminal.restored()


@posix
def test_a_failed_validation_is_accepted_by_the_name_that_was_typed(
    tmp_path: Path, terminals: list[InTerminal]
) -> None:
    terminals.append(terminal := InTerminal(tmp_path, "asked"))
    terminal.wait_for("validation FAILED")
    terminal.press("aKö")
    terminal.wait_for("Kö_")
    terminal.press("\r")
    assert terminal.end() == 0
    assert terminal.errors.read_text().splitlines() == ["COMMAND accept Kö"]


@posix
@pytest.mark.parametrize(("word", "code"), [("short", 0), ("raises", 3)])
def test_every_way_out_puts_the_terminal_back(
    tmp_path: Path, terminals: list[InTerminal], word: str, code: int
) -> None:
    terminals.append(terminal := InTerminal(tmp_path, word))
    terminal.wait_for("trial 3 of 20")
    assert terminal.end() == code
    assert terminal.restored()


@posix
def test_ctrl_c_still_reaches_the_session(tmp_path: Path, terminals: list[InTerminal]) -> None:
    terminals.append(terminal := InTerminal(tmp_path))
    terminal.wait_for("trial 3 of 20")
    terminal.press("\x03")
    assert terminal.end() == 0
    assert terminal.errors.read_text().splitlines() == ["INTERRUPTED"]
    assert terminal.restored()


@posix
def test_an_error_in_drawing_ends_the_page_and_not_the_session(tmp_path: Path, terminals: list[InTerminal]) -> None:
    terminals.append(terminal := InTerminal(tmp_path, "broken", "short"))
    assert terminal.end() == 0
    assert "cannot be shown" in terminal.errors.read_text() and "Traceback" not in terminal.errors.read_text()
    assert terminal.termios.tcgetattr(terminal.theirs) == terminal.before


def test_a_program_without_a_terminal_writes_plain_lines_and_no_control_codes(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, "short"], capture_output=True, stdin=subprocess.DEVNULL, timeout=120
    )
    lines = run.stderr.decode().splitlines()
    assert run.returncode == 0 and run.stdout == b"" and b"\x1b" not in run.stderr
    assert "hello operator" in [line[10:] for line in lines]
    assert sum("trial 3 of 20" in line for line in lines) == 1, "once, as nothing has changed since"


@posix
def test_a_terminal_that_takes_nothing_more_holds_up_neither_the_session_nor_its_end(
    tmp_path: Path, terminals: list[InTerminal]
) -> None:
    terminals.append(terminal := InTerminal(tmp_path, "asked", "short"))
    terminal.wait_for("validation FAILED")
    terminal.press("\x13")  # Ctrl-S: drawing blocks from now on
    assert terminal.end() == 0
    assert "Fatal" not in terminal.errors.read_text()


def test_show_and_commands_only_swap_and_empty() -> None:
    console = Console(SCREEN)  # not entered: no thread would take anything
    for n in range(10_000):
        console.show(replace(PICTURE, now_s=float(n), notices=("one",)))
    assert console.commands() == []


def test_the_time_left_is_counted_down_between_the_sessions_words() -> None:
    console = Console(SCREEN)
    console.show(replace(PICTURE, now_s=100.0, left_s=10.0))
    console.show(replace(PICTURE, now_s=104.0, left_s=10.0))
    assert console._page().status.left_s == pytest.approx(6.0)
    console.show(replace(PICTURE, now_s=105.0, left_s=5.0))
    assert console._page().status.left_s == pytest.approx(5.0)
    console.show(replace(PICTURE, phase="rating", now_s=106.0, left_s=None))
    assert console._page().status.left_s is None
    assert np.isfinite(console._page().silent_s)
