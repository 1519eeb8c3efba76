"""Claims of `experiment.data_viewer`: an EDF says which trial, picture and regions it was, and how the trial ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.experiment.data_viewer import TRIAL_RESULTS, cleared, picture_stands, trial_begins, trial_ends
from beholder.experiment.devices import Closed
from beholder.experiment.headless import ScriptedOperator
from beholder.experiment.session.operator import Command
from beholder.experiment.simulation import SimulatedSession
from beholder.shared.screen import Rect
from beholder.shared.stimuli.stimulus import Stimulus

MakeStudy = Callable[..., Path]
Prepare = Callable[..., SimulatedSession]


@pytest.fixture
def stimulus(tmp_path: Path) -> Stimulus:
    """A picture of 40 x 20 px with a handle (label 2) in two pieces, and a body without a name (label 7)."""
    labels = np.zeros((20, 40), np.uint8)
    labels[2:4, 10:12] = labels[8:10, 28:30] = 2
    labels[12:20, 0:40] = 7
    Image.fromarray(labels).save(tmp_path / "mask.png")
    parts = {2: "long handle", 3: "not in this one"}
    return Stimulus("bag-01", tmp_path / "bag-01.png", 40, 20, "bag", mask=tmp_path / "mask.png", parts=parts)


def test_a_trial_tells_background_regions_and_variables(stimulus: Stimulus) -> None:
    # Five px of the screen to a px of the picture.
    rect = Rect(100, 50, 200, 100)
    assert list(trial_begins(stimulus, rect, "#ff8000", {"kind": "bag", "rating": None, "trial": 3, "empty": ""})) == [
        "!V CLEAR 255 128 0",
        "!V IAREA RECTANGLE 2 150 60 250 100 long_handle",
        "!V IAREA RECTANGLE 7 100 110 300 150 region_7",
        "!V TRIAL_VAR kind bag",
        "!V TRIAL_VAR trial 3",
    ]
    assert picture_stands(stimulus, rect) == "!V IMGLOAD CENTER ../../stimuli/images/bag-01.png 200 100 200 100"
    assert list(trial_ends("skipped", {"drift_deg": 0.5})) == ["!V TRIAL_VAR drift_deg 0.5", "TRIAL_RESULT 2"]
    assert cleared("#000000") == "!V CLEAR 0 0 0"


def test_a_picture_without_regions_has_none(stimulus: Stimulus, tmp_path: Path) -> None:
    plain = Stimulus("plain", tmp_path / "plain.png", 40, 20)
    assert list(trial_begins(plain, Rect(0, 0, 40, 20), "#ffffff", {})) == ["!V CLEAR 255 255 255"]


def trials_told(session: SimulatedSession, **run: Any) -> list[list[tuple[float, str]]]:
    """The messages that a session sends to the tracker's own file, by trial."""
    told: list[tuple[float, str]] = []
    plain = session.tracker.message

    def message(text: str, at_s: float) -> None:
        told.append((at_s, text))
        plain(text, at_s)

    session.tracker.message = message  # type: ignore[method-assign]
    session.run(**run)
    begins = [i for i, (_, text) in enumerate(told) if text.startswith("TRIALID ")]
    return [told[a:b] for a, b in zip(begins, [*begins[1:], len(told)], strict=True)]


def test_each_trial_of_a_session_is_told_whole_and_the_picture_at_its_onset(
    make_study: MakeStudy, prepare: Prepare
) -> None:
    session = prepare(make_study(3, protocol={"rating": True}))
    shown: list[float] = []
    watch = session.display.watcher

    def watcher(onset_s: float, scene: Any) -> None:
        if scene and type(scene[0]).__name__ == "Picture":
            shown.append(onset_s)
        watch(onset_s, scene)

    session.display.watcher = watcher
    trials = trials_told(session)
    assert len(trials) == 3
    for number, (trial, onset_s) in enumerate(zip(trials, shown, strict=True), start=1):
        texts = [text for _, text in trial]
        assert texts[0] == f"TRIALID {number}" and texts[-1] == "TRIAL_RESULT 0"
        assert [at_s for at_s, text in trial if text.startswith("!V IMGLOAD CENTER ")] == [onset_s]
        assert sum(text.startswith("!V IAREA RECTANGLE 1 ") for text in texts) == 1
        names = [text.split()[2] for text in texts if text.startswith("!V TRIAL_VAR ")]
        assert names[:5] == ["participant", "run", "trial", "picture", "exposure"] and names[-1] == "rating"
        # Data Viewer reads no line longer than the tracker takes.
        assert all(len(text) <= 128 and text.isascii() for text in texts)


@pytest.mark.parametrize(
    ("how", "results"),
    [("skip", ["skipped", "complete", "complete"]), ("pause", ["repeated", "complete", "complete", "complete"]),
     ("closed", ["aborted"])],
)  # fmt: skip
def test_a_trial_that_was_cut_short_says_so(
    make_study: MakeStudy, prepare: Prepare, how: str, results: list[str]
) -> None:
    probe = prepare(make_study(3, name="probe"))
    dots: list[float] = []
    watch = probe.display.watcher

    def watcher(onset_s: float, scene: Any) -> None:
        if scene and getattr(scene[0], "colour", "") == "#e00000":
            dots.append(onset_s)
        watch(onset_s, scene)

    probe.display.watcher = watcher
    probe.run()
    at_s = dots[0] + 1.0
    if how == "closed":
        session = prepare(make_study(3), events=[Closed(at_s)])
    else:
        commands = [(at_s, Command(how)), *([(at_s + 3, Command("resume"))] if how == "pause" else [])]
        session = prepare(make_study(3), operator=ScriptedOperator(commands_at=commands))
    trials = trials_told(session)
    ends = [text for trial in trials for _, text in trial if text.startswith("TRIAL_RESULT")]
    assert ends == [f"TRIAL_RESULT {TRIAL_RESULTS[result]}" for result in results]
