"""Claims of `experiment.session`: the protocol is kept to the frame, and every way out leads through the same door."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiment.devices import Batch, Calibration, Closed, Key, Notice, Picture, Point, Shape, WindowEvent
from experiment.headless import ScriptedOperator
from experiment.plan import plan_from_disk
from experiment.session import CalibrationOutcome, Command, Outcome, checked_answer, read_texts
from experiment.simulation import SimulatedSession
from shared import dataset
from shared.errors import StudyError, TrackerError
from shared.gaze import no_samples

MakeStudy = Callable[..., Path]
Prepare = Callable[..., SimulatedSession]
Valid = Callable[[Path], None]


def events_of(folder: Path, run: int = 1) -> pd.DataFrame:
    (found,) = (r for r in dataset.runs(folder, with_gaze=False) if r.run == run)
    return dataset.read_events(found.events_file)


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
    recording = dataset.read_recording(dataset.runs(folder)[0])
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
    recording = dataset.read_recording(dataset.runs(folder)[0])
    times = recording.samples["time_s"] - recording.samples["time_s"][0]
    away_deg = recording.screen.angle_deg(recording.samples["left_x_px"], recording.samples["left_y_px"], 960, 540)
    for _, picture in recording.events.query("trial_type == 'picture'").iterrows():
        before = (times > picture["onset"] - 1) & (times < picture["onset"] + 0.05)
        assert away_deg[before].max() < 0.6, "the eyes are on the dot, and stay there for their latency"


def test_the_form_is_asked_once_and_its_answers_are_the_participants(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(protocol={"form": ["age", "sex", "handedness"], "rating": True})
    prepare(folder).run()
    table = dataset.read_participants(folder)
    assert list(table.columns) == ["participant_id", "age", "sex", "handedness"]
    assert 18 <= int(table.loc["01", "age"]) <= 40
    assert table.loc["01", ["sex", "handedness"]].isna().all()
    ratings = events_of(folder).query("trial_type == 'rating'")
    assert len(ratings) == 3
    assert ratings["rating"].between(1, 7).all()


@pytest.mark.parametrize(
    ("question", "answer", "kept"),
    [("age", "24", "24"), ("age", "90", "89"), ("age", "", "n/a"), ("sex", "o", "O"), ("group", " a  b ", "a b")],
)
def test_answers_are_kept_without_what_could_identify(question: str, answer: str, kept: str) -> None:
    assert checked_answer(question, answer) == kept


@pytest.mark.parametrize(("question", "answer"), [("age", "young"), ("age", "0"), ("age", "240"), ("sex", "woman")])
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

    assert keys(read_texts("en")) == keys(read_texts("es"))
    assert "{pictures}" in read_texts("es")["instructions"]


# Validation and drift.


def test_a_validation_that_fails_is_repeated_and_its_override_is_kept(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(limits={"accuracy_mean_deg": 0.001, "accuracy_worst_deg": 0.001})
    prepare(folder).run()
    recording = dataset.read_recording(dataset.runs(folder)[0])
    for eye in ("left", "right"):
        validation = recording.validation[eye]
        assert validation is not None
        assert (validation["passed"], validation["accepted"], validation["overridden_by"]) == (
            False,
            True,
            "simulation",
        )
        assert [v["accepted"] for v in recording.sidecars[eye]["Validations"]] == [False, False, True]
        assert recording.sidecars[eye]["CalibrationCount"] == 3


def test_an_observer_without_eyes_fails_validation_with_no_figures(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(observer={"loss_percent": 100.0})
    prepare(folder).run()
    validation = dataset.read_recording(dataset.runs(folder)[0]).validation["left"]
    assert validation is not None
    assert validation["passed"] is False
    assert (validation["accuracy_deg"], validation["loss_percent"]) == (None, 100.0)


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
    first, second = dataset.read_recording(dataset.runs(folder)[0]).sidecars["left"]["Validations"]
    same = [a == b for a, b in zip(first["points"], second["points"], strict=True)]
    assert same == [True, False, True, True]


def test_the_drift_is_missing_where_the_observer_looks_away(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(observer={"look_away": 1.0})
    prepare(folder).run()
    dots = events_of(folder).query("trial_type == 'dot'")
    assert dots[["drift_x_deg", "drift_y_deg", "drift_deg"]].isna().all(axis=None)
    text = dataset.runs(folder)[0].events_file.read_text()
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
    assert len(dataset.read_recording(dataset.runs(folder)[0]).sidecars["left"]["CalibrationPosition"]) == 5


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


def test_a_break_is_offered_after_the_studys_number_of_pictures(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(4, protocol={"break_every": 2})
    prepare(folder).run()
    kinds = events_of(folder)["trial_type"].tolist()[2:]
    assert kinds == ["dot", "picture"] * 2 + ["pause"] + ["dot", "picture"] * 2


# The door.


def leave_by(kind: str, at_s: float) -> dict[str, Any]:
    events: dict[str, WindowEvent] = {"escape": Key("escape", at_s), "closed": Closed(at_s)}
    if kind in events:
        return {"events": [events[kind]]}
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
    assert dataset.journals(folder) == ()
    # The tracker's own file was fetched on the way out.
    assert (folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_truth.json").exists()
    assert pictures_of(folder) == [(1, "complete", "first"), (2, "aborted", "first")]
    aborted = events_of(folder).iloc[-1]
    assert 0.9 < aborted["duration"] < 1.6
    recording = dataset.read_recording(dataset.runs(folder)[0])
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
    assert len(dataset.runs(folder)) == 1


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
    recording = dataset.read_recording(dataset.runs(folder)[0])
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
    assert len(dataset.runs(folder)) == 1


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
    assert list(dataset.read_participants(folder).index) == ["01"]
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
