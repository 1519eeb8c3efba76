"""EyeLink eye trackers by SR Research's library `pylink`: link, set-up, samples and events, and the EDF file.

    connect (host computer, rate and eyes tried out) -> set-up at the host, on our screen -> record -> fetch the EDF

The host computer records into a file of its own, the EDF, whatever becomes of this program; what comes over the link is
what Beholder records. Both hold the same samples, in px of the screen and in the host's milliseconds. The file is named
before the session. It is opened when it is first needed, so that a mere check of the tracker leaves none, and fetched
however the session ends; `fetch` is for a session that was killed. A recording may be ended on purpose at the host's
keyboard: the session is told, and may record again.
The library offers a simulation ("dummy mode"), which is refused wherever it shows. During the set-up, targets, camera
picture and keys are `experiment.trackers.eyelink_display`'s. How good the calibration is, is measured by the session's
validation.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import re
import secrets
import string
from collections import deque
from collections.abc import Iterator, Sequence
from math import hypot, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from beholder.experiment.devices import Batch, Calibration, ClockPair, CloseReport, Display, Notice, Text
from beholder.experiment.trackers.eyelink_display import SetupScreen, custom_display
from beholder.shared.errors import TrackerError
from beholder.shared.gaze import SAMPLE, Eye, eyes_of, no_samples
from beholder.shared.recording.journal import PART
from beholder.shared.recording.records import Point, TrackerEvent
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.study import EyeLinkSettings, TrackerSettings

# Characters that the host accepts in one message.
LONGEST_MESSAGE = 128
# The answer to a command where the host took too long to reply; whether it obeyed is seen when it records.
NO_REPLY = 1000
# isConnected() where the link is closed, and where the library only simulates one.
CLOSED, DUMMY = 0, -1
# What eyeAvailable() must be, by the eyes that are asked for.
EYES_AVAILABLE: dict[tuple[Eye, ...], int] = {("left",): 0, ("right",): 1, ("left", "right"): 2}
EYES: tuple[Eye, Eye] = ("left", "right")
# Flag of a sample taken at 2000 Hz, half a millisecond after its time in whole milliseconds.
HALF_MS_LATER = 0x0002
# Waits: for the link's last samples before recording ends, after a change of mode, before the file is closed, and for
# the first samples of a recording.
LAST_SAMPLES_MS, MODE_SWITCH_MS, CLOSING_MS, BLOCK_STARTS_MS = 100, 50, 500, 1000
# How often a transfer's progress is shown.
PROGRESS_EVERY_S = 0.5
# The number in the library's message on a calibration, and what it means; only 0 can be used.
RESULT = re.compile(r"calibration_result:\s*(-?\d+)")
RESULTS = {0: "good", 1: "poor", -1: "failed", 27: "aborted", 1000: "unknown"}
# After this many messages in a row the next one waits this long: a flooded host drops some.
BURST, BETWEEN_BURSTS_MS = 5, 4
# Messages that begin so never get a leading delay: Data Viewer looks for these words at the beginning.
UNDELAYED = ("TRIALID", "TRIAL_RESULT", "!V TRIAL_VAR")
# How long the host's answer to a request for its time is waited for; it comes within a millisecond.
ANSWERED_WITHIN_S = 0.05
# Characters of a status that the host shows.
MOST_OF_STATUS = 80
INSTALL = 'pip install "beholder[eyelink]"'


def new_host_file(participant: str) -> str:
    """A name for a file on the host, without ".EDF", that no other session has: 8 characters of A-Z, 0-9 and _.

    The host has no small letters in names, a new file replaces one of the same name, and several studies share a host.
    So a name begins with the participant's label in capitals, if that is short, and ends with at least 5 random
    characters: two sessions with the same label get the same name once in 60 million pairs.

    >>> new_host_file("07")[:3], new_host_file("p12")[:3], new_host_file("Participant7")[:1], len(new_host_file("07"))
    ('07_', 'P12', '_', 8)
    """
    shown = participant.upper() if re.fullmatch("[A-Za-z0-9]{1,3}", participant) else ""
    begins = shown if len(shown) == 3 else f"{shown}_"
    letters = string.ascii_uppercase + string.digits
    return begins + "".join(secrets.choice(letters) for _ in range(8 - len(begins)))


def message_text(text: str, delay_ms: int) -> tuple[str, bool]:
    """A message as the host's file takes it, and whether it had to be cut: ASCII, one line, 128 characters.

    A message on what happened `delay_ms` before it is sent begins with that integer, as Data Viewer reads it; so does
    one whose text begins with a number, which would be read as a delay. Letters beyond ASCII are written as \\xf1 and
    the like: nothing becomes ambiguous.

    >>> message_text("images/a.png onset", 12), message_text("TRIALID 1", 12), message_text("7up.png onset", 0)
    (('12 images/a.png onset', False), ('TRIALID 1', False), ('0 7up.png onset', False))
    """
    line = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    if not line.startswith(UNDELAYED) and (delay_ms > 0 or re.match(r"-?\d", line)):
        line = f"{max(0, delay_ms)} {line}"
    return line[:LONGEST_MESSAGE], len(line) > LONGEST_MESSAGE


def import_pylink() -> Any:
    """SR Research's library. Raises TrackerError where it is missing, or another package of that name is there."""
    try:
        # The library prints its version when it is imported.
        with contextlib.redirect_stdout(io.StringIO()):
            pylink = importlib.import_module("pylink")
    except ModuleNotFoundError as error:
        if error.name != "pylink":
            raise TrackerError(_unusable(error)) from None
        raise TrackerError(f"SR Research's package for the EyeLink is not installed: {INSTALL}.") from None
    except Exception as error:
        raise TrackerError(_unusable(error)) from None
    if not hasattr(pylink, "EyeLink"):
        raise TrackerError(_wrong_package())
    return pylink


def _unusable(error: Exception) -> str:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"SR Research's package for the EyeLink cannot be used ({reason}): install it again, {INSTALL}."


def _wrong_package() -> str:
    """The error that names the packages in the way of "pylink"; several may be installed over one another."""
    found = importlib.metadata.packages_distributions().get("pylink", ["pylink"])
    others = sorted({name for name in found if name != "sr-research-pylink"}) or ["pylink"]
    named = " and ".join(f'"{name}"' for name in others)
    return (
        f"the installed package {named} is imported as pylink too, and is not SR Research's: "
        f"pip uninstall -y {' '.join(dict.fromkeys([*others, *found]))}, then {INSTALL}."
    )


def reach(pylink: Any, address: str) -> Any:
    """The link to a host; raises TrackerError where none answers, or the library only simulates one."""
    try:
        link = pylink.EyeLink(address)
        connected = link.isConnected()
    except Exception as error:
        raise TrackerError(
            f"no EyeLink host answers at {address} ({_reason(error)}): start the EyeLink program on the host "
            "computer, check the cable, and give this computer's network card the address 100.1.1.2, mask "
            "255.255.255.0."
        ) from None
    if connected in (CLOSED, DUMMY):
        with contextlib.suppress(Exception):
            link.close()
        what = "only simulates one" if connected == DUMMY else "closed the link again"
        raise TrackerError(
            f"no EyeLink host is reached at {address}: the library {what}; check [eyelink] host in "
            "study.toml and the cable."
        )
    return link


class EyeLinkTracker:
    """An EyeLink, its host computer reached by Ethernet.

    `display` shows the set-up and the file's transfer, and its clock is the session's; `pylink` is the library, by
    default the one that is installed. `participant` and `run` are written into the host's file.
    """

    # Escape leaves each page of the EyeLink's set-up: it must not end the session there.
    escape_is_its_own = True

    def __init__(
        self, display: Display, settings: EyeLinkSettings, pylink: Any = None, *, participant: str = "", run: int = 1
    ) -> None:
        self._display, self._clock, self._settings = display, display.clock, settings
        self._pylink = pylink
        self._participant, self._run = participant, run
        self._name = new_host_file(participant)
        self._link: Any = None
        self._file_open = self._recording = self._ended = self._closed = self._cut_told = False
        # Why nothing more comes from the host; empty until then.
        self._lost = ""
        self._graphics: SetupScreen | None = None
        self._points: tuple[Point, ...] = ()
        self._samples: list[tuple[float, ...]] = []
        self._events: list[TrackerEvent] = []
        self._notices: list[Notice] = []
        self._last_pair: ClockPair | None = None
        self._sent_s: deque[float] = deque(maxlen=BURST)
        self._progress_shown_s = float("-inf")

    # Before the session.

    def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
        """Reach the host, set it up and record for a moment, into no file, to see that rate and eyes are as asked.

        Raises TrackerError where the package is missing or another's, where no host answers, and where it does not
        record as asked.
        """
        self._wanted, self._screen = wanted, screen
        self._eyes: tuple[Eye, ...] = eyes_of(wanted.eyes)
        self._address = wanted.address or self._settings.host
        if not wanted.rate_hz.is_integer():
            raise TrackerError(
                f"an EyeLink records at whole rates, not at {wanted.rate_hz:g} Hz: {self._rates_remedy()}"
            )
        if self._pylink is None:
            self._pylink = import_pylink()
        self._link = reach(self._pylink, self._address)
        with self._sentences("did not take its settings"):
            self._set_up()
        self._begin_recording(into_file=False)
        with self._sentences("did not end a trial recording"):
            self._link.stopRecording()
            # So that `clocks` has a reading to return even if the link is lost later.
            self.clocks()
            return self._info()

    def _set_up(self) -> None:
        """Tell the host what to record, at which rate and on which screen, for the file and for the link."""
        link, screen = self._link, self._screen
        link.setOfflineMode()
        self._pylink.msecDelay(MODE_SWITCH_MS)
        self._command("file_event_filter = LEFT,RIGHT,FIXATION,SACCADE,BLINK,MESSAGE,BUTTON,INPUT")
        # HTARGET is the target sticker's position: without a chin rest the head's distance comes from it.
        self._command("file_sample_data = LEFT,RIGHT,GAZE,HREF,AREA,HTARGET,GAZERES,STATUS,INPUT")
        self._command("link_event_filter = LEFT,RIGHT,FIXATION,SACCADE,BLINK")
        self._command("link_event_data = GAZE,GAZERES,HREF,AREA,VELOCITY,STATUS")
        self._command("link_sample_data = LEFT,RIGHT,GAZE,GAZERES,AREA,HTARGET,STATUS")
        # Older hosts do not know all of these: whether they took effect is seen when the host records.
        both = len(self._eyes) == 2
        self._command(f"binocular_enabled = {'YES' if both else 'NO'}", known=False)
        if not both:
            self._command(f"active_eye = {self._eyes[0].upper()}", known=False)
        self._command(f"pupil_size_diameter = {'YES' if self._settings.pupil == 'diameter' else 'NO'}")
        self._command(f"sample_rate = {self._wanted.rate_hz:.0f}", f"{self._wanted.rate_hz:g} Hz")
        self._command(f"screen_pixel_coords = 0 0 {screen.width_px - 1} {screen.height_px - 1}")
        # The host needs the screen's size and distance for its degrees: resolution, velocities, its own saccades.
        half_x_mm, half_y_mm, away_mm = 5 * screen.width_cm, 5 * screen.height_cm, 10 * screen.distance_cm
        self._command(
            f"screen_phys_coords = {-half_x_mm:.1f} {half_y_mm:.1f} {half_x_mm:.1f} {-half_y_mm:.1f}", known=False
        )
        # Distances to the middle of the upper and of the lower edge, from eyes opposite the screen's middle.
        edge_mm = hypot(away_mm, half_y_mm)
        self._command(f"screen_distance = {edge_mm:.0f} {edge_mm:.0f}", known=False)

    def _command(self, command: str, meaning: str = "", *, known: bool = True) -> None:
        """Send a command to the host. Raises TrackerError where it refuses one that it must know (`known`)."""
        try:
            answer, reason = self._link.sendCommand(command), ""
        except RuntimeError as error:
            answer, reason = None, _reason(error)
        if answer in (0, NO_REPLY) or not known:
            return
        said = reason or str(self._link.getLastMessage() or "").strip() or f"code {answer}"
        if meaning:
            raise TrackerError(f"the EyeLink does not record at {meaning} ({said}): {self._rates_remedy()}")
        raise TrackerError(f'the EyeLink refuses "{command}" ({said}): update the host computer\'s software.')

    @staticmethod
    def _rates_remedy() -> str:
        return "set [tracker] rate_hz in study.toml to one that its host computer offers (250, 500, 1000 or 2000)."

    def _info(self) -> TrackerInfo:
        version = str(self._link.getTrackerVersionString() or "").strip()
        models = {1: "EyeLink I", 2: "EyeLink II", 3: "EyeLink 1000 series", 4: "EyeLink 3"}
        return TrackerInfo(
            manufacturer="SR Research",
            model=models.get(self._link.getTrackerVersion(), "EyeLink"),
            serial="n/a",
            software=version or "n/a",
            rate_hz=self._wanted.rate_hz,
            eyes=self._eyes,
            pupil_unit="arbitrary",
            pupil_measure=self._settings.pupil,
            simulated=False,
            host_file=f"{self._name}.EDF",
        )

    # Calibration.

    def calibrate(self, display: Display, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        """Hand screen and keys to the host's set-up, until its operator leaves it.

        The EyeLink places its targets itself: middle and sides (5), or corners too (9), as far out as `points`. It
        cannot collect single targets anew, so `redo` repeats the whole calibration. The outcome's `points` are the
        targets that were shown.
        """
        if redo is None or not self._points:
            self._points = tuple(points)
        self._open_file()
        shown_by, link = self._graphics_opened(), self._link
        screen = self._screen
        across = _span([p.x_px for p in self._points]) / screen.width_px
        down = _span([p.y_px for p in self._points]) / screen.height_px
        with self._sentences("did not enter its set-up"):
            link.setOfflineMode()
            self._command(f"calibration_type = HV{9 if len(self._points) > 5 else 5}")
            self._command(f"calibration_area_proportion = {across:.3f} {down:.3f}")
            self._command(f"validation_area_proportion = {across:.3f} {down:.3f}")
        shown_by.begin(display, self._watch_link, link.exitCalibration)
        refusal = ""
        try:
            link.doTrackerSetup()
        except RuntimeError as error:
            refusal = _reason(error)
        self._notices += [Notice(f"the EyeLink says: {text}") for text in shown_by.alerts]
        if shown_by.failure is not None:
            raise shown_by.failure
        self._watch_link()
        return self._calibration(shown_by.targets_px, refusal)

    def _calibration(self, targets_px: Sequence[tuple[float, float]], refusal: str) -> Calibration:
        """The outcome, by the number in the library's message; a message that is not understood is a failure."""
        message = " ".join(str(self._link.getCalibrationMessage() or "").split())
        result = RESULT.search(message)
        number = int(result[1]) if result else None
        points = tuple(Point(i, x, y) for i, (x, y) in enumerate(targets_px, start=1))
        wanted = len(self._points)
        if len(points) < wanted:
            # The host's message is then about an earlier calibration.
            message = f"the set-up was left when {len(points)} of {wanted} targets had been shown"
        elif not message:
            message = refusal or "the EyeLink did not say how its calibration went"
        elif number is not None:
            message = f"the EyeLink calls its calibration {RESULTS.get(number, 'unknown')} ({message})"
        if number == 0 and len(points) >= wanted:
            return Calibration(True, points, (), message)
        return Calibration(False, points, (), message)

    def _graphics_opened(self) -> SetupScreen:
        """The screen of the set-up; the library takes it once, and keeps it until it is closed."""
        if self._graphics is None:
            screen = SetupScreen(self._pylink)
            with self._sentences("cannot use this screen"):
                self._pylink.openGraphicsEx(custom_display(self._pylink, screen))
            self._graphics = screen
        return self._graphics

    def _watch_link(self) -> None:
        if self._link.isConnected() == CLOSED:
            raise TrackerError(self._lose(self._connection_lost()))

    # Recording.

    def start(self) -> None:
        """Record into the host's file and over the link; raises TrackerError where rate or eyes are not as asked."""
        self._open_file()
        with self._sentences("did not leave its set-up"):
            self._link.setOfflineMode()
            self._pylink.msecDelay(MODE_SWITCH_MS)
        self._begin_recording(into_file=True)
        self._recording, self._ended = True, False

    def _begin_recording(self, *, into_file: bool) -> None:
        link, file = self._link, int(into_file)
        with self._sentences("did not begin to record"):
            code = link.startRecording(file, file, 1, 1)
            if code:
                raise TrackerError(
                    f"the EyeLink did not begin to record (code {code}): leave all menus on the host computer, see "
                    "that the camera has its picture, and start again."
                )
            problem = self._unlike_asked()
            if problem:
                link.stopRecording()
                raise TrackerError(problem)

    def _unlike_asked(self) -> str:
        """How the recording that has begun differs from what the study asks, as a sentence; empty where it does not."""
        link, wanted = self._link, self._wanted
        if not link.waitForBlockStart(BLOCK_STARTS_MS, 1, 1):
            return (
                "the EyeLink records, but sends no samples over its link: switch the link's data on in the host's "
                "settings, and start again."
            )
        rate_hz = link.getSampleRate()
        if rate_hz != wanted.rate_hz:
            found = f"{rate_hz:g} Hz" if rate_hz > 0 else "an unknown rate"
            return f"the EyeLink records at {found}, not at {wanted.rate_hz:g}: {self._rates_remedy()}"
        available = link.eyeAvailable()
        if available != EYES_AVAILABLE[self._eyes]:
            named = {0: "the left eye", 1: "the right eye", 2: "both eyes"}
            asked = named[EYES_AVAILABLE[self._eyes]]
            return (
                f"the EyeLink records {named.get(available, 'no eye')}, not {asked}: choose the eyes on the host "
                "computer's camera page (and a rate at which it records them), or set [tracker] eyes in study.toml."
            )
        return ""

    def read(self) -> Batch:
        """What came over the link since the last call, in the host's seconds."""
        if self._link is None:
            return Batch(no_samples())
        if self._recording:
            self._drain()
            self._watch_recording()
        samples = np.array(self._samples, dtype=SAMPLE) if self._samples else no_samples()
        batch = Batch(samples, tuple(self._events), tuple(self._notices))
        self._samples, self._events, self._notices = [], [], []
        return batch

    def _watch_recording(self) -> None:
        """Add a notice, once, where the link is lost or the host has ended the recording."""
        if self._lost:
            return
        with self._losing():
            if self._link.isConnected() == CLOSED:
                self._notices.append(Notice(self._lose(self._connection_lost()), fatal=True))
            elif not self._ended and (code := self._link.isRecording()):
                self._ended = True
                text = f"the EyeLink's recording was ended at its host computer (code {code})"
                self._notices.append(Notice(text, ends_recording=True))

    def _drain(self) -> None:
        """Move all that the link has into our own lists; the library forgets it when the recording is stopped."""
        if self._lost:
            return
        pylink, link, missed = self._pylink, self._link, 0
        with self._losing():
            while kind := link.getNextData():
                if kind == pylink.SAMPLE_TYPE:
                    self._samples.append(self._sample(link.getFloatData()))
                elif kind in (pylink.ENDBLINK, pylink.ENDSACC, pylink.ENDFIX):
                    self._events.append(self._event(kind, link.getFloatData()))
                elif kind == pylink.LOSTDATAEVENT:
                    missed += 1
        if missed:
            self._notices.append(
                Notice(
                    f"the EyeLink's link lost data {missed} times: they are in its own file; close what else this "
                    "computer does."
                )
            )

    def _sample(self, data: Any) -> tuple[float, ...]:
        """A row of `shared.gaze.SAMPLE`."""
        time_ms = float(data.getTime())
        if time_ms.is_integer() and data.getFlags() & HALF_MS_LATER:
            time_ms += 0.5
        return (time_ms / 1000, *self._eye(data.getLeftEye()), *self._eye(data.getRightEye()))

    def _eye(self, data: Any) -> tuple[float, float, float]:
        """Position in px and pupil of an eye, NaN where it was not seen; a pupil of 0 is none."""
        nan, missing = float("nan"), self._pylink.MISSING_DATA
        if data is None:
            return nan, nan, nan
        x_px, y_px = (float(value) for value in data.getGaze())
        pupil = float(data.getPupilSize())
        if missing in (x_px, y_px):
            x_px = y_px = nan
        return x_px, y_px, nan if pupil in (0.0, missing) else pupil

    def _event(self, kind: int, data: Any) -> TrackerEvent:
        """A blink, saccade or fixation; its times are those of its first and last sample."""
        name = {self._pylink.ENDBLINK: "blink", self._pylink.ENDSACC: "saccade"}.get(kind, "fixation")
        start_s, end_s = data.getStartTime() / 1000, data.getEndTime() / 1000
        duration_s = round(end_s - start_s + 1 / self._wanted.rate_hz, 6)
        eye = EYES[1 if data.getEye() == 1 else 0]
        if name != "fixation":
            return TrackerEvent(start_s, name, duration_s, eye=eye)
        x_px, y_px = (float(value) for value in data.getAverageGaze())
        return TrackerEvent(start_s, name, duration_s, eye=eye, x_px=round(x_px, 2), y_px=round(y_px, 2))

    def clocks(self) -> ClockPair:
        """Both clocks, read together; where the link is lost, the last reading. Raises TrackerError without any."""
        before_s = self._clock.now_s()
        tracker_s = None if self._lost or self._link is None else self._host_s()
        after_s = self._clock.now_s()
        if tracker_s is not None:
            self._last_pair = ClockPair(before_s, tracker_s, after_s)
        elif self._last_pair is None:
            raise TrackerError("the EyeLink's clock cannot be read: restart the EyeLink program on the host computer.")
        assert self._last_pair is not None
        return self._last_pair

    def _host_s(self) -> float | None:
        """The host's time in seconds; None where it cannot be read.

        The host is asked and its answer waited for, so that its time lies between the readings of our clock before and
        after. The library's own estimate (`trackerTimeUsec`) may jump forwards or stand still for some milliseconds (SR
        Research's manual), so it serves only where no answer comes.
        """
        link = self._link
        if link.isConnected() == CLOSED:
            return None
        with contextlib.suppress(RuntimeError):
            asked_s = self._clock.now_s()
            if link.requestTime() == 0:
                while self._clock.now_s() < asked_s + ANSWERED_WITHIN_S:
                    if answer := int(link.readTime()):
                        # The answer is cut off to whole milliseconds: half of one is added.
                        return (answer + 0.5) / 1000
        estimate = float(link.trackerTimeUsec())
        # Without a link the library answers -1, also as an unsigned number.
        return estimate / 1e6 if isfinite(estimate) and 0 < estimate < 4294967e6 else None

    def message(self, text: str, at_s: float) -> None:
        """Write a message into the EDF, with the delay since `at_s`; one too long is cut, which is told once."""
        if not self._file_open or self._lost:
            return
        if len(self._sent_s) == BURST and self._clock.now_s() - self._sent_s[0] < BETWEEN_BURSTS_MS / 1000:
            self._pylink.msecDelay(BETWEEN_BURSTS_MS)
            self._sent_s.clear()
        now_s = self._clock.now_s()
        self._sent_s.append(now_s)
        line, cut = message_text(text, round((now_s - at_s) * 1000))
        try:
            self._link.sendMessage(line)
        except RuntimeError as error:
            self._notices.append(Notice(f"the EyeLink's file did not take a message ({_reason(error)})"))
        if line.startswith("TRIALID"):
            # The line that the host's operator reads below the eye.
            status = f"{self._participant} run {self._run}: trial {line.removeprefix('TRIALID').strip()}"
            with contextlib.suppress(TrackerError):
                self._command(f"record_status_message '{status[:MOST_OF_STATUS]}'", known=False)
        if cut and not self._cut_told:
            self._cut_told = True
            self._notices.append(
                Notice(
                    f'the message "{line[:40]}..." was cut to {LONGEST_MESSAGE} characters in the EyeLink\'s file: '
                    "shorten the names of pictures and regions"
                )
            )

    def stop(self) -> None:
        """End recording, once the last samples have arrived."""
        if not self._recording:
            return
        if not self._lost:
            with self._losing():
                self._pylink.pumpDelay(LAST_SAMPLES_MS)
                self._drain()
                self._link.stopRecording()
                self._drain()
        self._recording = False

    # The host's file.

    def _open_file(self) -> None:
        """Open the EDF on the host, and say in it whose it is and what its coordinates are; once."""
        if self._file_open:
            return
        with self._sentences("did not open its file"):
            code = self._link.openDataFile(f"{self._name}.EDF")
            if code:
                raise TrackerError(
                    f"the EyeLink did not open its file {self._name}.EDF (code {code}): make room on the host "
                    "computer's disk, and start again."
                )
            self._file_open = True
            self._command("add_file_preamble_text 'RECORDED BY Beholder'", known=False)
            screen = self._screen
            self._link.sendMessage(f"DISPLAY_COORDS 0 0 {screen.width_px - 1} {screen.height_px - 1}")
            self._link.sendMessage(message_text(f"BEHOLDER participant {self._participant} run {self._run}", 0)[0])

    def close(self, save_to: Path) -> CloseReport:
        """Fetch the EDF into `save_to` as eyelink.edf, and close the link.

        Each step is taken even if the one before failed. A lost link is opened once more.
        """
        if self._closed or self._link is None:
            return CloseReport()
        self._closed = True
        failures: list[str] = []
        files: list[Path] = []
        self.stop()
        if self._file_open:
            try:
                files.append(self._fetched(save_to / "eyelink.edf"))
            except Exception as error:
                failures.append(self._not_fetched(error))
        with contextlib.suppress(Exception):
            self._link.setOfflineMode()
        with contextlib.suppress(Exception):
            self._link.close()
        if self._graphics is not None:
            with contextlib.suppress(Exception):
                self._pylink.closeGraphics()
        return CloseReport(tuple(files), tuple(failures))

    def _fetched(self, path: Path) -> Path:
        """Fetch the whole EDF. Raises OSError or RuntimeError where that fails: then no part of it is left."""
        if self._link.isConnected() == CLOSED:
            with contextlib.suppress(Exception):
                self._link.close()
            self._link = self._pylink.EyeLink(self._address)
        self._link.progressUpdate = self._progress
        return receive(self._pylink, self._link, f"{self._name}.EDF", path)

    def _progress(self, fileName: str, size: int, received: int) -> int:  # noqa: N803
        """Show the transfer's progress to the participant; called by the library, which must see no exception."""
        with contextlib.suppress(Exception):
            now_s = self._clock.now_s()
            if now_s - self._progress_shown_s >= PROGRESS_EVERY_S:
                self._progress_shown_s = now_s
                x_px, y_px = self._screen.centre_px
                share = f"{100 * received / size:.0f} %" if size > 0 else ""
                words = f"EyeLink: {self._name}.EDF  {share}"
                self._display.show([Text(words, x_px, y_px, self._screen.height_px / 30)])
        return 0

    def _not_fetched(self, error: Exception) -> str:
        return (
            f"{self._name}.EDF could not be fetched from the EyeLink's host computer ({_reason(error)}): it is still "
            f"there; fetch it with: beholder fetch STUDY {self._participant} --run {self._run}."
        )

    # What goes wrong.

    def _connection_lost(self) -> str:
        return (
            f"the connection to the EyeLink at {self._address} was lost: what came until then is kept; check the cable "
            "and the host computer, then go on with --resume."
        )

    def _lose(self, why: str) -> str:
        """Ask nothing more of this link; returns the reason."""
        self._lost = why
        return why

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """Turn an error of the library within this block into a fatal notice; the link is not used after it."""
        try:
            yield
        except RuntimeError as error:
            text = (
                f"the EyeLink at {self._address} sends nothing any more ({_reason(error)}): what came until then is "
                "kept; check the cable and the host computer's screen, then go on with --resume."
            )
            self._notices.append(Notice(self._lose(text), fatal=True))

    @contextlib.contextmanager
    def _sentences(self, what: str) -> Iterator[None]:
        """Turn an error of the library within this block into a TrackerError that says what to do."""
        try:
            yield
        except RuntimeError as error:
            raise TrackerError(
                f"the EyeLink at {self._address} {what} ({_reason(error)}): check the cable and the host computer's "
                "screen, and start again."
            ) from None


def receive(pylink: Any, link: Any, name: str, path: Path) -> Path:
    """Close a file on the host and fetch all of it to `path`; raises OSError or RuntimeError where that fails.

    It is first received under another name, so that an interrupted transfer leaves no part of it at `path`.
    """
    # The transfer may still succeed where one of these fails.
    for step in (link.setOfflineMode, lambda: pylink.msecDelay(CLOSING_MS), link.closeDataFile):
        with contextlib.suppress(RuntimeError):
            step()
    part = path.with_name(f"{path.name}{PART}")
    part.unlink(missing_ok=True)
    try:
        size = link.receiveDataFile(name, str(part))
        got = part.stat().st_size if part.exists() else 0
        if not size or size < 0 or got != size:
            raise RuntimeError(f"{got} of {size} bytes came")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def fetch(address: str, name: str, path: Path, pylink: Any = None) -> Path:
    """Fetch a session's file (`name` with .EDF) from the host at `address`; raises TrackerError where that fails."""
    pylink = import_pylink() if pylink is None else pylink
    link = reach(pylink, address)
    try:
        return receive(pylink, link, name, path)
    except (OSError, RuntimeError) as error:
        raise TrackerError(
            f"{name} could not be fetched from the EyeLink's host computer at {address} ({_reason(error)}): see there, "
            "in its File Manager, whether a file of that name is left, and copy it by a USB stick."
        ) from None
    finally:
        with contextlib.suppress(Exception):
            link.close()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _span(places: Sequence[float]) -> float:
    return max(places) - min(places)
