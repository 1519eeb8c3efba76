"""A hundred kills of a live session: the data set stays valid, a second of gaze may be missing, resume completes it.

The sessions run in real time, in processes forked from this one, with a tracker that measures nothing: sample k comes
at time k / rate of its clock and has k as its pupil, so that each sample that was recorded is known by its number. What
it had sent by the time of death stands in memory that outlives the process.

    50 die in the write that would have brought a certain sample, or a certain record, half of which they write
    30 are killed from outside at a time
    20 die between two steps of publishing: a session that was complete, or one that the operator had stopped
    10 more, in the same ways, have a real window under Xvfb
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from beholder.experiment import calibration, headless
from beholder.experiment.devices import (
    Batch,
    Calibration,
    Clock,
    ClockPair,
    CloseReport,
    Display,
    Dot,
    Picture,
    Shape,
    WindowEvent,
)
from beholder.experiment.headless import HeadlessDisplay, ScriptedOperator, ScriptedParticipant, VirtualClock
from beholder.experiment.plan import Plan, plan_from_disk
from beholder.experiment.session import calibrating, course
from beholder.experiment.session import run_session as door
from beholder.experiment.session.operator import Command
from beholder.experiment.session.parts import SessionSetup
from beholder.experiment.session.run_session import run_session
from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.errors import StudyError
from beholder.shared.gaze import no_samples
from beholder.shared.recording.journal import LOG, SAMPLES, JournalWriter, _GrowingFile, journals
from beholder.shared.recording.records import Begin, Point, Record
from beholder.shared.recording.session_header import SessionHeader, TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.study import (
    LimitSettings,
    PictureSettings,
    ProtocolSettings,
    ScreenSettings,
    Study,
    TrackerSettings,
    read_study,
)
from beholder.shared.tables import read_events
from tests.headers import session_header

RATE_HZ, TRIALS, SEED = 250.0, 4, 20260801
DOT_S = PICTURE_S = 0.6
TARGET_S = 0.7
# Sessions mostly wait: so many at once leave each its time on two cores.
AT_ONCE = 15
TIMEOUT_S = 300.0
# Rows of log.tsv before the tracker is closed, and steps of publishing, counted from 0.
RECORDS, LAST_STEP = 50, 17
# While the tracker records: validation of 4 points, and the trials. A busy computer takes longer, never shorter.
RECORDED_S = 4 * TARGET_S + TRIALS * (DOT_S + PICTURE_S)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes: run these tests on Linux or macOS"),
]


# --------------------------------------------------------------------------------------------------- a killable lab


class RealClock:
    """`time.perf_counter`, which is one clock for all processes of a computer."""

    def now_s(self) -> float:
        return time.perf_counter()

    def sleep_until_s(self, time_s: float) -> None:
        time.sleep(max(0.0, time_s - time.perf_counter()))


class Will:
    """What a process leaves behind however it ends: when it began, its first sample's number and how many it sent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 24)

    def begin(self) -> None:
        self._memory[:8] = struct.pack("d", time.perf_counter())

    def began_s(self) -> float:
        """Infinity until it has begun."""
        return float(struct.unpack("d", self._memory[:8])[0]) or float("inf")

    def write(self, first: int, sent: int) -> None:
        self._memory[8:] = struct.pack("qq", first, sent)

    def read(self) -> tuple[int, int]:
        first, sent = struct.unpack("qq", self._memory[8:])
        return first, sent


class NumberedTracker:
    """Sample k at time k / rate of a clock that began with the connection; the eyes are where the last target is."""

    escape_is_its_own = False

    def __init__(self, clock: Clock, will: Will | None = None) -> None:
        self._clock, self._will = clock, will
        self._zero_s = 0.0
        self._first = self._next = 0
        self._recording = False
        self._until = 0
        self.place_px = (0.0, 0.0)

    def watch(self, onset_s: float, scene: Sequence[Shape]) -> None:
        for shape in scene:
            if isinstance(shape, Dot):
                self.place_px = shape.x_px, shape.y_px
            elif isinstance(shape, Picture):
                self.place_px = shape.rect.x_px + 40, shape.rect.y_px + 40

    def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
        self._zero_s = self._clock.now_s()
        return TrackerInfo("Beholder", "numbered", "0", "1", RATE_HZ, ("left", "right"), "arbitrary", "diameter", True)

    def calibrate(self, display: Display, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        return Calibration(True, tuple(points), (), "")

    def _number(self) -> int:
        return floor((self._clock.now_s() - self._zero_s) * RATE_HZ)

    def start(self) -> None:
        self._first = self._next = self._number() + 1
        self._recording = True

    def read(self) -> Batch:
        last = self._number() if self._recording else self._until
        numbers = np.arange(self._next, last + 1)
        self._next = max(self._next, last + 1)
        if self._will is not None:
            self._will.write(self._first, self._next - self._first)
        samples = no_samples(len(numbers))
        samples["time_s"] = numbers / RATE_HZ
        for eye in ("left", "right"):
            samples[f"{eye}_x_px"] = self.place_px[0] + 3 * np.sin(numbers)
            samples[f"{eye}_y_px"] = self.place_px[1] + 3 * np.cos(numbers)
            samples[f"{eye}_pupil"] = numbers
        return Batch(samples)

    def clocks(self) -> ClockPair:
        now_s = self._clock.now_s()
        return ClockPair(now_s, now_s - self._zero_s, now_s)

    def message(self, text: str, at_s: float) -> None:
        pass

    def stop(self) -> None:
        self._until, self._recording = self._number(), False

    def close(self, save_to: Path) -> CloseReport:
        (save_to / "numbered.log").write_text("of the tracker")
        return CloseReport()


Die = Callable[[], None]


@dataclass(frozen=True)
class Kill:
    """How a process is to end: in the write that brings row `number` of a file, after `after_s`, or before a step."""

    name: str
    at_sample: int | None = None
    at_record: int | None = None
    after_s: float | None = None
    before_step: int | None = None
    stopped_after_s: float | None = None


NOT_AT_ALL = Kill("none")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_write(file_name: str, number: int) -> None:
    """Have this process die in the write of that row, half written; rows are counted from 1."""
    flush, rows = _GrowingFile.flush, 0

    def dying(self: _GrowingFile) -> None:
        nonlocal rows
        todo = self.rest[1][self._flushed_bytes :]
        if todo and Path(self._file.name).name == file_name:
            rows += todo.count(b"\n")
            if rows >= number:
                self._file.write(todo[: len(todo) // 2])
                die()
        flush(self)

    _GrowingFile.flush = dying  # type: ignore[method-assign]


def die_before_step(number: int) -> None:
    """Have this process die before that step of publishing."""
    steps: list[str] = []

    def hook(step: str) -> None:
        steps.append(step)
        if len(steps) > number:
            die()

    door.publish = lambda folder: publishing.publish(folder, hook)  # type: ignore[attr-defined]


def shorten() -> None:
    """Texts are answered at once, and targets stand for half a second: this is not a test of measuring."""
    headless.READING_S = 0.3
    for module in (course, calibrating, calibration):
        module.SETTLED_AFTER_S, module.MEASURED_UNTIL_S = 0.2, TARGET_S
    calibrating.VALIDATION_SHRINKS_S = 0.1


def make_display(study: Study, clock: Clock) -> HeadlessDisplay:
    assert study.screen is not None
    return HeadlessDisplay(study.screen.screen(), study.screen.refresh_hz, ScriptedParticipant(), clock=clock)


def run(
    folder: Path, plan: Plan, display: Display, will: Will | None = None, stopped_after_s: float | None = None
) -> None:
    """A session to its end."""
    tracker = NumberedTracker(display.clock, will)
    display.watcher = tracker.watch  # type: ignore[attr-defined]
    commands = [] if stopped_after_s is None else [(display.clock.now_s() + stopped_after_s, Command("stop"))]
    run_session(
        SessionSetup(folder, read_study(folder), plan, display, tracker, ScriptedOperator(commands_at=commands))
    )


def to_be_killed(folder: Path, kill: Kill, will: Will, display_of: Callable[[Study], Display]) -> None:
    """What the child process does: a session that ends as it is told."""
    shorten()
    if kill.at_sample is not None:
        die_in_write(SAMPLES, kill.at_sample)
    if kill.at_record is not None:
        die_in_write(LOG, kill.at_record)
    if kill.before_step is not None:
        die_before_step(kill.before_step)
    plan, display = plan_from_disk(folder, "01"), display_of(read_study(folder))
    will.begin()
    run(folder, plan, display, will, kill.stopped_after_s)


@dataclass
class Killed:
    """A process that was killed, and what it left."""

    kill: Kill
    folder: Path
    will: Will = field(default_factory=Will)
    status: int = 0

    def is_due(self) -> bool:
        """Whether it is time to kill it from outside."""
        return self.kill.after_s is not None and time.perf_counter() >= self.will.began_s() + self.kill.after_s


def in_child(work: Callable[[], None], log: Path) -> int:
    """Do it in a process of its own, which says what went wrong in `log`; returns its number."""
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        handle = os.open(log, os.O_CREAT | os.O_WRONLY)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        work()
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def kill_all(jobs: Sequence[Killed], display_of: Callable[[Study], Display], at_once: int) -> None:
    """Run all sessions, some at a time, until they have died."""
    waiting, running = list(reversed(jobs)), {}
    give_up_s = time.monotonic() + TIMEOUT_S
    try:
        while waiting or running:
            assert time.monotonic() < give_up_s
            while waiting and len(running) < at_once:
                job = waiting.pop()

                def work(job: Killed = job) -> None:
                    to_be_killed(job.folder, job.kill, job.will, display_of)

                running[in_child(work, job.folder.with_suffix(".log"))] = job
            for child, job in list(running.items()):
                if job.is_due():
                    os.kill(child, signal.SIGKILL)
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    job.status = os.waitstatus_to_exitcode(status)
                    del running[child]
            time.sleep(0.01)
    finally:
        for child in running:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


# ------------------------------------------------------------------------------------------------------ the claims


def recorded_numbers(folder: Path) -> np.ndarray:
    """The numbers of the samples of the first run, as they are in the data set."""
    found = [run for run in runs(folder) if run.run == 1]
    return read_recording(found[0]).samples["left_pupil"] if found else np.zeros(0)


def pictures(folder: Path) -> pd.DataFrame:
    """What was shown of the pictures, over all runs, in order."""
    tables = [read_events(run.events_file).assign(run=run.run) for run in runs(folder, with_gaze=False)]
    table = pd.concat(tables).query("trial_type == 'picture'")
    return table.sort_values(["run", "onset"])


def check(job: Killed, assert_valid: Callable[[Path], None]) -> tuple[int, int, bool]:
    """All that must be true after a kill; returns samples sent and missing, and whether anything was left to do."""
    folder = job.folder
    assert job.status == -signal.SIGKILL, (job.kill, job.folder.with_suffix(".log").read_text())
    assert_valid(folder)
    assert [state.running for state in journals(folder)] in ([], [False]), job.kill
    publishing.recover(folder)
    assert_valid(folder)
    assert journals(folder) == ()
    assert not (folder / ".beholder" / "publish").exists()
    first, sent = job.will.read()
    numbers = recorded_numbers(folder)
    np.testing.assert_array_equal(numbers, np.arange(first, first + len(numbers)), err_msg=str(job.kill))
    missing = sent - len(numbers)
    assert missing <= RATE_HZ * 1.0, (job.kill, sent, missing)
    if job.kill.before_step is not None:
        assert missing == 0, job.kill
    again = resume(folder)
    shown = pictures(folder)
    complete = shown.query("status == 'complete'")
    assert sorted(complete["trial"]) == list(range(1, TRIALS + 1)), job.kill
    before: set[str] = set()
    for stim_file, exposure in zip(shown["stim_file"], shown["exposure"], strict=True):
        assert exposure == ("repeat" if stim_file in before else "first"), job.kill
        before.add(stim_file)
    return sent, missing, again


def resume(folder: Path) -> bool:
    """Go on with the session, on a virtual clock; False where it was complete."""
    began = bool(runs(folder, with_gaze=False))
    try:
        plan = plan_from_disk(folder, "01", resume=began)
    except StudyError as refused:
        assert "nothing is left to do" in str(refused)
        return False
    run(folder, plan, make_display(read_study(folder), VirtualClock()))
    return True


# -------------------------------------------------------------------------------------------------------- the tests


@pytest.fixture
def make_studies(tmp_path: Path) -> Callable[[Sequence[Kill]], list[Killed]]:
    """A small study for each kill."""

    def make(kills: Sequence[Kill], screen: ScreenSettings | None = None) -> list[Killed]:
        for number in range(TRIALS):
            place = tmp_path / "pictures" / f"bag-{number}.png"
            place.parent.mkdir(exist_ok=True)
            Image.new("RGB", (64, 48), (60 * number, 128, 128)).save(place)
        study = Study(
            screen=screen or ScreenSettings(),
            pictures=PictureSettings(size_deg=15.0),
            protocol=ProtocolSettings(dot_s=DOT_S, picture_s=PICTURE_S, form=[], break_every=0),
            # So many sessions at once hold each other up.
            limits=LimitSettings(late_ms=60000.0),
        )
        create_study(tmp_path / "study", study, tmp_path / "pictures")
        jobs = []
        for number, kill in enumerate(kills):
            folder = tmp_path / f"kill-{number}"
            shutil.copytree(tmp_path / "study", folder)
            jobs.append(Killed(kill, folder))
        return jobs

    return make


def headless_in_real_time(study: Study) -> Display:
    return make_display(study, RealClock())


def check_all(jobs: Sequence[Killed], assert_valid: Callable[[Path], None]) -> list[tuple[int, int, bool]]:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda job: check(job, assert_valid), jobs))
    missing = max(missing for _, missing, _ in found)
    print(f"{len(jobs)} kills, {sum(again for *_, again in found)} resumed, at most {missing / RATE_HZ:.3f} s missing")
    return found


def test_a_hundred_kills(make_studies: Callable[..., list[Killed]], assert_valid: Callable[[Path], None]) -> None:
    rng = np.random.default_rng(SEED)
    samples = int(RECORDED_S * RATE_HZ)
    steps = np.linspace(0, LAST_STEP, 10).astype(int)
    jobs = make_studies(
        [
            *(Kill(f"sample {k}", at_sample=int(k)) for k in np.linspace(1, samples, 25)),
            *(Kill(f"record {k}", at_record=int(k)) for k in np.linspace(1, RECORDS, 25)),
            *(Kill(f"after {t:.2f} s", after_s=float(t)) for t in rng.uniform(0.0, RECORDED_S, 30)),
            *(Kill(f"step {k}", before_step=int(k)) for k in steps),
            *(Kill(f"stopped, step {k}", before_step=int(k), stopped_after_s=0.8 * RECORDED_S) for k in steps),
        ]
    )
    kill_all(jobs, headless_in_real_time, AT_ONCE)
    found = check_all(jobs, assert_valid)
    # They died all over the session.
    assert min(sent for sent, _, _ in found) == 0
    assert max(sent for sent, _, _ in found) >= samples


# With a window.

WIDTH_PX, HEIGHT_PX = 800, 600


@pytest.fixture
def virtual_screen(tmp_path: Path) -> Iterator[str]:
    """The name of an X display of its own."""
    if not shutil.which("Xvfb"):
        pytest.skip("there is no virtual screen here: apt-get install xvfb")
    ours, theirs = os.pipe()
    with (tmp_path / "xvfb.log").open("wb") as log:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(theirs), "-screen", "0", f"{WIDTH_PX}x{HEIGHT_PX}x24", "-noreset"],
            pass_fds=[theirs], stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    os.close(theirs)
    with os.fdopen(ours) as number:
        name = number.readline().strip()
    assert name, (tmp_path / "xvfb.log").read_text()
    yield f":{name}"
    server.kill()
    server.wait()


def window_on(virtual_screen: str) -> Callable[[Study], Display]:
    """A real window; its participant is a script, since keys cannot be sent to several windows at once."""

    def display_of(study: Study) -> Display:
        os.environ["DISPLAY"] = virtual_screen
        from beholder.experiment.live import WatchedWindow

        class AnsweredWindow(WatchedWindow):
            def __init__(self, settings: ScreenSettings) -> None:
                super().__init__(settings, study.protocol.background)
                self.participant = ScriptedParticipant()
                self.coming: list[WindowEvent] = []

            def show(self, scene: Sequence[Shape]) -> float:
                onset_s = super().show(scene)
                self.coming += self.participant.answer(onset_s, scene)
                return onset_s

            def events(self) -> list[WindowEvent]:
                due = [event for event in self.coming if event.at_s <= self.clock.now_s()]
                self.coming = [event for event in self.coming if event not in due]
                return [*super().events(), *due]

        assert study.screen is not None
        return AnsweredWindow(study.screen)

    return display_of


def test_ten_kills_with_a_window(
    make_studies: Callable[..., list[Killed]], assert_valid: Callable[[Path], None], virtual_screen: str
) -> None:
    pytest.importorskip("psychopy", reason="PsychoPy is not installed: pip install 'beholder[experiment]'")
    rng = np.random.default_rng(SEED + 1)
    samples = int(RECORDED_S * RATE_HZ)
    jobs = make_studies(
        [
            *(Kill(f"sample {k}", at_sample=int(k)) for k in np.linspace(100, samples, 3)),
            *(Kill(f"record {k}", at_record=int(k)) for k in np.linspace(3, RECORDS, 2)),
            *(Kill(f"after {t:.2f} s", after_s=float(t)) for t in rng.uniform(0.0, RECORDED_S, 3)),
            *(Kill(f"step {k}", before_step=k) for k in (4, 9)),
        ],
        ScreenSettings(width_px=WIDTH_PX, height_px=HEIGHT_PX, width_cm=32.0, height_cm=24.0, distance_cm=60.0),
    )
    kill_all(jobs, window_on(virtual_screen), 2)
    check_all(jobs, assert_valid)


# While a session is running.


def test_recovery_leaves_a_running_session_alone_and_sees_to_the_others(
    make_studies: Callable[..., list[Killed]], assert_valid: Callable[[Path], None]
) -> None:
    (job,) = make_studies([NOT_AT_ALL])
    writer = JournalWriter(job.folder, header())
    writer.append_records([Record(0.0, Begin(1, "dot", trial=1))])
    writer.append_samples(no_samples(3)[:1])
    writer.close()

    def work() -> None:
        to_be_killed(job.folder, job.kill, job.will, headless_in_real_time)

    child = in_child(work, job.folder.with_suffix(".log"))
    try:
        give_up_s = time.monotonic() + TIMEOUT_S
        while job.will.read()[1] < RATE_HZ:
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
        told = [str(remark) for remark in publishing.recover(job.folder)]
        assert any("is being recorded now" in text and "sub-01" in text for text in told)
        assert any("recovered into" in text and "sub-02" in text for text in told)
        assert [(state.participant, state.running) for state in journals(job.folder)] == [("01", True)]
        with pytest.raises(StudyError, match="is being recorded now"):
            plan_from_disk(job.folder, "01", resume=True)
        assert [run.participant for run in runs(job.folder)] == ["02"]
        # It goes on and publishes as if nothing had been.
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, job.folder.with_suffix(".log").read_text()
        child = 0
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert_valid(job.folder)
    assert journals(job.folder) == ()
    first, sent = job.will.read()
    np.testing.assert_array_equal(recorded_numbers(job.folder), np.arange(first, first + sent))
    assert sorted(pictures(job.folder).query("status == 'complete'")["trial"]) == list(range(1, TRIALS + 1))


def header() -> SessionHeader:
    tracker = NumberedTracker(VirtualClock()).connect(TrackerSettings(), ScreenSettings().screen())
    return replace(session_header("02"), tracker=tracker)
