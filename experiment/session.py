"""One participant's session, from the form to the last picture: what is shown when, what is written down, how it ends.

    form -> instructions -> calibration -> validation (until accepted) -> for each trial: dot, picture (, rating)

It knows the display, the tracker and the operator through their Protocols only, so a lab's session and a simulated one
are the same program. Times are of the display's clock. Everything is handed to the recorder at once; whatever ends the
session (its last trial, stop, Escape, a closed window, Ctrl-C, an exception), it leaves through one door, which closes
the tracker and publishes what was recorded. Gaze is judged in `experiment.calibration`, not here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from experiment.calibration import (
    MEASURED_UNTIL_S,
    SETTLED_AFTER_S,
    Drift,
    PointQuality,
    Validation,
    calibration_points,
    drift,
    eye_quality,
    point_quality,
    validation_points,
)
from experiment.devices import (
    Calibration,
    Closed,
    Display,
    Dot,
    Key,
    Notice,
    Picture,
    Point,
    Text,
    Tracker,
    TrackerInfo,
)
from experiment.observer import generator
from experiment.plan import Plan, Trial, picture_rect
from experiment.recorder import Recorder
from shared.dataset import OLDEST_AGE, beholder_version, publish, read_participants
from shared.errors import DataError, StudyError, TrackerError
from shared.gaze import Eye, Samples, no_samples, position
from shared.journal import JournalWriter, Record
from shared.screen import Screen
from shared.study import Study

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGET_COLOUR, DOT_COLOUR = "#202020", "#e00000"
TARGET_DEG = 0.6
TEXT_DEG = 0.8
LONGEST_ANSWER = 40
# The last samples of a window are still on their way when it ends.
ARRIVAL_S = 0.1
CLOSING_TEXT_S = 2.0


# ------------------------------------------------------------------------------------------------- the operator


@dataclass(frozen=True)
class Status:
    """What the operator sees: where the session is and how well the eyes are tracked.

    `asking` is a calibration's or validation's outcome that waits for accept, repeat or redo; `proposal` a sentence
    that advises a recalibration.
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
    """What the operator wants; `points` are the numbers of the targets to redo, `by` who overrides a verdict."""

    kind: Literal["pause", "resume", "recalibrate", "skip", "stop", "accept", "repeat", "redo"]
    points: tuple[int, ...] = ()
    by: str = "operator"


class Operator(Protocol):
    """The person who runs the session; neither call blocks."""

    def show(self, status: Status) -> None:
        """Show where the session is."""

    def commands(self) -> list[Command]:
        """What was asked for since the last call, oldest first."""


# -------------------------------------------------------------------------------------------------- the session


class Stopped(Exception):  # noqa: N818
    """The session is to end now; the message says why."""


class _Interrupted(Exception):  # noqa: N818
    """The trial under way is to be broken off: to pause, to calibrate anew, or to skip it."""

    def __init__(self, kind: Literal["pause", "recalibrate", "skip"]) -> None:
        self.kind = kind
        super().__init__(kind)


@dataclass(frozen=True)
class Outcome:
    """How a session ended: what it published, and what failed on the way out, in sentences."""

    status: Literal["complete", "aborted"]
    reason: str
    files: tuple[Path, ...]
    failures: tuple[str, ...]


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
    keep_aborted: bool = True,
) -> Outcome:
    """Run a planned session and publish what it recorded.

    `sync_every_s` is the journal's; `pump_every_s` how often gaze is fetched while waiting. The form is asked where
    the participant is not in participants.tsv yet, unless `ask_form` says otherwise. With `keep_aborted` False what a
    session recorded that did not end as planned stays in its journal (a simulation is done anew).

    Escape, stop, a closed window and Ctrl-C are an aborted outcome. Raises StudyError where a picture does not fit,
    TrackerError where the tracker cannot be reached or is lost, and whatever else went wrong, once through the door.
    """
    reason, complete = "", False
    failures: list[str] = []
    files: list[Path] = []
    leave: list[Callable[[], object]] = [display.close]
    try:
        if ask_form is None:
            ask_form = plan.participant not in read_participants(study_folder).index
        for trial in plan.trials:
            picture_rect(display.screen, trial.stimulus, study.pictures)
        leave = [lambda: tracker.close(study_folder / ".beholder"), display.close]
        info = tracker.connect(study.tracker, display.screen)
        writer = JournalWriter(study_folder, _header(study, plan, display.screen, info))
        recorder = Recorder(writer, info.rate_hz, sync_every_s)
        session = _Session(study, plan, display, tracker, operator, recorder, info, writer.files, pump_every_s)
        leave = [
            session.abort_open_events,
            session.read_clocks,
            session.stop_recording,
            lambda: failures.extend(tracker.close(writer.files).failures),
            recorder.close,
            display.close,
            lambda: files.extend(publish(writer.folder) if complete or keep_aborted else ()),
        ]
        session.run(ask_form)
        complete = True
    except Stopped as stopped:
        reason = str(stopped)
    except KeyboardInterrupt:
        reason = "interrupted by Ctrl-C"
    finally:
        # The one door: each step is taken, whatever became of the ones before.
        for step in leave:
            try:
                step()
            except Exception as failure:
                failures.append(str(failure))
        error = sys.exc_info()[1]
        if error is not None and failures and sys.version_info >= (3, 11):
            error.add_note("On the way out: " + "; ".join(failures))
    return Outcome("aborted" if reason else "complete", reason, tuple(files), tuple(failures))


def _header(study: Study, plan: Plan, screen: Screen, info: TrackerInfo) -> dict[str, Any]:
    return {
        "participant": plan.participant,
        "run": plan.run,
        "task": study.study.task,
        "beholder": beholder_version(),
        "instructions": read_texts(study.study.language)["instructions"].format(pictures=len(plan.trials)),
        "screen": asdict(screen),
        "tracker": asdict(info),
    }


class _Session:
    """The state of a running session; `run` is its course, top to bottom."""

    def __init__(
        self,
        study: Study,
        plan: Plan,
        display: Display,
        tracker: Tracker,
        operator: Operator,
        recorder: Recorder,
        info: TrackerInfo,
        files: Path,
        pump_every_s: float,
    ) -> None:
        self.study, self.plan = study, plan
        self.display, self.tracker, self.operator, self.recorder = display, tracker, operator, recorder
        self.eyes, self.rate_hz, self.pump_every_s = info.eyes, info.rate_hz, pump_every_s
        self.clock, self.screen = display.clock, display.screen
        self.files = files
        self.texts = read_texts(study.study.language)
        self.rng = generator(study.study.seed, f"{plan.participant} targets {plan.run}", "order")
        if study.screen is None or study.pictures.size_deg is None:
            raise StudyError("study.toml has no [screen], or no [pictures] size_deg: a session needs the geometry.")
        self.size_deg, self.refresh_hz = study.pictures.size_deg, study.screen.refresh_hz
        self.keys: list[Key] = []
        self.commands: list[Command] = []
        self.kept: list[Samples] = []
        self.recording = False
        self.clock_offset_s = 0.0
        self.open_events: list[int] = []
        self.events_begun = 0
        self.drifts_over = 0
        self.picture_begun = False
        self.latest_s = float("-inf")
        self.status = Status(0.0, "form", None, plan.pictures, None, None, None)

    # The course.

    def run(self, ask_form: bool) -> None:
        """From the form to the thanks."""
        self.say("welcome")
        if ask_form:
            self.ask_form()
        self.say("instructions", pictures=len(self.plan.trials))
        self.say("calibration")
        self.calibrate_and_validate()
        waiting = list(self.plan.trials)
        shown = 0
        while waiting:
            trial = waiting[0]
            try:
                self.trial(trial)
            except _Interrupted as interrupted:
                if self.picture_begun:
                    waiting[0] = replace(trial, exposure="repeat")
                if interrupted.kind == "skip":
                    del waiting[0]
                elif interrupted.kind == "pause":
                    self.pause("pause")
                else:
                    self.calibrate_and_validate()
                continue
            del waiting[0]
            shown += 1
            self.propose_recalibration()
            every = self.study.protocol.break_every
            if waiting and every and shown % every == 0:
                self.pause("break")
        self.display.show([self.text(self.texts["end"])])
        self.wait_until(self.clock.now_s() + CLOSING_TEXT_S, interrupting=False)

    def abort_open_events(self) -> None:
        """What was under way when the session ended was cut short."""
        for number in list(self.open_events):
            self.end_event(number, "aborted")

    def trial(self, trial: Trial) -> None:
        """Dot, picture, rating; raises _Interrupted where the operator breaks it off."""
        protocol, stimulus = self.study.protocol, trial.stimulus
        self.picture_begun = False
        self.status = replace(self.status, trial=trial.number)
        self.message(f"TRIALID {trial.number}")
        self.read_clocks()
        x_px, y_px = self.screen.centre_px
        rect = picture_rect(self.screen, stimulus, self.study.pictures)
        of_trial = {"trial": trial.number, "stim_file": stimulus.stim_file}
        red_dot = Dot(x_px, y_px, protocol.dot_diameter_deg * self.screen.px_per_deg, DOT_COLOUR)
        shown: list[int] = []
        try:
            self.kept = []
            dot_s = self.display.show([red_dot])
            shown.append(self.begin_event("dot", dot_s, trial=trial.number, dropped_frames=0))
            self.phase("dot", until_s=dot_s + protocol.dot_s)
            self.wait_for_frame(dot_s + protocol.dot_s)
            onset_s = self.display.show([Picture(stimulus.file, rect)])
            self.picture_begun = True
            self.end_event(shown[0], "complete", onset_s)
            self.message(f"{stimulus.stim_file} onset", onset_s)
            shown.append(
                self.begin_event(
                    "picture",
                    onset_s,
                    **of_trial,
                    exposure=trial.exposure,
                    picture_x_px=rect.x_px,
                    picture_y_px=rect.y_px,
                    picture_width_px=rect.width_px,
                    picture_height_px=rect.height_px,
                    dropped_frames=self.frames_late(onset_s - dot_s - protocol.dot_s),
                )
            )
            # Computed while the picture stands, so that it delays nothing.
            self.wait_until(onset_s + min(ARRIVAL_S, protocol.picture_s))
            self.check_drift(shown[0], red_dot, dot_s, onset_s)
            self.phase("picture", until_s=onset_s + protocol.picture_s)
            self.wait_for_frame(onset_s + protocol.picture_s)
            end_s = self.display.show([])
            self.end_event(shown[1], "complete", end_s)
            self.message(f"{stimulus.stim_file} offset", end_s)
            self.read_clocks()
        except _Interrupted as interrupted:
            status = "aborted" if interrupted.kind == "skip" else "repeated"
            end_s = self.display.show([])
            for number in [number for number in shown if number in self.open_events]:
                self.end_event(number, status, end_s)
            raise
        if protocol.rating:
            self.rate(of_trial)

    def check_drift(self, event: int, dot: Dot, dot_s: float, end_s: float) -> None:
        """The drift check on a trial's dot; n/a leaves the count of trials in a row as it is."""
        samples = self.samples_between(dot_s + SETTLED_AFTER_S, end_s)
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

        The advice stands until gaze is better; an answer that comes later breaks off the trial under way.
        """
        if self.drifts_over < self.study.limits.drift_trials:
            return
        limit = self.study.limits.drift_deg
        self.status = replace(
            self.status,
            proposal=f"{self.drifts_over} trials in a row drifted by more than {limit:g} degrees: recalibrate",
        )
        self.pump(interrupting=False)
        if self.take_commands("recalibrate"):
            self.calibrate_and_validate()

    def rate(self, of_trial: dict[str, Any]) -> None:
        """Ask how much the picture was liked, until a key from 1 to 7."""
        shown_s = self.display.show([self.text(self.texts["rating"])])
        event = self.begin_event("rating", shown_s, **of_trial)
        self.phase("rating")
        key = self.wait_for_key(lambda key: key.name in "1234567")
        self.end_event(event, "complete", extra={"rating": int(key.name)})
        self.display.show([])

    def pause(self, kind: Literal["pause", "break"]) -> None:
        """A break ends with the participant's space bar, or the operator's resume; a pause with the latter alone."""
        shown_s = self.display.show([self.text(self.texts[kind])])
        event = self.begin_event("pause", shown_s)
        self.phase(kind)
        # What was asked for or pressed before does not end it.
        self.take_commands("resume")
        self.keys.clear()
        while True:
            self.wait_until(self.clock.now_s() + self.pump_every_s, interrupting=False)
            pressed = [key for key in self.keys if key.name == "space"]
            self.keys.clear()
            if self.take_commands("resume") or (kind == "break" and pressed):
                break
        self.end_event(event, "complete", self.display.show([]))

    # Calibration and validation.

    def calibrate_and_validate(self) -> None:
        """Until the operator accepts a validation."""
        self.calibrate()
        again: tuple[int, ...] = ()
        measured: Validation | None = None
        while True:
            measured = self.validate(again, measured)
            answer = self.decide(measured, ("accept", "repeat", "redo"))
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
        self.stop_recording()
        targets, before = points, None
        while True:
            self.phase("calibration")
            event = self.begin_event("calibration", self.clock.now_s())
            done = self.tracker.calibrate(self.display, targets, before)
            self.end_event(event, "complete" if done.success else "aborted")
            if done.data:
                (self.files / f"calibration-{event}.bin").write_bytes(done.data)
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
            answer = self.decide(CalibrationOutcome(done), ("accept", "repeat", "redo"))
            if answer.kind == "accept":
                break
            redo = answer.kind == "redo"
            targets = tuple(point for point in points if not redo or point.number in answer.points)
            before = done if redo else None
        self.tracker.start()
        self.recording = True
        self.read_clocks()

    def validate(self, only: tuple[int, ...] = (), before: Validation | None = None) -> Validation:
        """Show the targets in an order of chance and measure; with `only`, the others are kept from `before`."""
        points = validation_points(self.screen, self.size_deg, self.study.protocol.validation_points)
        shown = [point for point in points if not only or point.number in only]
        self.phase("validation")
        self.read_clocks()
        self.kept = []
        begun_s = self.clock.now_s()
        event = self.begin_event("validation", begun_s)
        onsets: list[tuple[Point, float]] = []
        size_px = TARGET_DEG * self.screen.px_per_deg
        for i in self.rng.permutation(len(shown)):
            point = shown[i]
            onset_s = self.display.show([Dot(point.x_px, point.y_px, size_px, TARGET_COLOUR, size_px / 4)])
            self.message(f"VALIDATE {point.number} {point.x_px:.0f} {point.y_px:.0f}", onset_s)
            onsets.append((point, onset_s))
            self.wait_until(onset_s + MEASURED_UNTIL_S, interrupting=False)
        self.wait_until(self.clock.now_s() + ARRIVAL_S, interrupting=False)
        self.end_event(event, "complete", self.display.show([]))
        measured: dict[Eye, dict[int, PointQuality]] = {
            eye: {p.number: p for p in before.eyes[eye].points} if before is not None and only else {}
            for eye in self.eyes
        }
        for point, onset_s in onsets:
            samples = self.samples_between(onset_s + SETTLED_AFTER_S, onset_s + MEASURED_UNTIL_S)
            for eye in self.eyes:
                measured[eye][point.number] = point_quality(samples, eye, point, self.screen, self.rate_hz)
        eyes = {
            eye: eye_quality([of_eye[number] for number in sorted(of_eye)], self.study.limits)
            for eye, of_eye in measured.items()
        }
        return Validation(begun_s, eyes)

    def decide(self, asking: Validation | CalibrationOutcome, allowed: tuple[str, ...]) -> Command:
        """Wait for the operator's answer."""
        self.take_commands(*allowed)
        self.status = replace(self.status, asking=asking)
        while True:
            self.pump(interrupting=False)
            # Asked once more at each pump: a console may have been closed and opened in between.
            if answers := self.take_commands(*allowed):
                self.status = replace(self.status, asking=None)
                return answers[0]
            self.clock.sleep_until_s(self.clock.now_s() + self.pump_every_s)

    # Participants' texts and answers.

    def text(self, text: str) -> Text:
        """Lines in the middle of the screen."""
        return Text(text, *self.screen.centre_px, TEXT_DEG * self.screen.px_per_deg)

    def say(self, name: str, **values: Any) -> None:
        """Show a text until the space bar is pressed."""
        self.display.show([self.text(self.texts[name].format(**values))])
        self.phase(name)
        self.wait_for_key(lambda key: key.name == "space")

    def ask_form(self) -> None:
        """The study's form, one question a screen; an empty answer is n/a."""
        answers = {}
        for question in self.study.protocol.form:
            wrong = ""
            while True:
                answer = self.typed(self.texts["form"].get(question, f"{question}:"), wrong)
                try:
                    answers[question] = checked_answer(question, answer)
                    break
                except ValueError:
                    wrong = self.texts["form_wrong"].format(rule=self.texts["rule"][question])
        self.record("form", answers)

    def typed(self, question: str, remark: str) -> str:
        """What the participant types, until return."""
        answer = ""
        self.phase("form")
        while True:
            lines = [question, answer + "_", remark or self.texts["form_hint"]]
            self.display.show([self.text("\n\n".join(lines))])
            key = self.wait_for_key(lambda key: True)
            if key.name in ("return", "enter"):
                return answer
            if key.name == "backspace":
                answer = answer[:-1]
            else:
                letter = " " if key.name == "space" else key.name
                answer = (answer + letter)[:LONGEST_ANSWER] if len(letter) == 1 else answer

    def wait_for_key(self, wanted: Callable[[Key], bool]) -> Key:
        """The next key of that kind; others are dropped."""
        while True:
            while self.keys:
                key = self.keys.pop(0)
                if wanted(key):
                    return key
            self.wait_until(self.clock.now_s() + self.pump_every_s, interrupting=False)

    # Time, gaze and the journal.

    def wait_for_frame(self, time_s: float) -> None:
        """Until half a frame before `time_s`, so that the next flip is the frame nearest to it."""
        self.wait_until(time_s - 0.5 / self.refresh_hz)

    def frames_late(self, late_s: float) -> int:
        """Whole frames by which something came later than planned."""
        return max(0, round(late_s * self.refresh_hz))

    def wait_until(self, time_s: float, *, interrupting: bool = True) -> None:
        """Until `time_s`, fetching gaze and heeding window and operator meanwhile."""
        while True:
            self.pump(interrupting)
            now_s = self.clock.now_s()
            if now_s >= time_s:
                return
            self.clock.sleep_until_s(min(time_s, now_s + self.pump_every_s))

    def pump(self, interrupting: bool = True) -> None:
        """Everything that must not wait: gaze to the recorder, keys, the operator.

        Raises Stopped, TrackerError where the tracker is lost, and, while a trial is `interrupting`, _Interrupted.
        """
        self.fetch()
        for event in self.display.events():
            if isinstance(event, Closed):
                raise Stopped("the window was closed")
            if isinstance(event, Key):
                if event.name == "escape":
                    raise Stopped("Escape was pressed")
                self.keys.append(event)
        now_s = self.clock.now_s()
        self.status = replace(self.status, now_s=now_s)
        self.operator.show(self.status)
        self.status = replace(self.status, notices=())
        self.commands += self.operator.commands()
        for command in self.commands:
            if command.kind == "stop":
                raise Stopped("the operator stopped the session")
        if interrupting:
            for command in self.commands:
                if command.kind in ("pause", "recalibrate", "skip"):
                    self.commands.remove(command)
                    raise _Interrupted(command.kind)

    def fetch(self) -> None:
        """Move what the tracker has into the recorder."""
        if not self.recording:
            return
        batch = self.tracker.read()
        samples, notices = self.advancing(batch.samples), list(batch.notices)
        if (left_out := len(batch.samples) - len(samples)) > 0:
            notices.append(Notice(f"the time of {left_out} samples did not advance: they are left out"))
        if len(samples):
            self.recorder.samples(samples)
            self.kept.append(samples)
            seen = ~np.isnan(position(samples, "mean")[0])
            self.status = replace(self.status, tracked_percent=100 * float(seen.mean()))
        for event in batch.events:
            self.record("tracker", asdict(event))
        for notice in notices:
            self.record("notice", {"text": notice.text, "fatal": notice.fatal})
            if notice.fatal:
                raise TrackerError(notice.text)
            self.status = replace(self.status, notices=(*self.status.notices, notice.text))

    def advancing(self, samples: Samples) -> Samples:
        """Those later than all before them; a sample that repeats or turns back time is none."""
        times = samples["time_s"]
        latest = np.maximum.accumulate(np.concatenate([[self.latest_s], times]))
        kept: Samples = samples[times > latest[:-1]]
        self.latest_s = float(latest[-1])
        return kept

    def stop_recording(self) -> None:
        """End the tracker's recording, and fetch the last of it."""
        if self.recording:
            self.tracker.stop()
            self.fetch()
            self.recording = False

    def samples_between(self, from_s: float, to_s: float) -> Samples:
        """The samples of a time of the session's clock, of those kept since `kept` was emptied."""
        samples = np.concatenate(self.kept) if self.kept else no_samples()
        times = samples["time_s"] - self.clock_offset_s
        inside: Samples = samples[(times >= from_s) & (times < to_s)]
        return inside

    def read_clocks(self) -> None:
        """Read both clocks, for the fit that maps events to gaze and for the windows of the checks."""
        pair = self.tracker.clocks()
        self.clock_offset_s = pair.tracker_s - (pair.before_s + pair.after_s) / 2
        self.record("clock", asdict(pair))

    def phase(self, name: str, until_s: float | None = None) -> None:
        """Tell the operator what goes on."""
        now_s = self.clock.now_s()
        self.status = replace(self.status, now_s=now_s, phase=name, left_s=None if until_s is None else until_s - now_s)

    def take_commands(self, *kinds: str) -> list[Command]:
        """The operator's commands of these kinds, which are then done with."""
        taken = [command for command in self.commands if command.kind in kinds]
        self.commands = [command for command in self.commands if command.kind not in kinds]
        return taken

    def begin_event(self, trial_type: str, onset_s: float, **values: Any) -> int:
        """Write down that something began; returns its number."""
        self.events_begun += 1
        self.open_events.append(self.events_begun)
        self.record("begin", {"id": self.events_begun, "trial_type": trial_type, **values}, onset_s)
        return self.events_begun

    def end_event(
        self, number: int, status: str, end_s: float | None = None, extra: dict[str, Any] | None = None
    ) -> None:
        """Write down that it ended, and how."""
        self.open_events.remove(number)
        self.record("end", {"id": number, "status": status, **(extra or {})}, end_s)

    def message(self, text: str, at_s: float | None = None) -> None:
        """A message for the tracker's own file and for the data set."""
        at_s = self.clock.now_s() if at_s is None else at_s
        self.tracker.message(text, at_s)
        self.record("message", {"text": text}, at_s)

    def record(self, kind: str, value: dict[str, Any], at_s: float | None = None) -> None:
        """Into the journal."""
        self.recorder.record(Record(self.clock.now_s() if at_s is None else at_s, kind, value))


def checked_answer(question: str, answer: str) -> str:
    """An answer of the form as it is kept: n/a where empty, ages above 89 as 89.

    Raises ValueError where it breaks the question's rule.

    >>> checked_answer("age", "93"), checked_answer("sex", "f"), checked_answer("group", " ")
    ('89', 'F', 'n/a')
    """
    answer = " ".join(answer.split())
    if not answer:
        return "n/a"
    if question == "age":
        if not answer.isdecimal() or not 1 <= int(answer) <= 120:
            raise ValueError(answer)
        return str(min(int(answer), OLDEST_AGE))
    if question == "sex":
        if answer.upper() not in ("F", "M", "O"):
            raise ValueError(answer)
        return answer.upper()
    return answer


def read_texts(language: str) -> dict[str, Any]:
    """The participants' texts in a language. Raises DataError where there are none."""
    path = Path(__file__).parent / "texts" / f"{language}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): install Beholder again.") from None
