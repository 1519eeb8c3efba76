"""One participant's session, from the form to the last picture: what is shown when, what is written down, how it ends.

    form -> instructions -> calibration -> validation (until accepted) -> for each trial: dot, picture (, rating)

It knows the display, the tracker and the operator through their Protocols only, so a lab's session and a simulated one
are the same program. Times are of the display's clock. Everything is handed to the recorder at once; whatever ends the
session (its last trial, stop, Escape, a closed window, Ctrl-C, an exception), it leaves through one door, which closes
the tracker and publishes what was recorded. Gaze comes through `experiment.gaze_stream`, is judged in
`experiment.calibration`, and screens are composed in `experiment.screens`, not here.
"""

from __future__ import annotations

import io
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

from PIL import Image

from beholder.experiment.calibration import (
    MEASURED_UNTIL_S,
    SETTLED_AFTER_S,
    VALIDATION_SHRINKS_S,
    Drift,
    PointGaze,
    PointQuality,
    Validation,
    animate_target,
    calibration_points,
    drift,
    eye_quality,
    point_gaze,
    point_quality,
    validation_points,
)
from beholder.experiment.data_viewer import cleared, picture_stands, trial_begins, trial_ends
from beholder.experiment.devices import (
    Calibration,
    Click,
    Closed,
    Display,
    Dot,
    Key,
    Notice,
    Picture,
    Point,
    Shape,
    Tracker,
    TrackerInfo,
    WindowEvent,
)
from beholder.experiment.gaze_stream import GazeStream
from beholder.experiment.observer import generator
from beholder.experiment.plan import Plan, Trial, picture_rect
from beholder.experiment.recorder import Recorder
from beholder.experiment.screens import (
    LONGEST_ANSWER,
    NOT_GIVEN,
    RATINGS,
    calibration_picture,
    check_screen,
    check_size_px,
    checked_answer,
    choice_screen,
    choices,
    pressed_button,
    rating_screen,
    read_texts,
    text_screen,
    typed_screen,
    validation_picture,
)
from beholder.shared.dataset.making import beholder_version
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.publishing import publish
from beholder.shared.errors import BeholderError, StudyError, TrackerError
from beholder.shared.gaze import Eye
from beholder.shared.inside import inside
from beholder.shared.recording.journal import JournalWriter, Record
from beholder.shared.screen import Screen
from beholder.shared.study import Study, settings_of_sessions

DOT_COLOUR = "#e00000"
# Who presses a key before having seen the screen does not answer it.
EARLY_S = 0.2
# The last samples of a window are still on their way when it ends.
ARRIVAL_S = 0.1
# The thanks stand until they are answered, or nobody is there any more.
CLOSING_TEXT_S = 30.0
# A file that is kept beside the recording is waited for so long.
LONGEST_WRITE_S = 1.0
AT_THE_WINDOW = "participant's window"
# Keys of the operator's in the participant's window, with Ctrl and Shift.
CHORDS: Mapping[str, Kind] = {"p": "pause", "c": "recalibrate", "k": "skip"}
SHOW_CHECK = "v"
# A second Escape within this time ends the session.
ESCAPE_AGAIN_S = 3.0

Kind = Literal["pause", "resume", "recalibrate", "skip", "stop", "accept", "repeat", "redo"]
# What the operator may ask for while a trial is under way, while the session waits, and of an outcome.
IN_A_TRIAL: tuple[Kind, ...] = ("pause", "recalibrate", "skip")
WHILE_WAITING: tuple[Kind, ...] = ("resume", "recalibrate")
OF_AN_OUTCOME: tuple[Kind, ...] = ("accept", "repeat", "redo")


# ------------------------------------------------------------------------------------------------- the operator


@dataclass(frozen=True)
class Status:
    """What the operator sees: where the session is and how well the eyes are tracked.

    `left_s` is of the phase, `session_left_s` of all dots and pictures to come. `asking` is a calibration's or
    validation's outcome that waits for accept, repeat or redo; `proposal` a sentence that advises a recalibration;
    `notices` what must be known at once, each told once. `heading` says who is recorded with what. `offers` are the
    commands that are heeded now, besides stop; `moment` counts the times that these changed or a trial began.
    `missed_frames` are those of all dots and pictures until now.
    """

    now_s: float
    phase: str
    trial: int | None
    pictures: int
    left_s: float | None
    tracked_percent: float | None
    last_drift: Drift | None
    proposal: str = ""
    asking: Validation | CalibrationOutcome | None = None
    notices: tuple[str, ...] = ()
    heading: str = ""
    session_left_s: float | None = None
    offers: tuple[Kind, ...] = ()
    moment: int = 0
    missed_frames: int = 0


@dataclass(frozen=True)
class CalibrationOutcome:
    """A calibration that failed, as the operator is asked about it."""

    calibration: Calibration

    @property
    def passed(self) -> bool:
        """Whether the tracker says that it can measure gaze now."""
        return self.calibration.success


@dataclass(frozen=True)
class Command:
    """What the operator wants; `points` are the numbers of the targets to redo, `by` who overrides a verdict.

    `moment` is that of the status for which it was given: in any other it is refused. Without one it is for now.
    """

    kind: Kind
    points: tuple[int, ...] = ()
    by: str = "operator"
    moment: int | None = None


class Operator(Protocol):
    """The person who runs the session; neither call blocks."""

    def show(self, status: Status) -> None:
        """Show where the session is."""

    def commands(self) -> list[Command]:
        """What was asked for since the last call, oldest first."""


# -------------------------------------------------------------------------------------------------- the session


class Stopped(Exception):  # noqa: N818
    """The session is to end now; the message says why."""


class _Refused(Stopped):
    """The participant does not consent: nothing of theirs is kept."""


class _Interrupted(Exception):  # noqa: N818
    """The trial under way is to be broken off: to pause, to calibrate anew, to skip it, or since nothing records it."""

    def __init__(self, kind: Literal["pause", "recalibrate", "skip", "ended"]) -> None:
        self.kind = kind
        super().__init__(kind)


@dataclass(frozen=True)
class Outcome:
    """How a session ended: what it published, and what failed on the way out, in sentences.

    `interrupted` says that Ctrl-C or its like ended it, or was heard when all was recorded already.
    """

    status: Literal["complete", "aborted"]
    reason: str
    files: tuple[Path, ...]
    failures: tuple[str, ...]
    interrupted: bool = False


def run_session(
    study_folder: Path,
    study: Study,
    plan: Plan,
    display: Display,
    tracker: Tracker,
    operator: Operator,
    *,
    sync_every_s: float | None = 1.0,
    pump_every_s: float = 0.01,
    ask_form: bool | None = None,
    group: str = "",
    keep_aborted: bool = True,
    system_time: Callable[[], float] | None = None,
    preflight: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a planned session and publish what it recorded.

    `sync_every_s` is the journal's; `pump_every_s` how often gaze is fetched while waiting, which a display's frames
    may make seldomer. The form is asked where the participant is not in participants.tsv yet, unless `ask_form` says
    otherwise; `group` is the answer of its question for the group, which the participant is not asked. With
    `keep_aborted` False what a session recorded that did not end as planned stays in its journal (a
    simulation is done anew). `system_time` reads the system's clock in seconds; None where there is none to watch.
    `preflight` is what was found before the session, and is kept beside the events.

    Escape, stop, a closed window, Ctrl-C and a refused consent are an aborted outcome; the last leaves nothing on disk.
    Raises StudyError where a picture does not fit, TrackerError where the tracker cannot be reached or is lost,
    DataError where the disk takes no more, and whatever else went wrong, once through the door.
    """
    reason, refused = "", False
    session: _Session | None = None
    failures: list[str] = []
    files: list[Path] = []
    leave: list[Callable[[], object]] = [display.close]

    def complete() -> bool:
        return session is not None and session.complete

    def save(journal: Path) -> None:
        if complete() or keep_aborted or refused:
            # A journal without gaze or events, as one refused is, leaves the data set as it is and goes.
            files.extend(publish(journal))
        if refused:
            journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)

    with _EndSignals() as signals:
        try:
            if ask_form is None:
                ask_form = plan.participant not in read_participants(study_folder).index
            for trial in plan.trials:
                picture_rect(display.screen, trial.stimulus, study.pictures)
            # Before a journal is there, a tracker's files go beside it.
            beside = inside(study_folder, study_folder / ".beholder")
            leave = [lambda: tracker.close(beside), display.close]
            info = tracker.connect(study.tracker, display.screen)
            writer = JournalWriter(study_folder, _header(study, plan, display.screen, info, preflight))
            leave = [lambda: tracker.close(writer.files), writer.close, display.close]
            recorder = Recorder(writer, info.rate_hz, sync_every_s)
            session = _Session(
                study_folder, study, plan, display, tracker, operator, recorder, info, writer.files, pump_every_s,
                system_time, group, watch_disk=sync_every_s is not None,
            )  # fmt: skip
            leave = [
                session.abort_open_events,
                session.gaze.read_clocks,
                session.gaze.stop,
                # Before a file is fetched: a vendor's library may hold up every thread meanwhile, and may crash.
                recorder.finish,
                lambda: failures.extend(tracker.close(writer.files).failures),
                recorder.close,
                display.close,
                lambda: save(writer.folder),
            ]
            session.run(ask_form)
        except Stopped as stopped:
            reason, refused = str(stopped), isinstance(stopped, _Refused)
        except KeyboardInterrupt:
            reason, signals.heard = "" if complete() else signals.reason, True
        finally:
            signals.leaving = True
            # The one door: each step is taken, whatever became of the ones before.
            for step in leave:
                try:
                    step()
                except Exception as failure:
                    # What keeps the journal from its end is raised by two of them.
                    failures.extend({str(failure)} - {*failures})
            error = sys.exc_info()[1]
            if error is not None and failures and sys.version_info >= (3, 11):
                error.add_note("On the way out: " + "; ".join(failures))
    return Outcome("aborted" if reason else "complete", reason, tuple(files), tuple(failures), signals.heard)


# What ends a session from outside, where the system knows it, and how the operator is told.
_ENDS = {
    "SIGINT": "interrupted by Ctrl-C",
    "SIGTERM": "the computer asked Beholder to end",
    "SIGHUP": "the operator's terminal was closed",
}


class _EndSignals:
    """Ctrl-C, a request to end or a hang-up ends the session once: heard again, or while it leaves, it is only noted.

    Elsewhere than in the main thread, and where somebody else listens to a signal, nothing is changed.
    """

    def __init__(self) -> None:
        self.leaving = self.heard = False
        self.reason = _ENDS["SIGINT"]
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _EndSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _ENDS if hasattr(signal, name)):
                if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        if not self.leaving:
            self.leaving, self.reason = True, _ENDS[signal.Signals(number).name]
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _header(
    study: Study, plan: Plan, screen: Screen, info: TrackerInfo, preflight: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "participant": plan.participant,
        "run": plan.run,
        "task": study.study.task,
        "settings": settings_of_sessions(study),
        "beholder": beholder_version(),
        "instructions": read_texts(study.study.language)["instructions"].format(pictures=len(plan.trials)),
        "screen": asdict(screen),
        "tracker": asdict(info),
        **({} if preflight is None else {"preflight": dict(preflight)}),
    }


class _Session:
    """The state of a running session; `run` is its course, top to bottom."""

    def __init__(
        self,
        study_folder: Path,
        study: Study,
        plan: Plan,
        display: Display,
        tracker: Tracker,
        operator: Operator,
        recorder: Recorder,
        info: TrackerInfo,
        files: Path,
        pump_every_s: float,
        system_time: Callable[[], float] | None,
        group: str,
        *,
        watch_disk: bool,
    ) -> None:
        self.group = group
        self.study_folder, self.study, self.plan = study_folder, study, plan
        self.display, self.tracker, self.operator, self.recorder = display, tracker, operator, recorder
        self.eyes, self.rate_hz = info.eyes, info.rate_hz
        self.clock, self.screen = display.clock, display.screen
        self.files = files
        self.texts = read_texts(study.study.language)
        self.rng = generator(study.study.seed, f"{plan.participant} targets {plan.run}", "order")
        if study.screen is None or study.pictures.size_deg is None:
            raise StudyError("study.toml has no [screen], or no [pictures] size_deg: a session needs the geometry.")
        self.size_deg, self.refresh_hz = study.pictures.size_deg, study.screen.refresh_hz
        # A display that is given less than a frame's time sleeps instead of drawing the next one.
        self.step_s = max(pump_every_s, 1.5 / self.refresh_hz)
        self.complete = False
        # Texts, questions and decisions: what is shown, and since when it can be answered.
        self.scene: Sequence[Shape] = ()
        self.heard_from_s = 0.0
        self.escape_s, self.escape_is_the_trackers = float("-inf"), False
        # Whether the operator wants a check's picture on the participant's screen.
        self.check_wanted = False
        self.inputs: list[Key | Click] = []
        self.commands: list[Command] = []
        self.gaze = GazeStream(
            tracker, recorder, self.clock, self.rate_hz, system_time, self.record, self.tell
        )  # fmt: skip
        # A simulation waits for its disk: how fast that is must not stand in its data.
        self.disk_watched, self.disk_trouble = watch_disk, ""
        # Events and trials.
        self.open_events: list[int] = []
        self.events_begun = 0
        # Of the dot or picture that stands: its event's number, and the frames that were missed, its onset's included.
        self.standing: tuple[int, int] = (0, 0)
        self.lateness_told = False
        self.waiting: list[Trial] = list(plan.trials)
        self.drifts_over = 0
        self.picture_begun = self.in_trial = False
        self.until_s: float | None = None
        self.recording_ended = False
        simulated = " (simulated)" if info.simulated else ""
        host_file = f", file {info.host_file} on its host" if info.host_file else ""
        heading = f"participant {plan.participant}, run {plan.run}, {info.model}{simulated}{host_file}"
        self.status = Status(0.0, "form", None, plan.pictures, None, None, None, heading=heading)

    # The course.

    def run(self, ask_form: bool) -> None:
        """From the form to the thanks."""
        self.gaze.read_system_clock()
        self.say("welcome")
        if ask_form:
            self.ask_form()
        self.say("instructions", pictures=len(self.plan.trials))
        self.say("calibration")
        self.calibrate_and_validate()
        shown = 0
        while self.waiting:
            trial = self.waiting[0]
            try:
                self.trial(trial)
            except _Interrupted as interrupted:
                self.in_trial, self.until_s = False, None
                if self.picture_begun:
                    self.waiting[0] = replace(trial, exposure="repeat")
                if interrupted.kind == "skip":
                    del self.waiting[0]
                    self.tell(Notice(f"trial {trial.number} ({trial.stimulus.name}) is left out, as you asked"))
                    continue
                self.tell(Notice(f"trial {trial.number} ({trial.stimulus.name}) is broken off and will be shown again"))
                if interrupted.kind == "pause":
                    self.pause("pause")
                elif interrupted.kind == "ended":
                    self.pause("ended")
                else:
                    self.calibrate_and_validate()
                continue
            del self.waiting[0]
            self.in_trial, self.until_s = False, None
            shown += 1
            self.propose_recalibration()
            every = self.study.protocol.break_every
            if self.waiting and every and shown % every == 0:
                self.pause("break")
        self.wait_until(self.clock.now_s() + ARRIVAL_S, interrupting=False)
        self.gaze.read_clocks()
        self.gaze.stop()
        self.complete = True
        # All is recorded: whoever leaves now has a complete session.
        with suppress(Stopped):
            self.take_leave("end")

    def abort_open_events(self) -> None:
        """What was under way when the session ended was cut short."""
        for number in list(self.open_events):
            self.end_event(number, "aborted")
        if self.in_trial:
            # A tracker that is lost hears nothing more, and that is known already.
            with suppress(TrackerError):
                self.tell_viewer(trial_ends("aborted", {}))

    def trial(self, trial: Trial) -> None:
        """Dot, picture, rating; raises _Interrupted where the operator breaks it off."""
        protocol, stimulus = self.study.protocol, trial.stimulus
        self.picture_begun, self.in_trial, self.lateness_told = False, True, False
        self.status = replace(self.status, trial=trial.number)
        self.message(f"TRIALID {trial.number}")
        rect = picture_rect(self.screen, stimulus, self.study.pictures)
        variables = {
            "participant": self.plan.participant, "run": self.plan.run, "trial": trial.number,
            "picture": stimulus.name, "kind": stimulus.kind, "exposure": trial.exposure,
        }  # fmt: skip
        self.tell_viewer(trial_begins(stimulus, rect, protocol.background, variables))
        self.gaze.read_clocks()
        x_px, y_px = self.screen.centre_px
        of_trial = {"trial": trial.number, "stim_file": stimulus.stim_file}
        red_dot = Dot(x_px, y_px, protocol.dot_diameter_deg * self.screen.px_per_deg, DOT_COLOUR)
        try:
            self.gaze.keep_from_now()
            dot_s = self.display.show([red_dot])
            dot = self.begin_shown("dot", dot_s, 0, trial=trial.number)
            self.phase("dot", until_s=dot_s + protocol.dot_s, offers=IN_A_TRIAL)
            self.wait_for_frame(dot_s + protocol.dot_s)
            self.count_missed_frames()
            _, missed = self.standing
            onset_s = self.display.show([Picture(stimulus.file, rect)])
            self.picture_begun = True
            self.end_event(dot, "complete", onset_s, {"dropped_frames": missed})
            self.message(f"{stimulus.stim_file} onset", onset_s)
            self.tell_viewer([picture_stands(stimulus, rect)], onset_s)
            picture = self.begin_shown(
                "picture",
                onset_s,
                self.frames_late(onset_s - dot_s - protocol.dot_s),
                **of_trial,
                exposure=trial.exposure,
                picture_x_px=rect.x_px,
                picture_y_px=rect.y_px,
                picture_width_px=rect.width_px,
                picture_height_px=rect.height_px,
            )
            # Computed while the picture stands, so that it delays nothing.
            self.wait_until(onset_s + min(ARRIVAL_S, protocol.picture_s))
            self.check_drift(dot, red_dot, dot_s, onset_s)
            self.phase("picture", until_s=onset_s + protocol.picture_s, offers=IN_A_TRIAL)
            self.wait_for_frame(onset_s + protocol.picture_s)
            end_s = self.display.show([])
            self.count_missed_frames()
            status = self.punctuality(end_s - onset_s)
            self.end_event(picture, status, end_s)
            self.message(f"{stimulus.stim_file} offset", end_s)
            self.tell_viewer([cleared(protocol.background)], end_s)
            self.gaze.read_clocks()
        except _Interrupted as interrupted:
            end_s = self.display.show([])
            skipped = interrupted.kind == "skip"
            for number in list(self.open_events):
                self.end_event(number, "aborted" if skipped else "repeated", end_s)
            self.tell_viewer(trial_ends("skipped" if skipped else "repeated", {}))
            raise
        measured = self.status.last_drift
        found: dict[str, object] = {} if measured is None else {"drift_deg": measured.total_deg}
        if protocol.rating:
            found["rating"] = self.rate(of_trial)
        self.tell_viewer(trial_ends(status, found))

    def count_missed_frames(self) -> None:
        """Add the frames that were missed since the last call to those of what stands; too many are told at once."""
        missed = self.display.late_frames()
        number, before = self.standing
        if not missed or number not in self.open_events:
            return
        self.standing = number, before + missed
        self.status = replace(self.status, missed_frames=self.status.missed_frames + missed)
        missed_ms = 1000 * (before + missed) / self.refresh_hz
        if missed_ms > self.study.limits.late_ms and not self.lateness_told:
            self.lateness_told = True
            text = (
                f"trial {self.status.trial}: the computer was held up, {before + missed} frames ({missed_ms:.0f} ms) "
                f"of its {self.status.phase} were missed: close what else it does"
            )
            self.tell(Notice(text))

    def punctuality(self, shown_s: float) -> Literal["complete", "late"]:
        """How the picture that has just ended was shown; one that is late is told."""
        limit_s, planned_s = self.study.limits.late_ms / 1000, self.study.protocol.picture_s
        missed_s = self.standing[1] / self.refresh_hz
        if missed_s <= limit_s and abs(shown_s - planned_s) <= limit_s:
            return "complete"
        text = (
            f"trial {self.status.trial} is late: its picture stood for {shown_s:.2f} s instead of {planned_s:g}, with "
            f"{self.standing[1]} frames missed; the analysis leaves it out"
        )
        self.tell(Notice(text))
        return "late"

    def check_drift(self, event: int, dot: Dot, dot_s: float, end_s: float) -> None:
        """The drift check on a trial's dot; n/a leaves the count of trials in a row as it is."""
        samples = self.gaze.between(dot_s + SETTLED_AFTER_S, end_s)
        found = drift(samples, self.screen, dot.x_px, dot.y_px, self.rate_hz)
        self.status = replace(self.status, last_drift=found)
        if found is None:
            return
        values = {"drift_x_deg": found.x_deg, "drift_y_deg": found.y_deg, "drift_deg": found.total_deg}
        self.record("drift", {"id": event, **values})
        if found.total_deg > self.study.limits.drift_deg:
            self.drifts_over += 1
        else:
            self.forget_drift()

    def forget_drift(self) -> None:
        """Gaze is where it should be: trials are counted anew, and nothing is proposed."""
        self.drifts_over = 0
        self.status = replace(self.status, proposal="")

    def propose_recalibration(self) -> None:
        """After too many trials in a row with too much drift the operator is advised to calibrate again.

        The advice stands until gaze is better; it is answered at any time, within a trial or in a pause.
        """
        if self.drifts_over < self.study.limits.drift_trials:
            return
        limit = self.study.limits.drift_deg
        self.status = replace(
            self.status,
            proposal=f"{self.drifts_over} trials in a row drifted by more than {limit:g} degrees: recalibrate",
        )
        self.phase(self.status.phase, offers=("recalibrate",))
        self.pump(interrupting=False)
        if self.take_commands():
            self.calibrate_and_validate()

    def rate(self, of_trial: dict[str, Any]) -> int:
        """Ask how much the picture was liked; the answer, from 1 to 7."""
        shown_s = self.present(rating_screen(self.screen, self.texts["rating"]))
        event = self.begin_event("rating", shown_s, **of_trial)
        self.phase("rating")
        rating = int(self.wait_for(RATINGS))
        self.end_event(event, "complete", extra={"rating": rating})
        self.display.show([])
        return rating

    def pause(self, kind: Literal["pause", "break", "ended"]) -> None:
        """Until the operator resumes or calibrates anew; a break ends with the participant's space bar or click too.

        It is "ended" where the tracker was stopped at its own computer: then it is to record again.
        """
        button = self.texts["buttons"]["continue"] if kind == "break" else ""
        text = self.texts["pause" if kind == "ended" else kind]
        shown_s = self.present(text_screen(self.screen, text, button))
        event = self.begin_event("pause", shown_s)
        self.phase("pause" if kind == "ended" else kind, offers=WHILE_WAITING)
        if kind == "ended":
            self.gaze.stop()
            self.status = replace(self.status, proposal="the tracker was stopped at its own computer: recalibrate")
        asked: Kind | None = None
        while asked is None:
            self.wait_until(self.clock.now_s() + self.step_s, interrupting=False)
            pressed = self.pressed(anywhere="space")
            if commands := self.take_commands():
                asked = commands[0].kind
            elif kind == "break" and pressed == "space":
                asked = "resume"
            if kind == "ended" and asked == "resume" and not self.records_again():
                asked = None
        self.end_event(event, "complete", self.display.show([]))
        if asked == "recalibrate":
            self.calibrate_and_validate()

    def records_again(self) -> bool:
        """Have a tracker that was stopped at its own computer record; False where it does not yet, which is told."""
        try:
            self.gaze.start()
        except TrackerError as error:
            self.tell(Notice(str(error)))
            return False
        self.recording_ended = False
        self.status = replace(self.status, proposal="")
        return True

    # Calibration and validation.

    def calibrate_and_validate(self) -> None:
        """Until the operator accepts a validation."""
        self.calibrate()
        again: tuple[int, ...] = ()
        measured: Validation | None = None
        while True:
            measured = self.validate(again, measured)
            numbers = sorted({point.number for eye in measured.eyes.values() for point in eye.points})
            picture = validation_picture(measured, self.screen, check_size_px(self.screen))
            self.keep_file(f"validation-{self.events_begun}.png", _png(picture))
            answer = self.decide(measured, picture, numbers)
            accepted = answer.kind == "accept"
            override = answer.by if accepted and not measured.passed else None
            self.record("validation", {**measured.to_json(), "accepted": accepted, "overridden_by": override})
            if accepted:
                self.forget_drift()
                return
            again = answer.points if answer.kind == "redo" else ()
            if answer.kind == "repeat":
                self.calibrate()
                measured = None

    def calibrate(self) -> None:
        """Have the tracker calibrate itself, again where it fails and the operator wants so."""
        points = calibration_points(self.screen, self.size_deg, self.study.protocol.calibration_points)
        self.gaze.stop()
        targets, before = points, None
        while True:
            self.phase("calibration")
            event = self.begin_event("calibration", self.clock.now_s())
            self.inputs.clear()
            self.escape_is_the_trackers = self.tracker.escape_is_its_own
            try:
                done = self.tracker.calibrate(_Attended(self), targets, before)
            finally:
                self.escape_is_the_trackers = False
            self.end_event(event, "complete" if done.success else "aborted", self.display.show([]))
            if done.data:
                self.keep_file(f"calibration-{event}.bin", done.data)
            self.record(
                "calibration",
                {
                    "success": done.success,
                    "points": [asdict(point) for point in done.points],
                    "failed": list(done.failed),
                    "message": done.message,
                },
            )
            if done.success:
                break
            picture = calibration_picture(done, points, self.screen, check_size_px(self.screen))
            self.keep_file(f"calibration-{event}.png", _png(picture))
            answer = self.decide(CalibrationOutcome(done), picture, [point.number for point in points])
            if answer.kind == "accept":
                break
            redo = answer.kind == "redo"
            targets = tuple(point for point in points if not redo or point.number in answer.points)
            before = done if redo else None
        self.gaze.start()
        self.recording_ended = False

    def validate(self, only: tuple[int, ...] = (), before: Validation | None = None) -> Validation:
        """Show the targets in an order of chance and measure; with `only`, the others are kept from `before`."""
        points = validation_points(self.screen, self.size_deg, self.study.protocol.validation_points)
        shown = [point for point in points if not only or point.number in only]
        self.phase("validation")
        self.gaze.read_clocks()
        self.gaze.keep_from_now()
        begun_s = self.clock.now_s()
        event = self.begin_event("validation", begun_s)
        onsets: list[tuple[Point, float]] = []
        for i in self.rng.permutation(len(shown)):
            point = shown[i]
            onset_s, _ = animate_target(_Attended(self), point, VALIDATION_SHRINKS_S)
            self.message(f"VALIDATE {point.number} {point.x_px:.0f} {point.y_px:.0f}", onset_s)
            onsets.append((point, onset_s))
            self.wait_until(onset_s + MEASURED_UNTIL_S, interrupting=False)
        self.wait_until(self.clock.now_s() + ARRIVAL_S, interrupting=False)
        self.end_event(event, "complete", self.display.show([]))
        kept = before if before is not None and only else Validation(begun_s, {})
        measured: dict[Eye, dict[int, PointQuality]] = {
            eye: {p.number: p for p in kept.eyes[eye].points} if eye in kept.eyes else {} for eye in self.eyes
        }
        gaze: dict[Eye, dict[int, PointGaze]] = {eye: dict(kept.gaze.get(eye, {})) for eye in self.eyes}
        for point, onset_s in onsets:
            samples = self.gaze.between(onset_s + SETTLED_AFTER_S, onset_s + MEASURED_UNTIL_S)
            for eye in self.eyes:
                measured[eye][point.number] = point_quality(samples, eye, point, self.screen, self.rate_hz)
                gaze[eye].pop(point.number, None)
                if (seen := point_gaze(samples, eye)) is not None:
                    gaze[eye][point.number] = seen
        eyes = {
            eye: eye_quality([of_eye[number] for number in sorted(of_eye)], self.study.limits)
            for eye, of_eye in measured.items()
        }
        return Validation(begun_s, eyes, gaze, self.study.limits)

    def decide(self, asking: Validation | CalibrationOutcome, picture: Image.Image, numbers: Sequence[int]) -> Command:
        """Wait for the operator's answer: at the terminal, or by key or click in the participant's window.

        There the check is shown where the operator asks for it, by a chord: it is no business of the participant's. One
        that failed is accepted under somebody's initials, and in no other way.
        """
        self.phase(self.status.phase, offers=OF_AN_OUTCOME)
        self.check_wanted, shown = False, False
        waiting = text_screen(self.screen, self.texts["pause"])
        self.present(waiting)
        self.status = replace(self.status, asking=asking)
        answer: Command | None = None
        while answer is None:
            # Asked once more at each pump: a console may have been closed and opened in between.
            self.pump(interrupting=False)
            for command in self.take_commands():
                if command.kind != "redo" or set(command.points) & {*numbers}:
                    answer = command
                    break
            else:
                if shown != self.check_wanted:
                    shown = self.check_wanted
                    self.present(check_screen(self.screen, picture, numbers, asking.passed) if shown else waiting)
                key = self.pressed()
                if shown and key == "a" and not asking.passed:
                    name = self.typed("initials", "", may_return=True)
                    answer = Command("accept", by=name) if name not in (None, NOT_GIVEN) else None
                    shown = False
                elif shown:
                    answer = _decision(key, numbers)
            if answer is None:
                self.display.hold(self.clock.now_s() + self.step_s)
        self.check_wanted = False
        self.status = replace(self.status, asking=None)
        self.phase(self.status.phase)
        self.display.show([])
        return answer

    def keep_file(self, name: str, data: bytes) -> None:
        """A file beside the recording; a disk that refuses it, or does not answer, costs no more than that file."""
        failed: list[str] = []

        def write() -> None:
            try:
                (self.files / name).write_bytes(data)
            except OSError as error:
                failed.append(str(error.strerror))

        # Whoever waits for a disk cannot be stopped; this thread can be left behind.
        thread = threading.Thread(target=write, name="file", daemon=True)
        thread.start()
        thread.join(LONGEST_WRITE_S if self.disk_watched else None)
        if thread.is_alive():
            failed.append("the disk does not answer")
        if failed:
            self.tell(Notice(f"{name} could not be written ({failed[0]}): the session goes on without it"))

    # Participants' texts and answers.

    def present(self, scene: Sequence[Shape]) -> float:
        """Show a screen that is to be answered: what was pressed before it was seen does not count; its onset."""
        self.scene = scene
        self.inputs.clear()
        onset_s = self.display.show(scene)
        self.heard_from_s = onset_s + EARLY_S
        return onset_s

    def pressed(self, anywhere: str | None = None) -> str | None:
        """The next key that was pressed, or that of the button that was clicked; a click `anywhere` else is that."""
        while self.inputs:
            event = self.inputs.pop(0)
            if event.at_s < self.heard_from_s:
                continue
            if isinstance(event, Key):
                return "return" if event.name == "enter" else event.name
            if (key := pressed_button(self.scene, event.x_px, event.y_px) or anywhere) is not None:
                return key
        return None

    def wait_for(
        self, wanted: Collection[str] | None = None, anywhere: str | None = None, until_s: float = float("inf")
    ) -> str:
        """The next key of these (any where None); others are dropped. Empty where none came in time."""
        while True:
            while (key := self.pressed(anywhere)) is not None:
                if wanted is None or key in wanted:
                    return key
            now_s = self.clock.now_s()
            if now_s >= until_s:
                return ""
            self.wait_until(min(until_s, now_s + self.step_s), interrupting=False)

    def say(self, name: str, **values: Any) -> None:
        """Show a text until the space bar is pressed, or a click."""
        text = self.texts[name].format(**values)
        self.present(text_screen(self.screen, text, self.texts["buttons"]["continue"]))
        self.phase(name)
        self.wait_for(("space",), anywhere="space")

    def take_leave(self, name: str) -> None:
        """The last text: until any key or click, or nobody is there any more."""
        shown_s = self.present(text_screen(self.screen, self.texts[name], self.texts["buttons"]["continue"]))
        self.phase(name, until_s=shown_s + CLOSING_TEXT_S)
        self.wait_for(anywhere="space", until_s=shown_s + CLOSING_TEXT_S)

    def ask_form(self) -> None:
        """The study's form, one question a screen, consent first; raises Stopped where that is refused.

        Nothing is written down before the last answer is given: until then each can be gone back to.
        """
        self.phase("form")
        # A stable sort: the others stay in the study's order.
        asked = [question for question in self.study.protocol.form if question != "group"]
        questions = sorted(asked, key=lambda question: question != "consent")
        answers: dict[str, str] = {}
        at = 0
        while at < len(questions):
            question = questions[at]
            options = choices(question, self.texts)
            ask = self.choose if options else self.typed
            answer = ask(question, answers.get(question, ""), at > 0)
            if answer is None:
                at -= 1
                continue
            answers[question] = answer
            if (question, answer) == ("consent", "no"):
                self.take_leave("refused")
                raise _Refused("the participant did not consent: nothing was kept")
            at += 1
        if "group" in self.study.protocol.form:
            answers["group"] = self.group or NOT_GIVEN
        self.record("form", answers)

    def question(self, name: str) -> str:
        """A question as it is asked; one that Beholder does not know asks with its own name."""
        asked: str = self.texts["form"].get(name, f"{name}:")
        return asked

    def choose(self, question: str, before: str, may_return: bool) -> str | None:
        """An answer by its key or button; None to go back."""
        options = choices(question, self.texts)
        may_skip = question != "consent"
        self.present(
            choice_screen(
                self.screen, self.texts, self.question(question), options, before,
                may_skip=may_skip, may_return=may_return,
            )
        )  # fmt: skip
        key = self.wait_for([*options, *["return"] * may_skip, *["up"] * may_return])
        if key == "up":
            return None
        return checked_answer(question, options[key][0] if key in options else "")

    def typed(self, question: str, before: str, may_return: bool) -> str | None:
        """What is typed or clicked until return, asked again where it breaks its rule; None to go back."""
        answer, remark, seen = before.replace(NOT_GIVEN, ""), "", False
        digits = question == "age"
        while True:
            scene = typed_screen(
                self.screen, self.texts, self.question(question), answer, remark,
                digits=digits, may_return=may_return,
            )  # fmt: skip
            if seen:
                # The same question with a letter more: what was typed meanwhile counts.
                self.scene = scene
                self.display.show(scene)
            else:
                self.present(scene)
            seen = True
            key = self.wait_for()
            if key == "up" and may_return:
                return None
            if key == "return":
                try:
                    return checked_answer(question, answer)
                except ValueError:
                    remark = self.texts["form_wrong"].format(rule=self.texts["rule"][question])
            elif key == "backspace":
                answer = answer[:-1]
            else:
                letter = " " if key == "space" else key
                fits = len(letter) == 1 and (letter in "0123456789" or not digits)
                answer = (answer + letter)[:LONGEST_ANSWER] if fits else answer

    # Time, gaze and the journal.

    def wait_for_frame(self, time_s: float) -> None:
        """Until half a frame before `time_s`, so that the next flip is the frame nearest to it."""
        self.wait_until(time_s - 0.5 / self.refresh_hz)

    def frames_late(self, late_s: float) -> int:
        """Whole frames by which something came later than planned."""
        return max(0, round(late_s * self.refresh_hz))

    def wait_until(self, time_s: float, *, interrupting: bool = True) -> None:
        """Until `time_s`, the scene standing, fetching gaze and heeding window and operator meanwhile."""
        while True:
            self.pump(interrupting)
            now_s = self.clock.now_s()
            if now_s >= time_s:
                return
            self.display.hold(min(time_s, now_s + self.step_s))

    def pump(self, interrupting: bool = True) -> None:
        """Everything that must not wait: gaze to the recorder, keys, the operator.

        Raises Stopped, TrackerError where the tracker is lost, and, while a trial is `interrupting`, _Interrupted.
        """
        # The disk comes first: where it fails, handing gaze over raises, and the operator is to know why.
        self.watch_disk()
        self.count_missed_frames()
        self.gaze.fetch()
        for event in self.display.events():
            if isinstance(event, Closed):
                self.tell(Notice("the window was closed, or its screen is gone"))
                raise Stopped("the window was closed")
            self.hear(event)
        self.gaze.watch_system_clock()
        self.inform()
        for command in self.operator.commands():
            self.take(command)
        if interrupting and self.recording_ended:
            raise _Interrupted("ended")
        if interrupting and (taken := self.take_commands(*IN_A_TRIAL)):
            for command in taken[1:]:
                self.refuse(command)
            raise _Interrupted(taken[0].kind)  # type: ignore[arg-type]  # one of IN_A_TRIAL

    def hear(self, event: Key | Click) -> None:
        """A key or click in the participant's window. A key held down is an answer once, or a sleeve skips screens."""
        if isinstance(event, Click):
            self.inputs.append(event)
        elif event.chord:
            if not event.held:
                self.chord(event.name)
        elif self.escape_is_the_trackers:
            # It is the tracker's own set-up that has the keys.
            self.inputs.append(event)
        elif event.held:
            pass
        elif event.name == "escape":
            self.escape(event.at_s)
        else:
            self.inputs.append(event)

    def chord(self, letter: str) -> None:
        """What the operator asks for in the participant's window, where there is no other."""
        if letter == SHOW_CHECK and self.status.asking is not None:
            self.check_wanted = not self.check_wanted
        elif letter in CHORDS:
            kind = CHORDS[letter]
            resumes = kind == "pause" and "resume" in self.status.offers
            self.take(Command("resume" if resumes else kind, by=AT_THE_WINDOW))

    def take(self, command: Command) -> None:
        """A command of the operator's, heeded where it is offered and given for this moment, else refused."""
        if command.kind == "stop":
            raise Stopped("the operator stopped the session")
        if command.kind in self.status.offers and command.moment in (None, self.status.moment):
            self.commands.append(command)
        else:
            self.refuse(command)

    def escape(self, at_s: float) -> None:
        """Escape in the participant's window: once it may be a mistake, twice it ends the session."""
        if at_s - self.escape_s <= ESCAPE_AGAIN_S:
            raise Stopped("Escape was pressed twice")
        self.escape_s = at_s
        text = f"Escape was pressed in the participant's window: once more within {ESCAPE_AGAIN_S:g} s ends the session"
        self.tell(Notice(text))

    def refuse(self, command: Command) -> None:
        """A command that has no meaning now does nothing, neither now nor later, and that is said."""
        offers = ", ".join([*self.status.offers, "stop"])
        text = f'"{command.kind}" is not for now (during "{self.status.phase}" there are {offers}): nothing was done'
        self.tell(Notice(text))

    def inform(self) -> None:
        """Show the operator where the session is."""
        now_s = self.clock.now_s()
        protocol = self.study.protocol
        left_s = None if self.until_s is None else max(0.0, self.until_s - now_s)
        session_left_s = (len(self.waiting) - self.in_trial) * (protocol.dot_s + protocol.picture_s)
        if self.in_trial and left_s is not None:
            session_left_s += left_s + protocol.picture_s * (self.status.phase == "dot")
        self.status = replace(
            self.status, now_s=now_s, left_s=left_s, session_left_s=session_left_s,
            tracked_percent=self.gaze.tracked_percent,
        )  # fmt: skip
        self.operator.show(self.status)
        self.status = replace(self.status, notices=())

    def tell(self, notice: Notice) -> None:
        """A notice: for the operator at once, and for the data set, which holds no path of this computer.

        Raises TrackerError where it is a fatal one.
        """
        self.status = replace(self.status, notices=(*self.status.notices, notice.text))
        self.recording_ended = self.recording_ended or notice.ends_recording
        try:
            self.record("notice", {"text": self.without_paths(notice.text), "fatal": notice.fatal})
            if notice.fatal:
                raise TrackerError(notice.text)
        except BeholderError:
            # The session ends by it: this is the last that is shown.
            self.inform()
            raise

    def without_paths(self, text: str) -> str:
        """A text in which the study's folder has no more than its name."""
        for folder in {str(self.study_folder), str(self.study_folder.resolve())}:
            text = text.replace(folder, self.study_folder.name) if len(folder) > 1 else text
        return text

    def watch_disk(self) -> None:
        """What the recorder has to say, told once, and once more when it is over."""
        trouble = (self.recorder.trouble() or "") if self.disk_watched else ""
        # The same trouble a second later has only other figures in it.
        kind = re.sub(r"\d+", "", trouble)
        if kind != self.disk_trouble:
            self.disk_trouble = kind
            self.tell(Notice(trouble or "the disk keeps up again: nothing was lost"))

    def phase(self, name: str, until_s: float | None = None, offers: tuple[Kind, ...] = ()) -> None:
        """Tell the operator what goes on and what can be asked for; what was asked for until now is over with it."""
        goes_on = self.status.offers == offers and name != "dot"
        over = [] if goes_on else self.take_commands()
        self.until_s = until_s
        self.status = replace(
            self.status, phase=name, offers=offers, moment=self.status.moment + (not goes_on)
        )  # fmt: skip
        for command in over:
            self.refuse(command)

    def take_commands(self, *kinds: Kind) -> list[Command]:
        """The operator's commands (of these kinds, where some are named), which are then done with."""
        taken = [command for command in self.commands if not kinds or command.kind in kinds]
        self.commands = [command for command in self.commands if command not in taken]
        return taken

    def begin_shown(self, trial_type: str, onset_s: float, late: int, **values: Any) -> int:
        """Write down that a dot or picture is on the screen, `late` frames after its time; returns its number."""
        # What was missed until now, the flip to it included, is none of its standing.
        self.display.late_frames()
        self.status = replace(self.status, missed_frames=self.status.missed_frames + late)
        number = self.begin_event(trial_type, onset_s, **values, dropped_frames=late)
        self.standing = (number, late)
        return number

    def begin_event(self, trial_type: str, onset_s: float, **values: Any) -> int:
        """Write down that something began; returns its number."""
        self.events_begun += 1
        self.open_events.append(self.events_begun)
        self.record("begin", {"id": self.events_begun, "trial_type": trial_type, **values}, onset_s)
        return self.events_begun

    def end_event(
        self, number: int, status: str, end_s: float | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        """Write down that it ended, and how; with the frames that were missed, where they are not given."""
        self.open_events.remove(number)
        standing, missed = self.standing
        if number == standing and extra is None:
            extra = {"dropped_frames": missed + self.display.late_frames()}
        self.record("end", {"id": number, "status": status, **(extra or {})}, end_s)

    def message(self, text: str, at_s: float | None = None) -> None:
        """A message for the tracker's own file and for the data set."""
        at_s = self.clock.now_s() if at_s is None else at_s
        self.tracker.message(text, at_s)
        self.record("message", {"text": text}, at_s)

    def tell_viewer(self, messages: Iterable[str], at_s: float | None = None) -> None:
        """Messages for the tracker's own file alone: the data set says the same in its tables."""
        at_s = self.clock.now_s() if at_s is None else at_s
        for text in messages:
            self.tracker.message(text, at_s)

    def record(self, kind: str, value: dict[str, Any], at_s: float | None = None) -> None:
        """Into the journal."""
        self.recorder.record(Record(self.clock.now_s() if at_s is None else at_s, kind, value))


class _Attended:
    """The display as a calibration gets it: whatever waits on it attends to the session.

    `show` and `hold` fetch gaze, tell the operator, and raise where the session is to end; `events` are the keys and
    clicks that the session heard meanwhile.
    """

    def __init__(self, session: _Session) -> None:
        self._session, self._display = session, session.display
        self.clock, self.screen = session.clock, session.screen

    def show(self, scene: Sequence[Shape]) -> float:
        """Attend, then show it; its onset."""
        self._session.pump(interrupting=False)
        return self._display.show(scene)

    def hold(self, until_s: float) -> None:
        """Attend, then let time pass: until `until_s`, or the session's next step."""
        self._session.pump(interrupting=False)
        self._display.hold(min(until_s, self.clock.now_s() + self._session.step_s))

    def late_frames(self) -> int:
        """Those of the display."""
        return self._display.late_frames()

    def events(self) -> list[WindowEvent]:
        """Keys and clicks since the last call."""
        self._session.pump(interrupting=False)
        heard: list[WindowEvent] = [*self._session.inputs]
        self._session.inputs.clear()
        return heard

    def pointer_px(self) -> tuple[float, float]:
        """Where the pointer is."""
        return self._display.pointer_px()

    def capture(self) -> Image.Image:
        """What is on the screen."""
        return self._display.capture()

    def close(self) -> None:
        """The session closes its display itself."""


def _decision(key: str | None, numbers: Sequence[int]) -> Command | None:
    """What a key in the participant's window decides about a validation or calibration."""
    if key == "a":
        return Command("accept", by=AT_THE_WINDOW)
    if key == "r":
        return Command("repeat", by=AT_THE_WINDOW)
    if key is not None and key.isdecimal() and int(key) in numbers:
        return Command("redo", points=(int(key),), by=AT_THE_WINDOW)
    return None


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
