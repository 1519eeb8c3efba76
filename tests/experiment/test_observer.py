"""Claims of `experiment.observer`: gaze follows the map that was planted, and moves as eyes do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from beholder.experiment.devices import Dot, Picture, Text
from beholder.experiment.observer import (
    Fixation,
    Observer,
    centre_points,
    durations_s,
    gaze_at,
    generator,
    map_points,
    picture_points,
    read_densities,
    saccade_s,
)
from beholder.shared.errors import StudyError
from beholder.shared.screen import Rect, Screen
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import ObserverSettings, Study

SCREEN = Screen(1920, 1080, 53.0, 29.8125, 60.0)
PICTURE = Picture(Path("bag.png"), Rect(560.0, 140.0, 800.0, 800.0))
DOT = Dot(960.0, 540.0, 20.0, "#e00000")
TARGET = Dot(700.0, 300.0, 20.0, "#202020", 5.0)


def observer(density: np.ndarray | None = None, seed: int = 0, **settings: float) -> Observer:
    return Observer(ObserverSettings(**settings), SCREEN, {"bag.png": density}, 0.22, np.random.default_rng(seed))


def test_points_fall_into_the_cells_in_proportion_to_the_map() -> None:
    density = np.array([[1.0, 0.0, 3.0], [0.5, 2.0, 0.0]])
    points = map_points(np.random.default_rng(1), 20_000, density)
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=(2, 3), range=((0, 1), (0, 1)))
    assert counts[0, 1] == counts[1, 2] == 0
    inside = density > 0
    assert stats.chisquare(counts[inside], 20_000 * density[inside] / density.sum()).pvalue > 1e-3


def test_points_lie_anywhere_alike_within_a_cell() -> None:
    points = map_points(np.random.default_rng(2), 5000, np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert stats.kstest(points[:, 0], stats.uniform(0.5, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest(points[:, 1], stats.uniform(0.0, 0.5).cdf).pvalue > 1e-3


@given(st.integers(1, 30), st.integers(1, 30), st.data())
@settings(max_examples=50)
def test_no_point_falls_where_the_map_is_empty(rows: int, columns: int, data: st.DataObject) -> None:
    density = np.zeros((rows, columns))
    filled = data.draw(st.lists(st.integers(0, rows * columns - 1), min_size=1, max_size=3))
    density.flat[filled] = 1.0
    points = map_points(np.random.default_rng(0), 50, density)
    assert ((points >= 0) & (points < 1)).all()
    assert (density[(points[:, 1] * rows).astype(int), (points[:, 0] * columns).astype(int)] > 0).all()


def test_the_centre_is_a_gaussian_cut_at_the_edges() -> None:
    points = centre_points(np.random.default_rng(3), 10_000, 0.22)
    assert ((points >= 0) & (points <= 1)).all()
    expected = stats.truncnorm(-0.5 / 0.22, 0.5 / 0.22, loc=0.5, scale=0.22)
    assert stats.kstest(points[:, 0], expected.cdf).pvalue > 1e-3


def test_follow_is_the_share_drawn_from_the_map() -> None:
    corner = np.zeros((50, 50))
    corner[0, 0] = 1.0
    for follow in (0.0, 0.3, 1.0):
        points = picture_points(np.random.default_rng(4), 4000, corner, follow, 0.22)
        in_corner = int(((points[:, 0] < 0.02) & (points[:, 1] < 0.02)).sum())
        # The centre puts about 0.0002 there by itself.
        assert stats.binomtest(in_corner, 4000, max(follow, 0.0002)).pvalue > 1e-3


def test_durations_are_lognormal_about_their_median() -> None:
    logs = np.log(durations_s(np.random.default_rng(5), 5000, 0.28, 0.45))
    assert stats.kstest(logs, stats.norm(np.log(0.28), 0.45).cdf).pvalue > 1e-3


def test_a_saccade_of_ten_degrees_takes_43_milliseconds() -> None:
    assert saccade_s(10.0) == pytest.approx(0.043)


def test_gaze_rests_during_fixations_and_is_half_way_in_mid_saccade() -> None:
    path = [Fixation(0.0, 1.0, 100.0, 50.0, "dot"), Fixation(1.1, 2.0, 200.0, 150.0, "dot")]
    x, y = gaze_at(np.array([0.0, 0.5, 1.0, 1.05, 1.1, 2.0]), path)
    np.testing.assert_allclose(x, [100, 100, 100, 150, 200, 200])
    np.testing.assert_allclose(y, [50, 50, 50, 100, 150, 150])
    # The peak velocity of a minimum-jerk movement is 15/8 of its mean velocity.
    times = np.linspace(1.0, 1.1, 2001)
    speed = np.abs(np.gradient(gaze_at(times, path)[0], times))
    assert speed.max() == pytest.approx(15 / 8 * 100 / 0.1, rel=1e-3)


def test_gaze_does_not_depend_on_how_often_it_is_asked_for() -> None:
    times = np.arange(0, 12, 0.004)
    scenes = [(0.5, [TARGET]), (2.0, [DOT]), (5.0, [PICTURE]), (9.0, []), (10.0, [Text("a", 960, 540, 20)])]

    def watched(pieces: int) -> np.ndarray:
        eyes = observer(np.ones((4, 4)))
        found = []
        for (start, scene), end in zip([(0.0, None), *scenes], [at for at, _ in scenes] + [12.0], strict=True):
            if scene is not None:
                eyes.see(start, scene)
            for piece in np.array_split(times[(times >= start) & (times < end)], pieces):
                found.append(np.stack(eyes.gaze(piece)))
        return np.concatenate(found, axis=1)

    np.testing.assert_array_equal(watched(1), watched(37))


def test_the_first_fixation_of_a_picture_carries_on_from_the_dot() -> None:
    eyes = observer(np.ones((4, 4)), look_away=0.0)
    eyes.see(0.0, [DOT])
    eyes.gaze(np.array([4.999]))
    eyes.see(5.0, [PICTURE])
    eyes.gaze(np.array([15.0]))
    under_way = next(f for f in eyes.fixations if f.end_s > 5.0)
    assert under_way.on == "dot"
    assert 5.05 < under_way.end_s < 5.5
    assert {f.on for f in eyes.fixations if f.start_s > under_way.end_s} == {"picture"}


def test_an_observer_told_to_look_at_a_target_stays_there_until_it_goes() -> None:
    eyes = observer()
    eyes.see(0.0, [TARGET])
    x, y = eyes.gaze(np.arange(0.5, 20, 0.1))
    assert np.ptp(x) == np.ptp(y) == 0
    assert (x[0], y[0]) == (700.0, 300.0)


def test_a_target_that_shrinks_is_the_same_one_to_the_eyes_and_one_elsewhere_is_not() -> None:
    def followed(sizes_px: list[float], second_x_px: float) -> np.ndarray:
        eyes = observer(seed=3)
        for i, size_px in enumerate(sizes_px):
            eyes.see(1.0 + 0.1 * i, [Dot(500.0, 400.0, size_px, "#202020", 5.0)])
        eyes.see(3.0, [Dot(second_x_px, 400.0, 20.0, "#202020", 5.0)])
        return np.stack(eyes.gaze(np.arange(0, 5, 0.01)))

    steady, shrinking = followed([45.0], 900.0), followed([45.0, 40.0, 30.0, 20.0], 900.0)
    np.testing.assert_array_equal(steady, shrinking)
    assert steady[0, 200] == 500.0
    assert steady[0, -1] == 900.0


@pytest.mark.parametrize("look_away", [0.0, 0.25, 1.0])
def test_look_away_is_the_share_of_the_dots_fixations_spent_elsewhere(look_away: float) -> None:
    eyes = observer(look_away=look_away)
    eyes.see(0.0, [DOT])
    eyes.gaze(np.array([1000.0]))
    on_dot = [f for f in eyes.fixations if f.on in ("dot", "away")]
    away = [f for f in on_dot if f.on == "away"]
    assert stats.binomtest(len(away), len(on_dot), look_away).pvalue > 1e-3
    for fixation in away:
        assert SCREEN.angle_deg(np.array(fixation.x_px), np.array(fixation.y_px), 960, 540) > 3.0


def test_eyes_stay_on_the_screen() -> None:
    eyes = observer(look_away=1.0)
    eyes.see(0.0, [Dot(5.0, 5.0, 20.0, "#e00000")])
    x, y = eyes.gaze(np.arange(0, 200, 0.05))
    assert ((x >= 0) & (x <= 1920) & (y >= 0) & (y <= 1080)).all()


def test_chance_depends_on_seed_label_and_purpose_alone() -> None:
    def first(seed: int, label: str, purpose: str) -> float:
        return float(generator(seed, label, purpose).random())  # type: ignore[arg-type]

    assert first(1, "01", "gaze") == first(1, "01", "gaze")
    assert len({first(s, n, p) for s in (1, 2) for n in ("01", "02") for p in ("gaze", "order")}) == 8


def test_maps_come_from_masks_or_a_file_and_what_is_missing_is_named(tmp_path: Path) -> None:
    def study(name: str) -> Study:
        return Study(observer=ObserverSettings(map=name))

    plain = Stimulus("bag", tmp_path / "bag.png", 80, 60)
    assert read_densities(tmp_path, study("centre"), [plain]) == {"bag.png": None}
    with pytest.raises(StudyError, match=r"bag\.png has no mask"):
        read_densities(tmp_path, study("object"), [plain])
    with pytest.raises(StudyError, match=r"maps\.npz does not exist"):
        read_densities(tmp_path, study("maps.npz"), [plain])
    np.savez(tmp_path / "maps.npz", jar=np.ones((2, 2)))
    with pytest.raises(StudyError, match="no array bag"):
        read_densities(tmp_path, study("maps.npz"), [plain])
    for broken in (np.zeros((2, 2)), -np.ones((2, 2)), np.ones(4), np.full((2, 2), np.nan)):
        np.savez(tmp_path / "maps.npz", bag=broken)
        with pytest.raises(StudyError, match="non-negative"):
            read_densities(tmp_path, study("maps.npz"), [plain])
    np.savez(tmp_path / "maps.npz", bag=np.arange(6).reshape(2, 3))
    found = read_densities(tmp_path, study("maps.npz"), [plain])["bag.png"]
    np.testing.assert_array_equal(found, [[0, 1, 2], [3, 4, 5]])


def test_a_head_of_the_attention_that_an_analysis_saved_can_be_followed(tmp_path: Path) -> None:
    plain = Stimulus("bag", tmp_path / "bag.png", 80, 60)
    heads = np.arange(12.0).reshape(2, 2, 3)
    np.savez(tmp_path / "layer-12.npz", bag=heads)

    def densities(head: int | None) -> object:
        return read_densities(tmp_path, Study(observer=ObserverSettings(map="layer-12.npz", head=head)), [plain])[
            "bag.png"
        ]

    np.testing.assert_array_equal(densities(2), heads[1])
    for head in (None, 3):
        with pytest.raises(StudyError, match=r"2 heads a picture.*head = 1 to 2"):
            densities(head)
    np.savez(tmp_path / "layer-12.npz", bag=heads[0])
    with pytest.raises(StudyError, match="one map a picture"):
        densities(1)
