"""The whole of `beholder run` under a virtual screen: a robot in the participant's place, another at the terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.study import read_study
from beholder.shared.tables import read_events
from tests.experiment.robot import (
    HEIGHT_PX,
    PICTURE,
    PROGRAM,
    RATE_HZ,
    REASON,
    TIMEOUT_S,
    WIDTH_PX,
    Operator,
    Robot,
    VirtualScreen,
    on_a_virtual_screen,
)

pytestmark = on_a_virtual_screen


# ------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[VirtualScreen]:
    virtual = VirtualScreen(tmp_path)
    yield virtual
    virtual.close()


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """Two teal pictures, the virtual screen's measures, and short times."""
    source = tmp_path / "photographs"
    (source / "masks").mkdir(parents=True)
    for name, size in (("one", (400, 300)), ("two", (300, 300))):
        Image.new("RGB", size, PICTURE).save(source / f"{name}.png")
        mask = np.zeros(size[::-1], np.uint8)
        mask[100:200, 100:200] = 1
        Image.fromarray(mask).save(source / "masks" / f"{name}.png")
    folder = tmp_path / "study"
    subprocess.run([*PROGRAM, "new", str(folder), "--stimuli", str(source)], check=True, stdout=subprocess.DEVNULL)
    settings = folder / "study.toml"
    text = settings.read_text()
    for name, was, now in (
        ("width_px", 1920, WIDTH_PX), ("height_px", 1080, HEIGHT_PX), ("width_cm", 53.0, 32.0),
        ("height_cm", 29.8, 20.0), ("size_deg", 20.0, 12.0), ("dot_s", 5.0, 2.0), ("picture_s", 10.0, 3.0),
        # A virtual screen on a busy machine is no lab's.
        ("late_ms", 100.0, 2500.0),
        # The analysis is to come to its end, not to find much.
        ("longer_side_px", 224, 56), ("sigma_step", 0.1, 0.3), ("random_weights", 20, 1),
    ):  # fmt: skip
        assert f"{name} = {was}\n" in text
        text = text.replace(f"{name} = {was}\n", f"{name} = {now}\n")
    settings.write_text(text.replace('background = "#008080"', 'background = "#ffffff"'))
    return folder


@pytest.fixture
def live(screen: VirtualScreen, study_folder: Path) -> Iterator[Callable[..., Robot]]:
    """live("--participant", "01", ...) -> a robot before a session that has just been started."""
    operators: list[Operator] = []

    def start(*words: str) -> Robot:
        command = ["run", study_folder, *words]
        operators.append(Operator(*command, environment=screen.environment))
        kept = os.environ.get("BEHOLDER_SCREENSHOTS")
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
        study = read_study(study_folder)
        assert study.screen is not None
        return Robot(screen, operators[-1], Path(kept) if kept else None, study.screen.screen().px_per_deg)

    yield start
    for operator in operators:
        operator.close()


def ask_nothing(study_folder: Path) -> None:
    """A study without a form."""
    settings = study_folder / "study.toml"
    text = settings.read_text()
    (asked,) = (line for line in text.splitlines() if line.startswith("form = "))
    settings.write_text(text.replace(asked, "form = []"))


def accept_the_validation(robot: Robot) -> None:
    """The operator reads the verdict in the terminal, and accepts by its key."""
    robot.look(until=lambda: "validation passed" in robot.operator.read())
    robot.wait_for_change()
    robot.keep("validation")
    robot.operator.press("a")


def begin(robot: Robot, *, form: bool) -> None:
    """From the welcome to the first target."""
    last = robot.fill_in_the_form() if form else robot.answer("welcome", lambda: robot.screen.key("space"), None)
    last = robot.answer("instructions", lambda: robot.screen.key("space"), last)
    robot.answer("calibration", robot.click_the_first_button, last)


# --------------------------------------------------------------------------------------------------------- claims


def explained_by(moves: NDArray[np.float64], samples: NDArray[np.void], within_s: float) -> NDArray[np.bool_]:
    """(n,) whether each sample lies within 1 px of where the pointer may have been within so many seconds of it.

    moves (m, 4): the pointer was put at x, y between two times; it stays there until the next move, at the latest.
    """
    until_s = np.append(moves[1:, 1], np.inf)
    time_s = samples["time_s"][:, None]
    then = (time_s >= moves[:, 0] - within_s) & (time_s <= until_s + within_s)
    near = np.abs(samples["left_x_px"][:, None] - moves[:, 2]) <= 1
    near &= np.abs(samples["left_y_px"][:, None] - moves[:, 3]) <= 1
    explained: NDArray[np.bool_] = (then & near).any(axis=1)
    return explained


def test_a_whole_session_records_where_the_pointer_was_and_is_analysed(
    live: Callable[..., Robot], screen: VirtualScreen, study_folder: Path, assert_valid: Callable[[Path], None]
) -> None:
    settings = study_folder / "study.toml"
    text = (
        settings.read_text().replace("rating = false", "rating = true").replace("break_every = 10", "break_every = 1")
    )
    settings.write_text(text)
    robot = live("--participant", "01", "--tracker", "mouse", "--override", REASON, "--group", "a")
    begin(robot, form=True)
    accept_the_validation(robot)
    robot.look(until=lambda: robot.operator.process.poll() is not None)
    assert robot.operator.end() == 0, robot.operator.shown[-3000:]
    assert f'next: "beholder analyze {study_folder}"' in " ".join(robot.operator.shown.split())
    assert_valid(study_folder)
    row = read_participants(study_folder).loc["01"]
    assert row[["consent", "age", "sex", "vision", "group"]].tolist() == ["yes", "24", "F", "none", "a"]

    (run,) = runs(study_folder)
    recording = read_recording(run)
    events = recording.events
    of_trial = ["dot", "picture", "rating"]
    assert events["trial_type"].tolist() == ["calibration", "validation", *of_trial, "pause", *of_trial]
    assert events[events["trial_type"] == "rating"]["rating"].tolist() == [4, 4], "the middle one of seven"
    assert set(events["status"]) == {"complete"}
    assert (events[events["trial_type"] == "dot"]["drift_deg"] < 0.1).all()
    sidecar = json.loads(next(run.events_file.parent.glob("*eye1_physio.json")).read_text())
    assert sidecar["Simulated"] is True and sidecar["Validation"]["passed"]
    assert sidecar["Validation"]["accuracy_deg"] < 0.1
    preflight = json.loads(run.events_file.with_suffix(".json").read_text())["Preflight"]
    assert preflight["override"] == REASON
    assert ("unfit", "refresh rate") in [(check["verdict"], check["what"]) for check in preflight["checks"]]
    assert str(study_folder.parent) not in json.dumps(preflight)

    # Every sample from the validation on is explained by the path, to 1 px and one sample; and the path is all there.
    moves = np.array(screen.moves)
    samples = recording.samples
    assert not np.isnan(samples["left_x_px"]).any()
    strange = ~explained_by(moves, samples, 1 / RATE_HZ)
    assert not strange.any(), samples[strange][:10]
    for wrong_by in ({"time_s": 0.05}, {"left_x_px": 2.5}, {"left_y_px": -2.5}):
        ((name, by),) = wrong_by.items()
        moved = samples.copy()
        moved[name] += by
        assert not explained_by(moves, moved, 1 / RATE_HZ).all(), "this check would notice"
    first_s = samples["time_s"][0]
    for _, shown in events[events["trial_type"] == "picture"].iterrows():
        start_s, end_s = first_s + shown["onset"], first_s + shown["onset"] + shown["duration"]
        during = (moves[:-1, 1] > start_s) & (moves[1:, 0] < end_s)
        assert during.sum() >= 4
        for move, following in zip(moves[:-1][during], moves[1:][during], strict=True):
            dwelt = (samples["time_s"] > move[1]) & (samples["time_s"] < following[0])
            assert dwelt.sum() > 0.4 * RATE_HZ * (following[0] - move[1]), "most of its samples, on a busy machine"

    if sys.version_info < (3, 11):
        return  # a lab's computer; the analysis has its own
    # What was recorded feeds straight into the analysis.
    done = subprocess.run(
        [*PROGRAM, "analyze", str(study_folder), "--model", "offline"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    fixations = pd.read_parquet(study_folder / "derivatives" / "beholder" / "fixations.parquet")
    assert fixations["stimulus"].nunique() == 2 and (fixations.groupby("stimulus").size() >= 3).all()


def test_a_closed_window_keeps_what_was_recorded_and_resume_completes_it(
    live: Callable[..., Robot], screen: VirtualScreen, study_folder: Path, assert_valid: Callable[[Path], None]
) -> None:
    ask_nothing(study_folder)

    robot = live("--participant", "07", "--override", REASON)
    begin(robot, form=False)
    accept_the_validation(robot)
    robot.look(until=lambda: robot.sees_picture(screen.grab()), explores=False)
    screen.tool("search", "--name", "^Beholder$", "windowclose")
    assert robot.operator.end() == 1, robot.operator.shown[-3000:]
    go_on = f'"beholder run {study_folder} --participant 07 --resume"'
    assert go_on in " ".join(robot.operator.shown.replace("\r\n", "").split())
    assert "Traceback" not in robot.operator.shown
    assert_valid(study_folder)
    (first,) = runs(study_folder)
    shown = read_events(first.events_file).query("trial_type == 'picture'")
    assert shown["status"].tolist() == ["aborted"]

    # Without the word for it, nothing is done: nobody is measured twice by a slip.
    refused = Operator("run", study_folder, "--participant", "07", environment=screen.environment)
    assert refused.end() == 1 and "--resume" in refused.shown
    refused.close()

    robot = live("--participant", "07", "--resume", "--override", REASON)
    begin(robot, form=False)
    accept_the_validation(robot)
    robot.look(until=lambda: robot.operator.process.poll() is not None)
    assert robot.operator.end() == 0, robot.operator.shown[-3000:]
    assert_valid(study_folder)
    _, second = runs(study_folder)
    shown = read_events(second.events_file).query("trial_type == 'picture'")
    assert shown["trial"].tolist() == [1, 2] and set(shown["status"]) == {"complete"}
    assert shown["exposure"].tolist() == ["repeat", "first"]


def test_a_screen_that_is_unplugged_ends_the_session_in_a_sentence_and_loses_nothing(
    live: Callable[..., Robot], screen: VirtualScreen, study_folder: Path, assert_valid: Callable[[Path], None]
) -> None:
    ask_nothing(study_folder)
    robot = live("--participant", "07", "--override", REASON)
    begin(robot, form=False)
    accept_the_validation(robot)
    robot.look(until=lambda: robot.sees_picture(screen.grab()), explores=False)
    pulled_s = time.perf_counter()
    screen.server.kill()
    assert robot.operator.end() == 1
    assert "Traceback" not in robot.operator.shown and "--resume" in robot.operator.shown
    assert_valid(study_folder)
    recording = read_recording(runs(study_folder)[0])
    assert recording.samples["time_s"][-1] > pulled_s - 0.5
    assert recording.events["status"].tolist()[-1] == "aborted"


def test_a_computer_that_stands_still_for_20_s_in_mid_picture_is_told_and_the_picture_left_out(
    live: Callable[..., Robot], screen: VirtualScreen, study_folder: Path, assert_valid: Callable[[Path], None]
) -> None:
    ask_nothing(study_folder)
    robot = live("--participant", "01", "--tracker", "mouse", "--override", REASON)
    begin(robot, form=False)
    accept_the_validation(robot)
    robot.look(until=lambda: robot.sees_picture(screen.grab()), explores=False)
    robot.operator.process.send_signal(signal.SIGSTOP)
    time.sleep(20)
    robot.operator.process.send_signal(signal.SIGCONT)
    going_s = time.monotonic()
    while "held up" not in robot.operator.read():
        assert time.monotonic() < going_s + 5, robot.operator.shown[-3000:]
        time.sleep(0.05)
    robot.look(until=lambda: robot.operator.process.poll() is not None)
    assert robot.operator.end() == 0, robot.operator.shown[-3000:]
    said = " ".join(robot.operator.shown.replace("\r\n", " ").split())
    late = [part[:80] for part in said.split("trial 1")[1:]]
    assert any("is late" in part for part in late), late
    sheet = said[said.rindex("Quality of") :]
    assert "2 of 2 seen, 0 left, 1 late" in sheet, sheet
    assert_valid(study_folder)
    (run,) = runs(study_folder)
    shown = read_events(run.events_file).query("trial_type == 'picture'")
    assert shown["status"].tolist() == ["late", "complete"] and shown["duration"].iloc[0] > 20
    assert shown["dropped_frames"].iloc[0] > 15 * 60
    if sys.version_info < (3, 11):
        return  # a lab's computer; the analysis has its own
    done = subprocess.run(
        [*PROGRAM, "analyze", str(study_folder), "--model", "offline"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    results = study_folder / "derivatives" / "beholder"
    assert pd.read_csv(results / "trials.csv")["why"].fillna("").tolist() == ["late", ""]
    page = " ".join((results / "report.html").read_text("utf-8").split())
    assert "shown late, or with frames missed" in page
    # What stands in the methods is what was recorded, of the picture that counts.
    assert re.search(r"each for 3(\.0\d)? s after a dot of 2 s", page) or re.search(r"each for 2\.9\d s after", page)
    # Nor does it say that nothing had to be mended.
    assert "it was run although not fit" in page and REASON in page


def test_a_screen_without_vertical_sync_is_not_used_without_a_reason(
    live: Callable[..., Robot], study_folder: Path
) -> None:
    robot = live()
    until_s = time.monotonic() + TIMEOUT_S
    while "label" not in robot.operator.read() and time.monotonic() < until_s:
        time.sleep(0.1)
    robot.operator.press("01\r")
    assert robot.operator.end() == 1
    said = " ".join(robot.operator.shown.replace("\r\n", " ").split())
    assert "not fit for a session: refresh rate" in said and '--override "REASON"' in said
    assert not list(study_folder.glob("sub-*")) and not list(study_folder.glob(".beholder/journal/*/session.json"))
