"""Claims of `experiment.calibration`: planted error, noise and loss are given back, and no data is never good data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.experiment.calibration import (
    Correction,
    EyeQuality,
    Validation,
    animate_target,
    calibration_points,
    dot_fixations,
    drift,
    eye_quality,
    fit_correction,
    gaze_on_target,
    point_gaze,
    point_quality,
    show_target,
    validation_points,
    weighted_median,
)
from beholder.experiment.devices import Dot, Shape
from beholder.experiment.headless import HeadlessDisplay
from beholder.shared.errors import TrackerError
from beholder.shared.gaze import Samples, no_samples
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.study import LimitSettings

SCREEN = Screen(1920, 1080, 53.0, 29.8125, 60.0)
LIMITS = LimitSettings()


def looking_at(
    point: Point,
    seconds: float,
    rate_hz: float,
    offset_deg: tuple[float, float] = (0.0, 0.0),
    noise_deg: float = 0.0,
    loss: float = 0.0,
    seed: int = 0,
) -> Samples:
    """Samples of both eyes on a point, their offset, RMS-S2S noise and share of lost samples planted."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate_hz)
    samples = no_samples(n)
    samples["time_s"] = np.arange(n) / rate_hz
    azimuth, elevation = SCREEN.to_degrees(np.array(point.x_px), np.array(point.y_px))
    lost = rng.permutation(n) < round(loss * n)
    for eye in ("left", "right"):
        noise = rng.standard_normal((2, n)) * noise_deg / 2
        x, y = SCREEN.to_px(azimuth + offset_deg[0] + noise[0], elevation + offset_deg[1] + noise[1])
        samples[f"{eye}_x_px"], samples[f"{eye}_y_px"] = np.where(lost, np.nan, x), np.where(lost, np.nan, y)
    return samples


def joined(*pieces: Samples) -> Samples:
    """Pieces one after the other in time."""
    end, out = 0.0, []
    for piece in pieces:
        piece = piece.copy()
        piece["time_s"] += end
        end = piece["time_s"][-1] + (piece["time_s"][1] - piece["time_s"][0])
        out.append(piece)
    return np.concatenate(out)


# Targets.


@pytest.mark.parametrize("calibration", [5, 9])
@pytest.mark.parametrize("validation", [4, 5])
@pytest.mark.parametrize("size_deg", [10.0, 20.0, 60.0])
def test_validation_is_made_where_the_calibration_was_not(calibration: int, validation: int, size_deg: float) -> None:
    calibrated = calibration_points(SCREEN, size_deg, calibration)
    validated = validation_points(SCREEN, size_deg, validation)
    assert (len(calibrated), len(validated)) == (calibration, validation)
    for point in (*calibrated, *validated):
        assert 0 < point.x_px < SCREEN.width_px
        assert 0 < point.y_px < SCREEN.height_px
    # They reach the edges of what the pictures fill, on all four sides.
    half_deg = min(size_deg / 2, *(float(v) for v in (SCREEN.to_degrees(np.array(0.95 * 1920), np.array(540.0))[0],)))
    for number, side in enumerate(["up", "right", "down", "left"]):
        x_deg, y_deg = (
            float(v) for v in SCREEN.to_degrees(np.array(validated[number].x_px), np.array(validated[number].y_px))
        )
        across = {"up": -y_deg, "right": x_deg, "down": y_deg, "left": -x_deg}[side]
        assert across > 0.9 * half_deg or (side in ("up", "down") and size_deg > 20)
    for a in validated:
        apart = [np.hypot(a.x_px - b.x_px, a.y_px - b.y_px) / SCREEN.px_per_deg for b in calibrated]
        assert min(apart) > 0.1 * size_deg / 2 or size_deg > 50


# Validation.


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(200, 1700), st.floats(200, 900))
@settings(max_examples=50)
def test_accuracy_is_the_planted_offset(x_deg: float, y_deg: float, x_px: float, y_px: float) -> None:
    point = Point(1, x_px, y_px)
    quality = point_quality(looking_at(point, 1.0, 250, (x_deg, y_deg)), "left", point, SCREEN, 250)
    true = looking_at(point, 0.01, 250, (x_deg, y_deg))
    angle = float(SCREEN.angle_deg(true["left_x_px"][:1], true["left_y_px"][:1], x_px, y_px)[0])
    assert quality.accuracy_deg == pytest.approx(angle, abs=1e-5)
    # Fick angles relative to an eccentric target are turned a little; near the middle they are the planted ones.
    assert quality.offset_x_deg == pytest.approx(x_deg, abs=0.15)
    assert quality.offset_y_deg == pytest.approx(y_deg, abs=0.15)


@pytest.mark.parametrize("rate_hz", [60.0, 250.0, 1000.0])
@pytest.mark.parametrize("noise_deg", [0.02, 0.3])
def test_precision_is_the_planted_noise(rate_hz: float, noise_deg: float) -> None:
    point = Point(1, 900.0, 500.0)
    quality = point_quality(looking_at(point, 1.0, rate_hz, noise_deg=noise_deg), "right", point, SCREEN, rate_hz)
    # The SE of the RMS of n successive differences of white noise is about 0.61 / sqrt(n) of it; 4 SE.
    assert quality.rms_s2s_deg == pytest.approx(noise_deg, rel=4 * 0.61 / np.sqrt(rate_hz))
    # White noise with RMS-S2S r has an SD, over both axes, of r / sqrt(2).
    assert quality.sd_deg == pytest.approx(noise_deg / np.sqrt(2), rel=4 * 0.5 / np.sqrt(rate_hz))


def test_loss_counts_samples_without_gaze_and_samples_that_never_came() -> None:
    point = Point(1, 900.0, 500.0)
    samples = looking_at(point, 1.0, 250, loss=0.2)
    assert point_quality(samples, "left", point, SCREEN, 250).loss_percent == pytest.approx(20)
    assert point_quality(samples[:125], "left", point, SCREEN, 250).loss_percent > 59
    assert point_quality(samples, "left", point, SCREEN, 250).effective_hz == pytest.approx(200)


@pytest.mark.parametrize("samples", [no_samples(), no_samples(250)], ids=["none came", "no eye in them"])
def test_a_target_without_data_has_no_accuracy_and_fails_whatever_the_limits(samples: Samples) -> None:
    point = Point(1, 900.0, 500.0)
    empty = point_quality(samples, "left", point, SCREEN, 250)
    assert (empty.accuracy_deg, empty.rms_s2s_deg, empty.sd_deg) == (None, None, None)
    assert (empty.loss_percent, empty.samples) == (100.0, 0)
    good = point_quality(looking_at(point, 1.0, 250), "left", point, SCREEN, 250)
    generous = LimitSettings(loss_percent=100.0, accuracy_mean_deg=20.0, accuracy_worst_deg=20.0)
    judged = eye_quality([good, good, empty], generous)
    assert not judged.passed
    assert judged.accuracy_deg is None
    assert not eye_quality([], generous).passed
    assert eye_quality([good, good], generous).passed


@pytest.mark.parametrize(
    ("offsets", "loss", "passed"),
    [([0.9] * 4, 0.0, True), ([1.1] * 4, 0.0, False), ([0.2, 0.2, 0.2, 1.6], 0.0, False), ([0.5] * 4, 0.25, False)],
    ids=["good", "mean too large", "one point too far", "too much lost"],
)
def test_the_verdict_follows_the_studys_limits(offsets: list[float], loss: float, passed: bool) -> None:
    point = Point(1, 960.0, 540.0)
    points = [
        point_quality(looking_at(point, 1.0, 250, (offset, 0.0), loss=loss), "left", point, SCREEN, 250)
        for offset in offsets
    ]
    judged = eye_quality(points, LIMITS)
    assert judged.passed is passed
    assert judged.accuracy_worst_deg == pytest.approx(max(offsets), abs=1e-4)


def test_a_validation_passes_only_where_every_eye_does() -> None:
    point = Point(1, 960.0, 540.0)
    good = eye_quality([point_quality(looking_at(point, 1.0, 250), "left", point, SCREEN, 250)], LIMITS)
    bad = EyeQuality(None, None, None, None, 100.0, 0.0, False, ())
    assert Validation(0.0, {"left": good, "right": good}).passed
    assert not Validation(0.0, {"left": good, "right": bad}).passed


# Drift.

CENTRE = Point(0, 960.0, 540.0)


@pytest.mark.parametrize("rate_hz", [60.0, 250.0, 500.0, 1000.0])
@pytest.mark.parametrize("noise_deg", [0.0, 0.1, 0.5])
def test_the_drift_check_gives_back_a_planted_drift(rate_hz: float, noise_deg: float) -> None:
    samples = looking_at(CENTRE, 4.5, rate_hz, (0.8, -0.6), noise_deg)
    found = drift(samples, SCREEN, 960, 540, rate_hz)
    assert found is not None
    # The median of n samples of the mean of two eyes, each with an SD of noise / 2; 5 SE, and the rounding.
    bound = 5 * 1.2533 * noise_deg / 2 / np.sqrt(2) / np.sqrt(len(samples) / 3) + 1e-4
    assert found.x_deg == pytest.approx(0.8, abs=bound)
    assert found.y_deg == pytest.approx(-0.6, abs=bound)
    assert found.total_deg == pytest.approx(1.0, abs=2 * bound)


def test_looking_elsewhere_does_not_move_the_drift() -> None:
    here = looking_at(CENTRE, 0.6, 250, (0.5, 0.0), 0.05)
    away = looking_at(CENTRE, 0.6, 250, (6.0, 4.0), 0.05)
    found = drift(joined(away, here, away, here, away), SCREEN, 960, 540, 250)
    assert found is not None
    assert found.x_deg == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "samples",
    [
        no_samples(),
        no_samples(1000),
        looking_at(CENTRE, 4.5, 250, (5.0, 0.0)),
        looking_at(CENTRE, 0.4, 250),
        joined(*[looking_at(CENTRE, 0.1, 250, (3.0 * (i % 2), 0.0)) for i in range(45)]),
    ],
    ids=["no samples", "eyes lost", "always elsewhere", "less than 500 ms", "never 150 ms long"],
)
def test_without_enough_fixation_near_the_dot_there_is_no_drift_rather_than_zero(samples: Samples) -> None:
    assert drift(samples, SCREEN, 960, 540, 250) is None


@pytest.mark.parametrize("rate_hz", [60.0, 250.0, 1000.0])
def test_fixations_are_found_where_they_were_planted(rate_hz: float) -> None:
    seconds = [0.3, 0.5, 0.2, 0.1, 0.4]
    pieces = [looking_at(CENTRE, s, rate_hz, (4.0 * (i % 2), 0.0), 0.05, seed=i) for i, s in enumerate(seconds)]
    samples = joined(*pieces)
    azimuth, elevation = SCREEN.to_degrees(samples["left_x_px"], samples["left_y_px"])
    found = dot_fixations(samples["time_s"], azimuth, elevation, rate_hz)
    starts = np.cumsum([0.0, *seconds])
    planted = [(start, start + s) for start, s in zip(starts, seconds, strict=False) if s >= 0.15]
    assert len(found) == len(planted)
    for (first, last), (start, end) in zip(found, planted, strict=True):
        # The running mean of 30 ms smears each border by up to its width.
        assert samples["time_s"][first] == pytest.approx(start, abs=0.03 + 1 / rate_hz)
        assert samples["time_s"][last] == pytest.approx(end, abs=0.03 + 1 / rate_hz)


def test_a_short_gap_does_not_end_a_fixation_and_a_long_one_does() -> None:
    samples = looking_at(CENTRE, 1.0, 250)
    azimuth, elevation = SCREEN.to_degrees(samples["left_x_px"], samples["left_y_px"])
    for lost, number in ((15, 1), (40, 2)):
        gap = azimuth.copy()
        gap[100 : 100 + lost] = np.nan
        assert len(dot_fixations(samples["time_s"], gap, elevation, 250)) == number


@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 5)), min_size=1, max_size=9))
def test_the_weighted_median_is_the_median_of_repeated_values(pairs: list[tuple[float, int]]) -> None:
    values, weights = np.array(pairs, float).T
    assert weighted_median(values, weights) == pytest.approx(float(np.median(np.repeat(values, weights.astype(int)))))


# A target that is shown.


@pytest.mark.parametrize(("refresh_hz", "hold_s"), [(60.0, 10.0), (60.0, 0.01), (144.0, 0.01)])
def test_a_target_shrinks_to_its_size_and_stands_from_when_it_says(refresh_hz: float, hold_s: float) -> None:
    shown: list[tuple[float, Shape]] = []
    display = HeadlessDisplay(SCREEN, refresh_hz, watcher=lambda onset_s, scene: shown.append((onset_s, scene[0])))
    hold = display.hold
    # A real display comes back after a frame; a virtual one jumps to where it is told.
    display.hold = lambda until_s: hold(min(until_s, display.clock.now_s() + hold_s))  # type: ignore[method-assign]
    point = calibration_points(SCREEN, 20.0, 5)[1]
    display.clock.sleep_until_s(1.0)
    stands_s = show_target(display, point)
    dots = [shape for _, shape in shown if isinstance(shape, Dot)]
    sizes_deg = np.array([dot.diameter_px for dot in dots]) / SCREEN.px_per_deg
    assert {(dot.x_px, dot.y_px) for dot in dots} == {(point.x_px, point.y_px)}
    assert all(0 < dot.inner_px < dot.diameter_px for dot in dots)
    np.testing.assert_allclose(sizes_deg[[0, -1]], [1.2, 0.5])
    assert (np.diff(sizes_deg) < 0).all()
    assert stands_s == shown[-1][0] == pytest.approx(1.6, abs=2.01 / refresh_hz)
    assert (len(shown) == 2) == (hold_s > 1)


def test_in_a_validation_a_target_stands_before_gaze_is_measured() -> None:
    display = HeadlessDisplay(SCREEN, 60.0)
    onset_s, stands_s = animate_target(display, Point(1, 500.0, 500.0), 0.4)
    assert onset_s == 0.0
    assert 0.4 <= stands_s < 0.5


# A calibration of our own.


def in_degrees(points: tuple[Point, ...]) -> np.ndarray:
    return np.stack(SCREEN.to_degrees(np.array([p.x_px for p in points]), np.array([p.y_px for p in points])), axis=1)


TARGETS_5, TARGETS_9 = (in_degrees(calibration_points(SCREEN, 20.0, count)) for count in (5, 9))
smaller = st.floats(-0.15, 0.15)


@settings(max_examples=100)
@given(st.floats(-3, 3), st.floats(-3, 3), smaller, smaller, smaller, smaller, st.sampled_from([5, 9]))
def test_an_affine_distortion_is_taken_out_everywhere(
    x: float, y: float, a: float, b: float, c: float, d: float, count: int
) -> None:
    targets = TARGETS_5 if count == 5 else TARGETS_9
    matrix, shift = np.array([[1 + a, b], [c, 1 + d]]), np.array([x, y])
    found = fit_correction(targets, targets @ matrix.T + shift)
    assert (found.success, found.failed) == (True, ())
    elsewhere = np.random.default_rng(0).uniform(-12, 12, (50, 2))
    np.testing.assert_allclose(found.degrees(elsewhere @ matrix.T + shift), elsewhere, atol=1e-6)
    assert found.residual_deg == pytest.approx(0, abs=1e-6)


@settings(max_examples=100)
@given(st.lists(st.floats(-0.003, 0.003), min_size=6, max_size=6), st.floats(-2, 2), st.floats(-2, 2))
def test_a_distortion_of_the_second_order_is_taken_out_of_nine_points_and_not_of_five(
    bends: list[float], x: float, y: float
) -> None:
    # Planted is the correction itself: which gaze it maps onto which target is then known exactly.
    planted = Correction(True, (), "", (x, 1.0, 0.05, *bends[:3]), (y, -0.05, 1.0, *bends[3:]))
    gaze = np.random.default_rng(1).uniform(-9, 9, (9, 2))
    gaze[:] = TARGETS_9 - np.array([x, y])
    targets = planted.degrees(gaze)
    found = fit_correction(targets, gaze)
    elsewhere = np.random.default_rng(0).uniform(-10, 10, (50, 2))
    np.testing.assert_allclose(found.degrees(elsewhere), planted.degrees(elsewhere), atol=1e-6)
    assert len(fit_correction(targets[:5], gaze[:5]).terms_x) == 3


def test_a_correction_moves_the_eyes_it_is_for_and_nothing_else() -> None:
    point = Point(1, 700.0, 300.0)
    samples = looking_at(point, 0.1, 250.0, offset_deg=(1.0, -0.5))
    samples["right_pupil"], samples["left_x_px"][3] = 3.0, np.nan
    found = fit_correction(TARGETS_5, TARGETS_5 + np.array([1.0, -0.5]))
    right = found.apply(samples, SCREEN, ("right",))
    np.testing.assert_allclose(right["right_x_px"], 700.0, atol=1e-6)
    np.testing.assert_allclose(right["right_y_px"], 300.0, atol=1e-6)
    for name in ("time_s", "left_x_px", "left_y_px", "right_pupil"):
        np.testing.assert_array_equal(right[name], samples[name])
    both = found.apply(samples, SCREEN)
    assert np.isnan(both["left_x_px"][3])
    np.testing.assert_allclose(both["left_x_px"][:3], 700.0, atol=1e-6)


def test_targets_that_were_not_looked_at_are_left_out_and_named() -> None:
    gaze = TARGETS_9 + 0.5
    gaze[2] = np.nan
    gaze[4] += [9.0, 0.0]
    scatter = np.full(9, 0.1)
    scatter[7] = 2.5
    found = fit_correction(TARGETS_9, gaze, scatter)
    assert (found.success, found.failed, len(found.terms_x)) == (True, (2, 4, 7), 3)
    np.testing.assert_allclose(found.degrees(TARGETS_9 + 0.5), TARGETS_9, atol=1e-9)


@pytest.mark.parametrize(
    "gaze",
    [
        np.full((5, 2), np.nan),
        np.where(np.arange(5)[:, None] < 3, TARGETS_5, np.nan),
        np.zeros((5, 2)) + np.random.default_rng(0).normal(0, 1e-3, (5, 2)),
        TARGETS_5 * [1.0, 0.001],
    ],
    ids=["no gaze", "three targets", "gaze that stays", "gaze on a line"],
)
def test_what_determines_no_correction_is_no_success_and_changes_nothing(gaze: np.ndarray) -> None:
    # Targets so close together that gaze in the middle is near enough to all of them.
    targets = TARGETS_5 * 0.5
    found = fit_correction(targets, gaze * 0.5)
    assert not found.success
    assert found.message
    assert found.residual_deg is None
    np.testing.assert_array_equal(found.degrees(TARGETS_5), TARGETS_5)


def test_the_residual_is_what_noise_leaves() -> None:
    rng = np.random.default_rng(0)
    residuals = [fit_correction(TARGETS_9, TARGETS_9 + rng.normal(0, 0.3, (9, 2))).residual_deg for _ in range(400)]
    # Of 9 targets, 6 terms an axis leave 3 degrees of freedom; two axes of an SD of 0.3.
    assert np.mean(np.square([r for r in residuals if r is not None])) == pytest.approx(2 * 0.09 * 3 / 9, rel=0.1)


def test_a_correction_kept_with_the_calibration_is_the_same_again() -> None:
    found = fit_correction(TARGETS_9, TARGETS_9 * 1.1 + 0.3)
    assert Correction.from_bytes(found.to_bytes()) == found
    with pytest.raises(TrackerError, match="calibrate again"):
        Correction.from_bytes(b"a vendor's own")


def test_gaze_on_a_target_is_its_median_and_scatter() -> None:
    point = Point(1, 700.0, 300.0)
    samples = looking_at(point, 2.0, 500.0, offset_deg=(0.4, -0.2), noise_deg=0.2)
    samples["left_x_px"][::7] = np.nan
    samples["left_x_px"][1] += 4000
    expected = in_degrees((point,))[0] + np.array([0.4, -0.2])
    x_deg, y_deg, _ = gaze_on_target(samples, "left", SCREEN)
    np.testing.assert_allclose([x_deg, y_deg], expected, atol=0.02)
    # An RMS of 0.2 is an SD of 0.1 an axis.
    assert gaze_on_target(samples, "right", SCREEN)[2] == pytest.approx(0.1 * np.sqrt(2), rel=0.1)
    assert np.isnan(gaze_on_target(no_samples(10), "left", SCREEN)).all()


def test_the_cloud_to_draw_is_thinned_and_an_unseen_eye_has_none() -> None:
    samples = looking_at(Point(1, 700.0, 300.0), 1.0, 1000.0, noise_deg=0.1)
    gaze = point_gaze(samples, "left")
    assert gaze is not None
    assert 30 <= len(gaze.cloud_px) <= 60
    assert point_gaze(no_samples(100), "left") is None
