"""What the operator is shown, what they may ask for, and the Protocol between them and a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from beholder.experiment.calibration import Drift, Validation
from beholder.experiment.devices import Calibration

AT_THE_WINDOW = "participant's window"
# Keys of the operator's in the participant's window, with Ctrl and Shift.
CHORDS: Mapping[str, Kind] = {"p": "pause", "c": "recalibrate", "k": "skip"}
SHOW_CHECK = "v"

Kind = Literal["pause", "resume", "recalibrate", "skip", "stop", "accept", "repeat", "redo"]
# What the operator may ask for while a trial is under way, while the session waits, and about an outcome.
IN_A_TRIAL: tuple[Kind, ...] = ("pause", "recalibrate", "skip")
WHILE_WAITING: tuple[Kind, ...] = ("resume", "recalibrate")
OF_AN_OUTCOME: tuple[Kind, ...] = ("accept", "repeat", "redo")


@dataclass(frozen=True)
class Status:
    """What the operator sees: where the session is and how well the eyes are tracked.

    `left_s` is the time left in the phase, `session_left_s` that of all dots and pictures to come. `asking` is a
    calibration's or validation's outcome that waits for accept, repeat or redo; `proposal` a sentence that advises a
    recalibration; `notices` what must be known at once, each told once. `heading` says who is recorded with what.
    `offers` are the commands that are heeded now, besides stop; `moment` counts the times that these changed or a trial
    began. `missed_frames` are those of all dots and pictures until now.
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

    `moment` is that of the status for which it was given: at any other it is refused. Without one it is for any moment.
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
