"""What participants are told and asked: texts, the form, ratings; and when an answer counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from beholder.experiment.devices import Key, Shape
from beholder.experiment.pages import (
    LONGEST_ANSWER,
    NOT_GIVEN,
    RATINGS,
    checked_answer,
    choice_screen,
    choices,
    pressed_button,
    rating_screen,
    read_texts,
    text_screen,
    typed_screen,
)
from beholder.experiment.session.attending import Attending
from beholder.experiment.session.desk import Desk
from beholder.experiment.session.ending import Refused
from beholder.experiment.session.log import EventLog
from beholder.shared.recording.records import FormAnswered

# A key pressed sooner after a screen's onset is no answer to it: nobody has seen the screen yet.
EARLY_S = 0.2
# The thanks stand until they are answered, for this long at most: nobody may be there any more.
CLOSING_TEXT_S = 30.0


class Questions:
    """Screens that are answered, by key or by click on a button."""

    def __init__(self, attending: Attending, desk: Desk, log: EventLog, language: str) -> None:
        self._attending, self._desk, self._log = attending, desk, log
        self._display, self._screen = attending.display, attending.display.screen
        self.texts = read_texts(language)
        self._scene: Sequence[Shape] = ()
        self._heard_from_s = 0.0

    def present(self, scene: Sequence[Shape]) -> float:
        """Show a screen that is to be answered; returns its onset. What was pressed before it was seen is dropped."""
        self._scene = scene
        self._attending.inputs.clear()
        onset_s = self._display.show(scene)
        self._heard_from_s = onset_s + EARLY_S
        return onset_s

    def pressed(self, anywhere: str | None = None) -> str | None:
        """The next key pressed, or key of the button clicked; a click elsewhere counts as the key `anywhere`."""
        inputs = self._attending.inputs
        while inputs:
            event = inputs.pop(0)
            if event.at_s < self._heard_from_s:
                continue
            if isinstance(event, Key):
                return "return" if event.name == "enter" else event.name
            if (key := pressed_button(self._scene, event.x_px, event.y_px) or anywhere) is not None:
                return key
        return None

    def wait_for(
        self, wanted: Collection[str] | None = None, anywhere: str | None = None, until_s: float = float("inf")
    ) -> str:
        """Wait for a key of `wanted` (any where None) and return it; others are dropped. Empty after `until_s`."""
        while True:
            while (key := self.pressed(anywhere)) is not None:
                if wanted is None or key in wanted:
                    return key
            now_s = self._attending.clock.now_s()
            if now_s >= until_s:
                return ""
            self._attending.wait_until(min(until_s, now_s + self._attending.timing.step_s), interrupting=False)

    def say(self, name: str, **values: Any) -> None:
        """Show a text until the space bar is pressed, or a click."""
        text = self.texts[name].format(**values)
        self.present(text_screen(self._screen, text, self.texts["buttons"]["continue"]))
        self._desk.phase(name)
        self.wait_for(("space",), anywhere="space")

    def take_leave(self, name: str) -> None:
        """Show the last text until any key or click, for `CLOSING_TEXT_S` at most."""
        shown_s = self.present(text_screen(self._screen, self.texts[name], self.texts["buttons"]["continue"]))
        self._desk.phase(name, until_s=shown_s + CLOSING_TEXT_S)
        self.wait_for(anywhere="space", until_s=shown_s + CLOSING_TEXT_S)

    def rate(self, of_trial: dict[str, Any]) -> int:
        """Ask how much the picture was liked; returns the answer, from 1 to 7."""
        shown_s = self.present(rating_screen(self._screen, self.texts["rating"]))
        event = self._log.begin("rating", shown_s, **of_trial)
        self._desk.phase("rating")
        rating = int(self.wait_for(RATINGS))
        self._log.end(event, "complete", rating=rating)
        self._display.show([])
        return rating

    def ask_form(self, form: Sequence[str], group: str) -> None:
        """Ask the study's form, one question a screen, consent first; raises Refused where that is not given.

        The participant is not asked for their `group`. Nothing is written down before the last answer is given: until
        then each can be gone back to.
        """
        self._desk.phase("form")
        # A stable sort: the others stay in the study's order.
        questions = sorted((question for question in form if question != "group"), key=lambda name: name != "consent")
        answers: dict[str, str] = {}
        at = 0
        while at < len(questions):
            question = questions[at]
            ask = self._choose if choices(question, self.texts) else self.typed
            answer = ask(question, answers.get(question, ""), at > 0)
            if answer is None:
                at -= 1
                continue
            answers[question] = answer
            if (question, answer) == ("consent", "no"):
                self.take_leave("refused")
                raise Refused("the participant did not consent: nothing was kept")
            at += 1
        if "group" in form:
            answers["group"] = group or NOT_GIVEN
        self._log.record(FormAnswered(answers))

    def typed(self, question: str, before: str, may_return: bool) -> str | None:
        """The answer typed or clicked, asked for again where it breaks the question's rule; None to go back."""
        answer, remark, seen = before.replace(NOT_GIVEN, ""), "", False
        digits = question == "age"
        while True:
            scene = typed_screen(
                self._screen, self.texts, self._asked(question), answer, remark, digits=digits, may_return=may_return
            )
            if seen:
                # The same question with a letter more: what was typed meanwhile counts.
                self._scene = scene
                self._display.show(scene)
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

    def _choose(self, question: str, before: str, may_return: bool) -> str | None:
        """The answer chosen by key or button; None to go back."""
        options = choices(question, self.texts)
        may_skip = question != "consent"
        self.present(
            choice_screen(
                self._screen,
                self.texts,
                self._asked(question),
                options,
                before,
                may_skip=may_skip,
                may_return=may_return,
            )
        )
        key = self.wait_for([*options, *["return"] * may_skip, *["up"] * may_return])
        if key == "up":
            return None
        return checked_answer(question, options[key][0] if key in options else "")

    def _asked(self, name: str) -> str:
        """The text of a question; its name where Beholder has no text for it."""
        asked: str = self.texts["form"].get(name, f"{name}:")
        return asked
