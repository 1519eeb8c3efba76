"""The log of what happens in a session, written into its journal and into the tracker's own file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from beholder.experiment.devices import Display, Tracker
from beholder.experiment.recorder import Recorder
from beholder.shared.recording.records import Begin, End, Happening, MessageSent, Record


class EventLog:
    """Events as they begin and end, messages, and the frames that the display missed meanwhile.

    `open` are the numbers of the events under way, `begun` is how many have begun; `missed_frames` counts those of all
    dots and pictures until now.
    """

    def __init__(self, recorder: Recorder, tracker: Tracker, display: Display) -> None:
        self._recorder, self._tracker, self._display = recorder, tracker, display
        self.open: list[int] = []
        self.begun = self.missed_frames = 0
        # Of the dot or picture that stands: its event's number, and the frames missed, a late onset included.
        self._standing: tuple[int, int] = (0, 0)

    @property
    def missed_of_standing(self) -> int:
        """How many frames of the dot or picture that stands, or stood last, were missed."""
        return self._standing[1]

    def record(self, what: Happening, at_s: float | None = None) -> None:
        """Write what happened into the journal; `at_s` is a time of the session's clock, by default now."""
        self._recorder.record(Record(self._display.clock.now_s() if at_s is None else at_s, what))

    def begin(self, trial_type: str, onset_s: float, **values: Any) -> int:
        """Write down that something began; returns its number."""
        self.begun += 1
        self.open.append(self.begun)
        self.record(Begin(self.begun, trial_type, **values), onset_s)
        return self.begun

    def begin_shown(self, trial_type: str, onset_s: float, late: int, **values: Any) -> int:
        """Write down that a dot or picture is on the screen, `late` frames after its time; returns its number."""
        # Frames missed until now, its own flip included, do not count as missed while it stands.
        self._display.late_frames()
        self.missed_frames += late
        number = self.begin(trial_type, onset_s, **values, dropped_frames=late)
        self._standing = (number, late)
        return number

    def count_missed_frames(self) -> bool:
        """Add the frames missed since the last call to the dot or picture that stands; returns whether any were."""
        missed = self._display.late_frames()
        number, before = self._standing
        if not missed or number not in self.open:
            return False
        self._standing = number, before + missed
        self.missed_frames += missed
        return True

    def end(
        self,
        number: int,
        status: str,
        end_s: float | None = None,
        *,
        missed: int | None = None,
        rating: int | None = None,
    ) -> None:
        """Write down that an event ended, and how; missed frames of a dot or picture are counted unless given."""
        self.open.remove(number)
        standing, until_now = self._standing
        if number == standing and missed is None:
            missed = until_now + self._display.late_frames()
        self.record(End(number, status, missed, rating), end_s)

    def message(self, text: str, at_s: float | None = None) -> None:
        """Write a message into the tracker's own file and into the data set."""
        at_s = self._display.clock.now_s() if at_s is None else at_s
        self._tracker.message(text, at_s)
        self.record(MessageSent(text), at_s)

    def tell_viewer(self, messages: Iterable[str], at_s: float | None = None) -> None:
        """Write messages into the tracker's own file alone: the data set says the same in its tables."""
        at_s = self._display.clock.now_s() if at_s is None else at_s
        for text in messages:
            self._tracker.message(text, at_s)
