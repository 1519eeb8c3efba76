"""Claims of `experiment.plan`: an order per participant, and a resumed session that does what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.experiment.plan import picture_order, picture_rect, plan_from_disk, plan_session
from beholder.experiment.session.operator import Command
from beholder.shared.errors import DataError, StudyError
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.screen import Screen
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import PictureSettings, Study, StudySettings
from tests.headers import session_header

STIMULI = tuple(Stimulus(f"bag-{n:02d}", Path(f"bag-{n:02d}.png"), 80, 60) for n in range(1, 21))
STUDY = Study()


def events(*pictures: tuple[int, str, str]) -> pd.DataFrame:
    """An events table of pictures: (trial, stim_file, status)."""
    table = pd.DataFrame(list(pictures), columns=["trial", "stim_file", "status"])
    return table.assign(trial_type="picture").astype({"trial": "Int64"})


def test_each_participant_has_an_order_of_their_own_that_the_study_fixes() -> None:
    orders = {label: picture_order(STUDY, STIMULI, label) for label in ("01", "02", "03")}
    assert len({tuple(s.name for s in order) for order in orders.values()}) == 3
    assert picture_order(STUDY, STIMULI[::-1], "01") == orders["01"]
    other_seed = Study(study=StudySettings(seed=2))
    assert picture_order(other_seed, STIMULI, "01") != orders["01"]
    assert sorted(s.name for s in orders["01"]) == [s.name for s in STIMULI]


@given(st.integers(0, 20), st.sampled_from(["nothing", "aborted", "repeated"]))
def test_a_resumed_session_begins_at_the_first_trial_without_a_complete_picture(shown: int, then: str) -> None:
    order = picture_order(STUDY, STIMULI, "01")
    rows = [(n, order[n - 1].stim_file, "complete") for n in range(1, shown + 1)]
    if then != "nothing" and shown < 20:
        rows.append((shown + 1, order[shown].stim_file, then))
    plan = plan_session(STUDY, STIMULI, "01", [(1, events(*rows))])
    assert plan.run == 2
    assert [trial.number for trial in plan.trials] == list(range(shown + 1, 21))
    assert [trial.stimulus for trial in plan.trials] == list(order[shown:])
    seen_before = [trial.exposure == "repeat" for trial in plan.trials]
    assert seen_before == [then != "nothing" and n == 0 for n in range(len(plan.trials))]


def test_a_skipped_picture_comes_back_and_later_complete_ones_do_not() -> None:
    order = picture_order(STUDY, STIMULI, "01")
    rows = [(1, order[0].stim_file, "aborted"), (2, order[1].stim_file, "complete")]
    plan = plan_session(STUDY, STIMULI, "01", [(1, events(*rows))])
    assert [trial.number for trial in plan.trials[:2]] == [1, 3]
    assert plan.trials[0].exposure == "repeat"


def test_runs_add_up_and_the_next_one_has_the_next_number() -> None:
    order = picture_order(STUDY, STIMULI, "01")
    first = (1, events((1, order[0].stim_file, "complete"), (2, order[1].stim_file, "aborted")))
    second = (2, events((2, order[1].stim_file, "complete")))
    plan = plan_session(STUDY, STIMULI, "01", [second, first])
    assert plan.run == 3
    assert plan.trials[0].number == 3


def test_another_run_shows_all_again_and_can_be_resumed_itself() -> None:
    order = picture_order(STUDY, STIMULI, "01")
    complete = (1, events(*((n, order[n - 1].stim_file, "complete") for n in range(1, 21))))
    assert plan_session(STUDY, STIMULI, "01", [complete]).trials == ()
    again = plan_session(STUDY, STIMULI, "01", [complete], again=True)
    assert (again.run, [trial.number for trial in again.trials]) == (2, list(range(1, 21)))
    assert {trial.exposure for trial in again.trials} == {"repeat"}
    cut_short = (2, events((1, order[0].stim_file, "complete"), (2, order[1].stim_file, "aborted")))
    resumed = plan_session(STUDY, STIMULI, "01", [complete, cut_short])
    assert (resumed.run, [trial.number for trial in resumed.trials]) == (3, list(range(2, 21)))
    rest = (3, events(*((n, order[n - 1].stim_file, "complete") for n in range(2, 21))))
    assert plan_session(STUDY, STIMULI, "01", [complete, cut_short, rest]).trials == ()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12))
def test_however_often_a_participant_is_interrupted_each_pass_has_each_trial_complete_once(shown: list[int]) -> None:
    earlier: list[tuple[int, pd.DataFrame]] = []
    complete: list[int] = []
    for run, until in enumerate(shown, start=1):
        plan = plan_session(STUDY, STIMULI, "01", earlier)
        if not plan.trials:
            assert sorted(complete) == list(range(1, 21))
            plan, complete = plan_session(STUDY, STIMULI, "01", earlier, again=True), []
        assert plan.run == run
        rows = [(t.number, t.stimulus.stim_file, "complete") for t in plan.trials[:until]]
        rows += [(t.number, t.stimulus.stim_file, "aborted") for t in plan.trials[until : until + 1]]
        complete += [number for number, _, status in rows if status == "complete"]
        assert len(set(complete)) == len(complete), "none complete twice in a pass"
        earlier.append((run, events(*rows)))


def test_pictures_that_were_changed_since_are_an_error_that_says_so() -> None:
    order = picture_order(STUDY, STIMULI, "01")
    for stimuli, row in ((STIMULI[:-1], (1, order[0].stim_file)), (STIMULI, (1, order[1].stim_file))):
        changed: Any = [(1, events((*row, "complete")))]
        if picture_order(STUDY, stimuli, "01")[0].stim_file != row[1]:
            with pytest.raises(StudyError, match="put the pictures and the seed back"):
                plan_session(STUDY, stimuli, "01", changed)
        else:
            assert plan_session(STUDY, stimuli, "01", changed).trials[0].number == 2


def test_the_size_is_of_the_longer_side_or_of_the_width_as_the_study_says() -> None:
    screen = Screen(1920, 1920, 53.0, 53.0, 60.0)
    upright = Stimulus("a", Path("a.png"), 600, 800)
    longer = picture_rect(screen, upright, PictureSettings(size_deg=20.0))
    wide = picture_rect(screen, upright, PictureSettings(size_deg=20.0, size_of="width"))
    # The rectangle is rounded to whole, even px, 0.03 degrees each.
    assert screen.width_deg(wide) == pytest.approx(20.0, abs=0.05)
    assert longer.height_px == pytest.approx(wide.width_px, abs=2)
    assert wide.height_px / wide.width_px == pytest.approx(800 / 600, rel=0.01)
    with pytest.raises(StudyError, match="larger than the screen"):
        picture_rect(screen, upright, PictureSettings(size_deg=60.0))
    with pytest.raises(StudyError, match="size_deg is not set"):
        picture_rect(screen, upright, PictureSettings())


# What is typed, and what is on the disk.


def test_a_first_session_needs_no_switch_and_takes_no_other(make_study: Callable[..., Path]) -> None:
    folder = make_study(2)
    assert plan_from_disk(folder, "01").run == 1 == plan_from_disk(folder, "01", another_run=1).run
    begin = f'begin with "beholder run {folder} --participant 01"'
    wrong: list[dict[str, Any]] = [{"resume": True}, {"another_run": 2}]
    for switches in wrong:
        with pytest.raises(StudyError, match=begin):
            plan_from_disk(folder, "01", **switches)
    with pytest.raises(DataError, match="letters and digits"):
        plan_from_disk(folder, "P 1")


def test_a_complete_participant_is_measured_again_only_as_the_run_that_is_next(
    make_study: Callable[..., Path], prepare: Callable[..., Any]
) -> None:
    folder = make_study(2)
    prepare(folder).run()
    next_one = f'"beholder run {folder} --participant 01 --run 2"'
    wrong: list[dict[str, Any]] = [{}, {"resume": True}, {"another_run": 1}, {"another_run": 3}]
    for switches in wrong:
        with pytest.raises(StudyError, match=next_one):
            plan_from_disk(folder, "01", **switches)
    plan = plan_from_disk(folder, "01", another_run=2)
    assert (plan.run, [trial.number for trial in plan.trials]) == (2, [1, 2])


def test_an_incomplete_participant_is_resumed_and_nothing_else(
    make_study: Callable[..., Path], prepare: Callable[..., Any]
) -> None:
    folder = make_study(2)
    session = prepare(folder)
    session.operator._coming = [(30.0, Command("stop"))]
    assert session.run().status == "aborted"
    for switches in ({}, {"another_run": 2}):
        with pytest.raises(
            StudyError, match=f'2 pictures left: go on with "beholder run {folder} --participant 01 --res'
        ):
            plan_from_disk(folder, "01", **switches)
    assert plan_from_disk(folder, "01", resume=True).run == 2


def test_a_running_session_is_never_planned_over_and_a_journal_that_cannot_be_recovered_is_named(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(2)
    writer = JournalWriter(folder, session_header())
    with pytest.raises(StudyError, match="being recorded now"):
        plan_from_disk(folder, "01")
    assert plan_from_disk(folder, "02").run == 1
    writer.close()
    with pytest.raises(StudyError, match="left by a crash and could not be recovered"):
        plan_from_disk(folder, "01")
