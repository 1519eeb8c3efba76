"""Calibration and validation, repeated until the operator accepts: what is shown, asked and kept of them."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from beholder.experiment.calibration import (
    MEASURED_UNTIL_S,
    SETTLED_AFTER_S,
    VALIDATION_SHRINKS_S,
    PointGaze,
    PointQuality,
    Validation,
    animate_target,
    calibration_points,
    eye_quality,
    point_gaze,
    point_quality,
    validation_points,
)
from beholder.experiment.observer import generator
from beholder.experiment.pages import (
    NOT_GIVEN,
    calibration_picture,
    check_screen,
    check_size_px,
    text_screen,
    validation_picture,
)
from beholder.experiment.session.attending import AttendedDisplay
from beholder.experiment.session.operator import AT_THE_WINDOW, OF_AN_OUTCOME, CalibrationOutcome, Command
from beholder.experiment.session.parts import Parts
from beholder.shared.gaze import Eye
from beholder.shared.recording.records import Calibrated, Point, Validated

# The last samples of a measured interval arrive only this long after its end.
ARRIVAL_S = 0.1


class Calibrating:
    """The tracker's calibration and our own validation of it."""

    def __init__(self, parts: Parts) -> None:
        setup, self._attending = parts.setup, parts.attending
        study, plan = setup.study, setup.plan
        self._protocol, self._limits = study.protocol, study.limits
        self._tracker, self._eyes, self._rate_hz = setup.tracker, parts.info.eyes, parts.info.rate_hz
        self._gaze, self._questions, self._desk, self._log = parts.gaze, parts.questions, parts.desk, parts.log
        self._display, self._screen, self._clock = setup.display, setup.display.screen, setup.display.clock
        self._size_deg = parts.size_deg
        self._rng = generator(study.study.seed, f"{plan.participant} targets {plan.run}", "order")

    def run(self) -> None:
        """Calibrate and validate until the operator accepts a validation."""
        self.calibrate()
        again: tuple[int, ...] = ()
        measured: Validation | None = None
        while True:
            measured = self.validate(again, measured)
            numbers = sorted({point.number for eye in measured.eyes.values() for point in eye.points})
            picture = validation_picture(measured, self._screen, check_size_px(self._screen))
            self._attending.keep_file(f"validation-{self._log.begun}.png", _png(picture))
            answer = self.decide(measured, picture, numbers)
            accepted = answer.kind == "accept"
            override = answer.by if accepted and not measured.passed else None
            self._log.record(Validated(measured.begun_s, measured.figures, accepted, override))
            if accepted:
                return
            again = answer.points if answer.kind == "redo" else ()
            if answer.kind == "repeat":
                self.calibrate()
                measured = None

    def calibrate(self) -> None:
        """Have the tracker calibrate; where that fails, the operator decides whether to accept or repeat it."""
        points = calibration_points(self._screen, self._size_deg, self._protocol.calibration_points)
        self._gaze.stop()
        targets, before = points, None
        while True:
            self._desk.phase("calibration")
            event = self._log.begin("calibration", self._clock.now_s())
            self._attending.inputs.clear()
            self._attending.escape_is_the_trackers = self._tracker.escape_is_its_own
            try:
                done = self._tracker.calibrate(AttendedDisplay(self._attending), targets, before)
            finally:
                self._attending.escape_is_the_trackers = False
            self._log.end(event, "complete" if done.success else "aborted", self._display.show([]))
            if done.data:
                self._attending.keep_file(f"calibration-{event}.bin", done.data)
            self._log.record(Calibrated(done.success, done.points, done.failed, done.message))
            if done.success:
                break
            picture = calibration_picture(done, points, self._screen, check_size_px(self._screen))
            self._attending.keep_file(f"calibration-{event}.png", _png(picture))
            answer = self.decide(CalibrationOutcome(done), picture, [point.number for point in points])
            if answer.kind == "accept":
                break
            redo = answer.kind == "redo"
            targets = tuple(point for point in points if not redo or point.number in answer.points)
            before = done if redo else None
        self._gaze.start()
        self._desk.recording_ended = False

    def validate(self, only: tuple[int, ...] = (), before: Validation | None = None) -> Validation:
        """Show the targets in random order and measure gaze; with `only`, the other targets are kept from `before`."""
        points = validation_points(self._screen, self._size_deg, self._protocol.validation_points)
        self._desk.phase("validation")
        self._gaze.read_clocks()
        self._gaze.keep_from_now()
        begun_s = self._clock.now_s()
        event = self._log.begin("validation", begun_s)
        onsets = self._show_targets([point for point in points if not only or point.number in only])
        self._attending.wait_until(self._clock.now_s() + ARRIVAL_S, interrupting=False)
        self._log.end(event, "complete", self._display.show([]))
        kept = before if before is not None and only else Validation(begun_s, {})
        measured: dict[Eye, dict[int, PointQuality]] = {
            eye: {p.number: p for p in kept.eyes[eye].points} if eye in kept.eyes else {} for eye in self._eyes
        }
        gaze: dict[Eye, dict[int, PointGaze]] = {eye: dict(kept.gaze.get(eye, {})) for eye in self._eyes}
        for point, onset_s in onsets:
            samples = self._gaze.between(onset_s + SETTLED_AFTER_S, onset_s + MEASURED_UNTIL_S)
            for eye in self._eyes:
                measured[eye][point.number] = point_quality(samples, eye, point, self._screen, self._rate_hz)
                gaze[eye].pop(point.number, None)
                if (seen := point_gaze(samples, eye)) is not None:
                    gaze[eye][point.number] = seen
        eyes = {
            eye: eye_quality([of_eye[number] for number in sorted(of_eye)], self._limits)
            for eye, of_eye in measured.items()
        }
        return Validation(begun_s, eyes, gaze, self._limits)

    def decide(self, asking: Validation | CalibrationOutcome, picture: Image.Image, numbers: Sequence[int]) -> Command:
        """Wait for the operator's answer: at the terminal, or by key or click in the participant's window.

        The window shows the check only where the operator asks for it by a chord: it is not for the participant. A
        check that failed is accepted only under somebody's initials.
        """
        self._desk.phase(self._desk.status.phase, offers=OF_AN_OUTCOME)
        self._attending.check_wanted, shown = False, False
        waiting = text_screen(self._screen, self._questions.texts["pause"])
        self._questions.present(waiting)
        self._desk.update(asking=asking)
        answer: Command | None = None
        while answer is None:
            # Each pump shows the question once more: a console may have been closed and opened in between.
            self._attending.pump(interrupting=False)
            for command in self._desk.take_commands():
                if command.kind != "redo" or set(command.points) & {*numbers}:
                    answer = command
                    break
            else:
                if shown != self._attending.check_wanted:
                    shown = self._attending.check_wanted
                    check = check_screen(self._screen, picture, numbers, asking.passed) if shown else waiting
                    self._questions.present(check)
                key = self._questions.pressed()
                if shown and key == "a" and not asking.passed:
                    name = self._questions.typed("initials", "", may_return=True)
                    answer = Command("accept", by=name) if name not in (None, NOT_GIVEN) else None
                    shown = False
                elif shown:
                    answer = _decision(key, numbers)
            if answer is None:
                self._display.hold(self._clock.now_s() + self._attending.timing.step_s)
        self._attending.check_wanted = False
        self._desk.update(asking=None)
        self._desk.phase(self._desk.status.phase)
        self._display.show([])
        return answer

    def _show_targets(self, points: Sequence[Point]) -> list[tuple[Point, float]]:
        """Show targets one by one in random order; returns each with its onset."""
        onsets: list[tuple[Point, float]] = []
        for i in self._rng.permutation(len(points)):
            point = points[i]
            onset_s, _ = animate_target(AttendedDisplay(self._attending), point, VALIDATION_SHRINKS_S)
            self._log.message(f"VALIDATE {point.number} {point.x_px:.0f} {point.y_px:.0f}", onset_s)
            onsets.append((point, onset_s))
            self._attending.wait_until(onset_s + MEASURED_UNTIL_S, interrupting=False)
        return onsets


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
