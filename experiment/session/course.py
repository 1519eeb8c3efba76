"""The course of a session, from the form to the thanks: what is shown when, and what interrupts it.

form -> instructions -> calibration -> validation (until accepted) -> for each trial: dot, picture (, rating)
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Literal

from beholder.experiment.calibration import SETTLED_AFTER_S, drift
from beholder.experiment.data_viewer import cleared, picture_stands, trial_begins, trial_ends
from beholder.experiment.devices import Dot, Notice, Picture
from beholder.experiment.pages import text_screen
from beholder.experiment.plan import Trial, picture_rect
from beholder.experiment.session.calibrating import ARRIVAL_S, Calibrating
from beholder.experiment.session.ending import Interrupted, Stopped
from beholder.experiment.session.operator import IN_A_TRIAL, WHILE_WAITING, Kind
from beholder.experiment.session.parts import Parts
from beholder.shared.errors import TrackerError
from beholder.shared.recording.records import DriftChecked

DOT_COLOUR = "#e00000"


class Course:
    """A running session; `run` is its course, top to bottom, and `complete` whether all of it was recorded."""

    def __init__(self, parts: Parts, calibrating: Calibrating) -> None:
        setup = parts.setup
        self._study, self._plan, self._display = setup.study, setup.plan, setup.display
        self._clock, self._screen, self._rate_hz = setup.display.clock, setup.display.screen, parts.info.rate_hz
        self._log, self._desk, self._gaze = parts.log, parts.desk, parts.gaze
        self._attending, self._questions, self._calibrating = parts.attending, parts.questions, calibrating
        self.complete = False
        self._waiting: list[Trial] = list(setup.plan.trials)
        self._desk.pictures_left = len(self._waiting)
        self._picture_begun = False
        self._drifts_over = 0

    def run(self, ask_form: bool, group: str) -> None:
        """Run the session from the form to the thanks; `group` is the participant's, which the form does not ask."""
        self._gaze.read_system_clock()
        self._questions.say("welcome")
        if ask_form:
            self._questions.ask_form(self._study.protocol.form, group)
        self._questions.say("instructions", pictures=len(self._plan.trials))
        self._questions.say("calibration")
        self._calibrate()
        shown = 0
        while self._waiting:
            try:
                self._trial(self._waiting[0])
            except Interrupted as interrupted:
                self._broken_off(interrupted)
                continue
            self._done_with_first()
            shown += 1
            self._propose_recalibration()
            every = self._study.protocol.break_every
            if self._waiting and every and shown % every == 0:
                self._pause("break")
        self._attending.wait_until(self._clock.now_s() + ARRIVAL_S, interrupting=False)
        self._gaze.read_clocks()
        self._gaze.stop()
        self.complete = True
        # All is recorded: whoever leaves now has a complete session.
        with suppress(Stopped):
            self._questions.take_leave("end")

    def abort_open_events(self) -> None:
        """Write down that what was under way when the session ended was cut short."""
        for number in list(self._log.open):
            self._log.end(number, "aborted")
        if self._desk.in_trial:
            # A tracker that is lost hears nothing more, and that is known already.
            with suppress(TrackerError):
                self._log.tell_viewer(trial_ends("aborted", {}))

    def _broken_off(self, interrupted: Interrupted) -> None:
        """Go on where a trial was interrupted: it is left out, or waits to be shown again."""
        trial = self._waiting[0]
        self._desk.end_trial()
        if self._picture_begun:
            self._waiting[0] = replace(trial, exposure="repeat")
        if interrupted.kind == "skip":
            self._done_with_first()
            self._desk.tell(Notice(f"trial {trial.number} ({trial.stimulus.name}) is left out, as you asked"))
            return
        text = f"trial {trial.number} ({trial.stimulus.name}) is broken off and will be shown again"
        self._desk.tell(Notice(text))
        if interrupted.kind == "recalibrate":
            self._calibrate()
        else:
            self._pause(interrupted.kind)

    def _done_with_first(self) -> None:
        del self._waiting[0]
        self._desk.end_trial()
        self._desk.pictures_left = len(self._waiting)

    def _calibrate(self) -> None:
        self._calibrating.run()
        self._forget_drift()

    def _trial(self, trial: Trial) -> None:
        """Show a trial's dot and picture and ask for the rating; raises Interrupted where the trial is broken off."""
        protocol, stimulus = self._study.protocol, trial.stimulus
        self._picture_begun = self._attending.lateness_told = False
        self._desk.in_trial = True
        self._desk.update(trial=trial.number)
        self._log.message(f"TRIALID {trial.number}")
        rect = picture_rect(self._screen, stimulus, self._study.pictures)
        variables = {
            "participant": self._plan.participant, "run": self._plan.run, "trial": trial.number,
            "picture": stimulus.name, "kind": stimulus.kind, "exposure": trial.exposure,
        }  # fmt: skip
        self._log.tell_viewer(trial_begins(stimulus, rect, protocol.background, variables))
        self._gaze.read_clocks()
        try:
            status = self._dot_and_picture(trial, Picture(stimulus.file, rect))
        except Interrupted as interrupted:
            end_s = self._display.show([])
            skipped = interrupted.kind == "skip"
            for number in list(self._log.open):
                self._log.end(number, "aborted" if skipped else "repeated", end_s)
            self._log.tell_viewer(trial_ends("skipped" if skipped else "repeated", {}))
            raise
        measured = self._desk.status.last_drift
        found: dict[str, object] = {} if measured is None else {"drift_deg": measured.total_deg}
        if protocol.rating:
            found["rating"] = self._questions.rate({"trial": trial.number, "stim_file": stimulus.stim_file})
        self._log.tell_viewer(trial_ends(status, found))

    def _dot_and_picture(self, trial: Trial, picture: Picture) -> Literal["complete", "late"]:
        """Show a trial's dot and its picture, each for its time; returns whether the picture was late."""
        protocol, stimulus, rect = self._study.protocol, trial.stimulus, picture.rect
        x_px, y_px = self._screen.centre_px
        red_dot = Dot(x_px, y_px, protocol.dot_diameter_deg * self._screen.px_per_deg, DOT_COLOUR)
        self._gaze.keep_from_now()
        dot_s = self._display.show([red_dot])
        dot = self._log.begin_shown("dot", dot_s, 0, trial=trial.number)
        self._desk.phase("dot", until_s=dot_s + protocol.dot_s, offers=IN_A_TRIAL)
        self._attending.wait_for_frame(dot_s + protocol.dot_s)
        self._attending.count_missed_frames()
        missed = self._log.missed_of_standing
        onset_s = self._display.show([picture])
        self._picture_begun = True
        self._log.end(dot, "complete", onset_s, missed=missed)
        self._log.message(f"{stimulus.stim_file} onset", onset_s)
        self._log.tell_viewer([picture_stands(stimulus, rect)], onset_s)
        late = max(0, round((onset_s - dot_s - protocol.dot_s) * self._attending.timing.refresh_hz))  # whole frames
        event = self._log.begin_shown(
            "picture",
            onset_s,
            late,
            trial=trial.number,
            stim_file=stimulus.stim_file,
            exposure=trial.exposure,
            picture_x_px=rect.x_px,
            picture_y_px=rect.y_px,
            picture_width_px=rect.width_px,
            picture_height_px=rect.height_px,
        )
        # Drift is computed while the picture stands, so that this delays nothing.
        self._attending.wait_until(onset_s + min(ARRIVAL_S, protocol.picture_s))
        self._check_drift(dot, red_dot, dot_s, onset_s)
        self._desk.phase("picture", until_s=onset_s + protocol.picture_s, offers=IN_A_TRIAL)
        self._attending.wait_for_frame(onset_s + protocol.picture_s)
        end_s = self._display.show([])
        self._attending.count_missed_frames()
        status = self._punctuality(end_s - onset_s)
        self._log.end(event, status, end_s)
        self._log.message(f"{stimulus.stim_file} offset", end_s)
        self._log.tell_viewer([cleared(protocol.background)], end_s)
        self._gaze.read_clocks()
        return status

    def _punctuality(self, shown_s: float) -> Literal["complete", "late"]:
        """Whether the picture that has just ended was late; the operator is told of a late one."""
        limit_s, planned_s = self._study.limits.late_ms / 1000, self._study.protocol.picture_s
        missed = self._log.missed_of_standing
        missed_s = missed / self._attending.timing.refresh_hz
        if missed_s <= limit_s and abs(shown_s - planned_s) <= limit_s:
            return "complete"
        text = (
            f"trial {self._desk.status.trial} is late: its picture stood for {shown_s:.2f} s instead of {planned_s:g}, "
            f"with {missed} frames missed; the analysis leaves it out"
        )
        self._desk.tell(Notice(text))
        return "late"

    def _check_drift(self, event: int, dot: Dot, dot_s: float, end_s: float) -> None:
        """Check drift on a trial's dot; without a measure, the count of trials with too much drift stays as it is."""
        samples = self._gaze.between(dot_s + SETTLED_AFTER_S, end_s)
        found = drift(samples, self._screen, dot.x_px, dot.y_px, self._rate_hz)
        self._desk.update(last_drift=found)
        if found is None:
            return
        self._log.record(DriftChecked(event, found.x_deg, found.y_deg, found.total_deg))
        if found.total_deg > self._study.limits.drift_deg:
            self._drifts_over += 1
        else:
            self._forget_drift()

    def _forget_drift(self) -> None:
        """Begin to count trials with too much drift anew, and propose nothing."""
        self._drifts_over = 0
        self._desk.update(proposal="")

    def _propose_recalibration(self) -> None:
        """After too many trials in a row with too much drift, advise the operator to calibrate again.

        The advice stands until gaze is better; it is answered at any time, within a trial or in a pause.
        """
        limits = self._study.limits
        if self._drifts_over < limits.drift_trials:
            return
        proposal = f"{self._drifts_over} trials in a row drifted by more than {limits.drift_deg:g} degrees: recalibrate"
        self._desk.update(proposal=proposal)
        self._desk.phase(self._desk.status.phase, offers=("recalibrate",))
        self._attending.pump(interrupting=False)
        if self._desk.take_commands():
            self._calibrate()

    def _pause(self, kind: Literal["pause", "break", "ended"]) -> None:
        """Wait until the operator resumes or calibrates anew; a break ends by the participant's space bar or click too.

        `kind` is "ended" where the tracker was stopped at its own computer: then it has to record again first.
        """
        texts = self._questions.texts
        button = texts["buttons"]["continue"] if kind == "break" else ""
        text = texts["pause" if kind == "ended" else kind]
        shown_s = self._questions.present(text_screen(self._screen, text, button))
        event = self._log.begin("pause", shown_s)
        self._desk.phase("pause" if kind == "ended" else kind, offers=WHILE_WAITING)
        if kind == "ended":
            self._gaze.stop()
            self._desk.update(proposal="the tracker was stopped at its own computer: recalibrate")
        asked: Kind | None = None
        while asked is None:
            self._attending.wait_a_step()
            pressed = self._questions.pressed(anywhere="space")
            if commands := self._desk.take_commands():
                asked = commands[0].kind
            elif kind == "break" and pressed == "space":
                asked = "resume"
            if kind == "ended" and asked == "resume" and not self._records_again():
                asked = None
        self._log.end(event, "complete", self._display.show([]))
        if asked == "recalibrate":
            self._calibrate()

    def _records_again(self) -> bool:
        """Have a tracker that was stopped at its own computer record; False where it does not yet, which is told."""
        try:
            self._gaze.start()
        except TrackerError as error:
            self._desk.tell(Notice(str(error)))
            return False
        self._desk.recording_ended = False
        self._desk.update(proposal="")
        return True
