"""What happens in a session, kind by kind, as the journal's log keeps it.

A record is a time of the session's clock and what happened then. In log.tsv it is a row: the time, the kind's name in
`KINDS`, and a JSON object with the fields of that kind's class. Times are in s, positions in px of the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from beholder.shared.gaze import Eye

# JSON tells whole numbers from others, and what is published shows which it was.
Number = int | float


@dataclass(frozen=True)
class Point:
    """A calibration or validation target: number (from 1) and position on the screen."""

    number: int
    x_px: Number
    y_px: Number


@dataclass(frozen=True)
class Begin:
    """Something began that becomes a row of events.tsv; `id` is its number in the session, from 1.

    `trial_type` and all that follows it are columns of that table; what does not apply is None.
    """

    id: int
    trial_type: str
    trial: int | None = None
    stim_file: str | None = None
    exposure: str | None = None
    picture_x_px: Number | None = None
    picture_y_px: Number | None = None
    picture_width_px: Number | None = None
    picture_height_px: Number | None = None
    dropped_frames: int | None = None


@dataclass(frozen=True)
class End:
    """The event with the number `id` ended: how, with its dropped frames and its rating where there are any."""

    id: int
    status: str
    dropped_frames: int | None = None
    rating: int | None = None


@dataclass(frozen=True)
class DriftChecked:
    """A drift check on the dot with the number `id`: gaze minus dot in degrees, rightwards, downwards and in length."""

    id: int
    drift_x_deg: Number
    drift_y_deg: Number
    drift_deg: Number


@dataclass(frozen=True)
class FormAnswered:
    """The participant's answers, by the names of the questions."""

    answers: Mapping[str, Any]


@dataclass(frozen=True)
class Calibrated:
    """The tracker calibrated itself: at which targets, the numbers of those that failed, and what it said."""

    success: bool
    points: tuple[Point, ...]
    failed: tuple[int, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Validated:
    """A validation and the operator's decision; `overridden_by` are the initials of who accepted one that failed.

    `eyes` are the figures of each eye as they go into the data set: `accuracy_deg`, `accuracy_worst_deg`, ...
    """

    begun_s: Number
    eyes: Mapping[Eye, Mapping[str, Any]]
    accepted: bool
    overridden_by: str | None


@dataclass(frozen=True)
class MessageSent:
    """A text that went into the tracker's own file as well."""

    text: str


@dataclass(frozen=True)
class OperatorTold:
    """What the operator was told; a fatal notice ends the session."""

    text: str
    fatal: bool = False


@dataclass(frozen=True)
class TrackerEvent:
    """An event that the tracker itself reports (blink, fixation, saccade, message), in the tracker's time.

    `eye` is None for both eyes; the position is the mean gaze during a fixation, px of the screen.
    """

    time_s: Number
    kind: str
    duration_s: Number | None = None
    text: str = ""
    eye: Eye | None = None
    x_px: Number | None = None
    y_px: Number | None = None


@dataclass(frozen=True)
class ClockReading:
    """The tracker's clock, its steps taken out, read between two readings of the session's clock.

    `step_s` is the clock's step since the previous reading, None where there was none.
    """

    before_s: Number
    tracker_s: Number
    after_s: Number
    step_s: Number | None = None


@dataclass(frozen=True)
class SystemReading:
    """The system's clock, read between two readings of the session's clock: seconds since its first reading, no date.

    `step_s` is the clock's step since the previous reading, None where there was none.
    """

    before_s: Number
    elapsed_s: Number
    after_s: Number
    step_s: Number | None = None


Happening = (
    Begin
    | End
    | DriftChecked
    | FormAnswered
    | Calibrated
    | Validated
    | MessageSent
    | OperatorTold
    | TrackerEvent
    | ClockReading
    | SystemReading
)

KINDS: dict[str, type[Happening]] = {
    "begin": Begin, "end": End, "drift": DriftChecked, "form": FormAnswered, "calibration": Calibrated,
    "validation": Validated, "message": MessageSent, "notice": OperatorTold, "tracker": TrackerEvent,
    "clock": ClockReading, "system_clock": SystemReading,
}  # fmt: skip
_KIND_OF = {of_kind: kind for kind, of_kind in KINDS.items()}


@dataclass(frozen=True)
class Record:
    """Something that happened, and when by the session's clock."""

    at_s: float
    what: Happening


def to_json(what: Happening) -> tuple[str, dict[str, Any]]:
    """The kind's name and the JSON object of what happened.

    >>> to_json(End(3, "complete", dropped_frames=0))
    ('end', {'id': 3, 'status': 'complete', 'dropped_frames': 0})
    """
    if isinstance(what, FormAnswered):
        value = dict(what.answers)
    elif isinstance(what, Begin | End | ClockReading | SystemReading):
        value = {name: field for name, field in vars(what).items() if field is not None}
    else:
        value = asdict(what)
    return _KIND_OF[type(what)], value


def from_json(kind: str, value: Mapping[str, Any]) -> Happening | None:
    """What happened, from a kind's name and a JSON object; None where no session writes such an object.

    >>> from_json("end", {"id": 3, "status": "complete"})
    End(id=3, status='complete', dropped_frames=None, rating=None)
    >>> from_json("end", {"id": "third"})
    """
    if kind not in KINDS:
        return None
    if kind == "form":
        return FormAnswered(value)
    try:
        return _reader_of(kind).validate_python(value)
    except ValidationError:
        return None


@cache
def _reader_of(kind: str) -> TypeAdapter[Happening]:
    return TypeAdapter(KINDS[kind])
