"""Claims of `experiment.session`: the protocol is kept to the frame, and every way out leads through the same door."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from beholder.experiment.console import Keyboard
from beholder.experiment.devices import (
    Batch,
    Bitmap,
    Button,
    Calibration,
    Click,
    ClockPair,
    Closed,
    Dot,
    Key,
    Notice,
    Picture,
    Shape,
    Text,
    WindowEvent,
)
from beholder.experiment.headless import ScriptedOperator
from beholder.experiment.pages import (
    CHOICES,
    check_screen,
    check_size_px,
    checked_answer,
    choice_screen,
    choices,
    rating_screen,
    read_texts,
    text_screen,
    typed_screen,
)
from beholder.experiment.plan import plan_from_disk
from beholder.experiment.recorder import Recorder
from beholder.experiment.session.ending import Outcome
from beholder.experiment.session.operator import OF_AN_OUTCOME, CalibrationOutcome, Command, Status
from beholder.experiment.session.parts import Pace
from beholder.experiment.session.run_session import run_session
from beholder.experiment.simulation import SimulatedSession
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import Recording, read_recording, runs
from beholder.shared.errors import DataError, StudyError, TrackerError
from beholder.shared.gaze import no_samples
from beholder.shared.recording.journal import journals
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.tables import read_events

MakeStudy = Callable[..., Path]
Prepare = Callable[..., SimulatedSession]
Valid = Callable[[Path], None]


def events_of(folder: Path, run: int = 1) -> pd.DataFrame:
    (found,) = (r for r in runs(folder, with_gaze=False) if r.run == run)
    return read_events(found.events_file)


def pictures_of(folder: Path, run: int = 1) -> list[tuple[int, str, str]]:
    shown = events_of(folder, run).query("trial_type == 'picture'")
    return list(zip(shown["trial"], shown["status"], shown["exposure"], strict=True))


class Watch:
    """When each kind of scene was first shown, on the session's clock."""

    def __init__(self, session: SimulatedSession) -> None:
        self.onsets: list[tuple[str, float]] = []
        inner = session.display.watcher

        def watcher(onset_s: float, scene: Sequence[Shape]) -> None:
            self.onsets.append((type(scene[0]).__name__ if scene else "blank", onset_s))
            inner(onset_s, scene)

        session.display.watcher = watcher

    def of(self, kind: str) -> list[float]:
        return [onset_s for name, onset_s in self.onsets if name == kind]


def notices_of(folder: Path) -> list[tuple[float, str]]:
    """Onset on the tracker's clock and text of each notice that was recorded."""
    packed = next((folder / "sub-01" / "beh").glob("*eye1_physioevents.tsv.gz")).read_bytes()
    rows = [line.split("\t") for line in gzip.decompress(packed).decode().splitlines()]
    return [(float(row[0]), row[3]) for row in rows if row[2] == "notice"]


def live(session: SimulatedSession, system_time: Callable[[], float] | None = None, **more: Any) -> Outcome:
    """Run a session as a lab does, on its virtual clock."""
    return run_session(session, Pace(pump_every_s=0.05, system_time=system_time), **more)


class SilentOperator(ScriptedOperator):
    """One who watches, and never answers."""

    def show(self, status: Status) -> None:
        self.statuses.append(status)


class Sitter:
    """Answers each screen by the answers' keys, one a scene, by key or by clicking that key's button.

    `answers` are by the beginning of the question; other texts get the space bar. Where the operator is to decide, the
    chord for the check is pressed, and the check gets "a".
    """

    def __init__(self, how: str, answers: dict[str, list[str]], delay_s: float = 1.0) -> None:
        self._how, self._delay_s = how, delay_s
        self._answers = {question: list(keys) for question, keys in answers.items()}
        self.seen: list[str] = []
        self.scenes: list[Sequence[Shape]] = []

    def answer(self, onset_s: float, scene: Sequence[Shape]) -> list[WindowEvent]:
        texts = [" ".join(shape.text.split()) for shape in scene if isinstance(shape, Text)]
        if not texts and not any(isinstance(shape, Bitmap) for shape in scene):
            return []
        self.scenes.append(scene)
        assert len(self.scenes) < 200, "the session does not get on"
        self.seen.append(texts[0] if texts else "check")
        asked = [keys for question, keys in self._answers.items() if self.seen[-1].startswith(question)]
        key = asked[0].pop(0) if asked and asked[0] else "a" if not texts else "space"
        at_s = onset_s + self._delay_s
        if self.seen[-1].startswith("A short pause"):
            return [Key("v", at_s, chord=True)]
        if self._how == "key":
            return [Key(key, at_s)]
        (button,) = (shape for shape in scene if isinstance(shape, Button) and shape.key == key)
        return [Click(button.x_px + 0.4 * button.width_px, button.y_px - 0.4 * button.height_px, at_s)]


def sit(session: SimulatedSession, sitter: Sitter) -> Sitter:
    session.display._participant = sitter
    return sitter


@pytest.fixture
def picture_onsets_s(make_study: MakeStudy, prepare: Prepare) -> list[float]:
    """When the pictures come in an undisturbed session of the same study, on the session's clock."""
    session = prepare(make_study(name="undisturbed"))
    watch = Watch(session)
    session.run()
    return watch.of("Picture")


# The protocol.


def test_a_whole_session_shows_every_picture_once_after_its_dot_for_its_time(
    make_study: MakeStudy, prepare: Prepare, assert_valid: Valid
) -> None:
    folder = make_study(4)
    session = prepare(folder)
    outcome = session.run()
    assert (outcome.status, outcome.reason, outcome.failures) == ("complete", "", ())
    assert session.display.closed
    events = events_of(folder)
    assert events["trial_type"].tolist() == ["calibration", "validation"] + ["dot", "picture"] * 4
    assert set(events["status"]) == {"complete"}
    shown = events[events["trial_type"] == "picture"]
    assert shown["trial"].tolist() == [1, 2, 3, 4]
    assert shown["stim_file"].tolist() == [trial.stimulus.stim_file for trial in session.plan.trials]
    # Clock readings are good to 20 microseconds; the tracker's clock runs 20 ppm fast.
    np.testing.assert_allclose(events[events["trial_type"].isin(["dot", "picture"])]["duration"], 2.0, atol=2e-4)
    assert (shown["dropped_frames"] == 0).all()
    rect = shown[["picture_x_px", "picture_y_px", "picture_width_px", "picture_height_px"]].to_numpy()
    np.testing.assert_allclose(rect[:, 0] + rect[:, 2] / 2, 960)
    np.testing.assert_allclose(rect[:, 1] + rect[:, 3] / 2, 540)
    assert_valid(folder)


def test_gaze_is_recorded_from_validation_to_the_end_at_the_studys_rate(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    folder = make_study(tracker={"rate_hz": 120.0, "eyes": "right"})
    prepare(folder).run()
    recording = read_recording(runs(folder)[0])
    np.testing.assert_allclose(np.diff(recording.samples["time_s"]), 1 / 120, atol=2e-6)
    assert recording.eyes == ("right",)
    assert np.isnan(recording.samples["left_x_px"]).all()
    events = recording.events[recording.events["trial_type"] != "calibration"]
    assert events["onset"].min() == pytest.approx(0, abs=1 / 120)
    length_s = recording.samples["time_s"][-1] - recording.samples["time_s"][0]
    assert length_s >= (events["onset"] + events["duration"]).max()


def test_gaze_on_the_screen_changes_when_the_events_table_says_so(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(
        2, observer={"noise_deg": 0.0, "bias_deg": 0.0, "loss_percent": 0.0, "blinks_per_min": 0.0, "look_away": 0.0,
                     "drift_deg_per_min": 0.0},
    )  # fmt: skip
    prepare(folder).run()
    recording = read_recording(runs(folder)[0])
    times = recording.samples["time_s"] - recording.samples["time_s"][0]
    away_deg = recording.screen.angle_deg(recording.samples["left_x_px"], recording.samples["left_y_px"], 960, 540)
    for _, picture in recording.events.query("trial_type == 'picture'").iterrows():
        before = (times > picture["onset"] - 1) & (times < picture["onset"] + 0.05)
        assert away_deg[before].max() < 0.6, "the eyes are on the dot, and stay there for their latency"


def test_the_form_is_asked_once_and_its_answers_are_the_participants(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(protocol={"form": ["age", "sex", "handedness"], "rating": True})
    prepare(folder).run()
    table = read_participants(folder)
    assert list(table.columns) == ["participant_id", "age", "sex", "handedness"]
    assert 18 <= int(table.loc["01", "age"]) <= 40
    assert table.loc["01", ["sex", "handedness"]].isna().all()
    ratings = events_of(folder).query("trial_type == 'rating'")
    assert len(ratings) == 3
    assert ratings["rating"].between(1, 7).all()


QUESTIONS = {
    "Have you been told": ["y"],
    "How old": ["2", "4", "backspace", "3", "return"],
    "What is your sex": ["f"],
    "Do you wear": ["2"],
    "hand:": ["l", "e", "f", "t", "return"],
}


@pytest.mark.parametrize("how", ["key", "click"])
def test_a_session_runs_by_keys_alone_and_by_clicks_on_buttons_alone(
    make_study: MakeStudy, prepare: Prepare, assert_valid: Valid, how: str
) -> None:
    form = ["hand", "age", "sex", "vision", "group", "consent"]
    folder = make_study(2, protocol={"form": form, "groups": ["expert", "novice"], "rating": True, "break_every": 1})
    session = prepare(folder, operator=SilentOperator())
    sitter = sit(session, Sitter(how, {**QUESTIONS, "How much": ["3", "7"]}))
    assert live(session, group="novice").status == "complete"
    table = read_participants(folder)
    assert table.loc["01", form].tolist() == ["left", "23", "F", "glasses", "novice", "yes"]
    assert events_of(folder).query("trial_type == 'rating'")["rating"].tolist() == [3, 7]
    assert [text.split()[0] for text in sitter.seen if text != "check"][1] == "Have", "consent comes first"
    recording = read_recording(runs(folder)[0])
    assert recording.sidecars["left"].validation is not None
    described = json.loads((folder / "participants.json").read_text())
    assert set(described["vision"]["Levels"]) == {"none", "glasses", "contact lenses", "other"}
    assert_valid(folder)


def test_an_answer_is_typed_on_the_letters_of_the_screen(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(1, protocol={"form": ["hand"]})
    session = prepare(folder, operator=SilentOperator())
    sit(session, Sitter("click", {"hand:": [*"ab", "space", *"7-", "return"]}))
    session.run()
    assert read_participants(folder).loc["01", "hand"] == "ab 7-"


def test_the_group_is_the_operators_and_an_age_takes_digits_alone(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(1, protocol={"form": ["group", "age"], "groups": ["expert", "novice"]})
    session = prepare(folder)
    sitter = sit(session, Sitter("key", {"How old": ["x", "2", "space", "-", "4", "return"]}))
    live(session, group="novice")
    assert read_participants(folder).loc["01", ["group", "age"]].tolist() == ["novice", "24"]
    assert not any("group" in text for text in sitter.seen)


def test_an_answer_can_be_gone_back_to_and_left_out(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(1)
    session = prepare(folder, operator=SilentOperator())
    answers = {
        "Have you been told": ["y"],
        "How old": ["9", "9", "9", "return", "backspace", "return", "backspace", "backspace", "4", "0", "return"],
        "What is your sex": ["up", "return"],
        "Do you wear": ["1"],
    }
    sitter = sit(session, Sitter("key", answers))
    session.run()
    assert read_participants(folder).loc["01"].fillna("n/a").to_dict() == {
        "participant_id": "sub-01", "consent": "yes", "age": "40", "sex": "n/a", "vision": "none", "group": "n/a",
    }  # fmt: skip
    remarks = [
        shape.text for scene in sitter.scenes for shape in scene if isinstance(shape, Text) and "check" in shape.text
    ]
    assert len(remarks) == 2, "999 years are asked again, until the next letter"


@pytest.mark.parametrize("how", ["key", "click"])
def test_a_refused_consent_ends_the_session_politely_and_leaves_no_trace(
    make_study: MakeStudy, prepare: Prepare, assert_valid: Valid, how: str
) -> None:
    folder = make_study()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    session = prepare(folder, operator=SilentOperator())
    sitter = sit(session, Sitter(how, {"Have you been told": ["n"]}))
    outcome = session.run()
    assert (outcome.status, outcome.files, outcome.failures) == ("aborted", (), ())
    assert "consent" in outcome.reason
    assert sitter.seen[-1].startswith("That is quite all right")
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "publish.lock"}
    assert after == before
    assert not any("sub-01" in path.name for path in folder.rglob("*"))
    assert_valid(folder)


@pytest.mark.parametrize("kind", ["key", "click"])
def test_nothing_is_skipped_by_an_early_press(make_study: MakeStudy, prepare: Prepare, kind: str) -> None:
    def session_s(early: bool) -> tuple[float, list[str]]:
        folder = make_study(1, name=f"{kind}-{early}", protocol={"form": ["consent"], "rating": True})
        session = prepare(folder, operator=SilentOperator())

        class Hasty(Sitter):
            def answer(self, onset_s: float, scene: Sequence[Shape]) -> list[WindowEvent]:
                # Once before each screen (it has just come), once before it can have been seen.
                presses: list[WindowEvent] = []
                for at_s in (onset_s, onset_s + 0.19):
                    for key in ("space", "y", "n", "a", "4", "return"):
                        presses.append(Key(key, at_s) if kind == "key" else Click(960, 540, at_s))
                    presses += [
                        Click(shape.x_px, shape.y_px, at_s)
                        for shape in scene
                        if isinstance(shape, Button) and kind == "click"
                    ]
                return [*(presses if early else []), *super().answer(onset_s, scene)]

        sitter = sit(session, Hasty("key", {"Have you been told": ["y"], "How much": ["5"]}, delay_s=3.0))
        assert session.run().status == "complete"
        assert events_of(folder).query("trial_type == 'rating'")["rating"].tolist() == [5]
        return session.display.clock.now_s(), sitter.seen

    assert session_s(early=True) == session_s(early=False)


def test_the_thanks_stand_until_they_are_answered_or_nobody_is_there(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(1)
    session = prepare(folder)
    watch = Watch(session)

    class Gone(Sitter):
        def answer(self, onset_s: float, scene: Sequence[Shape]) -> list[WindowEvent]:
            answers = super().answer(onset_s, scene)
            return [] if self.seen and self.seen[-1].startswith("That was all") else answers

    sit(session, Gone("key", QUESTIONS))
    assert session.run().status == "complete"
    assert session.display.clock.now_s() - watch.of("Text")[-1] == pytest.approx(30, abs=0.6)


@pytest.mark.parametrize("way", ["escape", "closed", "stop", "ctrl-c"])
def test_whoever_leaves_at_the_thanks_has_a_complete_session(make_study: MakeStudy, prepare: Prepare, way: str) -> None:
    folder = make_study(1)
    session = prepare(folder)
    thanks_s = []

    class Leaving(Sitter):
        def answer(self, onset_s: float, scene: Sequence[Shape]) -> list[WindowEvent]:
            answers = super().answer(onset_s, scene)
            if not (self.seen and self.seen[-1].startswith("That was all")):
                return answers
            thanks_s.append(onset_s)
            if way == "stop":
                session.operator._answers.append(Command("stop"))
            return {"escape": [Key("escape", onset_s)] * 2, "closed": [Closed(onset_s)]}.get(way, [])

    sit(session, Leaving("key", QUESTIONS))
    if way == "ctrl-c":
        events = session.display.events

        def interrupted() -> list[WindowEvent]:
            if thanks_s:
                thanks_s.clear()
                raise KeyboardInterrupt
            return events()

        session.display.events = interrupted  # type: ignore[method-assign]
    outcome = session.run()
    assert (outcome.status, outcome.reason, outcome.interrupted) == ("complete", "", way == "ctrl-c")
    assert pictures_of(folder) == [(1, "complete", "first")]


@pytest.mark.parametrize(
    ("question", "answer", "kept"),
    [
        ("age", "24", "24"),
        ("age", "90", "89"),
        ("age", "", "n/a"),
        ("sex", "o", "O"),
        ("hand", " a  b ", "a b"),
        ("vision", "Contact lenses", "contact lenses"),
        ("vision", "", "n/a"),
        ("consent", "yes", "yes"),
    ],
)
def test_answers_are_kept_without_what_could_identify(question: str, answer: str, kept: str) -> None:
    assert checked_answer(question, answer) == kept


@pytest.mark.parametrize(
    ("question", "answer"),
    [("age", "young"), ("age", "0"), ("age", "240"), ("sex", "woman"), ("vision", "laser"), ("consent", "-")],
)
def test_answers_that_break_their_rule_are_asked_again(question: str, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        checked_answer(question, answer)


def test_both_languages_have_the_same_texts() -> None:
    def keys(value: dict[str, Any], before: str = "") -> set[str]:
        return {
            key
            for name, inner in value.items()
            for key in (keys(inner, f"{before}{name}.") if isinstance(inner, dict) else {before + name})
        }

    english, spanish = read_texts("en"), read_texts("es")
    assert keys(english) == keys(spanish)
    assert "{pictures}" in spanish["instructions"]
    for texts in (english, spanish):
        for question, values in CHOICES.items():
            named = texts["choices"][question]
            assert len(named["keys"]) == len(set(named["keys"])) == len(named["labels"]) == len(values)
    assert "task" in english["instructions"] and "tarea" in spanish["instructions"]


SCREENS = [
    Screen(1920, 1080, 53.0, 29.8, 60.0), Screen(1024, 768, 30.0, 22.5, 60.0), Screen(3840, 2160, 70.0, 39.4, 90.0),
    Screen(1080, 1920, 29.8, 53.0, 60.0), Screen(2560, 1080, 80.0, 33.75, 50.0),
]  # fmt: skip


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: f"{screen.width_px}x{screen.height_px}")
@pytest.mark.parametrize("language", ["en", "es"])
def test_every_screen_holds_its_texts_and_buttons_and_none_covers_another(screen: Screen, language: str) -> None:
    texts = read_texts(language)
    go_on = texts["buttons"]["continue"]
    plain = [text for name, text in texts.items() if isinstance(text, str) and not name.startswith(("hint", "form"))]
    scenes = [text_screen(screen, text.format(pictures=200), go_on) for text in plain]
    scenes.append(rating_screen(screen, texts["rating"]))
    for question, asked in texts["form"].items():
        options = choices(question, texts)
        if options:
            scenes.append(choice_screen(screen, texts, asked, options, may_return=True))
        remark = texts["form_wrong"].format(rule=texts["rule"]["age"])
        for typed in (remark, ""):
            scenes.append(
                typed_screen(screen, texts, asked, "m" * 40, typed, digits=question == "age", may_return=True)
            )
    picture = Image.new("RGB", check_size_px(screen))
    scenes += [check_screen(screen, picture, range(1, 10), passed) for passed in (True, False)]
    for scene in scenes:
        boxes = [box_of(shape) for shape in scene]
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= screen.width_px
            assert 0 <= top < bottom <= screen.height_px
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                apart = a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
                assert apart, (scene[i], a, b)


def box_of(shape: Shape) -> tuple[float, float, float, float]:
    """Left, top, right, bottom; a text as wide as average letters are, and its lines a quarter more than its height."""
    if isinstance(shape, Text):
        lines = shape.text.split("\n")
        across, down = 0.55 * shape.height_px * max(map(len, lines)), 1.25 * shape.height_px * len(lines)
    elif isinstance(shape, Bitmap):
        across, down = shape.image.size
    else:
        assert isinstance(shape, Button)
        across, down = shape.width_px, shape.height_px
    return shape.x_px - across / 2, shape.y_px - down / 2, shape.x_px + across / 2, shape.y_px + down / 2


# Validation and drift.


def test_a_validation_that_fails_is_repeated_and_its_override_is_kept(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(limits={"accuracy_mean_deg": 0.001, "accuracy_worst_deg": 0.001})
    prepare(folder).run()
    recording = read_recording(runs(folder)[0])
    for eye in ("left", "right"):
        validation = recording.sidecars[eye].validation
        assert validation is not None
        assert (validation.passed, validation.accepted, validation.overridden_by) == (
            False,
            True,
            "simulation",
        )
        assert [v.accepted for v in recording.sidecars[eye].validations] == [False, False, True]
        assert recording.sidecars[eye].calibrations == 3


def test_an_observer_without_eyes_fails_validation_with_no_figures(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(observer={"loss_percent": 100.0})
    prepare(folder).run()
    validation = read_recording(runs(folder)[0]).sidecars["left"].validation
    assert validation is not None
    assert validation.passed is False
    assert (validation.accuracy_deg, validation.loss_percent) == (None, 100.0)


def test_single_points_can_be_redone_and_the_others_are_kept(make_study: MakeStudy, prepare: Prepare) -> None:
    class RedoOnce(ScriptedOperator):
        asked = 0

        def show(self, status: Any) -> None:
            if status.asking is not None:
                self.asked += 1
                if self.asked == 1:
                    self._answers.append(Command("redo", points=(2,)))
                    return
            super().show(status)

    folder = make_study()
    prepare(folder, operator=RedoOnce()).run()
    first, second = read_recording(runs(folder)[0]).sidecars["left"].validations
    same = [a == b for a, b in zip(first.points, second.points, strict=True)]
    assert same == [True, False, True, True]


def test_the_window_decides_where_the_operator_does_not_and_the_override_says_so(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    folder = make_study(1, limits={"accuracy_mean_deg": 0.001})
    session = prepare(folder, operator=SilentOperator())

    class Deciding(Sitter):
        decisions = ("4", "r", "a", "a")

        def answer(self, onset_s: float, scene: Sequence[Shape]) -> list[WindowEvent]:
            if any(isinstance(shape, Bitmap) for shape in scene):
                self._answers["check"] = [self.decisions[self.seen.count("check")]]
            return super().answer(onset_s, scene)

    initials = {"Initials of who": ["return", "k", "b", "return"]}
    sitter = sit(session, Deciding("click", {**QUESTIONS, **initials}))
    session.run()
    sidecar = read_recording(runs(folder)[0]).sidecars["left"]
    first, redone, last = sidecar.validations
    assert [a == b for a, b in zip(first.points, redone.points, strict=True)] == [True, True, True, False]
    assert [v.accepted for v in (first, redone, last)] == [False, False, True]
    assert last.overridden_by == "kb", "without initials it is asked again"
    assert sidecar.calibrations == 2
    # The picture of each validation is kept, and is what was shown.
    kept = sorted((folder / "sourcedata" / "sub-01").glob("*validation-*.png"))
    shown = [shape.image for scene in sitter.scenes for shape in scene if isinstance(shape, Bitmap)]
    # The last was asked about twice: without initials nothing is accepted.
    assert len(kept) == 3 and len(shown) == 4
    for path, image in zip([*kept, kept[-1]], shown, strict=True):
        with Image.open(path) as picture:
            assert list(picture.convert("RGB").getdata()) == list(image.getdata())


def test_a_validation_without_data_says_so_in_words_and_a_good_one_in_green(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    drawn = {}
    for name, loss in (("blind", 100.0), ("seen", 0.0)):
        folder = make_study(1, name=name, observer={"loss_percent": loss, "bias_deg": 0.1, "blinks_per_min": 0.0})
        prepare(folder).run()
        first = sorted((folder / "sourcedata" / "sub-01").glob("*validation-*.png"))[0]
        with Image.open(first) as image:
            drawn[name] = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    green, red, blue = (0, 158, 115), (213, 94, 0), (0, 114, 178)
    assert green in drawn["seen"] and red not in drawn["seen"] and blue in drawn["seen"]
    assert red in drawn["blind"] and green not in drawn["blind"]


def test_the_operator_is_asked_first_come_first_served(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(1, limits={"accuracy_mean_deg": 0.001})
    session = prepare(folder)

    class Once(ScriptedOperator):
        def show(self, status: Status) -> None:
            if status.asking is not None and not self.statuses:
                self.statuses.append(status)
                # A target that does not exist is no answer.
                self._answers += [Command("redo", points=(9,)), Command("accept", by="A. B.")]

    session = replace(session, operator=Once())
    session.run()
    validation = read_recording(runs(folder)[0]).sidecars["left"].validation
    assert validation is not None
    assert validation.overridden_by == "A. B."
    assert len(read_recording(runs(folder)[0]).sidecars["left"].validations) == 1


def test_the_drift_is_missing_where_the_observer_looks_away(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(observer={"look_away": 1.0})
    prepare(folder).run()
    dots = events_of(folder).query("trial_type == 'dot'")
    assert dots[["drift_x_deg", "drift_y_deg", "drift_deg"]].isna().all(axis=None)
    text = runs(folder)[0].events_file.read_text()
    assert "\tn/a\tn/a\tn/a\t" in text


def test_two_trials_in_a_row_with_too_much_drift_lead_to_a_calibration(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(
        5, limits={"drift_deg": 0.01}, observer={"look_away": 0.0}, protocol={"dot_s": 3.0, "picture_s": 1.0}
    )
    prepare(folder).run()
    kinds = events_of(folder)["trial_type"].tolist()
    trial, again = ["dot", "picture"], ["calibration", "validation"]
    assert kinds == again + trial * 2 + again + trial * 2 + again + trial


def test_a_calibration_that_fails_is_made_again_at_the_points_that_the_operator_names(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    class RedoCorners(ScriptedOperator):
        def show(self, status: Any) -> None:
            if isinstance(status.asking, CalibrationOutcome):
                self._answers.append(Command("redo", points=status.asking.calibration.failed))
            else:
                super().show(status)

    folder = make_study(1)
    session = prepare(folder, operator=RedoCorners())
    calibrate, asked = session.tracker.calibrate, []

    def failing_once(display: Any, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        asked.append(([point.number for point in points], redo is not None))
        done = calibrate(display, points, redo)
        return replace(done, success=False, failed=(2, 5)) if len(asked) == 1 else done

    session.tracker.calibrate = failing_once  # type: ignore[method-assign]
    assert session.run().status == "complete"
    assert asked == [([1, 2, 3, 4, 5], False), ([2, 5], True)]
    assert events_of(folder)["status"].tolist()[:2] == ["aborted", "complete"]
    assert len(read_recording(runs(folder)[0]).sidecars["left"].CalibrationPosition) == 5


# The operator.


@pytest.mark.parametrize("kind", ["pause", "recalibrate", "skip"])
def test_the_operator_can_break_off_a_picture_and_the_table_says_how(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], kind: Any, assert_valid: Valid
) -> None:
    folder = make_study()
    at_s = picture_onsets_s[1] + 1.0
    commands = [(at_s, Command(kind)), (at_s + 5, Command("resume"))]
    outcome = prepare(folder, operator=ScriptedOperator(commands_at=commands)).run()
    assert outcome.status == "complete"
    shown = pictures_of(folder)
    if kind == "skip":
        assert shown == [(1, "complete", "first"), (2, "aborted", "first"), (3, "complete", "first")]
    else:
        again = [(2, "repeated", "first"), (2, "complete", "repeat")]
        assert shown == [(1, "complete", "first"), *again, (3, "complete", "first")]
        kinds = events_of(folder)["trial_type"].tolist()
        assert kinds.count("pause") == (kind == "pause")
        assert kinds.count("calibration") == 1 + (kind == "recalibrate")
    assert_valid(folder)


class Everything(ScriptedOperator):
    """Presses every key of the operator's at every stage, on the operator's own keyboard, and once more too late.

    Within trials no key is pressed but those of `wanted`, by the trial's number.
    """

    def __init__(self, wanted: dict[int, str]) -> None:
        super().__init__()
        self.wanted = wanted
        self.keyboard = Keyboard()
        self.pressed_at: set[str] = set()
        self.late: list[Command] = []
        self.told: list[str] = []
        self._stage: object = None

    def show(self, status: Status) -> None:
        super().show(status)
        self.told += status.notices
        stage = (status.phase, status.trial, status.asking is None, status.moment)
        if stage == self._stage:
            return
        self._stage = stage
        self._answers += [command for command in self.late if command.moment != status.moment]
        in_trial = status.phase in ("dot", "picture")
        keys = self.wanted.pop(status.trial or 0, "") if status.phase == "picture" else "" if in_trial else "kpcqn kar1"
        if keys:
            self.pressed_at.add(status.phase)
        found = [command for key in keys for command in self.keyboard.press(key, status)]
        self._answers += found
        # A key that was pressed in time and is heard too late: the session has gone on by then.
        self.late = [Command(kind, moment=status.moment) for kind in status.offers if kind not in OF_AN_OUTCOME]


def test_with_every_key_at_every_stage_nothing_is_lost_and_nothing_skipped_unasked(
    make_study: MakeStudy, prepare: Prepare, assert_valid: Valid
) -> None:
    folder = make_study(20, protocol={"break_every": 5, "rating": True, "dot_s": 1.0, "picture_s": 1.0})
    operator = Everything({3: "k", 6: "p", 9: "c"})
    session = prepare(folder, operator=operator)
    outcome = session.run()
    assert (outcome.status, outcome.reason, outcome.failures) == ("complete", "", ())
    stages = {"welcome", "form", "instructions", "calibration", "validation", "rating", "break", "pause", "picture"}
    assert operator.pressed_at >= stages | {"end"}
    shown = pictures_of(folder)
    skipped = next(trial for trial, status, _ in shown if status == "aborted")
    assert skipped == 3 and [text[:9] for text in operator.told if "is left out" in text] == ["trial 3 ("]
    assert [trial for trial, status, _ in shown if status == "complete"] == [n for n in range(1, 21) if n != 3]
    assert [(trial, status) for trial, status, _ in shown if status == "repeated"] == [(6, "repeated"), (9, "repeated")]
    assert sum("will be shown again" in text for text in operator.told) == 2
    # What was heard too late did nothing, and each was said.
    assert sum("is not for now" in text for text in operator.told) > 20
    assert_valid(folder)


def test_one_escape_ends_nothing_and_says_what_a_second_would(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(2)
    session = prepare(folder, events=[Key("escape", at_s) for at_s in (1.0, 5.0, 15.0, 25.0)])
    assert session.run().status == "complete"
    notices = [text for _, text in notices_of(folder)]
    assert len(notices) == 4 and all("once more within 3 s ends the session" in text for text in notices)


def test_a_break_is_offered_after_the_studys_number_of_pictures(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(4, protocol={"break_every": 2})
    prepare(folder).run()
    kinds = events_of(folder)["trial_type"].tolist()[2:]
    assert kinds == ["dot", "picture"] * 2 + ["pause"] + ["dot", "picture"] * 2


# The door.


def leave_by(kind: str, at_s: float) -> dict[str, Any]:
    twice = [Key("escape", at_s - 1.0), Key("escape", at_s)]
    events: dict[str, list[WindowEvent]] = {"escape": [*twice], "closed": [Closed(at_s)]}
    if kind in events:
        return {"events": events[kind]}
    return {"operator": ScriptedOperator(commands_at=[(at_s, Command("stop"))])}


def interrupt_reading(session: SimulatedSession, at_s: float, failure: BaseException) -> None:
    """Have the tracker's next reading after `at_s` fail so, once."""
    read, failed = session.tracker.read, False

    def failing() -> Batch:
        nonlocal failed
        if session.display.clock.now_s() >= at_s and not failed:
            failed = True
            raise failure
        return read()

    session.tracker.read = failing  # type: ignore[method-assign]


@pytest.mark.parametrize("way", ["escape", "closed", "stop", "ctrl-c", "exception", "tracker lost"])
def test_every_way_out_closes_the_tracker_and_publishes_what_was_recorded(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], way: str, assert_valid: Valid
) -> None:
    folder = make_study()
    at_s = picture_onsets_s[1] + 1.0
    outcome: Outcome | None = None
    if way in ("escape", "closed", "stop"):
        session = prepare(folder, **leave_by(way, at_s))
        outcome = session.run()
    else:
        session = prepare(folder)
        failures: dict[str, BaseException] = {
            "ctrl-c": KeyboardInterrupt(),
            "exception": ZeroDivisionError("a defect"),
            "tracker lost": TrackerError("gone"),
        }
        interrupt_reading(session, at_s, failures[way])
        if way == "ctrl-c":
            outcome = session.run()
        else:
            with pytest.raises(type(failures[way]), match=str(failures[way])):
                session.run()
    if outcome is not None:
        assert outcome.status == "aborted"
        assert outcome.reason
        assert outcome.failures == ()
        assert all(file.is_file() for file in outcome.files)
    assert session.display.closed
    assert journals(folder) == ()
    # The tracker's own file was fetched on the way out.
    assert (folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_truth.json").exists()
    assert pictures_of(folder) == [(1, "complete", "first"), (2, "aborted", "first")]
    aborted = events_of(folder).iloc[-1]
    assert 0.9 < aborted["duration"] < 1.6
    recording = read_recording(runs(folder)[0])
    end_s = recording.samples["time_s"][-1] - recording.samples["time_s"][0]
    assert end_s == pytest.approx(aborted["onset"] + aborted["duration"], abs=0.01)
    assert_valid(folder)


def test_a_fatal_notice_of_the_tracker_ends_the_session_with_its_text(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study()
    session = prepare(folder)
    read = session.tracker.read

    def lost() -> Batch:
        if session.display.clock.now_s() > 30:
            return Batch(no_samples(), notices=(Notice("the connection was lost", fatal=True),))
        return read()

    session.tracker.read = lost  # type: ignore[method-assign]
    with pytest.raises(TrackerError, match="the connection was lost"):
        session.run()
    assert len(runs(folder)) == 1


def test_samples_whose_time_does_not_advance_are_left_out_and_the_notice_is_kept(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    folder = make_study(1)
    session = prepare(folder)
    read = session.tracker.read

    def stammering() -> Batch:
        batch = read()
        return Batch(np.repeat(batch.samples, 2), batch.events)

    session.tracker.read = stammering  # type: ignore[method-assign]
    session.run()
    recording = read_recording(runs(folder)[0])
    assert (np.diff(recording.samples["time_s"]) > 0).all()
    events = gzip.decompress(next((folder / "sub-01" / "beh").glob("*eye1_physioevents.tsv.gz")).read_bytes()).decode()
    assert "\tnotice\tthe time of" in events


def test_a_tracker_that_cannot_be_reached_leaves_nothing_but_its_error(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study()
    session = prepare(folder)

    def unreachable(*_: Any) -> Any:
        raise TrackerError("no tracker was found: switch it on.")

    session.tracker.connect = unreachable  # type: ignore[method-assign]
    with pytest.raises(TrackerError, match="switch it on"):
        session.run()
    assert session.display.closed
    assert not (folder / ".beholder" / "journal").exists()


def test_a_tracker_that_fails_to_close_does_not_cost_the_recording(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study()
    session = prepare(folder)

    def failing(save_to: Path) -> Any:
        raise RuntimeError("the host does not answer")

    session.tracker.close = failing  # type: ignore[method-assign]
    outcome = session.run()
    assert outcome.status == "complete"
    assert outcome.failures == ("the host does not answer",)
    assert len(runs(folder)) == 1


def test_a_picture_larger_than_the_screen_is_told_before_anybody_sits_down(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    folder = make_study()
    study_toml = folder / "study.toml"
    study_toml.write_text(study_toml.read_text().replace("size_deg = 20.0", "size_deg = 80.0"))
    session = prepare(folder)
    with pytest.raises(StudyError, match="larger than the screen"):
        session.run()
    assert session.display.closed
    assert not (folder / ".beholder" / "journal").exists()


# Resuming.


def test_a_resumed_session_is_the_next_run_and_repeats_are_flagged(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], assert_valid: Valid
) -> None:
    folder = make_study()
    first = prepare(folder, **leave_by("stop", picture_onsets_s[1] + 1.0))
    first.run()
    with pytest.raises(StudyError, match="has a session already"):
        plan_from_disk(folder, "01", resume=False)
    second = prepare(folder, resume=True)
    assert second.run().status == "complete"
    assert pictures_of(folder, 1) == [(1, "complete", "first"), (2, "aborted", "first")]
    assert pictures_of(folder, 2) == [(2, "complete", "repeat"), (3, "complete", "first")]
    assert events_of(folder, 2)["trial_type"].tolist()[:2] == ["calibration", "validation"]
    assert list(read_participants(folder).index) == ["01"]
    with pytest.raises(StudyError, match="nothing is left to do"):
        plan_from_disk(folder, "01", resume=True)
    with pytest.raises(StudyError, match="no session to resume"):
        plan_from_disk(folder, "02", resume=True)
    assert_valid(folder)


def test_the_eyes_see_what_the_display_shows(make_study: MakeStudy, prepare: Prepare) -> None:
    session = prepare(make_study())
    seen: list[Shape] = []
    inner = session.display.watcher

    def watcher(onset_s: float, scene: Sequence[Shape]) -> None:
        seen.extend(scene)
        if scene and isinstance(scene[0], Picture):
            image = session.display.capture()
            assert image.size == (1920, 1080)
            assert image.getpixel((5, 5)) == (255, 255, 255)
            assert image.getpixel((960, 540)) == (120, 120, 120)
        inner(onset_s, scene)

    session.display.watcher = watcher
    session.run()
    assert sum(isinstance(shape, Picture) for shape in seen) == 3


# What goes wrong meanwhile.


@pytest.mark.parametrize("way", ["escape", "closed", "stop"])
def test_a_calibration_is_left_at_once(make_study: MakeStudy, prepare: Prepare, way: str) -> None:
    folder = make_study(1)
    first = prepare(make_study(1, name="undisturbed"))
    watch = Watch(first)
    first.run()
    at_s = watch.of("Dot")[0] + 1.0
    session = prepare(folder, **leave_by(way, at_s))
    live_s = []
    session.display.watcher = lambda onset_s, scene: live_s.append(onset_s)
    outcome = live(session)
    assert outcome.status == "aborted"
    # Within the session's step, and not when the next target comes.
    assert session.display.clock.now_s() == pytest.approx(at_s, abs=0.1)
    assert events_of(folder)[["trial_type", "status"]].to_numpy().tolist() == [["calibration", "aborted"]]


@pytest.mark.parametrize("its_own", [True, False])
def test_a_held_key_and_escape_are_the_trackers_where_it_has_a_set_up_of_its_own(
    make_study: MakeStudy, prepare: Prepare, its_own: bool
) -> None:
    """Thresholds are moved by holding an arrow down, and Escape, twice in a second, leaves two pages of it."""
    session = prepare(make_study(1))
    calibrate, heard = session.tracker.calibrate, list[str]()

    def asking(display: Any, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        at_s = display.clock.now_s() + 0.5
        keys = [Key("up", at_s), Key("up", at_s, held=True), Key("escape", at_s), Key("k", at_s, chord=True)]
        session.display._coming = [*keys, *([Key("escape", at_s + 0.5)] if its_own else [])]
        while display.clock.now_s() < at_s + 1:
            display.hold(at_s + 1)
            heard.extend(event.name for event in display.events())
        return calibrate(display, points, redo)

    session.tracker.calibrate = asking  # type: ignore[method-assign]
    session.tracker.escape_is_its_own = its_own
    assert live(session).status == "complete"
    assert heard[:4] == (["up", "up", "escape", "escape"] if its_own else ["up"])


def test_keys_and_clicks_of_a_calibration_are_the_trackers(make_study: MakeStudy, prepare: Prepare) -> None:
    session = prepare(make_study(1))
    calibrate, heard = session.tracker.calibrate, []

    def asking(display: Any, points: Sequence[Point], redo: Calibration | None = None) -> Calibration:
        at_s = display.clock.now_s() + 0.5
        session.display._coming = [Key("c", at_s), Click(1.0, 2.0, at_s)]
        display.hold(at_s + 0.2)
        while display.clock.now_s() < at_s + 0.2:
            display.hold(at_s + 0.2)
        heard.extend(display.events())
        return calibrate(display, points, redo)

    session.tracker.calibrate = asking  # type: ignore[method-assign]
    assert session.run().status == "complete"
    assert [type(event) for event in heard] == [Key, Click]


def test_a_tracker_that_falls_silent_is_told_at_once_and_again_when_it_is_back(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], assert_valid: Valid
) -> None:
    folder = make_study()
    session = prepare(folder, operator=(operator := ScriptedOperator()))
    silent_from_s, silent_until_s = picture_onsets_s[0] + 0.5, picture_onsets_s[0] + 4.0
    read, told = session.tracker.read, []
    show = operator.show

    def silent() -> Batch:
        now_s = session.display.clock.now_s()
        batch = read()
        return Batch(no_samples()) if silent_from_s <= now_s < silent_until_s else batch

    def watching(status: Status) -> None:
        told.extend((status.now_s, notice) for notice in status.notices)
        show(status)

    session.tracker.read, operator.show = silent, watching  # type: ignore[method-assign]
    assert live(session).status == "complete"
    (first_s, first), (second_s, second) = told
    assert "has sent no sample for 2.0 s" in first
    assert first_s == pytest.approx(silent_from_s + 2, abs=0.1)
    assert re.search(r"again, after 3\.[56] s", second)
    assert second_s == pytest.approx(silent_until_s, abs=0.1)
    recorded = notices_of(folder)
    assert [text for _, text in recorded] == [first, second]
    assert recorded[1][0] - recorded[0][0] == pytest.approx(second_s - first_s, abs=0.01)
    assert_valid(folder)


def test_a_trackers_clock_that_steps_is_told_and_no_sample_is_lost_or_moved(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], assert_valid: Valid
) -> None:
    def recorded(name: str, step_s: float) -> tuple[Recording, Path]:
        folder = make_study(name=name)
        session = prepare(folder)
        at_s = 1000.0 + picture_onsets_s[1] + 1.0
        read, clocks = session.tracker.read, session.tracker.clocks

        def stepping() -> Batch:
            batch = read()
            samples = batch.samples.copy()
            samples["time_s"] += np.where(samples["time_s"] >= at_s, step_s, 0.0)
            moved = [replace(event, time_s=event.time_s + step_s * (event.time_s >= at_s)) for event in batch.events]
            return Batch(samples, tuple(moved))

        def stepped() -> ClockPair:
            pair = clocks()
            return replace(pair, tracker_s=pair.tracker_s + step_s * (pair.tracker_s >= at_s))

        session.tracker.read, session.tracker.clocks = stepping, stepped  # type: ignore[method-assign]
        assert live(session).status == "complete"
        return read_recording(runs(folder)[0]), folder

    whole, _ = recorded("steady", 0.0)
    for step_s in (-700.0, 0.4, 3600.0):
        found, folder = recorded(f"step{step_s:.0f}", step_s)
        # The clocks are read once more than without a step, which draws from the jitter's chance: within that.
        np.testing.assert_allclose(found.samples["time_s"], whole.samples["time_s"], atol=5e-4)
        np.testing.assert_array_equal(found.samples["left_x_px"], whole.samples["left_x_px"])
        for column in ("onset", "duration"):
            np.testing.assert_allclose(found.events[column], whole.events[column], atol=5e-4)
        ((_, told),) = notices_of(folder)
        assert f"stepped by {step_s:+.3f} s" in told
        (step,) = found.sidecars["left"].ClockSteps
        assert step["step_s"] == pytest.approx(step_s, abs=1e-3)
        assert found.sidecars["left"].ClockFit["residual_ms"] < 1
        assert_valid(folder)


def test_a_system_clock_that_steps_is_told_and_harms_nothing(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float]
) -> None:
    folder = make_study()
    session = prepare(folder)
    at_s = picture_onsets_s[1] + 1.0

    def system_time() -> float:
        now_s = session.display.clock.now_s()
        return 1.7e9 + now_s * (1 + 30e-6) - (3600.0 if now_s >= at_s else 0.0)

    assert live(session, system_time=system_time).status == "complete"
    ((_, told),) = notices_of(folder)
    assert "the system's clock stepped by -3600.000 s" in told
    sidecar = read_recording(runs(folder)[0]).sidecars["left"]
    found = sidecar.SystemClock
    # Steps are noticed within a second, during which the clock drifted by 30 microseconds.
    assert found["drift_ppm"] == pytest.approx(30, abs=2)
    assert [step["step_s"] for step in found["steps"]] == [pytest.approx(-3600, abs=1e-3)]
    second = events_of(folder).query("trial_type == 'picture'").iloc[1]
    assert 1.0 <= found["steps"][0]["onset"] - second["onset"] < 2.2
    # No date is anywhere in what is recorded.
    assert "17000" not in sidecar.model_dump_json()
    bare = prepare(make_study(name="bare"))
    live(bare)
    assert not hasattr(read_recording(runs(bare.study_folder)[0]).sidecars["left"], "SystemClock")


def test_frames_that_were_missed_are_counted_where_they_were(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(2, protocol={"dot_s": 2.0, "picture_s": 3.0})
    session = prepare(folder)
    # By trial: dot, late onset of the picture, picture.
    planted = [(2, 3, 4), (0, 0, 1)]
    missed, trial, now = 0, -1, ""
    show, hold, clock = session.display.show, session.display.hold, session.display.clock

    def showing(scene: Sequence[Shape]) -> float:
        nonlocal missed, trial, now
        kind = type(scene[0]).__name__ if scene else ""
        if kind == "Dot" and isinstance(scene[0], Dot) and not scene[0].inner_px:
            trial, now = trial + 1, "dot"
            missed += 7
        elif kind == "Picture":
            now = "picture"
            clock.sleep_until_s(clock.now_s() + planted[trial][1] / 60)
            missed += planted[trial][1]
        else:
            now = ""
        return show(scene)

    def holding(until_s: float) -> None:
        nonlocal missed, now
        if now:
            missed += planted[trial][0 if now == "dot" else 2]
            now = ""
        hold(until_s)

    def late_frames() -> int:
        nonlocal missed
        found, missed = missed, 0
        return found

    session.display.show, session.display.hold = showing, holding  # type: ignore[method-assign]
    session.display.late_frames = late_frames  # type: ignore[method-assign]
    session.run()
    shown = events_of(folder)[events_of(folder)["trial_type"].isin(["dot", "picture"])]
    assert shown["dropped_frames"].tolist() == [2, 3 + 4, 0, 1]


def test_the_operator_sees_who_is_recorded_and_how_long_it_takes(make_study: MakeStudy, prepare: Prepare) -> None:
    operator = ScriptedOperator()
    seen: list[Status] = []
    show = operator.show

    def watching(status: Status) -> None:
        seen.append(status)
        show(status)

    operator.show = watching  # type: ignore[method-assign]
    prepare(make_study(3, protocol={"dot_s": 2.0, "picture_s": 3.0}), operator=operator).run()
    assert {status.heading for status in seen} == {"participant 01, run 1, synthetic observer (simulated)"}
    assert seen[0].session_left_s == 15.0
    dots = [s for s in seen if s.phase == "dot" and s.trial == 2]
    assert dots[0].session_left_s == pytest.approx(10, abs=0.1)
    for status in dots:
        assert status.left_s is not None and status.session_left_s is not None
        assert status.session_left_s - status.left_s == pytest.approx(8)
    pictures = [s for s in seen if s.phase == "picture" and s.trial == 3]
    assert [s.session_left_s for s in pictures] == [s.left_s or 0.0 for s in pictures]
    assert seen[-1].session_left_s == 0


def test_what_the_preflight_found_is_kept_beside_the_events(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(1)
    found = {"checks": [{"verdict": "unfit", "what": "flips", "found": "x", "remedy": "y"}], "override": "a pilot"}
    live(prepare(folder), preflight=found)
    assert json.loads(next(folder.rglob("*_events.json")).read_text())["Preflight"] == found


def test_trouble_of_the_disk_is_told_once_and_again_when_it_is_over(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_study()
    session = prepare(folder)

    def trouble(self: Recorder) -> str | None:
        slow_s = session.display.clock.now_s() - picture_onsets_s[0]
        return f"the disk of {folder} is slow: {slow_s:.1f} s" if 0.5 < slow_s < 1.5 else None

    monkeypatch.setattr(Recorder, "trouble", trouble)
    live(session)
    first, second = (text for _, text in notices_of(folder))
    assert first.startswith("the disk of study is slow"), "a shared file holds no path of this computer"
    assert "keeps up again" in second


def test_a_disk_that_takes_no_more_ends_the_session_with_its_sentence(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_study()
    session = prepare(folder)
    samples, raised = Recorder.samples, []

    def failing(self: Recorder, some: Any) -> None:
        samples(self, some)
        if session.display.clock.now_s() > picture_onsets_s[1] + 1 and not raised:
            raised.append(True)
            raise DataError("the disk is full: make room.")

    monkeypatch.setattr(Recorder, "samples", failing)
    with pytest.raises(DataError, match="make room"):
        session.run()
    assert pictures_of(folder) == [(1, "complete", "first"), (2, "aborted", "first")]


def test_a_picture_that_the_disk_does_not_take_costs_only_itself(
    make_study: MakeStudy, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, forever = Path.write_bytes, threading.Event()

    def refusing(self: Path, data: Any) -> int:
        if self.name == "validation-2.png":
            raise OSError(28, "No space left on device")
        if self.name == "validation-4.png":
            forever.wait()
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", refusing)
    folder = make_study(1, limits={"accuracy_mean_deg": 0.001})
    try:
        assert live(prepare(folder)).status == "complete"
    finally:
        forever.set()
    assert [text.split(":")[0] for _, text in notices_of(folder)] == [
        "validation-2.png could not be written (No space left on device)",
        "validation-4.png could not be written (the disk does not answer)",
    ]
    assert [path.name[-16:] for path in (folder / "sourcedata" / "sub-01").glob("*.png")] == ["validation-6.png"]


def test_a_window_that_is_gone_is_recorded(
    make_study: MakeStudy, prepare: Prepare, picture_onsets_s: list[float]
) -> None:
    folder = make_study()
    prepare(folder, **leave_by("closed", picture_onsets_s[1] + 1.0)).run()
    assert [text for _, text in notices_of(folder)] == ["the window was closed, or its screen is gone"]


ENDS = [
    ("SIGINT", "SIGTERM", "Ctrl-C"),
    ("SIGTERM", "SIGINT", "asked Beholder to end"),
    ("SIGHUP", "SIGTERM", "closed"),
]


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM and SIGHUP are POSIX's")
@pytest.mark.parametrize(("first", "then", "reason"), ENDS)
def test_whatever_ends_a_session_from_outside_ends_it_once_and_is_only_noted_while_it_leaves(
    make_study: MakeStudy,
    prepare: Prepare,
    picture_onsets_s: list[float],
    assert_valid: Valid,
    first: str,
    then: str,
    reason: str,
) -> None:
    folder = make_study()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    session = prepare(folder)
    read, close = session.tracker.read, session.tracker.close

    def reading() -> Batch:
        if session.display.clock.now_s() > picture_onsets_s[1] + 1:
            session.tracker.read = read  # type: ignore[method-assign]
            os.kill(os.getpid(), getattr(signal, first))
        return read()

    def closing(save_to: Path) -> Any:
        for name in (then, first, then):
            os.kill(os.getpid(), getattr(signal, name))
        return close(save_to)

    session.tracker.read, session.tracker.close = reading, closing  # type: ignore[method-assign]
    outcome = session.run()
    assert (outcome.status, outcome.failures, outcome.interrupted) == ("aborted", (), True)
    assert reason in outcome.reason
    assert pictures_of(folder) == [(1, "complete", "first"), (2, "aborted", "first")]
    assert journals(folder) == ()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert_valid(folder)
