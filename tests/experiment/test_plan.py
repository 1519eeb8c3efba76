"""Claims of `experiment.plan`: an order per participant, and a resumed session that does what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.plan import picture_order, picture_rect, plan_session
from shared.errors import StudyError
from shared.screen import Screen
from shared.stimuli import Stimulus
from shared.study import PictureSettings, Study, StudySettings

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


@settings(deadline=None)
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
