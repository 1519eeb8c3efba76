"""What stands on the participant's screen besides targets and pictures: texts, questions, buttons, and checks.

Pure functions that compose shapes or draw an image; `experiment.session` shows them and waits for the answers. Sizes
are in degrees of visual angle, smaller where the screen would not hold them. Texts come from `experiment/texts` in the
study's language; the check of a calibration or validation is for the operator, in the program's language.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from beholder.experiment.calibration import EyeQuality, PointGaze, PointQuality, Validation
from beholder.experiment.devices import DARK, Bitmap, Button, Calibration, Shape, Text
from beholder.shared.dataset.participants import OLDEST_AGE
from beholder.shared.errors import DataError
from beholder.shared.gaze import Eye
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.study import LimitSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The layouts below are made for a screen of this size; on a smaller one everything shrinks alike.
WIDTH_DEG, HEIGHT_DEG = 40.0, 24.0
TEXT_DEG, LINE_DEG, BUTTON_DEG, GAP_DEG = 0.8, 1.25, 1.7, 0.4
# The width of an average letter, as a share of its height.
LETTER_WIDTH = 0.55
LONGEST_LINE, LONGEST_ANSWER = 62, 40
CHOSEN_COLOUR = "#a8c8e8"
# The answers to choose from, as they are kept; the texts give their keys and labels in the same order.
CHOICES = {
    "consent": ("yes", "no"),
    "sex": ("F", "M", "O"),
    "vision": ("none", "glasses", "contact lenses", "other"),
}
RATINGS = tuple("1234567")
# What is kept of a question that was not answered, as BIDS has it.
NOT_GIVEN = "n/a"

# Okabe and Ito's colours, which the colour-blind tell apart; eyes differ in their marks as well, verdicts in words.
EYE_COLOURS: dict[Eye, str] = {"left": "#0072b2", "right": "#e69f00"}
PASSED_COLOUR, FAILED_COLOUR = "#009e73", "#d55e00"
INK, FAINT = DARK, "#b0b0b0"
NO_DATA = "no data"


# ---------------------------------------------------------------------------------------------- texts and answers


def read_texts(language: str) -> dict[str, Any]:
    """The participants' texts in a language. Raises DataError where they cannot be read."""
    path = Path(__file__).parent / "texts" / f"{language}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): install Beholder again.") from None


def checked_answer(question: str, answer: str) -> str:
    """An answer of the form as it is kept: n/a where empty, ages above 89 as 89.

    Raises ValueError where it breaks the question's rule; consent cannot be left out.

    >>> checked_answer("age", "93"), checked_answer("sex", "f"), checked_answer("hand", " ")
    ('89', 'F', 'n/a')
    """
    answer = " ".join(answer.split())
    if not answer and question != "consent":
        return NOT_GIVEN
    if question == "age":
        if not answer.isdecimal() or not 1 <= int(answer) <= 120:
            raise ValueError(answer)
        return str(min(int(answer), OLDEST_AGE))
    if question in CHOICES:
        known = {value.lower(): value for value in CHOICES[question]}
        if answer.lower() not in known:
            raise ValueError(answer)
        return known[answer.lower()]
    return answer


def choices(question: str, texts: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The answers to choose from, by key: each as it is kept, and its label; none where the answer is typed."""
    if question not in CHOICES:
        return {}
    named = texts["choices"][question]
    values = zip(CHOICES[question], named["labels"], strict=True)
    return dict(zip(named["keys"], values, strict=True))


# ------------------------------------------------------------------------------------------------ composing shapes


def degree_px(screen: Screen) -> float:
    """Px of one degree of the layouts: the screen's own, or fewer where the screen is smaller than the layouts."""
    return min(screen.px_per_deg, screen.width_px / WIDTH_DEG, screen.height_px / HEIGHT_DEG)


def wrapped(text: str, letters: int = LONGEST_LINE) -> str:
    """Text in about equally long lines of at most `letters` letters; its own line breaks stay.

    >>> wrapped("one two three four\\n\\nfive", 15)
    'one two\\nthree four\\n\\nfive'
    """
    return "\n".join("\n".join(_balanced(paragraph, letters)) for paragraph in text.split("\n"))


def _balanced(paragraph: str, letters: int) -> list[str]:
    """A paragraph in as few lines as possible, and these as short as possible: no word stands alone on the last."""
    found = textwrap.wrap(paragraph, letters)
    while letters > 1 and len(narrower := textwrap.wrap(paragraph, letters - 1)) == len(found):
        letters -= 1
        found = narrower
    return found


def lines(screen: Screen, text: str, y_deg: float = 0.0, height_deg: float = HEIGHT_DEG) -> Text:
    """Wrapped text, centred `y_deg` below the middle; smaller letters where it would be higher than `height_deg`."""
    text = wrapped(text)
    scale = min(1.0, height_deg / (LINE_DEG * (text.count("\n") + 1)))
    x_px, y_px = screen.centre_px
    return Text(text, x_px, y_px + y_deg * degree_px(screen), scale * TEXT_DEG * degree_px(screen))


def row(screen: Screen, keys: Sequence[tuple[str, str]], y_deg: float, width_deg: float = 0.0) -> list[Button]:
    """Buttons side by side, centred, of (key, label); each as wide as its label, at least `width_deg`."""
    unit_px = degree_px(screen)
    widths = [max(width_deg, _label_deg(label)) for _, label in keys]
    left_deg = -(sum(widths) + GAP_DEG * (len(widths) - 1)) / 2
    x_px, y_px = screen.centre_px
    buttons = []
    for (key, label), wide in zip(keys, widths, strict=True):
        middle_px = x_px + (left_deg + wide / 2) * unit_px
        buttons.append(Button(label, key, middle_px, y_px + y_deg * unit_px, wide * unit_px, BUTTON_DEG * unit_px))
        left_deg += wide + GAP_DEG
    return buttons


def _label_deg(label: str) -> float:
    return max(BUTTON_DEG, len(label) * LETTER_WIDTH * TEXT_DEG + 1.2)


def pressed_button(scene: Sequence[Shape], x_px: float, y_px: float) -> str | None:
    """The key of the button at a place; None where there is none."""
    for shape in scene:
        if isinstance(shape, Button) and shape.holds(x_px, y_px):
            return shape.key
    return None


def text_screen(screen: Screen, text: str, button: str = "") -> list[Shape]:
    """A text and, where `button` labels one, a button for the space bar."""
    shapes: list[Shape] = [lines(screen, text, -1.5, 16.0)]
    return shapes + (row(screen, [("space", button)], 9.0) if button else [])


def rating_screen(screen: Screen, text: str) -> list[Shape]:
    """The question how much a picture was liked, and its seven answers."""
    return [lines(screen, text, -3.0, 12.0), *row(screen, [(key, key) for key in RATINGS], 4.0, 2.4)]


def choice_screen(
    screen: Screen,
    texts: Mapping[str, Any],
    question: str,
    options: Mapping[str, tuple[str, str]],
    chosen: str = "",
    *,
    may_skip: bool = True,
    may_return: bool = False,
) -> list[Shape]:
    """A question with answers to choose from: few short ones side by side, others below each other."""
    labels = [(key, f"{label}  ({key.upper()})") for key, (_, label) in options.items()]
    shapes: list[Shape] = [lines(screen, question, -8.5, 5.5)]
    beside = len(labels) <= 3
    if beside:
        buttons = row(screen, labels, 0.0, 6.0)
    else:
        widest = max(_label_deg(label) for _, label in labels)
        pitch = min(BUTTON_DEG + GAP_DEG, 13.0 / len(labels))
        buttons = [row(screen, [one], -4.5 + pitch * i, widest)[0] for i, one in enumerate(labels)]
        high_px = min(BUTTON_DEG, 0.9 * pitch) * degree_px(screen)
        buttons = [replace(button, height_px=high_px) for button in buttons]
    values = [value for value, _ in options.values()]
    buttons = [
        replace(button, colour=CHOSEN_COLOUR) if value == chosen else button
        for button, value in zip(buttons, values, strict=True)
    ]
    return [*shapes, *buttons, *_below(screen, texts, may_skip, may_return)]


def _below(screen: Screen, texts: Mapping[str, Any], may_skip: bool, may_return: bool) -> list[Shape]:
    names = texts["buttons"]
    keys = [("up", names["back"])] * may_return + [("return", names["none"])] * may_skip
    hint = lines(screen, texts["hint_choice"], 9.0, LINE_DEG)
    return [hint, *row(screen, keys, 10.8)]


def typed_screen(
    screen: Screen, texts: Mapping[str, Any], question: str, answer: str, remark: str, *, digits: bool, may_return: bool
) -> list[Shape]:
    """A question whose answer is typed, or clicked letter by letter; digits alone where it is a number."""
    names = texts["buttons"]
    board = [letters for letters in texts["board"] if not digits or letters.isdigit()]
    shapes: list[Shape] = [lines(screen, question, -8.0, 5.0), lines(screen, answer + "_", -4.0)]
    shapes.append(lines(screen, remark or texts["hint_typed"], -1.5, 2 * LINE_DEG))
    y_deg = 1.0
    for letters in board:
        shapes += row(screen, [(letter, letter) for letter in letters], y_deg)
        y_deg += BUTTON_DEG + 0.2
    keys = [("up", names["back"])] * may_return + [("space", names["space"])] * (not digits)
    return [*shapes, *row(screen, [*keys, ("backspace", names["delete"]), ("return", names["ok"])], y_deg + 0.4)]


# --------------------------------------------------------------------------------------------- the operator's check


def check_screen(screen: Screen, image: Image.Image, numbers: Sequence[int], passed: bool) -> list[Shape]:
    """The picture of a check, and buttons: accept (a), repeat all (r), redo single targets (their digits).

    It is for the operator: the participant must not see it.
    """
    x_px, y_px = screen.centre_px
    keys = [("a", "Accept (A)" if passed else "Accept all the same, with initials (A)"), ("r", "Repeat all (R)")]
    redo = [(str(number), f"Redo {number}") for number in numbers]
    picture = Bitmap(image, x_px, y_px - 2.2 * degree_px(screen))
    return [picture, *row(screen, keys, 8.3), *row(screen, redo, 10.4, 2.4)]


def check_size_px(screen: Screen) -> tuple[int, int]:
    """Width and height in px of a check's picture."""
    return round(36 * degree_px(screen)), round(18.6 * degree_px(screen))


def validation_picture(validation: Validation, screen: Screen, size_px: tuple[int, int]) -> Image.Image:
    """Targets and gaze on the left, the figures of each eye beside the limits on the right, the verdict above.

    Gaze on a target is a cloud of samples, its mean a mark (left eye a ring, right eye a square) that a line joins to
    the target: the line is the error, whose figure stands below. The grey ring is the limit of a single target.
    """
    limits = validation.limits
    drawing = _Drawing(size_px)
    drawing.verdict("Validation", validation.passed, [eye for eye, q in validation.eyes.items() if not q.passed])
    points = next(iter(validation.eyes.values())).points if validation.eyes else ()
    drawing.place(screen, [(p.x_px, p.y_px) for p in points])
    for point in points:
        drawing.target(Point(point.number, point.x_px, point.y_px), limits.accuracy_worst_deg)
    for eye, quality in validation.eyes.items():
        for of_point in quality.points:
            gaze = validation.gaze.get(eye, {}).get(of_point.number)
            drawing.gaze(eye, of_point, gaze, limits.accuracy_worst_deg)
    drawing.table(validation.eyes, limits)
    return drawing.image


def calibration_picture(
    calibration: Calibration, points: Sequence[Point], screen: Screen, size_px: tuple[int, int]
) -> Image.Image:
    """The targets of a calibration, those that gave no data crossed out, and what the tracker said of it."""
    drawing = _Drawing(size_px)
    drawing.verdict("Calibration", calibration.success, [])
    drawing.place(screen, [(p.x_px, p.y_px) for p in points])
    for point in points:
        drawing.target(point, 0.0, crossed=point.number in calibration.failed)
    numbers = ", ".join(map(str, sorted(calibration.failed))) or "none"
    drawing.remarks([f"Targets without usable gaze: {numbers}", calibration.message])
    return drawing.image


class _Drawing:
    """A sheet with a map of targets on its left and words on its right; positions come in px of the screen."""

    def __init__(self, size_px: tuple[int, int]) -> None:
        self.image = Image.new("RGB", size_px, "#ffffff")
        self._draw = ImageDraw.Draw(self.image)
        self._letter = max(9, round(size_px[1] / 27))
        self._font = ImageFont.load_default(self._letter)
        self._small = ImageFont.load_default(0.75 * self._letter)
        self._large = ImageFont.load_default(round(1.5 * self._letter))
        top = 3 * self._letter
        self._map = (self._letter, top, round(0.52 * size_px[0]), size_px[1] - self._letter)
        self._words_x = self._map[2] + 2 * self._letter
        self._draw.rectangle((0, 0, size_px[0] - 1, size_px[1] - 1), outline=FAINT)
        self._draw.rectangle(self._map, outline=FAINT)

    def verdict(self, what: str, passed: bool, failed: Sequence[str]) -> None:
        words = f"{what} passed" if passed else f"{what} FAILED"
        if failed:
            words += " (" + " and ".join(f"{eye} eye" for eye in failed) + ")"
        colour = PASSED_COLOUR if passed else FAILED_COLOUR
        self._draw.text((self._letter, self._letter / 2), words, colour, self._large)

    def place(self, screen: Screen, targets: Sequence[tuple[float, float]]) -> None:
        """Have the map hold the targets and 2 degrees around them."""
        self._screen, self._px_per_deg = screen, screen.px_per_deg
        places = np.array(targets or [screen.centre_px])
        low, high = places.min(axis=0) - 2 * self._px_per_deg, places.max(axis=0) + 2 * self._px_per_deg
        left, top, right, bottom = self._map
        self._scale = float(min((right - left) / (high[0] - low[0]), (bottom - top) / (high[1] - low[1])))
        self._middle = (low + high) / 2

    def _at(self, x_px: float, y_px: float) -> tuple[float, float]:
        left, top, right, bottom = self._map
        x = (left + right) / 2 + (x_px - self._middle[0]) * self._scale
        y = (top + bottom) / 2 + (y_px - self._middle[1]) * self._scale
        # Gaze far off is shown at the map's edge.
        return float(np.clip(x, left + 2, right - 2)), float(np.clip(y, top + 2, bottom - 2))

    def target(self, point: Point, limit_deg: float, crossed: bool = False) -> None:
        x, y = self._at(point.x_px, point.y_px)
        degree = self._px_per_deg * self._scale
        if limit_deg:
            self._draw.circle((x, y), limit_deg * degree, outline=FAINT)
        r = 0.25 * self._letter
        self._draw.circle((x, y), r, fill=INK)
        if crossed:
            for sign in (-1, 1):
                ends = (x - 2 * r, y - sign * 2 * r, x + 2 * r, y + sign * 2 * r)
                self._draw.line(ends, FAILED_COLOUR, max(2, round(r / 2)))
        # The number stands outside the ring, where only bad gaze would cover it.
        away = max(1.3 * self._letter, 0.85 * limit_deg * degree)
        self._draw.text((x - away, y - away), str(point.number), INK, self._font, "mm")

    def gaze(self, eye: Eye, point: PointQuality, gaze: PointGaze | None, limit_deg: float) -> None:
        target_x, target_y = self._at(point.x_px, point.y_px)
        below, anchor = (target_x - self._letter / 2, "ra") if eye == "left" else (target_x + self._letter / 2, "la")
        within = point.accuracy_deg is not None and point.accuracy_deg <= limit_deg
        colour = INK if within else FAILED_COLOUR
        self._draw.text((below, target_y + self._letter), figure(point.accuracy_deg), colour, self._small, anchor)
        if gaze is None or point.offset_x_deg is None or point.offset_y_deg is None:
            return
        for x_px, y_px in gaze.cloud_px:
            x, y = self._at(float(x_px), float(y_px))
            self._draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=EYE_COLOURS[eye])
        x_deg, y_deg = self._screen.to_degrees(np.array(point.x_px), np.array(point.y_px))
        mean_px = self._screen.to_px(x_deg + point.offset_x_deg, y_deg + point.offset_y_deg)
        x, y = self._at(*(float(px) for px in mean_px))
        self._draw.line((target_x, target_y, x, y), INK, 2)
        self._mark(eye, x, y)

    def table(self, eyes: Mapping[Eye, EyeQuality], limits: LimitSettings) -> None:
        rows: list[tuple[str, str, float | None]] = [
            ("mean error (deg)", "accuracy_deg", limits.accuracy_mean_deg),
            ("worst target (deg)", "accuracy_worst_deg", limits.accuracy_worst_deg),
            ("RMS-S2S (deg)", "rms_s2s_deg", None),
            ("SD (deg)", "sd_deg", None),
            ("lost samples (%)", "loss_percent", limits.loss_percent),
            ("effective rate (Hz)", "effective_hz", None),
        ]
        y, pitch = float(self._map[1] + self._letter), 2.0 * self._letter
        columns = [self._words_x + (11 + 5 * i) * self._letter for i in range(3)]
        for x, eye in zip(columns, eyes, strict=False):
            self._mark(eye, x - 1.9 * self._letter, y)
            self._draw.text((x + 1.5 * self._letter, y), eye, EYE_COLOURS[eye], self._font, "rm")
        self._draw.text((columns[2] + 1.5 * self._letter, y), "limit", INK, self._font, "rm")
        for name, field, limit in rows:
            y += pitch
            self._draw.text((self._words_x, y), name, INK, self._font, "lm")
            for x, quality in zip(columns, eyes.values(), strict=False):
                value: float | None = getattr(quality, field)
                within = value is not None and (limit is None or value <= limit)
                colour = INK if within else FAILED_COLOUR
                self._draw.text((x + 1.5 * self._letter, y), figure(value), colour, self._font, "rm")
            if limit is not None:
                self._draw.text((columns[2] + 1.5 * self._letter, y), f"{limit:g}", INK, self._font, "rm")
        y += pitch
        for x, quality in zip(columns, eyes.values(), strict=False):
            words, colour = ("passed", PASSED_COLOUR) if quality.passed else ("FAILED", FAILED_COLOUR)
            self._draw.text((x + 1.5 * self._letter, y), words, colour, self._font, "rm")

    def _mark(self, eye: Eye, x: float, y: float) -> None:
        r = 0.4 * self._letter
        draw = self._draw.ellipse if eye == "left" else self._draw.rectangle
        draw((x - r, y - r, x + r, y + r), outline=EYE_COLOURS[eye], width=max(2, round(r / 3)))

    def remarks(self, texts: Sequence[str]) -> None:
        letters = int((self.image.width - self._words_x) / (LETTER_WIDTH * self._letter))
        text = "\n\n".join(wrapped(text, letters) for text in texts if text)
        self._draw.text((self._words_x, self._map[1] + self._letter), text, INK, self._font)


def figure(value: float | None) -> str:
    """A figure as the check shows it; "no data" where there is none.

    >>> figure(0.456), figure(None)
    ('0.46', 'no data')
    """
    return NO_DATA if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"
