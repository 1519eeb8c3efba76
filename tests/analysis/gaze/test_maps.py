"""Gaze maps against integrals, counts and finer grids; units against the screen's own geometry."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from beholder.analysis.alignment.measures import auc, auc_judd, shuffled_auc
from beholder.analysis.gaze.maps import (
    Grid,
    area_resample,
    blur_matrix,
    centre_gaussian,
    coverage,
    fixation_map,
    grid_for,
    sigma_in_map_px,
    smooth,
    to_map_px,
    uniform,
)
from beholder.shared.errors import DataError
from beholder.shared.screen import Screen

GRID = Grid(height=30, width=47)
quick = settings(max_examples=50)


def gaze(seed: int, n: int = 12, grid: Grid = GRID) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions on the grid (x, y) and weights, n of each."""
    rng = np.random.default_rng(seed)
    return rng.random(n) * grid.width, rng.random(n) * grid.height, rng.lognormal(size=n)


# One-dimensional blur


@quick
@given(st.floats(0, 20), st.floats(0.05, 30))
def test_blur_matrix_is_the_normal_distribution_integrated_over_each_pixel(position: float, sigma: float) -> None:
    edges = norm.cdf(np.arange(21), position, sigma)
    assert_allclose(blur_matrix(np.array([position]), 20, sigma)[:, 0], np.diff(edges), atol=1e-14)


def test_tails_keep_their_relative_precision_far_from_the_fixation() -> None:
    """20 sigma away, where a difference of two values near 1 would be 0 or noise."""
    far = blur_matrix(np.array([0.5]), 30, 1.0)[20, 0]
    assert_allclose(far, norm.sf(19.5) - norm.sf(20.5), rtol=1e-10)
    mirrored = blur_matrix(np.array([29.5]), 30, 1.0)[9, 0]
    assert_allclose(mirrored, far, rtol=1e-10)


@quick
@given(st.floats(0, 20), st.just(0.0) | st.floats(1e-3, 100))
def test_what_falls_beyond_the_border_is_lost_and_nothing_is_gained(position: float, sigma: float) -> None:
    total = blur_matrix(np.array([position]), 20, sigma).sum()
    expected = float(position < 20) if sigma == 0 else norm.cdf(20, position, sigma) - norm.cdf(0, position, sigma)
    assert math.isclose(total, expected, abs_tol=1e-12)


# Fixation maps


@pytest.mark.parametrize("sigma", [0.3, 2.0, 15.0])
def test_fixation_map_is_the_weighted_sum_of_integrated_gaussians(sigma: float) -> None:
    x, y, weight = gaze(1)
    expected = np.zeros(GRID.shape)
    for x_k, y_k, w_k in zip(x, y, weight, strict=True):
        down = np.diff(norm.cdf(np.arange(GRID.height + 1), y_k, sigma))
        across = np.diff(norm.cdf(np.arange(GRID.width + 1), x_k, sigma))
        expected += w_k * np.outer(down, across)
    assert_allclose(fixation_map(x, y, weight, GRID, sigma), expected / expected.sum(), atol=1e-14)


def test_sigma_zero_is_the_weighted_histogram() -> None:
    x, y, weight = gaze(2, n=200)
    counts, _, _ = np.histogram2d(
        y, x, bins=GRID.shape, range=[[0, GRID.height], [0, GRID.width]], weights=weight, density=False
    )
    assert_allclose(fixation_map(x, y, weight, GRID, 0), counts / counts.sum(), atol=1e-15)


@quick
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.4, 3.0, 60.0]))
def test_a_fixation_map_is_a_density_and_ignores_the_scale_of_weights(seed: int, sigma: float) -> None:
    x, y, weight = gaze(seed)
    density = fixation_map(x, y, weight, GRID, sigma)
    assert density.shape == GRID.shape and density.min() >= 0
    assert math.isclose(density.sum(), 1, abs_tol=1e-12)
    assert_allclose(fixation_map(x, y, 1000 * weight, GRID, sigma), density, atol=1e-14)


@quick
@given(st.integers(0, 1000))
def test_mirrored_gaze_gives_the_mirrored_map(seed: int) -> None:
    """Only true if coordinates count from the corner, not from the first pixel's centre."""
    x, y, weight = gaze(seed)
    mirrored = fixation_map(GRID.width - x, GRID.height - y, weight, GRID, 2.5)
    assert_allclose(mirrored, fixation_map(x, y, weight, GRID, 2.5)[::-1, ::-1], atol=1e-14)


def test_fixations_off_the_picture_have_no_part() -> None:
    x, y, weight = gaze(3)
    outside_x = np.array([-0.01, GRID.width, 5.0, 5.0, np.nan])
    outside_y = np.array([5.0, 5.0, -3.0, GRID.height, 5.0])
    both = fixation_map(np.append(x, outside_x), np.append(y, outside_y), np.append(weight, [9.0] * 5), GRID, 4.0)
    assert_allclose(both, fixation_map(x, y, weight, GRID, 4.0), atol=1e-16)


@pytest.mark.parametrize("x, weight", [([-1.0], [1.0]), ([3.0], [0.0]), ([], []), ([np.nan], [1.0])])
def test_no_weight_on_the_picture_is_an_error(x: list[float], weight: list[float]) -> None:
    with pytest.raises(ValueError, match="no fixation with weight lies on the picture"):
        fixation_map(np.array(x), np.array(x), np.array(weight), GRID, 1.0)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_weights_that_are_no_weights_are_an_error(weight: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        fixation_map(np.array([3.0, 4.0]), np.array([3.0, 4.0]), np.array([1.0, weight]), GRID, 1.0)


# Smoothing of maps


@quick
@given(st.integers(13, 16), st.integers(13, 33), st.sampled_from([0.0, 0.5, 1.5]))
def test_smoothing_a_point_far_from_the_borders_is_a_fixation_at_its_pixels_centre(
    row: int, column: int, sigma: float
) -> None:
    point = np.zeros(GRID.shape)
    point[row, column] = 7.0
    expected = fixation_map(np.array([column + 0.5]), np.array([row + 0.5]), np.ones(1), GRID, sigma)
    assert_allclose(smooth(point, sigma), expected, atol=1e-14)


def test_smoothing_agrees_with_scipys_sampled_gaussian_where_sigma_spans_pixels() -> None:
    """scipy samples the kernel where we integrate it: a variance of 1/12 px^2 less, and the same mirrored borders."""
    maps = np.random.default_rng(4).random((2, *GRID.shape))
    sigma = 4.0
    widened = math.sqrt(sigma**2 + 1 / 12)
    filtered = gaussian_filter(maps, widened, mode="reflect", truncate=12, axes=(-2, -1))
    filtered /= filtered.sum(axis=(-2, -1), keepdims=True)
    assert_allclose(smooth(maps, sigma), filtered, rtol=1e-4)


@quick
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 40))
def test_an_even_map_stays_even_and_mass_is_neither_lost_nor_moved_by_the_borders(
    height: int, width: int, sigma: float
) -> None:
    assert_allclose(smooth(np.ones((height, width)), sigma), 1 / (height * width), rtol=1e-9)


def test_nothing_cannot_be_smoothed() -> None:
    with pytest.raises(ValueError, match="zero everywhere"):
        smooth(np.zeros((4, 4)), 1.0)


# Resampling by area


@quick
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_area_resampling_is_exact(h: int, w: int, height: int, width: int, seed: int) -> None:
    """Against the grid of which both are a multiple, on which overlaps are whole cells."""
    mass = np.random.default_rng(seed).random((2, h, w))
    fine = np.kron(mass, np.ones((height, width))) / (height * width)
    summed = fine.reshape(2, height, h, width, w).sum(axis=(2, 4))
    assert_allclose(area_resample(mass, height, width), summed, atol=1e-13)
    assert_allclose(area_resample(mass, height, width).sum(axis=(1, 2)), mass.sum(axis=(1, 2)), rtol=1e-12)


def test_a_patch_keeps_its_mass_on_the_map() -> None:
    patches = np.random.default_rng(5).random((14, 14))
    on_map = area_resample(patches, 224, 224)
    assert_allclose(on_map.reshape(14, 16, 14, 16).sum(axis=(1, 3)), patches, rtol=1e-12)


# Patches and px of the map: some px lie wholly in one patch, some on the borders of two or four; the last has 2,046.
PATCHES = [((14, 14), (224, 224)), ((16, 16), (168, 224)), ((24, 32), (168, 224)), ((5, 7), (12, 23)),
           ((33, 62), (168, 224))]  # fmt: skip


def exact_shares(length: int, new_length: int) -> list[tuple[Fraction, ...]]:
    """The overlap of equal cells in rational numbers, a row a new cell."""

    def shared(new: int, old: int) -> Fraction:
        top = min(Fraction(new + 1, new_length), Fraction(old + 1, length))
        return max(top - max(Fraction(new, new_length), Fraction(old, length)), Fraction(0)) * length

    return [tuple(shared(new, old) for old in range(length)) for new in range(new_length)]


@pytest.mark.parametrize("patches, px", PATCHES, ids=str)
def test_a_patch_has_one_value_and_a_border_one_for_each_way_of_crossing_it(
    patches: tuple[int, int], px: tuple[int, int]
) -> None:
    """As many different numbers as exact arithmetic gives: one for each pair of different rows of shares."""
    mass = np.random.default_rng(6).random(patches).astype(np.float32).astype(np.float64)
    rows, columns = (len(set(exact_shares(*lengths))) for lengths in zip(patches, px, strict=True))
    on_map = area_resample(mass, *px)
    assert len(np.unique(on_map)) == rows * columns
    assert_allclose(on_map.sum(), mass.sum(), rtol=1e-12)


def test_where_patches_are_whole_pixels_the_map_is_each_patch_repeated() -> None:
    mass = np.random.default_rng(7).random((14, 14))
    repeated = np.repeat(np.repeat(mass * (1 / 16) * (1 / 16), 16, axis=0), 16, axis=1)
    assert np.array_equal(area_resample(mass, 224, 224), repeated)


@pytest.mark.parametrize("patches, px", [((5, 7), (12, 23)), ((6, 4), (31, 18)), ((9, 9), (20, 20))], ids=str)
def test_measures_by_rank_see_the_ties_that_exact_arithmetic_sees(
    patches: tuple[int, int], px: tuple[int, int]
) -> None:
    """AUC-Judd, AUC and shuffled AUC of the resampled map, and of the ranks of its values as rational numbers."""
    rng = np.random.default_rng(8)
    mass = rng.random(patches)
    rows, columns = (exact_shares(*lengths) for lengths in zip(patches, px, strict=True))
    down = [
        [
            sum((share * Fraction(m) for share, m in zip(row, column, strict=True) if share), Fraction(0))
            for column in mass.T
        ]
        for row in rows
    ]
    exact = [
        [sum((share * m for share, m in zip(column, line, strict=True) if share), Fraction(0)) for column in columns]
        for line in down
    ]
    order = {value: rank for rank, value in enumerate(sorted({v for line in exact for v in line}), start=1)}
    ranks = np.array([[float(order[v]) for v in line] for line in exact])
    on_map = area_resample(mass, *px)
    for _ in range(20):
        fixated, elsewhere = ((rng.integers(0, px[0], n), rng.integers(0, px[1], n)) for n in (12, 200))
        assert auc_judd(on_map, *fixated) == auc_judd(ranks, *fixated)
        assert auc(on_map, *fixated) == auc(ranks, *fixated)
        assert shuffled_auc(on_map, *fixated, *elsewhere) == shuffled_auc(ranks, *fixated, *elsewhere)


def test_coverage_is_the_share_of_each_cell() -> None:
    mask = np.zeros((6, 6))
    mask[:, :3] = 1
    assert_allclose(coverage(mask, 2, 4), [[1, 1, 0, 0], [1, 1, 0, 0]], atol=1e-12)
    assert_allclose(coverage(mask, 1, 3), [[1, 0.5, 0]], atol=1e-12)
    with pytest.raises(ValueError, match="between 0 and 1"):
        coverage(255 * mask, 2, 4)


@quick
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_what_is_covered_wholly_is_covered_by_one_and_no_more(h: int, w: int, height: int, width: int) -> None:
    covered = coverage(np.ones((h, w)), height, width)
    assert covered.max() <= 1
    assert_allclose(covered, 1, atol=1e-12)


# References


def test_uniform_sums_to_one_and_is_constant() -> None:
    density = uniform(GRID)
    assert math.isclose(density.sum(), 1) and density.min() == density.max()


def test_the_centre_gaussian_is_centred_and_stretched_with_the_picture() -> None:
    density = centre_gaussian(Grid(100, 200), sigma_share=0.1)
    assert math.isclose(density.sum(), 1, abs_tol=1e-12)
    assert_allclose(density, density[::-1, ::-1], atol=1e-15)
    rows, columns = np.arange(100) + 0.5 - 50, np.arange(200) + 0.5 - 100
    # A pixel's own width adds 1/12 px^2 to the variance.
    assert math.isclose((density.sum(axis=1) * rows**2).sum(), 10**2 + 1 / 12, rel_tol=1e-3)
    assert math.isclose((density.sum(axis=0) * columns**2).sum(), 20**2 + 1 / 12, rel_tol=1e-3)


# Geometry


def test_the_grid_keeps_the_aspect() -> None:
    assert grid_for(1024, 768) == Grid(168, 224)
    assert grid_for(600, 800, longer_side=28) == Grid(28, 21)
    assert grid_for(5000, 3) == Grid(1, 224)
    with pytest.raises(ValueError, match="must be positive"):
        grid_for(0, 10)


def test_the_pictures_corners_are_the_maps_corners() -> None:
    x, y = to_map_px(
        np.array([0.0, 1024.0]),
        np.array([0.0, 768.0]),
        picture_width_px=1024,
        picture_height_px=768,
        grid=Grid(168, 224),
    )
    assert_allclose(x, [0, 224])
    assert_allclose(y, [0, 168])


def test_sigma_in_each_unit_is_the_same_length() -> None:
    grid = Grid(168, 224)
    for sigma, unit in ((102.4, "px"), (10, "percent"), (2.8, "patch")):
        in_map_px = sigma_in_map_px(sigma, unit, grid=grid, picture_width_px=1024, patches_across=28)
        assert math.isclose(in_map_px, 22.4), unit


def test_a_degree_is_as_long_as_on_the_screen_the_picture_was_shown_on() -> None:
    screen = Screen(1920, 1080, 53.0, 29.8, 60.0)
    shown = screen.place(1024, 768, 20.0)
    in_map_px = sigma_in_map_px(
        1.0,
        "deg",
        grid=Grid(168, 224),
        picture_width_px=shown.width_px,
        picture_width_deg=screen.width_deg(shown),
    )
    assert math.isclose(in_map_px * shown.width_px / 224, screen.px_per_deg, rel_tol=1e-12)


def test_degrees_without_geometry_say_what_to_give() -> None:
    with pytest.raises(DataError, match="--picture-width-deg"):
        sigma_in_map_px(1.0, "deg", grid=GRID, picture_width_px=800)


@pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf])
def test_a_sigma_that_is_no_length_is_an_error(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be finite"):
        sigma_in_map_px(sigma, "px", grid=GRID, picture_width_px=800)
