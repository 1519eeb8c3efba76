"""What goes on while a session waits: gaze is fetched, and keys, the disk and the operator are attended to."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from beholder.experiment.devices import Click, Closed, Display, Key, Notice, Shape, WindowEvent
from beholder.experiment.gaze_stream import GazeStream
from beholder.experiment.recorder import Recorder
from beholder.experiment.session.desk import Desk
from beholder.experiment.session.ending import Interrupted, Stopped
from beholder.experiment.session.log import EventLog
from beholder.experiment.session.operator import AT_THE_WINDOW, CHORDS, IN_A_TRIAL, SHOW_CHECK, Command

# A second Escape within this time ends the session.
ESCAPE_AGAIN_S = 3.0
# How long the session waits for a file beside the recording to be written.
LONGEST_WRITE_S = 1.0


@dataclass(frozen=True)
class Timing:
    """How a session keeps time: the screen's rate, the longest time between two `pump`s, the limit of a late picture.

    `disk_watched` is False where the session waits for its disk, as a simulation does: how fast the disk is must not
    show in its data.
    """

    refresh_hz: float
    step_s: float
    late_ms: float
    disk_watched: bool


class Attending:
    """All waiting of a session is done here, so that gaze, keys, disk and operator are attended to meanwhile.

    `inputs` are the keys and clicks in the participant's window that nobody took yet. `escape_is_the_trackers` is True
    while a tracker's own set-up has the keys; `check_wanted` where the operator wants a check's picture on the
    participant's screen; `lateness_told` once the operator knows that the trial has missed too many frames.
    """

    def __init__(
        self,
        display: Display,
        desk: Desk,
        gaze: GazeStream,
        log: EventLog,
        recorder: Recorder,
        timing: Timing,
        files: Path,
    ) -> None:
        self.display, self.clock, self.timing = display, display.clock, timing
        self._desk, self._gaze, self._log, self._recorder, self._files = desk, gaze, log, recorder, files
        self.inputs: list[Key | Click] = []
        self.escape_is_the_trackers = self.check_wanted = self.lateness_told = False
        self._escape_s = float("-inf")
        self._disk_trouble = ""

    def wait_for_frame(self, time_s: float) -> None:
        """Wait until half a frame before `time_s`, so that the next flip is the frame nearest to it."""
        self.wait_until(time_s - 0.5 / self.timing.refresh_hz)

    def wait_until(self, time_s: float, *, interrupting: bool = True) -> None:
        """Wait until `time_s` with the scene standing, fetching gaze and heeding window and operator meanwhile."""
        while True:
            self.pump(interrupting)
            now_s = self.clock.now_s()
            if now_s >= time_s:
                return
            self.display.hold(min(time_s, now_s + self.timing.step_s))

    def wait_a_step(self) -> None:
        """Wait for one step: the longest time between two `pump`s."""
        self.wait_until(self.clock.now_s() + self.timing.step_s, interrupting=False)

    def pump(self, interrupting: bool = True) -> None:
        """Do everything that must not wait: move gaze to the recorder, take keys and clicks, heed the operator.

        Raises Stopped where the session is to end, TrackerError where the tracker is lost, and, if `interrupting`,
        Interrupted where the trial is to be broken off.
        """
        # The disk comes first: where it fails, handing gaze over raises, and the operator is to know why.
        self._watch_disk()
        self.count_missed_frames()
        self._gaze.fetch()
        for event in self.display.events():
            if isinstance(event, Closed):
                self._desk.tell(Notice("the window was closed, or its screen is gone"))
                raise Stopped("the window was closed")
            self._hear(event)
        self._gaze.watch_system_clock()
        self._desk.inform(self._gaze.tracked_percent)
        self._desk.heed()
        if interrupting and self._desk.recording_ended:
            raise Interrupted("ended")
        if interrupting and (taken := self._desk.take_commands(*IN_A_TRIAL)):
            for command in taken[1:]:
                self._desk.refuse(command)
            raise Interrupted(taken[0].kind)  # type: ignore[arg-type]  # one of IN_A_TRIAL

    def count_missed_frames(self) -> None:
        """Count the frames that were missed since the last call; too many of one picture are told at once."""
        if not self._log.count_missed_frames():
            return
        missed = self._log.missed_of_standing
        missed_ms = 1000 * missed / self.timing.refresh_hz
        if missed_ms > self.timing.late_ms and not self.lateness_told:
            self.lateness_told = True
            status = self._desk.status
            text = (
                f"trial {status.trial}: the computer was held up, {missed} frames ({missed_ms:.0f} ms) of its "
                f"{status.phase} were missed: close what else it does"
            )
            self._desk.tell(Notice(text))

    def keep_file(self, name: str, data: bytes) -> None:
        """Keep a file beside the recording; a disk that refuses it, or does not answer, costs that file and no more."""
        failed: list[str] = []

        def write() -> None:
            try:
                (self._files / name).write_bytes(data)
            except OSError as error:
                failed.append(str(error.strerror))

        # What waits for a disk cannot be stopped, but a thread can be left behind.
        thread = threading.Thread(target=write, name="file", daemon=True)
        thread.start()
        thread.join(LONGEST_WRITE_S if self.timing.disk_watched else None)
        if thread.is_alive():
            failed.append("the disk does not answer")
        if failed:
            self._desk.tell(Notice(f"{name} could not be written ({failed[0]}): the session goes on without it"))

    def _watch_disk(self) -> None:
        """Tell the operator of trouble with the disk, once, and once more when it is over."""
        trouble = (self._recorder.trouble() or "") if self.timing.disk_watched else ""
        # The same trouble a second later differs only in its figures.
        kind = re.sub(r"\d+", "", trouble)
        if kind != self._disk_trouble:
            self._disk_trouble = kind
            self._desk.tell(Notice(trouble or "the disk keeps up again: nothing was lost"))

    def _hear(self, event: Key | Click) -> None:
        """Take a key or click in. A key held down counts once, or a sleeve on the keyboard would skip screens."""
        if isinstance(event, Click):
            self.inputs.append(event)
        elif event.chord:
            if not event.held:
                self._chord(event.name)
        elif self.escape_is_the_trackers:
            # The tracker's own set-up has the keys.
            self.inputs.append(event)
        elif event.held:
            pass
        elif event.name == "escape":
            self._escape(event.at_s)
        else:
            self.inputs.append(event)

    def _chord(self, letter: str) -> None:
        """Do what the operator asks for in the participant's window, by Ctrl, Shift and a letter."""
        status = self._desk.status
        if letter == SHOW_CHECK and status.asking is not None:
            self.check_wanted = not self.check_wanted
        elif letter in CHORDS:
            kind = CHORDS[letter]
            resumes = kind == "pause" and "resume" in status.offers
            self._desk.take(Command("resume" if resumes else kind, by=AT_THE_WINDOW))

    def _escape(self, at_s: float) -> None:
        """Escape in the participant's window: once it may be a mistake, twice it ends the session."""
        if at_s - self._escape_s <= ESCAPE_AGAIN_S:
            raise Stopped("Escape was pressed twice")
        self._escape_s = at_s
        again = f"once more within {ESCAPE_AGAIN_S:g} s ends the session"
        self._desk.tell(Notice(f"Escape was pressed in the participant's window: {again}"))


class AttendedDisplay:
    """The display as a calibration gets it: whatever waits on it attends to the session.

    `show` and `hold` fetch gaze, tell the operator, and raise where the session is to end; `events` are the keys and
    clicks that the session heard meanwhile.
    """

    def __init__(self, attending: Attending) -> None:
        self._attending, self._display = attending, attending.display
        self.clock, self.screen = self._display.clock, self._display.screen

    def show(self, scene: Sequence[Shape]) -> float:
        """Attend to the session, then show the scene; returns its onset."""
        self._attending.pump(interrupting=False)
        return self._display.show(scene)

    def hold(self, until_s: float) -> None:
        """Attend to the session, then let time pass: until `until_s`, or the session's next step."""
        self._attending.pump(interrupting=False)
        self._display.hold(min(until_s, self.clock.now_s() + self._attending.timing.step_s))

    def late_frames(self) -> int:
        """Frames of the display that were missed since the last call."""
        return self._display.late_frames()

    def events(self) -> list[WindowEvent]:
        """Attend to the session; returns keys and clicks since the last call."""
        self._attending.pump(interrupting=False)
        heard: list[WindowEvent] = [*self._attending.inputs]
        self._attending.inputs.clear()
        return heard

    def pointer_px(self) -> tuple[float, float]:
        """The mouse pointer's position in px."""
        return self._display.pointer_px()

    def capture(self) -> Image.Image:
        """What is on the screen now."""
        return self._display.capture()

    def close(self) -> None:
        """Do nothing: the session closes its display itself."""
