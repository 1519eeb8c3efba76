"""Fixations in windows of viewing time: what is cut is conserved."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.analysis.gaze.windows import WINDOW_COLUMNS, Window, in_windows, steps, untimed, windows
from beholder.analysis.results.tables import FIXATION_COLUMNS
from beholder.shared.errors import DataError


def fixations(times: list[tuple[float, float]], participant: str = "01") -> pd.DataFrame:
    """Of (onset_s, duration_s)."""
    return pd.DataFrame(
        {"participant": participant, "run": 1, "trial": 1, "stimulus": "a", "fixation": range(1, len(times) + 1),
         "eye": "left", "onset_s": [t for t, _ in times], "duration_s": [d for _, d in times], "x_px": 1.0,
         "y_px": 2.0, "used": True, "why": ""},
        columns=list(FIXATION_COLUMNS),
    )  # fmt: skip


def of_window(table: pd.DataFrame, start_s: float, end_s: float) -> list[tuple[int, float, float]]:
    """(fixation, onset_s, duration_s) of a window's rows."""
    rows = table[(table["window_start_s"] == start_s) & (table["window_end_s"] == end_s)]
    return list(zip(rows["fixation"], rows["onset_s"].round(9), rows["duration_s"].round(9), strict=True))


SEEN = [(0.0, 0.8), (0.9, 0.3), (1.25, 0.75), (2.0, 1.0)]


def test_by_duration_a_fixation_is_shared_out_over_the_windows_it_overlaps() -> None:
    table = in_windows(fixations(SEEN), [*steps(3.0), Window(0, 3)], "duration")
    assert of_window(table, 0, 1) == [(1, 0.0, 0.8), (2, 0.9, 0.1)]
    assert of_window(table, 1, 2) == [(2, 1.0, 0.2), (3, 1.25, 0.75)]  # the third ends where the window does
    assert of_window(table, 2, 3) == [(4, 2.0, 1.0)]
    assert of_window(table, 0, 3) == [(i, *seen) for i, seen in enumerate(SEEN, start=1)]
    assert list(table.columns) == list(WINDOW_COLUMNS)


def test_by_count_a_fixation_belongs_whole_to_the_window_of_its_onset() -> None:
    table = in_windows(fixations(SEEN), steps(3.0), "count")
    assert of_window(table, 0, 1) == [(1, 0.0, 0.8), (2, 0.9, 0.3)]
    assert of_window(table, 1, 2) == [(3, 1.25, 0.75)]
    assert of_window(table, 2, 3) == [(4, 2.0, 1.0)]


def test_what_was_under_way_at_onset_counts_from_the_onset() -> None:
    seen = fixations([(-0.3, 0.5), (-0.3, 0.2)])
    assert of_window(in_windows(seen, steps(2.0), "duration"), 0, 1) == [(1, 0.0, 0.2)]  # the second was over
    assert [row[0] for row in of_window(in_windows(seen, steps(2.0), "count"), 0, 1)] == [1]


def test_without_a_known_onset_there_is_no_window() -> None:
    seen = pd.concat([fixations(SEEN, "02"), fixations([(math.nan, 0.3)], "01")])
    for weight in ("duration", "count"):
        assert set(in_windows(seen, steps(3.0), weight)["participant"]) == {"02"}  # type: ignore[arg-type]
    assert untimed(seen) == ["01"]
    assert untimed(fixations(SEEN)) == []


times = st.lists(st.tuples(st.floats(-0.5, 12), st.floats(0.001, 3)), max_size=25)


@settings(max_examples=150)
@given(times, st.floats(0.5, 12), st.floats(0.1, 5))
def test_windows_that_make_up_the_whole_conserve_what_is_in_it(
    seen: list[tuple[float, float]], shown_s: float, step_s: float
) -> None:
    """Seconds and fixations alike, of everyone and of each fixation, up to the last step's end."""
    following = steps(shown_s, step_s)
    if not following:
        assert shown_s < step_s / 2
        return
    table, whole = fixations(seen), [Window(0, following[-1].end_s)]
    for weight, column in (("duration", "duration_s"), ("count", "used")):
        parts = in_windows(table, following, weight)  # type: ignore[arg-type]
        every = in_windows(table, whole, weight)  # type: ignore[arg-type]
        expected = every.groupby("fixation")[column].sum()
        found = parts.groupby("fixation")[column].sum().reindex(expected.index, fill_value=0)
        np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=1e-6)
        # The other way round: no window invents a fixation, or a part of one longer than what it lasted.
        assert math.isclose(float(parts[column].sum()), float(every[column].sum()), abs_tol=1e-6)
        if weight == "duration":
            inside = (parts["onset_s"] >= parts["window_start_s"] - 1e-9) & (
                parts["onset_s"] + parts["duration_s"] <= parts["window_end_s"] + 1e-9
            )
            assert inside.all()


@settings(max_examples=200)
@given(st.floats(0.05, 60), st.floats(0.1, 10))
def test_steps_follow_each_other_and_leave_less_than_half_a_step(shown_s: float, step_s: float) -> None:
    found = steps(shown_s, step_s)
    assert all(one.end_s == other.start_s for one, other in pairwise(found))
    assert all(w.end_s - w.start_s == pytest.approx(step_s) for w in found[:-1])
    assert all(step_s / 2 - 1e-6 <= w.end_s - w.start_s <= step_s + 1e-6 for w in found[-1:])
    end_s = found[-1].end_s if found else 0.0
    # A fortieth of a step is what rounding to a twentieth may move the end by.
    assert -step_s / 40 - 1e-6 <= shown_s - end_s <= step_s / 2 + step_s / 40


@settings(max_examples=200)
@given(st.floats(0.05, 60), st.floats(0.1, 10))
def test_the_whole_is_the_first_window_and_the_widest(shown_s: float, step_s: float) -> None:
    """By its width it is told from the others (score_arrays.py)."""
    whole, *beside = windows(shown_s, step_s)
    assert whole == Window(0, shown_s)
    assert all(w.end_s - w.start_s < shown_s for w in beside)


def test_ten_seconds_have_the_windows_that_a_study_reports() -> None:
    found = windows(10.0)
    assert found[:2] == (Window(0, 10), Window(0, 3))
    assert found[2:] == tuple(Window(i, i + 1) for i in range(10))
    assert windows(3.0)[:2] == (Window(0, 3), Window(0, 1))
    assert windows(1.0) == (Window(0, 1),)


@pytest.mark.parametrize("shown_s", [10.0002, 9.9998, 9.98, 10.4])
def test_a_screens_or_a_clocks_tenth_of_a_frame_makes_no_window_and_moves_no_border(shown_s: float) -> None:
    """Ten seconds, or what is too short for an eleventh: the steps are those of ten, the whole is what was measured."""
    assert windows(shown_s) == (Window(0, shown_s), *windows(10.0)[1:])


def test_what_remains_is_a_window_from_half_a_step_on() -> None:
    assert windows(10.6)[-2:] == (Window(9, 10), Window(10, 10.6))
    assert windows(2.5003)[-1] == windows(2.4998)[-1] == Window(2, 2.5)
    assert windows(2.44)[-1] == Window(1, 2)
    # Shorter than half a step, than a step, and nearly as long as the step or the standard: the whole alone.
    for shown_s in (0.3, 0.7, 0.72, 0.98, 1.0002):
        assert windows(shown_s) == (Window(0, shown_s),)
    assert windows(3.0002) == (Window(0, 3.0002), *steps(3.0))
    assert steps(0.3) == ()


def test_nothing_in_gives_the_columns_all_the_same() -> None:
    for table in (in_windows(fixations([]), steps(2.0), "duration"), in_windows(fixations(SEEN), [], "count")):
        assert table.empty and list(table.columns) == list(WINDOW_COLUMNS)


@pytest.mark.parametrize("start_s, end_s", [(1, 1), (2, 1), (-1, 1), (math.nan, 1)])
def test_what_is_no_window_is_refused(start_s: float, end_s: float) -> None:
    with pytest.raises(ValueError, match="must end after"):
        Window(start_s, end_s)


def test_other_weights_and_times_are_refused() -> None:
    with pytest.raises(ValueError, match="duration or count"):
        in_windows(fixations(SEEN), steps(2.0), "overlap")  # type: ignore[arg-type]
    for shown_s, step_s in ((0, 1), (math.nan, 1), (3, 0)):
        with pytest.raises(ValueError, match="more than 0 s"):
            windows(shown_s, step_s)


def test_more_windows_than_fit_into_memory_are_refused_with_the_setting() -> None:
    with pytest.raises(DataError, match=r"more than 1000 windows.*window_step_s"):
        steps(10.0, 1e-9)
