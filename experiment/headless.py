"""The lab without a lab: clock, display, participant and operator that run a whole session faster than real time.

The clock is virtual and jumps; the display keeps what it was told to show and tells its watcher; participant and
operator answer by themselves. They are used by `experiment.simulation` and by tests, through the same Protocols as the
real ones. Nothing here makes gaze: `experiment.observer` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from beholder.experiment.devices import (
    STANDING_OUT,
    Bitmap,
    Button,
    Clock,
    Dot,
    Key,
    Picture,
    Shape,
    Text,
    WindowEvent,
    standing_out_on,
)
from beholder.experiment.session.operator import Command, Status
from beholder.shared.screen import Screen
from beholder.shared.stimuli.pictures import open_picture

Watcher = Callable[[float, Sequence[Shape]], None]
# How long a simulated participant reads a text before answering, and takes for each further key.
READING_S, TYPING_S = 2.0, 0.2
# A simulated operator accepts a failed validation at this many tries.
TRIES = 3


class VirtualClock:
    """A clock that stands still until somebody sleeps."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> float:
        """Seconds since the clock was made."""
        return self._now_s

    def sleep_until_s(self, time_s: float) -> None:
        """Jump to `time_s`, unless it has passed."""
        self._now_s = max(self._now_s, time_s)


class Participant(Protocol):
    """Somebody in front of the screen."""

    def answer(self, onset_s: float, scene: Sequence[Shape]) -> Sequence[WindowEvent]:
        """The keys and clicks that answer a scene, at their times."""


class HeadlessDisplay:
    """A display that nobody sees: flips come at the frames of `refresh_hz` of its clock, by default a virtual one.

    `participant` answers what is shown; `watcher` is told of each scene and its onset; `events` come at their times.
    """

    def __init__(
        self,
        screen: Screen,
        refresh_hz: float,
        participant: Participant | None = None,
        watcher: Watcher = lambda onset_s, scene: None,
        events: Sequence[WindowEvent] = (),
        background: str = "#ffffff",
        clock: Clock | None = None,
    ) -> None:
        self.clock = VirtualClock() if clock is None else clock
        self.screen = screen
        self.closed = False
        self._refresh_hz = refresh_hz
        self._participant = participant
        self.watcher = watcher
        self._coming = sorted(events, key=lambda event: event.at_s)
        self._background = background
        self._scene: tuple[Shape, ...] = ()

    def show(self, scene: Sequence[Shape]) -> float:
        """Keep the scene; returns the time of the next frame, which it now is."""
        # A millionth of a frame is room for rounding, so that a sleep until a frame does not miss it.
        frame = ceil(self.clock.now_s() * self._refresh_hz - 1e-6)
        self.clock.sleep_until_s(frame / self._refresh_hz)
        onset_s = self.clock.now_s()
        self._scene = tuple(scene)
        self.watcher(onset_s, self._scene)
        if self._participant is not None:
            self._coming = sorted([*self._coming, *self._participant.answer(onset_s, scene)], key=lambda e: e.at_s)
        return onset_s

    def hold(self, until_s: float) -> None:
        """Sleep until `until_s`; nothing is drawn meanwhile."""
        self.clock.sleep_until_s(until_s)

    def late_frames(self) -> int:
        """Always 0: a virtual clock is never late."""
        return 0

    def events(self) -> list[WindowEvent]:
        """The events whose time has come since the last call."""
        due = [event for event in self._coming if event.at_s <= self.clock.now_s()]
        self._coming = self._coming[len(due) :]
        return due

    def pointer_px(self) -> tuple[float, float]:
        """The screen's centre: there is no pointer."""
        return self.screen.centre_px

    def capture(self) -> Image.Image:
        """The scene, drawn plainly."""
        image = Image.new("RGB", (self.screen.width_px, self.screen.height_px), self._background)
        draw = ImageDraw.Draw(image)
        for shape in self._scene:
            if isinstance(shape, Dot):
                for diameter_px, colour in ((shape.diameter_px, shape.colour), (shape.inner_px, self._background)):
                    if diameter_px > 0:
                        draw.circle((shape.x_px, shape.y_px), diameter_px / 2, fill=self._seen(colour))
            elif isinstance(shape, Picture):
                size = (round(shape.rect.width_px), round(shape.rect.height_px))
                image.paste(open_picture(shape.file).resize(size), (round(shape.rect.x_px), round(shape.rect.y_px)))
            elif isinstance(shape, Text):
                font = ImageFont.load_default(max(1.0, shape.height_px))
                draw.text((shape.x_px, shape.y_px), shape.text, self._seen(shape.colour), font, "mm", align="center")
            elif isinstance(shape, Bitmap):
                left, top = shape.x_px - shape.image.width / 2, shape.y_px - shape.image.height / 2
                image.paste(shape.image, (round(left), round(top)))
            else:
                self._draw_button(draw, shape)
        return image

    def _seen(self, colour: str) -> str:
        return standing_out_on(self._background) if colour == STANDING_OUT else colour

    @staticmethod
    def _draw_button(draw: ImageDraw.ImageDraw, button: Button) -> None:
        across_px, down_px = button.width_px / 2, button.height_px / 2
        corners = (button.x_px - across_px, button.y_px - down_px, button.x_px + across_px, button.y_px + down_px)
        draw.rectangle(corners, fill=button.colour)
        font = ImageFont.load_default(max(1.0, 0.45 * button.height_px))
        draw.text((button.x_px, button.y_px), button.text, button.text_colour, font, "mm")

    def close(self) -> None:
        """Note that the display was closed; there is nothing else to close."""
        self.closed = True


class ScriptedParticipant:
    """Answers texts: presses the keys that answer a question it knows, else the space bar.

    `answers` give the names of those keys, by the beginning of the text that asks.
    """

    def __init__(self, answers: Mapping[str, Callable[[], Sequence[str]]] | None = None) -> None:
        self._answers = dict(answers or {})
        self._busy_until_s = 0.0

    def answer(self, onset_s: float, scene: Sequence[Shape]) -> list[Key]:
        """The keys that answer a scene, at their times; none where the scene has no button, and so asks nothing."""
        if not any(isinstance(shape, Button) for shape in scene):
            return []
        # Without line breaks, which depend on the screen.
        texts = [" ".join(shape.text.split()) for shape in scene if isinstance(shape, Text)]
        # A question is drawn anew with each letter that is typed: it is being answered already.
        if not texts or onset_s < self._busy_until_s:
            return []
        asked = [(" ".join(question.split()), answer) for question, answer in self._answers.items()]
        answers = [answer for question, answer in asked if texts[0].startswith(question)]
        names = answers[0]() if answers else ["space"]
        keys = [Key(name, onset_s + READING_S + TYPING_S * i) for i, name in enumerate(names)]
        self._busy_until_s = keys[-1].at_s
        return keys


class ScriptedOperator:
    """An operator who accepts what passes, repeats what does not up to `TRIES` times, and follows proposals.

    After that many tries the validation is accepted all the same, and the override is kept under `name`. `commands_at`
    are given at their times of the session's clock.
    """

    def __init__(self, name: str = "simulation", commands_at: Sequence[tuple[float, Command]] = ()) -> None:
        self.name = name
        self.statuses: list[Status] = []
        self._coming = sorted(commands_at, key=lambda pair: pair[0])
        self._answers: list[Command] = []
        self._tries = 0
        self._followed = ""

    def show(self, status: Status) -> None:
        """Look at the session, and decide what to ask for."""
        self.statuses = [*self.statuses[-99:], status]
        self._answers += [command for at_s, command in self._coming if at_s <= status.now_s]
        self._coming = [(at_s, command) for at_s, command in self._coming if at_s > status.now_s]
        if status.asking is not None:
            self._tries += 1
            good = status.asking.passed or self._tries >= TRIES
            self._answers.append(Command("accept" if good else "repeat", by=self.name))
            self._tries = 0 if good else self._tries
        elif status.proposal != self._followed and "recalibrate" in status.offers:
            if status.proposal:
                self._answers.append(Command("recalibrate", by=self.name))
            self._followed = status.proposal

    def commands(self) -> list[Command]:
        """What was decided since the last call."""
        decided, self._answers = self._answers, []
        return decided
