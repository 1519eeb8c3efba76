"""Which picture was shown when and where, from the messages of a recording, or else from its columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import numpy as np

from beholder.analysis.importing.vendor_recording import Message, VendorRecording
from beholder.shared.errors import DataError, Remark, StudyError
from beholder.shared.parsing import parse_number, shortened
from beholder.shared.screen import FARTHEST_PX, Rect
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study


@dataclass(frozen=True)
class ShownPicture:
    """One presentation of a picture: onset and end on the file's clock, and its place on the screen in px.

    `complete` is False where the recording ends before the picture does.
    """

    stimulus: Stimulus
    trial: int
    onset_s: float
    end_s: float
    complete: bool
    rect: Rect


@dataclass
class _Open:
    """A picture that a message named, or that is on the screen, with the onset if it is known.

    `place` has what the message's groups say of its place (place, x, y, width, height), None where they say nothing.
    """

    name: str
    message: Message
    place: Mapping[str, str | None]
    onset_s: float | None = None


class Presentations:
    """Finds what one recording showed, by the study's expressions, or by the file's own columns."""

    def __init__(
        self,
        recording: VendorRecording,
        study: Study,
        stimuli: Sequence[Stimulus],
        images: Path,
        screen_px: tuple[int, int],
        is_new: bool,
    ) -> None:
        self.recording, self.study, self.images, self.is_new = recording, study, images, is_new
        self.screen_px = screen_px
        self.by_name = {name.casefold(): s for s in stimuli for name in (s.name, s.file.name)}
        self.times = recording.samples["time_s"]
        self.shown: list[ShownPicture] = []
        self.unknown: dict[str, str] = {}  # names without a picture, and the first message or row that has them
        self.without_gaze = 0
        self.by_naming = 0
        self.numbers: list[int | None] = []  # of trials, as messages give them; None where a message gives none

    def found(self) -> tuple[tuple[ShownPicture, ...], list[Remark]]:
        """The presentations in order of onset, and remarks. Raises DataError where there is no presentation."""
        self._from_messages()
        if not self.shown:
            self._from_columns()
        if not self.shown:
            self._refuse()
        self._number_trials()
        return tuple(self.shown), self._remarks()

    def _from_messages(self) -> None:
        expressions = {
            kind: [re.compile(p) for p in getattr(self.study.messages, kind)]
            for kind in ("trial", "picture", "onset", "offset")
        }
        named: _Open | None = None
        on: _Open | None = None
        for message in self.recording.messages:
            said = {
                kind: match
                for kind, many in expressions.items()
                if (match := next((m for p in many if (m := p.search(message.says))), None))
            }
            if "trial" in said:
                # A picture without an offset ends where the next trial begins.
                self._end(on, named, message.at_s, True)
                number = said["trial"].groupdict().get("trial")
                self.numbers.append(int(number) if number and number.isdecimal() and len(number) < 10 else None)
                on = named = None
            if "picture" in said and "onset" not in said:
                self._end(None, named, message.at_s, True)
                named = _Open(said["picture"].groupdict().get("stim_file") or "", message, said["picture"].groupdict())
            if "onset" in said:
                groups = (said["picture"].groupdict() if "picture" in said else {}) | {
                    name: value for name, value in said["onset"].groupdict().items() if value is not None
                }
                name = groups.get("stim_file") or (named.name if named else "")
                if name:
                    self._end(on, None, message.at_s, True)
                    place = groups if groups.get("x") or groups.get("place") else named.place if named else {}
                    on, named = _Open(name, message, place, message.at_s), None
            elif "offset" in said:
                self._end(on, named, message.at_s, True)
                on = named = None
        self._end(on, named, float(self.times[-1]) + 1 / self.recording.rate_hz, False)

    def _end(self, on: _Open | None, named: _Open | None, end_s: float, told: bool) -> None:
        """End the picture that is on the screen; else one without an onset of its own, shown from when it was named."""
        if on is not None and on.onset_s is not None:
            self._add(on.name, on.onset_s, end_s, told, on.place, on.message.place)
        elif named is not None and self._recorded(named.message.at_s):
            self.by_naming += 1
            self._add(named.name, named.message.at_s, end_s, told, named.place, named.message.place)

    def _recorded(self, time_s: float) -> bool:
        """Whether the tracker was recording at a time: a sample lies within two sampling intervals of it."""
        near = int(np.searchsorted(self.times, time_s))
        around = self.times[max(0, near - 1) : near + 1]
        return bool(len(around) and np.abs(around - time_s).min() <= 2 / self.recording.rate_hz)

    def _from_columns(self) -> None:
        self.numbers = []
        for shown in self.recording.shown:
            self.numbers.append(None)
            self._add(shown.name, shown.onset_s, shown.end_s, True, {}, shown.place, shown.rect)

    def _add(
        self,
        name: str,
        onset_s: float,
        end_s: float,
        told: bool,
        place: Mapping[str, str | None],
        where: str,
        rect: Rect | None = None,
    ) -> None:
        stimulus = self._stimulus(name)
        if stimulus is None:
            self.unknown.setdefault(name, where)
            return
        later = self.recording.pauses_s[self.recording.pauses_s > onset_s]
        if len(later) and later[0] < end_s:
            # The tracker stopped: what was on the screen after that is not known.
            end_s, told = float(later[0]), True
        during = (self.times >= onset_s) & (self.times < end_s)
        if not during.any():
            self.without_gaze += 1
            return
        rect = rect or self._rect(stimulus, place, onset_s, where)
        self.shown.append(ShownPicture(stimulus, len(self.numbers), onset_s, end_s, told, rect))

    def _stimulus(self, name: str) -> Stimulus | None:
        """The picture of a name, given with or without folders and ending; None where there is none."""
        last = PureWindowsPath(name.strip().strip("\"'")).name.casefold()
        return self.by_name.get(last) or self.by_name.get(PureWindowsPath(last).stem)

    def _rect(self, stimulus: Stimulus, place: Mapping[str, str | None], onset_s: float, where: str) -> Rect:
        width_px, height_px = self.screen_px
        left_px, top_px = self.recording.origin_px
        try:
            x, y, width, height = (
                parse_number(v) if (v := place.get(side)) else None for side in ("x", "y", "width", "height")
            )
            if any(side is not None and not 1 <= side <= FARTHEST_PX for side in (width, height)):
                raise ValueError(f"{width} x {height} px is no picture's size")
            if any(side is not None and abs(side) > FARTHEST_PX for side in (x, y)):
                raise ValueError(f"({x}, {y}) is nowhere near the screen")
        except ValueError as error:
            raise DataError(
                f"{where}: the message should say in px where the picture stands, and {error}; mend the message, or "
                "[messages] in study.toml."
            ) from None
        if str(place.get("place")).upper() == "FILL":
            return Rect(0.0, 0.0, width_px, height_px)
        if x is not None and y is not None:
            width, height = width or stimulus.width_px, height or stimulus.height_px
            middle = str(place.get("place")).upper() == "CENTER"
            return Rect(
                x - left_px - (width / 2 if middle else 0), y - top_px - (height / 2 if middle else 0), width, height
            )
        for shown in self.recording.shown:
            if (
                shown.rect
                and self._stimulus(shown.name) is stimulus
                and shown.onset_s <= onset_s + 0.5 <= shown.end_s + 0.5
            ):
                return shown.rect
        return self._set_rect(stimulus, where)

    def _set_rect(self, stimulus: Stimulus, where: str) -> Rect:
        """Where a picture stood by the study's settings ([messages] place), as no message says it."""
        width_px, height_px = self.screen_px
        study, place = self.study, self.study.messages.place
        if place == "filled":
            return Rect(0.0, 0.0, width_px, height_px)
        if place == "centred":
            left, top = (width_px - stimulus.width_px) / 2, (height_px - stimulus.height_px) / 2
            return Rect(left, top, stimulus.width_px, stimulus.height_px)
        if place == "study" and study.screen is not None and study.pictures.size_deg is not None:
            return study.screen.screen().place(stimulus.width_px, stimulus.height_px, study.pictures.size_deg)
        if place == "study":
            raise StudyError(
                'study.toml: [messages] place = "study" needs [screen] and [pictures] size_deg; write them in.'
            )
        remedy = "--picture-place centred or filled" if self.is_new else 'place = "centred" or "filled" in [messages]'
        raise DataError(
            f"{where}: no message says where {stimulus.file.name} stood on the screen; say it with {remedy}."
        )

    def _number_trials(self) -> None:
        """Number trials as the messages do, if each has its own number from 1 on; else by counting them."""
        given = [number or 0 for number in self.numbers]
        own = given if given and len(set(given)) == len(given) and min(given) >= 1 else range(1, len(given) + 1)
        outside = any(picture.trial == 0 for picture in self.shown)
        ordered = sorted(self.shown, key=lambda picture: picture.onset_s)
        self.shown = [
            replace(picture, trial=count if outside else own[picture.trial - 1])
            for count, picture in enumerate(ordered, start=1)
        ]

    def _refuse(self) -> None:
        file = self.recording.file
        where_to = "[messages] of study.toml"
        if self.is_new:
            where_to = f"{where_to}, for which make the study before: beholder new STUDY --stimuli {self.images}"
        if self.unknown:
            name, where = next(iter(self.unknown.items()))
            raise DataError(
                f"{where}: {shortened(name)} was shown, and no picture in {self.images} is called that; add it, or "
                f"correct {where_to}."
            )
        if self.without_gaze:
            raise DataError(
                f"{file} has no gaze while a picture was shown: all {self.without_gaze} lie outside of the recording; "
                f"correct onset and offset in {where_to}."
            )
        said = [message for message in self.recording.messages if not message.text.startswith("!CAL")]
        last = ", ".join(dict.fromkeys(repr(message.says[:30]) for message in said[-5:])) or "none"
        raise DataError(
            f"{file} has no message that names a picture (of {len(said)} the last are {last}); write what names one, "
            f"and what its onset and offset, into {where_to}."
        )

    def _remarks(self) -> list[Remark]:
        about, remarks = self.recording.file.name, []
        if self.unknown:
            names = ", ".join(repr(name) for name in list(self.unknown)[:3])
            more = f" and {len(self.unknown) - 3} more" if len(self.unknown) > 3 else ""
            remarks.append(Remark(about, f"shown and not among the pictures, so left out: {names}{more}"))
        if self.without_gaze:
            remarks.append(
                Remark(about, f"{self.without_gaze} pictures were shown while nothing was recorded; left out")
            )
        if self.by_naming:
            remarks.append(
                Remark(
                    about,
                    f"{self.by_naming} pictures have no onset message: the time of the message "
                    "that names them is taken",
                )
            )
        cut = sum(not picture.complete for picture in self.shown)
        if cut:
            remarks.append(
                Remark(about, f"{cut} picture has no end: it is there until the file ends, and is not analysed")
            )
        repeats = len(self.shown) - len({picture.stimulus.name for picture in self.shown})
        if repeats:
            remarks.append(
                Remark(
                    about,
                    f"{repeats} presentations are of pictures seen before; they are marked repeat, and not analysed",
                )
            )
        return remarks
